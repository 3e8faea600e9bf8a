//! One change: its request, its retries, its outcome.

use std::time::Duration;

use http::Method;
use manifest::{Finding, Subject, canonical_json};
use plan::{Action, ApplySetId, Change, Conflicts, Visibility, declared_differences, surplus};
use serde_json::Value;
use tokio::time::{Instant, sleep_until};

use super::{
    Done, Failure, Made, Retry,
    lanes::{Lane, Pressure},
};
use crate::{
    AppliedByWrit, Cluster, ClusterCode, FIELD_MANAGER, Identity, Resource, Sighting,
    explain::{self, Asker},
    read::find_one,
    request::{Answer, Call, RequestError},
};

/// Attempts at one request. With the pauses below the last one is some 6 s after the first: a
/// restart of the API server is survived, an outage is reported.
const MAX_ATTEMPTS: u32 = 6;
/// Pause after the first failed attempt; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause, also when the server asks for more: a Retry-After of hours is an outage.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// How long a kind whose definition came in the same plan may answer 404: the API server announces
/// it before all of it serves it.
const KIND_GRACE: Duration = Duration::from_secs(30);

/// Whether the kind of a change is defined by the same plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Novelty {
    Known,
    New,
}

/// Why a request was given up.
enum Stop {
    /// The plan's time ran out.
    Late,
    /// It failed for good, or too often.
    Failed(RequestError),
}

/// What all changes of a plan have in common.
pub(crate) struct Context<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) identity: Identity,
    pub(crate) lane: Lane,
    pub(crate) part_of: ApplySetId,
    pub(crate) deadline: Instant,
    pub(crate) timeout_fix: String,
}

