//! Approvals: what principals say of a step beside signing its commit.
//!
//! An approval is a statement in an envelope (see `envelope`), signed under the namespace `writ-approval@1`. It is bound to
//! repository, ref, predecessor, resulting tree and trust file, so it counts for that one change and no other.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use manifest::Digest;
use serde::{Deserialize, Serialize};

use crate::{
    CommitId, CommitObject, History, KeyFingerprint, TreeId, TrustFile, TrustRootSpec,
    detached::Keys,
    envelope::{EnvelopeError, MAX_ENVELOPES, Opened, open},
    instants::Instants,
    signature_cache::Verifier,
    signed_by::SignedBy,
    statement::{About, Predicate, said, statement},
};

/// The namespace of signatures over approvals.
pub const NAMESPACE_APPROVAL: &str = "writ-approval@1";
/// The type of an approval's predicate.
pub const APPROVAL_TYPE: &str = "https://writ.dev/approval/v1";
/// What brings the approvals of others before one's own is added to them, so that the push is a fast-forward. The pattern also
/// fits where nobody has approved anything yet: a ref that is named must be there.
pub const FETCH_APPROVALS: &str = "git fetch origin 'refs/notes/writ-approvals*:refs/notes/writ-approvals*'";
/// What shows an approval to the cluster.
pub const PUSH_APPROVALS: &str = "git push origin refs/notes/writ-approvals";
/// Most commits that are left out at once: a day's pushes by a team whose branch went wrong.
pub const MAX_SKIPPED: usize = 64;
/// Most that one key says of one step: an approval, a vouch and what is left out before it, twice.
const MAX_OF_ONE: usize = 4;
/// How many reasons are told in one message.
const TOLD: usize = 5;

/// What is approved, by whom is told by the signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// `repoId` of the trust file.
    pub repo_id: String,
    /// The ref that the step is for.
    pub git_ref: String,
    /// The predecessor on the mainline.
    pub from: CommitId,
    /// The tree that the step results in, however it is merged.
    pub to_tree: TreeId,
    /// `version` of the trust file that is in force before the step.
    pub policy_version: u64,
    /// Until when it counts.
    pub expires: Timestamp,
    /// What is said of it.
    pub decision: Decision,
    /// Payloads of the commits between `from` and this one that are left out; for [`Decision::Skip`] alone.
    pub skipped: Vec<Digest>,
}

/// What is said of a step; anything else is no approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// The change may be made.
    Approve,
    /// The tree is good, although steps that are revoked by now had a part in it.
    Vouch,
    /// The refused commits before it are left out: it is judged as one step from the last good one.
    Skip,
}

