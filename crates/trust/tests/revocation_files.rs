//! Revocation files made by the real `ssh-keygen`, and what its `-Q` says of them.

#![expect(clippy::disallowed_methods, reason = "fixtures are made with real tools")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use proptest::prelude::*;
use support::{Bench, KEY_TYPES, Key};
use trust::{Certificate, Fingerprint, PublicKey, Revocations, RevocationsError, RevokedItem};

/// Keys and certificates of two authorities, and a file that was made of this specification.
struct World {
    bench: Bench,
    ca: Key,
    other: Key,
    keys: Vec<Key>,
    certificates: BTreeMap<String, PathBuf>,
}

impl World {
    fn new() -> Self {
        let bench = Bench::new();
        let (ca, other) = (bench.key("ca", KEY_TYPES[0]), bench.key("other", KEY_TYPES[1]));
        let keys: Vec<Key> = (0..KEY_TYPES.len()).map(|one| bench.key(&format!("key{one}"), KEY_TYPES[one])).collect();
        let mut world = Self { bench, ca, other, keys, certificates: BTreeMap::new() };
        for serial in [0, 1, 5, 9, 10, 11, 64, 1000, u64::MAX] {
            world.certify("ca", &format!("id{serial}"), serial);
        }
        world.certify("other", "id5", 5);
        world.certify("other", "laptop", 77);
        world.certify("ca", "laptop", 78);
        world
    }

    fn certify(&mut self, ca: &str, id: &str, serial: u64) {
        let authority = if ca == "ca" { &self.ca } else { &self.other };
        let serial = serial.to_string();
        let made = self.bench.certify(authority, &self.keys[0], &["-I", id, "-n", "carol", "-z", &serial]);
        let place = self.bench.path(&format!("{ca}-{id}.pub"));
        fs::rename(made.private, &place).unwrap();
        self.certificates.insert(format!("{ca}-{id}"), place);
    }

    fn krl(&self, ca: Option<&str>, specification: &str) -> Vec<u8> {
        let (file, text) = (self.bench.path("krl"), self.bench.path("specification"));
        fs::write(&text, specification).unwrap();
        let mut args = vec!["-q", "-k", "-f", file.to_str().unwrap()];
        let public = ca.map(|ca| match ca {
            "none" => PathBuf::from(ca),
            ca => self.bench.path(ca).with_extension("pub"),
        });
        if let Some(public) = &public {
            args.extend(["-s", public.to_str().unwrap()]);
        }
        args.push(text.to_str().unwrap());
        let made = self.bench.run("ssh-keygen", &args, b"");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        fs::read(file).unwrap()
    }

    /// What `ssh-keygen -Q` says of a file.
    fn asked(&self, revocations: &[u8], public: &Path) -> bool {
        let file = self.bench.path("asked");
        fs::write(&file, revocations).unwrap();
        let args = ["-Q", "-f", file.to_str().unwrap(), public.to_str().unwrap()];
        let output = self.bench.run("ssh-keygen", &args, b"");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(said.contains("REVOKED"), !output.status.success(), "{said}");
        said.contains("REVOKED")
    }

    /// What is revoked, after comparing all of it with ssh-keygen.
    fn compare(&self, revocations: &[u8]) -> Vec<String> {
        let parsed = Revocations::parse(revocations).unwrap();
        let mut revoked = Vec::new();
        for key in self.keys.iter().chain([&self.ca, &self.other]) {
            let public = key.private.with_extension("pub");
            let ours = parsed.revokes_key(&key.parsed());
            assert_eq!(ours, self.asked(revocations, &public), "{}", public.display());
            revoked.extend(ours.then(|| key.private.file_name().unwrap().to_str().unwrap().to_owned()));
        }
        for (name, place) in &self.certificates {
            let certificate = Certificate::parse(&fs::read_to_string(place).unwrap()).unwrap();
            let ours = parsed.revokes_certificate(&certificate);
            assert_eq!(ours, self.asked(revocations, place), "{name}");
            revoked.extend(ours.then(|| name.clone()));
        }
        revoked
    }
}

