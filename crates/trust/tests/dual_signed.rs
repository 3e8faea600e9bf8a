//! Commits with a signature for each object format, as git writes them with `extensions.compatObjectFormat`, and what an
//! attacker makes of them. Not every git that tests run with knows that setting, so the two headers are put together here, in
//! the order in which git has them; each git verifies the result.

#![expect(clippy::unwrap_used, clippy::string_slice, clippy::indexing_slicing, reason = "tests")]

mod support;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use manifest::Finding;
use support::{Bench, KEY_TYPES, Key, gpg::Gpg};
use trust::{CommitId, CommitObject, Crypto, ObjectFormat};

const FORMATS: [(&str, ObjectFormat); 2] = [("sha1", ObjectFormat::Sha1), ("sha256", ObjectFormat::Sha256)];

/// One commit on another in both object formats, without signature.
fn both(bench: &Bench, key: &Key) -> [String; 2] {
    FORMATS.map(|(name, _)| {
        let repository = bench.repository(&format!("made-{name}"), key, name);
        repository.commit(&["-m", "first"]);
        String::from_utf8(repository.commit(&["-m", "second\n\nwith a body"]).1).unwrap()
    })
}

fn header(name: &str, armoured: &[u8]) -> String {
    format!("{name} {}\n", std::str::from_utf8(armoured).unwrap().trim_end().replace('\n', "\n "))
}

/// The commit with these headers before its blank line.
fn with(unsigned: &str, headers: &[&str]) -> Vec<u8> {
    let end = unsigned.find("\n\n").unwrap() + 1;
    [&unsigned[..end], &headers.concat(), &unsigned[end..]].concat().into_bytes()
}

/// An Ed25519 signature with a byte too many, in the armour of ssh-keygen.
fn one_byte_more(armoured: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(armoured).unwrap();
    let digits: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    let mut blob = STANDARD.decode(digits).unwrap();
    // Both lengths before the 64 bytes: that of the bytes, and that of the name of the format with them.
    for length in [blob.len() - 64 - 1, blob.len() - 64 - 4 - 11 - 4 - 1] {
        blob[length] += 1;
    }
    blob.push(7);
    let digits = STANDARD.encode(blob);
    let lines: Vec<&str> = digits.as_bytes().chunks(70).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n", lines.join("\n")).into_bytes()
}

#[expect(clippy::unwrap_in_result, reason = "these bytes do not collide")]
fn parse(format: ObjectFormat, raw: &[u8]) -> Result<CommitObject, Finding> {
    CommitObject::parse(CommitId::of(format, raw).unwrap(), raw)
}

fn ssh(format: ObjectFormat, raw: &[u8]) -> Result<CommitObject, Finding> {
    let commit = parse(format, raw)?;
    commit.verify_ssh(&Crypto::default())?;
    Ok(commit)
}

#[test]
fn a_commit_is_verified_by_the_signature_of_its_own_object_format() {
    let bench = Bench::new();
    for (number, key_type) in KEY_TYPES.iter().enumerate() {
        let key = bench.key(&format!("key{number}"), key_type);
        let unsigned = both(&bench, &key);
        let signed = |of: &str| bench.sign(&key, "git", "sha512", of.as_bytes());
        let headers = [header("gpgsig", &signed(&unsigned[0])), header("gpgsig-sha256", &signed(&unsigned[1]))];
        for ((name, format), unsigned) in FORMATS.iter().zip(&unsigned) {
            let raw = with(unsigned, &[&headers[0], &headers[1]]);
            let commit = ssh(*format, &raw).unwrap_or_else(|refused| panic!("{key_type:?} {name}: {refused}"));
            assert_eq!(commit.payload, unsigned.as_bytes());
            let repository = bench.repository(&format!("{number}-{name}"), &key, name);
            assert!(repository.git_accepts(&repository.plant(&raw), &format!("alice {}\n", key.public)), "{name}");
        }
    }
}

