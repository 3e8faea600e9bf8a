//! Certificates and signatures made by the real `gpg`, in every state that a key can be in.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use manifest::Subject;
use support::{
    Bench, COMMIT_TIME,
    gpg::{Gpg, SIGN_TIME, fingerprint},
};
use trust::{
    Crypto, HashAlgorithm, Instants, KeyAlgorithm,
    openpgp::{Certificate, CertificateError, Keyring, OpenPgpError, OpenPgpVerifier as _, Signature},
};

const MESSAGE: &[u8] = b"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n\nmessage\n";

fn at_signing() -> Instants {
    Instants { committer: Timestamp::from_second(COMMIT_TIME).unwrap(), first_sight: None }
}

/// A commit of the usual time, seen first at this time.
fn seen(text: &str) -> Instants {
    Instants { first_sight: Some(text.parse().unwrap()), ..at_signing() }
}

fn verdict(certificate: &Certificate, armored: &[u8], at: &Instants) -> Result<(), OpenPgpError> {
    Signature::parse(armored)?.verify(certificate, MESSAGE, &Crypto::default(), at).map(drop)
}

fn code(certificate: &Certificate, armored: &[u8], at: &Instants) -> &'static str {
    verdict(certificate, armored, at).map_or_else(|error| error.code().as_str(), |()| "accepted")
}

const ALGORITHMS: [(&str, KeyAlgorithm); 5] = [
    ("ed25519", KeyAlgorithm::Ed25519),
    ("nistp256", KeyAlgorithm::EcdsaP256),
    ("nistp384", KeyAlgorithm::EcdsaP384),
    ("nistp521", KeyAlgorithm::EcdsaP521),
    ("rsa3072", KeyAlgorithm::Rsa),
];

#[test]
fn what_gpg_makes_is_accepted_with_every_key_and_digest() {
    let bench = Bench::new();
    let gpg = Gpg::new(&bench, "gpg");
    let mut all = Vec::new();
    for (name, algorithm) in ALGORITHMS {
        let key = gpg.key(name, name, "sign", "never");
        let certificate = gpg.certificate(&key);
        assert_eq!((certificate.fingerprint(), certificate.user_id()), (fingerprint(&key), Some(name)));
        let binary = gpg.ok(SIGN_TIME, &["--export", &key], b"");
        assert_eq!(Certificate::parse(&binary).as_ref(), Ok(&certificate));
        // gpg makes no ECDSA signature over a digest that is shorter than the curve
        let shorter = match name {
            "nistp384" => 1,
            "nistp521" => 2,
            _ => 0,
        };
        for digest in [None].into_iter().chain(["SHA256", "SHA384", "SHA512"].map(Some).into_iter().skip(shorter)) {
            let args = digest.map_or_else(Vec::new, |digest| vec!["--digest-algo", digest]);
            let armored = gpg.sign(&key, &args, MESSAGE);
            let signature = Signature::parse(&armored).unwrap_or_else(|error| panic!("{name} {digest:?}: {error}"));
            let verify = |crypto: &Crypto| signature.verify(&certificate, MESSAGE, crypto, &at_signing());
            let verified = verify(&Crypto::default()).unwrap_or_else(|error| panic!("{name} {digest:?}: {error}"));
            assert_eq!((verified.key(), verified.created().as_second()), (fingerprint(&key), COMMIT_TIME));
            // each setting that leaves this algorithm or digest out
            let mut crypto = Crypto::default();
            crypto.allow.remove(&algorithm);
            assert_eq!(verify(&crypto).unwrap_err().code().as_str(), "W203");
            if let Some(digest) = digest {
                let hash = if digest == "SHA256" { HashAlgorithm::Sha256 } else { HashAlgorithm::Sha512 };
                let crypto = Crypto { hashes: BTreeSet::from([hash]), ..Crypto::default() };
                assert!(verify(&crypto).is_ok(), "{name} {digest}");
                let mut crypto = Crypto::default();
                crypto.hashes.remove(&hash);
                assert_eq!(verify(&crypto).unwrap_err().code().as_str(), "W203", "{name} {digest}");
            }
            let other = signature.verify(&certificate, b"other", &Crypto::default(), &at_signing());
            assert_eq!(other, Err(OpenPgpError::Mismatch(fingerprint(&key))));
        }
        all.push((key, certificate));
    }
    // one file of all, and each certificate vouches for its own key only
    let exported = gpg.ok(SIGN_TIME, &["--armor", "--export"], b"");
    let keyring = Keyring::parse(&exported).unwrap();
    assert_eq!(keyring.certificates().len(), ALGORITHMS.len());
    assert_eq!(Certificate::parse(&exported), Err(CertificateError::Several));
    for (key, certificate) in &all {
        let armored = gpg.sign(key, &[], MESSAGE);
        let verified = keyring.verify_openpgp(&armored, MESSAGE, &Crypto::default(), &at_signing()).unwrap();
        assert_eq!(keyring.certificate(&verified.certificate()), Some(certificate));
        let others = all.iter().filter(|(other, _)| other != key);
        assert!(others.map(|(_, other)| code(other, &armored, &at_signing())).all(|code| code == "W202"));
    }
}

