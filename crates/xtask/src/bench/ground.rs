//! What one measurement stands on: a tenant, a repository on a server, and a controller that can be started and stopped.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testkit::{
    ControlPlane, GitServer, KeyType, Keys, Metrics, Push, Remote, Rights, SignedRepo, SigningKey, Tenant, TrustFile,
    Writ, install, wait_until,
};

use super::api::{Access, Api, Patch};
use super::manifests::Kind;
use super::probe::PATIENCE;
use crate::{
    stage::{Controller, Order, writ},
    workspace::Workspace,
};

/// Name of the repository, of the GitSource and of the Sync.
const NAME: &str = "bench";
/// Name of the log.
const LOG_ORIGIN: &str = "writ.dev/bench";
/// How long the controller may take to end.
const STOP_PATIENCE: Duration = Duration::from_secs(60);

/// A tenant with its repository, introduced to the cluster; the controller is not running yet.
pub(super) struct Ground<'a> {
    pub(super) tenant: Tenant<'a>,
    pub(super) repo: SignedRepo,
    pub(super) server: GitServer,
    /// For edits, pokes and the probe.
    pub(super) hand: Access,
    api: Api,
    key: SigningKey,
    remote: Remote,
    controller: Controller,
    writ: Option<Writ>,
    /// The folder of the private key goes with it.
    _keys: Keys,
}

impl<'a> Ground<'a> {
    /// Sets everything up, and commits the introduction.
    pub(super) fn set(workspace: &Workspace, plane: &'a ControlPlane) -> Result<Self> {
        let program: PathBuf = workspace.path("target/release/writ");
        install(plane, &writ(&program, &["crds"])?)?;
        let tenant = Tenant::create(plane, Rights::Namespace)?;
        let server = GitServer::start()?;
        server.create(NAME)?;
        let keys = Keys::new()?;
        let key = keys.generate("dora", KeyType::Ed25519)?;
        let repo = SignedRepo::new()?;
        repo.write(".writ/trust.yaml", TrustFile::team("urn:writ:bench", &key, &key, &key).text())?;
        repo.sign_trust_file(&key)?;
        repo.commit_signed(&key, "Introduce trust")?;
        let remote = server.remote(NAME);
        repo.push(&remote, "main", Push::FastForward)?;
        let order = Order { program: &program, repository: &repo.path(), name: NAME, path: "apps" };
        order.give(&server, &tenant)?;
        let hand = Access::hand(&tenant)?;
        let controller = Controller::new(&program, &tenant, LOG_ORIGIN)?;
        let api = Api::new(&hand)?;
        Ok(Self { tenant, repo, server, hand, api, key, remote, controller, writ: None, _keys: keys })
    }

    /// Starts the controller, unless it runs, and waits until it answers; its process id.
    pub(super) fn start_writ(&mut self) -> Result<u32> {
        if let Some(writ) = &self.writ {
            return Ok(writ.pid());
        }
        let mut writ = self.controller.start()?;
        let address = self.controller.metrics.clone();
        writ.wait_until("the controller to be ready", PATIENCE, |_| Metrics::scrape(&address).map(drop))?;
        let pid = writ.pid();
        self.writ = Some(writ);
        Ok(pid)
    }

    /// Ends the controller, as Kubernetes does.
    pub(super) fn stop_writ(&mut self) -> Result<()> {
        if let Some(mut writ) = self.writ.take() {
            let status = writ.terminate(STOP_PATIENCE)?;
            ensure!(status.success(), "the controller ended with {status}");
        }
        Ok(())
    }

    /// Resident memory of the controller, in MiB.
    pub(super) fn resident_mebibytes(&self) -> Result<f64> {
        let writ = self.writ.as_ref().context("the controller is not running")?;
        Ok(writ.resident_bytes()? as f64 / f64::from(1 << 20))
    }

    /// Commits what is in the work tree and pushes it; returns the commit and when the push was through.
    pub(super) fn push(&self, message: &str) -> Result<(String, Instant)> {
        let head = self.repo.commit_signed(&self.key, message)?;
        self.repo.push(&self.remote, "main", Push::FastForward)?;
        Ok((head, Instant::now()))
    }

    /// Asks writ to look at the repository now.
    pub(super) fn poke_source(&self) -> Result<()> {
        self.poke("gitsources").map(drop)
    }

    /// Asks writ to go through the Sync now, and waits until it has.
    pub(super) fn force_pass(&mut self) -> Result<()> {
        let stamp = self.poke("syncs")?;
        self.wait("the pass to be over", |sync| {
            let handled = sync.pointer("/status/lastHandledReconcileAt").and_then(Value::as_str);
            ensure!(handled == Some(&stamp), "answered is {handled:?}");
            Ok(())
        })
    }

    fn poke(&self, resource: &str) -> Result<String> {
        let stamp = format!("{:?}", std::time::SystemTime::now());
        let patch = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": stamp}}});
        self.api.patch(&format!("{}?fieldManager=hand", self.order(resource)), Patch::Merge, &patch.to_string())?;
        Ok(stamp)
    }

    fn order(&self, resource: &str) -> String {
        format!("/apis/writ.dev/v1alpha1/namespaces/{}/{resource}/{NAME}", self.tenant.namespace())
    }

    /// Waits until a revision is applied.
    pub(super) fn wait_applied(&mut self, head: &str) -> Result<()> {
        self.wait(&format!("{head} to be applied"), |sync| {
            let applied = sync.pointer("/status/appliedRevision").and_then(Value::as_str);
            ensure!(applied == Some(head), "the status is {}", sync.get("status").unwrap_or(&Value::Null));
            Ok(())
        })
    }

    fn wait(&mut self, what: &str, condition: impl Fn(&Value) -> Result<()>) -> Result<()> {
        let path = self.order("syncs");
        let api = &self.api;
        let look = || condition(&serde_json::from_str(&api.get(&path)?).context("not an object")?);
        match &mut self.writ {
            Some(writ) => writ.wait_until(what, PATIENCE, |_| look()),
            None => wait_until(what, PATIENCE, look),
        }
    }

    /// Pushes, pokes, and waits until it is applied.
    pub(super) fn roll_out(&mut self, message: &str) -> Result<()> {
        let (head, _) = self.push(message)?;
        self.poke_source()?;
        self.wait_applied(&head)
    }

    /// The body with which writ applied an object: what is declared, and the labels and annotations that writ adds.
    pub(super) fn applied_body(&self, kind: Kind, number: usize, replicas: u32) -> Result<Value> {
        let path = format!("{}/{}", kind.collection(self.tenant.namespace()), kind.name(number));
        let live: Value = serde_json::from_str(&self.api.get(&path)?).context("not an object")?;
        let mut body = kind.object(number, replicas);
        let metadata = body.get_mut("metadata").and_then(Value::as_object_mut).context("metadata")?;
        metadata.insert("namespace".to_owned(), self.tenant.namespace().into());
        for field in ["labels", "annotations"] {
            let Some(mut values) = live.pointer(&format!("/metadata/{field}")).cloned() else { continue };
            if let Some(values) = values.as_object_mut() {
                // Written by the controllers of Kubernetes, not by whoever applies.
                values.remove("deployment.kubernetes.io/revision");
            }
            metadata.insert(field.to_owned(), values);
        }
        Ok(body)
    }
}
