//! Trees and histories made by the real `git`, read back by [`git::Objects`].
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::{collections::BTreeMap, path::Path};

use git::Objects;
use manifest::RepoPath;
use proptest::prelude::*;
use testkit::{Merge, RawEntry, SignedRepo, Signing};
use trust::{BadEntry, Change, CommitId, EntryMode, History as _, HistoryError};

fn id(text: &str) -> CommitId {
    text.parse().unwrap()
}

fn path(text: &str) -> RepoPath {
    text.parse().unwrap()
}

fn open(repo: &SignedRepo) -> Objects {
    Objects::open(&repo.path()).unwrap()
}

/// Mode, before and after, as `git diff-tree` prints them.
fn raw(change: &Change) -> String {
    let side = |entry: &Option<trust::Entry>| match entry {
        None => ("000000", "0".repeat(40)),
        Some(entry) => (if entry.mode == EntryMode::File { "100644" } else { "100755" }, entry.id.clone()),
    };
    let ((old_mode, old_id), (new_mode, new_id)) = (side(&change.before), side(&change.after));
    format!(":{old_mode} {new_mode} {old_id} {new_id} {}", change.path.as_str())
}

/// What `git diff-tree` says, one line per path without its status letter; a change of type is one line there too.
fn diff_tree(repo: &SignedRepo, from: &str, to: &str) -> Vec<String> {
    let text = repo.git(&["diff-tree", "-r", "--no-renames", "--no-abbrev", from, to]).unwrap();
    let mut lines: Vec<String> = text
        .lines()
        .map(|line| {
            let (head, path) = line.split_once('\t').unwrap();
            format!("{} {path}", head.rsplit_once(' ').unwrap().0)
        })
        .collect();
    lines.sort_by(|one, other| one.rsplit(' ').next().cmp(&other.rsplit(' ').next()));
    lines
}

const EMPTY_TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

#[test]
fn a_refused_entry_is_named() {
    let repo = SignedRepo::new().unwrap();
    repo.write("a", "x").unwrap();
    let first = repo.commit_unsigned("first").unwrap();
    let blob = repo.rev_parse("HEAD:a").unwrap();
    let tree = repo.rev_parse("HEAD^{tree}").unwrap();
    let entry = |mode: &'static str, name: &'static [u8], id: &str| (mode, name, id.to_owned());
    type Case<'a> = (&'a str, Vec<(&'a str, &'a [u8], String)>, BadEntry);
    let cases: Vec<Case<'_>> = vec![
        ("apps/link", vec![entry("120000", b"link", &blob)], BadEntry::Symlink),
        ("apps/sub", vec![entry("160000", b"sub", &first)], BadEntry::Submodule),
        ("apps/odd", vec![entry("100664", b"odd", &blob)], BadEntry::Mode),
        ("apps/..", vec![entry("100644", b"..", &blob)], BadEntry::Name),
        ("apps/.", vec![entry("40000", b".", &tree)], BadEntry::Name),
        ("apps/.git", vec![entry("40000", b".git", &tree)], BadEntry::Name),
        ("apps/.GiT", vec![entry("100644", b".GiT", &blob)], BadEntry::Name),
        ("apps/git~1", vec![entry("40000", b"git~1", &tree)], BadEntry::Name),
        ("apps/a/b", vec![entry("100644", b"a/b", &blob)], BadEntry::Name),
        ("apps/a\\xff", vec![entry("100644", b"a\xff", &blob)], BadEntry::Name),
        (
            "apps/a",
            vec![entry("100644", b"z", &blob), entry("100644", b"a", &blob)],
            BadEntry::Order { after: "z".to_owned() },
        ),
        (
            "apps/policies",
            vec![entry("40000", b"Policies", &tree), entry("40000", b"policies", &tree)],
            BadEntry::Collision { with: "Policies".to_owned() },
        ),
        (
            "apps/a",
            vec![entry("100644", b"a", &blob), entry("40000", b"a", &tree)],
            BadEntry::Collision { with: "a".to_owned() },
        ),
        (
            "apps/e\\xcc\\x81",
            vec![entry("100644", "\u{e9}".as_bytes(), &blob), entry("100644", "e\u{301}".as_bytes(), &blob)],
            BadEntry::Collision { with: "\\xc3\\xa9".to_owned() },
        ),
    ];
    for (expected, entries, wanted) in cases {
        let raw: Vec<RawEntry<'_>> = entries.iter().map(|(mode, name, id)| RawEntry { mode, name, id }).collect();
        let folder = repo.write_tree(&raw).unwrap();
        let root = repo.write_tree(&[RawEntry { mode: "40000", name: b"apps", id: &folder }]).unwrap();
        let commit = repo.commit_tree(&root, &[&first], Signing::Unsigned, "bad").unwrap();
        let objects = open(&repo);
        let refused = Err(HistoryError::BadEntry { commit: id(&commit), path: expected.to_owned(), reason: wanted });
        assert_eq!(objects.changes(Some(&id(&first)), &id(&commit), usize::MAX), refused, "{expected}");
        assert_eq!(objects.changes(None, &id(&commit), usize::MAX), refused, "{expected}");
        assert_eq!(objects.list(&id(&commit), &path("apps")).err(), refused.clone().err(), "{expected}");
        assert_eq!(objects.read(&id(&commit), &path("apps/a")).err(), refused.err(), "{expected}");
    }
}

