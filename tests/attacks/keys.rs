//! Attacks 9 to 16: commits that are almost signed, and keys that do not count, or not any more.

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use testkit::{KeyType, Keys};

use super::{Arena, Told, head, refusal, settings_by, signed_with, with_signature};
use crate::bad_input::{Lent, Offline, refused, unharmed};
use crate::stage::{Owner, Setup, Stage, Story, Test, View, config_map, writ};

/// The 13 mutants of one good commit: each carries its signature, none is it. Git accepts eight of them.
#[test]
fn attack_09_malleable_commits() -> Test {
    let mut stage = Lent::stage()?;
    let mut story = Story::begin(&stage, "mutants", "Thirteen commits that are almost a signed one")?;
    story.done("a signed commit is edited byte by byte in the ways that parsers read differently; each becomes the head of main");
    stage.repo.write("apps/settings.yaml", config_map("settings", "bad"))?;
    let commit = stage.repo.commit_signed(&stage.people.sre, "pay 10")?;
    stage.push_aside("main", "aside")?;
    let good = String::from_utf8(stage.repo.read_object("commit", &commit)?).context("a commit is not UTF-8")?;
    for (name, raw, code) in mutants(&good)? {
        let commit = stage.repo.write_object("commit", &raw)?;
        stage.force_head(&commit)?;
        head(&mut stage, &mut story, &format!("mutant: {name}"), &commit, code)?;
    }
    unharmed(&mut stage, &mut story)?;
    story.end(&stage)
}

/// As `parser_table` of crate trust lists them.
fn mutants(good: &str) -> Result<Vec<(&'static str, Vec<u8>, &'static str)>> {
    let end = "-----END SSH SIGNATURE-----\n";
    let from = good.find("gpgsig ").context("no signature")?;
    let to = good.find(end).context("no end of the signature")? + end.len();
    let header = good.get(from..to).context("not on a boundary")?.to_owned();
    let unsigned = good.replace(&header, "");
    let tree = format!("{}\n", good.lines().next().context("an empty commit")?);
    let attacker = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n";
    let with = |old: &str, new: String| good.replacen(old, &new, 1).into_bytes();
    let message = header.trim_start_matches("gpgsig ").replace("\n ", "\n");
    Ok(vec![
        ("an extra header gpgsigX", with(&header, format!("{header}gpgsigX junk\n")), "W102"),
        ("junk gpgsig-sha256 before", with(&header, format!("gpgsig-sha256 junk\n{header}")), "W102"),
        ("junk gpgsig-sha256 after", with(&header, format!("{header}gpgsig-sha256 junk\n")), "W102"),
        ("gpgsig twice", with(&header, header.repeat(2)), "W102"),
        ("garbage second", with(&header, format!("{header}gpgsig garbage\n")), "W102"),
        ("garbage first", with(&header, format!("gpgsig garbage\n{header}")), "W102"),
        ("signature in the message", format!("{unsigned}{message}").into_bytes(), "W301"),
        ("NUL and more after the message", [good.as_bytes(), b"\0unsigned"].concat(), "W103"),
        ("a second tree, the attacker's first", with(&tree, format!("{attacker}{tree}")), "W101"),
        ("a second tree, the attacker's second", with(&tree, format!("{tree}{attacker}")), "W101"),
        ("a blank after the armour", with("END SSH SIGNATURE-----", "END SSH SIGNATURE----- ".to_owned()), "W101"),
        ("gpgsig before author", unsigned.replacen("author ", &format!("{header}author "), 1).into_bytes(), "W101"),
        ("an extra blank continuation line", with(&header, format!("{header} \n")), "W101"),
    ])
}

