//! A plan in the making: what becomes of each object.

use manifest::{Digest, Finding, ObjectRef, Subject};
use trust::TrustMode;

use crate::{
    Action, Adoption, ApprovedPlan, Change, Conflicts, Counts, Decision, DesiredObject, DesiredState, DriftMode,
    DriftReport, FieldDiff, Inputs, Lifecycle, Live, Manager, PlanCode, PlanOrigin, Presence, Proposal, SyncRef,
    Visibility, Waiting, Wave, compare,
    decide::refuse,
    desired::identity,
    drift_report::{Absence, keeps_labels},
    hindrance::{Hindrance, hindrance},
    lint,
};

/// A plan in the making.
pub(crate) struct Draft<'a> {
    origin: PlanOrigin,
    /// A revision whose roll-out a crash may have cut off.
    interrupted: Option<&'a DesiredState>,
    changes: Vec<Change>,
    /// What drifted.
    pub(crate) reports: Vec<DriftReport>,
    /// What has to wait.
    pub(crate) waiting: Vec<Waiting>,
    counts: Counts,
    /// Defects met on the way; a plan with one is refused.
    broken: Vec<String>,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(origin: PlanOrigin, interrupted: Option<&'a DesiredState>) -> Self {
        let (changes, reports, waiting, broken) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { origin, interrupted, changes, reports, waiting, counts: Counts::default(), broken }
    }

    /// One object of a candidate.
    pub(crate) fn apply(&mut self, inputs: &Inputs<'_>, object: &DesiredObject, before: Option<&DesiredObject>) {
        let live = inputs.live.live(&object.reference);
        if let Some(hindrance) = hindrance(inputs, &object.reference, live) {
            return self.wait(&object.reference, hindrance);
        }
        let absent = live == Live::Absent;
        let presence = match live {
            Live::Present(presence) => Some(presence),
            Live::Unobserved | Live::Unserved | Live::Absent => None,
        };
        let known = presence.and_then(|presence| presence.applied);
        let heals = inputs.spec.drift.mode == DriftMode::Revert;
        let untouched = before.is_some_and(|before| before.digest == object.digest);
        let same = known == Some(object.digest);
        let drifted = presence.is_some_and(|presence| !presence.drift.is_empty());
        if before.is_none() && known.is_none() {
            return match presence.filter(|presence| self.was_written(object, presence)) {
                None => self.create(object, Vec::new()),
                Some(presence) => {
                    self.reports.push(DriftReport::of_fields(object, presence.drift, presence.seen));
                    self.counts.configured += 1;
                    self.push(object, Action::Configure, presence.drift.to_vec());
                }
            };
        }
        // Drift that this commit does not touch is left alone unless it is healed: fields that
        // differ, or an object that is gone.
        if same && (!drifted || !heals) || untouched && absent && !heals {
            self.counts.unchanged += 1;
            return;
        }
        let differences = match (before, presence) {
            (_, Some(presence)) if same => {
                self.reports.push(DriftReport::of_fields(object, presence.drift, presence.seen));
                presence.drift.to_vec()
            }
            (Some(before), _) => {
                if untouched && absent {
                    self.reports.push(DriftReport::of_absence(object, Absence::Deleted));
                }
                self.declared_differences(before, object)
            }
            (None, _) => Vec::new(),
        };
        self.counts.configured += 1;
        self.push(object, Action::Configure, differences);
    }

    /// Whether a roll-out that was cut off wrote the object, which somebody has changed since.
    fn was_written(&self, object: &DesiredObject, presence: &Presence<'_>) -> bool {
        presence.manager == Manager::Writ
            && !presence.drift.is_empty()
            && keeps_labels(presence.drift)
            && self.interrupted.is_some_and(|begun| begun.get(&object.reference).is_some())
    }

    /// The first write of an object: it may be somebody else's.
    fn create(&mut self, object: &DesiredObject, differences: Vec<FieldDiff>) {
        let conflicts = match object.adoption {
            Adoption::Refuse => Conflicts::Refuse,
            Adoption::Force => Conflicts::Force,
        };
        self.counts.created += 1;
        self.push(object, Action::Create { conflicts }, differences);
    }

    /// One object that may have drifted, and as it was applied completely, if it was.
    pub(crate) fn revert(&mut self, inputs: &Inputs<'_>, object: &DesiredObject, before: Option<&DesiredObject>) {
        if owned_by_another(inputs, &object.reference) {
            return;
        }
        let live = inputs.live.live(&object.reference);
        let is_first = before.is_none()
            && !inputs.live.was_applied(&object.reference)
            && !matches!(live, Live::Present(presence) if self.was_written(object, &presence));
        if let Some(hindrance) = hindrance(inputs, &object.reference, live) {
            let drift = match live {
                Live::Present(presence) if !is_first && !presence.drift.is_empty() => {
                    Some(DriftReport::of_fields(object, presence.drift, presence.seen))
                }
                _ => None,
            };
            return self.wait_with(&object.reference, hindrance, drift);
        }
        let (report, differences) = match live {
            Live::Unobserved | Live::Unserved => return,
            // No roll-out has brought it yet.
            Live::Absent if is_first => return self.create(object, Vec::new()),
            Live::Absent => (DriftReport::of_absence(object, Absence::Deleted), Vec::new()),
            Live::Present(presence) if presence.drift.is_empty() => {
                self.counts.unchanged += 1;
                return;
            }
            Live::Present(presence) => {
                (DriftReport::of_fields(object, presence.drift, presence.seen), presence.drift.to_vec())
            }
        };
        self.reports.push(report);
        if is_first {
            return self.create(object, differences);
        }
        self.counts.reverted += 1;
        self.push(object, Action::Revert, differences);
    }

    /// One object that left the declaration.
    pub(crate) fn prune(&mut self, inputs: &Inputs<'_>, object: &DesiredObject) {
        if owned_by_another(inputs, &object.reference) {
            return;
        }
        match inputs.live.live(&object.reference) {
            Live::Unserved => {}
            // What is not there may be about to come back.
            _ if inputs.live.is_written(&object.reference) => self.wait(&object.reference, Hindrance::Write),
            Live::Absent => {}
            // Without UID and version there is nothing to guard the deletion with.
            Live::Unobserved => self.wait(&object.reference, Hindrance::Watch),
            Live::Present(presence) if presence.lifecycle == Lifecycle::Terminating => {
                self.wait(&object.reference, Hindrance::Deletion);
            }
            Live::Present(Presence { uid, resource_version, .. }) => {
                self.counts.pruned += 1;
                self.changes.push(Change {
                    reference: object.reference.clone(),
                    api_version: object.api_version.clone(),
                    action: Action::Prune { uid: uid.to_owned(), resource_version: resource_version.to_owned() },
                    wave: Wave::of_delete(&object.reference.group_kind),
                    body: None,
                    digest: Some(object.digest),
                    differences: Vec::new(),
                    sensitive: object.sensitive,
                });
            }
        }
    }

    /// Whether nothing is to be done.
    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    fn wait(&mut self, reference: &ObjectRef, hindrance: Hindrance) {
        self.wait_with(reference, hindrance, None);
    }

    fn wait_with(&mut self, reference: &ObjectRef, hindrance: Hindrance, drift: Option<DriftReport>) {
        self.counts.waiting += 1;
        self.waiting.push(Waiting { reference: reference.clone(), finding: hindrance.finding(reference), drift });
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

    /// What a commit changes in a declaration. Bodies are JSON that this crate wrote; should one
    /// not be, the plan is refused rather than shown with a difference that is not there.
    fn declared_differences(&mut self, before: &DesiredObject, after: &DesiredObject) -> Vec<FieldDiff> {
        if before.digest == after.digest {
            return Vec::new();
        }
        let visibility = if before.sensitive || after.sensitive { Visibility::Masked } else { Visibility::Shown };
        match (before.value(), after.value()) {
            (Ok(old), Ok(new)) => compare::differences(&old, &new, &after.reference.group_kind, visibility),
            (Err(error), _) | (_, Err(error)) => {
                // The parser's message could quote the body; the place is enough.
                let (line, column) = (error.line(), error.column());
                self.broken.push(format!("{}: its body is not JSON at {line}:{column}", after.reference));
                Vec::new()
            }
        }
    }

    pub(crate) fn approve(
        mut self,
        inputs: &Inputs<'_>,
        state: &DesiredState,
        verdict: fn(ApprovedPlan) -> Decision,
    ) -> Decision {
        self.changes.sort_by(|a, b| (a.wave, &a.reference).cmp(&(b.wave, &b.reference)));
        let revision = state.commit().id();
        let digest = plan_digest(inputs, self.origin, revision.as_bytes(), state.digest(), &self.changes);
        let plan = ApprovedPlan {
            sync: inputs.sync.clone(),
            origin: self.origin,
            revision,
            service_account: inputs.spec.service_account_name.clone(),
            changes: self.changes,
            counts: self.counts,
            reports: self.reports,
            waiting: self.waiting,
            inputs: inputs.verdict.clone(),
            digest,
        };
        self.broken.extend(lint(&plan));
        if self.broken.is_empty() {
            return match inputs.mode {
                TrustMode::Enforce => verdict(plan),
                TrustMode::Audit => {
                    let ApprovedPlan { origin, revision, counts, .. } = plan;
                    Decision::Report(Proposal { origin, revision, counts })
                }
            };
        }
        let finding = |text: String| Finding {
            code: PlanCode::A129.entry(),
            subject: Subject::Named(format!("Sync {}", inputs.sync)),
            rule: Some("plan lint".to_owned()),
            found: text.into(),
            needed: "a plan that obeys every rule".into(),
            fix: "report this message; it is a defect of writ".into(),
        };
        refuse(inputs, state, self.broken.into_iter().map(finding).collect())
    }
}

