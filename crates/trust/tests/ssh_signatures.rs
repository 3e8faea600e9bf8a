//! Signatures made by the real `ssh-keygen`, and what an attacker makes of them.

#![expect(clippy::disallowed_methods, reason = "fixtures are made with real tools")]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::fs;

use aws_lc_rs::{
    digest::{SHA512, digest},
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use manifest::Subject;
use proptest::prelude::*;
use support::{Bench, KEY_TYPES, Key};
use trust::{Crypto, HashAlgorithm, KeyAlgorithm, NAMESPACE_TRUST, PublicKey, PublicKeyError, verify_sshsig};

const MESSAGE: &[u8] = b"version: 1\n";

fn code(armored: &[u8], crypto: &Crypto) -> &'static str {
    verify_sshsig(armored, MESSAGE, NAMESPACE_TRUST, crypto)
        .map_or_else(|error| error.code().as_str(), |_signature| "accepted")
}

/// The parts of a blob, so that each can be changed by itself.
#[derive(Clone)]
struct Parts {
    magic: Vec<u8>,
    version: u32,
    strings: [Vec<u8>; 4],
    format: Vec<u8>,
    signature: Vec<u8>,
    inner_tail: Vec<u8>,
    tail: Vec<u8>,
}

const KEY: usize = 0;
const NAMESPACE: usize = 1;
const RESERVED: usize = 2;
const HASH: usize = 3;

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

fn take(bytes: &mut &[u8]) -> Vec<u8> {
    let count = u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize;
    let value = bytes[4..4 + count].to_vec();
    *bytes = &bytes[4 + count..];
    value
}

impl Parts {
    fn of(armored: &[u8]) -> Self {
        let text = std::str::from_utf8(armored).unwrap();
        let blob = STANDARD.decode(text.lines().filter(|line| !line.starts_with('-')).collect::<String>()).unwrap();
        let mut rest = &blob[10..];
        let strings = [take(&mut rest), take(&mut rest), take(&mut rest), take(&mut rest)];
        let inner = take(&mut rest);
        assert!(rest.is_empty());
        let mut rest = inner.as_slice();
        let (format, signature) = (take(&mut rest), take(&mut rest));
        Self { magic: blob[..6].to_vec(), version: 1, strings, format, signature, inner_tail: vec![], tail: vec![] }
    }