/// Why something is no approval.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApprovalError {
    /// Not an envelope.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// Not a statement of this form.
    #[error("not an in-toto statement of an approval: {0}")]
    Statement(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Said {
    repo_id: String,
    r#ref: String,
    from: String,
    to_tree: String,
    policy_version: u64,
    expires: Timestamp,
    decision: Decision,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    skipped: Vec<String>,
}

impl Predicate for Said {
    const TYPE: &'static str = APPROVAL_TYPE;

    fn about(&self) -> About<'_> {
        About { name: &self.r#ref, digest: ("gitTree", self.to_tree.clone()) }
    }
}

impl Approval {
    /// The statement as it is signed: canonical JSON.
    #[must_use]
    pub fn payload(&self) -> Vec<u8> {
        statement(Said {
            repo_id: self.repo_id.clone(),
            r#ref: self.git_ref.clone(),
            from: self.from.to_string(),
            to_tree: self.to_tree.to_string(),
            policy_version: self.policy_version,
            expires: self.expires,
            decision: self.decision,
            skipped: self.skipped.iter().map(|payload| format!("sha256:{payload}")).collect(),
        })
    }

    /// What an envelope says, whoever signed it: nothing of it counts yet.
    ///
    /// # Errors
    /// What it is not.
    pub fn of_envelope(text: &[u8]) -> Result<Self, ApprovalError> {
        Self::of_statement(&open(text)?.payload)
    }

    /// What a statement says.
    ///
    /// # Errors
    /// What it is not.
    pub fn of_statement(payload: &[u8]) -> Result<Self, ApprovalError> {
        let wrong = |what: &str| ApprovalError::Statement(what.to_owned());
        let Said { repo_id, r#ref, from, to_tree, policy_version, expires, decision, skipped } =
            said(payload).map_err(ApprovalError::Statement)?;
        let (Ok(from), Ok(to_tree)) = (from.parse(), to_tree.parse()) else {
            return Err(wrong("from and toTree are not object ids"));
        };
        let digest = |payload: &String| payload.strip_prefix("sha256:")?.parse().ok();
        let skipped: Option<Vec<Digest>> = skipped.iter().map(digest).collect();
        let Some(skipped) = skipped.filter(|skipped| skipped.len() <= MAX_SKIPPED) else {
            return Err(wrong("skipped holds something else than digests such as \"sha256:…\", or too many"));
        };
        if (decision == Decision::Skip) == skipped.is_empty() {
            return Err(wrong("commits are left out by the decision \"skip\", and by no other"));
        }
        Ok(Self { repo_id, git_ref: r#ref, from, to_tree, policy_version, expires, decision, skipped })
    }

    /// Why it is not about this step; the error goes after `approval of bob: `.
    fn bound(&self, step: &Bound<'_>) -> Result<(), String> {
        let same = |what: &str, found: &str, needed: &str| {
            if found == needed { Ok(()) } else { Err(format!("{what} {found}, not {needed}")) }
        };
        same("for repository", &self.repo_id, &step.root.repo_id)?;
        same("for", &self.git_ref, &step.root.r#ref)?;
        same("from", &self.from.to_string(), &step.predecessor.to_string())?;
        same("to tree", &self.to_tree.to_string(), &step.object.tree.to_string())?;
        same("under version", &self.policy_version.to_string(), &step.policy.version.to_string())?;
        let now = step.instants.latest();
        if now > self.expires { Err(format!("expired {}, it is {now}", self.expires)) } else { Ok(()) }
    }
}

/// The step that approvals are asked for.
pub(crate) struct Bound<'a> {
    pub(crate) root: &'a TrustRootSpec,
    pub(crate) policy: &'a TrustFile,
    pub(crate) predecessor: &'a CommitId,
    pub(crate) object: &'a CommitObject,
    pub(crate) instants: &'a Instants,
    pub(crate) verifier: Verifier<'a>,
    /// Why what made a signature counts for nothing any more, by what is known after the step.
    pub(crate) withdrawn: Option<Withdrawn<'a>>,
}

/// Gives the reason, if there is one.
pub(crate) type Withdrawn<'a> = &'a dyn Fn(&SignedBy) -> Option<String>;

/// Who approved a step.
#[derive(Debug, Default)]
pub(crate) struct Approvals {
    /// The principals whose approvals count.
    pub(crate) good: BTreeSet<String>,
    /// Who has these commits, by their payloads, left out.
    pub(crate) skips: BTreeMap<Vec<Digest>, BTreeSet<String>>,
    /// The principals who vouch for the tree.
    pub(crate) vouching: BTreeSet<String>,
    /// The envelopes with at least one signature that counts, by a key that none before counted by.
    pub(crate) counted: Vec<Vec<u8>>,
    /// What counts, by whom and with which key.
    counted_by: BTreeSet<(Decision, Vec<Digest>, String, Option<KeyFingerprint>)>,
    /// What was said of this step with keys that are withdrawn, and why they are.
    pub(crate) withdrawn: Vec<(Approval, String)>,
    /// Principals who signed something that does not count for this step.
    pub(crate) other: BTreeSet<String>,
    /// Why the rest does not count: first what is not looked at or is said of something else, then what is no approval.
    pub(crate) reasons: Vec<String>,
    /// Reasons that are not kept.
    more: usize,
}

impl Approvals {
    /// Reads what lies beside the step. What cannot be read counts for nothing and is told.
    pub(crate) fn of(history: &dyn History, step: &Bound<'_>) -> Self {
        let mut approvals = Self::default();
        match history.attestations(&step.object.id, &step.object.tree) {
            Ok(texts) => approvals.read(&texts, step),
            Err(error) => approvals.reasons.push(error.to_string()),
        }
        approvals
    }

    /// Whoever may push can put anything here, in front of what is good as well: how much of it there is, is limited where it is
    /// read, and [`MAX_ENVELOPES`] are those that count.
    fn read(&mut self, texts: &[Vec<u8>], step: &Bound<'_>) {
        let mut junk = Vec::new();
        for (at, text) in texts.iter().enumerate() {
            if self.counted.len() == MAX_ENVELOPES {
                let left = texts.len().saturating_sub(at);
                self.reasons
                    .insert(0, format!("only the first {MAX_ENVELOPES} that count are looked at, {left} are left"));
                break;
            }
            let read = open(text).map_err(ApprovalError::from);
            match read.and_then(|opened| Ok((Approval::of_statement(&opened.payload)?, opened))) {
                Ok((approval, opened)) => self.add(text, &approval, &opened, step),
                Err(error) if junk.len() < MAX_ENVELOPES => junk.push(error.to_string()),
                Err(_like_those) => self.more = self.more.saturating_add(1),
            }
        }
        self.more = self.more.saturating_add(self.reasons.len().saturating_sub(MAX_ENVELOPES));
        self.reasons.truncate(MAX_ENVELOPES);
        self.reasons.append(&mut junk);
    }

    fn add(&mut self, text: &[u8], approval: &Approval, opened: &Opened, step: &Bound<'_>) {
        let keys = Keys { policy: step.policy, instants: step.instants, verifier: step.verifier };
        let mut counts = false;
        for signer in opened.signers(keys, NAMESPACE_APPROVAL) {
            match signer {
                Err(reason) => self.reasons.push(reason),
                Ok((principal, signed)) => {
                    let bound = approval.bound(step);
                    if let Some(why) = step.withdrawn.and_then(|withdrawn| withdrawn(&signed)) {
                        // About something else it never counted, and nothing stood on it.
                        if bound.is_ok() {
                            self.withdrawn.push((approval.clone(), format!("approved by {principal}: {why}")));
                        }
                        continue;
                    }
                    match bound {
                        // Once for each key of a principal: what counts is kept for ever, and there is an end of it; and one
                        // key may be revoked while another is good.
                        Ok(()) => {
                            let key = signed.lasting().copied();
                            let said = (approval.decision, approval.skipped.clone(), principal.clone(), key);
                            if !self.counted_by.contains(&said) && self.has_said_enough(&principal, key.as_ref()) {
                                let found = format!("more than {MAX_OF_ONE} approvals by one key of {principal}");
                                self.reasons.push(found);
                                continue;
                            }
                            self.said(approval).insert(principal);
                            counts |= self.counted_by.insert(said);
                        }
                        Err(reason) => {
                            self.reasons.push(format!("approval of {principal}: {reason}"));
                            self.other.insert(principal);
                        }
                    }
                }
            }
        }
        if counts {
            self.counted.push(text.to_vec());
        }
    }

    /// Whether a key has signed as much of one step as counts.
    fn has_said_enough(&self, principal: &str, key: Option<&KeyFingerprint>) -> bool {
        let of_it = self.counted_by.iter().filter(|(_, _, who, with)| who == principal && with.as_ref() == key);
        of_it.count() >= MAX_OF_ONE
    }

    /// Those who say the same.
    fn said(&mut self, approval: &Approval) -> &mut BTreeSet<String> {
        match approval.decision {
            Decision::Approve => &mut self.good,
            Decision::Vouch => &mut self.vouching,
            Decision::Skip => self.skips.entry(approval.skipped.clone()).or_default(),
        }
    }

    /// The reasons for a message, the first few of many; empty if there is none.
    pub(crate) fn told(&self) -> String {
        let mut told: Vec<String> = self.reasons.iter().take(TOLD).cloned().collect();
        let more = self.reasons.len().saturating_sub(TOLD).saturating_add(self.more);
        if more > 0 {
            told.push(format!("and {more} more"));
        }
        told.join("; ")
    }
}
