//! Where the next judgement of a repository starts: at what the log proves, never below what the
//! TrustRoot's status shows or its admin vouches for. The log alone is believed; the others are floors.

use manifest::{Finding, ObjectRef, Subject, shell_quote};
use plan::INSTANCE_LABEL;
use trust::{AuthorizedCommit, CommitId, History, HistoryError, Start, TrustCode};

/// Whose accepted state is asked for, and who may vouch for one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner<'a> {
    /// As people are told.
    pub name: &'a str,
    /// Name of the TrustRoot whose `resumeFrom` counts.
    pub root: &'a str,
}

/// What is known of the revision that was accepted last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Floors {
    /// The newest that the log proves.
    pub log: Option<AuthorizedCommit>,
    /// What the TrustRoot's status shows.
    pub status: Option<CommitId>,
    /// `resumeFrom` of the TrustRoot, unless the log's newest was accepted under the same one.
    pub admin: Option<CommitId>,
}

impl Floors {
    /// The start of the next judgement. `history` must hold everything that was fetched.
    ///
    /// # Errors
    /// W407 when what is shown as accepted is neither in the log nor in line with it; W403 when the
    /// history cannot be read.
    pub(crate) fn start(&self, history: &dyn History, owner: Owner<'_>) -> Result<Start, Box<Finding>> {
        if let Some(vouched) = self.admin {
            // Whoever vouches for a revision does not take back what descends from it.
            let higher = match self.status {
                Some(shown) => descends(history, &shown, &vouched)?.then_some(shown),
                None => None,
            };
            let proven = match &self.log {
                Some(log) if descends(history, &log.id(), &vouched)? => Some(log.clone()),
                _ => None,
            };
            return match (proven, higher) {
                (Some(log), _) => between(history, log, self.status, owner),
                (None, higher) => Ok(Start::Above(higher.unwrap_or(vouched))),
            };
        }
        match (&self.log, self.status) {
            (Some(log), status) => between(history, log.clone(), status, owner),
            (None, None) => Ok(Start::Introduction),
            (None, Some(shown)) => Err(Box::new(lost(owner, &shown.to_string()))),
        }
    }
}

/// The log's newest, or what the status shows if that is ahead of it: then the steps between are judged again.
fn between(
    history: &dyn History,
    log: AuthorizedCommit,
    status: Option<CommitId>,
    owner: Owner<'_>,
) -> Result<Start, Box<Finding>> {
    let Some(shown) = status else { return Ok(Start::Resumed(log)) };
    if descends(history, &log.id(), &shown)? {
        return Ok(Start::Resumed(log));
    }
    if descends(history, &shown, &log.id())? {
        return Ok(Start::Above(shown));
    }
    if !is_there(history, &log.id())? {
        // Nothing can be compared with it; the judgement says that it is missing.
        return Ok(Start::Resumed(log));
    }
    Err(Box::new(disputed(owner, &shown, &log.id())))
}

/// Whether `later` is `earlier` or descends from it; not if either is missing.
pub(crate) fn descends(history: &dyn History, later: &CommitId, earlier: &CommitId) -> Result<bool, Box<Finding>> {
    if later == earlier {
        return Ok(true);
    }
    if !is_there(history, later)? || !is_there(history, earlier)? {
        return Ok(false);
    }
    history.is_ancestor(earlier, later).map_err(|error| Box::new(unreadable(later, &error)))
}

fn is_there(history: &dyn History, commit: &CommitId) -> Result<bool, Box<Finding>> {
    history.commit(commit).map(|found| found.is_some()).map_err(|error| Box::new(unreadable(commit, &error)))
}

/// A revision is shown as accepted, and the log knows none.
pub(crate) fn lost(owner: Owner<'_>, revision: &str) -> Finding {
    let found = format!("its status shows the accepted revision {revision}, of which the log knows nothing");
    let vouch = resume_from(owner.root, revision);
    accepted_state_lost(owner, found, format!("restore the state volume; or, if that revision was accepted: {vouch}"))
}

/// Objects are marked as ours, and the log knows of no accepted revision.
pub(crate) fn forgotten(owner: Owner<'_>, object: &ObjectRef, instance: &str) -> Finding {
    let found = format!(
        "the log knows of no accepted revision, but {object} carries the label {INSTANCE_LABEL}={instance} of this controller"
    );
    let (kind, vouch) = (object.group_kind.to_string().to_lowercase(), resume_from(owner.root, "OID"));
    let fix = format!(
        "restore the state volume; or, with the OID that was accepted: {vouch}; or, for what another installation left \
         behind: kubectl label {kind} -A -l {INSTANCE_LABEL}={instance} {INSTANCE_LABEL}-"
    );
    accepted_state_lost(owner, found, fix)
}

/// A revision is shown as accepted that is not in line with the log.
pub(crate) fn disputed(owner: Owner<'_>, shown: &CommitId, logged: &CommitId) -> Finding {
    let found =
        format!("its status shows the accepted revision {shown}, which is not in one line with {logged} of the log");
    let vouch = resume_from(owner.root, "OID");
    let fix = format!("restore the state volume; or, with the one of them that was accepted as OID: {vouch}");
    accepted_state_lost(owner, found, fix)
}

/// The command by which an admin vouches for a revision.
fn resume_from(root: &str, revision: &str) -> String {
    let patch = serde_json::json!({ "spec": { "resumeFrom": revision } });
    format!("kubectl patch trustroot {} --type=merge -p '{patch}'", shell_quote(root))
}

fn accepted_state_lost(owner: Owner<'_>, found: String, fix: String) -> Finding {
    Finding {
        code: TrustCode::W407.entry(),
        subject: Subject::Named(owner.name.to_owned()),
        rule: None,
        found: found.into(),
        needed: "the log that recorded it, or an admin who vouches for a revision".into(),
        fix: fix.into(),
    }
}

/// Why a commit or what belongs to it cannot be read.
pub(crate) fn unreadable(commit: &CommitId, error: &HistoryError) -> Finding {
    Finding {
        code: TrustCode::W403.entry(),
        subject: Subject::Commit(commit.to_string()),
        rule: None,
        found: error.to_string().into(),
        needed: "a mirror from which every file can be read".into(),
        fix: "remove what is over the limit; a damaged mirror is fetched again when its folder is removed".into(),
    }
}
