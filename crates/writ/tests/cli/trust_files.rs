//! `writ trust init` and `writ trust root`: from public keys to a cluster that trusts.

use cluster::crd::GitSourceSpec;
use manifest::RepoPath;
use plan::SyncSpec;
use serde_json::Value;
use testkit::{KeyType, Keys, PrincipalKind, SignedRepo, SigningKey, TrustFile};

use crate::support::{World, expect, paste, text, writ};

/// The documents of a YAML file.
fn documents(yaml: &str) -> Vec<Value> {
    let name: RepoPath = "printed.yaml".parse().unwrap();
    manifest::parse_yaml(&name, yaml.as_bytes()).unwrap().iter().map(|document| document.root.to_json()).collect()
}

fn named(key: &SigningKey) -> String {
    format!("{}={}.pub", key.principal(), key.private_file().display())
}

#[test]
fn from_public_keys_to_an_accepted_commit() {
    let keys = Keys::new().unwrap();
    let [alice, dave, bob] = ["alice", "dave", "bob"].map(|name| keys.generate(name, KeyType::Ed25519).unwrap());
    // A folder that a shell would split.
    let folder = tempfile::Builder::new().prefix("a folder ").tempdir().unwrap();
    let path = folder.path().join("it's here");
    paste(folder.path(), &alice, "git init --quiet --initial-branch=main \"it's here\"");
    let (root, other, sre) = (named(&alice), named(&dave), named(&bob));
    let arguments =
        ["trust", "init", "--repo", text(&path), "--repo-id", "urn:test", "--root", &root, "--root", &other];
    let roles = ["--root-threshold", "2", "--principal", &sre, "--role", "sre=bob", "--rule", "apps/**=sre"];
    let printed = expect(0, &[arguments.as_slice(), &roles].concat());
    // Nobody loses a trust file by calling it again.
    expect(2, &[arguments.as_slice(), &roles].concat());
    let signs: Vec<&str> = printed.stdout.lines().filter(|line| line.starts_with("writ trust sign ")).collect();
    assert_eq!(signs.len(), 2, "{}", printed.stdout);
    // The same without writ, by one of them.
    let (_, without) = signs[1].split_once(" # as dave; without writ: ").unwrap();
    let commands = printed.stdout.replace(signs[1], without);
    let commands = commands.replace("writ trust ", &format!("{} trust ", env!("CARGO_BIN_EXE_writ")));
    paste(folder.path(), &alice, &commands);

    let url = ["--url", "https://git.example.com/r.git"];
    let yaml = expect(0, &[&["trust", "root", "--repo", text(&path)], url.as_slice()].concat()).stdout;
    let found = documents(&yaml);
    assert_eq!(found.iter().map(|document| &document["kind"]).collect::<Vec<_>>(), ["TrustRoot", "GitSource", "Sync"]);
    assert_eq!(found[0]["spec"]["rootKeys"]["threshold"], 2);
    assert_eq!(found[0]["spec"]["introduction"]["signer"], alice.fingerprint().unwrap());
    assert_eq!(found[0]["metadata"]["labels"], Value::Null);

    let file = folder.path().join("root.yaml");
    std::fs::write(&file, &yaml).unwrap();
    std::fs::create_dir(path.join("apps")).unwrap();
    std::fs::write(path.join("apps/x.txt"), "x").unwrap();
    paste(&path, &bob, "git add apps && git -c gpg.format=ssh commit -q -S -m 'first'");
    let judged = expect(0, &["verify", "--repo", text(&path), "--trust-root", text(&file), "-o", "json"]);
    assert!(judged.stdout.contains("\"principal\":\"bob\""), "{}", judged.stdout);
}

