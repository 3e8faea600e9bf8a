//! Commits made by the real `git`, and what an attacker makes of them.

#![expect(clippy::disallowed_methods, reason = "fixtures are made with real tools")]
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{fs, sync::LazyLock};

use manifest::{Digest, Finding};
use proptest::prelude::*;
use support::{
    Bench, COMMIT_TIME, KEY_TYPES, Key,
    mutants::{edit, signature_header},
    parse,
};
use trust::{AllowedSigners, CommitId, CommitObject, Crypto, KnownSigners, ObjectFormat, verify_signature_only};

/// One signed commit, for the tests that only change its bytes.
static SIGNED: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let bench = Bench::new();
    let key = bench.key("key", KEY_TYPES[0]);
    let repository = bench.repository("repository", &key, "sha1");
    repository.commit(&["-m", "first"]);
    repository.commit(&["-S", "-m", "second\n\nwith a body"]).1
});

/// Parse and verify, the only way a commit is accepted.
fn verdict(raw: &[u8]) -> Result<CommitObject, Finding> {
    let commit = parse(raw)?;
    commit.verify_ssh(&Crypto::default())?;
    Ok(commit)
}

fn code(raw: &[u8]) -> &'static str {
    verdict(raw).map_or_else(|finding| finding.code.code, |_commit| "accepted")
}

fn listed(signers: &str) -> KnownSigners {
    KnownSigners { allowed_signers: Some(AllowedSigners::parse(signers).unwrap()), ..KnownSigners::default() }
}

#[test]
fn what_git_makes_is_accepted_with_every_key_type_and_object_format() {
    let bench = Bench::new();
    for (number, key_type) in KEY_TYPES.iter().enumerate() {
        let key = bench.key(&format!("key{number}"), key_type);
        for format in ["sha1", "sha256"] {
            let repository = bench.repository(&format!("{number}-{format}"), &key, format);
            let (id, raw) = repository.commit(&["-S", "-m", "Grüße"]);
            let commit = CommitObject::parse(id, &raw).unwrap_or_else(|refused| panic!("{key_type:?}: {refused}"));
            assert_eq!(commit.committer_time, COMMIT_TIME);
            assert_eq!(commit.committer, format!("Alice <alice@example.com> {COMMIT_TIME} +0000").as_bytes());
            assert_eq!(commit.message, "Grüße\n".as_bytes());
            assert_eq!(
                commit.tree.to_string() + "\n",
                String::from_utf8(repository.git(&["rev-parse", "HEAD^{tree}"])).unwrap()
            );
            assert_eq!(commit.payload_sha256, Digest::of(&commit.payload));
            let signature = commit.verify_ssh(&Crypto::default()).unwrap_or_else(|refused| panic!("{refused}"));
            assert_eq!(*signature.key(), key.parsed());
            let signers = format!("alice {}\n", key.public);
            let signer = verify_signature_only(&commit, &listed(&signers)).unwrap();
            let listed = bench.run("ssh-keygen", &["-l", "-f", key.private.to_str().unwrap()], b"").stdout;
            assert!(String::from_utf8(listed).unwrap().contains(&format!(" {} ", signer.key)));
            assert_eq!(
                serde_json::to_value(&signer).unwrap(),
                serde_json::json!({"principal": "alice", "format": "ssh", "key": signer.key.to_string()})
            );
            assert!(repository.git_accepts(&id, &signers));
        }
    }
}

#[test]
fn every_header_that_git_writes_is_accepted() {
    let bench = Bench::new();
    let key = bench.key("key", KEY_TYPES[0]);
    let repository = bench.repository("repository", &key, "sha1");
    let mut commits = vec![repository.commit(&["-S", "-m", "root"])];
    commits.push(repository.commit(&["-S", "--allow-empty-message", "-m", ""]));
    repository.git(&["config", "i18n.commitEncoding", "ISO-8859-1"]);
    commits.push(repository.commit(&["-S", "-m", "encoded"]));
    for side in ["one", "two"] {
        repository.git(&["checkout", "-q", "-b", side, "main~1"]);
        fs::write(repository.folder.join(side), side).unwrap();
        repository.git(&["add", side]);
        repository.commit(&["-S", "-m", side]);
        repository.git(&["tag", "-s", "-m", "a tag\n\nwith a body", &format!("v-{side}")]);
    }
    repository.git(&["checkout", "-q", "main"]);
    repository.git(&["merge", "-q", "--no-ff", "-S", "-m", "octopus", "v-one", "v-two"]);
    commits.push(repository.raw("HEAD"));
    repository.git(&["commit", "-q", "--amend", "-S", "-m", "amended"]);
    commits.push(repository.raw("HEAD"));
    for (id, raw) in &commits {
        let commit = CommitObject::parse(*id, raw).unwrap_or_else(|refused| panic!("{refused}"));
        assert_eq!(*commit.verify_ssh(&Crypto::default()).unwrap().key(), key.parsed());
    }
    let (_, octopus) = &commits[4];
    assert_eq!(parse(octopus).unwrap().parents.len(), 3);
    let text = String::from_utf8_lossy(octopus);
    assert_eq!((text.matches("\nmergetag ").count(), text.matches("\nencoding ").count()), (2, 1));
    // the position between committer and signature is fixed
    let moved = edit(octopus, "encoding ISO-8859-1\n", b"");
    assert_eq!(code(&edit(&moved, "\ngpgsig ", b"\nencoding ISO-8859-1\ngpgsig ")), "W101");
}