    fn armored(&self) -> Vec<u8> {
        let inner = [string(&self.format), string(&self.signature), self.inner_tail.clone()].concat();
        let mut blob = [self.magic.as_slice(), &self.version.to_be_bytes()].concat();
        self.strings.iter().for_each(|part| blob.extend(string(part)));
        blob.extend(string(&inner));
        blob.extend(&self.tail);
        let digits = STANDARD.encode(blob);
        let lines: Vec<_> = digits.as_bytes().chunks(70).map(|line| std::str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n", lines.join("\n")).into_bytes()
    }

    fn with(&self, change: impl FnOnce(&mut Self)) -> Vec<u8> {
        let mut parts = self.clone();
        change(&mut parts);
        parts.armored()
    }
}

#[test]
fn what_ssh_keygen_makes_is_accepted() {
    let bench = Bench::new();
    for (number, (key_type, algorithm)) in KEY_TYPES.iter().zip(KeyAlgorithm::ALL).enumerate() {
        let key = bench.key(&format!("key{number}"), key_type);
        for hash in HashAlgorithm::ALL {
            let armored = bench.sign(&key, NAMESPACE_TRUST, hash.as_str(), MESSAGE);
            assert_eq!(Parts::of(&armored).armored(), armored, "the armour of ssh-keygen");
            let signature = verify_sshsig(&armored, MESSAGE, NAMESPACE_TRUST, &Crypto::default()).unwrap();
            assert_eq!((signature.key(), signature.hash()), (&key.parsed(), hash));
            assert_eq!(signature.key().algorithm(), algorithm);
            assert!(bench.ssh_keygen_accepts(&key, NAMESPACE_TRUST, MESSAGE, &armored));
            // each setting that leaves this algorithm or digest out
            let mut crypto = Crypto::default();
            crypto.hashes.remove(&hash);
            assert_eq!(code(&armored, &crypto), "W203");
            let mut crypto = Crypto::default();
            crypto.allow.remove(&algorithm);
            assert_eq!(code(&armored, &crypto), "W203");
        }
    }
}

#[test]
fn numbers_of_every_length_are_read() {
    // r and s are shorter than the curve in one of 128 signatures each, and carry a sign byte in every second
    let bench = Bench::new();
    let key = bench.key("key", KEY_TYPES[1]);
    let mut lengths = std::collections::BTreeSet::new();
    for number in 0..150_u32 {
        let message = number.to_be_bytes();
        let armored = bench.sign(&key, NAMESPACE_TRUST, "sha512", &message);
        lengths.insert(Parts::of(&armored).signature.len());
        verify_sshsig(&armored, &message, NAMESPACE_TRUST, &Crypto::default())
            .unwrap_or_else(|error| panic!("{error}"));
    }
    assert!(lengths.len() > 2, "{lengths:?}");
}

/// `expected` is our code; ssh-keygen may accept only where a comment says why it is more lenient.
fn check(bench: &Bench, key: &Key, name: &str, armored: &[u8], expected: &str, ssh_keygen: bool) {
    assert_eq!(code(armored, &Crypto::default()), expected, "{name}");
    assert_eq!(bench.ssh_keygen_accepts(key, NAMESPACE_TRUST, MESSAGE, armored), ssh_keygen, "ssh-keygen: {name}");
    let error = verify_sshsig(armored, MESSAGE, NAMESPACE_TRUST, &Crypto::default()).expect_err("refused");
    let finding = error.finding(Subject::Named("trust file".into()), "sign again".into());
    assert_eq!(finding.code.code, expected, "{finding}");
}

#[test]
fn tampered_blobs_are_refused() {
    let bench = Bench::new();
    let key = bench.key("key", KEY_TYPES[0]);
    let other = bench.key("other", KEY_TYPES[0]);
    let good = Parts::of(&bench.sign(&key, NAMESPACE_TRUST, "sha512", MESSAGE));
    let cases: [(&str, Vec<u8>, &str, bool); 21] = [
        ("other bytes", bench.sign(&key, NAMESPACE_TRUST, "sha512", b"version: 2\n"), "W201", false),
        ("other namespace", bench.sign(&key, "git", "sha512", MESSAGE), "W207", false),
        (
            "namespace exchanged",
            Parts::of(&bench.sign(&key, "git", "sha512", MESSAGE)).with(|parts| {
                parts.strings[NAMESPACE] = NAMESPACE_TRUST.into();
            }),
            "W201",
            false,
        ),
        // ssh-keygen takes the NUL for the end of the namespace
        ("namespace with NUL", good.with(|parts| parts.strings[NAMESPACE].push(0)), "W207", true),
        ("key exchanged", good.with(|parts| parts.strings[KEY] = other.parsed().blob().to_vec()), "W201", false),
        ("magic", good.with(|parts| parts.magic = b"SSHSIH".to_vec()), "W201", false),
        ("version 2", good.with(|parts| parts.version = 2), "W201", false),
        // OpenSSH ignores the reserved field, which nothing signs
        ("reserved", good.with(|parts| parts.strings[RESERVED] = b"x".to_vec()), "W201", true),
        ("digest exchanged", good.with(|parts| parts.strings[HASH] = b"sha256".to_vec()), "W201", false),
        ("SHA-1", good.with(|parts| parts.strings[HASH] = b"sha1".to_vec()), "W203", false),
        ("upper-case digest", good.with(|parts| parts.strings[HASH] = b"SHA512".to_vec()), "W203", false),
        ("format of another key", good.with(|parts| parts.format = b"rsa-sha2-512".to_vec()), "W201", false),
        ("bytes after the inner signature", good.with(|parts| parts.inner_tail = vec![0]), "W201", false),
        ("bytes after the blob", good.with(|parts| parts.tail = vec![0]), "W201", false),
        ("signature too long", good.with(|parts| parts.signature.push(0)), "W201", false),
        ("signature too short", good.with(|parts| parts.signature.truncate(63)), "W201", false),
        ("bytes after the key", good.with(|parts| parts.strings[KEY].push(0)), "W201", false),
        (
            "a security key that did not sign",
            good.with(|parts| {
                parts.strings[KEY] =
                    [string(b"sk-ssh-ed25519@openssh.com"), string(&[9; 32]), string(b"ssh:")].concat();
            }),
            "W201",
            false,
        ),
        (
            "a certificate that is none",
            good.with(|parts| {
                parts.strings[KEY] = [string(b"ssh-ed25519-cert-v01@openssh.com"), string(&[1; 32])].concat();
            }),
            "W201",
            false,
        ),
        ("DSA", good.with(|parts| parts.strings[KEY] = string(b"ssh-dss")), "W208", false),
        (
            "a key of small order",
            good.with(|parts| {
                parts.strings[KEY] = [string(b"ssh-ed25519"), string(&[0; 32])].concat();
            }),
            "W201",
            false,
        ),
    ];
    for (name, armored, expected, ssh_keygen) in cases {
        check(&bench, &key, name, &armored, expected, ssh_keygen);
    }
}

#[test]
fn tampered_armours_are_refused() {
    let bench = Bench::new();
    let key = bench.key("key", KEY_TYPES[0]);
    let good = String::from_utf8(bench.sign(&key, NAMESPACE_TRUST, "sha512", MESSAGE)).unwrap();
    let end = "-----END SSH SIGNATURE-----";
    // ssh-keygen looks for the marker lines and skips blanks and line ends between them
    let cases = [
        ("no final line end", good.trim_end().to_owned(), "W201", true),
        ("carriage returns", good.replace('\n', "\r\n"), "W201", false),
        ("text before", format!("x\n{good}"), "W201", false),
        ("text after", format!("{good}x\n"), "W201", true),
        ("a blank line after", format!("{good}\n"), "W201", true),
        ("a blank at the end of a line", good.replace(end, &format!("{end} ")), "W201", true),
        ("a blank line inside", good.replace(end, &format!("\n{end}")), "W201", true),
        ("another line length", good.replacen("U1NIU0lH", "U1NIU0lH\n", 1), "W201", true),
        (
            "one long line",
            format!(
                "-----BEGIN SSH SIGNATURE-----\n{}\n{end}\n",
                good.lines().filter(|line| !line.starts_with('-')).collect::<String>()
            ),
            "W201",
            true,
        ),
        ("no end", good.replace(end, ""), "W201", false),
        ("nothing", String::new(), "W201", false),
        ("OpenPGP", good.replace("SSH SIGNATURE", "PGP SIGNATURE"), "W208", false),
        ("X.509", good.replace("SSH SIGNATURE", "SIGNED MESSAGE"), "W208", false),
    ];
    for (name, armored, expected, ssh_keygen) in cases {
        assert_ne!(armored, good, "{name}");
        check(&bench, &key, name, armored.as_bytes(), expected, ssh_keygen);
    }
}

#[test]
fn ecdsa_numbers_have_one_form() {
    let bench = Bench::new();
    let key = bench.key("key", KEY_TYPES[1]);
    let good = Parts::of(&bench.sign(&key, NAMESPACE_TRUST, "sha512", MESSAGE));
    let mut rest = good.signature.as_slice();
    let (r, s) = (take(&mut rest), take(&mut rest));
    let numbers = |r: &[u8], s: &[u8]| good.with(|parts| parts.signature = [string(r), string(s)].concat());
    assert_eq!(numbers(&r, &s), good.armored());
    let cases = [
        ("a zero before r", numbers(&[&[0], r.as_slice()].concat(), &s)),
        ("zero", numbers(&[], &s)),
        ("r as s", numbers(&s, &r)),
        ("too wide", numbers(&[&[1; 40], r.as_slice()].concat(), &s)),
        ("a third number", good.with(|parts| parts.signature.extend(string(&[1])))),
        ("one number", good.with(|parts| parts.signature = string(&r))),
    ];
    for (name, armored) in cases {
        assert_eq!(code(&armored, &Crypto::default()), "W201", "{name}");
    }
}

#[test]
fn weak_rsa_is_refused() {
    let bench = Bench::new();
    for (bits, needed, expected) in
        [(1024, 3072, "W203"), (1024, 0, "W203"), (2048, 3072, "W203"), (2048, 2048, "accepted"), (3072, 4096, "W203")]
    {
        let key = bench.key(&format!("rsa{bits}-{needed}"), &["-t", "rsa", "-b", &bits.to_string()]);
        assert_eq!(key.parsed().rsa_bits(), Some(bits));
        let armored = bench.sign(&key, NAMESPACE_TRUST, "sha512", MESSAGE);
        assert_eq!(code(&armored, &Crypto { min_rsa: needed, ..Crypto::default() }), expected, "{bits} {needed}");
    }
    let key = bench.key("rsa", KEY_TYPES[4]);
    let good = Parts::of(&bench.sign(&key, NAMESPACE_TRUST, "sha512", MESSAGE));
    check(&bench, &key, "SHA-1", &good.with(|parts| parts.format = b"ssh-rsa".to_vec()), "W203", false);
    check(&bench, &key, "digest", &good.with(|parts| parts.format = b"rsa-sha2-256".to_vec()), "W201", false);
    check(&bench, &key, "long", &good.with(|parts| parts.signature.insert(0, 0)), "W201", false);
}

/// `crypto.hashes` binds both digests of an RSA signature: that of the message, and that of what is signed.
#[test]
fn the_digest_of_an_rsa_signature_is_one_that_is_allowed() {
    let bench = Bench::new();
    let key = bench.key("rsa", KEY_TYPES[4]);
    let good = Parts::of(&bench.sign(&key, NAMESPACE_TRUST, "sha512", MESSAGE));
    // ssh-keygen always signs with rsa-sha2-512; agents also with the other one.
    let pem = bench.as_pkcs8(&key);
    let digits: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let pair = RsaKeyPair::from_pkcs8(&STANDARD.decode(digits).unwrap()).unwrap();
    let message = digest(&SHA512, MESSAGE);
    let signed = [NAMESPACE_TRUST.as_bytes(), b"", b"sha512", message.as_ref()].map(string).concat();
    let mut signature = vec![0; pair.public_modulus_len()];
    let signed = [b"SSHSIG".as_slice(), &signed].concat();
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &signed, &mut signature).unwrap();
    let short = good.with(|parts| (parts.format, parts.signature) = (b"rsa-sha2-256".to_vec(), signature));
    assert_eq!(code(&short, &Crypto::default()), "accepted");
    assert!(bench.ssh_keygen_accepts(&key, NAMESPACE_TRUST, MESSAGE, &short));
    let only = |hash: HashAlgorithm| Crypto { hashes: [hash].into(), ..Crypto::default() };
    assert_eq!(code(&short, &only(HashAlgorithm::Sha512)), "W203");
    let refused = verify_sshsig(&short, MESSAGE, NAMESPACE_TRUST, &only(HashAlgorithm::Sha512)).unwrap_err();
    let found = refused.finding(Subject::Named("it".to_owned()), String::new());
    assert_eq!(found.found, "a signature of type rsa-sha2-256, which uses sha256");
    assert_eq!(found.needed, "one of sha512");
    assert_eq!(code(&good.armored(), &only(HashAlgorithm::Sha512)), "accepted");
    let other = bench.sign(&key, NAMESPACE_TRUST, "sha256", MESSAGE);
    assert_eq!(code(&other, &only(HashAlgorithm::Sha256)), "W203", "rsa-sha2-512 over a SHA-256 of the message");
}

