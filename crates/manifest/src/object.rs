//! The identity of Kubernetes objects.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::RepoPath;

/// Which cluster an object lives in. A `Cluster` is a value: nothing may assume that there is one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterId(Arc<str>);

impl ClusterId {
    /// An id; the controller uses the UID of the `kube-system` namespace.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self(Arc::from(id))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// API group and kind, the part of a type that does not change with its version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GroupKind {
    /// API group; empty for the core group.
    pub group: String,
    /// Kind, such as `Deployment`.
    pub kind: String,
}

impl GroupKind {
    /// A group and a kind.
    #[must_use]
    pub fn new(group: &str, kind: &str) -> Self {
        Self { group: group.to_owned(), kind: kind.to_owned() }
    }
}

impl fmt::Display for GroupKind {
    /// `Kind` for the core group, else `Kind.group`, as kubectl and ApplySets write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() { f.write_str(&self.kind) } else { write!(f, "{}.{}", self.kind, self.group) }
    }
}

/// Which object: cluster, group and kind, namespace, name. The version is not part of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectRef {
    /// The cluster it lives in.
    pub cluster: ClusterId,
    /// Group and kind.
    #[serde(flatten)]
    pub group_kind: GroupKind,
    /// Namespace; `None` for cluster-scoped objects.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
}

impl fmt::Display for ObjectRef {
    /// `Deployment.apps shop/web`; cluster-scoped: `ClusterRole.rbac.authorization.k8s.io viewer`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.group_kind, self.name),
            None => write!(f, "{} {}", self.group_kind, self.name),
        }
    }
}

/// Whether objects of a kind live in a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// In a namespace.
    Namespaced,
    /// In the cluster as a whole.
    Cluster,
}

/// Where in the repository an object was declared. Lines start at 1, documents at 0.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// The file.
    pub file: RepoPath,
    /// Which document of the file, counted from 0.
    pub document: u32,
    /// The line the object starts at.
    pub line: u32,
}

/// A place in a text; both count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// Line.
    pub line: u32,
    /// Column, in characters.
    pub column: u32,
}

/// One Kubernetes object as data.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Its identity.
    pub reference: ObjectRef,
    /// `apiVersion` as declared: `apps/v1`, `v1`.
    pub api_version: String,
    /// The whole object, including `apiVersion`, `kind` and `metadata`.
    pub value: serde_json::Value,
}

/// An object of a rendered set: with the files it came from and whether its values are secret.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// The object.
    pub object: Object,
    /// The places it was declared in; never empty.
    pub sources: Vec<Origin>,
    /// True for `Secret` and the configured sensitive kinds: values are masked wherever printed.
    pub sensitive: bool,
}