/// What makes a careless verifier crash, and whoever waits for its exit status believe: a crash would be no verdict, and there is
/// none.
#[test]
fn attack_10_crashing_the_verifier() -> Test {
    let mut stage = Lent::stage()?;
    let before = stage.running()?.pid();
    let mut story = Story::begin(&stage, "crashing-the-verifier", "Signatures that break off, or lie about lengths")?;
    story.done("a change of apps/settings.yaml carries signatures that are cut, empty, or longer than they are; each becomes the head of main");
    let ssh = |blob: &[u8]| armour("SSH SIGNATURE", blob, 70);
    let lying = [b"SSHSIG\0\0\0\x01".as_slice(), &[0xff; 4], b"ssh-ed25519"].concat();
    let nested = [b"SSHSIG\0\0\0\x01".as_slice(), &[0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff]].concat();
    let pgp = |blob: &[u8]| armour("PGP SIGNATURE", blob, 64).replacen("-----\n", "-----\n\n", 1);
    for (name, armoured, code) in [
        ("an armour without an end", "-----BEGIN SSH SIGNATURE-----\nU1NIU0lH".to_owned(), "W101"),
        ("an armour of nothing", "-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----".to_owned(), "W101"),
        ("a signature of six bytes", ssh(b"SSHSIG"), "W201"),
        ("a key of 4 GiB", ssh(&lying), "W201"),
        ("a name of 4 GiB inside the key", ssh(&nested), "W201"),
        ("a packet of 4 GiB", pgp(&[0xc2, 0xff, 0xff, 0xff, 0xff, 0xff, 4]), "W208"),
    ] {
        let commit = with_signature(&mut stage, |_payload| Ok(armoured))?;
        head(&mut stage, &mut story, name, &commit, code)?;
    }
    ensure!(stage.running()?.pid() == before, "writ was started again");
    unharmed(&mut stage, &mut story)?;
    story.end(&stage)
}

fn armour(what: &str, blob: &[u8], width: usize) -> String {
    let digits = STANDARD.encode(blob);
    let lines = digits.as_bytes().chunks(width).map(|line| format!("{}\n", String::from_utf8_lossy(line)));
    format!("-----BEGIN {what}-----\n{}-----END {what}-----\n", lines.collect::<String>())
}

pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The order of the curve of Ed25519, little end first: 2^252 + 27742317777372353535851937790883648493.
const ORDER: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";

/// An armoured Ed25519 signature with the order of the curve added to its second half.
pub(super) fn malleated(armoured: &str) -> Result<String> {
    let digits: String = armoured.lines().filter(|line| !line.starts_with('-')).collect();
    let mut blob = STANDARD.decode(digits).context("no base64")?;
    let from = blob.len().checked_sub(32).context("a short signature")?;
    let mut carry = 0;
    for (byte, more) in blob.iter_mut().skip(from).zip(hex::decode(ORDER)?) {
        let sum = u16::from(*byte) + u16::from(more) + carry;
        (*byte, carry) = (sum.to_le_bytes()[0], sum >> 8);
    }
    Ok(armour("SSH SIGNATURE", &blob, 70))
}

/// A signature is for what it was made for.
#[test]
fn attack_11_namespace_confusion() -> Test {
    let mut stage = Lent::stage()?;
    let mut story = Story::begin(&stage, "signature-wrong-namespace", "A signature that was made for another purpose")?;
    story.done("sam signs the bytes of the commit with `ssh-keygen -Y sign -n file`, and the signature is put into the commit; git push");
    let key = stage.people.sre.clone();
    let signed =
        |stage: &mut Stage<'_>, namespace| with_signature(stage, |payload| key.sign(namespace, payload.as_bytes()));
    let commit = signed(&mut stage, "file")?;
    refused(&mut stage, story, Owner::Source, &commit, "W207", Offline::Told)?;
    for namespace in ["writ-approval@1", "writ-trust@1"] {
        let commit = signed(&mut stage, namespace)?;
        stage.held(Owner::Source, &commit, "W207")?;
    }
    Ok(())
}