/// The digests are those that the controller computes of what the API server gives back.
#[test]
fn bootstrap_names_the_specs_that_are_printed() {
    let world = World::new();
    let path = world.path();
    let yaml = expect(
        0,
        &[
            "trust",
            "root",
            "HEAD",
            "--repo",
            &path,
            "--url",
            "https://git.example.com/r.git",
            "--namespace",
            "shop",
            "--service-account",
            "deployer",
            "--target-namespace",
            "shop",
            "--secret",
            "git",
            "--instance",
            "blue",
            "--drift",
            "flag",
            "--source",
            "src",
            "--sync",
            "web",
            "--interval",
            "5s",
            "--name",
            "shop",
            "--path",
            "apps/web",
        ],
    );
    let found = documents(&yaml.stdout);
    let order = |index: usize, kind: &str, name: &str| {
        let order = &found[0]["spec"]["bootstrap"][index];
        assert_eq!((&order["kind"], &order["name"], &order["namespace"]), (&kind.into(), &name.into(), &"shop".into()));
        order["specSha256"].as_str().unwrap().to_owned()
    };
    let source: GitSourceSpec = serde_json::from_value(found[1]["spec"].clone()).unwrap();
    let sync: SyncSpec = serde_json::from_value(found[2]["spec"].clone()).unwrap();
    assert_eq!(order(0, "GitSource", "src"), source.digest().unwrap().to_string());
    assert_eq!(order(1, "Sync", "web"), sync.digest().unwrap().to_string());
    assert_eq!((sync.path.as_str(), sync.source_ref.name.as_str()), ("apps/web", "src"));
    for document in &found {
        assert_eq!(document["metadata"]["labels"]["writ.dev/instance"], "blue");
    }
    assert!(yaml.stderr.contains("apps/web holds no files"), "{}", yaml.stderr);
}

/// The root keys are those of people, and people are counted, not keys.
#[test]
fn two_keys_of_one_person_do_not_introduce() {
    let keys = Keys::new().unwrap();
    let [alice, home, dave, robot] =
        ["alice", "home", "dave", "robot"].map(|name| keys.generate(name, KeyType::Ed25519).unwrap());
    let trust = TrustFile::new("urn:test")
        .principal("alice", PrincipalKind::Human, &[&alice, &home])
        .principal("dave", PrincipalKind::Human, &[&dave])
        .principal("robot", PrincipalKind::Robot, &[&robot])
        .role("root", &["alice", "dave", "robot"])
        .rule("trust", &[".writ/**"], &[("root", 2)], &[]);
    let introduced = |by: &SigningKey| {
        let repo = SignedRepo::new().unwrap();
        repo.write(".writ/trust.yaml", trust.text()).unwrap();
        repo.sign_trust_file(&alice).unwrap();
        let signature = by.sign("writ-trust@1", trust.text().as_bytes()).unwrap();
        repo.write(".writ/trust.yaml.sigs/dave.sig", signature).unwrap();
        repo.commit_signed(&alice, "introduce").unwrap();
        writ(&["trust", "root", "--repo", text(&repo.path()), "--url", "https://git.example.com/r.git"])
    };
    let refused = introduced(&home);
    assert!(refused.code == Some(1) && refused.stderr.contains("W504 "), "{}", refused.stderr);
    let printed = introduced(&dave);
    assert_eq!(printed.code, Some(0), "{}", printed.stderr);
    let root_keys = &documents(&printed.stdout)[0]["spec"]["rootKeys"]["keys"];
    assert_eq!(*root_keys, serde_json::json!([alice.public(), home.public(), dave.public()]));
}

