//! `writ verify --signatures-only`.

use serde_json::{Value, json};
use testkit::{KeyType, Keys, Merge, SignedRepo, Signing, SigningKey, allowed_signers, hermetic_command};

use crate::support::{expect, json as parsed, mutants, paste, text};

struct Signed {
    _keys: Keys,
    alice: SigningKey,
    repo: SignedRepo,
    folder: tempfile::TempDir,
}

impl Signed {
    fn new() -> Self {
        let keys = Keys::new().unwrap();
        let alice = keys.generate("alice", KeyType::EcdsaP256).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("signers"), allowed_signers(&[&alice])).unwrap();
        Self { _keys: keys, alice, repo: SignedRepo::new().unwrap(), folder }
    }

    fn commit(&self, name: &str, signing: Signing<'_>) -> String {
        self.repo.write(name, name).unwrap();
        self.repo.commit(signing, name).unwrap()
    }

    #[track_caller]
    fn verify(&self, code: i32, revisions: &[&str]) -> Value {
        let (path, signers) = (self.repo.path(), self.folder.path().join("signers"));
        let mut all = vec!["verify", "--repo", text(&path), "--signatures-only", "--allowed-signers", text(&signers)];
        all.extend_from_slice(&["-o", "json"]);
        all.extend_from_slice(revisions);
        parsed(&expect(code, &all))
    }
}

fn steps(found: &Value) -> Vec<(String, Option<String>)> {
    let steps = found["steps"].as_array().unwrap();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    steps.iter().map(|step| (text(&step["commit"]).unwrap(), text(&step["code"]))).collect()
}

#[test]
fn one_step_per_commit_oldest_first() {
    let world = Signed::new();
    let first = world.commit("a", Signing::By(&world.alice));
    let second = world.commit("b", Signing::Unsigned);
    let third = world.commit("c", Signing::By(&world.alice));
    let found = world.verify(0, &["HEAD"]);
    assert_eq!(steps(&found), [(third.clone(), None)]);
    assert_eq!((&found["from"], &found["to"], &found["fromTrusted"]), (&Value::Null, &Value::Null, &json!(false)));
    assert_eq!(found["steps"][0]["signer"]["principal"], "alice");
    assert_eq!(world.verify(0, &[]), found);
    let range = world.verify(1, &[&format!("{first}..main")]);
    assert_eq!(steps(&range), [(second.clone(), Some("W301".to_owned())), (third.clone(), None)]);
    let both = world.verify(1, &[&first, &format!("{first}..")]);
    assert_eq!(steps(&both).iter().map(|step| &step.0).collect::<Vec<_>>(), [&first, &second, &third]);
    assert_eq!(steps(&world.verify(0, &["main..main"])), []);
    assert_eq!(steps(&world.verify(0, &[&third, "main", "HEAD"])).len(), 1, "each commit once");
}

#[test]
fn people_are_told_that_signatures_alone_were_judged() {
    let world = Signed::new();
    world.commit("a", Signing::By(&world.alice));
    let (path, signers) = (world.repo.path(), world.folder.path().join("signers"));
    let all = ["verify", "--repo", text(&path), "--signatures-only", "--allowed-signers", text(&signers)];
    assert!(expect(0, &all).stdout.ends_with("\naccepted: 1 commit judged: signatures alone\n"));
}

#[test]
fn a_range_holds_what_a_merge_brings() {
    let world = Signed::new();
    let first = world.commit("a", Signing::By(&world.alice));
    world.repo.branch("side").unwrap();
    let side = world.commit("b", Signing::By(&world.alice));
    world.repo.switch("main").unwrap();
    let main = world.commit("c", Signing::By(&world.alice));
    let merge = world.repo.merge("side", Merge::NoFastForward, Signing::By(&world.alice)).unwrap();
    let found: Vec<String> =
        steps(&world.verify(0, &[&format!("{first}..HEAD")])).into_iter().map(|step| step.0).collect();
    assert_eq!(found, [main, side, merge]);
}

#[test]
fn mutants_are_refused_with_a_code() {
    let world = Signed::new();
    let good = world.commit("a", Signing::By(&world.alice));
    let raw = world.repo.read_object("commit", &good).unwrap();
    let mut commits = vec![good];
    for (_name, mutant) in mutants(&raw) {
        commits.push(world.repo.write_object("commit", &mutant).unwrap());
    }
    let revisions: Vec<&str> = commits.iter().map(String::as_str).collect();
    let found = steps(&world.verify(1, &revisions));
    assert_eq!(found.len(), 14);
    for (index, (commit, code)) in found.iter().enumerate() {
        assert_eq!((commit, code.is_none()), (&commits[index], index == 0), "{code:?}");
    }
}