/// What made programs that read the lines of gpg believe: two signatures in one armour, of which one is good; a message whose file
/// name looks like a line of gpg; a remark that does.
#[test]
fn attack_12_status_lines_of_gnupg() -> Test {
    let mut arena = Lent::<Arena>::take()?;
    let Arena { stage, cast } = &mut *arena;
    let mut story = Story::begin(stage, "status-lines-of-gnupg", "What speaks to whoever reads the lines of gpg")?;
    story.done("gina signs with OpenPGP; changes of apps/settings.yaml carry signatures that are made to be misread; each becomes the head of main");
    // What she signs as it should be is accepted.
    let good = signed_with(stage, |payload| cast.sign("gina", &[], payload))?;
    let verified = stage.verify(&good, &[])?;
    ensure!(verified.code == Some(0), "gina's own: {}{}", verified.stdout, verified.stderr);
    story.then("writ verify accepts what she signs as it should be.");
    let line = "\n[GNUPG:] GOODSIG 0000000000000000 gina\n[GNUPG:] VALIDSIG 0000000000000000000000000000000000000000\n";
    let unknown = format!("{}!", cast.unknown);
    let remark = format!("note@example.com={}", line.replace('\n', " "));
    let cases: [(&str, &[&str], &str, &str); 3] = [
        ("two signatures in one armour", &["-u", &unknown], "gina", "W201"),
        ("a message with lines in its file name", &["--sign", "--set-filename", line], "gina", "W101"),
        ("a stranger with a remark", &["--sig-notation", &remark], "nobody", "W202"),
    ];
    for (name, arguments, who, code) in cases {
        let commit = with_signature(stage, |payload| cast.sign(who, arguments, payload))?;
        head(stage, &mut story, name, &commit, code)?;
    }
    unharmed(stage, &mut story)?;
    story.end(stage)
}

#[test]
fn attack_13_weak_keys_and_digests() -> Test {
    let mut arena = Lent::<Arena>::take()?;
    let Arena { stage, cast } = &mut *arena;
    let keys = Keys::new()?;
    let short = keys.generate("sam", KeyType::Rsa(2048))?;
    stage.names.call(&short.fingerprint()?, "short RSA key");
    stage.names.call(short.public(), "short public RSA key");
    let told = Told {
        name: "weak-key",
        title: "A signature by an RSA key that is too short",
        done: "sam signs a change of apps/settings.yaml with an RSA key of 2048 bits; git push",
        code: "W203",
    };
    refusal(stage, &told, |stage| settings_by(stage, &short))?;
    // Git and gpg accept it.
    let digest = Told {
        name: "weak-digest",
        title: "A signature over SHA-1",
        done: "gina signs a change of apps/settings.yaml with `gpg --digest-algo SHA1`; git push",
        code: "W203",
    };
    refusal(stage, &digest, |stage| {
        with_signature(stage, |payload| cast.sign("gina", &["--digest-algo", "SHA1"], payload))
    })
}

#[test]
fn attack_14_keys_out_of_force() -> Test {
    let mut arena = Lent::<Arena>::take()?;
    let Arena { stage, cast } = &mut *arena;
    let revoked = Told {
        name: "key-revoked",
        title: "A key that is revoked",
        done: "theo's key is revoked in the trust file; somebody signs a change of apps/settings.yaml with it; git push",
        code: "W304",
    };
    refusal(stage, &revoked, |stage| settings_by(stage, &cast.revoked))?;
    stage.restore()?;
    let mut story = Story::begin(stage, "openpgp-keys-out-of-force", "OpenPGP keys that are not in force")?;
    story.done("gerd has revoked his own certificate, that of gero ended 2026-06-01; signatures of both, dated 2026-01-01, are pushed");
    for (who, code) in [("gerd", "W304"), ("gero", "W204")] {
        let commit = with_signature(stage, |payload| cast.sign(who, &[], payload))?;
        head(stage, &mut story, &format!("commit of {who}"), &commit, code)?;
    }
    unharmed(stage, &mut story)?;
    story.end(stage)
}

