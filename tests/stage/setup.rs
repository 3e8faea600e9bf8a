//! From nothing to a running writ that has applied a first commit.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::{Context, Result};
use testkit::{
    ControlPlane, GitServer, KeyType, Keys, PrincipalKind, Profile, Push, Rights, SignedRepo, Tenant, TrustFile,
    WritCommand, install, writ_kubeconfig,
};

use super::{Names, People, REPOSITORY, SOURCE, SYNC, Stage, View, WRIT, writ_ok};

/// Name of the Secret with the Git server's credentials.
const SECRET: &str = "git";
/// How often writ polls when nobody pokes it: the shortest that it takes.
const INTERVAL: &str = "5s";

/// How a test's world begins.
pub(crate) struct Setup<'a> {
    plane: &'a ControlPlane,
    rights: Rights,
    drift: &'static str,
    path: &'static str,
    trust: fn(&People, &str) -> TrustFile,
    files: BTreeMap<String, String>,
    api: Option<String>,
    volume: Option<&'static str>,
    interval: &'static str,
    webhooks: Option<&'static str>,
    ids: &'static str,
    tag: Option<&'static str>,
    admission: Option<u16>,
    audit_log: Option<String>,
}

impl Setup<'static> {
    /// On the control plane that all tests share.
    pub(crate) fn shared() -> Result<Self> {
        Ok(Self::on(ControlPlane::shared(Profile::Api)?))
    }
}

impl<'a> Setup<'a> {
    /// On a control plane of the test's own.
    pub(crate) fn on(plane: &'a ControlPlane) -> Self {
        let files = [("apps/settings.yaml", config_map("settings", "good")), ("apps/web.yaml", deployment("web", 1))];
        Self {
            plane,
            rights: Rights::Namespace,
            drift: "Revert",
            path: "apps",
            trust: team,
            files: files.map(|(path, text)| (path.to_owned(), text)).into(),
            api: None,
            volume: None,
            interval: INTERVAL,
            webhooks: None,
            ids: "sha1",
            tag: None,
            admission: None,
            audit_log: None,
        }
    }

    /// The tenant may do everything in the cluster.
    pub(crate) fn cluster_admin(mut self) -> Self {
        self.rights = Rights::Cluster;
        self
    }

    /// `drift.mode` of the Sync.
    pub(crate) fn drift(mut self, mode: &'static str) -> Self {
        self.drift = mode;
        self
    }

    /// Another trust file than that of the usual team.
    pub(crate) fn trust(mut self, trust: fn(&People, &str) -> TrustFile) -> Self {
        self.trust = trust;
        self
    }

    /// One more file of the first commit.
    pub(crate) fn file(mut self, path: &str, text: impl Into<String>) -> Self {
        self.files.insert(path.to_owned(), text.into());
        self
    }

    /// The address by which writ reaches the API server, e.g. that of a proxy.
    pub(crate) fn api_server(mut self, address: &str) -> Self {
        self.api = Some(address.to_owned());
        self
    }

    /// writ's state is on a volume of this size (a mount of its own, seen by writ only).
    pub(crate) fn volume(mut self, size: &'static str) -> Self {
        self.volume = Some(size);
        self
    }

    /// writ takes webhooks with this token, and is told of a push by nothing else for an hour.
    pub(crate) fn webhooks(mut self, token: &'static str) -> Self {
        self.interval = "1h";
        self.webhooks = Some(token);
        self
    }

    /// The hash that the repository names its objects by.
    pub(crate) fn ids(mut self, format: &'static str) -> Self {
        self.ids = format;
        self
    }

    /// writ is asked by the API server at this port, from before it runs.
    pub(crate) fn admission(mut self, port: u16) -> Self {
        self.admission = Some(port);
        self
    }

    /// writ follows this audit log of the API server.
    pub(crate) fn audit_log(mut self, file: &str) -> Self {
        self.audit_log = Some(file.to_owned());
        self
    }

    /// The trust file tracks this tag; security signs it at the first commit.
    pub(crate) fn tag(mut self, name: &'static str) -> Self {
        self.tag = Some(name);
        self
    }

