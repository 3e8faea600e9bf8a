//! The one decision: push, drift and removal are judged by the same function.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use manifest::{Finding, ObjectRef, Subject, shell_quote};

use crate::{
    Claims, Decision, DesiredObject, DesiredState, DriftMode, LiveStates, PlanCode, PlanOrigin, PruneTrailer, Pruning,
    Refusal, SyncRef, SyncSpec, VerdictInputs, draft::Draft, guard,
};

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub enum Question<'a> {
    /// May this candidate be applied, and what would change?
    Advance {
        /// The candidate.
        candidate: &'a DesiredState,
        /// What was applied before; `None` on the first roll-out.
        applied: Option<&'a DesiredState>,
        /// Revisions accepted since then of which some objects may have been applied: what they brought
        /// and the candidate drops has to go as well.
        partial: &'a [Arc<DesiredState>],
        /// What its commits say about pruning.
        trailer: PruneTrailer,
    },
    /// These objects may have left the accepted state: what is to be done?
    Drift {
        /// The accepted state.
        accepted: &'a DesiredState,
        /// The objects to look at.
        objects: &'a [ObjectRef],
    },
    /// The Sync was removed by an accepted commit and its policy says `Delete`.
    Removal {
        /// What it applied.
        applied: &'a DesiredState,
    },
}

/// Everything a decision is made from.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// The Sync.
    pub sync: &'a SyncRef,
    /// Its obeyed spec.
    pub spec: &'a SyncSpec,
    /// writ's own namespace, where a Sync needs no ServiceAccount.
    pub own_namespace: &'a str,
    /// What is asked.
    pub question: Question<'a>,
    /// The cluster.
    pub live: &'a dyn LiveStates,
    /// Which Sync owns what.
    pub claims: &'a dyn Claims,
    /// What policy, kinds and artifact checks found on the candidate; any finding refuses it.
    pub findings: &'a [Finding],
    /// What the verdict is given by.
    pub verdict: &'a VerdictInputs,
}

/// Decides. Every refusal names all its reasons at once; every plan has passed [`lint`](crate::lint).
#[must_use]
pub fn decide(inputs: &Inputs<'_>) -> Decision {
    match inputs.question {
        Question::Advance { candidate, applied, partial, trailer } => {
            advance(inputs, candidate, applied, partial, trailer)
        }
        Question::Drift { accepted, objects } => drift(inputs, accepted, objects),
        Question::Removal { applied } => removal(inputs, applied),
    }
}

fn advance(
    inputs: &Inputs<'_>,
    candidate: &DesiredState,
    applied: Option<&DesiredState>,
    partial: &[Arc<DesiredState>],
    trailer: PruneTrailer,
) -> Decision {
    let mut findings = inputs.findings.to_vec();
    findings.extend(service_account(inputs));
    findings.extend(candidate.iter().filter_map(|object| ownership(inputs, object)));
    let leaving = leaving(inputs, candidate, applied, partial);
    let there = applied.into_iter().chain(partial.iter().map(AsRef::as_ref)).flat_map(DesiredState::iter);
    let total = there.map(|object| &object.reference).collect::<BTreeSet<_>>().len();
    findings.extend(guard::check(
        inputs.sync,
        inputs.spec,
        total,
        leaving.iter().map(|object| &object.reference),
        trailer,
    ));
    if !findings.is_empty() {
        return refuse(inputs, candidate, findings);
    }
    let mut draft = Draft::new(PlanOrigin::Advance);
    for object in candidate.iter() {
        draft.apply(inputs, object, applied.and_then(|state| state.get(&object.reference)));
    }
    for object in leaving {
        draft.prune(inputs, object);
    }
    draft.approve(inputs, candidate, Decision::Apply)
}

