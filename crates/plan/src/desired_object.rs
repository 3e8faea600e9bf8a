//! One declared object as it is sent to the API server.

use std::sync::Arc;

use manifest::{Digest, DigestKey, Finding, ObjectRef, Origin, Rendered, canonical_json};
use serde_json::Value;

use crate::{ADOPT_ANNOTATION, ApplySetId, INSTANCE_LABEL, InstanceId, PART_OF_LABEL, PRUNE_ANNOTATION};

/// Whether the first apply may take fields that others own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Adoption {
    /// A conflict is refused.
    Refuse,
    /// The signed annotation `writ.dev/adopt: force` says so.
    Force,
}

/// Whether the object may be pruned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pruning {
    /// It may.
    Allowed,
    /// `writ.dev/prune: never`.
    Never,
}

/// One declared object as it is sent to the API server. Made once per rendered object and shared:
/// a revision that does not touch its file uses the same one.
#[derive(Clone, PartialEq, Eq)]
pub struct DesiredObject {
    /// Its identity.
    pub reference: ObjectRef,
    /// `apiVersion` as declared.
    pub api_version: String,
    /// The bytes of the apply request: canonical JSON with our labels.
    pub body: Arc<[u8]>,
    /// SHA-256 of `body`; keyed if it is sensitive, so that no copy of it answers guesses.
    pub digest: Digest,
    /// True for Secrets and sensitive kinds.
    pub sensitive: bool,
    /// May the first apply take fields from others?
    pub adoption: Adoption,
    /// May it be pruned?
    pub pruning: Pruning,
    /// Where it was declared.
    pub sources: Vec<Origin>,
    /// The Sync whose label is in `body`.
    part_of: ApplySetId,
}

/// The bytes of a Secret are not shown.
impl std::fmt::Debug for DesiredObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DesiredObject")
            .field("reference", &self.reference)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

impl DesiredObject {
    /// What `rendered` is as an object of the Sync with the id `part_of`: with our labels, as bytes. `key`: for the digests of
    /// sensitive objects.
    ///
    /// # Errors
    /// A124 when a `writ.dev/` annotation, or its value, is unknown.
    pub fn new(
        rendered: &Rendered,
        instance: &InstanceId,
        part_of: &ApplySetId,
        key: &DigestKey,
    ) -> Result<Arc<Self>, Box<Finding>> {
        let adoption = match annotation(rendered, ADOPT_ANNOTATION) {
            None => Adoption::Refuse,
            Some(Value::String(text)) if text == "force" => Adoption::Force,
            Some(other) => return Err(Box::new(unknown_annotation(rendered, ADOPT_ANNOTATION, other, "force"))),
        };
        let pruning = match annotation(rendered, PRUNE_ANNOTATION) {
            None => Pruning::Allowed,
            Some(Value::String(text)) if text == "never" => Pruning::Never,
            Some(other) => return Err(Box::new(unknown_annotation(rendered, PRUNE_ANNOTATION, other, "never"))),
        };
        if let Some(name) = unknown_name(rendered) {
            return Err(Box::new(unknown_annotation_name(rendered, name)));
        }
        let mut value = rendered.object.value.clone();
        for (name, text) in [(INSTANCE_LABEL, instance.as_str()), (PART_OF_LABEL, part_of.as_str())] {
            set_label(&mut value, name, text).map_err(|found| Box::new(not_labelled(rendered, found)))?;
        }
        let body: Arc<[u8]> = canonical_json(&value).into();
        Ok(Arc::new(Self {
            reference: rendered.object.reference.clone(),
            api_version: rendered.object.api_version.clone(),
            digest: if rendered.sensitive { key.digest(&body) } else { Digest::of(&body) },
            body,
            sensitive: rendered.sensitive,
            adoption,
            pruning,
            sources: rendered.sources.clone(),
            part_of: part_of.clone(),
        }))
    }

    /// The Sync whose label it carries.
    #[must_use]
    pub fn part_of(&self) -> &ApplySetId {
        &self.part_of
    }

    /// The object as a value. It is parsed at each call: only bytes are kept.
    ///
    /// # Errors
    /// Never for an object that this crate made.
    pub fn value(&self) -> serde_json::Result<Value> {
        serde_json::from_slice(&self.body)
    }
}

fn annotation<'a>(rendered: &'a Rendered, name: &str) -> Option<&'a Value> {
    rendered.object.value.pointer("/metadata/annotations")?.get(name)
}

/// An annotation in our name that means nothing: more likely misspelt than meant for nobody.
fn unknown_name(rendered: &Rendered) -> Option<&str> {
    let annotations = rendered.object.value.pointer("/metadata/annotations")?.as_object()?;
    annotations
        .keys()
        .map(String::as_str)
        .find(|name| name.starts_with("writ.dev/") && ![ADOPT_ANNOTATION, PRUNE_ANNOTATION].contains(name))
}

fn unknown_annotation_name(rendered: &Rendered, name: &str) -> Finding {
    Finding {
        code: crate::PlanCode::A124.entry(),
        subject: manifest::Subject::Object {
            reference: rendered.object.reference.clone(),
            field: Some(format!("metadata.annotations[{name:?}]")),
        },
        rule: None,
        found: format!("writ does not know the annotation {name}").into(),
        needed: format!("{ADOPT_ANNOTATION} or {PRUNE_ANNOTATION}, or an annotation that is not in writ's name").into(),
        fix: "correct its name, or remove it".into(),
    }
}

fn unknown_annotation(rendered: &Rendered, name: &str, found: &Value, known: &str) -> Finding {
    let found = if rendered.sensitive { "***".to_owned() } else { crate::compare::shorten(&found.to_string()) };
    Finding {
        code: crate::PlanCode::A124.entry(),
        subject: manifest::Subject::Object {
            reference: rendered.object.reference.clone(),
            field: Some(format!("metadata.annotations[{name:?}]")),
        },
        rule: None,
        found: format!("the annotation {name} has the value {found}").into(),
        needed: format!("{known:?}, or no annotation").into(),
        fix: format!("set {name}: {known}, or remove it").into(),
    }
}

/// Without our labels an object would be applied and never watched.
fn not_labelled(rendered: &Rendered, place: &str) -> Finding {
    Finding {
        code: crate::PlanCode::A129.entry(),
        subject: manifest::Subject::Object {
            reference: rendered.object.reference.clone(),
            field: Some(place.to_owned()),
        },
        rule: None,
        found: format!("{place} is not a mapping, so the labels of the Sync cannot be set").into(),
        needed: "a mapping".into(),
        fix: format!("write {place} as a mapping").into(),
    }
}

/// Sets a label; otherwise names the field that is in the way.
fn set_label(value: &mut Value, name: &str, text: &str) -> Result<(), &'static str> {
    let metadata = value.get_mut("metadata").and_then(Value::as_object_mut).ok_or("metadata")?;
    let labels = metadata.entry("labels").or_insert(Value::Null);
    if labels.is_null() {
        *labels = Value::Object(serde_json::Map::new());
    }
    let labels = labels.as_object_mut().ok_or("metadata.labels")?;
    labels.insert(name.to_owned(), Value::from(text));
    Ok(())
}
