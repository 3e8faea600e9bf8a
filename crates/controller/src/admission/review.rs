//! What is read of an AdmissionReview. Its bytes come from whoever reached the port: bounded, and read without a tree.

use cluster::AdmittedObject;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::stamp::UserInfo;

/// One question.
#[derive(Debug, Deserialize)]
pub(super) struct Review<'a> {
    #[serde(borrow)]
    pub(super) request: Request<'a>,
}

/// What it is about.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request<'a> {
    /// Names the question in its answer.
    pub(super) uid: String,
    pub(super) kind: Kind,
    #[serde(default)]
    pub(super) sub_resource: String,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) namespace: String,
    pub(super) operation: Operation,
    #[serde(default)]
    pub(super) user_info: Option<UserInfo>,
    #[serde(borrow, default)]
    pub(super) object: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) old_object: Option<&'a RawValue>,
    #[serde(default)]
    pub(super) dry_run: bool,
}

/// Group and kind of the object.
#[derive(Debug, Deserialize)]
pub(super) struct Kind {
    #[serde(default)]
    pub(super) group: String,
    pub(super) kind: String,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Operation {
    /// It is made.
    Create,
    /// It is changed.
    Update,
    /// It is deleted.
    Delete,
    /// Something else, such as a connection.
    #[serde(other)]
    Other,
}

impl Operation {
    /// Its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Other => "CONNECT",
        }
    }
}

/// What the object comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) uid: String,
    /// As the watch will have it; `None` if it goes.
    pub(super) content: Option<u128>,
    /// Whether it carries the label of this instance afterwards.
    pub(super) is_labelled: bool,
    /// Of a change through `/scale`, which carries nothing else.
    pub(super) replicas: Option<i64>,
}

impl Request<'_> {
    /// The object that it is about; `None` if it cannot be read.
    pub(super) fn subject(&self, instance: &str) -> Option<Subject> {
        if self.sub_resource == "scale" {
            let scale: Scale = serde_json::from_str(self.object?.get()).ok()?;
            let (uid, replicas) = (scale.metadata.uid, Some(scale.spec.replicas));
            return Some(Subject { uid, content: None, is_labelled: true, replicas });
        }
        let is_gone = self.operation == Operation::Delete;
        let json = if is_gone { self.old_object? } else { self.object? };
        let object = AdmittedObject::read(json.get().as_bytes()).ok()?;
        Some(Subject {
            uid: object.uid,
            content: (!is_gone).then_some(object.content),
            is_labelled: !is_gone && object.instance.as_deref() == Some(instance),
            replicas: None,
        })
    }
}

#[derive(Deserialize)]
struct Scale {
    metadata: ScaleMetadata,
    #[serde(default)]
    spec: ScaleSpec,
}

#[derive(Deserialize)]
struct ScaleMetadata {
    uid: String,
}

#[derive(Default, Deserialize)]
struct ScaleSpec {
    /// Left out when it is 0.
    #[serde(default)]
    replicas: i64,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn subject(request: &Value) -> Option<Subject> {
        let text =
            json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).to_string();
        serde_json::from_str::<Review<'_>>(&text).ok()?.request.subject("one")
    }

    fn request(operation: &str, object: &Value, old: &Value) -> Value {
        json!({"uid": "q", "kind": {"group": "", "version": "v1", "kind": "ConfigMap"}, "operation": operation,
            "userInfo": {"username": "ana", "groups": ["dev"], "extra": {"a": ["b"]}}, "object": object, "oldObject": old, "dryRun": false})
    }

    #[test]
    fn what_an_object_comes_to_is_read_as_the_watch_reads_it() {
        let object = |version: &str, manager: &str| {
            json!({"metadata": {"name": "a", "uid": "u", "resourceVersion": version,
            "labels": {"writ.dev/instance": "one"}, "managedFields": [{"manager": manager}]}, "data": {"x": "1"}})
        };
        let before = subject(&request("UPDATE", &object("7", "x"), &json!(null))).unwrap();
        let after = AdmittedObject::read(object("8", "y").to_string().as_bytes()).unwrap();
        assert_eq!((before.content, before.is_labelled), (Some(after.content), true));
        let gone = subject(&request("DELETE", &json!(null), &object("8", "y"))).unwrap();
        assert_eq!((gone.uid.as_str(), gone.content, gone.is_labelled), ("u", None, false));
        let stripped =
            subject(&request("UPDATE", &json!({"metadata": {"name": "a", "uid": "u"}}), &object("8", "y"))).unwrap();
        assert_eq!((stripped.is_labelled, stripped.content.is_some()), (false, true));
    }

    #[test]
    fn a_scale_carries_the_parents_uid_and_its_replicas_alone() {
        let mut scale =
            request("UPDATE", &json!({"metadata": {"name": "web", "uid": "u"}, "spec": {"replicas": 7}}), &json!(null));
        scale["subResource"] = json!("scale");
        let read = subject(&scale).unwrap();
        assert_eq!((read.uid.as_str(), read.content, read.replicas), ("u", None, Some(7)));
        scale["object"]["spec"] = json!({});
        assert_eq!(subject(&scale).unwrap().replicas, Some(0));
    }

    #[test]
    fn what_is_no_review_is_nothing() {
        for odd in [
            json!(null),
            json!({}),
            request("UPDATE", &json!(null), &json!(null)),
            request("UPDATE", &json!([]), &json!(null)),
        ] {
            assert_eq!(subject(&odd), None, "{odd}");
        }
        assert!(serde_json::from_str::<Review<'_>>("[]").is_err());
    }
}
