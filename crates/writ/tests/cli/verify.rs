//! `writ verify --trust-root`.

use manifest::Digest;
use serde_json::{Value, json};
use testkit::{PrincipalKind, Signing, TrustFile};

use crate::support::{World, expect, mutants, paste, text};

/// The last step of a refused verification.
#[track_caller]
fn refused<'a>(found: &'a Value, commit: &str, code: &str) -> &'a Value {
    assert_eq!(found["verdict"], "refused");
    let step = found["steps"].as_array().unwrap().last().unwrap();
    assert_eq!((&step["commit"], &step["verdict"], &step["code"]), (&json!(commit), &json!("refused"), &json!(code)));
    for field in ["reason", "message", "fix"] {
        assert!(step[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {step}");
    }
    step
}

#[test]
fn accepted_commits_name_their_signers() {
    let world = World::new();
    let (first, second) = (world.good("one"), world.good("two"));
    let step = |commit: &str| {
        let raw = world.repo.read_object("commit", commit).unwrap();
        let raw = String::from_utf8(raw).unwrap();
        let (start, end) = (raw.find("gpgsig ").unwrap(), raw.find("\n\n").unwrap() + 1);
        let payload = Digest::of(format!("{}{}", &raw[..start], &raw[end..]).as_bytes()).to_string();
        json!({
            "commit": commit, "payloadSha256": payload, "verdict": "accepted", "code": null, "reason": null,
            "message": null, "fix": null,
            "signer": {"principal": "bob", "format": "ssh", "key": world.bob.fingerprint().unwrap()},
            "rules": [{"rule": "apps", "paths": 1, "holds": true, "by": ["bob"]}],
        })
    };
    let expected = |from: &str, trusted: bool, steps: Vec<Value>| {
        json!({
            "schema": "writ.dev/verification/v1alpha1", "verdict": "accepted", "from": from, "to": second,
            "fromTrusted": trusted, "steps": steps,
        })
    };
    assert_eq!(world.verify(0, &[]), expected(&world.introduction, true, vec![step(&first), step(&second)]));
    assert_eq!(world.verify(0, &["main"]), world.verify(0, &[]));
    assert_eq!(world.verify(0, &["--from", &first, "HEAD"]), expected(&first, false, vec![step(&second)]));
    let nothing = world.verify(0, &["--from", &world.introduction, &world.introduction]);
    assert_eq!((&nothing["steps"], &nothing["fromTrusted"]), (&json!([]), &json!(false)));
}

/// Shown by 3 of the issue: the fix works when it is pasted, for the newest commit and for an older one.
#[test]
fn the_fix_of_an_unsigned_commit_works_when_pasted() {
    let world = World::new();
    world.repo.write("apps/unsigned.txt", "x").unwrap();
    let commit = world.repo.commit_unsigned("unsigned").unwrap();
    let found = world.verify(1, &[]);
    let step = refused(&found, &commit, "W301");
    let body = world.repo.read_object("commit", &commit).unwrap();
    assert_eq!(step["payloadSha256"], Digest::of(&body).to_string());
    assert_eq!((&step["reason"], &step["signer"]), (&json!("Unsigned"), &Value::Null));
    paste(&world.repo.path(), &world.bob, step["fix"].as_str().unwrap());
    assert_eq!(world.verify(0, &[])["verdict"], "accepted");

    // What was pasted made a commit of this minute, and commits may not go back in time.
    world.repo.set_time(jiff::Timestamp::now().as_second());
    world.repo.write("apps/again.txt", "x").unwrap();
    let early = world.repo.commit_unsigned("unsigned again").unwrap();
    world.good("later");
    let found = world.verify(1, &[]);
    assert_eq!(found["steps"].as_array().unwrap().len(), 2, "nothing after the first refusal is listed");
    paste(&world.repo.path(), &world.bob, refused(&found, &early, "W301")["fix"].as_str().unwrap());
    assert_eq!(world.verify(0, &[])["steps"].as_array().unwrap().len(), 3);
}

#[test]
fn signers_are_known_and_authorised_or_refused() {
    let world = World::new();
    let good = world.good("good");
    world.repo.write("apps/x.txt", "x").unwrap();
    let unknown = world.repo.commit(Signing::By(&world.stranger()), "by mallory").unwrap();
    let found = world.verify(1, &[]);
    assert_eq!(refused(&found, &unknown, "W202")["signer"], Value::Null);
    assert_eq!(found["steps"][0]["commit"], json!(good));

    world.repo.reset(&good).unwrap();
    world.repo.write("apps/x.txt", "x").unwrap();
    let outside = world.repo.commit(Signing::By(&world.alice), "by alice").unwrap();
    assert_eq!(refused(&world.verify(1, &[]), &outside, "W302")["signer"]["principal"], "alice");

    let back = world.verify(1, &["--from", &outside, &good]);
    refused(&back, &good, "W401");
}

/// A rename changes both of its paths, and a mode is a part of a file.
#[test]
fn both_names_of_a_rename_and_modes_are_judged() {
    let world = World::new();
    world.repo.write("policies/README.md", "rules").unwrap();
    world.repo.commit_signed(&world.frank, "by frank").unwrap();
    let base = world.good("good");
    for (git, path) in [
        (&["update-index", "--chmod=+x", "policies/README.md"][..], "policies/README.md"),
        (&["mv", "apps/good.txt", "elsewhere.txt"], "elsewhere.txt"),
        (&["mv", ".writ/trust.yaml.sigs/alice.sig", "apps/alice.sig"], ".writ/trust.yaml.sigs/alice.sig"),
    ] {
        world.repo.reset(&base).unwrap();
        world.repo.git(git).unwrap();
        world.repo.git(&["checkout-index", "--all", "--force"]).unwrap();
        let commit = world.repo.commit_signed(&world.bob, "by bob").unwrap();
        let found = world.verify(1, &[]);
        let message = refused(&found, &commit, "W302")["message"].as_str().unwrap();
        assert!(message.contains(&format!("bob changed {path}")), "{message}");
    }
    // Whoever may change both names may move a file, and make it one that can be run.
    world.repo.reset(&base).unwrap();
    world.repo.git(&["mv", "apps/good.txt", "apps/better.txt"]).unwrap();
    world.repo.git(&["update-index", "--chmod=+x", "apps/better.txt"]).unwrap();
    world.repo.git(&["checkout-index", "--all", "--force"]).unwrap();
    world.repo.commit_signed(&world.bob, "by bob").unwrap();
    world.verify(0, &[]);
}

#[test]
fn every_mutant_of_a_signed_commit_is_refused() {
    let world = World::new();
    let good = world.good("good");
    let raw = world.repo.read_object("commit", &good).unwrap();
    let mut seen = Vec::new();
    for (name, mutant) in mutants(&raw) {
        let commit = world.repo.write_object("commit", &mutant).unwrap();
        let found = world.verify(1, &[&commit]);
        let code = found["steps"][0]["code"].as_str().unwrap_or_else(|| panic!("{name}: {found}")).to_owned();
        refused(&found, &commit, &code);
        seen.push((name, code));
    }
    let expected = [
        ("unknown gpgsig header", "W102"),
        ("gpgsig-sha256 before", "W102"),
        ("gpgsig-sha256 after", "W102"),
        ("gpgsig twice", "W102"),
        ("second gpgsig", "W102"),
        ("first gpgsig", "W102"),
        ("signature in the message", "W301"),
        ("NUL in the message", "W103"),
        ("duplicate tree, other first", "W101"),
        ("duplicate tree, other second", "W101"),
        ("space after the armour", "W101"),
        ("gpgsig before author", "W101"),
        ("blank continuation line", "W101"),
    ];
    assert_eq!(seen, expected.map(|(name, code)| (name, code.to_owned())));
    // A branch at an object that no library can parse is found and refused, not missing.
    let broken = world.repo.write_object("commit", format!("tree nowhere\nparent {good}\n\nx\n").as_bytes()).unwrap();
    world.repo.git(&["update-ref", "--no-deref", "refs/heads/broken", &good]).unwrap();
    std::fs::write(world.repo.path().join(".git/refs/heads/broken"), format!("{broken}\n")).unwrap();
    refused(&world.verify(1, &["broken"]), &broken, "W101");
}

#[test]
fn a_refused_introduction_is_the_only_step() {
    let world = World::new();
    let wrong = std::fs::read_to_string(world.trust_root()).unwrap();
    let pinned = world.alice.fingerprint().unwrap();
    let wrong = world.file("wrong.yaml", &wrong.replace(&pinned, &world.bob.fingerprint().unwrap()));
    let path = world.path();
    let finished = expect(1, &["verify", "--repo", &path, "--trust-root", &wrong, "-o", "json"]);
    let found: Value = serde_json::from_str(&finished.stdout).unwrap();
    refused(&found, &world.introduction, "W202");
    assert_eq!((&found["from"], &found["fromTrusted"]), (&Value::Null, &json!(false)));
}

/// The verdict is the same; that the cluster does nothing about it is noted.
#[test]
fn mode_audit_is_noted() {
    let world = World::new();
    world.good("one");
    let enforce = world.verify(0, &[]);
    let manifest = std::fs::read_to_string(world.trust_root()).unwrap().replace("  mode: Enforce\n", "");
    let audit = world.file("audit.yaml", &manifest.replacen("\nspec:\n", "\nspec:\n  mode: Audit\n", 1));
    let path = world.path();
    let finished = expect(0, &["verify", "--repo", &path, "--trust-root", &audit, "-o", "json"]);
    assert_eq!(crate::support::json(&finished), enforce);
    assert!(finished.stderr.contains("note: spec.mode of the trust root is Audit"), "{}", finished.stderr);
}

#[test]
fn what_cannot_be_judged_exits_2() {
    let world = World::new();
    let (path, root) = (world.path(), world.trust_root());
    let root = text(&root);
    let two = world.file("two.yaml", &std::fs::read_to_string(root).unwrap().repeat(2));
    let broken = world.file("broken.yaml", "a: [");
    let other = world.file("other.yaml", "apiVersion: v1\nkind: ConfigMap\n");
    for arguments in [
        ["--repo", "/nowhere", "--trust-root", root, "HEAD"],
        ["--repo", &path, "--trust-root", "/nowhere", "HEAD"],
        ["--repo", &path, "--trust-root", root, "no-such-branch"],
        ["--repo", &path, "--trust-root", root, "0123456789012345678901234567890123456789"],
        ["--repo", &path, "--trust-root", root, "HEAD^{tree}"],
        ["--repo", &path, "--trust-root", &two, "HEAD"],
        ["--repo", &path, "--trust-root", &broken, "HEAD"],
        ["--repo", &path, "--trust-root", &other, "HEAD"],
    ] {
        let finished = expect(2, &[&["verify"], arguments.as_slice()].concat());
        assert!(finished.stdout.is_empty() && finished.stderr.starts_with("error: "), "{}", finished.stderr);
    }
    expect(2, &["verify", "--repo", &path, "--trust-root", root, "--from", "nowhere"]);
    expect(64, &["verify", "--repo", &path, "--trust-root", root, "HEAD", "main"]);
    expect(64, &["verify", "--repo", &path]);
    expect(64, &["verify", "--repo", &path, "--trust-root", root, "--signatures-only", "--allowed-signers", root]);
}

#[test]
fn a_repository_that_cannot_be_read_gives_no_verdict() {
    let world = World::new();
    let first = world.good("one");
    world.good("two");
    let (folder, name) = first.split_at(2);
    let object = world.repo.path().join(".git/objects").join(folder).join(name);
    std::fs::remove_file(&object).unwrap();
    std::fs::write(&object, "no object").unwrap();
    let (path, root) = (world.path(), world.trust_root());
    let finished = expect(2, &["verify", "--repo", &path, "--trust-root", text(&root)]);
    assert!(finished.stdout.is_empty(), "{}", finished.stdout);
    assert!(finished.stderr.starts_with("error: no verdict on "), "{}", finished.stderr);
    expect(2, &["trust", "root", &first, "--repo", &path, "--url", "https://git.example.com/r.git"]);
}

#[test]
fn people_read_the_same_verdict() {
    let world = World::new();
    world.good("one");
    world.repo.write("apps/x\u{1b}[31m.txt", "x").unwrap();
    world.repo.commit(Signing::By(&world.alice), "by alice").unwrap();
    let (path, root) = (world.path(), world.trust_root());
    let before = expect(0, &["verify", "--repo", &path, "--trust-root", text(&root), "HEAD^"]);
    let scope = ": signatures and authority; policies are judged in the cluster\n";
    assert!(before.stdout.contains("\naccepted: 1 commit judged after "), "{}", before.stdout);
    assert!(before.stdout.ends_with(scope), "{}", before.stdout);
    let finished = expect(1, &["verify", "--repo", &path, "--trust-root", text(&root)]);
    assert!(finished.stdout.starts_with("accepted "), "{}", finished.stdout);
    assert!(finished.stdout.contains("\nrefused: 2 commits judged after "), "{}", finished.stdout);
    assert!(!finished.stdout.contains('\u{1b}'), "{:?}", finished.stdout);
    let yaml = expect(1, &["verify", "--repo", &path, "--trust-root", text(&root), "-o", "yaml"]);
    assert!(yaml.stdout.contains("schema: writ.dev/verification/v1alpha1\n"), "{}", yaml.stdout);
}

#[test]
fn a_trust_change_needs_the_roots_of_before() {
    let world = World::new();
    let carol = world.stranger();
    let file = TrustFile::team("urn:test", &world.alice, &world.bob, &world.bob).version(2).principal(
        "mallory",
        PrincipalKind::Human,
        &[&carol],
    );
    world.repo.write(".writ/trust.yaml", file.text()).unwrap();
    let unsigned = world.repo.commit_signed(&world.alice, "without a new signature").unwrap();
    refused(&world.verify(1, &[]), &unsigned, "W504");
}

/// The forms are shown by unit tests; here each is asked for, with a path that would be a command.
#[test]
fn every_format_tells_the_same_verdict() {
    let world = World::new();
    world.good("one");
    world.repo.write("apps/x\n::error::<b>|@team.txt", "x").unwrap();
    let bad = world.repo.commit_signed(&world.bob, "hostile").unwrap();
    let (path, root) = (world.path(), world.trust_root());
    let report = |code: i32, format: &str, revision: &str| {
        expect(code, &["verify", "--repo", &path, "--trust-root", text(&root), "-o", format, revision]).stdout
    };
    let sarif: Value = serde_json::from_str(&report(1, "sarif", "main")).unwrap();
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!((&result["ruleId"], &result["partialFingerprints"]["commit/v1"]), (&json!("W104"), &json!(bad)));
    let junit = report(1, "junit", "main");
    assert!(junit.contains("<testsuites tests=\"2\" failures=\"1\"") && junit.contains("type=\"W104\""), "{junit}");
    let markdown = report(1, "markdown", "main");
    assert!(markdown.starts_with("**writ verify: refused** (2 commits judged)\n") && !markdown.contains("@team"));
    let github = report(1, "github", "main");
    assert_eq!(github.lines().count(), 2, "{github}");
    assert!(github.starts_with("::error title=W104 ") && github.ends_with("\nrefused: 2 commits judged\n"), "{github}");
    for (format, start) in [
        ("sarif", "{"),
        ("junit", "<?xml "),
        ("markdown", "**writ verify: accepted**"),
        ("github", "accepted: 1 commit"),
    ] {
        let told = report(0, format, "main^");
        assert!(told.starts_with(start), "{told}");
    }
}

#[test]
fn people_are_told_who_made_it_pass_and_who_is_missing() {
    let world = World::with_two_for_policies();
    let good = world.good("one");
    world.repo.write("policies/a.txt", "1").unwrap();
    world.repo.write("policies/b.txt", "1").unwrap();
    let pending = world.repo.commit_signed(&world.alice, "limits").unwrap();
    let (path, root) = (world.path(), world.trust_root());
    let verify = |more: &[&str]| expect(1, &[&["verify", "--repo", &path, "--trust-root", text(&root)], more].concat());
    let [bob, alice] = [&world.bob, &world.alice].map(|key| key.fingerprint().unwrap());
    let told = verify(&[]).stdout;
    let accepted = format!("accepted {good:.12}  signed by bob with {bob}\n  1 path by rule apps (bob)\n");
    assert!(told.starts_with(&accepted), "{told}");
    assert!(
        told.contains(&format!("refused  {pending:.12}  W303 ThresholdNotMet, signed by alice with {alice}\n")),
        "{told}"
    );
    assert!(told.contains("(rule \"policies\")\n  fix: git fetch origin 'refs/notes/writ-approvals*:refs/notes/writ-approvals*' && writ trust approve "), "{told}");
    let told = verify(&["--explain", "policies/b.txt"]).stdout;
    let expected = "
  policies/b.txt may not be made:
    alice signed the commit
    rule policies does not hold:
      2 of security: alice
refused: 2 commits judged";
    assert!(told.contains(expected), "{told}");
    let found = world.verify(1, &["--explain", "policies/b.txt"]);
    let explained = &found["steps"][1]["explained"];
    assert_eq!((&explained["path"], &explained["passes"]), (&json!("policies/b.txt"), &json!(false)));
    assert_eq!(explained["credit"], json!([{"principal": "alice", "by": ["signed the commit"]}]));
    assert_eq!(found["steps"][1]["rules"], json!([{"rule": "policies", "paths": 2, "holds": false, "by": ["alice"]}]));
    assert_eq!(found["steps"][0].get("explained"), None);
    // The second principal of the rule.
    for (name, value) in [("user.name", "frank"), ("user.email", "frank@example.com")] {
        world.repo.git(&["config", name, value]).unwrap();
    }
    expect(0, &["trust", "approve", &pending, "--repo", &path, "--key", text(world.frank.private_file())]);
    let told =
        expect(0, &["verify", "--repo", &path, "--trust-root", text(&root), "--explain", "policies/b.txt"]).stdout;
    let expected = "
  2 paths by rule policies (alice, frank)
  policies/b.txt may be made:
    alice signed the commit
    frank approved it
    rule policies holds:
      2 of security: alice, frank
accepted: 2 commits judged";
    assert!(told.contains(expected), "{told}");
    let nothing = expect(0, &["verify", "--repo", &path, "--trust-root", text(&root), "--explain", "apps/it's.txt"]);
    assert!(nothing.stderr.contains("who may: writ trust who 'apps/it'\\''s.txt'"), "{}", nothing.stderr);
    expect(64, &["verify", "--repo", &path, "--trust-root", text(&root), "--explain", "../up"]);
    expect(64, &["verify", "--repo", &path, "--trust-root", text(&root), "--explain", "apps", "-o", "junit"]);
}

#[test]
fn what_the_cluster_would_hold_is_told() {
    let world = World::new();
    let made = world.good("one");
    let file = TrustFile::new("urn:test")
        .version(2)
        .principal("alice", PrincipalKind::Human, &[&world.alice])
        .principal("bob", PrincipalKind::Human, &[&world.bob, &world.stranger()])
        .role("root", &["alice"])
        .role("sre", &["bob"])
        .rule("trust", &[".writ/**"], &[("root", 1)], &[])
        .rule("apps", &["apps/**"], &[("sre", 1)], &[])
        .revoke_key(&world.bob.fingerprint().unwrap(), "lost");
    world.repo.write(".writ/trust.yaml", file.text()).unwrap();
    world.repo.sign_trust_file(&world.alice).unwrap();
    world.repo.commit_signed(&world.alice, "bob lost his key").unwrap();
    let found = world.verify(1, &[]);
    assert_eq!((&found["verdict"], &found["held"]["code"]), (&json!("held"), &json!("W304")), "{found}");
    assert_eq!(found["steps"].as_array().unwrap().last().unwrap()["verdict"], "accepted", "{found}");
    assert!(
        found["held"]["message"].as_str().unwrap().contains(&format!("apps/one.txt (commit {made:.12}")),
        "{found}"
    );
}

#[test]
fn a_manifest_that_is_broken_is_named() {
    let world = World::new();
    for (text, broken) in [("kind: [", "mine.yaml:2:1"), ("kind: TrustRoot\nspec: {colour: red}\n", "mine.yaml")] {
        let file = world.file("mine.yaml", text);
        let told = expect(2, &["verify", "--repo", &world.path(), "--trust-root", &file]);
        assert!(told.stderr.contains(broken) && !told.stderr.contains("trust-root.yaml"), "{}", told.stderr);
        let told = expect(2, &["rollback", "--add", &file, "--key", "k", "--repo", &world.path()]);
        assert!(told.stderr.contains(broken) && !told.stderr.contains("order.yaml"), "{}", told.stderr);
    }
}

#[test]
fn a_repository_with_sha256_ids_is_judged_like_any_other() {
    let world = World::with_sha256();
    let (first, second) = (world.good("one"), world.good("two"));
    assert_eq!(first.len(), 64);
    let found = world.verify(0, &[]);
    assert_eq!(found["verdict"], "accepted");
    let commits: Vec<&str> =
        found["steps"].as_array().unwrap().iter().flat_map(|step| step["commit"].as_str()).collect();
    assert_eq!(commits, [&first, &second]);
    // Git keeps ids of the other format beside, from a version on that this one need not have.
    world.repo.git(&["config", "extensions.compatObjectFormat", "sha1"]).unwrap();
    assert_eq!(world.verify(0, &["--from", &first])["verdict"], "accepted");
    std::fs::write(world.repo.path().join("apps/x.txt"), "x").unwrap();
    let config = world.repo.path().join(".git/config");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("\tcompatObjectFormat = sha1\n", "")).unwrap();
    let unsigned = world.repo.commit_unsigned("unsigned").unwrap();
    let found = world.verify(1, &[]);
    paste(&world.repo.path(), &world.bob, refused(&found, &unsigned, "W301")["fix"].as_str().unwrap());
    assert_eq!(world.verify(0, &[])["verdict"], "accepted");
}