#[test]
fn equal_subtrees_are_not_read() {
    let repo = SignedRepo::new().unwrap();
    repo.write("keep/link-below/a", "x").unwrap();
    repo.symlink("keep/link", "/etc/passwd").unwrap();
    repo.write("apps/a.yaml", "1").unwrap();
    let first = repo.commit_unsigned("first").unwrap();
    repo.write("apps/a.yaml", "2").unwrap();
    let second = repo.commit_unsigned("second").unwrap();
    let objects = open(&repo);
    // `keep` is the same on both sides and holds what would be refused.
    let changes = objects.changes(Some(&id(&first)), &id(&second), usize::MAX).unwrap();
    assert_eq!(changes.iter().map(|change| change.path.as_str()).collect::<Vec<_>>(), ["apps/a.yaml"]);
    assert!(matches!(
        objects.changes(None, &id(&second), usize::MAX),
        Err(HistoryError::BadEntry { reason: BadEntry::Symlink, .. })
    ));
    assert_eq!(objects.changes_below(None, &id(&second), &path("apps")).unwrap().len(), 1);
    // What lies elsewhere counts for no limit either.
    let within = |limit| objects.changes_in(None, &id(&second), &path("apps"), limit);
    assert_eq!(within(1).unwrap().len(), 1);
    assert!(matches!(within(0), Err(HistoryError::Limit { .. })));
}

#[test]
fn a_tree_of_ten_billion_paths_ends_at_the_limit() {
    let repo = SignedRepo::new().unwrap();
    let mut tree = repo.write_object("blob", b"x").unwrap();
    let mut mode = "100644";
    for _ in 0..10 {
        let names: Vec<String> = (0..10).map(|number| format!("d{number}")).collect();
        let entries: Vec<_> = names.iter().map(|name| RawEntry { mode, name: name.as_bytes(), id: &tree }).collect();
        tree = repo.write_tree(&entries).unwrap();
        mode = "40000";
    }
    let commit = repo.commit_tree(&tree, &[], Signing::Unsigned, "bomb").unwrap();
    let objects = open(&repo);
    assert!(matches!(
        objects.changes(None, &id(&commit), usize::MAX),
        Err(HistoryError::Limit { limit: git::MAX_ENTRIES, .. })
    ));
    assert!(matches!(objects.list(&id(&commit), &RepoPath::root()), Err(HistoryError::Limit { .. })));
}