#[test]
fn other_forms_are_refused_by_their_code() {
    let good = SIGNED.as_slice();
    let header = signature_header(good);
    let unsigned = edit(good, &header, b"");
    let with = |old: &str, new: &str| edit(good, old, new.as_bytes());
    let armoured = |text: &str| edit(good, &header, format!("gpgsig {}\n", text.replace('\n', "\n ")).as_bytes());
    let date = format!("Alice <alice@example.com> {COMMIT_TIME} +0000\ncommitter");
    let dual = format!("{header}{}", header.replacen("gpgsig ", "gpgsig-sha256 ", 1));
    let forms = [
        ("nothing", Vec::new(), "W101"),
        ("no blank line", b"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n".to_vec(), "W101"),
        ("unsigned", unsigned, "W301"),
        ("jj's header", with("gpgsig ", "change-id abc\ngpgsig "), "W101"),
        ("hg-git's header", with("gpgsig ", "HG:extra x\ngpgsig "), "W101"),
        ("a header after the signature", with(&header, &format!("{header}encoding UTF-8\n")), "W101"),
        ("a folded tree", with("\nparent ", "\n more\nparent "), "W101"),
        ("a folded parent", with("\nauthor ", "\n more\nauthor "), "W101"),
        (
            "upper-case ids",
            with("tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904", "tree 4B825DC642CB6EB9A060E54BF8D69288FBEE4904"),
            "W101",
        ),
        ("ids of two formats", with("4b825dc642cb6eb9a060e54bf8d69288fbee4904", &"4b".repeat(32)), "W101"),
        ("no author", with(&format!("author {date}"), "committer"), "W101"),
        ("a zone without sign", with(&date, &date.replace('+', "")), "W101"),
        ("two author lines", with("author ", "author A <a> 1 +0000\nauthor "), "W101"),
        (
            "a parent after the author",
            with("\ncommitter ", "\nparent 4b825dc642cb6eb9a060e54bf8d69288fbee4904\ncommitter "),
            "W101",
        ),
        ("an empty header line", with("\nparent ", "\n \nparent "), "W101"),
        ("a carriage return in the armour", with("BEGIN SSH SIGNATURE-----", "BEGIN SSH SIGNATURE-----\r"), "W101"),
        ("the header of SHA-256", with("\ngpgsig ", "\ngpgsig-sha256 "), "W102"),
        ("the signature of one format under the header of the other as well", with(&header, &dual), "W102"),
        ("another armour", armoured("-----BEGIN FOO-----\nAA==\n-----END FOO-----"), "W101"),
        ("OpenPGP", armoured("-----BEGIN PGP SIGNATURE-----\n\nAA==\n-----END PGP SIGNATURE-----"), "W208"),
        ("X.509", armoured("-----BEGIN SIGNED MESSAGE-----\nAA==\n-----END SIGNED MESSAGE-----"), "W208"),
        ("a signature that is too long", armoured(&"x".repeat(70_000)), "W103"),
        (
            "too many parents",
            with("\nauthor ", &("\nparent 4b825dc642cb6eb9a060e54bf8d69288fbee4904".repeat(200) + "\nauthor ")),
            "W101",
        ),
        ("too large", [good, &vec![b'x'; 1 << 20]].concat(), "W103"),
        ("another message", [good, b"more"].concat(), "W201"),
    ];
    for (name, raw, expected) in forms {
        assert_eq!(code(&raw), expected, "{name}");
    }
    let other = CommitId::of(ObjectFormat::Sha1, b"other").unwrap();
    assert_eq!(CommitObject::parse(other, good).expect_err("refused").code.code, "W106");
}