#[test]
fn what_is_not_the_other_signature_of_the_same_key_is_refused() {
    let bench = Bench::new();
    let (key, other) = (bench.key("key", KEY_TYPES[0]), bench.key("other", KEY_TYPES[0]));
    let unsigned = both(&bench, &key);
    let sign = |key, namespace, of: &str| bench.sign(key, namespace, "sha512", of.as_bytes());
    let own = |at: usize| sign(&key, "git", &unsigned[at]);
    let names = ["gpgsig", "gpgsig-sha256"];
    let good = [header(names[0], &own(0)), header(names[1], &own(1))];
    for (at, (format, unsigned)) in FORMATS.iter().map(|(_, format)| *format).zip(&unsigned).enumerate() {
        let beside = 1 - at;
        // The headers in the order of git, with another one in the place of the other format.
        let instead = |text: String| {
            let mut headers = good.clone();
            headers[beside] = text;
            with(unsigned, &[&headers[0], &headers[1]])
        };
        let foreign = |armoured: &[u8]| instead(header(names[beside], armoured));
        let armour = String::from_utf8(own(beside)).unwrap();
        let openpgp = b"-----BEGIN PGP SIGNATURE-----\n\nAA==\n-----END PGP SIGNATURE-----\n";
        let mutants = [
            ("junk", instead(format!("{} junk\n", names[beside])), "W102"),
            ("the other way round", with(unsigned, &[&good[1], &good[0]]), "W102"),
            ("only the other one", with(unsigned, &[&good[beside]]), "W102"),
            ("the other one twice", instead(good[beside].repeat(2)), "W102"),
            ("a third header", instead(format!("{}gpgsigX junk\n", good[beside])), "W102"),
            ("another key", foreign(&sign(&other, "git", "x")), "W102"),
            ("another purpose", foreign(&sign(&key, "file", "x")), "W102"),
            ("what this key never makes", foreign(&one_byte_more(&own(beside))), "W102"),
            ("the same signature", foreign(&own(at)), "W102"),
            ("another armour", foreign(openpgp), "W102"),
            (
                "an armour of X.509",
                foreign(b"-----BEGIN SIGNED MESSAGE-----\nAA==\n-----END SIGNED MESSAGE-----\n"),
                "W102",
            ),
            (
                "a blank after the armour",
                instead(good[beside].replace("SIGNATURE-----\n", "SIGNATURE----- \n")),
                "W102",
            ),
            ("one more continuation line", instead(format!("{} \n", good[beside])), "W102"),
            ("other lines", foreign(armour.replacen("SIGNATURE-----\n", "SIGNATURE-----\nA\n", 1).as_bytes()), "W102"),
            ("a header between", with(unsigned, &[&good[0], "encoding UTF-8\n", &good[1]]), "W101"),
            ("a header after", with(unsigned, &[&good[0], &good[1], "encoding UTF-8\n"]), "W101"),
            ("too long", foreign(armour.repeat(400).as_bytes()), "W102"),
        ];
        assert!(ssh(format, &with(unsigned, &[&good[0], &good[1]])).is_ok());
        for (name, mutant, expected) in mutants {
            let code = ssh(format, &mutant).map_or_else(|finding| finding.code.code, |_commit| "accepted");
            assert_eq!(code, expected, "{format:?}: {name}");
        }
        let exchanged = with(unsigned, &[&header(names[0], &own(1)), &header(names[1], &own(0))]);
        assert_eq!(ssh(format, &exchanged).expect_err("not signed by these").code.code, "W201");
    }
}

#[test]
fn openpgp_signatures_are_of_one_issuer() {
    let bench = Bench::new();
    let gpg = Gpg::new(&bench, "gpg");
    let [alice, bob] = ["alice", "bob"].map(|name| gpg.key(name, "ed25519", "sign", "never"));
    let key = bench.key("key", KEY_TYPES[0]);
    let unsigned = both(&bench, &key);
    let sign = |who: &str, at: usize| gpg.sign(who, &[], unsigned[at].as_bytes());
    for (at, (_, format)) in FORMATS.iter().enumerate() {
        let signed = |first: &[u8], second: &[u8]| {
            parse(*format, &with(&unsigned[at], &[&header("gpgsig", first), &header("gpgsig-sha256", second)]))
        };
        let commit = signed(&sign(&alice, 0), &sign(&alice, 1)).unwrap_or_else(|refused| panic!("{refused}"));
        assert_eq!(commit.payload, unsigned[at].as_bytes());
        assert_eq!(commit.signature, Some(sign(&alice, at)));
        for refused in [signed(&sign(&alice, 0), &sign(&bob, 1)), signed(&sign(&bob, 0), &sign(&alice, 1))] {
            let refused = refused.expect_err("of two keys");
            assert_eq!(refused.code.code, "W102");
            assert!(refused.found.contains("is signed by another key"), "{refused}");
        }
        let mixed = if at == 0 {
            signed(&sign(&alice, 0), &bench.sign(&key, "git", "sha512", b"x"))
        } else {
            signed(&bench.sign(&key, "git", "sha512", b"x"), &sign(&alice, 1))
        };
        assert_eq!(mixed.expect_err("of two kinds").code.code, "W102");
    }
}
