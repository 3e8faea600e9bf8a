//! What is answered. Changes are always allowed; a request is stamped, or refused if no stamp can be on it.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use manifest::Digest;
use serde_json::{Value, json};

use super::{
    Desk,
    review::{Operation, Request, Review},
};
use crate::stamp::{FIELD, Stamped};

/// Largest question: an object before and after a change, 1.5 MiB each in etcd, and a third more as JSON. With all connections
/// at once (32) that is 128 MiB; what is larger is not observed.
pub(super) const MAX_BODY_BYTES: usize = 4 << 20;
/// The kinds that are stamped.
const STAMPED: [&str; 2] = ["PauseRequest", "DriftRequest"];

pub(super) fn router(desk: Arc<Desk>) -> Router {
    Router::new().route("/observe/{token}", post(observe)).route("/stamp/{token}", post(stamp)).with_state(desk)
}

/// Why a question is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unanswered {
    Stranger,
    TooLarge,
    Unreadable,
}

impl IntoResponse for Unanswered {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Stranger => StatusCode::NOT_FOUND,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unreadable => StatusCode::BAD_REQUEST,
        };
        // Whoever is no API server goes.
        (status, [(header::CONNECTION, "close")]).into_response()
    }
}

async fn observe(State(desk): State<Arc<Desk>>, Path(token): Path<String>, body: Body) -> Result<Response, Unanswered> {
    let bytes = desk.read(&token, body).await?;
    let answer = desk.observed(&bytes, Timestamp::now())?;
    Ok(said(&answer))
}

async fn stamp(State(desk): State<Arc<Desk>>, Path(token): Path<String>, body: Body) -> Result<Response, Unanswered> {
    let bytes = desk.read(&token, body).await?;
    let answer = desk.stamped(&bytes)?;
    Ok(said(&answer))
}

fn said(answer: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], answer.to_string()).into_response()
}

impl Desk {
    /// The body, of whoever knows the path.
    async fn read(&self, token: &str, body: Body) -> Result<Vec<u8>, Unanswered> {
        // Digests of both: how long it takes says nothing about the token.
        if Digest::of(token.as_bytes()) != Digest::of(self.token.as_bytes()) {
            return Err(Unanswered::Stranger);
        }
        to_bytes(body, MAX_BODY_BYTES).await.map(Into::into).map_err(|_large| Unanswered::TooLarge)
    }

    /// Notes who changes what, and allows it.
    pub(super) fn observed(&self, bytes: &[u8], now: Timestamp) -> Result<Value, Unanswered> {
        let Review { request } = serde_json::from_slice(bytes).map_err(|_odd| Unanswered::Unreadable)?;
        let is_noted = !request.dry_run && request.operation != Operation::Other;
        if let (true, Some(user), Some(subject)) = (is_noted, &request.user_info, request.subject(&self.instance)) {
            self.observations.note(subject, user, (request.operation, &request.sub_resource), now);
        }
        Ok(answer(&json!({"uid": request.uid, "allowed": true})))
    }

    /// Writes who makes the request into it.
    pub(super) fn stamped(&self, bytes: &[u8]) -> Result<Value, Unanswered> {
        let Review { request } = serde_json::from_slice(bytes).map_err(|_odd| Unanswered::Unreadable)?;
        let uid = &request.uid;
        Ok(answer(&match self.patch(&request) {
            Ok(patch) => json!({"uid": uid, "allowed": true, "patchType": "JSONPatch", "patch": patch}),
            Err(why) => {
                json!({"uid": uid, "allowed": false, "status": {"code": 422, "reason": "Invalid", "message": why}})
            }
        }))
    }

    fn patch(&self, request: &Request<'_>) -> Result<String, &'static str> {
        if request.kind.group != cluster::crd::GROUP || !STAMPED.contains(&request.kind.kind.as_str()) {
            return Err("writ stamps PauseRequests and DriftRequests, and nothing else");
        }
        if request.operation != Operation::Create {
            return Err("writ stamps a request when it is made, and never later");
        }
        // A name that the server makes comes later than we are asked.
        if request.name.is_empty() {
            return Err("writ stamps requests that have a name: set metadata.name in place of generateName");
        }
        let user =
            request.user_info.as_ref().filter(|user| !user.username.is_empty()).ok_or("nobody makes the request")?;
        let object = request.object.ok_or("there is no object")?;
        let object: Value = serde_json::from_str(object.get()).map_err(|_odd| "the object cannot be read")?;
        let spec = object.get("spec").filter(|spec| spec.is_object()).ok_or("it has no spec")?;
        let stamped = Stamped { kind: &request.kind.kind, namespace: &request.namespace, name: &request.name, spec };
        let by = self.stamp.sign(&stamped, user);
        let patch = json!([{"op": "add", "path": format!("/spec/{FIELD}"), "value": by}]);
        Ok(STANDARD.encode(patch.to_string()))
    }
}

fn answer(response: &Value) -> Value {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        admission::{Changed, Observations},
        stamp::Stamp,
    };