#[test]
fn what_is_missing_is_named_with_its_fix() {
    let world = World::new();
    let path = world.path();
    let root = |revision: &str, more: &[&str]| {
        let mut all = vec!["trust", "root", revision, "--repo", &path, "--url", "https://git.example.com/r.git"];
        all.extend_from_slice(more);
        writ(&all)
    };
    let check = |revision: &str, code: &str| {
        let finished = root(revision, &[]);
        assert_eq!((finished.code, finished.stdout.as_str()), (Some(1), ""), "{}", finished.stderr);
        assert!(finished.stderr.contains(code) && finished.stderr.contains("\n  fix: "), "{}", finished.stderr);
    };
    world.repo.orphan("empty").unwrap();
    world.repo.commit_signed(&world.alice, "nothing").unwrap();
    check("HEAD", "W501 ");
    world.repo.write(".writ/trust.yaml", "kind: TrustPolicy\n").unwrap();
    world.repo.commit_signed(&world.alice, "broken").unwrap();
    check("HEAD", "W502 ");
    let file = TrustFile::team("urn:test", &world.alice, &world.bob, &world.bob);
    world.repo.write(".writ/trust.yaml", file.text()).unwrap();
    world.repo.commit_signed(&world.alice, "no signature beside it").unwrap();
    check("HEAD", "W504 ");
    world.repo.sign_trust_file(&world.alice).unwrap();
    world.repo.commit_unsigned("unsigned").unwrap();
    check("HEAD", "W301 ");
    world.repo.commit_signed(&world.stranger(), "by mallory").unwrap();
    check("HEAD", "W202 ");

    assert_eq!(root("main", &["--threshold", "2"]).code, Some(2), "one root key cannot sign twice");
    assert_eq!(root("nowhere", &[]).code, Some(2));
    for wrong in [["--namespace", "shop"], ["--instance", "not an id"], ["--path", "../up"], ["--drift", "sometimes"]] {
        assert_eq!(root("main", &wrong).code, Some(64), "{wrong:?}");
    }
    expect(64, &["trust", "root", "--repo", &path, "--url", "git://git.example.com/r"]);
    expect(64, &["trust", "root", "--repo", &path, "--url", "https://user:password@example.com/r"]);
}

#[test]
fn arguments_that_make_no_trust_file_write_none() {
    let keys = Keys::new().unwrap();
    let alice = named(&keys.generate("alice", KeyType::Ed25519).unwrap());
    let repo = SignedRepo::new().unwrap();
    let path = repo.path();
    let run = |code: i32, more: &[&str]| {
        let all = [&["trust", "init", "--repo", text(&path), "--repo-id", "urn:test", "--root", &alice], more].concat();
        expect(code, &all);
        assert!(!path.join(".writ/trust.yaml").exists(), "{more:?}");
    };
    run(64, &["--root-threshold", "2"]);
    run(64, &["--rule", "apps/**=nobody"]);
    run(2, &["--principal", "bob=/nowhere.pub"]);
    run(64, &["--ref", "refs/notes/v1"]);
    run(64, &["--principal", &alice]);
    run(64, &["--role", "root=alice"]);
    run(64, &["--role", "sre"]);
    run(64, &["--expires", "tomorrow"]);
}

