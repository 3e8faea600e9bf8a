//! The fixes that `writ verify` prints, pasted into a shell: the verdict afterwards is the one that they promise.

use serde_json::Value;
use testkit::{RawEntry, Signing};

use crate::support::{World, expect, paste, text};

/// The fix of the last step, which is refused with this code.
#[track_caller]
pub(crate) fn fix(world: &World, code: &str) -> String {
    let found = world.verify(1, &[]);
    let step = found.get("steps").and_then(Value::as_array).unwrap().last().unwrap();
    assert_eq!(step["code"], code, "{step}");
    step["fix"].as_str().unwrap().to_owned()
}

/// Pastes the fix and expects this many accepted steps.
#[track_caller]
fn mended(world: &World, code: &str, steps: usize) {
    let fix = fix(world, code);
    paste(&world.repo.path(), &world.frank, &fix);
    let found = world.verify(0, &[]);
    assert_eq!(found.get("steps").and_then(Value::as_array).unwrap().len(), steps, "{fix}\n{found}");
    assert_eq!(world.repo.git(&["symbolic-ref", "HEAD"]).unwrap().trim(), "refs/heads/main", "{fix}");
}

fn by_frank(world: &World, name: &str) -> String {
    world.repo.write(&format!("apps/{name}.txt"), name).unwrap();
    world.repo.commit_signed(&world.frank, name).unwrap()
}

/// Makes the bad commit and lets the fix mend it, as the head and with another commit on top.
#[track_caller]
fn at_the_head_and_below(code: &str, steps: usize, bad: impl Fn(&World)) {
    for on_top in [0, 1] {
        let world = World::for_anything_by_frank();
        bad(&world);
        for _ in 0..on_top {
            by_frank(&world, "later");
        }
        mended(&world, code, steps + on_top);
    }
}

#[test]
fn a_mixed_step_is_split() {
    at_the_head_and_below("W308", 2, |world| {
        world.repo.write("policies/README.md", "x").unwrap();
        world.repo.write("apps/x.txt", "x").unwrap();
        world.repo.commit_signed(&world.frank, "mixed").unwrap();
    });
}

#[test]
fn a_removed_trust_file_is_restored() {
    at_the_head_and_below("W501", 1, |world| {
        world.repo.remove(".writ/trust.yaml").unwrap();
        world.repo.commit_signed(&world.frank, "no trust").unwrap();
    });
}

#[test]
fn a_symbolic_link_and_a_submodule_are_removed() {
    at_the_head_and_below("W105", 1, |world| {
        world.repo.symlink("apps/a link", "/etc/passwd").unwrap();
        world.repo.commit_signed(&world.frank, "a link").unwrap();
    });
    at_the_head_and_below("W105", 1, |world| {
        world.repo.submodule("apps/vendor", &world.introduction).unwrap();
        world.repo.commit_signed(&world.frank, "a submodule").unwrap();
    });
}

/// A commit whose folder `apps` holds files of these names, checked out as far as Git does that.
fn hostile(world: &World, names: &[&[u8]]) {
    let blob = world.repo.write_object("blob", b"x").unwrap();
    let entries: Vec<_> = names.iter().map(|&name| RawEntry { mode: "100644", name, id: &blob }).collect();
    let apps = world.repo.write_tree(&entries).unwrap();
    let trust = world.repo.rev_parse("HEAD:.writ").unwrap();
    let root = world
        .repo
        .write_tree(&[
            RawEntry { mode: "40000", name: b".writ", id: &trust },
            RawEntry { mode: "40000", name: b"apps", id: &apps },
        ])
        .unwrap();
    let parent = world.repo.head().unwrap();
    let commit = world.repo.commit_tree(&root, &[&parent], Signing::By(&world.frank), "hostile").unwrap();
    world.repo.git(&["update-ref", "refs/heads/main", &commit]).unwrap();
}

#[test]
fn one_of_two_colliding_names_is_removed() {
    at_the_head_and_below("W104", 1, |world| {
        hostile(world, &[b"Web.yaml", b"web.yaml"]);
        world.repo.git(&["reset", "--quiet", "--hard"]).unwrap();
        let found = world.verify(1, &[]);
        let message = found["steps"][0]["message"].as_str().unwrap();
        assert!(message.contains("apps/web.yaml is a name that differs from Web.yaml in the same folder"), "{message}");
    });
}

#[test]
fn a_name_that_git_does_not_take_is_left_behind() {
    let world = World::for_anything_by_frank();
    hostile(&world, &[b".."]);
    paste(&world.repo.path(), &world.frank, &fix(&world, "W104"));
    assert_eq!(world.repo.head().unwrap(), world.introduction);
    world.verify(0, &[]);
}

