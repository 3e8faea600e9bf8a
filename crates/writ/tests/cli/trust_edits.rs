//! The commands that edit and sign the trust file, as people use them: with what each prints pasted into a shell, until the
//! judgement accepts the change.

use std::path::Path;

use serde_json::Value;
use testkit::{SigningKey, hermetic_command};

use crate::support::{World, expect, json, paste, text};

/// Runs `writ trust …` on the work tree.
#[track_caller]
fn trust(world: &World, code: i32, arguments: &[&str]) -> testkit::Finished {
    let path = world.path();
    expect(code, &[&["trust"], arguments, &["--repo", &path]].concat())
}

/// Pastes the commands that were printed, as somebody with this key.
fn run(world: &World, key: &SigningKey, commands: &str) {
    let commands = commands.replace("writ trust ", &format!("{} trust ", env!("CARGO_BIN_EXE_writ")));
    let commands = commands.replace("KEY_FILE", text(key.private_file()));
    paste(&world.repo.path(), key, &commands);
}

fn public(key: &SigningKey) -> String {
    format!("{}.pub", key.private_file().display())
}

fn file(world: &World) -> String {
    world.repo.read(".writ/trust.yaml").unwrap()
}

#[track_caller]
fn last_code(world: &World) -> String {
    let found = world.verify(1, &[]);
    let step = found.get("steps").and_then(Value::as_array).unwrap().last().unwrap();
    step.get("code").and_then(Value::as_str).unwrap().to_owned()
}

/// A commit of now, as those that the printed commands make.
fn by(world: &World, key: &SigningKey, name: &str) {
    world.repo.write(&format!("apps/{name}.txt"), name).unwrap();
    let commit = "git add apps && git -c gpg.format=ssh commit --quiet --gpg-sign -m change";
    paste(&world.repo.path(), key, commit);
}

#[test]
fn somebody_is_added_and_goes_again() {
    let world = World::new();
    let carol = world.stranger();
    by(&world, &carol, "too early");
    assert_eq!(last_code(&world), "W202");
    world.repo.git(&["reset", "--quiet", "--hard", "HEAD^"]).unwrap();

    let before = file(&world);
    let added = trust(&world, 0, &["add", "carol", "--key", &public(&carol), "--role", "sre"]);
    assert!(
        added.stderr.contains("version 2") && added.stderr.contains("0 of 1 of root have signed"),
        "{}",
        added.stderr
    );
    assert!(added.stdout.contains("# as 1 of alice\n"), "{}", added.stdout);
    // The signature of the version before is not of this one, which is as it should be.
    assert!(added.stderr.contains("to be signed anew: alice.sig, "), "{}", added.stderr);
    assert!(!added.stderr.contains("does not count"), "{}", added.stderr);
    run(&world, &world.alice, &added.stdout);
    by(&world, &carol, "as carol");
    world.verify(0, &[]);

    let removed = trust(&world, 0, &["remove", "carol"]);
    run(&world, &world.alice, &removed.stdout);
    world.verify(0, &[]);
    assert_eq!(file(&world), before.replace("version: 1\n", "version: 3\n"));
    by(&world, &carol, "too late");
    assert_eq!(last_code(&world), "W202");
}

/// What history must be like stays as it is, and is shown and warned of.
#[test]
fn edits_keep_what_is_said_of_history() {
    let world = World::signed_for_both_formats();
    let line = "history: {dualSigned: true}\n";
    assert!(file(&world).contains(line));
    let carol = world.stranger();
    let added = trust(&world, 0, &["add", "carol", "--key", &public(&carol), "--role", "sre"]);
    assert!(file(&world).contains(line), "{}", file(&world));
    run(&world, &world.frank, &added.stdout);
    world.verify(0, &[]);
    let shown = trust(&world, 0, &["show"]).stdout;
    let wanted =
        "history: ancestry allSigned, refBinding none, mergeCredit mergerOnly, partialAdvance false, dualSigned true\n";
    assert!(shown.contains(wanted), "{shown}");
    let shown: Value = serde_json::from_str(&trust(&world, 0, &["show", "-o", "json"]).stdout).unwrap();
    assert_eq!((&shown["history"]["dualSigned"], &shown["history"]["refBinding"]), (&true.into(), &"none".into()));
    let warned = trust(&world, 0, &["lint"]).stderr;
    assert!(warned.contains("history.dualSigned is set"), "{warned}");
}

