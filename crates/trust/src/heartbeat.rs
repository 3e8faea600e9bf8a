//! Heartbeats: a principal says now and then which head the branch has. Whoever stands between the server and us can hide
//! new commits by showing old ones, and cannot make this statement.
//!
//! It refuses no commit. A heartbeat that does not come, or names a head that is not shown, is told (W405), and nothing else.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    CLOCK_SKEW, CommitId, PrincipalKind, TrustFile, TrustRootSpec, Verifiers,
    detached::Keys,
    envelope::{EnvelopeError, MAX_ENVELOPES, open},
    instants::Instants,
    signature_cache::Verifier,
    statement::{About, Predicate, said, statement},
};

/// The namespace of signatures over heartbeats.
pub const NAMESPACE_HEARTBEAT: &str = "writ-heartbeat@1";
/// The type of a heartbeat's predicate.
pub const HEARTBEAT_TYPE: &str = "https://writ.dev/heartbeat/v1";
/// How many reasons are told in one message.
const TOLD: usize = 3;

/// The head of the branch at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// `repoId` of the trust file.
    pub repo_id: String,
    /// The branch.
    pub git_ref: String,
    /// Where it was.
    pub head: CommitId,
    /// When.
    pub time: Timestamp,
}

/// A heartbeat that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// What it says.
    pub heartbeat: Heartbeat,
    /// Who says it.
    pub principal: String,
}

/// Why something is no heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeartbeatError {
    /// Not an envelope.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// Not a statement of this form.
    #[error("not an in-toto statement of a heartbeat: {0}")]
    Statement(String),
    /// It is for another branch or repository.
    #[error("a heartbeat for {0}")]
    Elsewhere(String),
    /// It is of a time that has not come.
    #[error("a heartbeat of {0}, which has not come")]
    Future(Timestamp),
    /// Nobody who counts signed it.
    #[error("{0}")]
    Signature(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Said {
    repo_id: String,
    r#ref: String,
    head: String,
    time: Timestamp,
}

impl Predicate for Said {
    const TYPE: &'static str = HEARTBEAT_TYPE;

    fn about(&self) -> About<'_> {
        About { name: &self.r#ref, digest: ("gitCommit", self.head.clone()) }
    }
}

impl Heartbeat {
    /// The statement as it is signed: canonical JSON.
    #[must_use]
    pub fn payload(&self) -> Vec<u8> {
        statement(Said {
            repo_id: self.repo_id.clone(),
            r#ref: self.git_ref.clone(),
            head: self.head.to_string(),
            time: self.time,
        })
    }

    /// What a statement says, whoever signed it: nothing of it counts yet.
    ///
    /// # Errors
    /// What it is not.
    pub fn of_statement(payload: &[u8]) -> Result<Self, HeartbeatError> {
        let wrong = |what: &str| HeartbeatError::Statement(what.to_owned());
        let Said { repo_id, r#ref, head, time } = said(payload).map_err(HeartbeatError::Statement)?;
        let head = head.parse().map_err(|_invalid| wrong("head is not an object id"))?;
        Ok(Self { repo_id, git_ref: r#ref, head, time })
    }
}

/// The newest heartbeat among envelopes that counts: for this branch of this repository, not of the future, signed by a
/// person or machine with a key in force. The error says why none does; it is empty if there is none at all.
///
/// # Errors
/// Why none counts.
pub fn hear(
    envelopes: &[Vec<u8>],
    root: &TrustRootSpec,
    policy: &TrustFile,
    now: Timestamp,
    with: Verifiers<'_>,
) -> Result<Heard, String> {
    let listener = Listener { root, policy, now, verifier: Verifier::new(with) };
    let (mut newest, mut reasons): (Option<Heard>, Vec<String>) = (None, Vec::new());
    for text in envelopes.iter().take(MAX_ENVELOPES) {
        match listener.one(text) {
            Ok(heard) if newest.as_ref().is_none_or(|newest| newest.heartbeat.time < heard.heartbeat.time) => {
                newest = Some(heard);
            }
            Ok(_) => {}
            Err(error) => reasons.push(error.to_string()),
        }
    }
    reasons.truncate(TOLD);
    newest.ok_or_else(|| reasons.join("; "))
}

struct Listener<'a> {
    root: &'a TrustRootSpec,
    policy: &'a TrustFile,
    now: Timestamp,
    verifier: Verifier<'a>,
}

impl Listener<'_> {
    fn one(&self, text: &[u8]) -> Result<Heard, HeartbeatError> {
        let opened = open(text)?;
        let heartbeat = Heartbeat::of_statement(&opened.payload)?;
        if heartbeat.repo_id != self.root.repo_id || heartbeat.git_ref != self.root.r#ref {
            return Err(HeartbeatError::Elsewhere(format!("{} of {}", heartbeat.git_ref, heartbeat.repo_id)));
        }
        if heartbeat.time.duration_since(self.now).unsigned_abs() > CLOCK_SKEW && heartbeat.time > self.now {
            return Err(HeartbeatError::Future(heartbeat.time));
        }
        let instants = Instants { committer: heartbeat.time, first_sight: Some(self.now) };
        let keys = Keys { policy: self.policy, instants: &instants, verifier: self.verifier };
        let mut refused = String::new();
        for signer in opened.signers(keys, NAMESPACE_HEARTBEAT) {
            match signer {
                Ok((principal, _)) if self.may_speak(&principal) => return Ok(Heard { heartbeat, principal }),
                Ok((principal, _)) => refused = format!("{principal} is a forge, which counts for nothing"),
                Err(reason) => refused = reason,
            }
        }
        Err(HeartbeatError::Signature(refused))
    }

    fn may_speak(&self, principal: &str) -> bool {
        let kind = self.policy.principals.get(principal).map(|principal| principal.kind);
        matches!(kind, Some(PrincipalKind::Human | PrincipalKind::Robot))
    }
}
