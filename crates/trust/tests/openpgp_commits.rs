//! Commits signed by the real `git` with the real `gpg`, and what an attacker makes of them.

mod support;

use manifest::Finding;
use support::{
    Bench, COMMIT_TIME, KEY_TYPES,
    gpg::{Gpg, fingerprint},
    mutants::{edit, signature_header},
    parse,
};
use trust::{
    AllowedSigners, CommitId, CommitObject, KeyFingerprint, KnownSigners, SignatureFormat, Signer, openpgp::Keyring,
    verify_signature_only,
};

fn verify(raw: &[u8], known: &KnownSigners) -> Result<Signer, Finding> {
    parse(raw).and_then(|commit| verify_signature_only(&commit, known))
}

fn code(raw: &[u8], known: &KnownSigners) -> String {
    verify(raw, known).map_or_else(|finding| finding.code.code.to_owned(), |_signer| "accepted".to_owned())
}

#[test]
fn what_git_makes_with_gpg_is_accepted() {
    let bench = Bench::new();
    let gpg = Gpg::new(&bench, "gpg");
    for (name, format) in [("ed25519", "sha1"), ("rsa3072", "sha256")] {
        let key = gpg.key(name, name, "sign", "never");
        let known = gpg.known();
        let repository = gpg.repository(format, &key, format);
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
        assert!(repository.git_verifies(&id));
    }
}

#[test]
fn forms_of_the_armour_that_only_openpgp_has() {
    let bench = Bench::new();
    let gpg = Gpg::new(&bench, "gpg");
    let key = gpg.key("alice", "ed25519", "sign", "never");
    let known = gpg.known();
    let repository = gpg.repository("repository", &key, "sha1");
    let (_, raw) = repository.commit(&["-S", "-m", "signed"]);
    let good = raw.as_slice();
    assert_eq!(code(good, &known), "accepted");
    let header = signature_header(good);
    let with = |old: &str, new: String| edit(good, old, new);
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
        assert_eq!(repository.git_verifies(&id), *by_git, "git: {name}");
    }
}

#[test]
fn the_committer_time_is_that_of_the_key_and_not_more() {
    let bench = Bench::new();
    let gpg = Gpg::new(&bench, "gpg");
    let key = gpg.key("short", "ed25519", "sign", "20260201T000000");
    let known = gpg.known();
    let repository = gpg.repository("repository", &key, "sha1");
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
    let repository = gpg.repository("repository", &key, "sha1");
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
            KnownSigners {
                allowed_signers: allowed_signers.clone(),
                certificates: certificates.clone(),
                keyless: None,
            },
            ["accepted"; 2],
        ),
        (KnownSigners { allowed_signers, ..KnownSigners::default() }, ["W208", "accepted"]),
        (KnownSigners { certificates, ..KnownSigners::default() }, ["accepted", "W208"]),
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
    let known = gpg.known();
    let repository = gpg.repository("repository", &key, "sha1");
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
    // where lists of both formats are given, Git signs as it is set up
    let ssh = bench.key("key", KEY_TYPES[0]);
    let both = KnownSigners {
        allowed_signers: Some(AllowedSigners::parse(&format!("alice {}\n", ssh.public)).unwrap()),
        ..known.clone()
    };
    let (id, raw) = repository.commit(&["-m", "unsigned"]);
    let refused = verify_signature_only(&CommitObject::parse(id, &raw).unwrap(), &both).unwrap_err();
    assert_eq!(refused.needed, "an SSH or OpenPGP signature by a principal");
    assert!(
        refused.fix.starts_with("git rebase ") && refused.fix.ends_with("^ # gpg.format as your key: ssh, openpgp"),
        "{refused}"
    );
    repository.paste(&refused.fix);
    assert!(judged(repository.raw("HEAD")).is_ok());
}
