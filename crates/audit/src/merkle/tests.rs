use super::*;
use proptest::prelude::*;

/// The eight leaves and roots of the reference implementation's Merkle tree tests (certificate-transparency).
const LEAVES: [&str; 8] =
    ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

/// All subtrees of a list of leaves.
struct Naive(Vec<Hash>);

impl Nodes for Naive {
    type Error = std::convert::Infallible;
    fn node(&mut self, height: u32, index: u64) -> Result<Hash, Self::Error> {
        let (from, to) = ((index << height) as usize, ((index + 1) << height) as usize);
        Ok(naive_root(&self.0[from..to]))
    }
}

/// MTH as RFC 6962 words it.
fn naive_root(leaves: &[Hash]) -> Hash {
    if leaves.len() < 2 {
        return leaves.first().copied().unwrap_or_else(empty_root);
    }
    let mut k = 1;
    while k * 2 < leaves.len() {
        k *= 2;
    }
    node_hash(&naive_root(&leaves[..k]), &naive_root(&leaves[k..]))
}

fn leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|index| leaf_hash(&index.to_be_bytes())).collect()
}

#[test]
fn known_vectors() {
    assert_eq!(empty_root().to_string(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    let leaves: Vec<Hash> = LEAVES.iter().map(|leaf| leaf_hash(&hex::decode(leaf).unwrap())).collect();
    for (size, root) in (1..).zip(ROOTS) {
        assert_eq!(root_of(&leaves[..size]).to_string(), root, "{size}");
    }
}

#[test]
fn proofs_of_all_small_trees_hold_and_no_others() {
    let all = leaves(70);
    for new in 0..=70_u64 {
        let mut nodes = Naive(all.clone());
        let root = naive_root(&all[..new as usize]);
        assert_eq!(root_at(&mut nodes, new).unwrap(), root);
        for index in 0..new {
            let path = inclusion_path(&mut nodes, index, new).unwrap();
            let check =
                |index, size, path: &[Hash]| verify_inclusion(&all[index as usize % 70], index, size, path, &root);
            assert_eq!(check(index, new, &path), Ok(()), "{index} of {new}");
            assert!(verify_inclusion(&all[index as usize], (index + 1) % new.max(2), new, &path, &root).is_err());
            for place in 0..path.len() {
                let mut wrong = path.clone();
                wrong[place].0[0] ^= 1;
                assert_eq!(check(index, new, &wrong), Err(ProofError::Root));
                wrong.remove(place);
                assert!(check(index, new, &wrong).is_err());
            }
            let longer = [path.as_slice(), &[root]].concat();
            assert!(check(index, new, &longer).is_err());
        }
        for old in 0..=new {
            let path = consistency_path(&mut nodes, old, new).unwrap();
            let old_root = naive_root(&all[..old as usize]);
            assert_eq!(verify_consistency(old, new, &old_root, &root, &path), Ok(()), "{old} to {new}");
            assert!(verify_consistency(old, new, &leaf_hash(b"other"), &root, &path).is_err(), "{old} to {new}");
            if old > 0 {
                assert!(verify_consistency(old, new, &old_root, &leaf_hash(b"other"), &path).is_err());
            }
            let longer = [path.as_slice(), &[root]].concat();
            assert!(verify_consistency(old, new, &old_root, &root, &longer).is_err());
            for place in 0..path.len() {
                let mut wrong = path.clone();
                wrong[place].0[31] ^= 1;
                assert_eq!(verify_consistency(old, new, &old_root, &root, &wrong), Err(ProofError::Root));
                wrong.remove(place);
                assert!(verify_consistency(old, new, &old_root, &root, &wrong).is_err());
            }
        }
    }
}

proptest! {
    #[test]
    fn verification_never_panics(index: u64, size: u64, count in 0_usize..80) {
        let hashes = leaves(count as u64);
        let root = empty_root();
        prop_assert!(verify_inclusion(&root, index, size, &hashes, &root).is_err());
        if index != size && index != 0 {
            prop_assert!(verify_consistency(index, size, &root, &root, &hashes).is_err());
        }
    }

    #[test]
    fn hex_is_lower_case_and_whole(text in "[0-9a-fA-F]{62,66}") {
        let lower = text.len() == 64 && !text.bytes().any(|byte| byte.is_ascii_uppercase());
        prop_assert_eq!(Hash::from_hex(&text).map(|hash| hash.to_string()), lower.then_some(text));
    }
}