/// Whose certificates are believed is shown with its bounds.
#[test]
fn authorities_are_shown() {
    let world = World::new();
    let (ca, before) = (world.key("office"), file(&world));
    assert!(!trust(&world, 0, &["show"]).stdout.contains("AUTHORITY"));
    let line = format!(
        "principals:\n  office: {{kind: ca, key: \"{}\", principals: [\"*@example.com\"], maxValidity: 24h}}\n",
        ca.public()
    );
    let with = before.replacen("principals:\n", &line, 1);
    assert_ne!(with, before);
    world.repo.write(".writ/trust.yaml", with).unwrap();
    world.repo.commit_signed(&world.alice, "an authority").unwrap();
    let shown = trust(&world, 0, &["show"]).stdout;
    let key = ca.fingerprint().unwrap();
    let row = shown.lines().find(|line| line.contains("office")).unwrap();
    assert!(
        shown.contains("AUTHORITY") && [key.as_str(), "*@example.com", "24h"].iter().all(|word| row.contains(word)),
        "{shown}"
    );
    let shown = json(&trust(&world, 0, &["show", "-o", "json"]));
    let wanted =
        serde_json::json!([{"name": "office", "key": key, "principals": "*@example.com", "maxValidity": "24h"}]);
    assert_eq!(shown["authorities"], wanted);
}

/// An account that signs with gitsign comes and goes as a key does.
#[test]
fn an_account_is_added_and_goes_again() {
    let world = World::new();
    let before = file(&world);
    let account = ["https://accounts.example.com", "carol@example.com"];
    let refused = trust(&world, 1, &["add", "carol", "--keyless", "http://accounts.example.com", account[1]]);
    assert!(refused.stdout.contains("W502") && refused.stdout.contains("https"), "{}", refused.stdout);
    let added = trust(&world, 0, &["add", "carol", "--keyless", account[0], account[1], "--role", "sre"]);
    run(&world, &world.alice, &added.stdout);
    let shown = trust(&world, 0, &["show"]);
    assert!(account.iter().all(|name| shown.stdout.contains(name)), "{}", shown.stdout);
    let again = trust(&world, 64, &["add", "bob", "--keyless", account[0], account[1]]);
    assert!(again.stderr.contains("is a key of carol already"), "{}", again.stderr);
    let removed = trust(&world, 0, &["remove", "carol"]);
    run(&world, &world.alice, &removed.stdout);
    assert_eq!(file(&world), before.replace("version: 1\n", "version: 3\n"));
}

/// In a folder that a shell would split, and in the style of `writ trust init`.
#[test]
fn a_file_that_is_not_in_force_yet_keeps_its_version() {
    let keys = testkit::Keys::new().unwrap();
    let [alice, bob] = ["alice", "bob"].map(|name| keys.generate(name, testkit::KeyType::Ed25519).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("it's here");
    paste(folder.path(), &alice, "git init --quiet --initial-branch=main \"it's here\"");
    let root = format!("alice={}", public(&alice));
    expect(0, &["trust", "init", "--repo", text(&path), "--repo-id", "urn:test", "--root", &root]);
    let file = path.join(".writ/trust.yaml");
    let before = std::fs::read_to_string(&file).unwrap();
    let added = expect(0, &["trust", "add", "bob", "--key", &public(&bob), "--role", "root", "--repo", text(&path)]);
    let new = format!("  bob:\n    kind: human\n    keys:\n    - ssh: \"{}\"\nref: ", bob.public());
    let meant = before.replace("ref: ", &new).replace("  - alice\n", "  - alice\n  - bob\n");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), meant);
    let commands = added.stdout.replace("writ trust ", &format!("{} trust ", env!("CARGO_BIN_EXE_writ")));
    paste(folder.path(), &alice, &commands.replace("KEY_FILE", text(alice.private_file())));
    expect(0, &["trust", "root", "--repo", text(&path), "--url", "https://git.example.com/r.git"]);
    // Outside of a repository, and where there is no trust file, nothing is edited.
    let nowhere = expect(2, &["trust", "remove", "bob", "--repo", text(folder.path())]);
    assert!(nowhere.stderr.contains("cannot use the repository"), "{}", nowhere.stderr);
    std::fs::remove_file(&file).unwrap();
    let missing = expect(2, &["trust", "remove", "bob", "--repo", text(&path)]);
    assert!(missing.stderr.contains("writ trust init makes it"), "{}", missing.stderr);
}

