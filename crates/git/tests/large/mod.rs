//! What anybody who may push can make of little: objects whose packed form is a thousandth of what they are.

use git::{ExchangeError, GitCode, poll};
use testkit::Push;
use trust::{CommitId, History as _};

use super::{Setting, exchange};

const COMMIT_LIMIT: u64 = git::MAX_COMMIT_BYTES;

/// A mirror that has a first commit, accepted.
fn accepted() -> (Setting, CommitId) {
    let setting = Setting::new();
    let first = setting.commit("a", "1");
    setting.push(Push::FastForward);
    assert_eq!(setting.fetch(&setting.remote()).unwrap().head, first);
    setting.mirror.pin("verified", &first).unwrap();
    (setting, first)
}

/// A commit on `parent` whose message has so many bytes.
fn talkative(setting: &Setting, parent: &CommitId, bytes: usize) -> CommitId {
    let tree = setting.repo.rev_parse(&format!("{parent}^{{tree}}")).unwrap();
    let who = "a <a@example.com> 1767225600 +0000";
    let raw = format!("tree {tree}\nparent {parent}\nauthor {who}\ncommitter {who}\n\n{}\n", "a".repeat(bytes));
    setting.repo.write_object("commit", raw.as_bytes()).unwrap().parse().unwrap()
}

/// The way out that a person has: the branch goes on from what was accepted.
fn mended(setting: &Setting, first: &CommitId) {
    setting.repo.reset(&first.to_string()).unwrap();
    let head = setting.commit("a", "2");
    setting.push(Push::Force);
    let fetched = setting.fetch(&setting.remote()).unwrap();
    assert_eq!((fetched.head, fetched.objects), (head, 3));
    assert!(setting.mirror.objects().is_ancestor(first, &head).unwrap());
}

pub(super) fn a_commit_that_is_too_large_is_w603() {
    let (setting, first) = accepted();
    // 64 MiB, of which 65 kB are sent.
    let head = talkative(&setting, &first, 64 << 20);
    setting.repo.reset(&head.to_string()).unwrap();
    setting.push(Push::FastForward);
    for _attempt in 0..2 {
        let error = setting.check_fetch_refused(&setting.remote(), GitCode::W603);
        let ExchangeError::CommitBytes { commit, bytes, limit } = error else { panic!("{error:?}") };
        assert_eq!((commit, limit), (head.to_string(), COMMIT_LIMIT));
        assert!(bytes > 64 << 20);
    }
    assert_eq!(setting.mirror.objects().commit(&head).unwrap(), None);
    mended(&setting, &first);
}

/// The head has 100 kB, and is sent as a difference to its parent, which is above the limit.
pub(super) fn a_base_that_is_too_large_is_w603() {
    let (setting, first) = accepted();
    let base = talkative(&setting, &first, 2 << 20);
    let head = talkative(&setting, &base, 100_000);
    setting.repo.reset(&head.to_string()).unwrap();
    setting.push(Push::FastForward);
    setting.repack();
    let error = setting.check_fetch_refused(&setting.remote(), GitCode::W603);
    assert!(matches!(&error, ExchangeError::CommitBytes { commit, .. } if *commit == base.to_string()), "{error:?}");
    mended(&setting, &first);
}

/// Sent whole, so that nothing of it is ever in memory.
pub(super) fn a_large_file_is_w603() {
    let (setting, first) = accepted();
    setting.commit("disk", vec![0; 40 << 20]);
    setting.push(Push::FastForward);
    let limit = git::Limits::OBJECT_BYTES;
    assert_eq!(setting.check_fetch_refused(&setting.remote(), GitCode::W603), ExchangeError::ObjectBytes { limit });
    mended(&setting, &first);
}

/// A head that libgit2 cannot parse is fetched, since it is judged; the next fetch does not stumble over it.
pub(super) fn what_git_cannot_parse_does_not_stay() {
    let (setting, first) = accepted();
    let raw = format!("tree {}\nparent {first}\nno author\n", setting.repo.rev_parse("HEAD^{tree}").unwrap());
    let head: CommitId = setting.repo.write_object("commit", raw.as_bytes()).unwrap().parse().unwrap();
    setting.repo.push(&setting.server.remote("shop"), &format!("{head}:refs/heads/main"), Push::FastForward).unwrap();
    assert_eq!(setting.fetch(&setting.remote()).unwrap().head, head);
    assert!(setting.mirror.objects().commit(&head).unwrap().is_some());
    mended(&setting, &first);
}