    fn desk() -> Desk {
        Desk {
            observations: Arc::new(Observations::default()),
            stamp: Stamp::derive(b"secret"),
            token: "t".to_owned(),
            instance: "one".to_owned(),
        }
    }

    fn review(kind: &str, more: &Value) -> Vec<u8> {
        let mut request = json!({"uid": "q", "kind": {"group": "writ.dev", "version": "v1alpha1", "kind": kind},
            "name": "night", "namespace": "shop", "operation": "CREATE", "userInfo": {"username": "ana", "groups": ["sre"]},
            "object": {"metadata": {"name": "night", "uid": "u"}, "spec": {"sync": "shop", "reason": "x", "requestedBy": {"username": "root"}}}});
        for (key, value) in more.as_object().unwrap() {
            request[key] = value.clone();
        }
        json!({"request": request}).to_string().into_bytes()
    }

    #[test]
    fn a_request_carries_the_stamp_of_who_makes_it() {
        let desk = desk();
        let answer = desk.stamped(&review("PauseRequest", &json!({}))).unwrap();
        assert_eq!(answer["response"]["allowed"], true);
        let patch = STANDARD.decode(answer["response"]["patch"].as_str().unwrap()).unwrap();
        let patch: Value = serde_json::from_slice(&patch).unwrap();
        assert_eq!(patch[0]["path"], "/spec/requestedBy");
        let spec = json!({"sync": "shop", "reason": "x", "requestedBy": patch[0]["value"]});
        let stored = Stamped { kind: "PauseRequest", namespace: "shop", name: "night", spec: &spec };
        assert_eq!(desk.stamp.verify(&stored).unwrap().username, "ana");
    }

    #[test]
    fn what_cannot_be_stamped_is_refused_with_the_reason() {
        for (kind, more, words) in [
            ("Sync", json!({}), "nothing else"),
            ("PauseRequest", json!({"name": ""}), "metadata.name"),
            ("PauseRequest", json!({"operation": "UPDATE"}), "never later"),
            ("PauseRequest", json!({"userInfo": {}}), "nobody"),
            ("DriftRequest", json!({"object": {"metadata": {}}}), "no spec"),
        ] {
            let answer = desk().stamped(&review(kind, &more)).unwrap();
            assert_eq!(answer["response"]["allowed"], false);
            assert!(answer["response"]["status"]["message"].as_str().unwrap().contains(words), "{answer}");
        }
    }

    #[test]
    fn every_change_is_allowed_and_a_dry_run_is_not_noted() {
        let desk = desk();
        let object = json!({"metadata": {"name": "night", "uid": "u"}, "data": {}});
        let content = cluster::AdmittedObject::read(object.to_string().as_bytes()).unwrap().content;
        let now = Timestamp::UNIX_EPOCH;
        let who = || desk.observations.who(Changed::To { uid: "u", content, replicas: None }, now).actors;
        for (dry, count) in [(true, 0), (false, 1)] {
            let more = json!({"operation": "UPDATE", "object": object, "dryRun": dry});
            let answer = desk.observed(&review("ConfigMap", &more), now).unwrap();
            assert_eq!(answer["response"], json!({"uid": "q", "allowed": true}));
            assert_eq!(who().len(), count);
        }
        // What cannot be read is allowed as well.
        let answer = desk.observed(&review("ConfigMap", &json!({"object": 7, "operation": "CONNECT"})), now).unwrap();
        assert_eq!(answer["response"]["allowed"], true);
        assert_eq!(desk.observed(b"{", now), Err(Unanswered::Unreadable));
    }

    #[tokio::test]
    async fn strangers_and_what_is_too_large_are_turned_away() {
        let desk = desk();
        let read = |token: &'static str, size: usize| desk.read(token, Body::from(vec![b' '; size]));
        assert_eq!(read("x", 1).await, Err(Unanswered::Stranger));
        assert_eq!(read("t", MAX_BODY_BYTES + 1).await, Err(Unanswered::TooLarge));
        assert_eq!(read("t", 1).await.map(|bytes| bytes.len()), Ok(1));
    }
}
