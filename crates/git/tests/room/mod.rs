//! How much a mirror takes, and what stays in it.

use std::{
    fs::{self, File},
    path::Path,
    thread,
    time::Duration,
};

use git::{ExchangeError, GitCode, Limits, Mirror};
use manifest::RepoPath;
use testkit::{Push, wait_until};
use trust::{CommitId, History as _};

use super::{Setting, noise};

/// What does not get smaller when it is packed.
const PUSHED: usize = 300_000;

/// A file of that size that is like no other number's.
fn image(number: u8) -> Vec<u8> {
    noise(PUSHED).into_iter().map(|byte| byte ^ number).collect()
}

/// Bytes of all files of the mirror.
fn size(setting: &Setting) -> u64 {
    setting.files().iter().map(|file| fs::metadata(file).unwrap().len()).sum()
}

fn push(setting: &Setting, path: &str, content: impl AsRef<[u8]>) -> CommitId {
    let head = setting.commit(path, content);
    setting.push(Push::Force);
    head
}

/// A mirror that has a first commit, accepted.
fn accepted() -> (Setting, CommitId) {
    let setting = Setting::new();
    let first = push(&setting, "a", "1");
    setting.fetch(&setting.remote()).unwrap();
    setting.mirror.pin("verified", &first).unwrap();
    (setting, first)
}

pub(super) fn refused_pushes_do_not_pile_up() {
    let (setting, first) = accepted();
    let empty = size(&setting);
    for number in 0..4 {
        setting.repo.reset(&first.to_string()).unwrap();
        let head = push(&setting, "b", image(number));
        assert_eq!(setting.fetch(&setting.remote()).unwrap().head, head);
        assert!(setting.mirror.objects().commit(&head).unwrap().is_some(), "it is there to be judged");
        assert!(size(&setting) < empty + 2 * PUSHED as u64, "{}", size(&setting));
    }
    // The branch is mended: what was refused is gone.
    setting.repo.reset(&first.to_string()).unwrap();
    let head = push(&setting, "a", "2");
    assert_eq!(setting.fetch(&setting.remote()).unwrap().objects, 3);
    setting.mirror.pin("verified", &head).unwrap();
    assert!(size(&setting) < empty + PUSHED as u64, "{}", size(&setting));
    assert!(setting.mirror.objects().is_ancestor(&first, &head).unwrap());
}

/// What is accepted and what is fetched count together; whatever was refused in between does not.
pub(super) fn a_mirror_that_would_be_too_large_is_w603() {
    let (setting, first) = accepted();
    let limit = size(&setting) + 5 * PUSHED as u64 / 2;
    let remote = setting.limited(Limits { mirror_bytes: limit, ..setting.options().limits });
    let large = push(&setting, "b", image(1));
    setting.fetch(&remote).unwrap();
    setting.mirror.pin("verified", &large).unwrap();
    push(&setting, "c", image(2));
    setting.fetch(&remote).unwrap();
    push(&setting, "d", image(3));
    let before = setting.mirror.incoming().unwrap();
    let error = setting.fetch(&remote).unwrap_err();
    let mirror = setting.mirror.dir().display().to_string();
    let full = ExchangeError::MirrorBytes { mirror: mirror.clone(), limit };
    assert!(error.finding().fix.starts_with(&format!("rm -r {mirror} # ")), "{}", error.finding());
    assert_eq!(super::exchange(error, GitCode::W603, &setting), full);
    assert_ne!(setting.mirror.incoming().unwrap(), before, "what is not pinned made room");
    assert_eq!(setting.check_fetch_refused(&remote, GitCode::W603), full);
    assert!(size(&setting) < limit);
    // Nothing of what was accepted is lost, and the branch can be mended.
    assert_eq!(setting.mirror.objects().read(&large, &path("b")).unwrap().map(|file| file.len()), Some(PUSHED));
    setting.repo.reset(&large.to_string()).unwrap();
    let head = push(&setting, "a", "2");
    assert_eq!(setting.fetch(&remote).unwrap().head, head);
    assert!(setting.mirror.objects().is_ancestor(&first, &head).unwrap());
}