/// The asker's limit ends the comparison, before what is beyond it is read: here an entry that would be refused.
#[test]
fn differences_end_at_the_limit_that_is_asked_for() {
    let repo = SignedRepo::new().unwrap();
    for name in ["a/1", "a/2", "a/3"] {
        repo.write(name, "x").unwrap();
    }
    repo.symlink("b/link", "/etc/passwd").unwrap();
    let commit = id(&repo.commit_unsigned("four").unwrap());
    let objects = open(&repo);
    let ends = |limit: usize| match objects.changes(None, &commit, limit) {
        Err(HistoryError::Limit { limit: named, .. }) => named,
        other => panic!("{other:?}"),
    };
    assert_eq!([0, 1, 2].map(ends), [0, 1, 2]);
    assert!(matches!(objects.changes(None, &commit, 3), Err(HistoryError::BadEntry { .. })));
}

#[test]
fn long_paths_of_many_files_are_a_limit() {
    let repo = SignedRepo::new().unwrap();
    let blob = repo.write_object("blob", b"x").unwrap();
    let names: Vec<String> = (0..18_000).map(|number| format!("{number:05}")).collect();
    let files: Vec<_> =
        names.iter().map(|name| RawEntry { mode: "100644", name: name.as_bytes(), id: &blob }).collect();
    let mut tree = repo.write_tree(&files).unwrap();
    let long = "d".repeat(250);
    for _ in 0..15 {
        tree = repo.write_tree(&[RawEntry { mode: "40000", name: long.as_bytes(), id: &tree }]).unwrap();
    }
    let commit = id(&repo.commit_tree(&tree, &[], Signing::Unsigned, "long").unwrap());
    let refused = open(&repo).list(&commit, &RepoPath::root()).unwrap_err();
    assert!(matches!(refused, HistoryError::Limit { limit, .. } if limit == git::MAX_PATHS_BYTES as u64), "{refused}");
}

#[test]
fn a_tree_that_is_too_deep_is_a_limit() {
    let repo = SignedRepo::new().unwrap();
    let blob = repo.write_object("blob", b"x").unwrap();
    let mut tree = repo.write_tree(&[RawEntry { mode: "100644", name: b"f", id: &blob }]).unwrap();
    for _ in 0..64 {
        tree = repo.write_tree(&[RawEntry { mode: "40000", name: b"d", id: &tree }]).unwrap();
    }
    let commit = repo.commit_tree(&tree, &[], Signing::Unsigned, "deep").unwrap();
    assert!(matches!(open(&repo).changes(None, &id(&commit), usize::MAX), Err(HistoryError::Limit { .. })));
}

#[test]
fn files_are_read_within_bounds() {
    let repo = SignedRepo::new().unwrap();
    repo.write("apps/a.yaml", "hello").unwrap();
    repo.write("apps/deep/b.yaml", "b").unwrap();
    repo.write("apps2/c.yaml", "c").unwrap();
    repo.write("big", vec![0; 16 * 1024 * 1024 + 1]).unwrap();
    let commit = id(&repo.commit_unsigned("first").unwrap());
    let objects = open(&repo);
    assert_eq!(objects.read(&commit, &path("apps/a.yaml")).unwrap().as_deref(), Some(&b"hello"[..]));
    for absent in ["apps", "apps/x", "apps/a.yaml/x", ""] {
        assert_eq!(objects.read(&commit, &path(absent)).unwrap(), None, "{absent:?}");
    }
    assert!(matches!(objects.read(&commit, &path("big")), Err(HistoryError::Limit { limit: git::MAX_BLOB_BYTES, .. })));
    assert_eq!(objects.list(&commit, &path("apps")).unwrap(), [path("apps/a.yaml"), path("apps/deep/b.yaml")]);
    assert_eq!(objects.list(&commit, &path("apps/a.yaml")).unwrap(), [path("apps/a.yaml")]);
    assert_eq!(objects.list(&commit, &path("none")).unwrap(), []);
    assert_eq!(objects.list(&commit, &RepoPath::root()).unwrap().len(), 4);
    assert_eq!(objects.files(&commit, &path("apps2")).unwrap(), [(path("apps2/c.yaml"), b"c".to_vec())]);
    let (_, entry) = objects.entries(&commit, &path("apps2")).unwrap().remove(0);
    assert_eq!(objects.blob(&entry.id).unwrap(), b"c");
    assert!(objects.blob("HEAD").is_err());
    assert_eq!(objects.resolve("HEAD").unwrap(), commit);
    assert!(matches!(objects.resolve("HEAD~1"), Err(HistoryError::Missing { .. })));
}

