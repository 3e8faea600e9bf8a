//! Who did it: what is said of drift, from what the object claims of itself and what the API server told us. Never guessed,
//! and nothing that is decided depends on it: a revert waits for no answer.

use std::{collections::HashMap, sync::Arc};

use cluster::{Claims, WatchTarget, claims};
use jiff::Timestamp;
use manifest::{FieldPath, ObjectRef};
use plan::{Actor, Attribution, Confidence, Decision, DriftReport, Level, SyncRef};
use serde::Deserialize;

use crate::{
    admission::{Changed, Observations, Observed},
    attribution_later::Later,
    audit_source::{AuditEvents, Wanted},
    live::{Observation, Sight},
    state::State,
};

/// Most objects of which it is kept who changed them. At 3 kB each, of which most is the object itself until it is asked for
/// what it claims: 3 MB. Beyond, the one that is told is the first that is not known.
const MAX_NOTED: usize = 1_000;
/// The group whose kinds no webhook is asked about, so that nobody can lock himself out.
const EXEMPT: &str = "admissionregistration.k8s.io";

/// What was seen of one change.
#[derive(Debug)]
struct Noted {
    observed: Observed,
    change: Change,
    seen: Timestamp,
}

/// Who changed what.
#[derive(Debug, Default)]
pub(crate) struct Attributions {
    /// What the API server tells; `None`: it is not to.
    observations: Option<Arc<Observations>>,
    /// Its audit log, if that is read.
    pub(crate) audit: Option<Arc<AuditEvents>>,
    noted: HashMap<ObjectRef, Noted>,
    /// What the audit log may still tell of.
    pub(crate) later: Later,
}

impl Attributions {
    /// Looks for whoever changes something from now on.
    pub(crate) fn look(&mut self, observations: Arc<Observations>) {
        self.observations = Some(observations);
    }

    /// Looks into the audit log as well.
    pub(crate) fn look_into(&mut self, audit: Arc<AuditEvents>) {
        self.audit = Some(audit);
    }

    /// Whether anybody is looked for.
    pub(crate) fn is_on(&self) -> bool {
        self.observations.is_some() || self.audit.is_some()
    }

    /// A watch saw an object that is not, or may not be, as declared.
    pub(crate) fn seen(&mut self, reference: &ObjectRef, change: Change, now: Timestamp) {
        let replicas = || {
            let scaled = serde_json::from_slice::<Scaled>(change.json.as_ref()?).ok()?;
            scaled.spec.replicas
        };
        let observed = self.observations.as_ref().map(|observations| {
            let changed = Changed::To { uid: &change.uid, content: change.content, replicas: replicas() };
            observations.who(changed, now)
        });
        self.note(reference, observed, change, now);
    }

    /// A watch does not see an object any more.
    pub(crate) fn gone(&mut self, reference: &ObjectRef, change: Change, now: Timestamp) {
        let observed = self.observations.as_ref().map(|one| one.who(Changed::Gone { uid: &change.uid }, now));
        self.note(reference, observed, change, now);
    }

    fn note(&mut self, reference: &ObjectRef, observed: Option<Observed>, change: Change, seen: Timestamp) {
        let has_room = self.noted.len() < MAX_NOTED || self.noted.contains_key(reference);
        if has_room && self.is_on() {
            let observed = observed.unwrap_or_default();
            self.noted.insert(reference.clone(), Noted { observed, change, seen });
        }
    }

    /// The object is as declared: who changes it next is somebody else.
    pub(crate) fn settled(&mut self, reference: &ObjectRef) {
        self.noted.remove(reference);
    }

