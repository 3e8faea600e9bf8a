//! Certificates made by the real `ssh-keygen`, and others that no authority should have signed.

mod support;
mod token;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use support::{Bench, COMMIT_TIME, KEY_TYPES};
use token::{
    Token, Use, armored,
    certificate::{Fields, plain_blob, plain_signature},
    sshsig_data, string,
};
use trust::{Certificate, Crypto, HashAlgorithm, NAMESPACE_TRUST, PublicKey, verify_sshsig};

const MESSAGE: &[u8] = b"version: 1\n";
const CAROL: &str = "carol@example.com";
const OPTIONS: [&str; 8] =
    ["-I", "laptop", "-n", "carol@example.com,c@example.com", "-z", "5", "-V", "20260101000000Z:20260101080000Z"];

fn code(signature: &[u8], crypto: &Crypto) -> &'static str {
    verify_sshsig(signature, MESSAGE, NAMESPACE_TRUST, crypto)
        .map_or_else(|error| error.code().as_str(), |_signature| "accepted")
}

#[test]
fn what_ssh_keygen_certifies_is_read() {
    let bench = Bench::new();
    let authorities: Vec<_> = (0..KEY_TYPES.len()).map(|one| bench.key(&format!("ca{one}"), KEY_TYPES[one])).collect();
    for (number, key_type) in KEY_TYPES.iter().enumerate() {
        let key = bench.key(&format!("key{number}"), key_type);
        // each type once as key and once as authority
        let ca = &authorities[(number + 1) % authorities.len()];
        let certified = bench.certify(ca, &key, &OPTIONS);
        let signature = bench.sign(&certified, NAMESPACE_TRUST, "sha512", MESSAGE);
        assert!(bench.ssh_keygen_accepts_certificate(&ca.public, CAROL, NAMESPACE_TRUST, MESSAGE, &signature));
        let signature = verify_sshsig(&signature, MESSAGE, NAMESPACE_TRUST, &Crypto::default()).unwrap();
        assert_eq!(*signature.key(), key.parsed());
        let certificate = signature.certificate().unwrap();
        assert_eq!(*certificate, Certificate::parse(&certified.public).unwrap());
        assert_eq!((certificate.key(), certificate.authority()), (&key.parsed(), &ca.parsed()));
        assert_eq!((certificate.serial(), certificate.key_id(), certificate.seconds()), (5, "laptop", 8 * 3600));
        assert_eq!(certificate.principals(), [CAROL, "c@example.com"]);
        let at = |offset: i64| certificate.is_valid_at(Timestamp::from_second(COMMIT_TIME + offset).unwrap());
        assert_eq!([-1, 0, 8 * 3600 - 1, 8 * 3600].map(at), [false, true, true, false]);
        assert_eq!(certificate.window(), "from 2026-01-01T00:00:00Z until before 2026-01-01T08:00:00Z");
        for algorithm in [certificate.key().algorithm(), certificate.authority().algorithm()] {
            let mut crypto = Crypto::default();
            crypto.allow.remove(&algorithm);
            let armored = bench.sign(&certified, NAMESPACE_TRUST, "sha512", MESSAGE);
            assert_eq!(code(&armored, &crypto), "W203", "{algorithm}");
        }
    }
}

#[test]
fn what_ssh_keygen_certifies_for_something_else_is_refused() {
    let bench = Bench::new();
    let ca = bench.key("ca", KEY_TYPES[0]);
    let key = bench.key("key", KEY_TYPES[0]);
    let names = ["-I", "laptop", "-n", CAROL];
    let cases: [(&str, &[&str], &str, bool); 6] = [
        ("no time", &[], "accepted", true),
        ("for hosts", &["-h"], "W207", false),
        ("a command", &["-O", "force-command=/bin/true"], "W207", true),
        ("an address", &["-O", "source-address=10.0.0.0/8"], "W207", true),
        ("an unknown critical option", &["-O", "critical:x@example.com=1"], "W207", true),
        ("an unknown extension", &["-O", "extension:x@example.com=1"], "accepted", true),
    ];
    for (name, options, expected, ssh_keygen) in cases {
        let certified = bench.certify(&ca, &key, &[&names, options].concat());
        let signature = bench.sign(&certified, NAMESPACE_TRUST, "sha512", MESSAGE);
        assert_eq!(code(&signature, &Crypto::default()), expected, "{name}");
        let accepts = bench.ssh_keygen_accepts_certificate(&ca.public, CAROL, NAMESPACE_TRUST, MESSAGE, &signature);
        // OpenSSH does not look at the critical options of who signs a file
        assert_eq!(accepts, ssh_keygen, "ssh-keygen: {name}");
    }
    let certified = bench.certify(&ca, &key, &["-I", "anyone"]);
    assert_eq!(code(&bench.sign(&certified, NAMESPACE_TRUST, "sha512", MESSAGE), &Crypto::default()), "W207");
    let rsa = bench.key("rsa", KEY_TYPES[4]);
    let certified = bench.certify(&rsa, &key, &[&names[..], &["-t", "ssh-rsa"]].concat());
    assert_eq!(code(&bench.sign(&certified, NAMESPACE_TRUST, "sha512", MESSAGE), &Crypto::default()), "W203");
    // The digest that an authority with an RSA key chooses is bound like that of the signature.
    let certified = bench.certify(&rsa, &key, &[&names[..], &["-t", "rsa-sha2-256"]].concat());
    let signature = bench.sign(&certified, NAMESPACE_TRUST, "sha512", MESSAGE);
    assert_eq!(code(&signature, &Crypto::default()), "accepted");
    let alone = Crypto { hashes: [HashAlgorithm::Sha512].into(), ..Crypto::default() };
    assert_eq!(code(&signature, &alone), "W203");
}

