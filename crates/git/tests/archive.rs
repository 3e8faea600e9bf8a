//! What was accepted is kept apart from the mirror, and read back when the mirror has lost it.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
};

use git::{Archive, ArchiveError, Objects, Others, Wanted};
use manifest::RepoPath;
use tempfile::TempDir;
use testkit::SignedRepo;
use trust::{CommitId, History as _};

struct Setting {
    repo: SignedRepo,
    dir: TempDir,
    archive: Archive,
}

fn path(text: &str) -> RepoPath {
    text.parse().unwrap()
}

fn folders(names: &[&str]) -> BTreeSet<RepoPath> {
    names.iter().map(|name| path(name)).collect()
}

impl Setting {
    fn new() -> Self {
        Self::of(SignedRepo::new().unwrap())
    }

    fn of(repo: SignedRepo) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::new(dir.path().join("accepted/shop.config"));
        Self { repo, dir, archive }
    }

    fn file(&self) -> PathBuf {
        self.archive.folder().join("objects")
    }

    fn commit(&self, files: &[(&str, &str)]) -> CommitId {
        files.iter().for_each(|(path, text)| self.repo.write(path, text).unwrap());
        self.repo.commit_unsigned("change").unwrap().parse().unwrap()
    }

    fn keep(&self, wanted: &[(CommitId, &[&str])], others: Others) -> Result<(), ArchiveError> {
        let objects = Objects::open(&self.repo.path())?;
        self.archive.keep(Some(&objects), &of(wanted), others)
    }

    /// What is kept of files in these folders.
    fn kept(&self, commit: &CommitId, names: &[&str]) -> Result<Vec<(String, String)>, ArchiveError> {
        let objects = self.archive.open(commit, &folders(names))?;
        let mut files = Vec::new();
        for name in names {
            for (path, bytes) in objects.files(commit, &path(name))? {
                files.push((path.to_string(), String::from_utf8_lossy(&bytes).into_owned()));
            }
        }
        Ok(files)
    }
}

fn of(wanted: &[(CommitId, &[&str])]) -> Wanted {
    wanted.iter().map(|(commit, names)| (*commit, folders(names))).collect()
}

fn pairs(files: &[(&str, &str)]) -> Vec<(String, String)> {
    files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
}

fn length(file: &Path) -> u64 {
    fs::metadata(file).unwrap().len()
}

#[test]
fn what_is_kept_is_read_without_the_mirror_and_nothing_else() {
    let setting = Setting::new();
    let first = setting.commit(&[("apps/a/x", "1"), ("apps/b/y", "2"), ("policies/p", "3"), ("other/z", "4")]);
    assert!(setting.kept(&first, &["apps/a"]).is_err(), "there is nothing yet");
    setting.keep(&[(first, &["apps/a", "policies"])], Others::Go).unwrap();
    fs::remove_dir_all(setting.repo.path()).unwrap();
    assert_eq!(
        setting.kept(&first, &["apps/a", "policies"]).unwrap(),
        pairs(&[("apps/a/x", "1"), ("policies/p", "3")])
    );
    assert_eq!(setting.kept(&first, &["absent"]).unwrap(), []);
    let objects = setting.archive.open(&first, &folders(&["apps/a"])).unwrap();
    // The way there is known; what lies beside it is not, and is missed instead of taken for absent.
    assert!(objects.read(&first, &path("apps/b/y")).is_err());
    assert!(objects.read(&first, &path("other/z")).is_err());
    assert!(objects.files(&first, &RepoPath::root()).is_err());
    assert!(setting.kept(&first, &["apps/b"]).is_err());
}

#[test]
fn the_hash_of_the_repository_is_the_one_that_counts() {
    let setting = Setting::of(SignedRepo::with_ids("sha256").unwrap());
    let first = setting.commit(&[("apps/a", "1")]);
    setting.keep(&[(first, &["apps"])], Others::Go).unwrap();
    assert_eq!(setting.kept(&first, &["apps"]).unwrap(), pairs(&[("apps/a", "1")]));
}

#[test]
fn a_small_change_is_appended_and_what_nobody_wants_goes() {
    let setting = Setting::new();
    let large = "x".repeat(10_000);
    let first = setting.commit(&[("apps/large", &large), ("apps/a", "1")]);
    setting.keep(&[(first, &["apps"])], Others::Go).unwrap();
    let before = length(&setting.file());
    let second = setting.commit(&[("apps/a", "2")]);
    setting.keep(&[(second, &["apps"])], Others::Go).unwrap();
    assert!(length(&setting.file()) < before + 1_000, "what is there is not written again");
    // Less than half of it is not wanted, so it is still there.
    assert_eq!(setting.kept(&first, &["apps"]).unwrap().len(), 2);
    let third = setting.commit(&[("apps/large", "small")]);
    setting.keep(&[(third, &["apps"])], Others::Stay).unwrap();
    assert_eq!(setting.kept(&second, &["apps"]).unwrap().len(), 2, "somebody may ask for it");
    setting.keep(&[(third, &["apps"])], Others::Go).unwrap();
    assert!(length(&setting.file()) < 1_000);
    assert!(setting.kept(&second, &["apps"]).is_err());
    assert_eq!(setting.kept(&third, &["apps"]).unwrap(), pairs(&[("apps/a", "2"), ("apps/large", "small")]));
}

