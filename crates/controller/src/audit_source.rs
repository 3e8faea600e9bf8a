//! The audit log of the API server, as far as it tells who changed something: user, address, program, impersonator.
//!
//! It is read from a file (`--audit-log`), which is written by whoever runs the API server and believed as such. Events come
//! when they come, mostly after the watch told of the change: what is found later is told later. Sub-module: `tail` (the file).

mod tail;

use std::{collections::VecDeque, sync::Mutex};

use jiff::{SignedDuration, Timestamp};
use plan::{Actor, Confidence, Level, MAX_ACTOR_GROUPS, MAX_ACTORS, actor_text};
use serde::Deserialize;

pub use tail::AuditLogError;
pub(crate) use tail::Tail;

use crate::{admission::lock, stamp::UserInfo};

/// Longest event: one that has the object of the request and of the answer, 1.5 MiB each, as JSON in JSON.
const MAX_EVENT_BYTES: usize = 8 << 20;
/// How many writes are kept: some 600 bytes each, 2.4 MB.
const MAX_KEPT: usize = 4_096;
/// How long after a write the watch tells of it at the latest for it to be likely that this was it: events come within a
/// second, and clocks of one control plane differ by less than that.
const WINDOW: SignedDuration = SignedDuration::from_secs(5);
/// How much later than the watch event a write may seem to be: clocks, and the time that an answer takes to be logged.
const SKEW: SignedDuration = SignedDuration::from_secs(1);

