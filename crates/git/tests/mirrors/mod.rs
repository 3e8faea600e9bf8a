//! What a mirror keeps, and who may write to it.

use std::{fs, path::Path};

use git::{GitCode, GitError, Mirror, MirrorError};
use manifest::RepoPath;
use testkit::Push;
use trust::History as _;

use super::{Case, Setting, child};

pub(super) const CASES: &[Case] = &[
    ("a_mirror_that_others_wrote_to_is_w604", a_mirror_that_others_wrote_to_is_w604),
    ("pins_stay", pins_stay),
    ("one_fetch_at_a_time", one_fetch_at_a_time),
    ("leftovers_of_an_interrupted_fetch_are_removed", leftovers_of_an_interrupted_fetch_are_removed),
];

fn a_mirror_that_others_wrote_to_is_w604() {
    let setting = Setting::new();
    setting.commit("a", "1");
    setting.push(Push::FastForward);
    setting.fetch(&setting.remote()).unwrap();
    let id = format!("{}\n", "1".repeat(40));
    for (path, content) in [
        ("refs/replace/1111111111111111111111111111111111111111", id.as_str()),
        ("info/grafts", "x"),
        ("objects/info/alternates", "/srv/other/objects\n"),
        ("incoming/info/alternates", "/srv/other/objects\n"),
        ("incoming/11/1111", "x"),
        ("shallow", &id),
        ("packed-refs", ""),
        ("refs/heads/main", &id),
        ("refs/tags/v1", &id),
        ("refs/writ/other", &id),
        ("config", "[core]\n\tbare = true\n[include]\n\tpath = /tmp/x\n"),
    ] {
        let file = setting.mirror.dir().join(path);
        let before = fs::read(&file).ok();
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, content).unwrap();
        let error = GitError::from(Mirror::open(setting.mirror.dir()).unwrap_err());
        assert_eq!(error.code(), GitCode::W604, "{path}: {error:?}");
        assert!(
            matches!(setting.fetch(&setting.remote()), Err(GitError::Mirror(MirrorError::Foreign { .. }))),
            "{path}"
        );
        match before {
            Some(bytes) => fs::write(&file, bytes).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        if path.starts_with("refs/replace") || path.starts_with("incoming/") {
            fs::remove_dir(file.parent().unwrap()).unwrap();
        }
    }
    Mirror::open(setting.mirror.dir()).unwrap();
    let error = Mirror::open(Path::new("/proc/writ-cannot-write-here")).unwrap_err();
    assert_eq!(GitError::from(error).code(), GitCode::W610);
}

fn pins_stay() {
    let setting = Setting::new();
    let first = setting.commit("a", "1");
    setting.push(Push::FastForward);
    setting.fetch(&setting.remote()).unwrap();
    let mirror = &setting.mirror;
    mirror.pin("accepted/shop", &first).unwrap();
    mirror.pin("applied/shop.2", &first).unwrap();
    // An interrupted write leaves its lock; it holds nobody up.
    fs::write(mirror.dir().join("refs/writ/pins/accepted/shop.lock"), "").unwrap();
    setting.repo.orphan("other").unwrap();
    let unrelated = setting.commit("b", "2");
    setting.push(Push::Force);
    setting.fetch(&setting.remote()).unwrap();
    assert_eq!(mirror.pins().unwrap(), [("accepted/shop".to_owned(), first), ("applied/shop.2".to_owned(), first)]);
    mirror.pin("accepted/shop", &unrelated).unwrap();
    mirror.unpin("applied/shop.2").unwrap();
    mirror.unpin("applied/shop.2").unwrap();
    assert_eq!(Mirror::open(mirror.dir()).unwrap().pins().unwrap(), [("accepted/shop".to_owned(), unrelated)]);
    assert!(mirror.objects().commit(&first).unwrap().is_some());
    for name in ["", "/", "a/", "../x", "a..b", "a.lock", ".a", "a b", "ü", &"x".repeat(201)] {
        assert!(matches!(mirror.pin(name, &first), Err(MirrorError::PinName { .. })), "{name:?}");
    }
    assert!(mirror.pin("absent", &"1".repeat(40).parse().unwrap()).is_err());
}

fn one_fetch_at_a_time() {
    let setting = Setting::new();
    let first = setting.commit("a", "1");
    setting.push(Push::FastForward);
    let lock = fs::File::create(setting.mirror.dir().join("writ-fetch.lock")).unwrap();
    lock.lock().unwrap();
    assert!(matches!(setting.fetch(&setting.remote()), Err(GitError::Mirror(MirrorError::Busy { .. }))));
    drop(lock);
    // Each from a thread that ends right after: the child outlives no process, but any thread.
    let (dir, remote) = (setting.mirror.dir().to_owned(), setting.remote());
    let fetched =
        std::thread::spawn(move || Mirror::open(&dir).unwrap().fetch(&remote, &child()).unwrap()).join().unwrap();
    assert_eq!(fetched.head, first);
    // A mirror that was open before sees what another one fetched.
    assert_eq!(setting.mirror.objects().list(&first, &RepoPath::root()).unwrap().len(), 1);
}

fn leftovers_of_an_interrupted_fetch_are_removed() {
    let setting = Setting::new();
    let first = setting.commit("a", "1");
    setting.push(Push::FastForward);
    fs::create_dir_all(setting.mirror.dir().join("refs/writ")).unwrap();
    let left = [
        "objects/pack/pack_git2_123",
        "objects/pack/pack-1.idx",
        "objects/pack/pack-2.pack",
        "refs/writ/incoming.lock",
        "arriving/objects/pack/pack_git2_456",
    ];
    fs::create_dir_all(setting.mirror.dir().join("arriving/objects/pack")).unwrap();
    for name in left {
        fs::write(setting.mirror.dir().join(name), "").unwrap();
    }
    assert_eq!(setting.fetch(&setting.remote()).unwrap().head, first);
    for name in left {
        assert!(!setting.mirror.dir().join(name).exists(), "{name}");
    }
}
