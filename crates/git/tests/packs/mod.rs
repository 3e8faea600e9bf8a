//! A mirror that was fetched very often: one pack for each fetch, more than the child may have open.

use std::{
    fmt::Write as _,
    fs::{self, File},
    path::Path,
};

use git::{Limits, Mirror};
use manifest::RepoPath;
use testkit::{Push, hermetic_command, run};
use trust::{CommitId, History as _};

use super::{Setting, noise};

/// More than the descriptors of the child, and no number at which a mirror is compacted.
const FETCHES: u32 = 601;

/// Commits of one changed file each, every one in a pack of its own, as `git fast-import` reads them.
fn import(repository: &Path, home: &Path, branch: &str, commits: u32) {
    let mut stream = String::new();
    for number in 1..=commits {
        let time = 1_767_225_600 + number;
        let content = format!("value: {number}\n");
        write!(stream, "commit {branch}\nmark :{number}\ncommitter A <a@example.com> {time} +0000\ndata 1\nx\n")
            .unwrap();
        if number > 1 {
            writeln!(stream, "from :{}", number - 1).unwrap();
        }
        write!(stream, "M 100644 inline a.yaml\ndata {}\n{content}\ncheckpoint\n\n", content.len()).unwrap();
    }
    let file = home.join("import");
    fs::write(&file, stream).unwrap();
    let mut git = hermetic_command("git", home);
    git.current_dir(repository).args(["-c", "fastimport.unpackLimit=0", "fast-import", "--quiet", "--force"]);
    run(git.stdin(File::open(file).unwrap())).unwrap();
}

fn packs(mirror: &Mirror) -> usize {
    let named = |end: &str| {
        let files = fs::read_dir(mirror.dir().join("objects/pack")).unwrap();
        files.filter(|file| file.as_ref().unwrap().file_name().to_string_lossy().ends_with(end)).count()
    };
    assert_eq!(named(".pack"), named(".idx"));
    named(".pack")
}

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

pub(super) fn a_mirror_that_was_fetched_600_times_goes_on() {
    let setting = Setting::new();
    let home = setting.dir.path();
    import(&setting.repo.path(), home, "refs/heads/main", FETCHES + 1);
    setting.repo.push(&setting.server.remote("shop"), "refs/heads/main:refs/heads/main", Push::FastForward).unwrap();
    import(setting.mirror.dir(), home, "refs/writ/incoming", FETCHES);
    assert_eq!(packs(&setting.mirror), FETCHES as usize);
    setting.mirror.pin("verified", &setting.mirror.incoming().unwrap().unwrap()).unwrap();
    let before = open_files();
    let fetched = setting.fetch(&setting.remote()).unwrap();
    // Only what is new: the child could read what all the packs hold.
    assert_eq!(fetched.objects, 3);
    setting.mirror.pin("verified", &fetched.head).unwrap();
    assert_eq!(packs(&setting.mirror), FETCHES as usize + 1);
    // All of it can be read, by a mirror that was open all the time and by a fresh one.
    for mirror in [&setting.mirror, &Mirror::open(setting.mirror.dir()).unwrap()] {
        read_all(mirror, fetched.head, FETCHES + 1);
    }
    assert!(open_files() < before + 200, "{} files are open", open_files());
}

/// Reads every commit from a head down, which is this far from the first.
fn read_all(mirror: &Mirror, head: CommitId, commits: u32) {
    let path: RepoPath = "a.yaml".parse().unwrap();
    let (mut at, mut number) = (head, commits);
    loop {
        assert_eq!(mirror.objects().read(&at, &path).unwrap(), Some(format!("value: {number}\n").into_bytes()));
        let raw = String::from_utf8(mirror.objects().commit(&at).unwrap().unwrap()).unwrap();
        let Some(parent) = raw.lines().find_map(|line| line.strip_prefix("parent ")) else { break };
        (at, number) = (parent.parse().unwrap(), number - 1);
    }
    assert_eq!(number, 1);
}