/// OpenSSH 10.4 and later can make them, the machine's may not: the name is what they are refused by.
#[test]
fn ml_dsa_is_refused_by_name() {
    let bench = Bench::new();
    let key = bench.key("key", KEY_TYPES[0]);
    let good = Parts::of(&bench.sign(&key, NAMESPACE_TRUST, "sha512", MESSAGE));
    for name in ["ssh-mldsa44-ed25519@openssh.com", "ssh-mldsa44-ed25519"] {
        // 1312 bytes of ML-DSA-44 and 32 of Ed25519; signatures of 2420 and 64 bytes.
        let blob = [string(name.as_bytes()), string(&[7; 1344])].concat();
        let not_supported = PublicKeyError::NotSupported(format!("an ML-DSA key ({name})"));
        assert_eq!(PublicKey::from_blob(&blob), Err(not_supported.clone()));
        assert_eq!(PublicKey::parse(&format!("{name} {}", STANDARD.encode(&blob))), Err(not_supported));
        let signed = good.with(|parts| {
            parts.strings[KEY] = blob;
            parts.format = name.into();
            parts.signature = vec![7; 2484];
        });
        assert_eq!(code(&signed, &Crypto::default()), "W208");
        let error = verify_sshsig(&signed, MESSAGE, NAMESPACE_TRUST, &Crypto::default()).expect_err("refused");
        assert_eq!(error.to_string(), format!("signed by an ML-DSA key ({name}), which is not supported yet"));
        // Under the name of such a signature an ordinary key signs nothing.
        assert_eq!(code(&good.with(|parts| parts.format = name.into()), &Crypto::default()), "W201");
    }
    for name in ["ssh-mldsa44-ed25519-cert-v01@openssh.com", "ssh-mldsa44-ed25519-cert-v01"] {
        let blob = [string(name.as_bytes()), string(&[7; 32]), string(&[7; 1344])].concat();
        assert_eq!(code(&good.with(|parts| parts.strings[KEY] = blob), &Crypto::default()), "W208", "{name}");
    }
}