#[test]
fn a_flip_of_any_one_byte_is_refused() {
    let good = SIGNED.as_slice();
    let id = CommitId::of(ObjectFormat::Sha1, good).unwrap();
    for place in 0..good.len() {
        for flip in [0x01, 0x20, 0x80] {
            let mut raw = good.to_vec();
            raw[place] ^= flip;
            assert_ne!(code(&raw), "accepted", "byte {place} ^ {flip:#x}, under its own id");
            assert_eq!(
                CommitObject::parse(id, &raw).map_err(|finding| finding.code.code).err(),
                Some(if raw.contains(&0) { "W103" } else { "W106" })
            );
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(raw in proptest::collection::vec(any::<u8>(), 0..500)) {
        prop_assert!(verdict(&raw).is_err());
    }

    #[test]
    fn no_edit_of_a_signed_commit_is_accepted(
        from in 0..SIGNED.len(), count in 0_usize..40, insert in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let good = SIGNED.as_slice();
        let raw = [&good[..from], &insert, &good[(from + count).min(good.len())..]].concat();
        prop_assume!(raw != good);
        prop_assert!(verdict(&raw).is_err());
    }

    #[test]
    fn lines_in_any_order_are_refused(lines in Just(()).prop_flat_map(|()| {
        let lines: Vec<String> = std::str::from_utf8(&SIGNED).unwrap().split_inclusive('\n').map(str::to_owned).collect();
        Just(lines).prop_shuffle()
    })) {
        let raw = lines.concat().into_bytes();
        prop_assume!(raw != *SIGNED);
        prop_assert!(verdict(&raw).is_err());
    }
}

#[test]
fn the_fixes_work_when_pasted() {
    let bench = Bench::new();
    fs::create_dir_all(bench.path(".ssh")).unwrap();
    let key: Key = bench.key(".ssh/id_ed25519", KEY_TYPES[0]);
    let signers = listed(&format!("alice {}\n", key.public));
    let accepted = |(id, raw): (CommitId, Vec<u8>)| {
        verify_signature_only(&CommitObject::parse(id, &raw).unwrap(), &signers).is_ok()
    };

    let repository = bench.repository("repository", &key, "sha1");
    repository.git(&["config", "--unset", "gpg.format"]);
    repository.git(&["config", "--unset", "user.signingkey"]);
    let (_, root) = repository.commit(&["-m", "root"]);
    let root = verdict(&root).expect_err("unsigned");
    repository.paste(&root.fix);
    assert!(accepted(repository.raw("HEAD")));

    // an older commit, and with it what follows
    let (_, older) = repository.commit(&["-m", "older"]);
    repository.commit(&["-m", "newest"]);
    let older = verdict(&older).expect_err("unsigned");
    repository.paste(&older.fix);
    assert!(accepted(repository.raw("HEAD")) && accepted(repository.raw("HEAD~1")));
    repository.paste(&root.fix);
    assert!(accepted(repository.raw("HEAD~2")));

    // a header that Git does not write, where git is set up to sign
    repository.git(&["config", "gpg.format", "ssh"]);
    repository.git(&["config", "user.signingkey", "~/.ssh/id_ed25519.pub"]);
    let (_, raw) = repository.commit(&["-S", "-m", "by another tool"]);
    let planted = repository.plant(&edit(&raw, "\ngpgsig ", b"\nchange-id abc\ngpgsig "));
    repository.git(&["reset", "-q", "--soft", &planted.to_string()]);
    let foreign = verdict(&repository.raw("HEAD").1).expect_err("foreign header");
    assert_eq!(foreign.code.code, "W101");
    repository.paste(&foreign.fix);
    assert!(accepted(repository.raw("HEAD")));
}

/// Times without a zone mean what they mean to ssh-keygen on a machine in that zone.
#[test]
fn times_of_a_zone_are_read_as_ssh_keygen_reads_them_there() {
    const RULES: &str = "CET-1CEST,M3.5.0,M10.5.0/3";
    let bench = Bench::new();
    let key = bench.key("key", KEY_TYPES[0]);
    let repository = bench.repository("repository", &key, "sha1");
    let (id, raw) = repository.commit(&["-S", "-m", "one"]);
    let commit = CommitObject::parse(id, &raw).unwrap();
    let zone = jiff::tz::TimeZone::posix(RULES).unwrap();
    // The commit is of midnight in UTC, one o'clock there.
    for (time, accepted) in [("20260101", true), ("202601010100", true), ("20260101010001", false), ("20260101Z", true)]
    {
        let file = format!("alice valid-after=\"{time}\" {}\n", key.public);
        let allowed_signers = Some(AllowedSigners::parse_in(&file, &zone).unwrap());
        let found = verify_signature_only(&commit, &KnownSigners { allowed_signers, ..KnownSigners::default() });
        assert_eq!(found.is_ok(), accepted, "{time}");
        fs::write(repository.folder.join("signers"), &file).unwrap();
        let mut git = bench.command("git", &repository.folder);
        git.env("TZ", RULES).args(["-c", "gpg.ssh.allowedSignersFile=signers", "verify-commit", "HEAD"]);
        assert_eq!(git.output().unwrap().status.success(), accepted, "git: {time}");
    }
    // Without one they are in UTC.
    let file = format!("alice valid-after=\"202601010001\" {}\n", key.public);
    assert!(verify_signature_only(&commit, &listed(&file)).is_err());
}