/// A good signature over a commit that builds on a tree, or on nothing.
#[test]
fn a_parent_that_is_no_commit_is_refused() {
    let world = Signed::new();
    let good = world.commit("a", Signing::By(&world.alice));
    let child = world.commit("b", Signing::Unsigned);
    let tree = world.repo.rev_parse("HEAD^{tree}").unwrap();
    let payload = String::from_utf8(world.repo.read_object("commit", &child).unwrap()).unwrap();
    let signed = |parent: &str| {
        let payload = payload.replace(&good, parent);
        let signature = world.alice.sign("git", payload.as_bytes()).unwrap();
        let header = format!("gpgsig {}\n\n", signature.trim_end().replace('\n', "\n "));
        world.repo.write_object("commit", payload.replacen("\n\n", &format!("\n{header}"), 1).as_bytes()).unwrap()
    };
    assert_eq!(steps(&world.verify(0, &[&signed(&good)])).len(), 1);
    for (parent, words) in [(tree.as_str(), "is a tree, not a commit"), (&"12".repeat(20), "is not in the repository")]
    {
        let commit = signed(parent);
        let found = world.verify(1, &[&commit]);
        assert_eq!(steps(&found), [(commit.clone(), Some("W403".to_owned()))], "{parent}");
        let told = found["steps"][0].to_string();
        assert!(told.contains(parent) && told.contains(words), "{told}");
    }
    // In a range as well: what is no commit is not looked into.
    let commit = signed(&tree);
    let range = world.verify(1, &[&format!("{good}..{commit}")]);
    assert_eq!(steps(&range), [(commit, Some("W403".to_owned()))]);
    let absent = format!("{good}..{}", signed(&"12".repeat(20)));
    let (path, signers) = (world.repo.path(), world.folder.path().join("signers"));
    expect(2, &["verify", "--repo", text(&path), "--signatures-only", "--allowed-signers", text(&signers), &absent]);
}

/// As a pipeline checks out: the parents of the last commit are not there, and that is said.
#[test]
fn where_a_shallow_history_ends_parents_may_be_missing() {
    let world = Signed::new();
    world.commit("a", Signing::By(&world.alice));
    let head = world.commit("b", Signing::By(&world.alice));
    let clone = world.folder.path().join("clone");
    let url = format!("file://{}", world.repo.path().display());
    world.repo.git(&["clone", "--quiet", "--depth", "1", &url, text(&clone)]).unwrap();
    let signers = world.folder.path().join("signers");
    let verify = |code: i32| {
        let all = ["verify", "--repo", text(&clone), "--signatures-only", "--allowed-signers", text(&signers), &head];
        expect(code, &all);
    };
    verify(0);
    std::fs::write(clone.join(".git/shallow"), "").unwrap();
    verify(1);
}

#[test]
fn unreadable_arguments_exit_2() {
    let world = Signed::new();
    world.commit("a", Signing::By(&world.alice));
    let path = world.repo.path();
    let signers = world.folder.path().join("signers");
    let broken = world.folder.path().join("broken");
    std::fs::write(&broken, "alice ssh-ed25519\n").unwrap();
    let run = |signers: &str, revision: &str| {
        expect(2, &["verify", "--repo", text(&path), "--signatures-only", "--allowed-signers", signers, revision]);
    };
    run(text(&signers), "nowhere");
    run(text(&signers), "HEAD...HEAD");
    run(text(&signers), "nowhere..HEAD");
    run("/nowhere", "HEAD");
    run(text(&broken), "HEAD");
    expect(64, &["verify", "--repo", text(&path), "--signatures-only", "HEAD"]);
}