/// A change of policies by one is refused; with the fix that is printed, pasted by the other, it is accepted.
#[test]
fn a_second_principal_approves() {
    let world = World::with_two_for_policies();
    let path = world.path();
    let server = tempfile::tempdir().unwrap();
    let origin = text(server.path());
    world.repo.git(&["init", "--bare", "--quiet", origin]).unwrap();
    world.repo.git(&["remote", "add", "origin", origin]).unwrap();
    world.repo.write("policies/limits.txt", "1").unwrap();
    let commit = world.repo.commit_signed(&world.alice, "limits").unwrap();
    let refused = world.verify(1, &[]);
    let step = refused["steps"].as_array().unwrap().last().unwrap();
    assert_eq!(step["code"], "W303", "{step}");
    let fix = step["fix"].as_str().unwrap();
    assert!(fix.ends_with("# as frank"), "{fix}");
    let paste_as = |key: &SigningKey| {
        let fix = fix.replacen(" writ ", &format!(" {} ", env!("CARGO_BIN_EXE_writ")), 1);
        paste(&world.repo.path(), key, &fix.replace("KEY_FILE", text(key.private_file())));
    };
    // Whose word does not count there, and the author again.
    paste_as(&world.bob);
    paste_as(&world.alice);
    assert_eq!(world.verify(1, &[])["steps"][0]["code"], "W303");
    paste_as(&world.frank);
    world.verify(0, &[]);
    let pushed = world.repo.git(&["ls-remote", "origin"]).unwrap();
    assert!(pushed.contains("refs/notes/writ-approvals"), "{pushed}");
    // One that has expired, is for another change, or by nobody known, is told before it is pushed, or when it is judged.
    let other =
        expect(2, &["trust", "approve", &commit, "--repo", &path, "--key", text(world.stranger().private_file())]);
    assert!(other.stderr.contains("belongs to no principal"), "{}", other.stderr);
    world.repo.git(&["notes", "--ref", "writ-approvals", "remove", &commit]).unwrap();
    for (name, value) in [("user.name", "frank"), ("user.email", "frank@example.com")] {
        world.repo.git(&["config", name, value]).unwrap();
    }
    let key = text(world.frank.private_file()).to_owned();
    expect(0, &["trust", "approve", &commit, "--repo", &path, "--key", &key, "--expires", "2026-01-01T00:00:00Z"]);
    let refused = world.verify(1, &[]);
    assert_eq!(refused["steps"][0]["code"], "W307", "{refused}");
    // A note that others filled with junk is read to its end; one that they made too large is not read, which is told.
    let fill = |line: &str, count: usize| {
        let junk = world.file("junk", &line.repeat(count));
        world.repo.git(&["notes", "--ref", "writ-approvals", "add", "-f", "-F", &junk, &commit]).unwrap();
    };
    fill("{\"x\":1}\n", 70);
    expect(0, &["trust", "approve", &commit, "--repo", &path, "--key", &key]);
    world.verify(0, &[]);
    fill("{\"x\":1}\n", 40_000);
    let unread = expect(2, &["trust", "approve", &commit, "--repo", &path, "--key", &key]);
    assert!(unread.stderr.contains("does not count there") && unread.stdout.is_empty(), "{}", unread.stderr);
}

/// Each approves in a clone of their own what the other one made: the fix brings the first approval along with the second.
#[test]
fn two_approve_in_two_clones() {
    let world = World::with_two_for_policies();
    let server = tempfile::tempdir().unwrap();
    let origin = text(server.path());
    world.repo.git(&["init", "--bare", "--quiet", "--initial-branch=main", origin]).unwrap();
    world.repo.git(&["remote", "add", "origin", origin]).unwrap();
    let clones: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let fetched = "git fetch --quiet origin refs/notes/writ-approvals:refs/notes/writ-approvals";
    let [first, second] =
        [(&world.alice, &world.frank), (&world.frank, &world.alice)].map(|(maker, other)| (maker, other));
    for ((maker, other), clone) in [first, second].into_iter().zip(&clones) {
        world.repo.git(&["push", "--quiet", "origin", "main"]).unwrap();
        paste(clone.path(), other, &format!("git clone --quiet {origin} ."));
        world.repo.write("policies/limits.txt", maker.principal()).unwrap();
        world.repo.commit_signed(maker, "limits").unwrap();
        world.repo.git(&["push", "--quiet", "origin", "main"]).unwrap();
        paste(clone.path(), other, "git pull --quiet");
        let refused = world.verify(1, &[]);
        let step = refused["steps"].as_array().unwrap().last().unwrap();
        assert_eq!(step["code"], "W303", "{step}");
        let fix = step["fix"].as_str().unwrap().replacen(" writ ", &format!(" {} ", env!("CARGO_BIN_EXE_writ")), 1);
        paste(clone.path(), other, &fix.replace("KEY_FILE", text(other.private_file())));
        paste(&world.repo.path(), maker, fetched);
        world.verify(0, &[]);
    }
    // Both at once: what docs/trust.md says of a push that comes second.
    let documented = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/trust.md")).unwrap();
    let (_, together) = documented.split_once("somebody pushed in between, `").unwrap();
    let together = together.split_once('`').unwrap().0.replace('\n', " ");
    let push = "git push --quiet origin refs/notes/writ-approvals";
    for (clone, key) in clones.iter().zip([&world.frank, &world.alice]) {
        let writ = env!("CARGO_BIN_EXE_writ");
        let approve = format!("git pull --quiet\n{writ} trust approve HEAD --key {}", text(key.private_file()));
        paste(clone.path(), key, &approve);
    }
    paste(clones[1].path(), &world.alice, push);
    paste(clones[0].path(), &world.frank, &format!("! {push}\n{together}\n{push}"));
    paste(&world.repo.path(), &world.frank, fetched);
    world.verify(0, &[]);
}

