//! One live object, read in a single pass over its bytes: identity, bookkeeping, the labels that
//! matter, and a hash of everything else. No tree is built.

use std::{borrow::Cow, fmt, sync::Arc};

use manifest::{ClusterId, GroupKind, ObjectRef};
use plan::{INSTANCE_LABEL, Lifecycle, PART_OF_LABEL};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::content_hash::{HashSeed, entry, hash};

/// Field manager of every apply.
pub const FIELD_MANAGER: &str = "writ";

/// The bytes of one live object as the server sent them. Never printed: it may be a Secret.
#[derive(Clone, PartialEq, Eq)]
pub struct RawObject(Arc<[u8]>);

impl RawObject {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self(Arc::from(bytes))
    }

    /// The JSON text. For comparison and for reading custom resources only.
    #[must_use]
    pub fn json(&self) -> &Arc<[u8]> {
        &self.0
    }
}

impl fmt::Debug for RawObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawObject({} bytes)", self.0.len())
    }
}

/// One sight of a live object: in a watch event, a list, or the answer to an apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// The object.
    pub reference: ObjectRef,
    /// Its UID.
    pub uid: String,
    /// Its version.
    pub resource_version: String,
    /// `metadata.generation`, for kinds that have one.
    pub generation: Option<i64>,
    /// Whether it has a deletion time.
    pub lifecycle: Lifecycle,
    /// The ApplySet it says it is part of.
    pub part_of: Option<String>,
    /// The controller it says it belongs to.
    pub instance: Option<String>,
    /// Whether `managedFields` has an apply entry of writ. It can be forged: it may add suspicion,
    /// never remove it.
    pub applied_by_writ: AppliedByWrit,
    /// Hash of everything outside `status`, `managedFields`, `resourceVersion` and `generation`.
    /// Keyed per process: the same content gives the same hash within one process only.
    pub content: u128,
    /// The object itself.
    pub raw: RawObject,
}

/// Whether `managedFields` has an apply entry of [`FIELD_MANAGER`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AppliedByWrit {
    /// It has.
    Yes,
    /// It has not.
    No,
}

impl Sighting {
    /// Reads an object of a known kind.
    ///
    /// # Errors
    /// When the bytes are not an object with a name and a UID.
    pub(crate) fn read(cluster: &ClusterId, kind: &GroupKind, json: &[u8]) -> Result<Self, serde_json::Error> {
        let fields = ObjectFields::read(json)?;
        Ok(Self {
            reference: ObjectRef {
                cluster: cluster.clone(),
                group_kind: kind.clone(),
                namespace: fields.meta.namespace,
                name: fields.meta.name,
            },
            uid: fields.meta.uid,
            resource_version: fields.meta.resource_version,
            generation: fields.meta.generation,
            lifecycle: if fields.meta.deleting { Lifecycle::Terminating } else { Lifecycle::Stable },
            part_of: fields.meta.part_of,
            instance: fields.meta.instance,
            applied_by_writ: if fields.meta.applied_by_writ { AppliedByWrit::Yes } else { AppliedByWrit::No },
            content: fields.content,
            raw: RawObject::new(json),
        })
    }
}

/// An object that the API server asks about before it stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdmittedObject {
    /// Its UID.
    pub uid: String,
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: Option<String>,
    /// The controller it says it belongs to.
    pub instance: Option<String>,
    /// As [`Sighting::content`]: the same as that of the watch event that tells of it.
    pub content: u128,
}

impl AdmittedObject {
    /// Reads it.
    ///
    /// # Errors
    /// When the bytes are not an object with a name and a UID.
    pub fn read(json: &[u8]) -> Result<Self, serde_json::Error> {
        let ObjectFields { meta, content } = ObjectFields::read(json)?;
        Ok(Self { uid: meta.uid, name: meta.name, namespace: meta.namespace, instance: meta.instance, content })
    }
}

/// What of `metadata` is kept.
#[derive(Debug, Default)]
struct Meta {
    name: String,
    namespace: Option<String>,
    uid: String,
    resource_version: String,
    generation: Option<i64>,
    deleting: bool,
    part_of: Option<String>,
    instance: Option<String>,
    applied_by_writ: bool,
    hash: u128,
}