#[test]
fn public_keys_have_one_form() {
    let bench = Bench::new();
    for (number, key_type) in KEY_TYPES.iter().enumerate() {
        let key = bench.key(&format!("key{number}"), key_type);
        let parsed = key.parsed();
        assert_eq!(parsed.to_string(), key.public);
        let file = fs::read_to_string(key.private.with_extension("pub")).unwrap();
        assert_eq!(PublicKey::parse(&file).unwrap(), parsed, "with comment and line end");
        assert_eq!(PublicKey::from_blob(parsed.blob()).unwrap(), parsed);
    }
    let key = bench.key("key", KEY_TYPES[0]).public;
    let encoded = key.strip_prefix("ssh-ed25519 ").unwrap();
    let bad = [
        (String::new(), PublicKeyError::Form),
        ("ssh-ed25519".to_owned(), PublicKeyError::Form),
        (encoded.to_owned(), PublicKeyError::Form),
        (format!(" {key}"), PublicKeyError::Form),
        (format!("ssh-ed25519  {encoded}"), PublicKeyError::Form),
        (format!("restrict {key}"), PublicKeyError::Form),
        (format!("{key}\n{key}"), PublicKeyError::Form),
        (format!("{key}\r\n"), PublicKeyError::Form),
        (format!("{key} {}", "x".repeat(5000)), PublicKeyError::Form),
        (format!("{key}="), PublicKeyError::Base64),
        (format!("ssh-ed25519 {}", encoded.replacen('A', "-", 1)), PublicKeyError::Base64),
        (format!("{key}AAAA"), PublicKeyError::Malformed),
        (
            format!("ssh-rsa {encoded}"),
            PublicKeyError::OtherType { found: "ssh-ed25519".into(), expected: "ssh-rsa".into() },
        ),
        ("ssh-dss AAAA".to_owned(), PublicKeyError::NotSupported("a DSA key (ssh-dss)".into())),
        (
            "ssh-ed25519-cert-v01@openssh.com AAAA".to_owned(),
            PublicKeyError::NotSupported("an SSH certificate (ssh-ed25519-cert-v01@openssh.com)".into()),
        ),
    ];
    for (text, error) in bad {
        assert_eq!(PublicKey::parse(&text), Err(error), "{text}");
    }
    // a point that is not on its curve
    let blob = [string(b"ecdsa-sha2-nistp256"), string(b"nistp256"), string(&[4; 65])].concat();
    assert!(matches!(PublicKey::from_blob(&blob), Err(PublicKeyError::Refused(_))));
}

proptest! {
    #[test]
    fn no_bytes_make_a_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), text in "\\PC{0,120}") {
        let _verdict = PublicKey::from_blob(&bytes);
        let _verdict = PublicKey::from_blob(&[string(b"ssh-rsa"), bytes.clone()].concat());
        let _verdict = PublicKey::parse(&text);
        prop_assert!(verify_sshsig(&bytes, MESSAGE, NAMESPACE_TRUST, &Crypto::default()).is_err());
        let parts = Parts {
            magic: b"SSHSIG".to_vec(), version: 1,
            strings: [bytes.clone(), NAMESPACE_TRUST.into(), vec![], b"sha512".to_vec()],
            format: b"ssh-ed25519".to_vec(), signature: bytes, inner_tail: vec![], tail: vec![],
        };
        prop_assert!(verify_sshsig(&parts.armored(), MESSAGE, NAMESPACE_TRUST, &Crypto::default()).is_err());
    }
}