/// An unsigned commit that stays in the branch is left out by the root principal, and what mends it is accepted.
#[test]
fn a_refused_commit_is_left_out() {
    let world = World::new();
    let path = world.path();
    let good = world.good("good");
    world.repo.write("apps/good.txt", "bad").unwrap();
    world.repo.commit_unsigned("unsigned").unwrap();
    let fix = world.good("good");
    assert_eq!(world.verify(1, &[])["steps"].as_array().unwrap().last().unwrap()["code"], "W301");
    for (name, value) in [("user.name", "alice"), ("user.email", "alice@example.com")] {
        world.repo.git(&["config", name, value]).unwrap();
    }
    let skip = |key: &SigningKey| {
        let key = text(key.private_file()).to_owned();
        expect(0, &["trust", "approve", &fix, "--skip-from", &good, "--repo", &path, "--key", &key])
    };
    skip(&world.bob);
    world.verify(1, &[]);
    skip(&world.alice);
    let verdict = world.verify(0, &[]);
    let steps = verdict["steps"].as_array().unwrap();
    assert_eq!(steps.iter().map(|step| step["commit"].as_str().unwrap()).collect::<Vec<_>>(), [&good, &fix]);
}

/// What an override leaves open is told by whoever is asked about the file, and that a file has ended.
fn overridden_and_expired(world: &World) {
    let path = world.path();
    let file = world.repo.path().join(".writ/trust.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let apps = text.lines().find(|line| line.contains("name: apps")).unwrap();
    let limited = format!("{}, kinds: [\"namespaced\"]}}", apps.strip_suffix('}').unwrap());
    let images =
        "  - {name: images, override: apps, paths: [\"apps/*/image.yaml\"], anyOf: [{role: sre, threshold: 1}]}";
    let open = text.replace(apps, &format!("{limited}\n{images}"));
    std::fs::write(&file, &open).unwrap();
    let note = "note: rule images overrides apps and has no kinds: those of apps do not hold there\n";
    let linted = expect(0, &["trust", "lint", "--repo", &path]);
    assert!(linted.stderr.contains(note), "{}", linted.stderr);
    world.repo.git(&["add", ".writ"]).unwrap();
    world.repo.git(&["commit", "--quiet", "-m", "images"]).unwrap();
    let asked = expect(0, &["trust", "who", "apps/web/image.yaml", "--repo", &path]);
    assert!(asked.stdout.contains(note), "{}", asked.stdout);
    let shown = expect(0, &["trust", "show", "--repo", &path]);
    assert!(shown.stdout.contains(note), "{}", shown.stdout);
    let shown = expect(0, &["trust", "show", "--repo", &path, "-o", "json"]);
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    let rules = shown.get("rules").and_then(Value::as_array).unwrap();
    let open: Vec<_> =
        rules.iter().filter_map(|rule| Some((rule.get("name")?.as_str()?, rule.get("leftOpen")?))).collect();
    assert_eq!(open, [("images", &serde_json::json!(["kinds"]))]);
    world.repo.git(&["reset", "--quiet", "--hard", "HEAD~1"]).unwrap();
    let expires = text.lines().find(|line| line.starts_with("expires: ")).unwrap();
    std::fs::write(&file, text.replace(expires, "expires: 2020-10-01T00:00:00Z")).unwrap();
    let linted = expect(0, &["trust", "lint", "--repo", &path]);
    let note = "note: it expired 2020-10-01T00:00:00Z; by now only .writ/ may change\n";
    assert!(linted.stderr.contains(note), "{}", linted.stderr);
    // One that is too large is a finding like any other, with the limit as it is.
    std::fs::write(&file, format!("{text}#{}", "#".repeat(1_000_000))).unwrap();
    let large = expect(1, &["trust", "lint", "--repo", &path]);
    assert!(large.stdout.contains(".writ/trust.yaml:1:1") && large.stdout.contains("W502"), "{}", large.stdout);
    assert!(large.stdout.contains("at most 262144 bytes"), "{}", large.stdout);
    std::fs::write(&file, text).unwrap();
}

#[test]
fn a_trust_file_is_linted_shown_and_asked() {
    let world = World::with_two_for_policies();
    let path = world.path();
    let fine = expect(0, &["trust", "lint", "--repo", &path, "--against", "HEAD"]);
    assert!(fine.stdout.is_empty(), "{}", fine.stdout);
    let who = expect(0, &["trust", "who", "policies/x.yaml", "--repo", &path]);
    assert_eq!(who.stdout, "rule policies: 2 of security (alice, frank)\n");
    let who = expect(0, &["trust", "who", "apps/x.yaml", "--repo", &path]);
    assert_eq!(who.stdout, "rule apps: 1 of sre (bob)\nalone: bob\n");
    let nobody = expect(1, &["trust", "who", "README", "--repo", &path, "-o", "json"]);
    assert!(nobody.stdout.contains("\"rules\":[]"), "{}", nobody.stdout);
    let shown = expect(0, &["trust", "show", "--repo", &path, "-o", "json"]);
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(shown["rules"][1]["anyOf"][0], "2 of security (alice, frank)");
    overridden_and_expired(&world);
    // What the cluster would refuse is said here, with its place.
    let file = world.repo.path().join(".writ/trust.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("kind: human", "kind: alien")).unwrap();
    let refused = expect(1, &["trust", "lint", "--repo", &path]);
    assert!(
        refused.stdout.contains("W502") && refused.stdout.contains("kind of principal alice is unknown"),
        "{}",
        refused.stdout
    );
    std::fs::write(&file, text.replace("reason", "grounds").replace("version: 1", "version: 3")).unwrap();
    let refused = expect(1, &["trust", "lint", "--repo", &path, "--against", "HEAD"]);
    assert!(refused.stdout.contains("W503"), "{}", refused.stdout);
    // For another repository or ref, and revoked since a commit that is not there.
    let root = world.trust_root();
    let root = root.to_str().unwrap();
    let next = text.replace("version: 1", "version: 2");
    let ended = "revoked:\n  - {key: \"SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU\", kind: soft, after: ";
    for (edited, arguments, wanted) in [
        (next.replace("urn:test", "urn:other"), ["--trust-root", root], "trust.yaml:3:9: repoId is \"urn:other\""),
        (next.replace("urn:test", "urn:other"), ["--against", "HEAD"], "trust.yaml:3:9: repoId is \"urn:other\""),
        (next.replace("refs/heads/main", "refs/heads/x"), ["--against", "HEAD"], "W507"),
        (format!("{next}{ended}{}}}\n", "c".repeat(40)), ["--against", "HEAD"], "which is not in the history before"),
        (format!("{next}{ended}{}}}\n", world.introduction), ["--against", "HEAD"], ""),
    ] {
        std::fs::write(&file, edited).unwrap();
        let code = i32::from(!wanted.is_empty());
        let linted = expect(code, &[["trust", "lint", "--repo", &path].as_slice(), &arguments].concat());
        assert!(linted.stdout.contains(wanted), "{wanted}: {}", linted.stdout);
    }
}
