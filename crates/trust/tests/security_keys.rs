//! Signatures of security keys, made by a token in software and held against the real `ssh-keygen`.

mod support;
mod token;

use std::path::PathBuf;

use support::{Bench, Key};
use token::{Browser, EXTENDED, TOUCHED, Token, Use, VERIFIED, armored, sshsig_data, string};
use trust::{Crypto, KeyAlgorithm, NAMESPACE_TRUST, PublicKey, PublicKeyError, verify_sshsig};

const MESSAGE: &[u8] = b"version: 1\n";

fn code(signature: &[u8]) -> &'static str {
    verify_sshsig(signature, MESSAGE, NAMESPACE_TRUST, &Crypto::default())
        .map_or_else(|error| error.code().as_str(), |_signature| "accepted")
}

fn listed(token: &Token) -> Key {
    Key { private: PathBuf::new(), public: token.public() }
}

/// Ours and ssh-keygen's verdict; ssh-keygen may accept only where a comment says why it is more lenient.
fn check(bench: &Bench, token: &Token, name: &str, signature: &[u8], expected: &str, ssh_keygen: bool) {
    assert_eq!(code(signature), expected, "{name}");
    let accepts = bench.ssh_keygen_accepts(&listed(token), NAMESPACE_TRUST, MESSAGE, signature);
    assert_eq!(accepts, ssh_keygen, "ssh-keygen: {name}");
}

#[test]
fn what_a_token_signs_is_accepted_with_what_it_asserts() {
    let bench = Bench::new();
    for (token, algorithm) in [(Token::ed25519(), KeyAlgorithm::SkEd25519), (Token::ecdsa(), KeyAlgorithm::SkEcdsaP256)]
    {
        for (flags, present, verified) in [(0, false, false), (1, true, false), (5, true, true), (0xff, true, true)] {
            let how = Use { flags, counter: 0x0102_0304, ..Use::default() };
            let signature = token.sign(NAMESPACE_TRUST, &how, MESSAGE);
            check(&bench, &token, &format!("flags {flags}"), &signature, "accepted", true);
            let signature = verify_sshsig(&signature, MESSAGE, NAMESPACE_TRUST, &Crypto::default()).unwrap();
            assert_eq!(signature.key().algorithm(), algorithm);
            let assertion = signature.assertion().unwrap();
            assert_eq!((assertion.user_present(), assertion.user_verified()), (present, verified));
            assert_eq!(assertion.counter, 0x0102_0304);
        }
        let mut crypto = Crypto::default();
        crypto.allow.remove(&algorithm);
        let signature = token.sign(NAMESPACE_TRUST, &Use::default(), MESSAGE);
        let refused = verify_sshsig(&signature, MESSAGE, NAMESPACE_TRUST, &crypto).unwrap_err();
        assert_eq!(refused.code().as_str(), "W203");
    }
}

#[test]
fn what_the_token_asserts_is_signed() {
    let bench = Bench::new();
    for token in [Token::ed25519(), Token::ecdsa()] {
        let data = sshsig_data(NAMESPACE_TRUST, MESSAGE);
        let with = |change: fn(&mut Use)| {
            let mut how = Use::default();
            change(&mut how);
            token.sign(NAMESPACE_TRUST, &how, MESSAGE)
        };
        let good = token.signature(&Use::default(), &data);
        let raw = |signature: &[u8]| armored(&token.blob(), NAMESPACE_TRUST, signature);
        let flip = |from_end: usize| {
            let mut signature = good.clone();
            let place = signature.len() - from_end;
            signature[place] ^= 1;
            raw(&signature)
        };
        let other = Token::ed25519().with_application(b"ssh:other");
        let plain = [string(b"ssh-ed25519"), good.clone().split_off(4 + token.type_name().len())].concat();
        let cases = [
            ("flags that were not signed", with(|how| how.signed_flags = Some(0)), "W201", false),
            ("the flags changed", flip(5), "W201", false),
            ("the counter changed", flip(1), "W201", false),
            ("a byte after the counter", with(|how| how.tail = vec![0]), "W201", false),
            ("no counter", raw(&good[..good.len() - 4]), "W201", false),
            ("no flags", raw(&good[..good.len() - 5]), "W201", false),
            ("the format of a plain key", raw(&plain), "W201", false),
            ("another message", token.sign(NAMESPACE_TRUST, &Use::default(), b"version: 2\n"), "W201", false),
            ("another namespace", token.sign("git", &Use::default(), MESSAGE), "W207", false),
            ("another key", armored(&other.blob(), NAMESPACE_TRUST, &good), "W201", false),
            (
                "the message signed as by a plain key",
                raw(&[string(token.type_name().as_bytes()), string(&[0; 64]), vec![1, 0, 0, 0, 0]].concat()),
                "W201",
                false,
            ),
        ];
        for (name, signature, expected, ssh_keygen) in cases {
            check(&bench, &token, name, &signature, expected, ssh_keygen);
        }
    }
}

#[test]
fn the_application_belongs_to_the_key() {
    let bench = Bench::new();
    let mut token = Token::ed25519();
    token.application = b"ssh:work".to_vec();
    let signature = token.sign(NAMESPACE_TRUST, &Use::default(), MESSAGE);
    check(&bench, &token, "its own", &signature, "accepted", true);
    // The same point under another application is another key, and the signature is not one of it.
    let before = token.public();
    let data = sshsig_data(NAMESPACE_TRUST, MESSAGE);
    let good = token.signature(&Use::default(), &data);
    token.application = b"ssh:".to_vec();
    assert_ne!(
        PublicKey::parse(&before).unwrap().fingerprint(),
        PublicKey::parse(&token.public()).unwrap().fingerprint()
    );
    check(&bench, &token, "another", &armored(&token.blob(), NAMESPACE_TRUST, &good), "W201", false);
}

