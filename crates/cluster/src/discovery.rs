//! Which kinds the cluster serves: aggregated discovery (`apidiscovery.k8s.io/v2`), two requests.

use std::collections::{BTreeMap, BTreeSet};

use manifest::{Finding, GroupKind, ObjectRef, Scope, ScopeLookup, Subject};
use serde::Deserialize;

use crate::{
    ClusterCode,
    request::{Call, MAX_PAGE_BYTES, RequestError, decode, encode, send},
};

/// Media type of aggregated discovery, generally available since Kubernetes 1.30.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
/// How the server marks what it could not ask an aggregated API for.
const STALE: &str = "Stale";
/// The most versions of kinds kept: a cluster with every operator there is has a few thousand.
const MAX_KINDS: usize = 20_000;

/// One version of a kind, and where it is served.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: String,
    /// Version, such as `v1`.
    pub version: String,
    /// Kind.
    pub kind: String,
    /// Plural name, as in URLs.
    pub plural: String,
    /// Namespaced or not.
    pub scope: Scope,
}

impl Resource {
    /// `apps/v1`, or `v1` for the core group.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Group and kind.
    #[must_use]
    pub fn group_kind(&self) -> GroupKind {
        GroupKind::new(&self.group, &self.kind)
    }

    /// `deployments.apps`, as RBAC rules and kubectl name it.
    #[must_use]
    pub fn full_name(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// The URL path of the collection, or of one object of it. A cluster-scoped kind ignores the
    /// namespace.
    pub(crate) fn path(&self, namespace: Option<&str>, name: Option<&str>) -> String {
        let mut path = if self.group.is_empty() { "/api".to_owned() } else { format!("/apis/{}", encode(&self.group)) };
        path.push('/');
        path.push_str(&encode(&self.version));
        if let (Scope::Namespaced, Some(namespace)) = (self.scope, namespace) {
            path.push_str("/namespaces/");
            path.push_str(&encode(namespace));
        }
        path.push('/');
        path.push_str(&encode(&self.plural));
        if let Some(name) = name {
            path.push('/');
            path.push_str(&encode(name));
        }
        path
    }
}

/// Every kind the cluster serves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Discovery {
    /// By group and kind, versions in the server's order of preference.
    kinds: BTreeMap<GroupKind, Vec<Resource>>,
    /// Groups of which the server could not say what they serve: an aggregated API that is away.
    stale: BTreeSet<String>,
}

impl Discovery {
    pub(crate) async fn of(client: &kube::Client) -> Result<Self, RequestError> {
        let mut discovery = Self::default();
        for path in ["/api", "/apis"] {
            let call = Call::get(path.to_owned()).accept(AGGREGATED).limit(MAX_PAGE_BYTES);
            let answer = send(client, &call).await?;
            let unsupported = |found, needed| RequestError::Unsupported { operation: call.operation(), found, needed };
            let list: GroupList = decode(&call, &answer.body)?;
            if list.kind != "APIGroupDiscoveryList" {
                return Err(unsupported("no aggregated discovery", "Kubernetes 1.30 or newer"));
            }
            if !discovery.add(list) {
                return Err(unsupported("more than 20,000 versions of kinds", "fewer"));
            }
        }
        Ok(discovery)
    }

    /// Adds what one document lists; false if there is too much of it.
    fn add(&mut self, list: GroupList) -> bool {
        let mut count = self.kinds.values().map(Vec::len).sum::<usize>();
        for group in list.items {
            let name = group.metadata.name.unwrap_or_default();
            for version in group.versions {
                if version.freshness == STALE {
                    self.stale.insert(name.clone());
                }
                for resource in version.resources {
                    let Some(kind) = resource.response_kind.filter(|kind| !kind.kind.is_empty()) else { continue };
                    if count == MAX_KINDS {
                        return false;
                    }
                    count += 1;
                    let found = Resource {
                        group: name.clone(),
                        version: version.version.clone(),
                        kind: kind.kind,
                        plural: resource.resource,
                        scope: if resource.scope == "Namespaced" { Scope::Namespaced } else { Scope::Cluster },
                    };
                    self.kinds.entry(found.group_kind()).or_default().push(found);
                }
            }
        }
        true
    }

    /// The resource of a kind in the version that `api_version` names (`apps/v1`, `v1`).
    #[must_use]
    pub fn resource(&self, api_version: &str, kind: &str) -> Option<&Resource> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        self.kinds.get(&GroupKind::new(group, kind))?.iter().find(|resource| resource.version == version)
    }

    /// Whether the cluster certainly does not serve the kind: then no object of it is there.
    #[must_use]
    pub fn is_unserved(&self, kind: &GroupKind) -> bool {
        // Without any kind nothing was asked yet.
        !self.kinds.is_empty() && !self.kinds.contains_key(kind) && !self.stale.contains(&kind.group)
    }

    /// The preferred resource of a kind.
    #[must_use]
    pub fn preferred(&self, kind: &GroupKind) -> Option<&Resource> {
        self.kinds.get(kind)?.first()
    }

    /// The preferred resource of every kind.
    pub fn kinds(&self) -> impl Iterator<Item = &Resource> {
        self.kinds.values().filter_map(|versions| versions.first())
    }

    /// All resources, by group and kind.
    pub fn iter(&self) -> impl Iterator<Item = &Resource> {
        self.kinds.values().flatten()
    }

    /// What is said about an object whose kind is not served.
    #[must_use]
    pub fn unknown(&self, reference: &ObjectRef, api_version: &str) -> Finding {
        let kind = &reference.group_kind;
        let fix = match self.kinds.get(kind).map(Vec::as_slice) {
            Some([first, ..]) => format!("use apiVersion: {}", first.api_version()),
            _ => match self.iter().find(|resource| resource.kind.eq_ignore_ascii_case(&kind.kind)) {
                Some(other) => format!("did you mean apiVersion: {}, kind: {}?", other.api_version(), other.kind),
                None => "add its CustomResourceDefinition to Git, in the same commit or an earlier one".to_owned(),
            },
        };
        Finding {
            code: ClusterCode::A103.entry(),
            subject: Subject::Object { reference: reference.clone(), field: None },
            rule: None,
            found: format!("the cluster does not serve {api_version} {}", kind.kind).into(),
            needed: "a kind that the cluster serves, or a CustomResourceDefinition for it".into(),
            fix: fix.into(),
        }
    }
}

