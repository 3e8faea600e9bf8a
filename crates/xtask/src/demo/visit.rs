//! The demo on a cluster of the user's: it changes nothing that was there, and leaves nothing behind.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use testkit::{ControlPlane, Scratch, permissions};

use super::stage::PROGRAM;
use crate::{
    stage::{text, writ},
    workspace::Workspace,
};

/// What the user of the kubeconfig must be allowed to do. The last: the demo's ServiceAccount gets every right, since the commit brings
/// a CustomResourceDefinition, and nobody may give away what they do not have.
const RIGHTS: [(&str, &str); 9] = [
    ("create", "namespaces"),
    ("delete", "namespaces"),
    ("create", "customresourcedefinitions.apiextensions.k8s.io"),
    ("delete", "customresourcedefinitions.apiextensions.k8s.io"),
    ("create", "clusterroles.rbac.authorization.k8s.io"),
    ("delete", "clusterroles.rbac.authorization.k8s.io"),
    ("create", "clusterrolebindings.rbac.authorization.k8s.io"),
    ("delete", "clusterrolebindings.rbac.authorization.k8s.io"),
    ("*", "*.*"),
];
/// What the name of a visit's namespace begins with; the number of the process follows.
const PREFIX: &str = "writ-demo-";
/// How long the cluster may take to delete one of our objects with all that is in it; pods have 30 s to end.
const DELETED_WITHIN: &str = "--timeout=120s";

/// A visit, from the first look to the last removal.
pub(crate) struct Visit {
    plane: &'static ControlPlane,
    namespace: String,
    /// Files of what is installed for all of the cluster: writ's CRDs and permissions, the example's CRD.
    manifests: Vec<PathBuf>,
    _files: Scratch,
}

impl Visit {
    /// Looks before anything is made: whether the cluster answers, whether we may, and whether writ is there already.
    pub(crate) fn begin(workspace: &Workspace, kubeconfig: &Path) -> Result<Self> {
        // Lives as long as the process, as the demo's own control plane does.
        let plane: &'static ControlPlane = Box::leak(Box::new(ControlPlane::foreign(kubeconfig)?));
        let files = Scratch::new("visit")?;
        let crds = writ(&workspace.path(PROGRAM), &["crds"])?;
        let mut manifests = Vec::new();
        for (name, text) in [("crds.yaml", crds), ("permissions.yaml", permissions()?)] {
            let file = files.path().join(name);
            std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
            manifests.push(file);
        }
        manifests.push(workspace.path("examples/shop/platform/order-crd.yaml"));
        let namespace = format!("{PREFIX}{}", std::process::id());
        let visit = Self { plane, namespace, manifests, _files: files };
        visit.allowed(kubeconfig)?;
        visit.free()?;
        println!("Playing on {}, in namespace {}.", plane.server(), visit.namespace);
        println!(
            "Should it be interrupted, this removes what it made:\n{}",
            by_hand(std::slice::from_ref(&visit.namespace))
        );
        Ok(visit)
    }

    pub(crate) fn plane(&self) -> &'static ControlPlane {
        self.plane
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    fn allowed(&self, kubeconfig: &Path) -> Result<()> {
        let mut missing = Vec::new();
        for (verb, resource) in RIGHTS {
            // It answered just now, so an error is a no.
            if self.plane.kubectl(&["auth", "can-i", verb, resource, "--all-namespaces"]).is_err() {
                missing.push(if verb == "*" { "do everything".to_owned() } else { format!("{verb} {resource}") });
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        bail!(
            "the user of {} may not, on {}: {}. The demo installs writ's CRDs and permissions and removes them again: \
             give it the kubeconfig of a cluster admin, or play it without --kubeconfig on a cluster of its own",
            kubeconfig.display(),
            self.plane.server(),
            missing.join(", ")
        )
    }

    /// Nothing of what will be made, and removed at the end, may be there.
    fn free(&self) -> Result<()> {
        let mut found = String::new();
        for file in &self.manifests {
            found += &self.plane.kubectl(&["get", "--ignore-not-found", "-o", "name", "-f", text(file)?])?;
        }
        let found: Vec<&str> = found.split_whitespace().collect();
        if found.is_empty() {
            return Ok(());
        }
        bail!(
            "writ, or an earlier demo, is on {} already: {}. The demo would change these and remove them at the end; \
             play it on another cluster. If they are what an interrupted demo left, this removes them:\n{}",
            self.plane.server(),
            found.join(", "),
            by_hand(&self.left_namespaces()?)
        )
    }

    /// Namespaces of earlier demos of which something is left, be it the binding alone. Nobody else's name begins so and goes on with
    /// the number of a process.
    fn left_namespaces(&self) -> Result<Vec<String>> {
        let all = self.plane.kubectl(&["get", "namespaces,clusterrolebindings", "-o", "name"])?;
        let names = all.lines().filter_map(|line| line.split_once('/')).map(|(_kind, name)| name);
        let namespaces = names.map(|name| name.strip_suffix("-cluster").unwrap_or(name));
        let number = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_digit());
        let ours = namespaces.filter(|name| name.strip_prefix(PREFIX).is_some_and(number));
        Ok(ours.map(str::to_owned).collect::<BTreeSet<_>>().into_iter().collect())
    }

    /// The commands that remove everything. The namespace first, while the kinds in it are known; what gives rights last.
    fn removal(&self) -> Result<Vec<Vec<String>>> {
        let delete = |words: &[&str]| {
            let head = ["delete", "--ignore-not-found", DELETED_WITHIN];
            head.into_iter().chain(words.iter().copied()).map(str::to_owned).collect::<Vec<_>>()
        };
        let mut commands = vec![
            delete(&["namespace", &self.namespace]),
            delete(&["clusterrolebinding", &format!("{}-cluster", self.namespace)]),
        ];
        for file in self.manifests.iter().rev() {
            commands.push(delete(&["-f", text(file)?]));
        }
        Ok(commands)
    }

    /// Removes everything; goes on when something cannot be removed, and then says what is left.
    pub(crate) fn end(self) -> Result<()> {
        println!("\nRemoving what the demo made on {}.", self.plane.server());
        let mut left = Vec::new();
        for command in self.removal()? {
            let words: Vec<&str> = command.iter().map(String::as_str).collect();
            if let Err(error) = self.plane.kubectl(&words) {
                left.push(format!("{error:#}"));
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        bail!(
            "not everything could be removed:\n{}\nRemove it by hand:\n{}",
            left.join("\n"),
            by_hand(&[self.namespace])
        )
    }
}

/// How a person removes what demos in these namespaces made, without our files.
fn by_hand(namespaces: &[String]) -> String {
    let own =
        namespaces.iter().map(|namespace| format!("namespace/{namespace} clusterrolebinding/{namespace}-cluster "));
    format!(
        "  kubectl delete --ignore-not-found {}crd/orders.shop.example\n  \
         kubectl delete --ignore-not-found -f deploy/crds/writ.dev.yaml -f deploy/rbac.yaml -f deploy/namespace.yaml\n",
        own.collect::<String>()
    )
}