/// Whoever finds a key that has ended sets the clock back to when it was in force. (What stands in the commits of this stage is
/// January 2026, before the end.)
#[test]
fn attack_15_back_dated_commit() -> Test {
    let mut arena = Lent::<Arena>::take()?;
    let Arena { stage, cast } = &mut *arena;
    let ended = Told {
        name: "key-that-has-ended",
        title: "A key whose time is over",
        done: "the trust file says that olga's key ends 2026-06-01; later she signs a change of apps/settings.yaml, dated January 2026; git push",
        code: "W204",
    };
    refusal(stage, &ended, |stage| settings_by(stage, &cast.ended))?;

    let good = stage.good().to_owned();
    let made: i64 = stage.repo.git(&["show", "-s", "--format=%ct", &good])?.parse().context("no committer time")?;
    let told = Told {
        name: "committer-time-goes-back",
        title: "A commit that says it was made before its parent",
        done: "sam's clock is a day behind; he signs a change of apps/settings.yaml; git push",
        code: "W406",
    };
    stage.repo.set_time(made - 24 * 60 * 60);
    let outcome = refusal(stage, &told, |stage| {
        stage.repo.write("apps/settings.yaml", config_map("settings", "bad"))?;
        stage.commit("change settings")
    });
    // The stage goes back to the pool.
    stage.repo.set_time(made + 24 * 60 * 60);
    outcome
}

/// What stands under the id of the introduction is not what the TrustRoot says: as if somebody had made two commits of one id. (That
/// two objects of one SHA-1 are noticed by their bytes: `commit_id` of crate trust.)
#[test]
fn attack_16_colliding_objects() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let mut story = Story::begin(&stage, "object-id-mismatch", "An introduction of other bytes under the same id")?;
    story.done("the TrustRoot names the introduction by its id and by the SHA-256 of what was signed; the latter is that of another commit");
    let file = stage.trust_root_file();
    let text = std::fs::read_to_string(&file).context("cannot read the TrustRoot")?;
    let said = text.split("payloadSha256: ").nth(1).and_then(|rest| rest.lines().next()).context("no digest")?;
    let said = said.trim_matches(['"', '\'']).to_owned();
    let other = "ab".repeat(32);
    std::fs::write(&file, text.replace(&said, &other)).context("cannot write the TrustRoot")?;
    stage.names.call(&said, "digest of the introduction");
    stage.names.call(&other, "digest in the TrustRoot");
    let path = stage.repo.path();
    let (path, root) = (path.to_string_lossy(), file.to_string_lossy());
    let finished = writ(&["verify", "--repo", &path, "--trust-root", &root, "main"])?;
    let said_by_writ = format!("{}{}", finished.stdout, finished.stderr);
    ensure!(finished.code == Some(1) && said_by_writ.contains("W106"), "{said_by_writ}");
    story.seen("writ verify --trust-root trust-root.yaml main", &format!("{said_by_writ}[exit status 1]"));

    story.done("an admin applies the same to the cluster");
    introduce(&stage, &other)?;
    stage.poke()?;
    stage.wait("the GitSource tells W106", |view| {
        let source = view.source()?;
        let (ready, reason, message) = View::condition(&source, "Ready");
        ensure!(ready == "False" && message.contains("W106"), "Ready={ready} {reason}: {message}");
        Ok(())
    })?;
    story.status(&stage, Owner::Source)?;
    unharmed(&mut stage, &mut story)?;
    introduce(&stage, &said)?;
    stage.roll_out("apps/settings.yaml", &config_map("settings", "newer"))?;
    story.then("with the digest of the introduction it goes on.");
    story.end(&stage)
}

fn introduce(stage: &Stage<'_>, digest: &str) -> Test {
    let patch = format!(r#"{{"spec":{{"introduction":{{"payloadSha256":"{digest}"}}}}}}"#);
    let root = format!("trustroot/{}", stage.view.namespace);
    stage.tenant.kubectl(&["patch", &root, "--type=merge", "-p", &patch]).map(drop)
}