/// A pin makes a pack stay: the pack moves, then its index, then the ref is written.
pub(super) fn what_is_pinned_stays_whenever_the_power_goes() {
    for moved in [&[][..], &["pack"], &["pack", "idx"]] {
        let (setting, first) = accepted();
        let head = push(&setting, "a", "2");
        setting.fetch(&setting.remote()).unwrap();
        for ending in moved {
            for file in setting.files().iter().filter(|file| file.extension().is_some_and(|found| found == *ending)) {
                if file.starts_with(setting.mirror.dir().join("incoming")) {
                    fs::rename(file, setting.mirror.dir().join("objects/pack").join(file.file_name().unwrap()))
                        .unwrap();
                }
            }
        }
        // It starts again: the same head is fetched or still there, and is pinned.
        let mirror = Mirror::open(setting.mirror.dir()).unwrap();
        assert!(mirror.objects().commit(&first).unwrap().is_some());
        assert_eq!(mirror.fetch(&setting.remote(), &super::child()).unwrap().head, head);
        mirror.pin("verified", &head).unwrap();
        setting.repo.reset(&first.to_string()).unwrap();
        push(&setting, "z", "3");
        mirror.fetch(&setting.remote(), &super::child()).unwrap();
        for mirror in [&mirror, &Mirror::open(setting.mirror.dir()).unwrap()] {
            assert_eq!(mirror.objects().read(&head, &path("a")).unwrap().as_deref(), Some(&b"2"[..]), "{moved:?}");
        }
    }
}

pub(super) fn whoever_reads_goes_on_when_a_pack_moves() {
    let (setting, first) = accepted();
    let head = push(&setting, "a", "2");
    setting.fetch(&setting.remote()).unwrap();
    // One has read from the pack, one has only seen that it is there.
    let readers = [Mirror::open(setting.mirror.dir()).unwrap(), Mirror::open(setting.mirror.dir()).unwrap()];
    assert!(readers[0].objects().commit(&head).unwrap().is_some());
    assert!(readers[1].objects().commit(&first).unwrap().is_some());
    setting.mirror.pin("verified", &head).unwrap();
    for mirror in &readers {
        assert_eq!(mirror.objects().read(&head, &path("a")).unwrap().as_deref(), Some(&b"2"[..]));
    }
}

/// The servers of one owner keep neither another owner waiting nor anything from being there meanwhile.
pub(super) fn whoever_waits_for_a_turn_loses_nothing() {
    let stalled = Setting::new();
    let (setting, _) = accepted();
    let head = push(&setting, "b", "2");
    setting.fetch(&setting.remote()).unwrap();
    let (started, go) = (stalled.dir.path().join("started"), stalled.dir.path().join("go"));
    let shown = |path: &Path| manifest::shell_quote(&path.display().to_string());
    let script = format!("touch {}; until [ -e {} ]; do sleep 0.02; done", shown(&started), shown(&go));
    let is_there = |path: &Path| {
        let there = || if path.exists() { Ok(()) } else { Err("it is not") };
        wait_until(&format!("{} is there", path.display()), Duration::from_secs(60), there).unwrap();
    };
    let fetch = |setting: &Setting, child: git::FetchChild| {
        let (dir, remote) = (setting.mirror.dir().to_owned(), setting.remote());
        let lock = dir.join("writ-fetch.lock");
        fs::remove_file(&lock).ok();
        let fetching = thread::spawn(move || Mirror::open(&dir).unwrap().fetch(&remote, &child));
        is_there(&lock);
        fetching
    };
    let first = fetch(&stalled, super::shell(&script).owned_by("a"));
    is_there(&started);
    let second = fetch(&setting, super::child().owned_by("a"));
    let (other, _) = accepted();
    other.mirror.fetch(&other.remote(), &super::child().owned_by("b")).unwrap();
    assert!(!second.is_finished());
    assert_eq!(setting.mirror.incoming().unwrap(), Some(head));
    assert!(setting.mirror.objects().commit(&head).unwrap().is_some());
    File::create(go).unwrap();
    first.join().unwrap().unwrap_err();
    assert_eq!(second.join().unwrap().unwrap().head, head);
}

fn path(text: &str) -> RepoPath {
    text.parse().unwrap()
}
