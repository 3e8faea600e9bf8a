//! What one accepted commit wants one Sync to be.

use std::{collections::BTreeMap, sync::Arc};

use manifest::{Digest, Finding, ObjectRef, Origin, Rendered, RenderedSet, canonical_json};
use serde_json::Value;
use trust::{AuthorizedCommit, CommitId, TreeId};

use crate::{ApplySetId, SyncRef};

/// Label that selects the watches; constant for one controller.
pub const INSTANCE_LABEL: &str = "writ.dev/instance";
/// Label that names the owning Sync (KEP-3659).
pub const PART_OF_LABEL: &str = "applyset.kubernetes.io/part-of";
/// Annotation that lets the first apply take fields from other managers.
pub const ADOPT_ANNOTATION: &str = "writ.dev/adopt";
/// Annotation that keeps an object from being pruned.
pub const PRUNE_ANNOTATION: &str = "writ.dev/prune";

/// The id of one controller, the value of [`INSTANCE_LABEL`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(String);

/// The text is not a label value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an instance id: 1 to 63 letters, digits, '-', '_' or '.', a letter or digit at both ends")]
pub struct InstanceIdError {
    text: String,
}

impl InstanceId {
    /// An instance id.
    ///
    /// # Errors
    /// When the text is not a valid, non-empty label value.
    pub fn new(text: &str) -> Result<Self, InstanceIdError> {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric();
        let bytes = text.as_bytes();
        let valid = bytes.len() <= 63
            && bytes.first().is_some_and(plain)
            && bytes.last().is_some_and(plain)
            && bytes.iter().all(|byte| plain(byte) || b"-_.".contains(byte));
        if valid { Ok(Self(text.to_owned())) } else { Err(InstanceIdError { text: text.chars().take(80).collect() }) }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

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

/// One declared object as it is sent to the API server.
#[derive(Clone, PartialEq, Eq)]
pub struct DesiredObject {
    /// Its identity.
    pub reference: ObjectRef,
    /// `apiVersion` as declared.
    pub api_version: String,
    /// The bytes of the apply request: canonical JSON with our labels.
    pub body: Arc<[u8]>,
    /// SHA-256 of `body`.
    pub digest: Digest,
    /// True for Secrets and sensitive kinds.
    pub sensitive: bool,
    /// May the first apply take fields from others?
    pub adoption: Adoption,
    /// May it be pruned?
    pub pruning: Pruning,
    /// Where it was declared.
    pub sources: Vec<Origin>,
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

/// The state one Sync should be in: every object that an authorised commit declares for it.
/// Cannot be made without an [`AuthorizedCommit`].
#[derive(Debug, Clone)]
pub struct DesiredState {
    commit: AuthorizedCommit,
    sync: SyncRef,
    objects: BTreeMap<ObjectRef, DesiredObject>,
    digest: Digest,
}

/// Why there is no desired state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DesiredStateError {
    /// The rendered files are not those of the commit.
    #[error("the files were read from tree {read}, but commit {commit} has tree {tree}")]
    OtherTree {
        /// The commit.
        commit: CommitId,
        /// Its tree.
        tree: TreeId,
        /// The tree the files were read from.
        read: TreeId,
    },
    /// An annotation of writ has a value it does not know.
    #[error("{} objects carry annotations that writ does not know", .0.len())]
    Annotations(Vec<Finding>),
}

impl DesiredState {
    /// The state that `commit` declares for `sync`, from `set`, which was rendered from `tree`.
    ///
    /// # Errors
    /// When `tree` is not the tree of the commit, or a `writ.dev/` annotation has an unknown value.
    pub fn new(
        commit: AuthorizedCommit,
        tree: TreeId,
        sync: SyncRef,
        instance: &InstanceId,
        set: &RenderedSet,
    ) -> Result<Self, DesiredStateError> {
        if commit.tree() != tree {
            return Err(DesiredStateError::OtherTree {
                commit: commit.id(),
                tree: commit.tree(),
                read: tree,
            });
        }
        let part_of = ApplySetId::of(&sync);
        let mut objects = BTreeMap::new();
        let mut findings = Vec::new();
        for rendered in set.iter() {
            match desired_object(rendered, instance, &part_of) {
                Ok(object) => {
                    objects.insert(object.reference.clone(), object);
                }
                Err(finding) => findings.push(*finding),
            }
        }
        if findings.is_empty() {
            Ok(Self { commit, sync, objects, digest: set.digest() })
        } else {
            Err(DesiredStateError::Annotations(findings))
        }
    }

    /// The commit that declares it.
    #[must_use]
    pub fn commit(&self) -> &AuthorizedCommit {
        &self.commit
    }

    /// The Sync it is for.
    #[must_use]
    pub fn sync(&self) -> &SyncRef {
        &self.sync
    }

    /// Digest of the rendered set, without our labels: what a verdict was given on.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// All objects, ordered by identity.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &DesiredObject> {
        self.objects.values()
    }

    /// One object.
    #[must_use]
    pub fn get(&self, reference: &ObjectRef) -> Option<&DesiredObject> {
        self.objects.get(reference)
    }

    /// How many objects.
    #[must_use]
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// True if nothing is declared.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }
}

fn desired_object(
    rendered: &Rendered,
    instance: &InstanceId,
    part_of: &ApplySetId,
) -> Result<DesiredObject, Box<Finding>> {
    let reference = rendered.object.reference.clone();
    let annotation = |name: &str| {
        rendered.object.value.pointer("/metadata/annotations").and_then(|all| all.get(name)).and_then(Value::as_str)
    };
    let adoption = match annotation(ADOPT_ANNOTATION) {
        None => Adoption::Refuse,
        Some("force") => Adoption::Force,
        Some(other) => return Err(Box::new(unknown_annotation(rendered, ADOPT_ANNOTATION, other, "force"))),
    };
    let pruning = match annotation(PRUNE_ANNOTATION) {
        None => Pruning::Allowed,
        Some("never") => Pruning::Never,
        Some(other) => return Err(Box::new(unknown_annotation(rendered, PRUNE_ANNOTATION, other, "never"))),
    };
    let mut value = rendered.object.value.clone();
    set_label(&mut value, INSTANCE_LABEL, instance.as_str());
    set_label(&mut value, PART_OF_LABEL, part_of.as_str());
    let body: Arc<[u8]> = canonical_json(&value).into();
    Ok(DesiredObject {
        reference,
        api_version: rendered.object.api_version.clone(),
        digest: Digest::of(&body),
        body,
        sensitive: rendered.sensitive,
        adoption,
        pruning,
        sources: rendered.sources.clone(),
    })
}

fn unknown_annotation(rendered: &Rendered, name: &str, found: &str, known: &str) -> Finding {
    Finding {
        code: crate::PlanCode::A124.entry(),
        subject: manifest::Subject::Object {
            reference: rendered.object.reference.clone(),
            field: Some(format!("metadata.annotations[{name}]")),
        },
        rule: None,
        found: format!("the annotation {name} has the value {found:?}"),
        needed: format!("{known:?}, or no annotation"),
        fix: format!("set {name}: {known}, or remove it"),
    }
}

fn set_label(value: &mut Value, name: &str, text: &str) {
    let labels = ["metadata", "labels"].iter().try_fold(value, |at, key| {
        let fields = at.as_object_mut()?;
        Some(fields.entry(*key).or_insert_with(|| Value::Object(serde_json::Map::new())))
    });
    if let Some(Value::Object(labels)) = labels {
        labels.insert(name.to_owned(), Value::from(text));
    }
}