/// Whoever may push any other branch can do this.
pub(super) fn thousands_of_branches_that_begin_alike_hide_nothing() {
    let (setting, first) = accepted();
    setting.note(&first, "{}");
    setting.heartbeat("{}\n");
    let shown = poll(&setting.remote()).unwrap();
    assert!(shown.approvals[0].is_some() && shown.heartbeat.is_some(), "{shown:?}");
    let refs = setting.server.repository("shop").join("packed-refs");
    let tail = "x".repeat(200);
    let branches = |start: &str| {
        let lines = (0..6_000).map(|number| format!("{first} refs/heads/{start}-{number:04}{tail}\n"));
        lines.collect::<String>()
    };
    std::fs::write(&refs, branches("main")).unwrap();
    for _attempt in 0..2 {
        assert_eq!(poll(&setting.remote()).unwrap(), shown);
    }
    // Whoever may push there too makes more that begin like those.
    let beside = |start: &str| {
        let lines = (0..6_000).map(|number| format!("{first} {start}-{number:04}{tail}\n"));
        lines.collect::<String>()
    };
    let all = [&beside("refs/notes/writ-approvals"), &branches("main"), &beside(git::HEARTBEAT_REF)];
    std::fs::write(&refs, all.map(String::as_str).concat()).unwrap();
    assert_eq!(poll(&setting.remote()).unwrap(), shown);
    mended(&setting, &first);
    // The branch itself is gone, and too much is there that could be it.
    std::fs::write(&refs, branches("shop")).unwrap();
    let remote = setting.remote_of("refs/heads/shop", &setting.options());
    let error = exchange(poll(&remote).unwrap_err(), GitCode::W603, &setting);
    assert!(matches!(&error, ExchangeError::Branches { limit: 1_048_576, .. }), "{error:?}");
}

/// Whoever may make branches makes 400,000 of them: a fetch of another one needs neither memory nor bytes for their list.
pub(super) fn branches_of_others_cost_nothing() {
    let (setting, first) = accepted();
    let refs = setting.server.repository("shop").join("packed-refs");
    let lines = (0..400_000).map(|number| format!("{first} refs/heads/{number:06}\n"));
    std::fs::write(&refs, lines.collect::<String>()).unwrap();
    let head = setting.commit("a", "2");
    setting.push(Push::FastForward);
    let limits = git::Limits { bytes: 10_000, objects: 1_000, object_bytes: 1_000, ..setting.options().limits };
    let fetched = setting.fetch(&setting.limited(limits)).unwrap();
    assert_eq!((fetched.head, fetched.objects, fetched.requests), (head, 3, 2));
}

/// What is reckoned per object suffices: the limit of memory follows the limit of objects.
pub(super) fn as_many_objects_as_may_be_fit_into_memory() {
    const FOLDERS: usize = 300;
    let setting = Setting::new();
    let mut stream = "commit refs/heads/main\ncommitter A <a@example.com> 1767225600 +0000\ndata 1\nx\n".to_owned();
    for number in 0..FOLDERS * FOLDERS {
        let (content, folder) = (number.to_string(), number / FOLDERS);
        let line = format!("M 100644 inline {folder}/{number}\ndata {}\n{content}\n", content.len());
        stream.push_str(&line);
    }
    let file = setting.dir.path().join("import");
    std::fs::write(&file, stream).unwrap();
    let mut git = testkit::hermetic_command("git", setting.dir.path());
    git.current_dir(setting.server.repository("shop")).args(["fast-import", "--quiet"]);
    testkit::run(git.stdin(std::fs::File::open(file).unwrap())).unwrap();
    let objects = (FOLDERS * FOLDERS + FOLDERS + 2) as u64;
    let limits = git::Limits { objects, object_bytes: 20_000, ..setting.options().limits };
    assert_eq!(setting.fetch(&setting.limited(limits)).unwrap().objects, objects);
}
