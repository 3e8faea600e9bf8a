//! What one accepted commit wants one Sync to be.

use std::{cmp::Ordering, sync::Arc};

use manifest::{Digest, DigestKey, Finding, ManifestCode, ObjectRef, Origin, RenderedSet, Subject, counted};
use trust::{AuthorizedCommit, CommitId, TreeId};

use crate::{ApplySetId, DesiredObject, PlanCode, SyncRef};

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

/// The state one Sync should be in: every object that an authorised commit declares for it.
/// Cannot be made without an [`AuthorizedCommit`].
#[derive(Debug, Clone)]
pub struct DesiredState {
    commit: AuthorizedCommit,
    sync: SyncRef,
    /// Ordered by identity, each once.
    objects: Vec<Arc<DesiredObject>>,
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
    /// Objects that cannot be part of the state: an annotation of writ has a value it does not know
    /// (A124), an object is declared twice (M115), or carries the label of another Sync (A129).
    #[error("{} cannot be part of the desired state", counted(.0.len(), "object"))]
    Annotations(Vec<Finding>),
}

impl DesiredState {
    /// The state that `commit` declares for `sync`, from `set`, which was rendered from `tree`. `key`: for the digests of
    /// sensitive objects.
    ///
    /// # Errors
    /// When `tree` is not the tree of the commit, or a `writ.dev/` annotation has an unknown value.
    pub fn new(
        commit: AuthorizedCommit,
        tree: TreeId,
        sync: SyncRef,
        instance: &InstanceId,
        key: &DigestKey,
        set: &RenderedSet,
    ) -> Result<Self, DesiredStateError> {
        let part_of = ApplySetId::of(&sync);
        let mut objects = Vec::with_capacity(set.len());
        let mut findings = Vec::new();
        for rendered in set.iter() {
            match DesiredObject::new(rendered, instance, &part_of, key) {
                Ok(object) => objects.push(object),
                Err(finding) => findings.push(*finding),
            }
        }
        if findings.is_empty() {
            Self::assemble(commit, tree, sync, objects)
        } else {
            Err(DesiredStateError::Annotations(findings))
        }
    }

    /// The state that `commit` declares for `sync`, from objects that were made before: those of
    /// files that the commit left alone are shared with the state of its predecessor. `tree` is the
    /// tree whose files declare exactly these objects.
    ///
    /// # Errors
    /// When `tree` is not the tree of the commit, an object is there twice, or one was made for
    /// another Sync.
    pub fn assemble(
        commit: AuthorizedCommit,
        tree: TreeId,
        sync: SyncRef,
        objects: impl IntoIterator<Item = Arc<DesiredObject>>,
    ) -> Result<Self, DesiredStateError> {
        if commit.tree() != tree {
            return Err(DesiredStateError::OtherTree { commit: commit.id(), tree: commit.tree(), read: tree });
        }
        let part_of = ApplySetId::of(&sync);
        let mut all: Vec<Arc<DesiredObject>> = objects.into_iter().collect();
        // They mostly come in order, which costs one comparison for each.
        all.sort_by(|one, two| one.reference.cmp(&two.reference));
        let foreign = all.iter().filter(|object| *object.part_of() != part_of);
        let mut findings: Vec<Finding> = foreign.map(|object| of_another_sync(&sync, object)).collect();
        for (first, second) in all.iter().zip(all.iter().skip(1)) {
            if first.reference == second.reference {
                findings.push(declared_twice(first, second));
            }
        }
        if findings.is_empty() {
            let digest = set_digest(&all);
            Ok(Self { commit, sync, objects: all, digest })
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

    /// SHA-256 over identity and body digest of every object, in order.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// All objects, ordered by identity.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &DesiredObject> {
        self.objects.iter().map(Arc::as_ref)
    }

    /// All objects, ordered by identity, to be shared with another state.
    pub fn objects(&self) -> impl ExactSizeIterator<Item = &Arc<DesiredObject>> {
        self.objects.iter()
    }

    /// One object.
    #[must_use]
    pub fn get(&self, reference: &ObjectRef) -> Option<&DesiredObject> {
        let found = self.objects.binary_search_by(|object| object.reference.cmp(reference)).ok();
        found.and_then(|index| self.objects.get(index)).map(Arc::as_ref)
    }

    /// The objects of both states side by side, ordered by identity.
    pub(crate) fn beside<'a>(
        &'a self,
        other: Option<&'a Self>,
    ) -> impl Iterator<Item = (Option<&'a DesiredObject>, Option<&'a DesiredObject>)> {
        let mut ours = self.objects.iter().peekable();
        let mut theirs = other.map_or(&[][..], |other| &other.objects).iter().peekable();
        std::iter::from_fn(move || {
            let order = match (ours.peek(), theirs.peek()) {
                (None, None) => return None,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                // An object that both states share need not be compared.
                (Some(one), Some(two)) if Arc::ptr_eq(one, two) => Ordering::Equal,
                (Some(one), Some(two)) => one.reference.cmp(&two.reference),
            };
            let one = if order.is_le() { ours.next() } else { None };
            let two = if order.is_ge() { theirs.next() } else { None };
            Some((one.map(Arc::as_ref), two.map(Arc::as_ref)))
        })
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

/// Every object gives the same number of parts, each preceded by its length: no two sets give the
/// same input.
fn set_digest(objects: &[Arc<DesiredObject>]) -> Digest {
    Digest::of_parts(
        objects
            .iter()
            .flat_map(|object| identity(&object.reference).into_iter().chain([object.digest.as_bytes().as_slice()])),
    )
}

/// An identity as parts of a digest.
pub(crate) fn identity(reference: &ObjectRef) -> [&[u8]; 6] {
    let ObjectRef { cluster, group_kind, namespace, name } = reference;
    [
        cluster.as_str().as_bytes(),
        group_kind.group.as_bytes(),
        group_kind.kind.as_bytes(),
        if namespace.is_some() { b"namespaced" } else { b"cluster" },
        namespace.as_deref().unwrap_or_default().as_bytes(),
        name.as_bytes(),
    ]
}

fn declared_twice(first: &DesiredObject, second: &DesiredObject) -> Finding {
    let place = |object: &DesiredObject| {
        let origin: Option<&Origin> = object.sources.first();
        origin.map_or_else(|| "an unknown place".to_owned(), |origin| format!("{}:{}", origin.file, origin.line))
    };
    Finding {
        code: ManifestCode::M115.entry(),
        subject: Subject::Object { reference: second.reference.clone(), field: None },
        rule: None,
        found: format!("declared at {} and {}", place(first), place(second)).into(),
        needed: "one declaration".into(),
        fix: "remove one of the two places named".into(),
    }
}

fn of_another_sync(sync: &SyncRef, object: &DesiredObject) -> Finding {
    Finding {
        code: PlanCode::A129.entry(),
        subject: Subject::Object { reference: object.reference.clone(), field: None },
        rule: None,
        found: format!("it was prepared for {}", object.part_of().as_str()).into(),
        needed: format!("an object prepared for Sync {sync}").into(),
        fix: "report this message; it is a defect of writ".into(),
    }
}