#[derive(Debug)]
struct ObjectFields {
    meta: Meta,
    content: u128,
}

impl ObjectFields {
    fn read(json: &[u8]) -> Result<Self, serde_json::Error> {
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let fields = deserializer.deserialize_map(ObjectVisitor)?;
        deserializer.end()?;
        Ok(fields)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = ObjectFields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a Kubernetes object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ObjectFields, A::Error> {
        let mut meta = None;
        let mut content = 0_u128;
        while let Some(key) = map.next_key_seed(Key)? {
            match key.as_ref() {
                "status" | "apiVersion" | "kind" => {
                    map.next_value::<IgnoredAny>()?;
                }
                "metadata" => {
                    let read = map.next_value_seed(MetaSeed)?;
                    content = content.wrapping_add(read.hash);
                    meta = Some(read);
                }
                name => content = content.wrapping_add(entry(name, map.next_value_seed(HashSeed)?)),
            }
        }
        let meta = meta.ok_or_else(|| A::Error::custom("it has no metadata"))?;
        if meta.name.is_empty() || meta.uid.is_empty() {
            return Err(A::Error::custom("it has no name or no uid"));
        }
        Ok(ObjectFields { meta, content })
    }
}

struct MetaSeed;

impl<'de> DeserializeSeed<'de> for MetaSeed {
    type Value = Meta;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Meta, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for MetaSeed {
    type Value = Meta;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("metadata")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Meta, A::Error> {
        let mut meta = Meta::default();
        while let Some(key) = map.next_key_seed(Key)? {
            match key.as_ref() {
                "name" => meta.name = map.next_value()?,
                "namespace" => meta.namespace = map.next_value()?,
                "uid" => {
                    meta.uid = map.next_value()?;
                    meta.hash = meta.hash.wrapping_add(entry("uid", hash(b's', meta.uid.as_bytes())));
                }
                "resourceVersion" => meta.resource_version = map.next_value()?,
                "generation" => meta.generation = map.next_value()?,
                "deletionTimestamp" => {
                    meta.deleting = map.next_value::<Option<IgnoredAny>>()?.is_some();
                    meta.hash = meta.hash.wrapping_add(entry("deletionTimestamp", u128::from(meta.deleting)));
                }
                "managedFields" => meta.applied_by_writ = map.next_value_seed(ManagersSeed)?,
                "labels" => {
                    let labels = map.next_value_seed(LabelsSeed)?;
                    meta.part_of = labels.part_of;
                    meta.instance = labels.instance;
                    meta.hash = meta.hash.wrapping_add(entry("labels", labels.hash));
                }
                name => meta.hash = meta.hash.wrapping_add(entry(name, map.next_value_seed(HashSeed)?)),
            }
        }
        meta.hash = entry("metadata", meta.hash);
        Ok(meta)
    }
}

#[derive(Default)]
struct Labels {
    part_of: Option<String>,
    instance: Option<String>,
    hash: u128,
}

struct LabelsSeed;

impl<'de> DeserializeSeed<'de> for LabelsSeed {
    type Value = Labels;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Labels, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for LabelsSeed {
    type Value = Labels;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("labels")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
        let mut labels = Labels::default();
        while let Some(key) = map.next_key_seed(Key)? {
            let value: Cow<'de, str> = map.next_value_seed(Key)?;
            labels.hash = labels.hash.wrapping_add(entry(&key, hash(b's', value.as_bytes())));
            match key.as_ref() {
                PART_OF_LABEL => labels.part_of = Some(value.into_owned()),
                INSTANCE_LABEL => labels.instance = Some(value.into_owned()),
                _ => {}
            }
        }
        Ok(labels)
    }
}

/// Whether `managedFields` has an apply entry of writ.
struct ManagersSeed;

impl<'de> DeserializeSeed<'de> for ManagersSeed {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ManagersSeed {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("managedFields")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<bool, A::Error> {
        #[derive(Deserialize)]
        struct Manager<'a> {
            #[serde(borrow, default)]
            manager: Cow<'a, str>,
            #[serde(borrow, default)]
            operation: Cow<'a, str>,
            #[serde(borrow, default)]
            subresource: Cow<'a, str>,
        }
        let mut found = false;
        while let Some(entry) = items.next_element::<Manager<'de>>()? {
            found |= entry.manager == FIELD_MANAGER && entry.operation == "Apply" && entry.subresource.is_empty();
        }
        Ok(found)
    }
}

/// A key or short string, borrowed from the input where it has no escapes.
pub(crate) struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(value: &Value) -> Sighting {
        Sighting::read(&ClusterId::new("c"), &GroupKind::new("apps", "Deployment"), value.to_string().as_bytes())
            .unwrap()
    }