pub(super) fn a_mirror_of_many_packs_is_compacted() {
    is_compacted(&Setting::new());
}

pub(super) fn is_compacted(setting: &Setting) {
    const BEFORE: u32 = 50;
    let home = setting.dir.path();
    import(&setting.repo.path(), home, "refs/heads/main", BEFORE + 1);
    setting.repo.push(&setting.server.remote("shop"), "refs/heads/main:refs/heads/main", Push::FastForward).unwrap();
    import(setting.mirror.dir(), home, "refs/writ/incoming", BEFORE);
    // Whoever reads meanwhile, with all indexes open and only some packs, goes on.
    let reader = Mirror::open(setting.mirror.dir()).unwrap();
    let old = reader.incoming().unwrap().unwrap();
    assert!(reader.objects().commit(&old).unwrap().is_some());
    reader.pin("verified", &old).unwrap();
    let fetched = setting.fetch(&setting.remote()).unwrap();
    assert_eq!((fetched.objects, packs(&setting.mirror)), (3, 1));
    read_all(&reader, old, BEFORE);
    read_all(&setting.mirror, fetched.head, BEFORE + 1);
    read_all(&Mirror::open(setting.mirror.dir()).unwrap(), fetched.head, BEFORE + 1);
    // And so do fetches.
    setting.mirror.pin("verified", &fetched.head).unwrap();
    assert_eq!(packs(&setting.mirror), 2);
    import(&setting.repo.path(), home, "refs/heads/main", BEFORE + 2);
    setting.repo.push(&setting.server.remote("shop"), "refs/heads/main:refs/heads/main", Push::FastForward).unwrap();
    let fetched = setting.fetch(&setting.remote()).unwrap();
    assert_eq!(fetched.objects, 3);
    read_all(&setting.mirror, fetched.head, BEFORE + 2);
    read_all(&reader, fetched.head, BEFORE + 2);
}

/// A repository of so many commits, and its mirror with a pack for each, the newest pinned.
fn many_packs(commits: u32) -> (Setting, CommitId) {
    let setting = Setting::new();
    let home = setting.dir.path();
    import(&setting.repo.path(), home, "refs/heads/main", commits);
    import(setting.mirror.dir(), home, "refs/writ/incoming", commits);
    setting.repo.reset("main").unwrap();
    let newest = setting.mirror.incoming().unwrap().unwrap();
    setting.mirror.pin("verified", &newest).unwrap();
    (setting, newest)
}

/// Objects that would need much memory stay where they are, and everything else is compacted.
pub(super) fn a_pack_with_a_large_object_stays() {
    const BEFORE: u32 = 48;
    let (setting, _) = many_packs(BEFORE);
    // The third fetch finds fifty packs: two are left, and its own is the third.
    for (content, packs_then) in [("x".repeat(3 << 20), 49), ("y".to_owned(), 50), ("z".to_owned(), 3)] {
        let bytes = content.len();
        let head = setting.commit("large", content);
        setting.push(Push::Force);
        assert_eq!(setting.fetch(&setting.remote()).unwrap().head, head);
        setting.mirror.pin("verified", &head).unwrap();
        assert_eq!(packs(&setting.mirror), packs_then);
        let read = setting.mirror.objects().read(&head, &"large".parse().unwrap()).unwrap();
        assert_eq!(read.map(|file| file.len()), Some(bytes));
    }
    let old: CommitId = setting.repo.rev_parse("HEAD~3").unwrap().parse().unwrap();
    read_all(&Mirror::open(setting.mirror.dir()).unwrap(), old, BEFORE);
}

