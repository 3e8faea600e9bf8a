//! What lies beside a commit: envelopes in its note under `refs/notes/writ-approvals`, and in the folder of its tree under
//! `refs/writ/approvals`.

use std::path::{Path, PathBuf};

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

/// Largest note: as many envelopes as are looked at, at the 4 KiB that one has with one signature.
const MAX_NOTE_BYTES: u64 = 256 * 1024;
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
        // First what counted before: nothing that is put beside a commit later pushes it out.
        let mut found = self.kept.read(commit)?;
        let are_kept = !found.is_empty();
        let in_notes = of_notes.objects().in_notes(notes.as_ref(), commit);
        for fetched in [in_notes, of_files.objects().in_folder(files.as_ref(), tree)] {
            match fetched {
                Ok(envelopes) => {
                    for envelope in envelopes {
                        if !found.contains(&envelope) {
                            found.push(envelope);
                        }
                    }
                }
                // What counted goes on counting, whatever anybody puts in the other places.
                Err(error) if are_kept => {
                    tracing::warn!("what lies beside commit {commit} cannot be read, what is kept counts: {error}");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
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
        let mut found = self.in_notes(self.tip(APPROVAL_NOTES)?.as_ref(), commit)?;
        found.extend(self.in_folder(self.tip(APPROVAL_TREE)?.as_ref(), tree)?);
        Ok(found)
    }

    fn in_notes(&self, tip: Option<&CommitId>, commit: &CommitId) -> Result<Vec<Vec<u8>>, HistoryError> {
        let Some(tip) = tip else { return Ok(Vec::new()) };
        let Some(id) = self.note(tip, commit)? else { return Ok(Vec::new()) };
        let reading = self.reading()?;
        Ok(envelopes(reading.object(id, ObjectType::Blob, MAX_NOTE_BYTES)?.data()))
    }

    fn in_folder(&self, tip: Option<&CommitId>, tree: &TreeId) -> Result<Vec<Vec<u8>>, HistoryError> {
        let Some(tip) = tip else { return Ok(Vec::new()) };
        let missing = |object: String| HistoryError::Missing { object };
        let folder = tree.to_string().parse().map_err(|_invalid| missing(format!("the folder of tree {tree}")))?;
        let mut found = Vec::new();
        for (_, entry) in self.entries(tip, &folder)? {
            if found.len() > MAX_ENVELOPES {
                break;
            }
            let id = parse_oid(&entry.id, self.format()).ok_or_else(|| missing(entry.id.clone()))?;
            let reading = self.reading()?;
            found.extend(envelopes(reading.object(id, ObjectType::Blob, MAX_ENVELOPE_BYTES as u64)?.data()));
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

/// One envelope each: they begin on a line of their own, as `git notes append` puts them.
pub(crate) fn envelopes(bytes: &[u8]) -> Vec<Vec<u8>> {
    let lines = bytes.split(|byte| *byte == b'\n').map(|line| line.trim_ascii().to_vec());
    lines.filter(|line| !line.is_empty()).take(MAX_ENVELOPES + 1).collect()
}