#[test]
fn public_security_keys_have_one_form() {
    for token in [Token::ed25519(), Token::ecdsa()] {
        let key = PublicKey::parse(&format!("{} at my desk\n", token.public())).unwrap();
        assert_eq!((key.to_string(), key.blob()), (token.public(), token.blob().as_slice()));
        assert_eq!(PublicKey::from_blob(&[token.blob(), vec![0]].concat()), Err(PublicKeyError::Malformed));
        for application in [&b""[..], b"ssh:\0", b"a b", &[b'x'; 257]] {
            let token = Token::ed25519().with_application(application);
            assert!(matches!(PublicKey::from_blob(&token.blob()), Err(PublicKeyError::Refused(_))), "{application:?}");
        }
    }
    let of = |name: &[u8], fields: &[&[u8]]| {
        let fields: Vec<u8> = fields.iter().flat_map(|field| string(field)).collect();
        PublicKey::from_blob(&[string(name), fields].concat())
    };
    let ecdsa = b"sk-ecdsa-sha2-nistp256@openssh.com";
    assert!(matches!(of(b"sk-ssh-ed25519@openssh.com", &[&[0; 32], b"ssh:"]), Err(PublicKeyError::Refused(_))));
    assert!(matches!(of(ecdsa, &[b"nistp256", &[4; 65], b"ssh:"]), Err(PublicKeyError::Refused(_))));
    assert_eq!(of(ecdsa, &[b"nistp384", &[4; 65], b"ssh:"]), Err(PublicKeyError::Malformed));
    assert_eq!(of(b"sk-ssh-ed25519@openssh.com", &[&[9; 32]]), Err(PublicKeyError::Malformed));
}

#[test]
fn what_a_browser_has_signed_is_accepted() {
    let bench = Bench::new();
    let token = Token::ecdsa().with_application(b"writ.example.com");
    let extended = Browser { extensions: b"\xa1\x63abc\xf5".to_vec(), ..Browser::default() };
    let short = Browser { client_data_end: b"}".to_vec(), ..Browser::default() };
    for (flags, browser) in [(TOUCHED, Browser::default()), (TOUCHED | VERIFIED, short), (TOUCHED | EXTENDED, extended)]
    {
        let how = Use { flags, ..Use::default() };
        let signature = browser_signed(&token, &how, &browser);
        check(&bench, &token, &format!("flags {flags}"), &signature, "accepted", true);
        let signature = verify_sshsig(&signature, MESSAGE, NAMESPACE_TRUST, &Crypto::default()).unwrap();
        assert_eq!(signature.assertion().unwrap().flags, flags);
    }
}

fn browser_signed(token: &Token, how: &Use, browser: &Browser) -> Vec<u8> {
    let data = sshsig_data(NAMESPACE_TRUST, MESSAGE);
    armored(&token.blob(), NAMESPACE_TRUST, &token.browser_signature(how, browser, &data))
}

#[test]
fn what_a_browser_did_not_have_signed_is_refused() {
    let bench = Bench::new();
    let token = Token::ecdsa();
    let with = |change: fn(&mut Use, &mut Browser)| {
        let (mut how, mut browser) = Default::default();
        change(&mut how, &mut browser);
        browser_signed(&token, &how, &browser)
    };
    let cases = [
        (
            "the challenge of another message",
            with(|_, browser| browser.challenge = Some(sshsig_data(NAMESPACE_TRUST, b"version: 2\n"))),
            "W201",
            false,
        ),
        (
            "the challenge of another namespace",
            with(|_, browser| browser.challenge = Some(sshsig_data("git", MESSAGE))),
            "W201",
            false,
        ),
        ("no challenge", with(|_, browser| browser.challenge = Some(Vec::new())), "W201", false),
        ("an origin that ends early", with(|_, browser| browser.origin = b"https://a\"".to_vec()), "W201", false),
        // OpenSSH looks at the beginning only
        ("no end", with(|_, browser| browser.client_data_end = b",".to_vec()), "W201", true),
        ("no origin", with(|_, browser| browser.origin = Vec::new()), "W201", true),
        (
            "client data too long",
            with(|_, browser| {
                browser.client_data_end = [b",\"x\":\"".to_vec(), vec![b'x'; 2048], b"\"}".to_vec()].concat();
            }),
            "W201",
            true,
        ),
        ("extensions without their flag", with(|_, browser| browser.extensions = vec![0xa0]), "W201", false),
        ("the flag without extensions", with(|how, _| how.flags |= EXTENDED), "W201", false),
        ("attested data", with(|how, _| how.flags |= 0x40), "W201", false),
        ("flags that were not signed", with(|how, _| how.signed_flags = Some(0)), "W201", false),
        ("bytes after it", with(|how, _| how.tail = vec![0]), "W201", false),
    ];
    for (name, signature, expected, ssh_keygen) in cases {
        check(&bench, &token, name, &signature, expected, ssh_keygen);
    }
    // An Ed25519 key has no such signatures.
    let token = Token::ed25519();
    check(&bench, &token, "Ed25519", &browser_signed(&token, &Use::default(), &Browser::default()), "W201", false);
}