#[test]
fn a_message_with_a_nul_and_a_foreign_header_are_made_again() {
    let edited = |world: &World, edit: fn(String) -> String| {
        world.repo.write("apps/x.txt", "x").unwrap();
        let good = world.repo.commit_signed(&world.frank, "x").unwrap();
        let raw = String::from_utf8(world.repo.read_object("commit", &good).unwrap()).unwrap();
        let bad = world.repo.write_object("commit", edit(raw).as_bytes()).unwrap();
        world.repo.git(&["reset", "--quiet", "--soft", &bad]).unwrap();
    };
    at_the_head_and_below("W103", 1, |world| edited(world, |raw| format!("{raw}\0unsigned\n")));
    at_the_head_and_below("W101", 1, |world| {
        edited(world, |raw| raw.replacen("\ngpgsig ", "\nchange-id abc\ngpgsig ", 1));
    });
}

/// The commit with a second signature, as of the other object format, that frank made over something else; it becomes the head.
fn with_second_signature(world: &World, commit: &str) -> String {
    let raw = String::from_utf8(world.repo.read_object("commit", commit).unwrap()).unwrap();
    let armour = world.frank.sign("git", b"another commit").unwrap();
    let second = format!("\ngpgsig-sha256 {}\n\n", armour.trim_end().replace('\n', "\n "));
    let other = world.repo.write_object("commit", raw.replacen("\n\n", &second, 1).as_bytes()).unwrap();
    world.repo.git(&["reset", "--quiet", "--soft", &other]).unwrap();
    other
}

#[test]
fn a_commit_that_is_signed_twice_is_signed_once() {
    at_the_head_and_below("W209", 1, |world| {
        let good = by_frank(world, "x");
        with_second_signature(world, &good);
    });
    // By lists of keys each signature is looked at alone.
    let world = World::for_anything_by_frank();
    let good = by_frank(&world, "x");
    with_second_signature(&world, &good);
    let signers = world.repo.path().join(".git/signers");
    std::fs::write(&signers, testkit::allowed_signers(&[&world.frank])).unwrap();
    let alone = ["--signatures-only", "--allowed-signers", text(&signers), "HEAD^..HEAD"];
    expect(0, &[&["verify", "--repo", &world.path()], alone.as_slice()].concat());
}

#[test]
fn what_follows_the_same_content_in_another_object_is_brought_to_the_accepted_one() {
    for follow in [false, true] {
        let world = World::signed_for_both_formats();
        let accepted = by_frank(&world, "accepted");
        let other = with_second_signature(&world, &accepted);
        if follow {
            by_frank(&world, "later");
        }
        world.verify(0, &[]);
        let found = world.verify(1, &["--from", &accepted]);
        let step = found["steps"].as_array().unwrap().last().unwrap();
        assert_eq!(step["code"], "W408", "{step}");
        let message = step["message"].as_str().unwrap();
        assert!(message.contains(&accepted[..12]) && (!follow || message.contains(&other[..12])), "{message}");
        let fix = step["fix"].as_str().unwrap();
        paste(&world.repo.path(), &world.frank, fix.split(" # ").next().unwrap());
        let expected = usize::from(follow);
        let steps = world.verify(0, &["--from", &accepted]);
        assert_eq!(steps["steps"].as_array().unwrap().len(), expected, "{fix}");
        assert_eq!(world.repo.rev_parse("HEAD").unwrap() == accepted, !follow);
    }
}

#[test]
fn a_head_off_the_line_is_brought_back() {
    let world = World::for_anything_by_frank();
    let accepted = by_frank(&world, "accepted");
    world.repo.git(&["switch", "--quiet", "-C", "main", &world.introduction]).unwrap();
    by_frank(&world, "other");
    let verify = |code: i32| world.verify(code, &["--from", &accepted]);
    let fix = |found: &Value, code: &str| {
        let step = found["steps"].as_array().unwrap().last().unwrap();
        assert_eq!(step["code"], code, "{step}");
        step["fix"].as_str().unwrap().to_owned()
    };
    let merged = world.repo.git(&["rev-parse", "main"]).unwrap();
    // W402: the accepted commit was merged into the other branch, not the other way round.
    world.repo.git(&["merge", "--quiet", "--no-ff", "--no-commit", &accepted]).unwrap();
    let local = world.repo.commit_signed(&world.frank, "wrong way").unwrap();
    let off = fix(&verify(1), "W402");
    assert!(off.ends_with(" # then: git push origin HEAD:refs/heads/main"), "{off}");
    paste(&world.repo.path(), &world.frank, &off);
    assert_eq!(verify(0)["steps"].as_array().unwrap().len(), 1);
    assert_eq!(world.repo.rev_parse("main").unwrap(), local);

    // W401: it is on a line of its own.
    world.repo.git(&["switch", "--quiet", "-C", "main", merged.trim()]).unwrap();
    paste(&world.repo.path(), &world.frank, &fix(&verify(1), "W401"));
    assert_eq!(verify(0)["steps"].as_array().unwrap().len(), 1);
    // W401: it is older.
    world.repo.git(&["switch", "--quiet", "-C", "main", &world.introduction]).unwrap();
    paste(&world.repo.path(), &world.frank, &fix(&verify(1), "W401"));
    assert_eq!(world.repo.head().unwrap(), accepted);
}
