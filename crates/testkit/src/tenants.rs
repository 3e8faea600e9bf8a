//! What `deploy/` installs, and a fresh tenant per test.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use rand::Rng;

use crate::control_plane::ControlPlane;

/// Namespace of writ itself.
pub const WRIT_NAMESPACE: &str = "writ-system";
/// Name of writ's own ServiceAccount.
pub const WRIT_SERVICE_ACCOUNT: &str = "writ";
/// Namespace and ServiceAccount that the files of `deploy/tenant/` are written for; a test puts its own in their place.
const TEMPLATE_NAMESPACE: &str = "shop";
/// Files of `deploy/` that give writ its identity and permissions. The StatefulSet and its Service are not among them: tests run
/// the binary as a process.
const PERMISSIONS: [&str; 3] = ["namespace.yaml", "service-account.yaml", "rbac.yaml"];
/// Name of the tenant's ServiceAccount in `deploy/tenant/`.
const TENANT_SERVICE_ACCOUNT: &str = "deployer";

/// What the tenant's ServiceAccount may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// What `deploy/tenant/` gives it: `admin` in its own namespace.
    Namespace,
    /// Everything in the cluster: for tests that bring CRDs, Namespaces or other cluster-scoped objects.
    Cluster,
}

/// A namespace of its own for one test, with a ServiceAccount that writ may impersonate there and nowhere else.
#[derive(Clone)]
pub struct Tenant<'a> {
    plane: &'a ControlPlane,
    namespace: String,
}

/// Installs the given CRDs (YAML) and the permissions of `deploy/`, and waits until the CRDs are served. Does nothing when this
/// process did just that already on this control plane; doing it twice changes nothing.
pub fn install(plane: &ControlPlane, crds: &str) -> Result<()> {
    static DONE: Mutex<BTreeSet<[String; 2]>> = Mutex::new(BTreeSet::new());
    // Held throughout, so that a second test waits until the first has installed. A panic meanwhile leaves the set as it was.
    let mut done = DONE.lock().unwrap_or_else(PoisonError::into_inner);
    let this = [plane.server().to_owned(), crds.to_owned()];
    if done.contains(&this) {
        return Ok(());
    }
    plane.apply(&permissions()?).context("cannot apply the permissions of deploy/")?;
    if !crds.trim().is_empty() {
        plane.apply(crds).context("cannot apply the CRDs")?;
        plane.wait_for_condition("Established", crds)?;
    }
    done.insert(this);
    Ok(())
}

/// What `deploy/` gives writ: namespace, ServiceAccount, roles and bindings.
pub fn permissions() -> Result<String> {
    let files = PERMISSIONS.iter().map(|&file| deploy_file(file)).collect::<Result<Vec<_>>>()?;
    Ok(files.join("\n---\n"))
}

/// The text of a file below `deploy/`.
pub fn deploy_file(name: &str) -> Result<String> {
    let path = deploy_folder().join(name);
    std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// The folder `deploy/`.
pub fn deploy_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy")
}

/// Kubeconfig of writ's own ServiceAccount (`system:serviceaccount:writ-system:writ`): what every end-to-end test gives writ.
pub fn writ_kubeconfig(plane: &ControlPlane) -> Result<PathBuf> {
    plane.service_account_kubeconfig(WRIT_NAMESPACE, WRIT_SERVICE_ACCOUNT)
}

impl<'a> Tenant<'a> {
    /// Makes a namespace of a random name, its ServiceAccount and the permission to impersonate it. [`install`] first.
    pub fn create(plane: &'a ControlPlane, rights: Rights) -> Result<Self> {
        Self::named(plane, &format!("test-{}", hex::encode(rand::rng().random::<[u8; 5]>())), rights)
    }

    /// As [`create`](Self::create), with a name of the caller's.
    pub fn named(plane: &'a ControlPlane, namespace: &str, rights: Rights) -> Result<Self> {
        let tenant = Self { plane, namespace: namespace.to_owned() };
        let files = deploy_file("tenant/tenant.yaml")?;
        plane.apply(&in_namespace(&files, &tenant.namespace)).context("cannot make the tenant")?;
        if rights == Rights::Cluster {
            let account = format!("{}:{TENANT_SERVICE_ACCOUNT}", tenant.namespace);
            plane.kubectl(&[
                "create",
                "clusterrolebinding",
                &tenant.cluster_binding(),
                "--clusterrole=cluster-admin",
                &format!("--serviceaccount={account}"),
            ])?;
        }
        Ok(tenant)
    }

