//! The one decision: push, drift and removal are judged by the same function.

use manifest::{Digest, Finding, ObjectRef, Subject};
use serde_json::{Value, json};

use crate::{
    Action, Adoption, ApprovedPlan, Change, Claims, Conflicts, Counts, Decision, DesiredObject, DesiredState,
    DriftMode, DriftReport, FieldDiff, Lifecycle, Live, LiveStates, PART_OF_LABEL, PlanCode, PlanOrigin, Presence,
    PruneTrailer, Pruning, Refusal, SyncRef, SyncSpec, VerdictInputs, Visibility, Wave, compare, guard, lint,
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
        /// Whether every apply of the candidate has succeeded, so that pruning may begin.
        pruning: PruneReadiness,
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

/// Whether deletions may be part of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PruneReadiness {
    /// No apply of this candidate has failed.
    Ready,
    /// An apply failed in an earlier attempt: prune is withheld until all have succeeded.
    Withheld,
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
        Question::Advance { candidate, applied, pruning, trailer } => {
            advance(inputs, candidate, applied, pruning, trailer)
        }
        Question::Drift { accepted, objects } => drift(inputs, accepted, objects),
        Question::Removal { applied } => removal(inputs, applied),
    }
}

fn advance(
    inputs: &Inputs<'_>,
    candidate: &DesiredState,
    applied: Option<&DesiredState>,
    pruning: PruneReadiness,
    trailer: PruneTrailer,
) -> Decision {
    let mut findings = inputs.findings.to_vec();
    findings.extend(service_account(inputs));
    findings.extend(candidate.iter().filter_map(|object| ownership(inputs, object)));
    let leaving = leaving(inputs, candidate, applied);
    let total = applied.map_or(0, DesiredState::len);
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
    if pruning == PruneReadiness::Ready {
        for object in leaving {
            draft.prune(inputs, object);
        }
    }
    draft.approve(inputs, candidate, Decision::Apply)
}

/// The objects a candidate would prune.
fn leaving<'a>(
    inputs: &Inputs<'_>,
    candidate: &DesiredState,
    applied: Option<&'a DesiredState>,
) -> Vec<&'a DesiredObject> {
    let Some(applied) = applied.filter(|_| inputs.spec.prune) else {
        return Vec::new();
    };
    applied
        .iter()
        .filter(|object| candidate.get(&object.reference).is_none() && object.pruning == Pruning::Allowed)
        .collect()
}

