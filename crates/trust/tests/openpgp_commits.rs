//! Commits signed by the real `git` with the real `gpg`, and what an attacker makes of them.

#![expect(clippy::disallowed_methods, reason = "fixtures are made with real tools")]
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{fs, os::unix::fs::PermissionsExt as _};

use manifest::Finding;
use support::{
    Bench, COMMIT_TIME, KEY_TYPES, Repository,
    gpg::{Gpg, fingerprint},
    parse,
};
use trust::{
    AllowedSigners, CommitId, CommitObject, KeyFingerprint, KnownSigners, SignatureFormat, Signer, openpgp::Keyring,
    verify_signature_only,
};

/// A repository whose commits gpg signs with this key, at the time of the commits.
fn repository<'b>(bench: &'b Bench, gpg: &Gpg<'_>, key: &str, format: &str) -> Repository<'b> {
    let ssh = bench.key(&format!("ssh-{format}"), KEY_TYPES[0]);
    let repository = bench.repository(&format!("repository-{format}"), &ssh, format);
    let program = bench.path(&format!("gpg-{format}"));
    let home = gpg.home.display();
    let options = "--faked-system-time 20260101T000000! --batch --no-tty --pinentry-mode loopback --passphrase ''";
    fs::write(&program, format!("#!/bin/sh\nexec gpg --homedir '{home}' {options} \"$@\"\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    for (name, value) in
        [("gpg.format", "openpgp"), ("gpg.program", program.to_str().unwrap()), ("user.signingkey", key)]
    {
        repository.git(&["config", name, value]);
    }
    repository
}

fn certificates(gpg: &Gpg<'_>) -> KnownSigners {
    let exported = gpg.ok(support::gpg::SIGN_TIME, &["--armor", "--export"], b"");
    KnownSigners { certificates: Some(Keyring::parse(&exported).unwrap()), ..KnownSigners::default() }
}

fn verify(raw: &[u8], known: &KnownSigners) -> Result<Signer, Finding> {
    parse(raw).and_then(|commit| verify_signature_only(&commit, known))
}

fn code(raw: &[u8], known: &KnownSigners) -> String {
    verify(raw, known).map_or_else(|finding| finding.code.code.to_owned(), |_signer| "accepted".to_owned())
}

/// Replaces the only occurrence of `old`.
fn edit(raw: &[u8], old: &str, new: &str) -> Vec<u8> {
    let text = std::str::from_utf8(raw).unwrap();
    assert_eq!(text.matches(old).count(), 1, "{old:?} in {text}");
    text.replacen(old, new, 1).into_bytes()
}

/// The signature header with its continuation lines.
fn header(raw: &[u8]) -> String {
    let end = "-----END PGP SIGNATURE-----\n";
    let (_, after) = std::str::from_utf8(raw).unwrap().split_once("gpgsig").unwrap();
    format!("gpgsig{}{end}", after.split_once(end).unwrap().0)
}

#[test]
fn what_git_makes_with_gpg_is_accepted() {
    let bench = Bench::new();
    let gpg = Gpg::new(&bench, "gpg");
    for (name, format) in [("ed25519", "sha1"), ("rsa3072", "sha256")] {
        let key = gpg.key(name, name, "sign", "never");
        let known = certificates(&gpg);
        let repository = repository(&bench, &gpg, &key, format);
        let (id, raw) = repository.commit(&["-S", "-m", "signed"]);
        let commit = CommitObject::parse(id, &raw).unwrap_or_else(|refused| panic!("{refused}"));
        let signer = verify_signature_only(&commit, &known).unwrap_or_else(|refused| panic!("{refused}"));
        let openpgp = KeyFingerprint::OpenPgp(fingerprint(&key));
        assert_eq!((signer.principal.as_str(), signer.format, signer.key), (name, SignatureFormat::OpenPgp, openpgp));
        assert_eq!(
            serde_json::to_value(&signer).unwrap(),
            serde_json::json!({"principal": name, "format": "openpgp", "key": key})
        );
        assert_eq!(key.parse(), Ok(openpgp));
        assert!(repository.output(&["verify-commit", "HEAD"], b"").status.success());
    }
}

#[test]
fn the_thirteen_mutants_are_refused() {
    let bench = Bench::new();
    let gpg = Gpg::new(&bench, "gpg");
    let key = gpg.key("alice", "ed25519", "sign", "never");
    let known = certificates(&gpg);
    let repository = repository(&bench, &gpg, &key, "sha1");
    let (_, raw) = repository.commit(&["-S", "-m", "signed"]);
    let good = raw.as_slice();
    assert_eq!(code(good, &known), "accepted");
    let header = header(good);
    let unsigned = edit(good, &header, "");
    let tree = std::str::from_utf8(good).unwrap().lines().next().unwrap().to_owned() + "\n";
    let attacker = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4903\n";
    let with = |old: &str, new: String| edit(good, old, &new);
    let message = header.trim_start_matches("gpgsig ").replace("\n ", "\n");
    let end = "END PGP SIGNATURE-----";
    // as the table of the SSH mutants; the last column is what `git verify-commit` says
    let mutants = [
        ("an extra header gpgsigX", with(&header, format!("{header}gpgsigX junk\n")), "W102", true),
        ("junk gpgsig-sha256 before", with(&header, format!("gpgsig-sha256 junk\n{header}")), "W102", true),
        ("junk gpgsig-sha256 after", with(&header, format!("{header}gpgsig-sha256 junk\n")), "W102", true),
        ("gpgsig twice", with(&header, header.repeat(2)), "W102", false),
        ("garbage second", with(&header, format!("{header}gpgsig garbage\n")), "W102", true),
        ("garbage first", with(&header, format!("gpgsig garbage\n{header}")), "W102", false),
        ("signature in the message", [unsigned.as_slice(), message.as_bytes()].concat(), "W301", false),
        ("NUL and more after the message", [good, b"\0unsigned"].concat(), "W103", false),
        ("a second tree, the attacker's first", with(&tree, format!("{attacker}{tree}")), "W101", false),
        ("a second tree, the attacker's second", with(&tree, format!("{tree}{attacker}")), "W101", false),
        ("a blank after the armour", with(end, format!("{end} ")), "W101", true),
        ("gpgsig before author", edit(&unsigned, "author ", &format!("{header}author ")), "W101", true),
        ("an extra blank continuation line", with(&header, format!("{header} \n")), "W101", true),
    ];
    assert_eq!(mutants.len(), 13);
    assert_eq!(mutants.iter().filter(|(_, _, _, by_git)| *by_git).count(), 7);
    for (name, mutant, expected, by_git) in &mutants {
        assert_eq!(code(mutant, &known), *expected, "{name}");
        let id = repository.plant(mutant);
        let status = repository.output(&["verify-commit", &id.to_string()], b"").status;
        assert_eq!(status.success(), *by_git, "git: {name}");
    }
    // forms of the armour that only OpenPGP has
    let begin = "-----BEGIN PGP SIGNATURE-----\n";
    let checksum = header.lines().find(|line| line.starts_with(" =")).unwrap().to_owned() + "\n";
    let forms = [
        ("a version", with(begin, format!("{begin} Version: GnuPG v2\n")), "W101", true),
        ("a comment", with(begin, format!("{begin} Comment: x\n")), "W101", true),
        ("no checksum", with(&checksum, String::new()), "W201", true),
        ("another checksum", with(&checksum, " =AAAA\n".to_owned()), "W101", false),
        ("as a message", with(&header, header.replace("PGP SIGNATURE", "PGP MESSAGE")), "W101", true),
    ];
    for (name, mutant, expected, by_git) in &forms {
        assert_eq!(code(mutant, &known), *expected, "{name}");
        let id = repository.plant(mutant);
        let status = repository.output(&["verify-commit", &id.to_string()], b"").status;
        assert_eq!(status.success(), *by_git, "git: {name}");
    }
}

#[test]
fn the_committer_time_is_that_of_the_key_and_not_more() {
    let bench = Bench::new();
    let gpg = Gpg::new(&bench, "gpg");
    let key = gpg.key("short", "ed25519", "sign", "20260201T000000");
    let known = certificates(&gpg);
    let repository = repository(&bench, &gpg, &key, "sha1");
    let commit = |time: i64| {
        let date = format!("{time} +0000");
        let mut command = bench.command("git", &repository.folder);
        command.env("GIT_COMMITTER_DATE", &date).args(["commit", "-q", "--allow-empty", "-S", "-m", "x"]);
        assert!(command.status().unwrap().success());
        code(&repository.raw("HEAD").1, &known)
    };
    let day = 24 * 60 * 60;
    assert_eq!(commit(COMMIT_TIME), "accepted");
    assert_eq!(commit(COMMIT_TIME + 30 * day), "accepted");
    assert_eq!(commit(COMMIT_TIME + 31 * day), "W204");
}

#[test]
fn each_format_needs_its_own_list() {
    let bench = Bench::new();
    let gpg = Gpg::new(&bench, "gpg");
    let key = gpg.key("alice", "ed25519", "sign", "never");
    let stranger = gpg.key("mallory", "ed25519", "sign", "never");
    let repository = repository(&bench, &gpg, &key, "sha1");
    let ssh = bench.key("ssh-sha1-again", KEY_TYPES[0]);
    let by_gpg = repository.commit(&["-S", "-m", "gpg"]).1;
    let by_stranger = repository.commit(&[&format!("-S{stranger}"), "-m", "stranger"]).1;
    let unsigned = repository.commit(&["-m", "unsigned"]).1;
    let path = ssh.private.to_str().unwrap();
    let setting = format!("user.signingkey={path}");
    repository.git(&["-c", "gpg.format=ssh", "-c", &setting, "commit", "-q", "--allow-empty", "-S", "-m", "ssh"]);
    let by_ssh = repository.raw("HEAD").1;
    let allowed_signers = Some(AllowedSigners::parse(&format!("alice {}\n", ssh.public)).unwrap());
    let certificates = Some(Keyring::parse(&gpg.export(&key)).unwrap());
    let table = [
        (
            KnownSigners { allowed_signers: allowed_signers.clone(), certificates: certificates.clone() },
            ["accepted"; 2],
        ),
        (KnownSigners { allowed_signers, certificates: None }, ["W208", "accepted"]),
        (KnownSigners { allowed_signers: None, certificates }, ["accepted", "W208"]),
        (KnownSigners::default(), ["W208"; 2]),
    ];
    for (known, expected) in table {
        assert_eq!([code(&by_gpg, &known), code(&by_ssh, &known)], expected, "{known:?}");
        assert_eq!(code(&unsigned, &known), "W301");
        let unknown = if known.certificates.is_some() { "W202" } else { "W208" };
        assert_eq!(code(&by_stranger, &known), unknown);
        if known.certificates.is_none() {
            assert!(verify(&by_gpg, &known).unwrap_err().fix.contains("--openpgp-certs"));
        }
    }
}

#[test]
fn the_fix_works_when_pasted() {
    let bench = Bench::new();
    let gpg = Gpg::new(&bench, "gpg");
    let key = gpg.key("alice", "ed25519", "sign", "never");
    let known = certificates(&gpg);
    let repository = repository(&bench, &gpg, &key, "sha1");
    let judged =
        |(id, raw): (CommitId, Vec<u8>)| verify_signature_only(&CommitObject::parse(id, &raw).unwrap(), &known);
    // the root, and one below the head
    let root = judged(repository.commit(&["-m", "root"])).unwrap_err();
    repository.commit(&["-S", "-m", "second"]);
    repository.paste(&root.fix);
    let below = judged(repository.commit(&["-m", "third"])).unwrap_err();
    repository.commit(&["-S", "-m", "head"]);
    repository.paste(&below.fix);
    for revision in ["HEAD", "HEAD~1", "HEAD~2", "HEAD~3"] {
        assert!(judged(repository.raw(revision)).is_ok(), "{revision}");
    }
}