    /// The control plane it is on.
    pub fn control_plane(&self) -> &'a ControlPlane {
        self.plane
    }

    /// The namespace, `test-…`: random, so also a good suffix for names of cluster-scoped objects.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Name of the ClusterRoleBinding that [`Rights::Cluster`] makes.
    pub fn cluster_binding(&self) -> String {
        format!("{}-cluster", self.namespace)
    }

    /// An id for the controller of this test (label `writ.dev/instance`): that of the namespace.
    pub fn instance(&self) -> &str {
        &self.namespace
    }

    /// Name for `serviceAccountName` of this test's Syncs.
    pub fn service_account(&self) -> &'static str {
        TENANT_SERVICE_ACCOUNT
    }

    /// The webhooks of `deploy/` for the writ of this test, which listens on the loopback; asked about this namespace alone. And
    /// what lets writ point them at itself.
    pub fn install_webhooks(&self, port: u16) -> Result<()> {
        let name = &self.namespace;
        let configurations = deploy_file("webhooks.yaml")?
            .replace("writ-observe", &format!("{name}-observe"))
            .replace("writ-stamp", &format!("{name}-stamp"))
            .replace("writ.dev/instance: writ\n", &format!("writ.dev/instance: {name}\n"))
            .replace(
                "service: {name: writ-admission, namespace: writ-system, port: 8443}",
                &format!("url: \"https://127.0.0.1:{port}\""),
            )
            .replace(
                "namespaceSelector: {}",
                &format!("namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {name}}}}}"),
            );
        self.plane.apply(&configurations).context("cannot install the webhooks")?;
        let role = format!("{name}-webhooks");
        let rule = |kind: &str, suffix: &str| {
            format!(
                "  - {{apiGroups: [admissionregistration.k8s.io], resources: [{kind}webhookconfigurations], resourceNames: \
                 [{name}-{suffix}], verbs: [get, patch]}}\n"
            )
        };
        let rules = rule("validating", "observe") + &rule("mutating", "stamp");
        self.plane.apply(&format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata:\n  name: {role}\nrules:\n{rules}"
        ))?;
        let account = format!("--serviceaccount={WRIT_NAMESPACE}:{WRIT_SERVICE_ACCOUNT}");
        let role_flag = format!("--clusterrole={role}");
        self.plane.kubectl(&["create", "clusterrolebinding", &role, &role_flag, &account]).map(drop)
    }

    /// Runs `kubectl` in the namespace, as cluster admin: the test's own hands.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut all = vec!["--namespace", self.namespace.as_str()];
        all.extend_from_slice(arguments);
        self.plane.kubectl(&all)
    }

    /// Applies manifests to the namespace, as cluster admin: objects that name no namespace of their own land here.
    pub fn apply(&self, manifests: &str) -> Result<()> {
        self.plane.apply_in(Some(&self.namespace), manifests)
    }

    /// Kubeconfig of the tenant's own ServiceAccount.
    pub fn kubeconfig(&self) -> Result<PathBuf> {
        self.plane.service_account_kubeconfig(&self.namespace, TENANT_SERVICE_ACCOUNT)
    }
}

/// The tenant template for another namespace: its name stands alone as a value at the end of a line, and nowhere else.
fn in_namespace(files: &str, namespace: &str) -> String {
    let ends = [format!("namespace: {TEMPLATE_NAMESPACE}"), format!("name: {TEMPLATE_NAMESPACE}")];
    let lines = files.lines().map(|line| {
        match ends.iter().find(|end| !line.starts_with('#') && line.ends_with(end.as_str())) {
            Some(_) => line
                .strip_suffix(TEMPLATE_NAMESPACE)
                .map_or_else(|| line.to_owned(), |kept| format!("{kept}{namespace}")),
            None => line.to_owned(),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}
