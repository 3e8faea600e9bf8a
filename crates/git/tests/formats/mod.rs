//! Repositories that name their objects by SHA-256, and what comes of a repository of the other format.

use std::fs;

use git::{
    Approvals, Attested, ExchangeError, GitCode, GitError, Limits, Mirror, MirrorError, Objects, RemoteOptions, poll,
};
use manifest::RepoPath;
use testkit::{Merge, Push, SignedRepo, Signing};
use trust::{CommitId, History as _, HistoryError, ObjectFormat};

use super::{Case, MAIN, Setting, child, exchange, packs, ssh::Ssh};

pub(super) const CASES: &[Case] = &[
    ("sha256_clone_then_increments_then_nothing", clone_then_increments_then_nothing),
    ("sha256_over_ssh", over_ssh),
    ("sha256_approvals_are_fetched_beside_the_branch", approvals_are_fetched_beside_the_branch),
    ("sha256_an_object_that_is_too_large_is_w603", an_object_that_is_too_large_is_w603),
    ("sha256_a_mirror_of_many_packs_is_compacted", a_mirror_of_many_packs_is_compacted),
    ("a_repository_of_the_other_format_is_refused_as_that", a_repository_of_the_other_format_is_refused_as_that),
    ("a_mirror_of_the_other_format_is_made_anew_only_if_empty", a_mirror_is_made_anew_only_if_empty),
    ("an_id_of_the_other_format_names_nothing", an_id_of_the_other_format_names_nothing),
];

fn path(text: &str) -> RepoPath {
    text.parse().unwrap()
}

fn clone_then_increments_then_nothing() {
    let setting = Setting::with_ids(ObjectFormat::Sha256);
    let first = setting.commit("apps/a.yaml", "1");
    setting.repo.branch("side").unwrap();
    setting.commit("apps/b.yaml", "2");
    setting.repo.switch("main").unwrap();
    let second = setting.commit("apps/c.yaml", "3");
    setting.push(Push::FastForward);
    let remote = setting.remote();
    assert_eq!(poll(&remote).unwrap().head, Some(second));
    let fetched = setting.fetch(&remote).unwrap();
    assert_eq!((fetched.head, setting.mirror.incoming().unwrap()), (second, Some(second)));
    assert_eq!(second.format(), ObjectFormat::Sha256);
    setting.mirror.pin("accepted/shop", &second).unwrap();

    let merge: CommitId = setting.repo.merge("side", Merge::NoFastForward, Signing::Unsigned).unwrap().parse().unwrap();
    setting.push(Push::FastForward);
    let fetched = setting.fetch(&remote).unwrap();
    assert!(fetched.head == merge && fetched.objects == 7, "{fetched:?}");
    assert_eq!(setting.fetch(&remote).unwrap().objects, fetched.objects, "not pinned, so fetched again");
    setting.mirror.pin("accepted/shop", &merge).unwrap();
    assert_eq!(setting.fetch(&remote).unwrap().objects, 0);

    let objects = setting.mirror.objects();
    assert_eq!(objects.read(&merge, &path("apps/b.yaml")).unwrap().unwrap(), b"2");
    assert_eq!(objects.changes(Some(&first), &merge, 9).unwrap().len(), 2);
    assert_eq!(objects.side_commits(&second, &merge, 9).unwrap().len(), 1);
    assert!(objects.is_ancestor(&first, &merge).unwrap());
    let raw = objects.commit(&merge).unwrap().unwrap();
    assert_eq!(CommitId::of(ObjectFormat::Sha256, &raw).unwrap(), merge);
    assert_eq!(setting.mirror.pins().unwrap(), [("accepted/shop".to_owned(), merge)]);
    let entry = objects.entry(&merge, &path("apps/a.yaml")).unwrap().unwrap();
    assert_eq!((entry.id.len(), objects.blob(&entry.id).unwrap()), (64, b"1".to_vec()));
    assert_eq!(Mirror::open(setting.mirror.dir()).unwrap().objects().format(), ObjectFormat::Sha256);
}

fn over_ssh() {
    let ssh = Ssh::with_ids(ObjectFormat::Sha256);
    let first = ssh.push("a", "1");
    assert_eq!(poll(&ssh.remote()).unwrap().head, Some(first));
    assert_eq!(ssh.setting.mirror.fetch(&ssh.remote(), &child()).unwrap().head, first);
    let second = ssh.push("a", "2");
    assert_eq!(ssh.setting.mirror.fetch(&ssh.remote(), &child()).unwrap().head, second);
    assert!(ssh.setting.mirror.objects().is_ancestor(&first, &second).unwrap());
}

fn approvals_are_fetched_beside_the_branch() {
    let setting = Setting::with_ids(ObjectFormat::Sha256);
    let first = setting.commit("readme", "1");
    setting.push(Push::FastForward);
    let tree = setting.repo.rev_parse("HEAD^{tree}").unwrap().parse().unwrap();
    setting.repo.git(&["notes", "--ref", "writ-approvals", "add", "-m", "{}", &first.to_string()]).unwrap();
    setting.push_ref("refs/notes/writ-approvals");
    let approvals = Approvals::open_for(setting.mirror.dir(), ObjectFormat::Sha256).unwrap();
    approvals.fetch(&setting.remote(), &child(), &poll(&setting.remote()).unwrap()).unwrap();
    let history = Attested { objects: setting.mirror.objects(), approvals: &approvals };
    assert_eq!(history.attestations(&first, &tree).unwrap().len(), 1);
    let local = Objects::open(&setting.repo.path()).unwrap();
    assert_eq!(local.attestations(&first, &tree).unwrap().len(), 1);
}

