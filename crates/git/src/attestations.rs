//! What lies beside a commit: envelopes in its note under `refs/notes/writ-approvals`, and in the folder of its tree under
//! `refs/writ/approvals`.

use git2::{ObjectType, Oid};
use trust::{CommitId, HistoryError, MAX_ENVELOPE_BYTES, MAX_ENVELOPES, TreeId};

use crate::{
    objects::{Objects, Reading},
    tree::Node,
};

/// Notes about commits, as `git notes --ref writ-approvals` writes them.
pub const APPROVAL_NOTES: &str = "refs/notes/writ-approvals";
/// Files in folders that are named by the tree they are about.
pub const APPROVAL_TREE: &str = "refs/writ/approvals";

/// Largest note: as many envelopes as are looked at, at the 4 KiB that one has with one signature.
const MAX_NOTE_BYTES: u64 = 256 * 1024;
/// Deepest fan-out of notes that Git makes: one folder for each byte of the id.
const MAX_FANOUT: usize = 20;

impl Objects {
    pub(crate) fn envelopes(&self, commit: &CommitId, tree: &TreeId) -> Result<Vec<Vec<u8>>, HistoryError> {
        let mut found = Vec::new();
        if let Some(tip) = self.tip(APPROVAL_NOTES)?
            && let Some(id) = self.note(&tip, commit)?
        {
            let reading = self.reading()?;
            let note = reading.object(id, ObjectType::Blob, MAX_NOTE_BYTES)?;
            found.extend(envelopes(note.data()));
        }
        if let Some(tip) = self.tip(APPROVAL_TREE)? {
            let folder = tree
                .to_string()
                .parse()
                .map_err(|_invalid| HistoryError::Missing { object: format!("the folder of tree {tree}") })?;
            for (_, entry) in self.entries(&tip, &folder)? {
                if found.len() > MAX_ENVELOPES {
                    break;
                }
                let id =
                    Oid::from_str(&entry.id).map_err(|_invalid| HistoryError::Missing { object: entry.id.clone() })?;
                let reading = self.reading()?;
                let file = reading.object(id, ObjectType::Blob, MAX_ENVELOPE_BYTES as u64)?;
                found.extend(envelopes(file.data()));
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

/// One envelope each: they begin on a line of their own, as `git notes append` puts them.
fn envelopes(bytes: &[u8]) -> Vec<Vec<u8>> {
    let lines = bytes.split(|byte| *byte == b'\n').map(|line| line.trim_ascii().to_vec());
    lines.filter(|line| !line.is_empty()).take(MAX_ENVELOPES + 1).collect()
}
