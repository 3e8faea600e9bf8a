//! The one decision: push, drift, removal and rollback are judged by the same function.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use manifest::{Finding, ObjectRef, Subject, shell_quote};
use trust::TrustMode;

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
        /// Revisions accepted since then of which some objects may have been applied, oldest first: what they
        /// brought and the candidate drops has to go as well.
        partial: &'a [Arc<DesiredState>],
        /// A revision whose roll-out a crash may have cut off: see [`Question::Drift`].
        interrupted: Option<&'a DesiredState>,
        /// What its commits say about pruning.
        trailer: PruneTrailer,
    },
    /// These objects may have left the accepted state: what is to be done?
    Drift {
        /// The accepted state.
        accepted: &'a DesiredState,
        /// The state whose every object was applied; `None` if there is none.
        applied: Option<&'a DesiredState>,
        /// A revision whose roll-out a crash may have cut off, so that writes of ours are not known of: what it
        /// declares and what carries our labels and our manager's entry is ours.
        interrupted: Option<&'a DesiredState>,
        /// The objects to look at.
        objects: &'a [ObjectRef],
    },
    /// A signed order takes the Sync back: may this earlier revision be applied, and what would change? No commit speaks of
    /// pruning here.
    Rollback {
        /// The earlier revision.
        target: &'a DesiredState,
        /// As for [`Question::Advance`].
        applied: Option<&'a DesiredState>,
        /// As for [`Question::Advance`].
        partial: &'a [Arc<DesiredState>],
        /// As for [`Question::Advance`].
        interrupted: Option<&'a DesiredState>,
    },
    /// The Sync was removed by an accepted commit and its policy says `Delete`.
    Removal {
        /// What it applied.
        applied: &'a DesiredState,
        /// Revisions before it that were rolled out in part, oldest first.
        partial: &'a [Arc<DesiredState>],
        /// What the commits that removed it, and those since, say about pruning.
        trailer: PruneTrailer,
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
    /// Whether what is decided may be done: in [`TrustMode::Audit`] there is no [`ApprovedPlan`](crate::ApprovedPlan), so that
    /// nothing can be applied.
    pub mode: TrustMode,
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
        Question::Advance { candidate, applied, partial, interrupted, trailer } => {
            let rollout = Rollout { origin: PlanOrigin::Advance, applied, partial, interrupted, trailer };
            roll_out(inputs, candidate, rollout)
        }
        Question::Rollback { target, applied, partial, interrupted } => {
            let (origin, trailer) = (PlanOrigin::Rollback, PruneTrailer::default());
            roll_out(inputs, target, Rollout { origin, applied, partial, interrupted, trailer })
        }
        Question::Drift { accepted, applied, interrupted, objects } => {
            drift(inputs, accepted, (applied, interrupted), objects)
        }
        Question::Removal { applied, partial, trailer } => removal(inputs, applied, partial, trailer),
    }
}

/// How a whole revision is rolled out; see [`Question::Advance`].
#[derive(Clone, Copy)]
struct Rollout<'a> {
    origin: PlanOrigin,
    applied: Option<&'a DesiredState>,
    partial: &'a [Arc<DesiredState>],
    interrupted: Option<&'a DesiredState>,
    trailer: PruneTrailer,
}

fn roll_out(inputs: &Inputs<'_>, candidate: &DesiredState, rollout: Rollout<'_>) -> Decision {
    let Rollout { origin, applied, partial, interrupted, trailer } = rollout;
    let mut findings = inputs.findings.to_vec();
    findings.extend(service_account(inputs));
    findings.extend(candidate.iter().filter_map(|object| ownership(inputs, object)));
    let leaving = leaving(inputs, candidate, applied, partial);
    let references = leaving.iter().map(|object| &object.reference);
    let guarded = guard::check(inputs.sync, inputs.spec, count(applied, partial), references, trailer);
    findings.extend(guarded.map(|finding| if origin == PlanOrigin::Rollback { by_commit(&finding) } else { finding }));
    if !findings.is_empty() {
        return refuse(inputs, candidate, findings);
    }
    let mut draft = Draft::new(origin, interrupted);
    for (object, before) in candidate.beside(applied) {
        if let Some(object) = object {
            draft.apply(inputs, object, before);
        }
    }
    for object in leaving {
        draft.prune(inputs, object);
    }
    draft.approve(inputs, candidate, Decision::Apply)
}

/// What the prune guard says of a rollback: the signed order has no place for a count.
fn by_commit(finding: &Finding) -> Finding {
    Finding {
        found: finding.found.replacen("the commit", "the rollback", 1).into(),
        needed: finding
            .needed
            .replacen("the trailer", "a signed commit that restores the folder, with the trailer", 1)
            .replacen(" in the commit message", "", 1)
            .into(),
        fix: "restore the folder by a signed commit with that trailer".into(),
        ..finding.clone()
    }
}

/// How many objects these revisions declare.
fn count(applied: Option<&DesiredState>, partial: &[Arc<DesiredState>]) -> usize {
    if partial.is_empty() {
        return applied.map_or(0, DesiredState::len);
    }
    let states = applied.into_iter().chain(partial.iter().map(AsRef::as_ref));
    states.flat_map(DesiredState::iter).map(|object| &object.reference).collect::<BTreeSet<_>>().len()
}