/// The objects a candidate would prune.
fn leaving<'a>(
    inputs: &Inputs<'_>,
    candidate: &DesiredState,
    applied: Option<&'a DesiredState>,
    partial: &'a [Arc<DesiredState>],
) -> Vec<&'a DesiredObject> {
    if !inputs.spec.prune {
        return Vec::new();
    }
    let mut leaving = BTreeMap::new();
    for object in applied.into_iter().chain(partial.iter().map(AsRef::as_ref)).flat_map(DesiredState::iter) {
        // Another Sync may have taken what a revision declared and never brought.
        let owned = inputs.claims.owner(&object.reference).is_none_or(|owner| owner == *inputs.sync);
        if candidate.get(&object.reference).is_none() && owned {
            leaving.insert(&object.reference, object);
        }
    }
    leaving.into_values().filter(|object| object.pruning == Pruning::Allowed).collect()
}

fn drift(inputs: &Inputs<'_>, accepted: &DesiredState, objects: &[ObjectRef]) -> Decision {
    if inputs.spec.drift.mode == DriftMode::Off {
        return Decision::Settled;
    }
    let mut draft = Draft::new(PlanOrigin::Drift);
    // An object that several events name is looked at once.
    let objects: BTreeSet<&ObjectRef> = objects.iter().collect();
    for object in objects.into_iter().filter_map(|reference| accepted.get(reference)) {
        draft.revert(inputs, object);
    }
    // What waits for a deletion to finish is no report: it is looked at again when its UID is gone.
    if draft.reports.is_empty() {
        return Decision::Settled;
    }
    if inputs.spec.drift.mode == DriftMode::Flag {
        return Decision::Flag(draft.reports);
    }
    if let Some(finding) = service_account(inputs) {
        return refuse(inputs, accepted, vec![finding]);
    }
    draft.approve(inputs, accepted, Decision::Revert)
}

fn removal(inputs: &Inputs<'_>, applied: &DesiredState) -> Decision {
    if let Some(finding) = service_account(inputs) {
        return refuse(inputs, applied, vec![finding]);
    }
    let mut draft = Draft::new(PlanOrigin::Removal);
    for object in applied.iter().filter(|object| object.pruning == Pruning::Allowed) {
        draft.prune(inputs, object);
    }
    draft.approve(inputs, applied, Decision::Apply)
}

fn service_account(inputs: &Inputs<'_>) -> Option<Finding> {
    if inputs.spec.service_account_name.is_some() || inputs.sync.namespace == inputs.own_namespace {
        return None;
    }
    Some(Finding {
        code: PlanCode::A123.entry(),
        subject: Subject::Named(format!("Sync {}", inputs.sync)),
        rule: None,
        found: "spec.serviceAccountName is not set".to_owned(),
        needed: format!("a ServiceAccount of namespace {}", inputs.sync.namespace),
        fix: "set spec.serviceAccountName in the Sync's manifest".to_owned(),
    })
}

fn ownership(inputs: &Inputs<'_>, object: &DesiredObject) -> Option<Finding> {
    let subject = Subject::Object { reference: object.reference.clone(), field: None };
    let file = object.sources.first().map_or_else(|| "the manifest".to_owned(), |origin| origin.file.to_string());
    if object.reference.group_kind.group == "writ.dev" && object.reference.group_kind.kind == "TrustRoot" {
        return Some(Finding {
            code: PlanCode::A122.entry(),
            subject,
            rule: None,
            found: format!("{file} declares a TrustRoot"),
            needed: "TrustRoots are written by platform admins, never applied from Git".to_owned(),
            fix: format!("git rm -- {}, or move the document out of the Sync's path", shell_quote(&file)),
        });
    }
    let owner = inputs.claims.owner(&object.reference).filter(|owner| owner != inputs.sync)?;
    Some(Finding {
        code: PlanCode::A121.entry(),
        subject,
        rule: None,
        found: format!("declared by {file}, but owned by Sync {owner}"),
        needed: "one owner for each object".to_owned(),
        fix: format!("remove it from {file}, or from the folder of Sync {owner}"),
    })
}

pub(crate) fn refuse(inputs: &Inputs<'_>, state: &DesiredState, findings: Vec<Finding>) -> Decision {
    Decision::Refuse(Refusal { revision: state.commit().id(), findings, inputs: inputs.verdict.clone() })
}