/// Less than half of what is there is not wanted, and it is in the way of what is.
#[test]
fn what_nobody_wants_takes_no_room_of_what_is_wanted() {
    let mut setting = Setting::new();
    setting.archive = setting.archive.with_room(50_000);
    let (stays, goes, comes) = ("s".repeat(21_000), "g".repeat(19_000), "c".repeat(12_000));
    let first = setting.commit(&[("apps/stays", &stays), ("apps/goes", &goes)]);
    setting.keep(&[(first, &["apps"])], Others::Go).unwrap();
    setting.repo.git(&["rm", "-q", "apps/goes"]).unwrap();
    let second = setting.commit(&[("apps/comes", &comes)]);
    let wanted: &[(CommitId, &[&str])] = &[(second, &["apps"])];
    let too_large = |others| matches!(setting.keep(wanted, others), Err(ArchiveError::TooLarge { limit: 50_000 }));
    assert!(too_large(Others::Stay), "somebody may ask for it");
    assert_eq!(setting.kept(&first, &["apps"]).unwrap().len(), 2);
    setting.keep(wanted, Others::Go).unwrap();
    assert_eq!(setting.kept(&second, &["apps"]).unwrap(), pairs(&[("apps/comes", &comes), ("apps/stays", &stays)]));
    assert!(setting.kept(&first, &["apps"]).is_err());
    // Too much is too much.
    let third = setting.commit(&[("apps/more", &"m".repeat(18_000))]);
    let error = setting.keep(&[(third, &["apps"])], Others::Go).unwrap_err();
    assert!(matches!(error, ArchiveError::TooLarge { .. }), "{error}");
    assert_eq!(setting.kept(&second, &["apps"]).unwrap().len(), 2, "what was kept stays");
}

#[test]
fn what_is_kept_stays_when_the_mirror_is_gone() {
    let setting = Setting::new();
    let first = setting.commit(&[("apps/a", "1")]);
    setting.keep(&[(first, &["apps"])], Others::Go).unwrap();
    for others in [Others::Stay, Others::Go] {
        setting.archive.keep(None, &of(&[(first, &["apps"])]), others).unwrap();
        assert_eq!(setting.kept(&first, &["apps"]).unwrap(), pairs(&[("apps/a", "1")]));
    }
    // What is nowhere is told, and takes nothing else along.
    let absent: CommitId = "ab".repeat(20).parse().unwrap();
    let second = setting.commit(&[("apps/a", "2")]);
    setting.keep(&[(absent, &["apps"]), (second, &["apps"])], Others::Go).unwrap_err();
    assert_eq!(setting.kept(&first, &["apps"]).unwrap(), pairs(&[("apps/a", "1")]));
    assert_eq!(setting.kept(&second, &["apps"]).unwrap(), pairs(&[("apps/a", "2")]));
}

/// Every byte of the file, turned over: nothing is ever read that the commit does not name.
#[test]
fn what_is_damaged_is_never_used_and_is_written_anew() {
    let setting = Setting::new();
    let first = setting.commit(&[("apps/a", "1")]);
    let good = pairs(&[("apps/a", "1")]);
    setting.keep(&[(first, &["apps"])], Others::Go).unwrap();
    let whole = fs::read(setting.file()).unwrap();
    let mut refused = 0;
    for place in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x04;
        fs::write(setting.file(), bytes).unwrap();
        match setting.kept(&first, &["apps"]) {
            Ok(found) => assert_eq!(found, good, "byte {place}"),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > whole.len() / 2, "{refused} of {}", whole.len());
    for length in [0, 10, 40, whole.len() - 1] {
        fs::write(setting.file(), &whole[..length]).unwrap();
        // What a crash left of an earlier attempt is in nobody's way.
        fs::write(setting.archive.folder().join("objects.new"), "half").unwrap();
        setting.keep(&[(first, &["apps"])], Others::Go).unwrap();
        assert_eq!(setting.kept(&first, &["apps"]).unwrap(), good);
    }
}

#[test]
fn an_interrupted_write_takes_nothing_along() {
    let setting = Setting::new();
    let first = setting.commit(&[("apps/a", "1")]);
    setting.keep(&[(first, &["apps"])], Others::Go).unwrap();
    let mut file = OpenOptions::new().append(true).open(setting.file()).unwrap();
    file.write_all(b"blob e69de29bb2d1d6434b8b29ae775ad8c2e48c5391 100\nhalf").unwrap();
    assert_eq!(setting.kept(&first, &["apps"]).unwrap(), pairs(&[("apps/a", "1")]));
    let second = setting.commit(&[("apps/a", "2")]);
    setting.keep(&[(first, &["apps"]), (second, &["apps"])], Others::Go).unwrap();
    for (commit, text) in [(first, "1"), (second, "2")] {
        assert_eq!(setting.kept(&commit, &["apps"]).unwrap(), pairs(&[("apps/a", text)]));
    }
    drop(setting.dir);
}