#[test]
fn commits_are_raw_bytes() {
    let repo = SignedRepo::new().unwrap();
    repo.write("a", "x").unwrap();
    let commit = repo.commit_unsigned("first").unwrap();
    let objects = open(&repo);
    assert_eq!(objects.commit(&id(&commit)).unwrap().unwrap(), repo.read_object("commit", &commit).unwrap());
    assert_eq!(objects.commit(&id(&"1".repeat(40))).unwrap(), None);
    assert_eq!(objects.commit(&id(&"1".repeat(64))).unwrap(), None);
    let tree = repo.rev_parse("HEAD^{tree}").unwrap();
    assert!(matches!(objects.commit(&id(&tree)), Err(HistoryError::Malformed { .. })));
    let large = format!("tree {tree}\nauthor a <a> 0 +0000\ncommitter a <a> 0 +0000\n\n{}", "x".repeat(1 << 20));
    let large = repo.write_object("commit", large.as_bytes()).unwrap();
    assert!(matches!(objects.commit(&id(&large)), Err(HistoryError::Limit { .. })));
    assert!(matches!(objects.changes(None, &id(&"1".repeat(40)), usize::MAX), Err(HistoryError::Missing { .. })));
}

/// A file of 2 MiB that is stored as a difference to one twenty times as large.
#[test]
fn an_object_on_a_base_that_is_too_large_is_a_limit() {
    const SMALL: usize = 2 << 20;
    let repo = SignedRepo::new().unwrap();
    repo.write("disk", vec![0; 40 << 20]).unwrap();
    repo.commit_unsigned("large").unwrap();
    repo.write("disk", vec![0; SMALL]).unwrap();
    repo.write("a", "x").unwrap();
    let commit = id(&repo.commit_unsigned("small").unwrap());
    repo.git(&["repack", "-a", "-d", "-f", "-q"]).unwrap();
    let (blob, large) = (repo.rev_parse("HEAD:disk").unwrap(), repo.rev_parse("HEAD~1:disk").unwrap());
    let stored = repo.git(&["cat-file", "--batch-check=%(deltabase)", "--batch-all-objects", "--unordered"]).unwrap();
    assert!(stored.lines().any(|base| base == large), "git stored nothing as a difference to the large one");
    let objects = open(&repo);
    let refused = objects.blob(&blob);
    assert!(matches!(refused, Err(HistoryError::Limit { limit: git::Limits::OBJECT_BYTES, .. })), "{refused:?}");
    // Nothing else suffers.
    assert_eq!(objects.read(&commit, &path("a")).unwrap().as_deref(), Some(&b"x"[..]));
    assert!(matches!(objects.blob(&large), Err(HistoryError::Limit { limit: git::MAX_BLOB_BYTES, .. })));
}

#[test]
fn replace_refs_and_grafts_change_nothing() {
    let repo = SignedRepo::new().unwrap();
    repo.write("a", "one").unwrap();
    let first = repo.commit_unsigned("first").unwrap();
    repo.write("a", "two").unwrap();
    let second = repo.commit_unsigned("second").unwrap();
    let raw = repo.read_object("commit", &second).unwrap();
    repo.git(&["replace", &second, &first]).unwrap();
    std::fs::write(repo.path().join(".git/info/grafts"), format!("{second}\n")).unwrap();
    let objects = open(&repo);
    assert_eq!(objects.commit(&id(&second)).unwrap().unwrap(), raw);
    assert_eq!(objects.read(&id(&second), &path("a")).unwrap().as_deref(), Some(&b"two"[..]));
    assert!(objects.is_ancestor(&id(&first), &id(&second)).unwrap());
    assert_eq!(objects.side_commits(&id(&first), &id(&second), 10).unwrap(), []);
}