fn drift(inputs: &Inputs<'_>, accepted: &DesiredState, objects: &[ObjectRef]) -> Decision {
    if inputs.spec.drift.mode == DriftMode::Off {
        return Decision::Settled;
    }
    let mut draft = Draft::new(PlanOrigin::Drift);
    for object in objects.iter().filter_map(|reference| accepted.get(reference)) {
        draft.revert(inputs, object);
    }
    if draft.reports.is_empty() {
        return Decision::Settled;
    }
    if inputs.spec.drift.mode == DriftMode::Flag {
        return Decision::Flag(draft.reports);
    }
    if let Some(finding) = service_account(inputs) {
        return refuse(inputs, accepted, vec![finding]);
    }
    if draft.changes.is_empty() {
        // Everything that drifted is terminating: it comes back when its UID is gone.
        return Decision::Settled;
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
            fix: format!("git rm {file}, or move the document out of the Sync's path"),
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

fn refuse(inputs: &Inputs<'_>, state: &DesiredState, findings: Vec<Finding>) -> Decision {
    Decision::Refuse(Refusal { revision: state.commit().id(), findings, inputs: inputs.verdict.clone() })
}

/// A plan in the making.
struct Draft {
    origin: PlanOrigin,
    changes: Vec<Change>,
    reports: Vec<DriftReport>,
    counts: Counts,
}

impl Draft {
    const fn new(origin: PlanOrigin) -> Self {
        let counts = Counts { created: 0, configured: 0, reverted: 0, pruned: 0, unchanged: 0, waiting: 0 };
        Self { origin, changes: Vec::new(), reports: Vec::new(), counts }
    }

    /// One object of a candidate.
    fn apply(&mut self, inputs: &Inputs<'_>, object: &DesiredObject, before: Option<&DesiredObject>) {
        let live = inputs.live.live(&object.reference);
        let presence = match &live {
            Live::Present(presence) if presence.lifecycle == Lifecycle::Terminating => {
                self.counts.waiting += 1;
                return;
            }
            Live::Present(presence) => Some(presence),
            Live::Unobserved | Live::Absent => None,
        };
        let known = presence.and_then(|presence| presence.applied);
        let owned = before.is_some() || known.is_some();
        let heals = inputs.spec.drift.mode == DriftMode::Revert;
        let same = known == Some(object.digest);
        let drifted = presence.is_some_and(|presence| !presence.drift.is_empty());
        let untouched = before.is_some_and(|before| before.digest == object.digest);
        let action = match (owned, presence) {
            (false, _) => Action::Create {
                conflicts: match object.adoption {
                    Adoption::Refuse => Conflicts::Refuse,
                    Adoption::Force => Conflicts::Force,
                },
            },
            (true, Some(_)) if same && (!drifted || !heals) => return self.counts.unchanged += 1,
            (true, Some(_)) if same => Action::Configure,
            // Gone, and this commit does not touch it: drift, which is left alone unless it is healed.
            (true, None) if untouched && !heals && live == Live::Absent => return self.counts.unchanged += 1,
            (true, _) => Action::Configure,
        };
        match action {
            Action::Create { .. } => self.counts.created += 1,
            _ => self.counts.configured += 1,
        }
        let differences = match (before, presence) {
            (_, Some(presence)) if same => presence.drift.clone(),
            (Some(before), _) => declared_difference(before, object),
            (None, _) => Vec::new(),
        };
        self.push(object, action, differences);
    }

    /// One object that may have drifted.
    fn revert(&mut self, inputs: &Inputs<'_>, object: &DesiredObject) {
        let (code, differences) = match inputs.live.live(&object.reference) {
            Live::Unobserved => return,
            Live::Absent => (PlanCode::D102, Vec::new()),
            Live::Present(Presence { lifecycle: Lifecycle::Terminating, .. }) => {
                self.counts.waiting += 1;
                return;
            }
            Live::Present(presence) if presence.drift.is_empty() => return self.counts.unchanged += 1,
            Live::Present(presence) => (edited_code(&presence.drift), presence.drift),
        };
        self.reports.push(report(object, code, &differences));
        self.counts.reverted += 1;
        self.push(object, Action::Revert, differences);
    }

    /// One object that left the declaration.
    fn prune(&mut self, inputs: &Inputs<'_>, object: &DesiredObject) {
        match inputs.live.live(&object.reference) {
            Live::Absent => {}
            // Without uid and version there is nothing to guard the deletion with: it waits.
            Live::Unobserved => self.counts.waiting += 1,
            Live::Present(presence) if presence.lifecycle == Lifecycle::Terminating => self.counts.waiting += 1,
            Live::Present(presence) => {
                self.counts.pruned += 1;
                self.changes.push(Change {
                    reference: object.reference.clone(),
                    api_version: object.api_version.clone(),
                    action: Action::Prune { uid: presence.uid, resource_version: presence.resource_version },
                    wave: Wave::of_delete(&object.reference.group_kind),
                    body: None,
                    digest: Some(object.digest),
                    differences: Vec::new(),
                    sensitive: object.sensitive,
                });
            }
        }
    }

    fn push(&mut self, object: &DesiredObject, action: Action, differences: Vec<FieldDiff>) {
        self.changes.push(Change {
            reference: object.reference.clone(),
            api_version: object.api_version.clone(),
            action,
            wave: Wave::of_apply(&object.reference.group_kind),
            body: Some(object.body.clone()),
            digest: Some(object.digest),
            differences,
            sensitive: object.sensitive,
        });
    }

    fn approve(mut self, inputs: &Inputs<'_>, state: &DesiredState, verdict: fn(ApprovedPlan) -> Decision) -> Decision {
        self.changes.sort_by(|a, b| (a.wave, &a.reference).cmp(&(b.wave, &b.reference)));
        let revision = state.commit().id();
        let digest = plan_digest(inputs, self.origin, &revision.to_string(), state.digest(), &self.changes);
        let plan = ApprovedPlan {
            sync: inputs.sync.clone(),
            origin: self.origin,
            revision,
            service_account: inputs.spec.service_account_name.clone(),
            changes: self.changes,
            counts: self.counts,
            reports: self.reports,
            inputs: inputs.verdict.clone(),
            digest,
        };
        let broken = lint(&plan);
        if broken.is_empty() {
            return verdict(plan);
        }
        let finding = |text: String| Finding {
            code: PlanCode::A129.entry(),
            subject: Subject::Named(format!("Sync {}", inputs.sync)),
            rule: Some("plan lint".to_owned()),
            found: text,
            needed: "a plan that obeys every rule".to_owned(),
            fix: "report this message; it is a defect of writ".to_owned(),
        };
        refuse(inputs, state, broken.into_iter().map(finding).collect())
    }
}

fn edited_code(differences: &[FieldDiff]) -> PlanCode {
    let taken = format!("metadata.labels[{PART_OF_LABEL}]");
    if differences.iter().any(|difference| difference.path == taken) { PlanCode::D105 } else { PlanCode::D101 }
}

fn report(object: &DesiredObject, code: PlanCode, differences: &[FieldDiff]) -> DriftReport {
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
    let (field, found, needed) = match differences.first() {
        None => (None, "it is gone".to_owned(), "the declared object".to_owned()),
        Some(first) => {
            let more = differences.len() - 1;
            let more = if more == 0 { String::new() } else { format!(" (and {more} more fields)") };
            (Some(first.path.clone()), format!("it is {}{more}", shown(&first.after)), shown(&first.before))
        }
    };
    let file =
        object.sources.first().map_or_else(|| "Git".to_owned(), |origin| format!("{}:{}", origin.file, origin.line));
    DriftReport {
        finding: Finding {
            code: code.entry(),
            subject: Subject::Object { reference: object.reference.clone(), field },
            rule: None,
            found,
            needed,
            fix: format!("to keep the change, commit it to {file}"),
        },
        reference: object.reference.clone(),
        differences: differences.to_vec(),
    }
}

fn declared_difference(before: &DesiredObject, after: &DesiredObject) -> Vec<FieldDiff> {
    let visibility = if after.sensitive { Visibility::Masked } else { Visibility::Shown };
    // Both bodies are canonical JSON that this crate wrote.
    let parse = |object: &DesiredObject| serde_json::from_slice::<Value>(&object.body).unwrap_or(Value::Null);
    compare::differences(&parse(before), &parse(after), &after.reference.group_kind, visibility)
}

fn plan_digest(inputs: &Inputs<'_>, origin: PlanOrigin, revision: &str, set: Digest, changes: &[Change]) -> Digest {
    let head = json!({
        "sync": inputs.sync,
        "origin": origin.name(),
        "revision": revision,
        "set": set,
        "trust": inputs.verdict.trust_digest,
        "policy": inputs.verdict.policy_digest,
        "serviceAccount": inputs.spec.service_account_name,
    });
    let lines: Vec<Vec<u8>> = std::iter::once(head)
        .chain(changes.iter().map(|change| {
            let (conflicts, uid, version) = match &change.action {
                Action::Create { conflicts: Conflicts::Refuse } => ("refuse", None, None),
                Action::Create { .. } | Action::Configure | Action::Revert => ("force", None, None),
                Action::Prune { uid, resource_version } => ("none", Some(uid), Some(resource_version)),
            };
            json!({
                "object": change.reference,
                "apiVersion": change.api_version,
                "action": change.action.name(),
                "wave": change.wave.name(),
                "conflicts": conflicts,
                "uid": uid,
                "resourceVersion": version,
                "body": change.digest,
            })
        }))
        .map(|line| manifest::canonical_json(&line))
        .collect();
    Digest::of_parts(lines.iter().map(Vec::as_slice))
}
