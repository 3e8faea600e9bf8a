//! `writ hook` in real repositories: what the cluster would refuse does not get in, and is told in the same words.

use std::{os::unix::fs::PermissionsExt as _, path::PathBuf};

use serde_json::Value;
use testkit::{Finished, Merge, Signing, WritCommand, hermetic_command};

use crate::support::{World, expect, paste, text};

/// A bare repository that holds the introduction, with the hook of a server.
struct Server {
    world: World,
    folder: tempfile::TempDir,
}

impl Server {
    fn new(world: World) -> Self {
        let server = Self::without_hook(world, "server.git");
        server.install();
        server
    }

    fn without_hook(world: World, name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Self { world, folder };
        let path = server.folder.path().join(name);
        server.world.repo.git(&["init", "--quiet", "--bare", "--initial-branch=main", text(&path)]).unwrap();
        server.world.repo.git(&["remote", "add", "origin", text(&path)]).unwrap();
        server.world.repo.git(&["push", "--quiet", "origin", "main"]).unwrap();
        server
    }

    fn install(&self) -> String {
        let root = self.world.trust_root();
        expect(0, &["hook", "install", "--repo", text(&self.path()), "--trust-root", text(&root)]).stdout
    }

    fn path(&self) -> PathBuf {
        std::fs::read_dir(self.folder.path()).unwrap().next().unwrap().unwrap().path()
    }