#[test]
fn a_root_key_is_rotated_in_two_steps() {
    let world = World::new();
    let (old, new) = (world.alice.fingerprint().unwrap(), world.key("alice"));
    let rotate = |code: i32, more: &[&str]| trust(&world, code, &[&["rotate", "alice", "--old", &old], more].concat());
    rotate(64, &["--drop"]);
    let first = rotate(0, &["--new", &public(&new)]);
    // Not in one step: nobody could use the new key if the file were refused.
    rotate(64, &["--drop"]);
    run(&world, &world.alice, &first.stdout);
    world.verify(0, &[]);
    let second = first.stderr.lines().find_map(|line| line.split_once("second step: ")).unwrap().1;
    let path = world.path();
    let arguments: Vec<&str> = second.split(' ').skip(1).collect();
    assert!(second.contains(&path), "{second}");
    let second = expect(0, &arguments);
    run(&world, &new, &second.stdout);
    world.verify(0, &[]);
    by(&world, &world.alice, "with the old key");
    assert_eq!(last_code(&world), "W202");
}

#[test]
fn two_root_principals_sign() {
    let world = World::with_two_roots();
    let carol = world.stranger();
    trust(&world, 0, &["add", "carol", "--key", carol.public(), "--role", "sre"]);
    let sign = |key: &SigningKey, more: &[&str]| {
        let key = text(key.private_file()).to_owned();
        json(&trust(&world, 0, &[&["sign", "--key", &key, "-o", "json"], more].concat()))
    };
    let satisfied = |document: &Value| {
        let needed = document["signatures"]["needed"].as_array().unwrap().clone();
        needed.iter().map(|need| need["satisfied"].as_bool().unwrap()).collect::<Vec<_>>()
    };
    let one = sign(&world.alice, &["--as", "alice"]);
    assert_eq!((one["version"].as_u64(), satisfied(&one)), (Some(2), vec![false, false]), "{one}");
    assert!(one["next"][0].as_str().unwrap().ends_with("# as 1 of frank"), "{one}");
    // Another edit makes the signatures those of other bytes; the next one that signs drops them.
    let again = trust(&world, 0, &["add", "bob", "--role", "root"]);
    let anew = "to be signed anew: alice.sig, made for the file as it was before\n";
    assert!(again.stderr.contains(anew) && !again.stderr.contains("does not count"), "{}", again.stderr);
    let other = sign(&world.frank, &[]);
    assert_eq!(satisfied(&other), [false, false], "{other}");
    assert!(other["notes"][0].as_str().unwrap().contains("alice.sig"), "{other}");
    assert!(!world.repo.path().join(".writ/trust.yaml.sigs/alice.sig").exists());
    let both = sign(&world.alice, &[]);
    assert_eq!(satisfied(&both), [true, true], "{both}");
    let [commit] = both["next"].as_array().unwrap().as_slice() else { panic!("{both}") };
    run(&world, &world.alice, commit.as_str().unwrap());
    world.verify(0, &[]);

    let key = text(world.alice.private_file()).to_owned();
    let wrong = trust(&world, 64, &["sign", "--key", &key, "--as", "frank"]);
    assert!(wrong.stderr.contains("the key is one of alice"), "{}", wrong.stderr);
    let stranger = world.key("mallory");
    // Who is no root principal signs in vain, is told so, and nothing is written.
    let in_vain = trust(&world, 1, &["sign", "--key", text(carol.private_file())]);
    let why = "the signature of carol does not count: carol is in no role that a rule for .writ/trust.yaml asks for";
    assert!(in_vain.stdout.contains(" W302 ") && in_vain.stdout.contains(why), "{}", in_vain.stdout);
    assert!(!world.repo.path().join(".writ/trust.yaml.sigs/carol.sig").exists());
    let unknown = trust(&world, 2, &["sign", "--key", text(stranger.private_file())]);
    assert!(unknown.stderr.contains("belongs to no principal"), "{}", unknown.stderr);
}

