//! Keys and certificates in every state that they can be in: what the real `git verify-commit` says of a commit that they
//! sign, beside what writ says.

#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::disallowed_macros, reason = "a table is for people too: `--nocapture` shows it")]

mod support;
mod token;

use jiff::Timestamp;
use support::{
    Bench, COMMIT_TIME, KEY_TYPES, Repository,
    gpg::{Gpg, SIGN_TIME},
    mutants::signed,
    packets::{self, ENCRYPT, SIGN, as_gpg, bound, primary},
    parse, tables_are_of_these_tools,
};
use token::{Browser, Token, Use, armored, sshsig_data, string};
use trust::{AllowedSigners, CommitObject, Crypto, Instants, KeyFingerprint, KnownSigners, verify_signature_only};

/// A commit without a signature, whose bytes are to be signed.
fn unsigned(repository: &Repository<'_>) -> Vec<u8> {
    repository.commit(&["-m", "one"]).1
}

/// One commit by a key of OpenPGP, seen first at these times.
struct Case<'a> {
    name: &'a str,
    raw: Vec<u8>,
    /// When · what git says with gpg 2.2 at that time · what writ says.
    seen: &'a [(When, bool, &'a str)],
}

/// When a commit was made and seen.
#[derive(Debug, Clone, Copy)]
enum When {
    /// At the time of commits, below the floor: the committer time alone counts.
    Below,
    /// The same, with another committer time.
    Made(&'static str),
    /// At the time of commits, and seen first at this time.
    Seen(&'static str),
}
use When::{Below, Made, Seen};

impl When {
    fn instants(self) -> Instants {
        let at = |time: &str| time.parse::<Timestamp>().unwrap();
        let made = Timestamp::from_second(COMMIT_TIME).unwrap();
        match self {
            Below => Instants { committer: made, first_sight: None },
            Made(time) => Instants { committer: at(time), first_sight: None },
            Seen(time) => Instants { committer: made, first_sight: Some(at(time)) },
        }
    }

    /// As gpg wants it.
    fn clock(self) -> String {
        match self {
            Below => SIGN_TIME.to_owned(),
            Made(time) | Seen(time) => time.replace(['-', ':', 'Z'], ""),
        }
    }
}

/// What git does not know, and may refuse although we accept.
const SOFT: [&str; 2] = ["superseded in March", "retired in March"];

fn check_openpgp(gpg: &Gpg<'_>, repository: &Repository<'_>, case: &Case<'_>) {
    let id = repository.plant(&case.raw);
    let commit = CommitObject::parse(id, &case.raw).unwrap();
    let certificates = gpg.known().certificates.unwrap();
    let exact = tables_are_of_these_tools();
    for (when, git, expected) in case.seen {
        gpg.set_clock(&when.clock());
        let ours = commit.verify_openpgp(&certificates, &Crypto::default(), &when.instants());
        let ours = ours.map_or_else(|finding| finding.code.code, |_signature| "accepted");
        let by_git = repository.git_verifies(&id);
        let when_shown = format!("{when:?}");
        println!("{:<40} {when_shown:<30} git: {by_git:<5} ({git:<5}) writ: {ours}", case.name);
        assert_eq!(ours, *expected, "{}: {when:?}", case.name);
        assert!(!exact || by_git == *git, "{}: {when:?}: git says something else", case.name);
        assert!(by_git || ours != "accepted" || SOFT.contains(&case.name), "{}: {when:?}: git refuses it", case.name);
    }
}

#[test]
fn key_states_table_openpgp() {
    let bench = Bench::new();
    let gpg = Gpg::new(&bench, "gpg");
    let key = |name: &str, algorithm: &str, expires: &str| gpg.key(name, algorithm, "sign", expires);
    let alice = key("alice", "ed25519", "never");
    let repository = gpg.repository("repository", &alice, "sha1");
    let payload = unsigned(&repository);
    let by = |key: &str, args: &[&str]| signed(&payload, &gpg.sign(key, args, &payload));
    let check = |name: &str, raw: Vec<u8>, seen: &[(When, bool, &str)]| {
        check_openpgp(&gpg, &repository, &Case { name, raw, seen });
    };
    let later = Seen("2026-11-27T00:00:00Z");
    check("in force", by(&alice, &[]), &[(Below, true, "accepted"), (later, true, "accepted")]);
    let rsa = key("rsa", "rsa3072", "never");
    check(
        "in force, over SHA-1",
        by(&rsa, &["--digest-algo", "SHA1"]),
        &[(Below, true, "W203"), (later, true, "W203")],
    );
    let short = key("short", "ed25519", "20260201T000000");
    check(
        "expires in February",
        by(&short, &[]),
        &[
            (Below, true, "accepted"),
            (Seen("2026-01-31T23:59:59Z"), true, "accepted"),
            // In its last second gpg takes it for valid.
            (Seen("2026-02-01T00:00:00Z"), true, "W204"),
            (Seen("2026-02-01T00:00:01Z"), false, "W204"),
            (Made("2026-02-01T00:00:01Z"), false, "W204"),
        ],
    );
    for (name, reason, before) in [
        ("revoked without a reason", 0, "W304"),
        ("revoked as compromised", 1, "W304"),
        ("superseded in March", 2, "accepted"),
        ("retired in March", 3, "accepted"),
    ] {
        let key = key(name, "ed25519", "never");
        let raw = by(&key, &[]);
        let after = signed(&payload, &gpg.sign_at("20260401T000000", &key, &[], &payload));
        gpg.revoke("20260301T000000", &key, reason);
        check(
            name,
            raw,
            &[
                (Below, false, before),
                (Seen("2026-02-28T23:59:59Z"), false, before),
                (Seen("2026-03-01T00:00:00Z"), false, "W304"),
                (Made("2026-03-01T00:00:00Z"), false, "W304"),
            ],
        );
        check(&format!("{name}, signed in April"), after, &[(Below, false, "W304"), (later, false, "W304")]);
    }
}

/// What gpg does not make: the private keys are ours.
#[test]
fn key_states_table_openpgp_bindings() {
    let bench = Bench::new();
    let gpg = Gpg::new(&bench, "gpg");
    let repository = gpg.repository("repository", "nobody", "sha1");
    let payload = unsigned(&repository);
    let check = |name: &str, raw: Vec<u8>, seen: &[(When, bool, &str)]| {
        check_openpgp(&gpg, &repository, &Case { name, raw, seen });
    };
    let main = packets::Key::new(4, 1, packets::KEY_TIME);
    let subkey = packets::Key::new(4, 2, packets::KEY_TIME);
    let other = packets::Key::new(4, 3, packets::KEY_TIME);
    let by_subkey = signed(&payload, &as_gpg(&subkey, &payload, |_| {}));
    let bindings = [
        ("bound in both directions", SIGN, Some(&subkey), true, "accepted"),
        ("no back-signature", SIGN, None, false, "W204"),
        ("a back-signature of another", SIGN, Some(&other), false, "W204"),
        ("a subkey for encryption", ENCRYPT, Some(&subkey), false, "W204"),
    ];
    for (name, flags, back, git, expected) in bindings {
        let binding = packets::Binding { by: &main, flags, back, digest: packets::SHA256, hashed: Vec::new() };
        let certificate = [primary(&main, packets::CERTIFY), bound(&main, &subkey, &binding, true)].concat();
        gpg.ok(SIGN_TIME, &["--import"], &certificate);
        check(name, by_subkey.clone(), &[(Below, git, expected)]);
        gpg.forget(&main);
    }
    gpg.ok(SIGN_TIME, &["--import"], &primary(&other, packets::CERTIFY));
    let by_other = signed(&payload, &as_gpg(&other, &payload, |_| {}));
    check("a primary key not for signing", by_other, &[(Below, false, "W204")]);
}

/// Ours exactly; git's word, which is OpenSSH's, is what OpenSSH 9.2 says.
fn check_ssh(repository: &Repository<'_>, name: &str, commit: &[u8], signers: &str, (expected, git): (&str, bool)) {
    let ours = parse(commit).and_then(|commit| verify_signature_only(&commit, &listed(signers)));
    let ours = ours.map_or_else(|finding| finding.code.code, |_signer| "accepted");
    let by_git = repository.git_accepts(&repository.plant(commit), signers);
    println!("{name:<40} git: {by_git:<5} ({git:<5}) writ: {ours}");
    assert_eq!(ours, expected, "{name}");
    assert!(!tables_are_of_these_tools() || by_git == git, "{name}: git says something else");
    assert!(by_git || ours != "accepted", "{name}: git refuses it");
}

#[test]
fn key_states_table_ssh() {
    let bench = Bench::new();
    let key = bench.key("key", KEY_TYPES[0]);
    let repository = bench.repository("repository", &key, "sha1");
    let payload = unsigned(&repository);
    let check = |name: &str, armored: &[u8], public: &str, expected: (&str, bool)| {
        check_ssh(&repository, name, &signed(&payload, armored), &format!("alice {public}\n"), expected);
    };
    for key_type in KEY_TYPES {
        let key = bench.key(&format!("key {key_type:?}"), key_type);
        for hash in ["sha256", "sha512"] {
            let armored = bench.sign(&key, "git", hash, &payload);
            check(&format!("{} {hash}", key_type.join(" ")), &armored, &key.public, ("accepted", true));
        }
    }
    for bits in ["1024", "2048"] {
        let key = bench.key(&format!("rsa{bits}"), &["-t", "rsa", "-b", bits]);
        let armored = bench.sign(&key, "git", "sha512", &payload);
        check(&format!("-t rsa -b {bits}"), &armored, &key.public, ("W203", true));
    }
    for (name, token) in [("sk-ed25519", Token::ed25519()), ("sk-ecdsa", Token::ecdsa())] {
        let sign = |flags| token.sign("git", &Use { flags, ..Use::default() }, &payload);
        check(&format!("{name}, touched"), &sign(token::TOUCHED), &token.public(), ("accepted", true));
        // OpenSSH shows the flags and does not look at them.
        check(&format!("{name}, not touched"), &sign(0), &token.public(), ("W207", true));
    }
    let browser = Token::ecdsa().with_application(b"writ.example.com");
    let data = sshsig_data("git", &payload);
    let by_browser = browser.browser_signature(&Use::default(), &Browser::default(), &data);
    let by_browser = armored(&browser.blob(), "git", &by_browser);
    check("webauthn-sk-ecdsa", &by_browser, &browser.public(), ("accepted", true));
    let composite = "ssh-mldsa44-ed25519@openssh.com";
    let blob = [string(composite.as_bytes()), string(&[7; 1344])].concat();
    let by_composite = armored(&blob, "git", &[string(composite.as_bytes()), string(&[7; 2484])].concat());
    check(composite, &by_composite, &key.public, ("W208", false));
    for namespace in ["file", "writ-trust@1", "writ-approval@1"] {
        let armored = bench.sign(&key, namespace, "sha512", &payload);
        check(&format!("namespace {namespace}"), &armored, &key.public, ("W207", false));
    }
}

#[test]
fn key_states_table_allowed_signers() {
    let bench = Bench::new();
    let key = bench.key("key", KEY_TYPES[0]);
    let other = bench.key("other", KEY_TYPES[0]);
    let repository = bench.repository("repository", &key, "sha1");
    let (id, raw) = repository.commit(&["-S", "-m", "one"]);
    let commit = CommitObject::parse(id, &raw).unwrap();
    let k = &key.public;
    let table = [
        (format!("alice {k}\n"), Ok("alice")),
        (format!("# people\n\nbob {}\nalice {k} comment\n", other.public), Ok("alice")),
        (format!("a@x,b@x {k}\n"), Ok("a@x")),
        (format!("*@example.com {k}\n"), Ok("*@example.com")),
        (format!("alice namespaces=\"git\" {k}\n"), Ok("alice")),
        (format!("alice namespaces=\"file,g*\" {k}\n"), Ok("alice")),
        (format!("alice valid-after=\"20260101Z\" {k}\n"), Ok("alice")),
        (format!("alice valid-before=\"20260101Z\" {k}\n"), Ok("alice")),
        (format!("alice valid-after=\"20250101Z\",valid-before=\"20270101Z\" {k}\n"), Ok("alice")),
        (format!("alice valid-before=\"20250101Z\" {k}\nbob {k}\n"), Ok("bob")),
        (format!("alice namespaces=\"file\" {k}\nbob {k}\n"), Err("W207")),
        (String::new(), Err("W202")),
        (format!("bob {}\n", other.public), Err("W202")),
        (format!("alice namespaces=\"file\" {k}\n"), Err("W207")),
        (format!("alice namespaces=\"*,!git\" {k}\n"), Err("W207")),
        (format!("alice valid-after=\"20260101000001Z\" {k}\n"), Err("W204")),
        (format!("alice valid-before=\"20251231235959Z\" {k}\n"), Err("W204")),
    ];
    for (file, expected) in table {
        let signer = verify_signature_only(&commit, &listed(&file));
        let found = signer.as_ref().map(|signer| signer.principal.as_str()).map_err(|finding| finding.code.code);
        assert_eq!(found, expected, "{file}");
        assert_eq!(repository.git_accepts(&id, &file), expected.is_ok(), "git on {file}");
    }
}

#[test]
fn key_states_table_ssh_certificates() {
    let bench = Bench::new();
    let (ca, other) = (bench.key("ca", KEY_TYPES[1]), bench.key("other", KEY_TYPES[0]));
    let key = bench.key("key", KEY_TYPES[0]);
    let certified_with = |names: &str, window: &str, more: &[&str]| {
        let certificate = bench.certify(&ca, &key, &[&["-I", "laptop", "-n", names, "-V", window], more].concat());
        let repository = bench.repository("repository", &certificate, "sha1");
        let (id, raw) = repository.commit(&["-S", "-m", "one"]);
        (repository, CommitObject::parse(id, &raw).unwrap())
    };
    let certified = |names: &str, window: &str| certified_with(names, window, &[]);
    let check = |name: &str, (repository, commit): &(Repository<'_>, CommitObject), file: &str, expected, git| {
        let signer = verify_signature_only(commit, &listed(file));
        let found = signer.as_ref().map(|signer| signer.principal.as_str()).map_err(|finding| finding.code.code);
        assert_eq!(found, expected, "{name}: {file}");
        assert_eq!(repository.git_accepts(&commit.id, file), git, "git on {name}: {file}");
        if let Ok(signer) = &signer {
            assert_eq!(
                (signer.key, signer.ca.clone()),
                (KeyFingerprint::Ssh(key.parsed().fingerprint()), Some(Box::new(ca.parsed().fingerprint())))
            );
        }
    };
    let day = "20260101000000Z:20260102000000Z";
    let (c, k, o) = (&ca.public, &key.public, &other.public);
    let good = certified("carol@example.com,c@example.org", day);
    for (file, expected) in [
        (format!("*@example.com cert-authority {c}\n"), Ok("carol@example.com")),
        (format!("carol@example.com cert-authority,namespaces=\"git\" {c}\n"), Ok("carol@example.com")),
        (format!("*@example.org cert-authority {c}\n"), Ok("c@example.org")),
        (format!("eve@x,*@example.??? cert-authority {c}\n"), Ok("carol@example.com")),
        (format!("*@example.net cert-authority {c}\n*@example.com cert-authority {c}\n"), Ok("carol@example.com")),
        (format!("*@example.com cert-authority,valid-after=\"20260101\" {c}\n"), Ok("carol@example.com")),
        (format!("*@example.com cert-authority,valid-before=\"20251231\" {c}\n"), Err("W204")),
        (format!("*@example.com cert-authority,namespaces=\"file\" {c}\n"), Err("W207")),
        (format!("*@example.net cert-authority {c}\n"), Err("W207")),
        (format!("*@example.com {c}\n"), Err("W202")),
        (format!("*@example.com cert-authority {o}\n"), Err("W202")),
        // A key that is listed by itself is not said to be listed with a certificate of whomever.
        (format!("*@example.com {k}\n"), Err("W202")),
        (String::new(), Err("W202")),
    ] {
        check("a good one", &good, &file, expected, expected.is_ok());
    }
    let all = format!("* cert-authority {c}\n");
    check("not yet valid", &certified("carol", "20260101000001Z:20270101Z"), &all, Err("W204"), false);
    check("valid no more", &certified("carol", "20250101Z:20260101000000Z"), &all, Err("W204"), false);
    check("for ever", &certified("carol", "always:forever"), &all, Ok("carol"), true);
    check("for hosts", &certified_with("carol", "always:forever", &["-h"]), &all, Err("W207"), false);
    // OpenSSH does not look at the critical options of who signs a file.
    let options = ["-O", "source-address=10.0.0.0/8"];
    check("a critical option", &certified_with("carol", "always:forever", &options), &all, Err("W207"), true);
}

fn listed(signers: &str) -> KnownSigners {
    KnownSigners { allowed_signers: Some(AllowedSigners::parse(signers).unwrap()), ..KnownSigners::default() }
}