    /// Everything is made, writ is not started.
    pub(crate) fn prepare(self) -> Result<Stage<'a>> {
        static CRDS: OnceLock<String> = OnceLock::new();
        let crds = match CRDS.get() {
            Some(crds) => crds,
            None => {
                let printed = writ_ok(&["crds"])?;
                CRDS.get_or_init(|| printed)
            }
        };
        install(self.plane, crds)?;
        let tenant = Tenant::create(self.plane, self.rights)?;
        let namespace = tenant.namespace().to_owned();
        let people = people()?;
        let git = GitServer::start()?;
        git.create_with_ids(REPOSITORY, self.ids)?;
        let repo = SignedRepo::with_ids(self.ids)?;
        let introduction = self.introduce(&repo, &people, &namespace)?;
        let good = self.first_commit(&repo, &people)?;
        repo.push(&git.remote(REPOSITORY), "main:refs/heads/main", Push::FastForward)?;
        if let Some(tag) = self.tag {
            repo.tag_signed(&people.security, tag, &good)?;
            repo.push(&git.remote(REPOSITORY), &format!("refs/tags/{tag}"), Push::FastForward)?;
        }
        let (command, arguments) = self.command(&namespace)?;
        if let Some(port) = self.admission {
            tenant.install_webhooks(port)?;
        }
        credentials(&tenant, &git, self.webhooks)?;
        trust_root(&tenant, &git, &repo, &introduction, &self, command.directory())?;
        let mut names = names(&tenant, &git, &people, command.directory(), &repo.path())?;
        names.call_commit(&introduction, "introduction");
        names.call_commit(&good, "first commit");
        let view = View { plane: self.plane, namespace };
        Ok(Stage { writ: None, command, arguments, view, tenant, git, repo, people, names, good, pokes: 0 })
    }

    /// writ runs and has applied the first commit.
    pub(crate) fn start(self) -> Result<Stage<'a>> {
        let mut stage = self.prepare()?;
        stage.start()?;
        let first = stage.good.clone();
        stage.applied(&first)?;
        Ok(stage)
    }

    /// The commit that brings the trust file, and nothing else.
    fn introduce(&self, repo: &SignedRepo, people: &People, namespace: &str) -> Result<String> {
        repo.write(".writ/trust.yaml", (self.trust)(people, &format!("urn:writ:{namespace}")).text())?;
        repo.sign_trust_file(&people.root)?;
        repo.commit_signed(&people.root, "introduce the trust file")
    }

    fn first_commit(&self, repo: &SignedRepo, people: &People) -> Result<String> {
        for (path, text) in &self.files {
            repo.write(path, text)?;
        }
        repo.commit_signed(&people.sre, "first workloads")
    }

    fn command(&self, namespace: &str) -> Result<(WritCommand, Vec<String>)> {
        let kubeconfig = kubeconfig(self.plane)?;
        let command = match self.volume {
            None => WritCommand::new(WRIT)?,
            Some(size) => mounted(WritCommand::new("unshare")?, size),
        };
        let directory = command.directory().to_owned();
        let kubeconfig = match &self.api {
            None => kubeconfig,
            Some(address) => {
                let text = std::fs::read_to_string(&kubeconfig).context("cannot read the kubeconfig")?;
                let file = directory.join("kubeconfig");
                std::fs::write(&file, text.replace(self.plane.server(), address))
                    .context("cannot write a kubeconfig")?;
                file
            }
        };
        std::fs::create_dir(directory.join("state")).context("cannot make the state folder")?;
        let origin = format!("writ.dev/{namespace}");
        writ_ok(&["audit", "key", "--name", &origin, "--dir", &directory.to_string_lossy()])?;
        let path = |name: &str| directory.join(name).to_string_lossy().into_owned();
        let (state, key, kubeconfig) = (path("state"), path("key"), kubeconfig.to_string_lossy().into_owned());
        let arguments = [
            "controller",
            "--state-dir",
            &state,
            "--log-key",
            &key,
            "--log-origin",
            &origin,
            "--instance",
            namespace,
            "--listen",
            "127.0.0.1:0",
            "--kubeconfig",
            &kubeconfig,
        ];
        let mut arguments: Vec<String> = arguments.map(str::to_owned).into();
        if self.webhooks.is_some() {
            arguments.extend(["--webhook-listen", "127.0.0.1:0"].map(str::to_owned));
        }
        if let Some(port) = self.admission {
            arguments.extend(["--admission-listen".to_owned(), format!("127.0.0.1:{port}")]);
        }
        if let Some(file) = &self.audit_log {
            arguments.extend(["--audit-log".to_owned(), file.clone()]);
        }
        Ok((command.args(arguments.iter().cloned()), arguments))
    }
}

/// writ behind a mount of its own: `unshare` gives it the right to mount without any privilege, `setpriv` lets it die with the test
/// all the same.
fn mounted(unshare: WritCommand, size: &str) -> WritCommand {
    let state = unshare.directory().join("state").to_string_lossy().into_owned();
    let script = format!("mount -t tmpfs -o size={size} tmpfs \"$0\" && exec \"$@\"");
    let words =
        ["--map-root-user", "--mount", "setpriv", "--pdeathsig", "KILL", "--", "/bin/sh", "-c", &script, &state, WRIT];
    unshare.args(words)
}

/// writ with its state folder bound read-only.
pub(super) fn on_read_only_state(arguments: &[String], state: &Path) -> Result<WritCommand> {
    let script = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" && exec \"$@\"";
    let words =
        ["--map-root-user", "--mount", "/bin/sh", "-c", script, &state.to_string_lossy(), WRIT].map(str::to_owned);
    Ok(WritCommand::new("unshare")?.args(words).args(arguments.iter().cloned()))
}

/// One kubeconfig of writ's ServiceAccount for each control plane of this process.
fn kubeconfig(plane: &ControlPlane) -> Result<PathBuf> {
    static KNOWN: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = known.get(plane.server()).filter(|path| path.exists()) {
        return Ok(path.clone());
    }
    let path = writ_kubeconfig(plane)?;
    known.insert(plane.server().to_owned(), path.clone());
    Ok(path)
}