#[test]
fn numbers_of_every_length_are_read() {
    // a number is shorter than its curve in one of 128 signatures
    let bench = Bench::new();
    let gpg = Gpg::new(&bench, "gpg");
    for name in ["ed25519", "nistp256"] {
        let key = gpg.key(name, name, "sign", "never");
        let certificate = gpg.certificate(&key);
        let mut lengths = BTreeSet::new();
        let mut number = 0_u32;
        while number < 50 || lengths.len() < 2 {
            number += 1;
            assert!(number < 5000, "{name}: {lengths:?}");
            let message = number.to_string();
            let armored = gpg.sign(&key, &[], message.as_bytes());
            let text = String::from_utf8(armored.clone()).unwrap();
            let digits: String = text.lines().filter(|line| !line.starts_with(['-', '='])).collect();
            lengths.insert(STANDARD.decode(digits).unwrap().len());
            Signature::parse(&armored)
                .and_then(|one| one.verify(&certificate, message.as_bytes(), &Crypto::default(), &at_signing()))
                .unwrap_or_else(|error| panic!("{name} {number}: {error}"));
        }
    }
}

#[test]
fn weak_and_unsupported_keys_and_digests_are_refused() {
    let bench = Bench::new();
    let gpg = Gpg::new(&bench, "gpg");
    let rsa = gpg.key("rsa3072", "rsa3072", "sign", "never");
    let certificate = gpg.certificate(&rsa);
    for digest in ["SHA1", "SHA224", "RIPEMD160"] {
        let armored = gpg.sign(&rsa, &["--digest-algo", digest], MESSAGE);
        assert_eq!(code(&certificate, &armored, &at_signing()), "W203", "{digest}");
        // git accepts what gpg accepts
        assert!(gpg.accepts(SIGN_TIME, MESSAGE, &armored), "{digest}");
    }
    for (name, expected, words) in [
        ("rsa2048", "W203", "2048 bits"),
        ("rsa1024", "W203", "1024 bits"),
        ("dsa2048", "W203", "DSA"),
        ("brainpoolP256r1", "W208", "brainpoolP256r1"),
        ("brainpoolP512r1", "W208", "brainpoolP512r1"),
        ("secp256k1", "W208", "secp256k1"),
    ] {
        let key = gpg.key(name, name, "sign", "never");
        let armored = gpg.sign(&key, &[], MESSAGE);
        let error = verdict(&gpg.certificate(&key), &armored, &at_signing()).expect_err("refused");
        assert_eq!(error.code().as_str(), expected, "{name}: {error}");
        let finding = error.finding(Subject::Named("commit".into()), "sign again".into());
        assert!(finding.found.contains(words), "{name}: {}", finding.found);
        if name == "rsa2048" {
            let crypto = Crypto { min_rsa: 2048, ..Crypto::default() };
            let signature = Signature::parse(&armored).unwrap();
            assert!(signature.verify(&gpg.certificate(&key), MESSAGE, &crypto, &at_signing()).is_ok());
        }
    }
    // a strong subkey is worth no more than the weak primary key that binds it
    let weak = gpg.key("weak", "rsa2048", "cert", "never");
    let subkey = gpg.subkey(&weak, "ed25519", "sign", "never");
    let armored = gpg.sign(&subkey, &[], MESSAGE);
    assert_eq!(code(&gpg.certificate(&weak), &armored, &at_signing()), "W203");
}