    /// Who did what a report tells of. `own`: the user that writ itself writes as.
    fn of(&mut self, sync: &SyncRef, report: &DriftReport, own: &str) -> Attribution {
        if !self.is_on() {
            return Attribution::default();
        }
        let Some(noted) = self.noted.get(&report.reference) else {
            return Attribution::unknown(
                "not observed: it happened while nobody watched, or too much happened at once",
            );
        };
        let wanted = noted.change.wanted(noted.seen);
        let audited = self.audit.as_ref().map(|audit| audit.who(&wanted)).unwrap_or_default();
        let claims = noted.change.json.as_ref().map(|json| {
            let fields: Vec<FieldPath> = report.differences.iter().filter_map(|one| one.path.parse().ok()).collect();
            claims(json, &fields)
        });
        let is_exempt = report.reference.group_kind.group == EXEMPT;
        let found = attribute(claims.as_ref(), &noted.observed, &audited, is_exempt);
        if self.audit.is_some() && found.level() != Some(Level::Audited) {
            self.later.ask(sync, &report.reference, wanted, found.level());
        }
        with_own(found, own)
    }
}

/// What of a sight is needed to say who it was.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    plural: String,
    namespace: String,
    name: String,
    group: String,
    uid: String,
    version: Option<String>,
    content: u128,
    json: Option<Arc<[u8]>>,
}

impl Change {
    /// Of an object that is there.
    pub(crate) fn new(target: &WatchTarget, reference: &ObjectRef, seen: &Observation) -> Self {
        let version = Some(seen.resource_version.clone());
        let json = Some(seen.json.clone());
        Self { version, content: seen.content, json, ..Self::gone(target, reference, &seen.uid) }
    }

    /// Of one that is not, or is not told of any more.
    pub(crate) fn gone(target: &WatchTarget, reference: &ObjectRef, uid: &str) -> Self {
        Self {
            plural: target.resource.plural.clone(),
            namespace: reference.namespace.clone().unwrap_or_default(),
            name: reference.name.clone(),
            group: reference.group_kind.group.clone(),
            uid: uid.to_owned(),
            version: None,
            content: 0,
            json: None,
        }
    }

    fn wanted(&self, seen: Timestamp) -> Wanted {
        Wanted {
            group: self.group.clone(),
            resource: self.plural.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            version: self.version.clone(),
            seen,
        }
    }
}

#[derive(Deserialize)]
struct Scaled {
    #[serde(default)]
    spec: ScaledSpec,
}

#[derive(Default, Deserialize)]
struct ScaledSpec {
    #[serde(default)]
    replicas: Option<i64>,
}

/// The audit log where it proves it, else what the API server told, else what fits in the audit log, else what the object
/// claims, else nobody; and why not more.
fn attribute(claims: Option<&Claims>, observed: &Observed, audited: &[Actor], is_exempt: bool) -> Attribution {
    let is_proven = audited.iter().any(|actor| actor.confidence == Confidence::Sure);
    if is_proven || observed.actors.is_empty() && !audited.is_empty() {
        return Attribution { actors: audited.to_vec(), gap: None };
    }
    if !observed.actors.is_empty() {
        return Attribution { actors: observed.actors.clone(), gap: observed.gap.clone() };
    }
    let gap = if is_exempt {
        Some("not observed: no webhook is asked about this kind".to_owned())
    } else {
        observed.gap.clone()
    };
    let named = match claims {
        Some(Claims::Named(named)) => named.as_slice(),
        Some(Claims::Missing | Claims::Unreadable) | None => &[],
    };
    let confidence = if named.len() > 1 { Confidence::OneOf } else { Confidence::Sure };
    let actors = named.iter().map(|claim| Actor {
        operation: Some(claim.operation.clone()),
        subresource: claim.subresource.clone(),
        at: claim.time,
        ..Actor::new(Level::Claimed, confidence, &claim.manager)
    });
    Attribution { actors: actors.collect(), gap }
}

/// A person who acts as the ServiceAccount that writ writes as looks like writ.
fn with_own(mut found: Attribution, own: &str) -> Attribution {
    let is_own = |actor: &Actor| actor.name == own && actor.level != Level::Claimed && actor.impersonator.is_none();
    if found.actors.iter().any(is_own) {
        let says = "that is the ServiceAccount which writ itself writes as".to_owned();
        found.gap = Some(found.gap.map_or_else(|| says.clone(), |gap| format!("{gap}; {says}")));
    }
    found
}