impl Context<'_> {
    /// Makes one change. The second value counts the requests that wrote.
    pub(crate) async fn make(
        &self,
        change: &Change,
        resource: &Resource,
        novelty: Novelty,
    ) -> (Result<Done, Failure>, u64) {
        match (&change.action, &change.body) {
            (Action::Prune { uid, resource_version }, _) => self.prune(change, resource, uid, resource_version).await,
            (action, Some(body)) => {
                let force = !matches!(action, Action::Create { conflicts: Conflicts::Refuse });
                let path = format!(
                    "{}?fieldManager={FIELD_MANAGER}&fieldValidation=Strict&force={force}",
                    resource.path(change.reference.namespace.as_deref(), Some(&change.reference.name))
                );
                let call = Call::new(Method::PATCH, path)
                    .body("application/apply-patch+yaml", body.clone())
                    .by(&self.identity);
                let (answer, writes) = self.write(&call, novelty).await;
                let result = match answer {
                    Ok(answer) => self.applied(change, &answer),
                    Err(stop) => Err(self.explain(&stop, change, resource).await),
                };
                (result, writes)
            }
            (_, None) => (Err(self.fail(change, "the plan has no body for it", "a body")), 0),
        }
    }

    fn applied(&self, change: &Change, answer: &Answer) -> Result<Done, Failure> {
        let sighting = Sighting::read(self.cluster.id(), &change.reference.group_kind, &answer.body)
            .map_err(|_unreadable| self.fail(change, "the API server's answer cannot be read", "an object"))?;
        if answer.status != 201 {
            return Ok(Done::Configured { sighting });
        }
        let made = if change.sensitive { None } else { made(change, &answer.body) };
        Ok(Done::Created { sighting, made })
    }

    fn fail(&self, change: &Change, found: &str, needed: &str) -> Failure {
        Failure {
            finding: Finding {
                code: ClusterCode::A106.entry(),
                subject: Subject::Object { reference: change.reference.clone(), field: None },
                rule: None,
                found: found.into(),
                needed: needed.into(),
                fix: "none, it is tried again".into(),
            },
            retry: Retry::Later,
        }
    }

    /// Deletes, if it still is the object that was judged, carries our label and was applied by us.
    async fn prune(
        &self,
        change: &Change,
        resource: &Resource,
        uid: &str,
        resource_version: &str,
    ) -> (Result<Done, Failure>, u64) {
        let reference = &change.reference;
        match find_one(self.cluster, resource, reference).await {
            Err(error) => return (Err(self.failed(&error, change, resource, &Identity::Own).await), 0),
            Ok(None) => return (Ok(Done::Gone), 0),
            Ok(Some(seen)) if seen.uid != uid || seen.resource_version != resource_version => {
                return (Err(explain::moved_on(reference)), 0);
            }
            Ok(Some(seen))
                if seen.part_of.as_deref() != Some(self.part_of.as_str())
                    || seen.applied_by_writ == AppliedByWrit::No =>
            {
                return (Err(explain::not_ours(reference, resource)), 0);
            }
            Ok(Some(_)) => {}
        }
        let options = serde_json::json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": uid, "resourceVersion": resource_version},
        });
        let path = resource.path(reference.namespace.as_deref(), Some(&reference.name));
        let call = Call::new(Method::DELETE, path)
            .body("application/json", options.to_string().into_bytes().into())
            .by(&self.identity);
        let (answer, writes) = self.write(&call, Novelty::Known).await;
        match answer {
            Ok(_) => (Ok(Done::Pruned), writes),
            // Gone between the look and the request.
            Err(Stop::Failed(error)) if error.status() == Some(404) => (Ok(Done::Gone), writes),
            Err(Stop::Failed(error)) if error.status() == Some(409) => (Err(explain::moved_on(reference)), writes),
            Err(stop) => (Err(self.explain(&stop, change, resource).await), writes),
        }
    }

    async fn explain(&self, stop: &Stop, change: &Change, resource: &Resource) -> Failure {
        match stop {
            Stop::Late => explain::too_late(&change.reference, &self.timeout_fix),
            Stop::Failed(error) => self.failed(error, change, resource, &self.identity).await,
        }
    }

    /// What it means that a request about a change, made as `identity`, failed.
    pub(super) async fn failed(
        &self,
        error: &RequestError,
        change: &Change,
        resource: &Resource,
        identity: &Identity,
    ) -> Failure {
        let own = if explain::is_about_writ(error, identity) { self.cluster.user().await } else { None };
        explain::change(error, change, resource, &Asker { identity, own })
    }

    /// Sends a request until it is answered for good.
    async fn write(&self, call: &Call, novelty: Novelty) -> (Result<Answer, Stop>, u64) {
        let started = Instant::now();
        let mut pause = FIRST_PAUSE;
        let mut attempt = 0;
        let mut writes = 0;
        loop {
            if Instant::now() >= self.deadline {
                return (Err(Stop::Late), writes);
            }
            let permit = self.cluster.lanes().enter(self.lane).await;
            let outcome = self.cluster.send(call).await;
            writes += 1;
            let error = match outcome {
                Ok(answer) => {
                    permit.leave(Pressure::Served);
                    return (Ok(answer), writes);
                }
                Err(error) => error,
            };
            permit.leave(if error.is_transient() { Pressure::Overloaded } else { Pressure::Served });
            let not_served_yet =
                novelty == Novelty::New && error.status() == Some(404) && started.elapsed() < KIND_GRACE;
            attempt += u32::from(!not_served_yet);
            if !(not_served_yet || is_worth_retrying(&error)) || attempt >= MAX_ATTEMPTS {
                return (Err(Stop::Failed(error)), writes);
            }
            let asked = error.failure().and_then(|failure| failure.retry_after).unwrap_or_default();
            let wait = pause.max(asked).min(MAX_PAUSE);
            pause = pause.saturating_mul(2);
            sleep_until((Instant::now() + wait).min(self.deadline)).await;
        }
    }
}

/// Transient failures, and the two conflicts that are about timing rather than ownership.
fn is_worth_retrying(error: &RequestError) -> bool {
    error.is_transient()
        || error.failure().is_some_and(|failure| {
            failure.status == 409
                && (failure.reason == "AlreadyExists" || failure.reason == "Conflict" && failure.causes.is_empty())
        })
}

/// What a create came to: the answer is read once for all that is asked of it.
fn made(change: &Change, answer: &[u8]) -> Option<Made> {
    let live: Value = serde_json::from_slice(answer).ok()?;
    let declared: Value = serde_json::from_slice(change.body.as_deref()?).ok()?;
    let kind = &change.reference.group_kind;
    let differences = declared_differences(&declared, &live, kind, Visibility::Shown);
    let surplus = surplus(&declared, &live, kind);
    Some(Made { baseline: baseline(live)?, differences, surplus })
}

/// Canonical JSON of an object without status and bookkeeping.
fn baseline(mut object: Value) -> Option<Vec<u8>> {
    object.as_object_mut()?.remove("status");
    let metadata = object.get_mut("metadata")?.as_object_mut()?;
    for field in ["managedFields", "resourceVersion", "generation", "uid", "creationTimestamp"] {
        metadata.remove(field);
    }
    Some(canonical_json(&object))
}