#[test]
fn what_ssh_keygen_revokes_is_revoked() {
    let world = World::new();
    let all = |ca: &str| world.certificates.keys().filter(|name| name.starts_with(ca)).cloned().collect::<Vec<_>>();
    let key = |number: usize| world.keys[number].public.clone();
    assert_eq!(world.compare(&world.krl(None, "")), Vec::<String>::new());
    // Every form in which serials are written: alone, as a range, as bits with gaps, far apart.
    for (serials, wanted) in [
        ("serial: 5\n", vec!["ca-id5"]),
        ("serial: 5-10\n", vec!["ca-id10", "ca-id5", "ca-id9"]),
        ("serial: 1\nserial: 9\nserial: 11\nserial: 64\n", vec!["ca-id1", "ca-id11", "ca-id64", "ca-id9"]),
        ("serial: 1000\nserial: 18446744073709551615\n", vec!["ca-id1000", "ca-id18446744073709551615"]),
        ("id: laptop\n", vec!["ca-laptop"]),
        ("id: laptop\nid: id0\nserial: 5\n", vec!["ca-id0", "ca-id5", "ca-laptop"]),
    ] {
        assert_eq!(world.compare(&world.krl(Some("ca"), serials)), wanted, "{serials}");
    }
    // Of any authority.
    assert_eq!(world.compare(&world.krl(Some("none"), "id: laptop\n")), ["ca-laptop", "other-laptop"]);
    assert_eq!(world.compare(&world.krl(Some("other"), "serial: 5\n")), ["other-id5"]);
    for form in ["key", "sha1", "sha256"] {
        assert_eq!(world.compare(&world.krl(None, &format!("{form}: {}\n", key(2)))), ["key2"], "{form}");
        let two = format!("{form}: {}\n{form}: {}\n", key(2), key(4));
        assert_eq!(world.compare(&world.krl(None, &two)), ["key2", "key4"], "{form}");
        // With an authority goes what it certified.
        let other = format!("{form}: {}\n", world.other.public);
        assert_eq!(world.compare(&world.krl(None, &other)), [vec!["other".to_owned()], all("other")].concat());
    }
    let hash = world.keys[1].parsed().fingerprint();
    assert_eq!(world.compare(&world.krl(None, &format!("hash: {hash}\n"))), ["key1"]);
}

#[test]
fn lists_of_keys_revoke_them() {
    let world = World::new();
    let list = format!("# lost\n\n{} a laptop\n  {}\n", world.keys[1].public, world.other.public);
    let parsed = Revocations::parse(list.as_bytes()).unwrap();
    let file = world.bench.path("list");
    fs::write(&file, &list).unwrap();
    // `-Q` takes no lists, so signatures are asked about.
    let signed_is_good = |line: &str, key: &Key| {
        let (signers, signature) = (world.bench.path("signers"), world.bench.path("signature"));
        fs::write(&signers, line).unwrap();
        fs::write(&signature, world.bench.sign(key, "git", "sha512", b"x")).unwrap();
        let [signers, signature, file] = [&signers, &signature, &file].map(|path| path.to_str().unwrap());
        let args = ["-Y", "verify", "-I", "carol", "-n", "git", "-f", signers, "-s", signature, "-r", file];
        world.bench.run("ssh-keygen", &args, b"x").status.success()
    };
    for (number, key) in world.keys.iter().enumerate() {
        assert_eq!(parsed.revokes_key(&key.parsed()), number == 1);
        assert_eq!(signed_is_good(&format!("carol {}\n", key.public), key), number != 1);
    }
    for ca in [&world.ca, &world.other] {
        let certified = world.bench.certify(ca, &world.keys[0], &["-I", "x", "-n", "carol"]);
        let revoked = parsed.revokes_certificate(&Certificate::parse(&certified.public).unwrap());
        assert_eq!(revoked, ca.public == world.other.public);
        assert_eq!(signed_is_good(&format!("carol cert-authority {}\n", ca.public), &certified), !revoked);
    }
    // A type that cannot sign here is revoked as well.
    let dsa = "ssh-dss AAAAB3NzaC1kc3MAAAABAQ==";
    let parsed = Revocations::parse(format!("{dsa}\n").as_bytes()).unwrap();
    assert_eq!(parsed.items().count(), 1);
    let certificate = fs::read_to_string(&world.certificates["ca-id5"]).unwrap();
    for (list, line) in [
        ("ssh-ed25519".to_owned(), 1),
        (format!("# x\nrestrict {}", world.keys[1].public), 2),
        (world.keys[1].public.replace("ssh-ed25519", "ssh-rsa").replace("ecdsa-sha2-nistp256", "ssh-rsa"), 1),
        (format!("{dsa}=\n"), 1),
        (certificate, 1),
        ("\u{0}".to_owned(), 1),
    ] {
        assert_eq!(Revocations::parse(list.as_bytes()), Err(RevocationsError::Line(line)), "{list}");
    }
    assert_eq!(Revocations::parse(&vec![b'\n'; 1024 * 1024 + 1]), Err(RevocationsError::TooLarge));
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// A list with these sections.
fn list(sections: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = b"SSHKRL\n\0\0\0\0\x01".to_vec();
    bytes.extend([0; 24]);
    bytes.extend([string(b""), string(b"a comment")].concat());
    for (kind, section) in sections {
        bytes.push(*kind);
        bytes.extend(string(section));
    }
    bytes
}

/// A section of certificates of any authority.
fn certificates(sections: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = [string(b""), string(b"")].concat();
    for (kind, section) in sections {
        bytes.push(*kind);
        bytes.extend(string(section));
    }
    list(&[(1, bytes)])
}

fn numbers(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|one| one.to_be_bytes()).collect()
}