fn owned_by_another(inputs: &Inputs<'_>, reference: &ObjectRef) -> bool {
    inputs.claims.owner(reference).is_some_and(|owner| owner != inputs.sync)
}

/// How many parts of the digest one change gives.
const PARTS_PER_CHANGE: usize = 13;

/// Everything that will be done, as parts that are hashed with their lengths: a fixed number at the
/// head, a fixed number per change.
fn plan_digest(inputs: &Inputs<'_>, origin: PlanOrigin, revision: &[u8], set: Digest, changes: &[Change]) -> Digest {
    let SyncRef { namespace, name } = inputs.sync;
    let account = inputs.spec.service_account_name.as_deref();
    let mut parts: Vec<&[u8]> = Vec::with_capacity(9 + PARTS_PER_CHANGE * changes.len());
    parts.extend([namespace.as_bytes(), name.as_bytes(), origin.name().as_bytes(), revision, set.as_bytes()]);
    parts.extend([inputs.verdict.trust_digest.as_bytes().as_slice(), inputs.verdict.policy_digest.as_bytes()]);
    parts.extend([presence(account.is_some()), account.unwrap_or_default().as_bytes()]);
    for change in changes {
        let (conflicts, uid, version) = match &change.action {
            Action::Create { conflicts: Conflicts::Refuse } => ("refuse", "", ""),
            Action::Create { .. } | Action::Configure | Action::Revert => ("force", "", ""),
            Action::Prune { uid, resource_version } => ("none", uid.as_str(), resource_version.as_str()),
        };
        parts.extend(identity(&change.reference));
        parts.extend(
            [&change.api_version, change.action.name(), change.wave.name(), conflicts, uid, version].map(str::as_bytes),
        );
        parts.push(change.digest.as_ref().map_or(&[], |digest| digest.as_bytes().as_slice()));
    }
    Digest::of_parts(parts)
}

const fn presence(there: bool) -> &'static [u8] {
    if there { b"given" } else { b"absent" }
}