/// What a cluster with these resources serves, in their order of preference.
impl FromIterator<Resource> for Discovery {
    fn from_iter<I: IntoIterator<Item = Resource>>(resources: I) -> Self {
        let mut discovery = Self::default();
        for resource in resources {
            discovery.kinds.entry(resource.group_kind()).or_default().push(resource);
        }
        discovery
    }
}

impl ScopeLookup for Discovery {
    fn scope(&self, kind: &GroupKind) -> Option<Scope> {
        self.preferred(kind).map(|resource| resource.scope)
    }
}

#[derive(Deserialize)]
struct GroupList {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    items: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    metadata: GroupName,
    #[serde(default)]
    versions: Vec<Version>,
}

#[derive(Deserialize)]
struct GroupName {
    /// Absent for the core group.
    name: Option<String>,
}

#[derive(Deserialize)]
struct Version {
    version: String,
    #[serde(default)]
    freshness: String,
    #[serde(default)]
    resources: Vec<Served>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Served {
    resource: String,
    scope: String,
    response_kind: Option<ServedKind>,
}

#[derive(Deserialize)]
struct ServedKind {
    kind: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use manifest::ClusterId;

    fn discovery() -> Discovery {
        let mut discovery = Discovery::default();
        for text in [
            r#"{"items":[{"metadata":{},"versions":[{"version":"v1","resources":[
                {"resource":"configmaps","scope":"Namespaced","responseKind":{"group":"","version":"","kind":"ConfigMap"}},
                {"resource":"namespaces","scope":"Cluster","responseKind":{"kind":"Namespace"}}]}]}]}"#,
            r#"{"items":[{"metadata":{"name":"apps"},"versions":[{"version":"v1","resources":[
                {"resource":"deployments","scope":"Namespaced","responseKind":{"kind":"Deployment"}}]}]}]}"#,
        ] {
            assert!(discovery.add(serde_json::from_str(text).unwrap()));
        }
        discovery
    }

    #[test]
    fn paths_follow_group_scope_and_name() {
        let found = discovery();
        let deployment = found.resource("apps/v1", "Deployment").unwrap();
        assert_eq!(deployment.path(Some("shop"), Some("web")), "/apis/apps/v1/namespaces/shop/deployments/web");
        assert_eq!(deployment.path(None, None), "/apis/apps/v1/deployments");
        let namespace = found.resource("v1", "Namespace").unwrap();
        assert_eq!(namespace.path(Some("ignored"), Some("a/b")), "/api/v1/namespaces/a%2Fb");
        assert_eq!(found.scope(&GroupKind::new("", "Namespace")), Some(Scope::Cluster));
        assert_eq!(found.scope(&GroupKind::new("", "Nothing")), None);
    }

    #[test]
    fn what_a_group_that_is_away_serves_is_not_known() {
        let mut found = discovery();
        let away =
            r#"{"items":[{"metadata":{"name":"metrics.k8s.io"},"versions":[{"version":"v1","freshness":"Stale"}]}]}"#;
        assert!(found.add(serde_json::from_str(away).unwrap()));
        for (group, kind, unserved) in [
            ("apps", "Deployment", false),
            ("apps", "Widget", true),
            ("example.org", "Widget", true),
            ("metrics.k8s.io", "PodMetrics", false),
        ] {
            assert_eq!(found.is_unserved(&GroupKind::new(group, kind)), unserved, "{kind}.{group}");
        }
        assert!(!Discovery::default().is_unserved(&GroupKind::new("apps", "Widget")), "nothing was asked");
    }

    #[test]
    fn an_unknown_kind_comes_with_a_hint() {
        let fix = |group: &str, kind: &str, api_version: &str| {
            let reference = ObjectRef {
                cluster: ClusterId::new("c"),
                group_kind: GroupKind::new(group, kind),
                namespace: None,
                name: "x".into(),
            };
            discovery().unknown(&reference, api_version).fix
        };
        assert_eq!(fix("apps", "Deployment", "apps/v1beta1"), "use apiVersion: apps/v1");
        assert_eq!(
            fix("extensions", "deployment", "extensions/v1"),
            "did you mean apiVersion: apps/v1, kind: Deployment?"
        );
        assert!(fix("example.org", "Widget", "example.org/v1").starts_with("add its CustomResourceDefinition"));
    }
}
