//! What a person names, compared with what the real `git` makes of it.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use git::Objects;
use testkit::{Merge, SignedRepo, Signing};
use trust::HistoryError;

fn open(repo: &SignedRepo) -> Objects {
    Objects::open(&repo.path()).unwrap()
}

/// Main and a side branch, merged: a ← b ← merge, a ← side ← merge; then c.
fn repository() -> SignedRepo {
    let repo = SignedRepo::new().unwrap();
    let commit = |name: &str| {
        repo.write(name, name).unwrap();
        repo.commit_unsigned(name).unwrap()
    };
    commit("a");
    repo.branch("side").unwrap();
    commit("side");
    repo.switch("main").unwrap();
    commit("b");
    repo.merge("side", Merge::NoFastForward, Signing::Unsigned).unwrap();
    commit("c");
    repo.tag("light", "main~2").unwrap();
    repo.git(&["tag", "-a", "-m", "x", "annotated", "main~1"]).unwrap();
    repo.git(&["tag", "-a", "-m", "x", "of-a-tag", "annotated"]).unwrap();
    repo
}

#[test]
fn revisions_are_what_git_says() {
    let repo = repository();
    let objects = open(&repo);
    let head = repo.head().unwrap();
    let short = head.get(..10).unwrap();
    for revision in
        ["HEAD", "main", "refs/heads/side", "heads/side", "HEAD~2", "main~1^2", "light", "annotated", "of-a-tag", short]
    {
        let expected = repo.rev_parse(&format!("{revision}^{{commit}}")).unwrap();
        assert_eq!(objects.resolve(revision).unwrap().to_string(), expected, "{revision}");
    }
    for revision in ["nowhere", "HEAD^{tree}", "HEAD:a", "", "HEAD~20", &"0".repeat(40), &"0".repeat(64)] {
        assert!(matches!(objects.resolve(revision), Err(HistoryError::Missing { .. })), "{revision:?}");
    }
}

#[test]
fn ranges_hold_what_git_lists_parents_first() {
    let repo = repository();
    let objects = open(&repo);
    for range in ["main~2..main", "side..main", "main..side", "main~3..", "..side", "annotated..HEAD"] {
        let found: Vec<String> = objects.commits(range).unwrap().iter().map(ToString::to_string).collect();
        let mut listed: Vec<String> = repo.git(&["rev-list", range]).unwrap().lines().map(str::to_owned).collect();
        for (index, commit) in found.iter().enumerate() {
            let parents = repo.git(&["log", "-1", "--format=%P", commit]).unwrap();
            let later = found.get(index..).unwrap();
            assert!(
                parents.split_whitespace().all(|parent| !later.iter().any(|id| id == parent)),
                "{range}: {found:?}"
            );
        }
        let mut sorted = found;
        sorted.sort();
        listed.sort();
        assert_eq!(sorted, listed, "{range}");
    }
    assert_eq!(objects.commits("light").unwrap(), [objects.resolve("light").unwrap()]);
    assert!(matches!(objects.commits("main...side"), Err(HistoryError::Read { .. })));
    assert!(matches!(objects.commits("nowhere..main"), Err(HistoryError::Missing { .. })));
}

/// A library that parses would say that these are missing.
#[test]
fn commits_that_cannot_be_parsed_are_found() {
    let repo = repository();
    let good = repo.head().unwrap();
    let broken = repo.write_object("commit", format!("tree nowhere\nparent {good}\n\nx\n").as_bytes()).unwrap();
    std::fs::write(repo.path().join(".git/refs/heads/broken"), format!("{broken}\n")).unwrap();
    let objects = open(&repo);
    for revision in [broken.as_str(), "broken", "refs/heads/broken", broken.get(..12).unwrap()] {
        assert_eq!(objects.resolve(revision).unwrap().to_string(), broken, "{revision}");
    }
    assert_eq!(objects.commits("main..broken").unwrap(), [objects.resolve("broken").unwrap()]);
}

#[test]
fn replace_refs_change_no_range() {
    let repo = repository();
    let before = open(&repo).commits("main~2..main").unwrap();
    repo.git(&["replace", "main~1", "side"]).unwrap();
    assert_eq!(open(&repo).commits("main~2..main").unwrap(), before);
}