/// A mirror that is nearly as large as it may be has no room for all of it once more, but for its many small packs.
pub(super) fn a_mirror_that_is_nearly_full_is_compacted() {
    const BEFORE: u32 = 49;
    let (setting, _) = many_packs(BEFORE);
    // Not too large to be compacted, were there room for it.
    setting.commit("large", noise(600_000));
    setting.push(Push::Force);
    setting.fetch(&setting.remote()).unwrap();
    setting.mirror.pin("verified", &setting.mirror.incoming().unwrap().unwrap()).unwrap();
    setting.commit("large", "y");
    setting.push(Push::Force);
    let remote = setting.limited(Limits { mirror_bytes: 1_000_000, ..setting.options().limits });
    let fetched = setting.mirror.fetch(&remote, &super::child()).unwrap();
    assert_eq!((fetched.objects, packs(&setting.mirror)), (3, 2));
    let old: CommitId = setting.repo.rev_parse("HEAD~2").unwrap().parse().unwrap();
    read_all(&Mirror::open(setting.mirror.dir()).unwrap(), old, BEFORE);
}

/// A push of which only the first commit was accepted: its objects come together, and what was refused goes again.
pub(super) fn what_lies_above_a_pin_goes_when_the_mirror_is_compacted() {
    const BEFORE: u32 = 49;
    let (setting, old) = many_packs(BEFORE);
    let good = setting.commit("b", "good");
    let refused = setting.commit("c", noise(600_000));
    setting.push(Push::Force);
    setting.fetch(&setting.remote()).unwrap();
    setting.mirror.pin("verified", &good).unwrap();
    assert!(setting.mirror.objects().commit(&refused).unwrap().is_some());
    setting.repo.reset(&good.to_string()).unwrap();
    let head = setting.commit("b", "better");
    setting.push(Push::Force);
    assert_eq!(setting.fetch(&setting.remote()).unwrap().objects, 3);
    assert_eq!(packs(&setting.mirror), 1);
    let mirror = Mirror::open(setting.mirror.dir()).unwrap();
    assert_eq!(mirror.objects().commit(&refused).unwrap(), None);
    let bytes: u64 = setting.files().iter().map(|file| fs::metadata(file).unwrap().len()).sum();
    assert!(bytes < 100_000, "{bytes}");
    read_all(&mirror, old, BEFORE);
    mirror.pin("verified", &head).unwrap();
    for (commit, content) in [(good, "good"), (head, "better")] {
        assert_eq!(mirror.objects().read(&commit, &"b".parse().unwrap()).unwrap(), Some(content.as_bytes().to_vec()));
        assert!(mirror.objects().is_ancestor(&old, &commit).unwrap());
    }
}

pub(super) fn one_pin_keeps_a_line() {
    let setting = Setting::new();
    let ids: Vec<CommitId> = ["1", "2", "3"].map(|content| setting.commit("a", content)).into();
    setting.push(Push::FastForward);
    setting.fetch(&setting.remote()).unwrap();
    let mirror = &setting.mirror;
    mirror.pin("applied/shop", &ids[0]).unwrap();
    for id in &ids {
        mirror.pin_line("verified", id).unwrap();
    }
    let name = |id: &CommitId| format!("verified/{id}");
    assert_eq!(mirror.pins().unwrap(), [("applied/shop".to_owned(), ids[0]), (name(&ids[2]), ids[2])]);
    // An older one is pinned beside it, and goes with the next.
    mirror.pin_line("verified", &ids[1]).unwrap();
    assert_eq!(mirror.pins().unwrap().len(), 3);
    // Another line keeps its own.
    setting.repo.orphan("other").unwrap();
    let unrelated = setting.commit("b", "2");
    setting.push(Push::Force);
    setting.fetch(&setting.remote()).unwrap();
    mirror.pin_line("verified", &unrelated).unwrap();
    mirror.pin_line("verified", &ids[2]).unwrap();
    let mut wanted = vec![("applied/shop".to_owned(), ids[0]), (name(&ids[2]), ids[2]), (name(&unrelated), unrelated)];
    wanted.sort();
    assert_eq!(mirror.pins().unwrap(), wanted);
}