#[test]
fn certificates_have_one_form() {
    let bench = Bench::new();
    let ca = Ed25519KeyPair::generate().unwrap();
    let key = Ed25519KeyPair::generate().unwrap();
    let good = Fields::of(string(key.public_key().as_ref()), plain_blob(&ca), CAROL);
    let listed = format!("ssh-ed25519 {}", STANDARD.encode(plain_blob(&ca)));
    type Change = fn(&mut Fields);
    let cases: [(&str, Change, &str, bool); 22] = [
        ("as it is", |_| {}, "accepted", true),
        ("no extensions", |one| one.extensions.clear(), "accepted", true),
        ("another serial, not signed", |one| one.forge = |blob| blob[107 + 8] ^= 1, "W201", false),
        ("another key, not signed", |one| one.forge = |blob| blob[76 + 8] ^= 1, "W201", false),
        ("a host", |one| one.kind = 2, "W207", false),
        ("type 0", |one| one.kind = 0, "W207", false),
        ("no principals", |one| one.principals.clear(), "W207", false),
        // OpenSSH joins principals with commas, and so makes two of one
        ("a comma", |one| one.principals = string(b"carol@example.com,root@example.com"), "W201", false),
        ("an empty principal", |one| one.principals.extend(string(b"")), "W201", true),
        ("a principal with a line end", |one| one.principals.extend(string(b"a\nb")), "W201", true),
        ("a principal with NUL", |one| one.principals.extend(string(b"a\0b")), "W201", false),
        ("a short principal", |one| one.principals.extend([0, 0, 0, 9, 1]), "W201", false),
        ("too many principals", |one| one.principals = string(CAROL.as_bytes()).repeat(257), "W201", false),
        ("a key id that is no text", |one| one.key_id = vec![0xff], "W201", true),
        (
            "a critical option",
            |one| one.critical = [b"verify-required".as_slice(), b""].map(string).concat(),
            "W207",
            true,
        ),
        ("half an option", |one| one.critical = string(b"x"), "W201", false),
        (
            "extensions in disorder",
            |one| {
                one.extensions = [b"b".as_slice(), b"", b"a", b""].map(string).concat();
            },
            "W201",
            true,
        ),
        (
            "an extension twice",
            |one| {
                one.extensions = [b"a".as_slice(), b"", b"a", b""].map(string).concat();
            },
            "W201",
            true,
        ),
        ("a reserved field", |one| one.reserved = vec![1], "W201", true),
        ("bytes after it", |one| one.tail = vec![0], "W201", false),
        ("another type", |one| one.name = "ssh-rsa-cert-v01@openssh.com", "W201", false),
        ("an old type", |one| one.name = "ssh-ed25519-cert-v00@openssh.com", "W208", false),
    ];
    for (name, change, expected, ssh_keygen) in cases {
        let mut fields = good.clone();
        change(&mut fields);
        let blob = fields.blob(|data| plain_signature(&ca, data));
        let signature = armored(&blob, NAMESPACE_TRUST, &plain_signature(&key, &sshsig_data(NAMESPACE_TRUST, MESSAGE)));
        assert_eq!(code(&signature, &Crypto::default()), expected, "{name}");
        let accepts = bench.ssh_keygen_accepts_certificate(&listed, CAROL, NAMESPACE_TRUST, MESSAGE, &signature);
        assert_eq!(accepts, ssh_keygen, "ssh-keygen: {name}");
    }
    // An authority that is certified itself, and one that only claims to be the authority.
    let data = sshsig_data(NAMESPACE_TRUST, MESSAGE);
    let signed = |fields: &Fields, by: &Ed25519KeyPair| {
        armored(&fields.blob(|data| plain_signature(by, data)), NAMESPACE_TRUST, &plain_signature(&key, &data))
    };
    let chained = Fields::of(string(key.public_key().as_ref()), good.blob(|data| plain_signature(&ca, data)), CAROL);
    assert_eq!(code(&signed(&chained, &ca), &Crypto::default()), "W208");
    assert_eq!(code(&signed(&good, &key), &Crypto::default()), "W201");
    // Signed by somebody else than whom the certificate is for.
    let blob = good.blob(|data| plain_signature(&ca, data));
    assert_eq!(code(&armored(&blob, NAMESPACE_TRUST, &plain_signature(&ca, &data)), &Crypto::default()), "W201");
    // The certificate as a key, and the key of no certificate.
    assert!(PublicKey::from_blob(&blob).is_err());
    assert!(Certificate::from_blob(&plain_blob(&key)).is_err());
}

#[test]
fn security_keys_are_certified_and_certify() {
    let bench = Bench::new();
    for (token, name) in [
        (Token::ed25519(), "sk-ssh-ed25519-cert-v01@openssh.com"),
        (Token::ecdsa(), "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com"),
    ] {
        let ca = Token::ed25519();
        let fields = Fields { name, ..Fields::of(token.fields(), ca.blob(), CAROL) };
        let blob = fields.blob(|data| ca.signature(&Use::default(), data));
        let data = sshsig_data(NAMESPACE_TRUST, MESSAGE);
        let signature = armored(&blob, NAMESPACE_TRUST, &token.signature(&Use::default(), &data));
        assert!(bench.ssh_keygen_accepts_certificate(&ca.public(), CAROL, NAMESPACE_TRUST, MESSAGE, &signature));
        let signature = verify_sshsig(&signature, MESSAGE, NAMESPACE_TRUST, &Crypto::default()).unwrap();
        assert_eq!(signature.key().to_string(), token.public());
        assert!(signature.assertion().unwrap().user_present());
    }
}
