//! What lies beside a commit: envelopes in its note under `refs/notes/writ-approvals`, and in the folder of its tree under
//! `refs/writ/approvals`.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use git2::{ObjectType, Oid};
use manifest::RepoPath;
use trust::{
    Change, CommitId, Entry, History, HistoryError, MAX_ENVELOPE_BYTES, MAX_ENVELOPES, ObjectFormat, TagId, TreeId,
};

use crate::{
    error::GitError,
    fetch::FetchChild,
    format::parse_oid,
    kept::Kept,
    mirror::{Mirror, MirrorError},
    objects::{Objects, Reading},
    poll::Polled,
    remote::{Remote, TrackedRef},
    tree::Node,
};

/// Notes about commits, as `git notes --ref writ-approvals` writes them.
pub const APPROVAL_NOTES: &str = "refs/notes/writ-approvals";
/// Files in folders that are named by the tree they are about.
pub const APPROVAL_TREE: &str = "refs/writ/approvals";

/// Largest note: as many envelopes as count, at the 4 KiB that one has with one signature. All of it is looked at: of 700
/// signatures of 50 µs each, 35 ms; of 2,000 in bundles of no less than 4 KiB, 64 of 5 ms.
const MAX_NOTE_BYTES: u64 = 256 * 1024;
/// Most bytes of the files about one tree that are looked at, and most files: four times a note.
const MAX_BESIDE_BYTES: usize = 1024 * 1024;
const MAX_BESIDE_FILES: usize = 1024;
/// Deepest fan-out of notes that Git makes: one folder for each byte of the longest id.
const MAX_FANOUT: usize = 32;

/// The mirrors of the refs of approvals, beside that of their branch. Nothing of them is ever accepted, so nothing is
/// pinned: each has what was fetched last. What made a step accepted is kept besides.
pub struct Approvals {
    mirrors: [(TrackedRef, Mirror); 2],
    kept: Kept,
}

/// The objects of a branch, with what lies beside its commits.
pub struct Attested<'a> {
    /// The objects.
    pub objects: &'a Objects,
    /// Their approvals.
    pub approvals: &'a Approvals,
}

impl Approvals {
    /// Opens them, or creates them, in folders that begin with the name of the branch's mirror and `@`.
    ///
    /// # Errors
    /// As [`Mirror::open`].
    pub fn open(mirror: &Path) -> Result<Self, MirrorError> {
        Self::open_by(mirror, Mirror::open)
    }

    /// The same for a repository of an object format, as [`Mirror::open_for`].
    ///
    /// # Errors
    /// As [`Mirror::open_for`].
    pub fn open_for(mirror: &Path, format: ObjectFormat) -> Result<Self, MirrorError> {
        Self::open_by(mirror, |dir| Mirror::open_for(dir, format))
    }

    fn open_by(mirror: &Path, open: impl Fn(&Path) -> Result<Mirror, MirrorError>) -> Result<Self, MirrorError> {
        let [notes, tree] = TrackedRef::of_approvals();
        let mirrors = [(notes, open(&beside(mirror, "notes"))?), (tree, open(&beside(mirror, "approvals"))?)];
        Ok(Self { mirrors, kept: Kept::new(beside(mirror, "kept")) })
    }

    /// Keeps what made a step accepted, whatever becomes of the refs.
    ///
    /// # Errors
    /// When it cannot be written, or what is kept already cannot be read.
    pub fn keep(&self, commit: &CommitId, envelopes: &[Vec<u8>]) -> Result<(), MirrorError> {
        self.kept.add(commit, envelopes)
    }

    /// What was fetched last.
    ///
    /// # Errors
    /// When a mirror cannot be read.
    pub fn tips(&self) -> Result<[Option<CommitId>; 2], MirrorError> {
        let [(_, notes), (_, tree)] = &self.mirrors;
        Ok([notes.incoming()?, tree.incoming()?])
    }