#[test]
fn keys_and_commits_are_revoked() {
    let world = World::new();
    let good = world.good("good");
    let bad = world.good("bad");
    let path = world.path();
    let bob = world.bob.fingerprint().unwrap();
    let revoked = trust(&world, 0, &["revoke", "--commit", &bad, "--reason", "bad change"]);
    assert!(revoked.stderr.contains("revoked payload sha256:"), "{}", revoked.stderr);
    world.repo.git(&["checkout", "--quiet", "--", ".writ"]).unwrap();

    let carol = world.key("carol");
    let added = trust(&world, 0, &["add", "carol", "--key", &public(&carol), "--role", "sre"]);
    run(&world, &world.alice, &added.stdout);
    let soft = trust(&world, 0, &["revoke", "--key", &bob, "--kind", "soft", "--after", &good, "--reason", "left"]);
    assert!(file(&world).contains("kind: soft") && file(&world).contains(&good), "{}", file(&world));
    run(&world, &world.alice, &soft.stdout);
    by(&world, &world.bob, "too late");
    assert_eq!(last_code(&world), "W304");
    world.repo.git(&["reset", "--quiet", "--hard", "HEAD^"]).unwrap();
    // What is revoked stays so, or more so.
    trust(&world, 64, &["revoke", "--key", &bob, "--kind", "soft", "--after", &good]);
    trust(&world, 0, &["revoke", "--key", &bob]);
    trust(&world, 64, &["revoke", "--key", &bob]);
    world.repo.git(&["checkout", "--quiet", "--", ".writ"]).unwrap();

    // Who has no other key signs nothing that counts by the new file, whose other people are enough by both.
    let dave = world.key("dave");
    let added = trust(&world, 0, &["add", "dave", "--key", &public(&dave), "--role", "root"]);
    run(&world, &world.alice, &added.stdout);
    let alice = world.alice.fingerprint().unwrap();
    let revoked = trust(&world, 0, &["revoke", "--key", &alice]);
    let sign = revoked.stdout.lines().next().unwrap();
    assert!(sign.starts_with("writ trust sign ") && sign.ends_with(" # as 1 of dave"), "{}", revoked.stdout);
    let signatures = || world.repo.git(&["status", "--porcelain", "--", ".writ/trust.yaml.sigs"]).unwrap();
    let before = signatures();
    let refused = trust(&world, 1, &["sign", "--key", text(world.alice.private_file())]);
    assert!(refused.stdout.contains("W504") && refused.stdout.contains(" # as 1 of dave\n"), "{}", refused.stdout);
    assert_eq!(signatures(), before, "nothing is signed");
    run(&world, &dave, &revoked.stdout);
    // Held is what bob left behind; the revocation is accepted.
    assert_eq!(world.verify(1, &[])["verdict"], "held");

    let wrong: [&[&str]; 6] = [
        &["--key", &bob, "--kind", "soft"],
        &["--key", &bob, "--after", &good],
        &["--commit", &bad, "--kind", "soft", "--after", &good],
        &["--key", "nonsense"],
        &["--payload", "sha256:12"],
        &[],
    ];
    for arguments in wrong {
        expect(64, &[&["trust", "revoke", "--repo", &path], arguments].concat());
    }
}

