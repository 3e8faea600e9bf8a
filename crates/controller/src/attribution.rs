//! Who did it: what is said of drift, from what the object claims of itself and what the API server told us. Never guessed,
//! and nothing that is decided depends on it: a revert waits for no answer.

use std::{collections::HashMap, sync::Arc};

use cluster::{Claims, claims};
use jiff::Timestamp;
use manifest::{FieldPath, ObjectRef};
use plan::{Actor, Attribution, Confidence, Decision, DriftReport, Level, SyncRef};
use serde::Deserialize;

use crate::{
    admission::{Changed, Observations, Observed},
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
    /// The object, until it is known which of its fields are asked for.
    json: Option<Arc<[u8]>>,
}

/// Who changed what.
#[derive(Debug, Default)]
pub(crate) struct Attributions {
    /// What the API server tells; `None`: nobody is looked for at all.
    observations: Option<Arc<Observations>>,
    noted: HashMap<ObjectRef, Noted>,
}

impl Attributions {
    /// Looks for whoever changes something from now on.
    pub(crate) fn look(&mut self, observations: Arc<Observations>) {
        self.observations = Some(observations);
    }

    /// A watch saw an object that is not, or may not be, as declared.
    pub(crate) fn seen(&mut self, reference: &ObjectRef, seen: &Change, now: Timestamp) {
        let Some(observations) = &self.observations else { return };
        let replicas = serde_json::from_slice::<Scaled>(&seen.json).ok().and_then(|scaled| scaled.spec.replicas);
        let observed = observations.who(Changed::To { uid: &seen.uid, content: seen.content, replicas }, now);
        self.note(reference, Noted { observed, json: Some(seen.json.clone()) });
    }

    /// A watch does not see an object any more.
    pub(crate) fn gone(&mut self, reference: &ObjectRef, uid: &str, now: Timestamp) {
        let Some(observations) = &self.observations else { return };
        let observed = observations.who(Changed::Gone { uid }, now);
        self.note(reference, Noted { observed, json: None });
    }

    fn note(&mut self, reference: &ObjectRef, noted: Noted) {
        if self.noted.len() < MAX_NOTED || self.noted.contains_key(reference) {
            self.noted.insert(reference.clone(), noted);
        }
    }

    /// The object is as declared: who changes it next is somebody else.
    pub(crate) fn settled(&mut self, reference: &ObjectRef) {
        self.noted.remove(reference);
    }

    /// Who did what a report tells of. `own`: the user that writ itself writes as.
    fn of(&self, report: &DriftReport, own: &str) -> Attribution {
        if self.observations.is_none() {
            return Attribution::default();
        }
        let Some(noted) = self.noted.get(&report.reference) else {
            return Attribution::unknown(
                "not observed: it happened while nobody watched, or too much happened at once",
            );
        };
        let claims = noted.json.as_ref().filter(|_| noted.observed.actors.is_empty()).map(|json| {
            let fields: Vec<FieldPath> = report.differences.iter().filter_map(|one| one.path.parse().ok()).collect();
            claims(json, &fields)
        });
        let is_exempt = report.reference.group_kind.group == EXEMPT;
        attribute(claims.as_ref(), &noted.observed, is_exempt, own)
    }
}

/// What of a sight is needed to say who it was.
pub(crate) struct Change {
    uid: String,
    content: u128,
    json: Arc<[u8]>,
}

impl From<&Observation> for Change {
    fn from(seen: &Observation) -> Self {
        Self { uid: seen.uid.clone(), content: seen.content, json: seen.json.clone() }
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

/// What was told by the API server, else what the object claims, else nobody; and why not more.
fn attribute(claims: Option<&Claims>, observed: &Observed, is_exempt: bool, own: &str) -> Attribution {
    let gap = if is_exempt && observed.actors.is_empty() {
        Some("not observed: no webhook is asked about this kind".to_owned())
    } else {
        observed.gap.clone()
    };
    if !observed.actors.is_empty() {
        let is_own = observed.actors.iter().any(|actor| actor.name == own);
        let says = is_own.then(|| "that is the ServiceAccount which writ itself writes as".to_owned());
        let gap = [gap, says].into_iter().flatten().reduce(|one, other| format!("{one}; {other}"));
        return Attribution { actors: observed.actors.clone(), gap };
    }
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

impl State {
    /// What was seen is noted before it is judged for good: who it was is asked once.
    pub(crate) fn note_author(&mut self, reference: &ObjectRef, change: &Change, sight: Sight, now: Timestamp) {
        match sight {
            Sight::Drifted | Sight::Contested | Sight::Waiting => self.attributions.seen(reference, change, now),
            Sight::Settled | Sight::Past => {}
        }
    }

    /// The decision, with who did what it is about.
    pub(crate) fn attributed(&self, sync: &SyncRef, mut decision: Decision) -> Decision {
        let account = self.syncs.get(sync).and_then(|state| state.obeyed.as_ref()?.service_account_name.clone());
        let own = match account {
            Some(account) => format!("system:serviceaccount:{}:{account}", sync.namespace),
            None => format!("system:serviceaccount:{}:writ", self.options.namespace),
        };
        let say = |report: &mut DriftReport| report.by = self.attributions.of(report, &own);
        match &mut decision {
            Decision::Revert(plan) => plan.attribute(say),
            Decision::Flag(reports, _) => reports.iter_mut().for_each(say),
            _ => {}
        }
        decision
    }
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

    #[test]
    fn the_strongest_level_is_said_and_nobody_is_made_up() {
        let said = |claims: Option<Claims>, observed: &Observed, is_exempt| {
            attribute(claims.as_ref(), observed, is_exempt, "system:serviceaccount:shop:deployer").to_string()
        };
        let named = || Some(Claims::Named(vec![claim("kubectl-edit")]));
        assert_eq!(said(named(), &observed(&["ana"], None), false), "by ana (observed)");
        assert_eq!(
            said(named(), &observed(&[], Some("not observed: x")), false),
            "claimed by manager kubectl-edit; not observed: x"
        );
        for claims in [None, Some(Claims::Missing), Some(Claims::Unreadable), Some(Claims::Named(vec![]))] {
            assert_eq!(said(claims, &observed(&[], Some("not observed: x")), false), "who is unknown: not observed: x");
        }
        assert_eq!(
            said(named(), &observed(&[], Some("not observed: x")), true),
            "claimed by manager kubectl-edit; not observed: no webhook is asked about this kind"
        );
        assert_eq!(
            said(None, &observed(&["system:serviceaccount:shop:deployer"], None), false),
            "by system:serviceaccount:shop:deployer (observed); that is the ServiceAccount which writ itself writes as"
        );
    }
}
