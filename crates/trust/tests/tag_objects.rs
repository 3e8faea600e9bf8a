//! Tags made by the real `git`, and what an attacker makes of them.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use manifest::{Digest, Finding};
use support::{Bench, COMMIT_TIME, KEY_TYPES, Repository, gpg::Gpg};
use trust::{Crypto, ObjectFormat, TagId, TagObject, verify_sshsig};

/// The raw tag of this name.
fn raw(repository: &Repository<'_>, name: &str) -> Vec<u8> {
    repository.git(&["cat-file", "tag", name])
}

#[expect(clippy::unwrap_in_result, reason = "these bytes do not collide")]
fn parse(raw: &[u8]) -> Result<TagObject, Finding> {
    TagObject::parse(TagId::of(ObjectFormat::Sha1, raw).unwrap(), raw)
}

fn code(raw: &[u8]) -> &'static str {
    let Ok(tag) = parse(raw).map_err(|finding| finding.code.code) else { return parse(raw).unwrap_err().code.code };
    match verify_sshsig(&tag.signature, &tag.payload, "git", &Crypto::default()) {
        Ok(_) => "accepted",
        Err(error) => error.code().as_str(),
    }
}

#[test]
fn what_git_makes_is_read_with_every_key_type_and_object_format() {
    let bench = Bench::new();
    for (number, key_type) in KEY_TYPES.iter().enumerate() {
        let key = bench.key(&format!("key{number}"), key_type);
        for (name, format) in [("sha1", ObjectFormat::Sha1), ("sha256", ObjectFormat::Sha256)] {
            let repository = bench.repository(&format!("{number}-{name}"), &key, name);
            let (commit, _) = repository.commit(&["-S", "-m", "first"]);
            repository.git(&["tag", "-s", "-m", "Grüße\n\nwith a body", "release/v1"]);
            let id = String::from_utf8(repository.git(&["rev-parse", "refs/tags/release/v1"])).unwrap();
            let tag = TagObject::parse(id.trim().parse().unwrap(), &raw(&repository, "release/v1"))
                .unwrap_or_else(|refused| panic!("{key_type:?} {name}: {refused}"));
            assert_eq!((tag.commit, tag.name.as_str(), tag.tagger_time), (commit, "release/v1", COMMIT_TIME));
            assert_eq!((tag.id.format(), tag.payload_sha256), (format, Digest::of(&tag.payload)));
            let signature = verify_sshsig(&tag.signature, &tag.payload, "git", &Crypto::default()).unwrap();
            assert_eq!(*signature.key(), key.parsed());
        }
    }
}

#[test]
fn what_gpg_signs_is_read() {
    let bench = Bench::new();
    let gpg = Gpg::new(&bench, "gpg");
    let alice = gpg.key("alice", "ed25519", "sign", "never");
    let key = bench.key("key", KEY_TYPES[0]);
    let repository = bench.repository("repository", &key, "sha1");
    repository.commit(&["-m", "first"]);
    repository.git(&["tag", "-a", "-m", "release", "v1"]);
    let payload = raw(&repository, "v1");
    let signature = gpg.sign(&alice, &[], &payload);
    let tag = parse(&[payload.as_slice(), &signature].concat()).unwrap_or_else(|refused| panic!("{refused}"));
    assert_eq!((tag.payload, tag.signature), (payload, signature));
}

#[test]
fn mutants_are_refused() {
    let bench = Bench::new();
    let key = bench.key("key", KEY_TYPES[0]);
    let repository = bench.repository("repository", &key, "sha1");
    let (commit, _) = repository.commit(&["-S", "-m", "first"]);
    repository.git(&["tag", "-s", "-m", "release", "v1"]);
    let good = String::from_utf8(raw(&repository, "v1")).unwrap();
    assert_eq!(code(good.as_bytes()), "accepted");
    let (payload, signature) = good.split_at(good.find("-----BEGIN").unwrap());
    let with = |from: &str, to: &str| {
        assert!(good.contains(from), "{from:?}");
        good.replacen(from, to, 1)
    };
    let end = "-----END SSH SIGNATURE-----";
    let mutants = [
        ("not signed", payload.to_owned(), "W301"),
        ("signed twice", format!("{good}{signature}"), "W102"),
        ("another signature in the message", with("release\n", &format!("{signature}release\n")), "W102"),
        ("a line that begins like one", with("release\n", "release\n-----BEGIN PGP MESSAGE-----x\n"), "W102"),
        ("bytes after the signature", format!("{good}more\n"), "W101"),
        ("a blank after the armour", with(end, &format!("{end} ")), "W101"),
        ("no end of line", good.trim_end().to_owned(), "W101"),
        ("a header gpgsig", with("\n\n", "\ngpgsig x\n\n"), "W102"),
        ("a header gpgsig-sha256", with("\ntag ", "\ngpgsig-sha256 x\ntag "), "W102"),
        ("an unknown header", with("\n\n", "\nencoding UTF-8\n\n"), "W101"),
        ("a second object", format!("object {commit}\n{good}"), "W101"),
        (
            "no tagger",
            good.lines().filter(|line| !line.starts_with("tagger")).map(|line| format!("{line}\n")).collect(),
            "W101",
        ),
        (
            "headers in another order",
            with(&format!("object {commit}\ntype commit\n"), &format!("type commit\nobject {commit}\n")),
            "W101",
        ),
        ("a tag of a tag", with("type commit", "type tag"), "W101"),
        ("a tag of a tree", with("type commit", "type tree"), "W101"),
        ("a folded name", with("tag v1\n", "tag v1\n v2\n"), "W101"),
        ("an id of the other format", with(&commit.to_string(), &"ab".repeat(32)), "W101"),
        ("upper-case ids", with(&commit.to_string(), &commit.to_string().to_uppercase()), "W101"),
        ("a tagger without zone", with(" +0000\n", "\n"), "W101"),
        ("NUL in the message", with("release\n", "release\0\n"), "W103"),
        ("too large", with("release\n", &"x".repeat(1 << 20)), "W103"),
        ("a signature that is too long", with(end, &format!("{}{end}", "A".repeat(70_000))), "W103"),
        ("another message", with("release\n", "release!\n"), "W201"),
        ("another commit", with(&commit.to_string(), &"ab".repeat(20)), "W201"),
        ("another name", with("tag v1", "tag v2"), "W201"),
        ("nothing", String::new(), "W101"),
    ];
    for (name, mutant, expected) in mutants {
        assert_eq!(code(mutant.as_bytes()), expected, "{name}");
    }
    let other = TagId::of(ObjectFormat::Sha1, b"other").unwrap();
    assert_eq!(TagObject::parse(other, good.as_bytes()).unwrap_err().code.code, "W106");
    for place in 0..good.len() {
        let mut raw = good.clone().into_bytes();
        raw[place] ^= 0x20;
        assert_ne!(code(&raw), "accepted", "byte {place}");
    }
}