#[test]
fn subkeys_sign_while_they_and_the_primary_key_are_in_force() {
    let bench = Bench::new();
    let gpg = Gpg::new(&bench, "gpg");
    let primary = gpg.key("primary", "ed25519", "cert", "20270101T000000");
    let subkey = gpg.subkey(&primary, "ed25519", "sign", "20260601T000000");
    let encrypting = gpg.subkey(&primary, "cv25519", "encr", "never");
    let armored = gpg.sign(&subkey, &[], MESSAGE);
    let certificate = gpg.certificate(&primary);
    let keys: Vec<_> = certificate.keys().collect();
    assert_eq!(keys, [&primary, &subkey, &encrypting].map(|key| fingerprint(key)));
    let verified = Signature::parse(&armored)
        .and_then(|one| one.verify(&certificate, MESSAGE, &Crypto::default(), &at_signing()))
        .unwrap();
    assert_eq!((verified.certificate(), verified.key()), (keys[0], keys[1]));
    assert_eq!(code(&certificate, &armored, &seen("2026-06-01T00:00:00Z")), "W204");
    assert_eq!(code(&certificate, &armored, &seen("2026-05-31T23:59:59Z")), "accepted");
    // the expiry is extended: the newest statement counts, also for what was signed before
    gpg.ok("20260501T000000", &["--quick-set-expire", &primary, "20280101T000000", &subkey], b"");
    let extended = gpg.certificate(&primary);
    assert_eq!(code(&extended, &armored, &seen("2026-06-01T00:00:00Z")), "accepted");
    // the primary key's end is that of its subkeys
    assert_eq!(code(&extended, &armored, &seen("2027-01-01T00:00:00Z")), "W204");
    gpg.ok("20260501T000000", &["--quick-set-expire", &primary, "20260502T000000"], b"");
    assert_eq!(code(&gpg.certificate(&primary), &armored, &seen("2026-05-03T00:00:00Z")), "W204");
    // revoked with its primary key
    gpg.revoke("20260501T000000", &primary, 1);
    assert_eq!(code(&gpg.certificate(&primary), &armored, &at_signing()), "W304");
}

#[test]
fn options_of_gpg_that_change_what_is_signed() {
    let bench = Bench::new();
    let gpg = Gpg::new(&bench, "gpg");
    let key = gpg.key("alice", "ed25519", "sign", "never");
    let other = gpg.key("bob", "ed25519", "sign", "never");
    let certificate = gpg.certificate(&key);
    let two = format!("{other}!");
    let cases: [(&str, &[&str], &str, bool); 7] = [
        ("a remark", &["--sig-notation", "note@example.com=value"], "accepted", true),
        ("a policy", &["--sig-policy-url", "https://example.com/"], "accepted", true),
        ("a critical remark", &["--sig-notation", "!note@example.com=value"], "W201", false),
        ("a critical policy", &["--sig-policy-url", "!https://example.com/"], "W201", true),
        ("as text", &["--textmode"], "W201", true),
        ("two signatures in one armour", &["-u", &two], "W201", true),
        ("a comment", &["--comment", "hello"], "W201", true),
    ];
    for (name, args, expected, by_gpg) in cases {
        let armored = gpg.sign(&key, args, MESSAGE);
        assert_eq!(code(&certificate, &armored, &at_signing()), expected, "{name}");
        assert_eq!(gpg.accepts(SIGN_TIME, MESSAGE, &armored), by_gpg, "gpg: {name}");
    }
    // a signature that ends
    let armored = gpg.sign(&key, &["--default-sig-expire", "20260201T000000"], MESSAGE);
    assert_eq!(code(&certificate, &armored, &seen("2026-01-31T23:59:59Z")), "accepted");
    assert_eq!(code(&certificate, &armored, &seen("2026-02-01T00:00:00Z")), "W204");
    // a message, not a detached signature
    let message = gpg.ok(SIGN_TIME, &["--armor", "--sign", "-u", &key], MESSAGE);
    assert_eq!(code(&certificate, &message, &at_signing()), "W201");
    // of the future
    let armored = gpg.sign_at("20260102T000000", &key, &[], MESSAGE);
    assert_eq!(code(&certificate, &armored, &at_signing()), "accepted", "nothing is known but what it says");
    assert_eq!(code(&certificate, &armored, &seen("2026-01-01T12:00:00Z")), "W204");
    // older than its key
    let armored = gpg.sign_at("20240101T000000", &key, &["--ignore-time-conflict"], MESSAGE);
    assert_eq!(code(&certificate, &armored, &at_signing()), "W204");
}

#[test]
fn private_keys_are_refused_by_name() {
    let bench = Bench::new();
    let gpg = Gpg::new(&bench, "gpg");
    let key = gpg.key("alice", "ed25519", "sign", "never");
    for armor in [&["--armor"][..], &[]] {
        let exported = gpg.ok(SIGN_TIME, &[armor, &["--export-secret-keys", &key]].concat(), b"");
        assert_eq!(Keyring::parse(&exported), Err(CertificateError::Private));
    }
}