/// The same file is another one in another zone.
#[test]
fn times_are_in_the_zone_that_is_given() {
    let world = Signed::new();
    let commit = world.commit("a", Signing::By(&world.alice));
    let (path, signers) = (world.repo.path(), world.folder.path().join("zoned"));
    let raw = world.repo.read_object("commit", &commit).unwrap();
    let second: i64 = String::from_utf8(raw)
        .unwrap()
        .lines()
        .find_map(|line| line.strip_prefix("committer "))
        .and_then(|line| line.split(' ').rev().nth(1))
        .unwrap()
        .parse()
        .unwrap();
    let local = jiff::Timestamp::from_second(second).unwrap().to_string().replace(['-', ':', 'T', 'Z'], "");
    let line = allowed_signers(&[&world.alice]);
    std::fs::write(&signers, line.replace("\"git\"", &format!("\"git\",valid-after=\"{local}\""))).unwrap();
    let run = |code: i32, zone: &[&str]| {
        let mut all = vec!["verify", "--repo", text(&path), "--signatures-only", "--allowed-signers", text(&signers)];
        all.extend_from_slice(zone);
        expect(code, &all);
    };
    run(0, &[]);
    run(0, &["--timezone", "+01:00"]);
    run(1, &["--timezone=-01:00"]);
    run(64, &["--timezone", "Europe/Berlin"]);
}

/// A commit by gpg: accepted with its certificate, refused by name without one.
#[test]
fn openpgp_needs_certificates() {
    let world = Signed::new();
    let home = world.folder.path();
    let gpg = |arguments: &[&str]| {
        let all = [&["--homedir", text(home), "--batch", "--passphrase", ""], arguments].concat();
        let output = hermetic_command("gpg", home).args(all).output().expect("gpg is missing: apt-get install gnupg");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    gpg(&["--quick-generate-key", "Alice <alice@example.com>", "ed25519", "sign", "never"]);
    let certificates = home.join("certificates.asc");
    std::fs::write(&certificates, gpg(&["--armor", "--export"])).unwrap();
    world.commit("a", Signing::Unsigned);
    let payload = world.repo.read_object("commit", "HEAD").unwrap();
    std::fs::write(home.join("payload"), &payload).unwrap();
    let armoured = gpg(&["--armor", "--output", "-", "--detach-sign", text(&home.join("payload"))]);
    let header = format!("gpgsig {}\n\n", String::from_utf8(armoured).unwrap().trim_end().replace('\n', "\n "));
    let raw = String::from_utf8(payload).unwrap().replacen("\n\n", &format!("\n{header}"), 1);
    let commit = world.repo.write_object("commit", raw.as_bytes()).unwrap();
    let (path, signers) = (world.repo.path(), home.join("signers"));
    let start = ["verify", "--repo", text(&path), "--signatures-only", "-o", "json", &commit];
    let with = |code: i32, more: &[&str]| parsed(&expect(code, &[&start, more].concat()));
    let (allowed, certs) = (["--allowed-signers", text(&signers)], ["--openpgp-certs", text(&certificates)]);
    for more in [certs.as_slice(), &[allowed, certs].concat()] {
        let step = &with(0, more)["steps"][0];
        assert_eq!(step["signer"]["principal"], "Alice <alice@example.com>");
        assert_eq!(step["signer"]["format"], "openpgp");
    }
    let refused = &with(1, &allowed)["steps"][0];
    assert_eq!(refused["code"], "W208");
    assert!(refused["fix"].as_str().unwrap().contains("--openpgp-certs"), "{refused}");
    expect(2, &[start.as_slice(), &["--openpgp-certs", text(&signers)]].concat());
    hermetic_command("gpgconf", home).args(["--homedir", text(home), "--kill", "gpg-agent"]).output().unwrap();
}

/// The newest commit, an older one, and the root of all: one paste mends each.
#[test]
fn the_fix_works_when_pasted() {
    let world = Signed::new();
    let root = world.commit("a", Signing::Unsigned);
    world.commit("b", Signing::By(&world.alice));
    let fix = |found: &Value| {
        let refused = found["steps"].as_array().unwrap().iter().find(|step| step["code"] == "W301").unwrap();
        paste(&world.repo.path(), &world.alice, refused["fix"].as_str().unwrap());
    };
    fix(&world.verify(1, &[&root, "HEAD"]));
    world.verify(0, &["HEAD", "HEAD~1"]);
    world.commit("c", Signing::Unsigned);
    world.commit("d", Signing::By(&world.alice));
    world.commit("e", Signing::Unsigned);
    fix(&world.verify(1, &["HEAD~3..HEAD"]));
    world.verify(0, &["HEAD~3..HEAD"]);
    world.commit("f", Signing::Unsigned);
    fix(&world.verify(1, &[]));
    assert_eq!(steps(&world.verify(0, &["HEAD~4..HEAD"])).len(), 4);
}
