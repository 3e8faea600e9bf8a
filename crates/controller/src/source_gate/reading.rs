//! What an authorised commit puts in force, read from its tree.

use std::{collections::BTreeMap, sync::Arc};

use git::Objects;
use jiff::Timestamp;
use manifest::{Finding, RepoPath, Subject};
use policy::PolicySet;
use trust::{AuthorizedCommit, CommitId, CommitObject, History as _, HistoryError, TrustFile};

use super::Verified;
use crate::floor::unreadable;

/// Folders of what judges: policies, and waivers of them.
const JUDGING: [&str; 2] = ["policies", "waivers"];
/// The most bytes of one policy set: 2,000 policies of 4 KiB.
const MAX_POLICY_BYTES: usize = 8 << 20;

/// Reads what an authorised commit puts in force. Used by the gate and after a restart.
///
/// # Errors
/// What cannot be read or does not load; then nothing of it is in force.
pub(crate) fn read_verified(
    objects: &Objects,
    commit: &AuthorizedCommit,
    broken: Option<Finding>,
) -> Result<Verified, Vec<Finding>> {
    let policies = load_policies(objects, &commit.id())?;
    let trust_file = TrustFile::of_commit(objects, &commit.id())?;
    Ok(Verified {
        commit: commit.clone(),
        made: made(objects, &commit.id())?,
        policies: Arc::new(policies),
        trust_file: Arc::new(trust_file),
        released: None,
        broken,
        digest: Arc::default(),
    })
}

pub(super) fn load_policies(objects: &Objects, commit: &CommitId) -> Result<PolicySet, Vec<Finding>> {
    let (mut files, mut bytes) = (BTreeMap::new(), 0_usize);
    for folder in judging_folders() {
        let fail = |error: HistoryError| vec![unreadable(commit, &error)];
        for (path, entry) in objects.entries(commit, &folder).map_err(fail)? {
            let file = objects.blob(&entry.id).map_err(fail)?;
            bytes = bytes.saturating_add(file.len());
            // No more is kept than is compiled.
            if bytes > MAX_POLICY_BYTES {
                return Err(vec![Finding {
                    code: policy::PolicyCode::W802.entry(),
                    subject: Subject::Named(JUDGING.join("/ and ") + "/"),
                    rule: None,
                    found: format!("up to {path} the files there have {bytes} bytes").into(),
                    needed: format!("at most {MAX_POLICY_BYTES}").into(),
                    fix: "remove policies that are not needed".into(),
                }]);
            }
            files.insert(path, file);
        }
    }
    PolicySet::compile(&files)
}

pub(crate) fn judging_folders() -> impl Iterator<Item = RepoPath> {
    // A name that did not parse would be the root: everything would have to be a policy.
    JUDGING.into_iter().map(|folder| folder.parse().unwrap_or_default())
}

/// The committer time of a commit.
fn made(objects: &Objects, id: &CommitId) -> Result<Timestamp, Vec<Finding>> {
    let missing = || HistoryError::Missing { object: format!("commit {id}") };
    let raw = objects.commit(id).and_then(|raw| raw.ok_or_else(missing));
    let raw = raw.map_err(|error| vec![unreadable(id, &error)])?;
    let commit = CommitObject::parse(*id, &raw).map_err(|finding| vec![finding])?;
    // It was judged to be before now.
    Ok(Timestamp::from_second(commit.committer_time).unwrap_or(Timestamp::MIN))
}