#[test]
fn an_object_whose_bytes_changed_is_an_error() {
    let repo = SignedRepo::new().unwrap();
    repo.write("a", "one").unwrap();
    let first = repo.commit_unsigned("first").unwrap();
    repo.write("a", "two").unwrap();
    let second = repo.commit_unsigned("second").unwrap();
    let file = |commit: &str| {
        let (folder, name) = commit.split_at(2);
        repo.path().join(".git/objects").join(folder).join(name)
    };
    std::fs::remove_file(file(&second)).unwrap();
    std::fs::copy(file(&first), file(&second)).unwrap();
    assert!(matches!(open(&repo).commit(&id(&second)), Err(HistoryError::Read { .. })));
}

#[test]
fn a_merge_brings_its_side_branch() {
    let repo = SignedRepo::new().unwrap();
    repo.write("a", "1").unwrap();
    let base = repo.commit_unsigned("base").unwrap();
    repo.branch("side").unwrap();
    repo.write("b", "2").unwrap();
    let side = repo.commit_unsigned("side").unwrap();
    repo.switch("main").unwrap();
    repo.write("c", "3").unwrap();
    let mainline = repo.commit_unsigned("mainline").unwrap();
    let merge = repo.merge("side", Merge::NoFastForward, Signing::Unsigned).unwrap();
    let objects = open(&repo);
    assert_eq!(objects.side_commits(&id(&mainline), &id(&merge), 10).unwrap(), [id(&side)]);
    assert!(objects.is_ancestor(&id(&base), &id(&merge)).unwrap());
    assert!(objects.is_ancestor(&id(&side), &id(&merge)).unwrap());
    assert!(!objects.is_ancestor(&id(&merge), &id(&side)).unwrap());
    assert!(matches!(objects.side_commits(&id(&mainline), &id(&merge), 0), Err(HistoryError::Limit { .. })));
}

#[test]
fn a_folder_without_a_repository_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(Objects::open(dir.path()), Err(HistoryError::Read { .. })));
    assert!(matches!(Objects::open(Path::new("/nonexistent")), Err(HistoryError::Read { .. })));
}

/// A tree as paths with content and executable bit; a folder is where a path goes through.
fn tree() -> impl Strategy<Value = BTreeMap<String, (u8, bool)>> {
    let segment = prop_oneof![Just("a"), Just("b"), Just("c.d"), Just("a-b"), Just("a0")];
    let path = proptest::collection::vec(segment, 1..4).prop_map(|segments| segments.join("/"));
    proptest::collection::btree_map(path, (0_u8..3, any::<bool>()), 0..14).prop_map(|files| {
        let folders: Vec<String> = files.keys().cloned().collect();
        // A path that is also a folder of another path is dropped.
        files
            .into_iter()
            .filter(|(path, _)| !folders.iter().any(|other| other.starts_with(&format!("{path}/"))))
            .collect()
    })
}

fn commit(repo: &SignedRepo, files: &BTreeMap<String, (u8, bool)>) -> String {
    repo.git(&["read-tree", "--empty"]).unwrap();
    for (path, (content, executable)) in files {
        let blob = repo.write_object("blob", &[*content]).unwrap();
        let mode = if *executable { "100755" } else { "100644" };
        repo.git(&["update-index", "--add", "--cacheinfo", &format!("{mode},{blob},{path}")]).unwrap();
    }
    let tree = repo.git(&["write-tree"]).unwrap();
    repo.commit_tree(&tree, &[], Signing::Unsigned, "x").unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 40, ..ProptestConfig::default() })]

    #[test]
    fn changes_are_what_git_says(before in tree(), after in tree()) {
        let repo = SignedRepo::new().unwrap();
        let (before, after) = (commit(&repo, &before), commit(&repo, &after));
        let objects = open(&repo);
        let found = |from: Option<&CommitId>, to: &CommitId| -> Vec<String> {
            objects.changes(from, to, usize::MAX).unwrap().iter().map(raw).collect()
        };
        prop_assert_eq!(found(Some(&id(&before)), &id(&after)), diff_tree(&repo, &before, &after));
        prop_assert_eq!(found(None, &id(&after)), diff_tree(&repo, EMPTY_TREE, &after));
        prop_assert_eq!(found(Some(&id(&after)), &id(&after)), Vec::<String>::new());
        // Below one folder: the same lines, filtered.
        let below: Vec<String> =
            objects.changes_below(Some(&id(&before)), &id(&after), &path("a")).unwrap().iter().map(raw).collect();
        let wanted: Vec<String> = diff_tree(&repo, &before, &after)
            .into_iter()
            .filter(|line| path(line.rsplit(' ').next().unwrap()).starts_with(&path("a")))
            .collect();
        prop_assert_eq!(below, wanted);
    }
}