#[test]
fn what_would_lock_everybody_out_is_refused() {
    let world = World::new();
    let before = file(&world);
    let alice = world.alice.fingerprint().unwrap();
    for arguments in [&["remove", "alice"][..], &["revoke", "--key", &alice]] {
        let refused = trust(&world, 1, arguments);
        assert!(refused.stdout.contains("W506"), "{}", refused.stdout);
    }
    let refused = json(&trust(&world, 1, &["remove", "alice", "-o", "json"]));
    assert_eq!(refused["refused"][0]["code"], "W506");
    let carol = world.stranger();
    let key = public(&carol);
    let private = text(carol.private_file()).to_owned();
    let wrong: [(&[&str], &str); 8] = [
        (&["remove", "nobody"], "nobody is no principal"),
        (&["remove", "bob", "--key", &alice], "bob has no key"),
        (&["add", "carol", "--key", &key, "--role", "boss"], "boss is no role"),
        (&["add", "carol", "--role", "sre"], "give a key"),
        (&["add", "carol", "--key", world.bob.public()], "is a key of bob already"),
        (&["add", "carol", "--key", &private], "is a private key"),
        (&["add", "bob", "--key", &key, "--kind", "robot"], "another kind"),
        (&["add", "carol", "--key", &key, "--not-after", "tomorrow"], "no date"),
    ];
    for (arguments, message) in wrong {
        let refused = trust(&world, 64, arguments);
        assert!(refused.stderr.contains(message), "{arguments:?}: {}", refused.stderr);
    }
    // A key that no such principal may have, and a file that is wrong already: said as lint says it.
    let ended = trust(&world, 1, &["add", "carol", "--key", &key, "--user-verification"]);
    assert!(ended.stdout.contains("W502") && ended.stdout.contains("userVerification"), "{}", ended.stdout);
    assert_eq!(file(&world), before);
    world.repo.write(".writ/trust.yaml", before.replacen("kind: human", "kind: alien", 1)).unwrap();
    let linted = trust(&world, 1, &["lint"]);
    assert_eq!(trust(&world, 1, &["add", "carol", "--key", &key]).stdout, linted.stdout);
    world.repo.write(".writ/trust.yaml", &before).unwrap();
    // Another writ at work, and one that was killed.
    let lock = world.repo.path().join(".writ/trust.yaml.lock");
    std::fs::write(&lock, "").unwrap();
    let locked = trust(&world, 2, &["add", "carol", "--key", &key]);
    assert!(locked.stderr.contains("trust.yaml.lock is there"), "{}", locked.stderr);
    std::fs::remove_file(&lock).unwrap();
    assert_eq!(file(&world), before);
    trust(&world, 0, &["add", "carol", "--key", &key, "--kind", "robot", "--not-after", "2030-01-01"]);
    assert!(file(&world).contains("kind: robot") && file(&world).contains("2030-01-01T00:00:00Z"));
    assert!(!lock.exists());
}

/// Two more are needed: the file with the first of them is kept, and nobody is asked to sign it yet.
#[test]
fn an_edit_that_leaves_a_threshold_out_of_reach_says_what_to_add() {
    let world = World::new();
    let lowered = file(&world);
    let raised = lowered.replacen("{role: sre, threshold: 1}", "{role: sre, threshold: 4}", 1);
    assert_ne!(lowered, raised);
    world.repo.write(".writ/trust.yaml", &raised).unwrap();
    let lint = trust(&world, 1, &["lint"]);
    let fix = |text: &str| text.lines().find_map(|line| line.split_once("fix: ")).unwrap().1.to_owned();
    let mut found = fix(&lint.stdout);
    let more = found.split_once("# ").unwrap().1.split_once(' ').unwrap().0;
    let (mut left, mut names): (u32, _) = (more.parse().unwrap(), 0..9);
    while left > 0 {
        assert!(found.contains(&format!(" --role sre # {left} more; or lower the threshold of rule ")), "{found}");
        let name = format!("new{}", names.next().unwrap());
        let command = found.replace("NAME", &name).replace("PUBLIC_KEY", &format!("'{}'", world.key(&name).public()));
        left -= 1;
        let words = command.split_once(" # ").unwrap().0.replacen(
            "writ trust",
            &format!("{} trust", env!("CARGO_BIN_EXE_writ")),
            1,
        );
        let said = world.repo.path().join(".git/said");
        let exit = if left == 0 { "0" } else { "1" };
        let run = format!("code=0; {words} > '{}' || code=$?; test $code = {exit}", said.display());
        paste(&world.repo.path(), &world.alice, &run);
        let said = std::fs::read_to_string(said).unwrap();
        assert!(file(&world).contains(&name), "{said}");
        if left > 0 {
            assert!(said.contains("W506") && !said.contains("git ") && !said.contains("trust sign"), "{said}");
            found = fix(&said);
        } else {
            assert!(said.starts_with("writ trust sign ") && !said.contains("W506"), "{said}");
        }
    }
    trust(&world, 0, &["lint"]);
}