fn an_object_that_is_too_large_is_w603() {
    let setting = Setting::with_ids(ObjectFormat::Sha256);
    setting.commit("a", vec![b'a'; 40_000]);
    setting.push(Push::FastForward);
    let remote = setting.limited(Limits { object_bytes: 30_000, ..Limits::default() });
    assert_eq!(setting.check_fetch_refused(&remote, GitCode::W603), ExchangeError::ObjectBytes { limit: 30_000 });
}

fn a_mirror_of_many_packs_is_compacted() {
    packs::is_compacted(&Setting::with_ids(ObjectFormat::Sha256));
}

fn a_repository_of_the_other_format_is_refused_as_that() {
    for (server, wanted) in [(ObjectFormat::Sha1, ObjectFormat::Sha256), (ObjectFormat::Sha256, ObjectFormat::Sha1)] {
        let refused = ExchangeError::ObjectFormat { wanted: wanted.to_string() };
        let setting = Setting::with_ids(server);
        setting.commit("a", "1");
        setting.push(Push::FastForward);
        let remote = setting.remote_of(MAIN, &RemoteOptions { format: wanted, ..setting.options() });
        let error = poll(&remote).unwrap_err();
        assert!(error.finding().needed.contains(&wanted.to_string()), "{}", error.finding());
        assert_eq!(exchange(error, GitCode::W601, &setting), refused);
        let mirror = Mirror::open_for(&setting.dir.path().join("mirrors/other"), wanted).unwrap();
        assert_eq!(exchange(mirror.fetch(&remote, &child()).unwrap_err(), GitCode::W601, &setting), refused);
        assert_eq!(mirror.incoming().unwrap(), None);
        // The mirror of the repository itself is not fetched into as if it were of the other one.
        let error = setting.fetch(&remote).unwrap_err();
        assert!(matches!(error, GitError::Mirror(MirrorError::Format { .. })), "{error:?}");

        let ssh = Ssh::with_ids(server);
        ssh.push("a", "1");
        let remote = ssh.remote_with_ids(wanted);
        assert_eq!(exchange(poll(&remote).unwrap_err(), GitCode::W601, &ssh.setting), refused);
        let mirror = Mirror::open_for(&ssh.setting.dir.path().join("mirrors/other"), wanted).unwrap();
        assert_eq!(exchange(mirror.fetch(&remote, &child()).unwrap_err(), GitCode::W601, &ssh.setting), refused);
    }
}

fn a_mirror_is_made_anew_only_if_empty() {
    let setting = Setting::new();
    let dir = setting.mirror.dir();
    let of = |format| Mirror::open_for(dir, format).map(|mirror| mirror.objects().format());
    assert_eq!(of(ObjectFormat::Sha256).unwrap(), ObjectFormat::Sha256);
    assert_eq!(Mirror::open(dir).unwrap().objects().format(), ObjectFormat::Sha256);
    assert_eq!(of(ObjectFormat::Sha1).unwrap(), ObjectFormat::Sha1);
    assert_eq!(fs::read_dir(dir.parent().unwrap()).unwrap().count(), 1, "something was left behind");
    setting.commit("a", "1");
    setting.push(Push::FastForward);
    Mirror::open(dir).unwrap().fetch(&setting.remote(), &child()).unwrap();
    let error = GitError::from(of(ObjectFormat::Sha256).unwrap_err());
    assert_eq!(error.code(), GitCode::W610);
    assert!(error.finding().found.contains("SHA-1 ids, not SHA-256"), "{}", error.finding());
    assert_eq!(of(ObjectFormat::Sha1).unwrap(), ObjectFormat::Sha1);
}

/// libgit2 makes room for an id of the repository and writes one as long as it is given.
fn an_id_of_the_other_format_names_nothing() {
    let setting = Setting::new();
    let commit = setting.commit("a", "1");
    let long = format!("{commit}{}", "0".repeat(24));
    let objects = Objects::open(&setting.repo.path()).unwrap();
    let foreign: CommitId = long.parse().unwrap();
    assert_eq!(objects.commit(&foreign).unwrap(), None);
    assert!(objects.resolve(&long).is_err());
    assert!(matches!(objects.blob(&long), Err(HistoryError::Missing { .. })));
    assert!(matches!(objects.entry(&foreign, &path("a")), Err(HistoryError::Missing { .. })));
    let raw = format!("tree {long}\nauthor A <a@a> 1 +0000\ncommitter A <a@a> 1 +0000\n\nx");
    let planted: CommitId = setting.repo.write_object("commit", raw.as_bytes()).unwrap().parse().unwrap();
    assert!(matches!(objects.entry(&planted, &path("a")), Err(HistoryError::Malformed { .. })));
    let child = raw.replace(&long, &setting.repo.rev_parse("HEAD^{tree}").unwrap());
    let child = child.replacen("\nauthor", &format!("\nparent {long}\nauthor"), 1);
    let planted: CommitId = setting.repo.write_object("commit", child.as_bytes()).unwrap().parse().unwrap();
    assert!(matches!(objects.is_ancestor(&commit, &planted), Err(HistoryError::Missing { .. })));
    setting.push(Push::FastForward);
    setting.fetch(&setting.remote()).unwrap();
    assert!(setting.mirror.pin("accepted/x", &foreign).is_err());

    let sha256 = SignedRepo::with_ids("sha256").unwrap();
    sha256.write("a", "1").unwrap();
    let head: CommitId = sha256.commit_unsigned("a").unwrap().parse().unwrap();
    let objects = Objects::open(&sha256.path()).unwrap();
    assert_eq!(objects.resolve("HEAD").unwrap(), head);
    // Half of an id is an abbreviation here, not an id of the other format.
    let half: String = head.to_string().chars().take(40).collect();
    assert_eq!(objects.resolve(&half).unwrap(), head);
    assert_eq!(objects.commit(&commit).unwrap(), None);
}