/// As many notes as make Git spread them over folders, and files beside them.
#[test]
fn what_lies_beside_a_commit_is_found() {
    let repo = SignedRepo::new().unwrap();
    repo.write("a", "x").unwrap();
    let commits: Vec<String> =
        (0..300).map(|number| repo.commit_unsigned(&format!("commit {number}")).unwrap()).collect();
    let about = |commit: &str| {
        let tree = repo.rev_parse(&format!("{commit}^{{tree}}")).unwrap().parse().unwrap();
        open(&repo).attestations(&id(commit), &tree).unwrap()
    };
    assert!(about(&commits[0]).is_empty());
    for (number, commit) in commits.iter().enumerate() {
        repo.git(&["notes", "--ref", "writ-approvals", "add", "-m", &format!("{{\"n\":{number}}}"), commit]).unwrap();
    }
    let listed = repo.git(&["ls-tree", "--name-only", "refs/notes/writ-approvals"]).unwrap();
    assert!(listed.lines().all(|name| name.len() == 2), "not spread over folders: {listed}");
    let last = commits.last().unwrap();
    repo.git(&["notes", "--ref", "writ-approvals", "append", "-m", "{\"n\":\"other\"}", last]).unwrap();
    assert_eq!(about(&commits[7]), [b"{\"n\":7}".to_vec()]);
    assert_eq!(about(last), [b"{\"n\":299}".to_vec(), b"{\"n\":\"other\"}".to_vec()]);
    // Another ref, whose folders are named by tree.
    let tree = repo.rev_parse("HEAD^{tree}").unwrap();
    repo.git(&["switch", "-q", "--orphan", "approvals"]).unwrap();
    repo.write(&format!("{tree}/frank.json"), "{\"n\":\"file\"}\n").unwrap();
    let approvals = repo.commit_unsigned("approvals").unwrap();
    repo.git(&["update-ref", "refs/writ/approvals", &approvals]).unwrap();
    let found = open(&repo).attestations(&id(last), &tree.parse().unwrap()).unwrap();
    assert_eq!(found.len(), 3);
    assert_eq!(found[2], b"{\"n\":\"file\"}");
    // Junk pushes nothing out of a note, and the note as a whole nothing out of the files.
    let about = |content: String| {
        let file = repo.path().join("content");
        std::fs::write(&file, content).unwrap();
        repo.git(&["notes", "--ref", "writ-approvals", "add", "-f", "-F", file.to_str().unwrap(), last]).unwrap();
        open(&repo).attestations(&id(last), &tree.parse().unwrap())
    };
    let junk: String = (0..5_000).map(|number| format!("{{\"x\":{number}}}\n")).collect();
    let found = about(format!("{junk}{{\"n\":\"good\"}}")).unwrap();
    assert_eq!(found.len(), 5_002);
    assert!(found.contains(&b"{\"n\":\"good\"}".to_vec()));
    let large = "x".repeat(300 * 1024);
    assert_eq!(about(large.clone()).unwrap(), [b"{\"n\":\"file\"}".to_vec()]);
    // Where nothing else is, one that is too large is no answer.
    repo.git(&["update-ref", "-d", "refs/writ/approvals"]).unwrap();
    let refused = about(large);
    assert!(matches!(refused, Err(HistoryError::Limit { .. })), "{refused:?}");
}