/// A write that the API server carried out.
#[derive(Debug, Clone)]
struct Write {
    group: String,
    resource: String,
    namespace: String,
    name: String,
    uid: String,
    /// That of the answer; empty where objects are not logged.
    version: String,
    is_deletion: bool,
    /// Whether writ itself was signed in: its own writes are just before and after those of others.
    is_own: bool,
    actor: Actor,
    at: Timestamp,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// API group.
    pub(crate) group: String,
    /// Plural of the kind.
    pub(crate) resource: String,
    /// Namespace; empty for what has none.
    pub(crate) namespace: String,
    /// Name.
    pub(crate) name: String,
    /// UID.
    pub(crate) uid: String,
    /// The version that the watch told of; `None`: it is gone.
    pub(crate) version: Option<String>,
    /// When it did.
    pub(crate) seen: Timestamp,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    #[serde(default)]
    stage: String,
    #[serde(default)]
    verb: String,
    user: UserInfo,
    #[serde(default)]
    impersonated_user: Option<UserInfo>,
    #[serde(default, rename = "sourceIPs")]
    source_ips: Vec<String>,
    #[serde(default)]
    user_agent: String,
    #[serde(default)]
    object_ref: Option<Reference>,
    #[serde(default)]
    response_status: Option<Status>,
    #[serde(default)]
    response_object: Option<Object>,
    stage_timestamp: Timestamp,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Reference {
    api_group: String,
    resource: String,
    namespace: String,
    name: String,
    uid: String,
    subresource: String,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    code: u16,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Object {
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    uid: String,
    resource_version: String,
}

/// The newest writes; shared by the thread that reads and the loop that asks.
#[derive(Debug)]
pub(crate) struct AuditEvents {
    kept: Mutex<VecDeque<Write>>,
    own: String,
}

impl AuditEvents {
    /// None yet. `own`: the user that writ signs in as.
    pub(crate) fn new(own: String) -> Self {
        Self { kept: Mutex::default(), own }
    }

    /// One event, as a line of JSON. What is no write that succeeded is passed over, and so is what is no event.
    pub(crate) fn read(&self, line: &[u8]) {
        let Some(write) = parse(line, &self.own) else { return };
        let mut kept = lock(&self.kept);
        kept.push_back(write);
        if kept.len() > MAX_KEPT {
            kept.pop_front();
        }
    }

    /// Who did this: by the version that the write came to, else each whose write of this object was just before.
    pub(crate) fn who(&self, wanted: &Wanted) -> Vec<Actor> {
        let kept = lock(&self.kept);
        let is_it = |write: &&Write| is_of(write, wanted) && write.is_deletion == wanted.version.is_none();
        let by_version = |write: &&Write| {
            let known = wanted.version.as_deref().filter(|_| !write.version.is_empty());
            known == Some(write.version.as_str())
        };
        let proven: Vec<&Write> = kept.iter().filter(is_it).filter(by_version).collect();
        if !proven.is_empty() {
            return actors(&proven, Confidence::Sure);
        }
        // One whose answer was logged came to another version.
        let fits = |write: &&Write| {
            let age = wanted.seen.duration_since(write.at);
            write.version.is_empty() && !write.is_own && (-SKEW..=WINDOW).contains(&age)
        };
        let likely: Vec<&Write> = kept.iter().filter(is_it).filter(fits).collect();
        actors(&likely, Confidence::Likely)
    }
}

fn is_of(write: &Write, wanted: &Wanted) -> bool {
    let is_same = write.uid.is_empty() || write.uid == wanted.uid;
    is_same
        && write.name == wanted.name
        && write.namespace == wanted.namespace
        && write.resource == wanted.resource
        && write.group == wanted.group
}

/// Each user once, the newest first.
fn actors(found: &[&Write], confidence: Confidence) -> Vec<Actor> {
    let mut actors: Vec<Actor> = Vec::new();
    for write in found.iter().rev() {
        if actors.len() < MAX_ACTORS && !actors.iter().any(|actor| actor.name == write.actor.name) {
            actors.push(Actor { confidence, ..write.actor.clone() });
        }
    }
    actors
}

fn parse(line: &[u8], own: &str) -> Option<Write> {
    if line.len() > MAX_EVENT_BYTES {
        return None;
    }
    let event: Event = serde_json::from_slice(line).ok()?;
    let is_deletion = event.verb == "delete";
    let is_write = is_deletion || matches!(event.verb.as_str(), "create" | "update" | "patch");
    let succeeded = event.response_status.is_some_and(|status| (200..300).contains(&status.code));
    if event.stage != "ResponseComplete" || !is_write || !succeeded {
        return None;
    }
    let reference = event.object_ref?;
    // What is below an object changes it where it is not its status, and is written as what the object is not.
    let is_below = !matches!(reference.subresource.as_str(), "" | "scale");
    if is_below {
        return None;
    }
    let object = event.response_object.unwrap_or_default().metadata;
    let is_own = event.user.username == own;
    let (by, signed_in) = match event.impersonated_user {
        Some(other) => (other, Some(actor_text(&event.user.username))),
        None => (event.user, None),
    };
    let actor = Actor {
        groups: by.groups.iter().take(MAX_ACTOR_GROUPS).map(|group| actor_text(group)).collect(),
        agent: (!event.user_agent.is_empty()).then(|| actor_text(&event.user_agent)),
        source: event.source_ips.first().map(|address| actor_text(address)),
        impersonator: signed_in,
        operation: Some(actor_text(&event.verb)),
        subresource: (!reference.subresource.is_empty()).then(|| actor_text(&reference.subresource)),
        at: Some(event.stage_timestamp),
        ..Actor::new(Level::Audited, Confidence::Sure, &by.username)
    };
    Some(Write {
        group: reference.api_group,
        resource: reference.resource,
        namespace: reference.namespace,
        name: reference.name,
        uid: if object.uid.is_empty() { reference.uid } else { object.uid },
        // The answer to a deletion has a version of before, or none.
        version: if is_deletion { String::new() } else { object.resource_version },
        is_deletion,
        is_own,
        actor,
        at: event.stage_timestamp,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event(user: &str, more: &Value) -> Value {
        let mut event = json!({"kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "RequestResponse", "stage": "ResponseComplete",
            "verb": "patch", "user": {"username": user, "groups": ["dev"]}, "sourceIPs": ["10.0.0.7", "10.0.0.1"], "userAgent": "kubectl/v1",
            "objectRef": {"apiGroup": "apps", "apiVersion": "v1", "resource": "deployments", "namespace": "shop", "name": "web"},
            "responseStatus": {"code": 200}, "responseObject": {"metadata": {"uid": "u", "resourceVersion": "8"}},
            "requestReceivedTimestamp": "2026-11-28T05:00:00.000000Z", "stageTimestamp": "2026-11-28T05:00:01.000000Z"});
        for (key, value) in more.as_object().unwrap() {
            event[key] = value.clone();
        }
        event
    }

    fn wanted(version: Option<&str>) -> Wanted {
        let text = str::to_owned;
        Wanted {
            group: text("apps"),
            resource: text("deployments"),
            namespace: text("shop"),
            name: text("web"),
            uid: text("u"),
            version: version.map(text),
            seen: "2026-11-28T05:00:02Z".parse().unwrap(),
        }
    }

    fn said(events: &[Value], wanted: &Wanted) -> String {
        let audit = AuditEvents::new("writ".to_owned());
        for event in events {
            audit.read(event.to_string().as_bytes());
        }
        plan::Attribution { actors: audit.who(wanted), gap: None }.to_string()
    }

    #[test]
    fn by_version_where_answers_are_logged() {
        let other = event("ben", &json!({"responseObject": {"metadata": {"uid": "u", "resourceVersion": "9"}}}));
        let events = [event("ana", &json!({})), other];
        assert_eq!(said(&events, &wanted(Some("8"))), "by ana from 10.0.0.7 (audited)");
        assert_eq!(said(&events, &wanted(Some("9"))), "by ben from 10.0.0.7 (audited)");
        assert_eq!(said(&events, &wanted(Some("10"))), "who is unknown");
        let as_her = event("eva", &json!({"impersonatedUser": {"username": "ana"}}));
        assert_eq!(said(&[as_her], &wanted(Some("8"))), "by ana, as whom eva acted from 10.0.0.7 (audited)");
    }

    #[test]
    fn by_object_verb_and_time_where_they_are_not() {
        let at = |user: &str, second: u8| {
            let time = format!("2026-11-28T05:00:{second:02}Z");
            event(user, &json!({"responseObject": null, "stageTimestamp": time}))
        };
        assert_eq!(said(&[at("ana", 1)], &wanted(Some("8"))), "by ana from 10.0.0.7 (audited, likely)");
        assert_eq!(said(&[at("ana", 8)], &wanted(Some("8"))), "who is unknown");
        // Our own writes are near all others, and none of them is drift.
        let mut own = at("writ", 1);
        own["impersonatedUser"] = json!({"username": "deployer"});
        assert_eq!(said(&[own, at("ana", 1)], &wanted(Some("8"))), "by ana from 10.0.0.7 (audited, likely)");
        assert_eq!(said(&[at("ana", 1)], &wanted(None)), "who is unknown");
        let gone = event("ben", &json!({"verb": "delete", "responseObject": null}));
        assert_eq!(said(&[gone], &wanted(None)), "by ben from 10.0.0.7 (audited, likely)");
    }

    #[test]
    fn what_failed_was_read_or_was_about_something_else_is_passed_over() {
        let reference = |more: Value| {
            let mut reference = event("ana", &json!({}))["objectRef"].clone();
            for (key, value) in more.as_object().unwrap() {
                reference[key] = value.clone();
            }
            json!({"objectRef": reference})
        };
        for other in [
            json!({"responseStatus": {"code": 409}}),
            json!({"responseStatus": null}),
            json!({"stage": "RequestReceived"}),
            json!({"verb": "get"}),
            json!({"objectRef": null}),
            reference(json!({"name": "db"})),
            reference(json!({"namespace": "else"})),
            reference(json!({"resource": "statefulsets"})),
            reference(json!({"apiGroup": "extensions"})),
            reference(json!({"subresource": "status"})),
            json!({"responseObject": {"metadata": {"uid": "another", "resourceVersion": "8"}}}),
        ] {
            assert_eq!(said(&[event("ana", &other)], &wanted(Some("8"))), "who is unknown", "{other}");
        }
        let audit = AuditEvents::new("writ".to_owned());
        for odd in ["", "{", "[]", "null", "{\"user\":7}"] {
            audit.read(odd.as_bytes());
        }
        for n in 0..MAX_KEPT + 1 {
            audit.read(event(&n.to_string(), &json!({})).to_string().as_bytes());
        }
        assert_eq!(lock(&audit.kept).len(), MAX_KEPT);
    }

    #[test]
    fn text_of_strangers_is_made_plain() {
        let odd = event("a\u{1b}[2Jb", &json!({"sourceIPs": ["\u{202e}7"], "userAgent": "x".repeat(10_000)}));
        assert_eq!(said(&[odd], &wanted(Some("8"))), "by a\u{fffd}[2Jb from \u{fffd}7 (audited)");
    }
}