impl State {
    /// What was seen is noted before it is judged for good: who it was is asked once.
    pub(crate) fn note_author(&mut self, reference: &ObjectRef, change: Change, sight: Sight, now: Timestamp) {
        match sight {
            Sight::Drifted | Sight::Contested | Sight::Waiting => self.attributions.seen(reference, change, now),
            Sight::Settled | Sight::Past => {}
        }
    }

    /// The decision, with who did what it is about.
    pub(crate) fn attributed(&mut self, sync: &SyncRef, mut decision: Decision) -> Decision {
        let account = self.syncs.get(sync).and_then(|state| state.obeyed.as_ref()?.service_account_name.clone());
        let own = match account {
            Some(account) => format!("system:serviceaccount:{}:{account}", sync.namespace),
            None => own_user(&self.options.namespace),
        };
        let say = |report: &mut DriftReport| report.by = self.attributions.of(sync, report, &own);
        match &mut decision {
            Decision::Revert(plan) => plan.attribute(say),
            Decision::Flag(reports, _) => reports.iter_mut().for_each(say),
            _ => {}
        }
        decision
    }
}

/// The user that writ itself signs in as: the ServiceAccount of `deploy/`.
pub(crate) fn own_user(namespace: &str) -> String {
    format!("system:serviceaccount:{namespace}:writ")
}

/// What is said of who did it, after the words before it; nothing if nobody is looked for.
pub(crate) fn with_author(words: &str, by: &Attribution) -> String {
    if by.is_empty() { words.to_owned() } else { format!("{words}; {by}") }
}

#[cfg(test)]
mod tests {
    use cluster::Claim;

    use super::*;

    fn claim(manager: &str) -> Claim {
        Claim { manager: manager.to_owned(), operation: "Update".to_owned(), subresource: None, time: None }
    }

    fn observed(names: &[&str], gap: Option<&str>) -> Observed {
        let actors = names.iter().map(|name| Actor::new(Level::Observed, Confidence::Sure, name)).collect();
        Observed { actors, gap: gap.map(str::to_owned) }
    }

    fn audited(name: &str, confidence: Confidence) -> Vec<Actor> {
        vec![Actor::new(Level::Audited, confidence, name)]
    }

    #[test]
    fn the_strongest_level_is_said_and_nobody_is_made_up() {
        let own = "system:serviceaccount:shop:deployer";
        let said = |claims: Option<Claims>, observed: &Observed, audited: &[Actor], is_exempt| {
            with_own(attribute(claims.as_ref(), observed, audited, is_exempt), own).to_string()
        };
        let named = || Some(Claims::Named(vec![claim("kubectl-edit")]));
        let nobody = observed(&[], Some("not observed: x"));
        assert_eq!(said(named(), &observed(&["ana"], None), &[], false), "by ana (observed)");
        assert_eq!(said(named(), &nobody, &[], false), "claimed by manager kubectl-edit; not observed: x");
        for claims in [None, Some(Claims::Missing), Some(Claims::Unreadable), Some(Claims::Named(vec![]))] {
            assert_eq!(said(claims, &nobody, &[], false), "who is unknown: not observed: x");
        }
        assert_eq!(
            said(named(), &nobody, &[], true),
            "claimed by manager kubectl-edit; not observed: no webhook is asked about this kind"
        );
        let (sure, likely) = (audited("ben", Confidence::Sure), audited("ben", Confidence::Likely));
        assert_eq!(said(named(), &observed(&["ana"], None), &sure, false), "by ben (audited)");
        assert_eq!(said(named(), &observed(&["ana"], None), &likely, false), "by ana (observed)");
        assert_eq!(said(named(), &nobody, &likely, true), "by ben (audited, likely)");
        assert_eq!(
            said(None, &observed(&[own], None), &[], false),
            format!("by {own} (observed); that is the ServiceAccount which writ itself writes as")
        );
    }
}