#[test]
fn what_is_not_understood_refuses_the_list() {
    let malformed = |bytes: &[u8]| matches!(Revocations::parse(bytes), Err(RevocationsError::Malformed(_)));
    let good = list(&[]);
    assert_eq!(Revocations::parse(&good), Ok(Revocations::default()));
    for end in 8..good.len() {
        assert!(malformed(&good[..end]), "{end} bytes");
    }
    let at = |place: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[place] = value;
        bytes
    };
    assert_eq!(Revocations::parse(&at(11, 2)), Err(RevocationsError::Version(2)));
    assert!(malformed(&at(35, 1)), "flags");
    assert_eq!(Revocations::parse(&list(&[(9, vec![])])), Err(RevocationsError::UnknownSection(9)));
    assert_eq!(Revocations::parse(&list(&[(4, string(b"x"))])), Err(RevocationsError::Signed));
    let extension = |critical: u8| [string(b"x@example.com"), vec![critical], string(b"")].concat();
    let critical = RevocationsError::CriticalExtension("x@example.com".into());
    assert_eq!(Revocations::parse(&list(&[(255, extension(0))])), Ok(Revocations::default()));
    assert_eq!(Revocations::parse(&list(&[(255, extension(1))])), Err(critical.clone()));
    assert_eq!(Revocations::parse(&certificates(&[(0x39, extension(0))])), Ok(Revocations::default()));
    assert_eq!(Revocations::parse(&certificates(&[(0x39, extension(1))])), Err(critical));
    assert_eq!(Revocations::parse(&certificates(&[(0x24, vec![])])), Err(RevocationsError::UnknownSection(0x24)));
    let key = |blob: &[u8]| list(&[(2, string(blob))]);
    let cases = [
        ("no key", list(&[(2, vec![])])),
        ("an empty key", key(b"")),
        ("a key that is only a name", key(&string(b"ssh-ed25519"))),
        ("a certificate", key(&[string(b"ssh-ed25519-cert-v01@openssh.com"), string(b"x")].concat())),
        ("no digest", list(&[(3, vec![])])),
        ("a short digest", list(&[(3, string(&[1; 19]))])),
        ("a digest of another kind", list(&[(5, string(&[1; 20]))])),
        ("digests in disorder", list(&[(5, [string(&[2; 32]), string(&[1; 32])].concat())])),
        ("a digest twice", list(&[(5, [string(&[2; 32]), string(&[2; 32])].concat())])),
        ("serial 0", certificates(&[(0x20, numbers(&[0]))])),
        ("half a serial", certificates(&[(0x20, vec![1; 7])])),
        ("a range that ends before it begins", certificates(&[(0x21, numbers(&[9, 8]))])),
        ("a range of three", certificates(&[(0x21, numbers(&[7, 8, 9]))])),
        ("a bitmap of nothing", certificates(&[(0x22, [numbers(&[1]), string(b"")].concat())])),
        ("a negative bitmap", certificates(&[(0x22, [numbers(&[1]), string(&[0x80])].concat())])),
        ("a bitmap with serial 0", certificates(&[(0x22, [numbers(&[0]), string(&[1])].concat())])),
        ("a bitmap beyond the end", certificates(&[(0x22, [numbers(&[u64::MAX]), string(&[2])].concat())])),
        ("no key id", certificates(&[(0x23, vec![])])),
        ("a key id that is no text", certificates(&[(0x23, string(&[0xff]))])),
        ("an authority that is none", list(&[(1, [string(b"x"), string(b"")].concat())])),
        ("a reserved field", list(&[(1, [string(b""), string(b"x")].concat())])),
        ("bytes at the end", [good.clone(), vec![1]].concat()),
    ];
    for (name, bytes) in cases {
        assert!(malformed(&bytes), "{name}: {:?}", Revocations::parse(&bytes));
    }
}

