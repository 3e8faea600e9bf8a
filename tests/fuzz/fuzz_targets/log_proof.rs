//! The proof that a commit was accepted: key, entry, path and checkpoint, each from the bytes up to the next `0xff`.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use manifest::{RepoPath, parse_yaml};
use trust::{AuthorizedCommit, LogKey, LogProof, TrustRootSpec};

/// A TrustRoot, which is also a seed of its own target.
const ROOT: &[u8] = include_bytes!("../seeds/trust_root/root.yaml");

fuzz_target!(|bytes: &[u8]| {
    static ROOT_SPEC: OnceLock<TrustRootSpec> = OnceLock::new();
    let root = ROOT_SPEC.get_or_init(|| {
        let file: RepoPath = "root.yaml".parse().expect("a path");
        let documents = parse_yaml(&file, ROOT).expect("YAML");
        TrustRootSpec::from_manifest(&file, &documents[0].root).expect("a TrustRoot")
    });
    let mut parts = bytes.split(|byte| *byte == 0xff);
    let mut part = || parts.next().unwrap_or_default();
    let (key, entry, path, checkpoint) = (part(), part(), part(), part());
    let (Ok(key), Ok(checkpoint)) = (std::str::from_utf8(key), String::from_utf8(checkpoint.to_vec())) else { return };
    let Ok(key) = LogKey::parse(key) else { return };
    let proof = LogProof {
        entry: entry.to_vec(),
        index: u64::from(path.first().copied().unwrap_or_default()),
        hashes: path.as_chunks::<32>().0.to_vec(),
        checkpoint,
    };
    assert!(AuthorizedCommit::resume(&proof, &key, root).is_err(), "a proof was forged");
});