/// The key of the only one who has a role: what is printed works in its order, as one version.
#[test]
fn a_stolen_key_of_the_only_one_is_revoked_as_printed() {
    let world = World::new();
    let bob = world.bob.fingerprint().unwrap();
    let refused = trust(&world, 1, &["revoke", "--key", &bob, "--reason", "it's stolen"]);
    assert!(refused.stdout.contains("W506"), "{}", refused.stdout);
    let fix = refused.stdout.lines().find_map(|line| line.split_once("fix: ")).unwrap().1;
    assert!(fix.starts_with("writ trust add NAME --key PUBLIC_KEY --role sre"), "{fix}");
    let carol = world.key("carol");
    let script = fix
        .replace("writ trust", &format!("{} trust", env!("CARGO_BIN_EXE_writ")))
        .replace("NAME", "carol")
        .replace("PUBLIC_KEY", &format!("'{}'", carol.public()));
    paste(&world.repo.path(), &world.alice, &script);
    let file = file(&world);
    assert!(file.contains("version: 2\n") && file.contains(&bob) && file.contains("it's stolen"), "{file}");
}

/// What is said of an authority that the file does not have yet is not lost silently.
#[test]
fn revoked_certificates_of_an_authority_that_is_not_there_are_told() {
    let world = World::new();
    let (ca, list) = (world.key("office"), world.file("revoked", ""));
    let spec = world.file("spec", "serial: 7\n");
    let certified_by = public(&ca);
    let mut make = hermetic_command("ssh-keygen", Path::new("/"));
    let made = make.args(["-q", "-k", "-f", &list, "-s", &certified_by, &spec]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let imported = trust(&world, 0, &["import", &list]);
    assert!(imported.stderr.contains("is NOT revoked"), "{}", imported.stderr);
    assert!(imported.stderr.contains("import it again after the authority is there"), "{}", imported.stderr);
    let line = format!(
        "principals:\n  office: {{kind: ca, key: \"{}\", principals: [\"*@example.com\"], maxValidity: 24h}}\n",
        ca.public()
    );
    world.repo.write(".writ/trust.yaml", file(&world).replacen("principals:\n", &line, 1)).unwrap();
    let again = trust(&world, 0, &["import", &list]);
    assert!(again.stderr.contains("revoked") && !again.stderr.contains("NOT revoked"), "{}", again.stderr);
    assert!(file(&world).contains("serial: "), "{}", file(&world));
}

#[test]
fn signers_and_revocations_are_imported() {
    let world = World::new();
    let [carol, dan, erin] = ["carol", "dan", "erin"].map(|name| world.key(name));
    let signers = format!("carol@example.com {}\n*@example.com {}\n", carol.public(), dan.public());
    let signers = world.file("signers", &signers);
    let imported = trust(&world, 0, &["import", &signers, "--role", "sre"]);
    assert!(imported.stderr.contains("note: carol@example.com is carol"), "{}", imported.stderr);
    assert!(imported.stderr.contains("*@example.com is nobody in particular"), "{}", imported.stderr);
    assert!(imported.stderr.contains("as a key of carol"), "{}", imported.stderr);
    let again = json(&trust(&world, 0, &["import", &signers, "-o", "json"]));
    assert_eq!((again["done"].as_array().unwrap().len(), again["version"].as_u64()), (0, Some(2)), "{again}");
    let keys = world.file("dan.keys", &format!("{}\n{}\n", dan.public(), erin.public()));
    trust(&world, 64, &["import", &keys]);
    trust(&world, 0, &["import", &keys, "--principal", "dan", "--role", "sre"]);
    let version = file(&world);
    assert!(version.contains("version: 2\n"), "one step, one version: {version}");
    // What dan's keys are by now: revoked by a list of OpenSSH, one of them.
    let list = world.file("revoked", "");
    let made =
        hermetic_command("ssh-keygen", Path::new("/")).args(["-q", "-k", "-f", &list, &public(&dan)]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let revoked = trust(&world, 0, &["import", &list, "--reason", "stolen"]);
    assert!(revoked.stderr.contains(&format!("revoked key {}", dan.fingerprint().unwrap())), "{}", revoked.stderr);
    trust(&world, 0, &["revoke", "--from", &list]);
    let one = world.file("list", &format!("{}\n", erin.public()));
    let last = trust(&world, 0, &["import", &one, "--as", "revocations"]);
    run(&world, &world.alice, &last.stdout);
    by(&world, &carol, "as carol");
    world.verify(0, &[]);
    by(&world, &erin, "with a revoked key");
    assert_eq!(last_code(&world), "W304");
    let nonsense = world.file("nonsense", "nonsense\n");
    let refused = trust(&world, 2, &["import", &nonsense]);
    assert!(refused.stderr.contains("line 1"), "{}", refused.stderr);
}