    /// Fetches what is not there yet. A ref that is gone takes nothing away: what was said stays said.
    ///
    /// # Errors
    /// As [`Mirror::fetch`], for the first that fails.
    pub fn fetch(&self, remote: &Remote, child: &FetchChild, polled: &Polled) -> Result<(), GitError> {
        for ((reference, mirror), wanted) in self.mirrors.iter().zip(polled.approvals) {
            if wanted.is_some() && mirror.incoming()? != wanted {
                mirror.fetch(&remote.for_approvals(reference.clone()), child)?;
            }
        }
        Ok(())
    }

    fn envelopes(&self, commit: &CommitId, tree: &TreeId) -> Result<Vec<Vec<u8>>, HistoryError> {
        let [notes, files] = self.tips().map_err(|error| HistoryError::Read { reason: error.to_string() })?;
        let [(_, of_notes), (_, of_files)] = &self.mirrors;
        let in_notes = of_notes.objects().in_notes(notes.as_ref(), commit);
        let in_folder = of_files.objects().in_folder(files.as_ref(), tree);
        // First what counted before: nothing that is put beside a commit later pushes it out.
        together(commit, self.kept.read(commit)?, [in_notes, in_folder])
    }
}

/// What counted before and what lies in the two places. Anybody who may push can make one of them unreadable: what is in the
/// other counts all the same, as does what counted before.
fn together(
    commit: &CommitId,
    kept: Vec<Vec<u8>>,
    places: [Result<Vec<Vec<u8>>, HistoryError>; 2],
) -> Result<Vec<Vec<u8>>, HistoryError> {
    let are_kept = !kept.is_empty();
    let mut seen: BTreeSet<Vec<u8>> = kept.iter().cloned().collect();
    let (mut found, mut failed) = (kept, None);
    for place in places {
        match place {
            Ok(envelopes) => {
                found.extend(envelopes.into_iter().filter(|envelope| seen.insert(envelope.clone())));
            }
            // A store that gives no answer may hold what would count.
            Err(error @ HistoryError::Read { .. }) if !are_kept => return Err(error),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    match failed {
        Some(error) if found.is_empty() => Err(error),
        Some(error) => {
            tracing::warn!("a part of what lies beside commit {commit} cannot be read, the rest counts: {error}");
            Ok(found)
        }
        None => Ok(found),
    }
}

impl History for Attested<'_> {
    fn commit(&self, id: &CommitId) -> Result<Option<Vec<u8>>, HistoryError> {
        self.objects.commit(id)
    }

    fn tag(&self, id: &TagId) -> Result<Option<Vec<u8>>, HistoryError> {
        self.objects.tag(id)
    }

    fn changes(&self, from: Option<&CommitId>, to: &CommitId, limit: usize) -> Result<Vec<Change>, HistoryError> {
        self.objects.changes(from, to, limit)
    }

    fn changes_in(
        &self,
        from: Option<&CommitId>,
        to: &CommitId,
        folder: &RepoPath,
        limit: usize,
    ) -> Result<Vec<Change>, HistoryError> {
        self.objects.changes_in(from, to, folder, limit)
    }

    fn entry(&self, commit: &CommitId, path: &RepoPath) -> Result<Option<Entry>, HistoryError> {
        self.objects.entry(commit, path)
    }

    fn read(&self, commit: &CommitId, path: &RepoPath) -> Result<Option<Vec<u8>>, HistoryError> {
        self.objects.read(commit, path)
    }

    fn list(&self, commit: &CommitId, folder: &RepoPath) -> Result<Vec<RepoPath>, HistoryError> {
        self.objects.list(commit, folder)
    }

    fn side_commits(&self, mainline: &CommitId, step: &CommitId, limit: usize) -> Result<Vec<CommitId>, HistoryError> {
        self.objects.side_commits(mainline, step, limit)
    }

    fn is_ancestor(&self, ancestor: &CommitId, of: &CommitId) -> Result<bool, HistoryError> {
        self.objects.is_ancestor(ancestor, of)
    }

    fn attestations(&self, commit: &CommitId, tree: &TreeId) -> Result<Vec<Vec<u8>>, HistoryError> {
        self.approvals.envelopes(commit, tree)
    }
}

impl Objects {
    /// What lies beside a commit in this repository's own refs, as a work tree has them.
    pub(crate) fn envelopes(&self, commit: &CommitId, tree: &TreeId) -> Result<Vec<Vec<u8>>, HistoryError> {
        let in_notes = self.in_notes(self.tip(APPROVAL_NOTES)?.as_ref(), commit);
        let in_folder = self.in_folder(self.tip(APPROVAL_TREE)?.as_ref(), tree);
        together(commit, Vec::new(), [in_notes, in_folder])
    }

    fn in_notes(&self, tip: Option<&CommitId>, commit: &CommitId) -> Result<Vec<Vec<u8>>, HistoryError> {
        let Some(tip) = tip else { return Ok(Vec::new()) };
        let Some(id) = self.note(tip, commit)? else { return Ok(Vec::new()) };
        let reading = self.reading()?;
        Ok(lines(reading.object(id, ObjectType::Blob, MAX_NOTE_BYTES)?.data()).collect())
    }

    fn in_folder(&self, tip: Option<&CommitId>, tree: &TreeId) -> Result<Vec<Vec<u8>>, HistoryError> {
        let Some(tip) = tip else { return Ok(Vec::new()) };
        let missing = |object: String| HistoryError::Missing { object };
        let folder = tree.to_string().parse().map_err(|_invalid| missing(format!("the folder of tree {tree}")))?;
        let (mut found, mut bytes) = (Vec::new(), 0_usize);
        let reading = self.reading()?;
        for (_, entry) in self.entries(tip, &folder)?.into_iter().take(MAX_BESIDE_FILES) {
            let id = parse_oid(&entry.id, self.format()).ok_or_else(|| missing(entry.id.clone()))?;
            match reading.object(id, ObjectType::Blob, MAX_ENVELOPE_BYTES as u64) {
                Ok(object) => {
                    bytes = bytes.saturating_add(object.data().len());
                    found.extend(lines(object.data()));
                }
                // Nobody's approval, and in the way of none.
                Err(HistoryError::Limit { .. }) => {}
                Err(error) => return Err(error),
            }
            if bytes > MAX_BESIDE_BYTES {
                break;
            }
        }
        Ok(found)
    }

    /// The blob of the note about a commit. Git spreads notes over folders of two digits each as they become many.
    fn note(&self, tip: &CommitId, commit: &CommitId) -> Result<Option<Oid>, HistoryError> {
        let mut reading = self.reading()?;
        let (name, mut folder) = (commit.to_string(), String::new());
        let mut rest = name.as_str();
        for _ in 0..MAX_FANOUT {
            if let Some(Node::File(_, id)) = at(&mut reading, tip, &format!("{folder}{rest}"))? {
                return Ok(Some(id));
            }
            let Some((pair, after)) = rest.split_at_checked(2).filter(|(_, after)| !after.is_empty()) else { break };
            let below = format!("{folder}{pair}");
            if !matches!(at(&mut reading, tip, &below)?, Some(Node::Folder(_))) {
                break;
            }
            folder = format!("{below}/");
            rest = after;
        }
        Ok(None)
    }
}

fn at(reading: &mut Reading<'_>, tip: &CommitId, path: &str) -> Result<Option<Node>, HistoryError> {
    let path = path.parse().map_err(|_invalid| HistoryError::Missing { object: path.to_owned() })?;
    reading.at(tip, &path)
}

/// The folder of a mirror that lies beside that of a branch.
pub(crate) fn beside(mirror: &Path, ending: &str) -> PathBuf {
    let name = mirror.file_name().unwrap_or_default().to_string_lossy();
    mirror.with_file_name(format!("{name}@{ending}"))
}

/// As many envelopes as are looked at of a heartbeat, and one more: they begin on a line of their own, as `git notes append` puts them.
pub(crate) fn envelopes(bytes: &[u8]) -> Vec<Vec<u8>> {
    lines(bytes).take(MAX_ENVELOPES + 1).collect()
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    bytes.split(|byte| *byte == b'\n').map(|line| line.trim_ascii().to_vec()).filter(|line| !line.is_empty())
}