fn people() -> Result<People> {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    let keys = match KEYS.get() {
        Some(keys) => keys,
        None => {
            let made = Keys::new()?;
            KEYS.get_or_init(|| made)
        }
    };
    let key = |name| keys.generate(name, KeyType::Ed25519);
    Ok(People { root: key("ruth")?, security: key("sena")?, sre: key("sam")?, stranger: key("mallory")? })
}

fn credentials(tenant: &Tenant<'_>, git: &GitServer, webhooks: Option<&str>) -> Result<()> {
    let webhooks = webhooks.map(|token| format!("  webhook.token: \"{token}\"\n")).unwrap_or_default();
    let indented = |text: &str| text.lines().map(|line| format!("    {line}\n")).collect::<String>();
    tenant.apply(&format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {SECRET}}}\nstringData:\n  username: \"{}\"\n  password: \"{}\"\n\
         {webhooks}  ca.crt: |\n{}",
        git.username(),
        git.password(),
        indented(git.authority())
    ))
}

/// Prints TrustRoot, GitSource and Sync by the real command, and applies them as an admin would.
fn trust_root(
    tenant: &Tenant<'_>,
    git: &GitServer,
    repo: &SignedRepo,
    introduction: &str,
    setup: &Setup<'_>,
    directory: &Path,
) -> Result<()> {
    let (namespace, url, repo) = (tenant.namespace(), git.url(REPOSITORY), repo.path());
    let repo = repo.to_string_lossy();
    let printed = writ_ok(&[
        "trust",
        "root",
        introduction,
        "--repo",
        &repo,
        "--name",
        namespace,
        "--namespace",
        namespace,
        "--url",
        &url,
        "--secret",
        SECRET,
        "--source",
        SOURCE,
        "--sync",
        SYNC,
        "--path",
        setup.path,
        "--service-account",
        tenant.service_account(),
        "--interval",
        setup.interval,
        "--drift",
        &setup.drift.to_lowercase(),
        "--instance",
        tenant.instance(),
    ])?;
    tenant.apply(&printed)?;
    let root = printed.split("---\n").find(|document| document.contains("kind: TrustRoot"));
    let root = root.context("writ trust root printed no TrustRoot")?;
    std::fs::write(directory.join("trust-root.yaml"), root).context("cannot write trust-root.yaml")
}

fn names(tenant: &Tenant<'_>, git: &GitServer, people: &People, directory: &Path, repo: &Path) -> Result<Names> {
    let mut names = Names::default();
    names.call(&git.url(REPOSITORY), "repository url");
    names.call(&git.address().to_string(), "git server");
    names.call(tenant.namespace(), "namespace");
    names.call(tenant.control_plane().server(), "api server");
    names.call(&directory.to_string_lossy(), "directory");
    names.call(&repo.to_string_lossy(), "work tree");
    for key in [&people.root, &people.security, &people.sre, &people.stranger] {
        names.call(&key.fingerprint()?, &format!("key of {}", key.principal()));
        names.call(key.public(), &format!("public key of {}", key.principal()));
        names.call(&key.private_file().to_string_lossy(), &format!("key file of {}", key.principal()));
    }
    Ok(names)
}

/// A ConfigMap with one value.
pub(crate) fn config_map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  value: \"{value}\"\n")
}

/// A Deployment with one container.
pub(crate) fn deployment(name: &str, replicas: u32) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\nspec:\n  replicas: {replicas}\n  selector:\n    \
         matchLabels:\n      app: {name}\n  template:\n    metadata:\n      labels:\n        app: {name}\n    spec:\n      \
         containers:\n        - name: web\n          image: shop.example/web:1.0.0\n          env:\n            - name: MODE\n\
         \x20             value: quiet\n"
    )
}

/// The usual team.
pub(crate) fn team(people: &People, repo_id: &str) -> TrustFile {
    TrustFile::team(repo_id, &people.root, &people.security, &people.sre)
}

/// Who is who, and that root may change trust: what every trust file of these tests begins with.
pub(crate) fn people_and_roles(people: &People, repo_id: &str) -> TrustFile {
    [&people.root, &people.security, &people.sre]
        .into_iter()
        .fold(TrustFile::new(repo_id), |file, key| file.principal(key.principal(), PrincipalKind::Human, &[key]))
        .role("root", &[people.root.principal()])
        .role("security", &[people.security.principal()])
        .role("sre", &[people.sre.principal()])
        .rule("trust", &[".writ/**"], &[("root", 1)], &[])
}

/// As [`team`], but the SRE may declare anything below `apps/` and `other/`: custom kinds, cluster-scoped objects, Syncs.
pub(crate) fn any_kind(people: &People, repo_id: &str) -> TrustFile {
    people_and_roles(people, repo_id)
        .rule("policies", &["policies/**"], &[("security", 1)], &["admissionregistration.k8s.io/*"])
        .rule("apps", &["apps/**", "other/**"], &[("sre", 1)], &["namespaced", "cluster", "writ.dev/Sync"])
}