/// The objects a candidate would prune.
fn leaving<'a>(
    inputs: &Inputs<'_>,
    candidate: &'a DesiredState,
    applied: Option<&'a DesiredState>,
    partial: &'a [Arc<DesiredState>],
) -> Vec<&'a DesiredObject> {
    if !inputs.spec.prune {
        return Vec::new();
    }
    let mut leaving = BTreeMap::new();
    for state in applied.into_iter().chain(partial.iter().map(AsRef::as_ref)) {
        for (kept, object) in candidate.beside(Some(state)) {
            // Another Sync may have taken what a revision declared and never brought.
            if let (None, Some(object)) = (kept, object)
                && inputs.claims.owner(&object.reference).is_none_or(|owner| owner == inputs.sync)
            {
                leaving.insert(&object.reference, object);
            }
        }
    }
    leaving.into_values().filter(|object| object.pruning == Pruning::Allowed).collect()
}

fn drift(
    inputs: &Inputs<'_>,
    accepted: &DesiredState,
    (applied, interrupted): (Option<&DesiredState>, Option<&DesiredState>),
    objects: &[ObjectRef],
) -> Decision {
    let mode = match (inputs.spec.drift.mode, inputs.mode) {
        (DriftMode::Off, _) => return Decision::Settled,
        // What may not be put back is told.
        (_, TrustMode::Audit) => DriftMode::Flag,
        (mode, TrustMode::Enforce) => mode,
    };
    let mut draft = Draft::new(PlanOrigin::Drift, interrupted);
    // An object that several events name is looked at once.
    let objects: BTreeSet<&ObjectRef> = objects.iter().collect();
    for object in objects.into_iter().filter_map(|reference| accepted.get(reference)) {
        draft.revert(inputs, object, applied.and_then(|applied| applied.get(&object.reference)));
    }
    // What was never there has not drifted: in mode Flag there may be changes without a report.
    let is_due = match mode {
        DriftMode::Flag => !draft.reports.is_empty(),
        DriftMode::Revert | DriftMode::Off => !draft.is_empty(),
    };
    // What waits for a deletion to finish is not put back: it is looked at again when its UID is gone.
    match (is_due, draft.waiting.is_empty()) {
        (false, true) => return Decision::Settled,
        (false, false) => return Decision::Wait(draft.waiting),
        (true, _) => {}
    }
    if mode == DriftMode::Flag {
        return Decision::Flag(draft.reports, draft.waiting);
    }
    if let Some(finding) = service_account(inputs) {
        return refuse(inputs, accepted, vec![finding]);
    }
    draft.approve(inputs, accepted, Decision::Revert)
}

fn removal(
    inputs: &Inputs<'_>,
    applied: &DesiredState,
    partial: &[Arc<DesiredState>],
    trailer: PruneTrailer,
) -> Decision {
    let ours = |object: &DesiredObject| {
        object.pruning == Pruning::Allowed
            && inputs.claims.owner(&object.reference).is_none_or(|owner| owner == inputs.sync)
    };
    // What an incomplete roll-out left behind goes as well. Of several declarations the newest says whether it may.
    let all = partial.iter().map(AsRef::as_ref).chain(std::iter::once(applied)).flat_map(DesiredState::iter);
    let mut leaving: BTreeMap<&ObjectRef, &DesiredObject> = all.map(|object| (&object.reference, object)).collect();
    leaving.retain(|_, object| ours(object));
    let references = leaving.keys().copied();
    let mut findings: Vec<Finding> = service_account(inputs).into_iter().collect();
    // Whatever may stay, a removal takes all that may go.
    findings.extend(guard::check(inputs.sync, inputs.spec, leaving.len(), references, trailer));
    if !findings.is_empty() {
        return refuse(inputs, applied, findings);
    }
    let mut draft = Draft::new(PlanOrigin::Removal, None);
    for object in leaving.into_values() {
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
        found: "spec.serviceAccountName is not set".into(),
        needed: format!("a ServiceAccount of namespace {}", inputs.sync.namespace).into(),
        fix: "set spec.serviceAccountName in the Sync's manifest".into(),
    })
}

fn ownership(inputs: &Inputs<'_>, object: &DesiredObject) -> Option<Finding> {
    let forbidden = object.reference.group_kind.group == "writ.dev" && object.reference.group_kind.kind == "TrustRoot";
    let owner = inputs.claims.owner(&object.reference).filter(|owner| *owner != inputs.sync);
    // Nearly every object passes: what would be said is made only where something is.
    if !forbidden && owner.is_none() {
        return None;
    }
    let file = object.sources.first().map_or_else(|| "the manifest".to_owned(), |origin| origin.file.to_string());
    let (code, found, needed, fix) = match owner {
        Some(owner) if !forbidden => (
            PlanCode::A121,
            format!("declared by {file}, but owned by Sync {owner}"),
            "one owner for each object",
            format!("remove it from {file}, or from the folder of Sync {owner}"),
        ),
        _ => (
            PlanCode::A122,
            format!("{file} declares a TrustRoot"),
            "TrustRoots are written by platform admins, never applied from Git",
            format!("git rm -- {} # or move the document out of the Sync's path", shell_quote(&file)),
        ),
    };
    Some(Finding {
        code: code.entry(),
        subject: Subject::Object { reference: object.reference.clone(), field: None },
        rule: None,
        found: found.into(),
        needed: needed.into(),
        fix: fix.into(),
    })
}

pub(crate) fn refuse(inputs: &Inputs<'_>, state: &DesiredState, findings: Vec<Finding>) -> Decision {
    Decision::Refuse(Refusal { revision: state.commit().id(), findings, inputs: inputs.verdict.clone() })
}