#[test]
fn bits_are_serials() {
    let of = |offset: u64, bits: &[u8]| {
        let bytes = certificates(&[(0x22, [numbers(&[offset]), string(bits)].concat())]);
        let items: Vec<_> = Revocations::parse(&bytes).unwrap().items().cloned().collect();
        items
            .into_iter()
            .map(|item| match item {
                RevokedItem::Serials { authority: None, from, to } => (from, to),
                other => panic!("{other:?}"),
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(of(10, &[1]), [(10, 10)]);
    assert_eq!(of(10, &[0x0d]), [(10, 10), (12, 13)]);
    assert_eq!(of(0, &[2]), [(1, 1)]);
    assert_eq!(of(10, &[0, 0xff, 0xff]), [(10, 25)]);
    assert_eq!(of(10, &[1, 0x80]), [(17, 18)]);
    assert_eq!(of(u64::MAX, &[1]), [(u64::MAX, u64::MAX)]);
}

#[test]
fn too_much_is_refused() {
    let every_second: Vec<u64> = (1..=100_001).map(|one| one * 2).collect();
    let bytes = certificates(&[(0x20, numbers(&every_second[..100_000]))]);
    assert_eq!(Revocations::parse(&bytes).unwrap().items().count(), 100_000);
    assert_eq!(Revocations::parse(&certificates(&[(0x20, numbers(&every_second))])), Err(RevocationsError::TooMany));
}

/// Into the words of a trust file.
#[test]
fn revocations_are_imported() {
    let world = World::new();
    let keys = world.keys.iter().enumerate().filter(|(number, _key)| *number != 0);
    let mut file = String::from(
        "apiVersion: writ.dev/v1alpha1\nkind: TrustPolicy\nrepoId: x\nref: refs/heads/main\nversion: 1\n\
         expires: 2027-06-01T00:00:00Z\nprincipals:\n",
    );
    for (number, key) in keys {
        file += &format!("  p{number}: {{kind: human, keys: [{{ssh: \"{}\"}}]}}\n", key.public);
    }
    for (name, key) in [("ca", &world.ca), ("ca2", &world.other)] {
        file += &format!("  {name}: {{kind: ca, key: \"{}\", principals: [\"*\"], maxValidity: 8h}}\n", key.public);
    }
    file += "roles: {root: [p1, p2, p3, p4]}\n\
             rules: [{name: all, paths: [\"**\"], anyOf: [{role: root, threshold: 1}]}]\n\
             revoked: [{ca: ca, serial: 9}]\n";
    let text = file;
    let file = trust::TrustFile::parse(text.as_bytes()).unwrap();
    let import = |bytes: &[u8]| {
        let imported = file.import_revocations(&Revocations::parse(bytes).unwrap());
        assert!(imported.may_be_certified.is_empty());
        let text = |items: Vec<String>| items.join(", ");
        (
            text(imported.revoked.iter().map(ToString::to_string).collect()),
            text(imported.without_words.iter().map(ToString::to_string).collect()),
        )
    };
    let fingerprint = |key: &Key| key.parsed().fingerprint().to_string();
    let none = String::new;
    assert_eq!(
        import(&world.krl(Some("ca"), "serial: 5-7\nserial: 9\nid: laptop\n")),
        ("certificates 5 to 7 of ca, certificate \"laptop\" of ca".to_owned(), none())
    );
    assert_eq!(
        import(&world.krl(Some("none"), "id: laptop\n")),
        ("certificate \"laptop\" of ca, certificate \"laptop\" of ca2".to_owned(), none())
    );
    let one = &world.keys[1];
    for form in ["key", "sha1", "sha256"] {
        let listed = world.krl(None, &format!("{form}: {}\n", one.public));
        assert_eq!(import(&listed), (format!("key {}", fingerprint(one)), none()), "{form}");
    }
    assert_eq!(
        import(format!("{}\n", world.ca.public).as_bytes()),
        (format!("key {}", fingerprint(&world.ca)), none())
    );
    // A key that the file does not know is revoked by its name; its SHA-1 is the name of nothing here.
    let zero = &world.keys[0];
    assert_eq!(import(zero.public.as_bytes()), (format!("key {}", fingerprint(zero)), none()));
    // It may be one that an authority has certified, and where there are none nothing can be signed with it.
    let sha1 = Revocations::parse(&world.krl(None, &format!("sha1: {}\n", zero.public))).unwrap();
    let imported = file.import_revocations(&sha1);
    assert!(imported.revoked.is_empty() && imported.without_words.is_empty());
    assert!(imported.may_be_certified[0].to_string().starts_with("key with SHA-1 "), "{imported:?}");
    let lines = text.lines().filter(|line| !line.contains("kind: ca")).collect::<Vec<_>>().join("\n");
    let alone = lines.replace("[{ca: ca, serial: 9}]", "[]");
    let alone = trust::TrustFile::parse(alone.as_bytes()).unwrap().import_revocations(&sha1);
    assert_eq!((alone.without_words, alone.may_be_certified), (imported.may_be_certified, Vec::new()));
    let third = world.bench.key("third", KEY_TYPES[0]);
    let of_third = format!("certificate 5 of {}", fingerprint(&third));
    assert_eq!(import(&world.krl(Some("third"), "serial: 5\n")), (none(), of_third));
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(
        kind in prop_oneof![Just(1_u8), Just(2), Just(3), Just(5), Just(255), any::<u8>()],
        inner in prop_oneof![Just(0x20_u8), Just(0x21), Just(0x22), Just(0x23), Just(0x39), any::<u8>()],
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let _verdict = Revocations::parse(&bytes);
        let _verdict = Revocations::parse(&list(&[(kind, bytes.clone())]));
        let _verdict = Revocations::parse(&list(&[(kind, string(&bytes))]));
        let _verdict = Revocations::parse(&certificates(&[(inner, bytes)]));
    }

    /// Whatever serials a list names, in whatever form, exactly those are revoked.
    #[test]
    fn serials_are_those_that_are_listed(serials in proptest::collection::btree_set(1_u64..200, 1..40), offset in 0_u64..100) {
        let listed = certificates(&[(0x20, numbers(&serials.iter().map(|one| one + offset).collect::<Vec<_>>()))]);
        let mut bits = [0_u8; 26];
        for one in &serials {
            let place = bits.len() - 1 - usize::try_from(one / 8).unwrap();
            bits[place] |= 1 << (one % 8);
        }
        let start = bits.iter().position(|byte| *byte != 0).unwrap();
        let sign: &[u8] = if bits[start] >= 0x80 { &[0] } else { &[] };
        let bits = [sign, &bits[start..]].concat();
        let mapped = certificates(&[(0x22, [numbers(&[offset]), string(&bits)].concat())]);
        let covered = |bytes: &[u8]| {
            let parsed = Revocations::parse(bytes).unwrap();
            let ranges: Vec<_> = parsed.items().map(|item| match item {
                RevokedItem::Serials { from, to, .. } => (*from, *to),
                other => panic!("{other:?}"),
            }).collect();
            (0..400_u64).filter(|one| ranges.iter().any(|(from, to)| (from..=to).contains(&one))).collect::<Vec<_>>()
        };
        prop_assert_eq!(covered(&listed), covered(&mapped));
        prop_assert_eq!(covered(&mapped), serials.iter().map(|one| one + offset).collect::<Vec<_>>());
    }
}

#[test]
fn fingerprints_and_keys_are_one_name() {
    let bench = Bench::new();
    let key = bench.key("key", KEY_TYPES[0]);
    let fingerprint: Fingerprint = key.parsed().fingerprint();
    let parsed = Revocations::parse(key.public.as_bytes()).unwrap();
    assert_eq!(parsed.items().collect::<Vec<_>>(), [&RevokedItem::Key(fingerprint)]);
    assert!(parsed.revokes_key(&PublicKey::parse(&key.public).unwrap()));
}