    /// `git push`, with what it prints.
    fn push(&self, arguments: &[&str]) -> Finished {
        let mut command = hermetic_command("git", self.folder.path());
        command.env("GIT_CONFIG_NOSYSTEM", "1").current_dir(self.world.repo.path()).args(["push", "origin"]);
        let output = command.args(arguments).output().unwrap();
        Finished {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    #[track_caller]
    fn accepted(&self, arguments: &[&str]) {
        let pushed = self.push(arguments);
        assert_eq!(pushed.code, Some(0), "{}", pushed.stderr);
    }

    /// Refused with this code; nothing is left in the repository. What the push printed, a line of it after another.
    #[track_caller]
    fn refused(&self, arguments: &[&str], code: &str) -> String {
        let before = self.refs();
        let pushed = self.push(arguments);
        assert_eq!(pushed.code, Some(1), "{}", pushed.stderr);
        assert_eq!(self.refs(), before);
        let lines: Vec<_> = pushed.stderr.lines().filter_map(|line| line.strip_prefix("remote: ")).collect();
        let told = lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n");
        assert!(told.contains(&format!("{code} ")), "{}", pushed.stderr);
        assert!(pushed.stderr.contains("pre-receive hook declined"), "{}", pushed.stderr);
        told
    }

    fn refs(&self) -> String {
        self.world.repo.git(&["ls-remote", "origin"]).unwrap()
    }

    fn git(&self, arguments: &[&str]) -> String {
        let path = self.path();
        self.world.repo.git(&[&["--git-dir", text(&path)], arguments].concat()).unwrap()
    }

    fn unsigned(&self, name: &str) -> String {
        self.world.repo.write(&format!("apps/{name}.txt"), name).unwrap();
        self.world.repo.commit_unsigned(name).unwrap()
    }
}

/// Code and fix as `writ verify` gives them for the last step.
fn verified(world: &World) -> (String, String) {
    let found = world.verify(1, &[]);
    let step = found.get("steps").and_then(Value::as_array).unwrap().last().unwrap().clone();
    let text = |field: &str| step.get(field).and_then(Value::as_str).unwrap().to_owned();
    (format!("{} {}", text("code"), text("reason")), text("fix"))
}

#[test]
fn an_unsigned_commit_is_rejected_as_the_cluster_does_and_its_fix_works() {
    let server = Server::new(World::new());
    server.world.good("one");
    server.accepted(&["main"]);
    let bad = server.unsigned("unsigned");
    let told = server.refused(&["main"], "W301");
    let (code, fix) = verified(&server.world);
    assert!(told.contains(&code) && told.contains(&format!("  fix: {fix}\n")), "{fix}\n{told}");
    assert!(told.contains("\nrefused: 1 commit judged for refs/heads/main"), "{told}");
    // What was in quarantine is gone with it.
    assert!(server.world.repo.git(&["--git-dir", text(&server.path()), "cat-file", "-e", &bad]).is_err());
    paste(&server.world.repo.path(), &server.world.bob, &fix);
    let pushed = server.push(&["main"]);
    assert!(pushed.stderr.contains("accepted: 1 commit judged for refs/heads/main"), "{}", pushed.stderr);
}

#[test]
fn the_middle_of_three_is_bad() {
    let server = Server::new(World::new());
    server.world.good("one");
    let bad = server.unsigned("two");
    server.world.good("three");
    let told = server.refused(&["main"], "W301");
    assert!(told.contains(&format!("{bad:.12}")), "{told}");
}

#[test]
fn history_only_moves_forward_and_the_ref_stays() {
    let server = Server::new(World::new());
    let first = server.world.good("one");
    server.world.good("two");
    server.accepted(&["main"]);
    let older = format!("+{first}:refs/heads/main");
    assert!(server.refused(&[&older], "W401").contains("older than"));
    server.world.repo.reset(&server.world.introduction).unwrap();
    server.world.good("other");
    assert!(server.refused(&["+main"], "W401").contains("does not descend"));
    assert!(server.refused(&[":main"], "W401").contains("the push removes it"));
    // Brought along by another branch it is not on the mainline.
    let side = server.git(&["rev-parse", "main"]);
    server.world.repo.git(&["branch", "pushed", &side]).unwrap();
    server.world.repo.merge("pushed", Merge::NoFastForward, Signing::By(&server.world.bob)).unwrap();
    server.refused(&["main"], "W402");
}

#[test]
fn other_refs_are_left_alone_but_not_another_name_of_the_tracked_one() {
    let server = Server::new(World::new());
    server.unsigned("unsigned");
    server.accepted(&["main:refs/heads/try", "main:refs/heads/main2"]);
    server.accepted(&[":refs/heads/try"]);
    server.git(&["symbolic-ref", "refs/heads/trunk", "refs/heads/main"]);
    server.refused(&["main:refs/heads/trunk"], "W301");
    server.refused(&["main:refs/heads/other", "main"], "W301");
}

#[test]
fn a_head_that_was_there_before_the_hook_proves_nothing() {
    let server = Server::without_hook(World::new(), "server.git");
    let bad = server.unsigned("unsigned");
    server.accepted(&["main"]);
    let root = server.world.trust_root();
    let path = server.path();
    let installed = expect(0, &["hook", "install", "--repo", text(&path), "--trust-root", text(&root)]);
    assert!(installed.stderr.contains("note: refs/heads/main is not accepted: W301 "), "{}", installed.stderr);
    server.world.good("on top");
    let told = server.refused(&["main"], "W301");
    assert!(told.contains(&format!("{bad:.12}")), "{told}");
    // It was never accepted, so it may be replaced.
    let (_, fix) = verified(&server.world);
    paste(&server.world.repo.path(), &server.world.bob, &fix);
    server.accepted(&["+main"]);
}

/// What is pushed was made after what is there was accepted, whatever its commits say of their time.
#[test]
fn a_commit_dated_back_before_its_key_ended_is_rejected() {
    let server = Server::new(World::with_bob_until("2026-06-01T00:00:00Z"));
    server.world.good("dated back");
    // Nobody can tell that of one commit alone.
    assert_eq!(server.world.verify(0, &[]).get("verdict").and_then(Value::as_str), Some("accepted"));
    let told = server.refused(&["main"], "W204");
    assert!(told.contains("ended 2026-06-01T00:00:00Z"), "{told}");
}

#[test]
fn a_second_principal_approves_before_or_in_the_same_push() {
    let approve = |server: &Server, commit: &str| {
        let key = text(server.world.frank.private_file()).to_owned();
        for (name, value) in [("user.name", "frank"), ("user.email", "frank@example.com")] {
            server.world.repo.git(&["config", name, value]).unwrap();
        }
        expect(0, &["trust", "approve", commit, "--repo", &server.world.path(), "--key", &key]);
    };
    let notes = "refs/notes/writ-approvals";
    for together in [true, false] {
        let server = Server::new(World::with_two_for_policies());
        // The command that approves dates nothing back, and commits may not go back in time.
        server.world.repo.set_time(jiff::Timestamp::now().as_second());
        server.world.repo.write("policies/limits.txt", "1").unwrap();
        let commit = server.world.repo.commit_signed(&server.world.alice, "limits").unwrap();
        let told = server.refused(&["main"], "W303");
        assert!(told.contains(&format!("writ trust approve {commit}")), "{told}");
        approve(&server, &commit);
        if together {
            server.accepted(&["main", notes]);
        } else {
            server.accepted(&[notes]);
            server.accepted(&["main"]);
        }
        // What stands on an approval keeps it.
        let told = server.refused(&[&format!(":{notes}")], "W303");
        assert!(told.contains("takes away approvals"), "{told}");
        server.world.good("more");
        server.refused(&["main", &format!(":{notes}")], "W303");
        server.accepted(&["main"]);
    }
}

#[test]
fn folders_with_colons_and_quotes_are_found() {
    let server = Server::without_hook(World::new(), "a \"server\": it's.git");
    server.install();
    server.world.good("one");
    server.accepted(&["main"]);
    server.unsigned("two");
    server.refused(&["main"], "W301");
}

#[test]
fn no_verdict_refuses() {
    let server = Server::new(World::new());
    server.world.good("one");
    server.git(&["config", "writ.trustRoot", "/nowhere/root.yaml"]);
    let pushed = server.push(&["main"]);
    assert!(pushed.code == Some(1) && pushed.stderr.contains("/nowhere/root.yaml"), "{}", pushed.stderr);
    server.git(&["config", "--unset", "writ.trustRoot"]);
    let pushed = server.push(&["main"]);
    assert!(pushed.code == Some(1) && pushed.stderr.contains("no trust root"), "{}", pushed.stderr);
    let hook = WritCommand::new(env!("CARGO_BIN_EXE_writ")).unwrap().env("GIT_NAMESPACE", "other");
    let finished = hook.args(["hook", "pre-receive", "--repo", text(&server.path())]).output().unwrap();
    assert!(finished.code == Some(2) && finished.stderr.contains("GIT_NAMESPACE"), "{}", finished.stderr);
    // Lines that Git would not write.
    let (path, root) = (server.path(), server.world.trust_root());
    let zero = "0".repeat(40);
    let update = |code: i32, old: &str, new: &str| {
        let hook = ["--repo", text(&path), "--trust-root", text(&root)];
        expect(code, &[&["hook", "update", "refs/heads/main", old, new], hook.as_slice()].concat())
    };
    update(2, "main", &zero);
    update(0, &zero, &server.world.introduction);
    assert!(update(1, &server.world.introduction, &zero).stderr.contains("W401 "));
}

#[test]
fn the_hook_of_a_clone_judges_what_leaves() {
    let server = Server::without_hook(World::new(), "server.git");
    let (path, root) = (server.world.path(), server.world.trust_root());
    expect(0, &["hook", "install", "--client", "--repo", &path, "--trust-root", text(&root)]);
    let refused = |arguments: &[&str], code: &str| {
        let pushed = server.push(arguments);
        assert!(pushed.code == Some(1) && pushed.stderr.contains(code), "{}", pushed.stderr);
    };
    let first = server.world.good("one");
    server.world.good("two");
    server.accepted(&["main"]);
    refused(&[&format!("+{first}:refs/heads/main")], "W401 ");
    refused(&[":main"], "W401 ");
    let bad = server.unsigned("bad");
    refused(&["main"], "W301 ");
    refused(&["main^{/bad}:refs/heads/main"], "W301 ");
    server.accepted(&["main:refs/heads/try"]);
    // Git calls the hook of a linked work tree with other paths.
    let linked = tempfile::tempdir().unwrap();
    let linked = linked.path().join("tree");
    server.world.repo.git(&["worktree", "add", "--quiet", text(&linked), "HEAD"]).unwrap();
    let refused = server.world.repo.git(&["-C", text(&linked), "push", "origin", "HEAD:main"]).unwrap_err();
    assert!(format!("{refused:#}").contains("W301 "), "{refused:#}");
    // What somebody else pushed is not in this clone, so nothing here can follow it.
    let other = tempfile::tempdir().unwrap();
    let elsewhere = text(other.path());
    server.world.repo.git(&["clone", "--quiet", text(&server.path()), elsewhere]).unwrap();
    let identity = ["-c", "user.name=o", "-c", "user.email=o@example.com"];
    let other = |arguments: &[&str]| {
        server.world.repo.git(&[&["-C", elsewhere], identity.as_slice(), arguments].concat()).unwrap();
    };
    other(&["commit", "--quiet", "--allow-empty", "-m", "other"]);
    other(&["push", "--quiet", "origin", "HEAD:main"]);
    server.world.repo.reset(&format!("{bad}^")).unwrap();
    server.world.good("three");
    let pushed = server.push(&["+main"]);
    assert!(pushed.code == Some(1) && pushed.stderr.contains("W40"), "{}", pushed.stderr);
}

#[test]
fn a_hook_of_somebody_else_is_not_replaced() {
    let server = Server::without_hook(World::new(), "server.git");
    let (path, root) = (server.path(), server.world.trust_root());
    let hook = path.join("hooks/pre-receive");
    std::fs::write(&hook, "#!/bin/sh\nexit 0\n").unwrap();
    let install = ["hook", "install", "--repo", text(&path), "--trust-root", text(&root)];
    let refused = expect(2, &install);
    assert!(refused.stderr.contains("is there already") && refused.stderr.contains(" hook pre-receive"), "{refused:?}");
    assert_eq!(std::fs::read_to_string(&hook).unwrap(), "#!/bin/sh\nexit 0\n");
    assert!(server.world.repo.git(&["--git-dir", text(&path), "config", "writ.trustRoot"]).is_err());
    std::fs::remove_file(&hook).unwrap();
    std::os::unix::fs::symlink("/nowhere", &hook).unwrap();
    expect(2, &install);
    std::fs::remove_file(&hook).unwrap();
    let printed = expect(0, &install).stdout;
    assert_eq!(printed.trim_end(), text(&std::fs::canonicalize(&hook).unwrap()));
    assert_eq!(std::fs::metadata(&hook).unwrap().permissions().mode() & 0o777, 0o755);
    // Ours may be written again; where others look as well, it is not.
    expect(0, &install);
    server.git(&["config", "core.hooksPath", text(server.folder.path())]);
    assert!(expect(2, &install).stderr.contains("core.hooksPath"));
    let missing = ["hook", "install", "--repo", text(&path), "--trust-root", "/nowhere"];
    expect(2, &missing);
}

#[test]
fn a_push_of_the_tracked_tag_is_judged() {
    let server = Server::new(World::released_by_tag());
    let world = &server.world;
    let first = world.good("one");
    // The branch is nothing that the cluster follows.
    server.accepted(&["main"]);
    world.repo.tag_signed(&world.bob, "live", "HEAD").unwrap();
    let told = server.refused(&["refs/tags/live"], "W302");
    assert!(told.contains("tag --sign --force -m live live"), "{told}");
    world.repo.tag_signed(&world.frank, "live", "HEAD").unwrap();
    server.accepted(&["refs/tags/live"]);
    let second = world.good("two");
    world.repo.tag_signed(&world.frank, "live", &second).unwrap();
    server.accepted(&["+refs/tags/live"]);
    world.repo.tag_signed(&world.frank, "live", &first).unwrap();
    server.refused(&["+refs/tags/live"], "W401");
    world.repo.tag("live", &second).unwrap();
    server.refused(&["+refs/tags/live"], "W301");
    let unsigned = server.unsigned("three");
    world.repo.tag_signed(&world.frank, "live", &unsigned).unwrap();
    server.refused(&["+refs/tags/live"], "W301");
    server.refused(&[":refs/tags/live"], "W401");
}