    fn deployment() -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {
                "name": "web", "namespace": "shop", "uid": "u1", "resourceVersion": "7", "generation": 3,
                "labels": {"applyset.kubernetes.io/part-of": "set", "writ.dev/instance": "one", "a": "b"},
                "managedFields": [{"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:spec": {}}},
                                  {"manager": "writ", "operation": "Apply"}],
            },
            "spec": {"replicas": 3, "x": [1, -2, 0.5, null, true, "t\n"], "m": {"a": 1, "b": {}}},
            "status": {"replicas": 3},
        })
    }

    #[test]
    fn reads_what_matters() {
        let seen = read(&deployment());
        assert_eq!(seen.reference.to_string(), "Deployment.apps shop/web");
        assert_eq!((seen.uid.as_str(), seen.resource_version.as_str(), seen.generation), ("u1", "7", Some(3)));
        assert_eq!((seen.part_of.as_deref(), seen.instance.as_deref()), (Some("set"), Some("one")));
        assert_eq!(seen.lifecycle, Lifecycle::Stable);
        assert_eq!(seen.applied_by_writ, AppliedByWrit::Yes);
        assert!(!format!("{seen:?}").contains("replicas"));
    }

    #[test]
    fn bookkeeping_does_not_change_the_hash_and_everything_else_does() {
        let original = read(&deployment()).content;
        let edit = |pointer: &str, value: Value| {
            let mut object = deployment();
            *object.pointer_mut(pointer).unwrap() = value;
            read(&object).content
        };
        for (pointer, value) in [
            ("/status", json!({"replicas": 0})),
            ("/metadata/resourceVersion", json!("8")),
            ("/metadata/generation", json!(4)),
            ("/metadata/managedFields", json!([])),
        ] {
            assert_eq!(edit(pointer, value), original, "{pointer}");
        }
        for (pointer, value) in [
            ("/spec/replicas", json!(4)),
            ("/spec/x/0", json!(2)),
            ("/spec/x", json!([-2, 1, 0.5, null, true, "t\n"])),
            ("/spec/x/5", json!("t")),
            ("/spec/m", json!({"a": 1})),
            ("/spec/m/b", json!([])),
            ("/metadata/labels/a", json!("c")),
            ("/metadata/uid", json!("u2")),
            ("/metadata/labels/writ.dev~1instance", json!("two")),
        ] {
            assert_ne!(edit(pointer, value), original, "{pointer}");
        }
    }

    #[test]
    fn the_order_of_fields_does_not_matter() {
        let parse = |text: &str| ObjectFields::read(text.as_bytes()).unwrap().content;
        assert_eq!(
            parse(r#"{"metadata":{"name":"a","uid":"u"},"data":{"x":"1","y":"2"}}"#),
            parse(r#"{"data":{"y":"2","x":"1"},"metadata":{"uid":"u","name":"a"}}"#)
        );
        // Swapping two values is not an order.
        assert_ne!(
            parse(r#"{"metadata":{"name":"a","uid":"u"},"data":{"x":"1","y":"2"}}"#),
            parse(r#"{"metadata":{"name":"a","uid":"u"},"data":{"x":"2","y":"1"}}"#)
        );
    }

    #[test]
    fn what_is_no_object_is_an_error() {
        for text in ["", "[]", "{}", r#"{"metadata":{"name":"a"}}"#, r#"{"metadata":{"name":"a","uid":"u"}} x"#] {
            assert!(ObjectFields::read(text.as_bytes()).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        /// Whatever the bytes: an error or a record, never a panic.
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..256)) {
            let _outcome = ObjectFields::read(&bytes);
        }
    }
}