#[test]
fn a_tag_as_the_tracked_ref_is_judged_with_its_commit() {
    let world = World::released_by_tag();
    let good = world.good("one");
    let tag = |key, revision: &str| world.repo.tag_signed(key, "live", revision).unwrap();
    tag(&world.frank, &good);
    // What is checked out is not asked for.
    world.good("not yet");
    for revision in [&[][..], &["live"], &["refs/tags/live"]] {
        let found = world.verify(0, revision);
        assert_eq!((&found["verdict"], &found["to"]), (&json!("accepted"), &json!(good)));
        assert_eq!((&found["tag"]["name"], &found["tag"]["signer"]["principal"]), (&json!("live"), &json!("frank")));
        assert_eq!(found["tag"]["id"], json!(world.repo.rev_parse("refs/tags/live").unwrap()));
    }
    let root = world.trust_root();
    let human = expect(0, &["verify", "--repo", &world.path(), "--trust-root", text(&root)]).stdout;
    assert!(human.contains("tag live signed by frank with SHA256:"), "{human}");

    let found = world.verify(1, &["HEAD"]);
    let head = world.repo.head().unwrap();
    assert!(refused(&found, &head, "W301")["message"].as_str().unwrap().contains("nobody signed that"), "{found}");
    tag(&world.bob, &good);
    let found = world.verify(1, &[]);
    let step = refused(&found, &good, "W302");
    assert_eq!((&found["tag"]["signer"]["principal"], &step["signer"]["principal"]), (&json!("bob"), &json!("bob")));
    // The fix names the command; where it pushes to, this repository does not have.
    let fix = step["fix"].as_str().unwrap().split(" && ").next().unwrap();
    paste(&world.repo.path(), &world.frank, fix);
    assert_eq!(world.verify(0, &[])["verdict"], "accepted");
    world.repo.git(&["tag", "--force", "live", "HEAD"]).unwrap();
    let found = world.verify(1, &[]);
    paste(
        &world.repo.path(),
        &world.frank,
        refused(&found, &head, "W301")["fix"].as_str().unwrap().split(" && ").next().unwrap(),
    );
    assert_eq!(world.verify(0, &[])["to"], json!(head));
}
