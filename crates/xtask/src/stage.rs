//! What the demo and the benches have in common: giving writ its orders, its key and its place.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use testkit::{GitServer, Tenant, Writ, WritCommand, writ_kubeconfig};

/// Orders that a platform admin gives for one repository.
pub(crate) struct Order<'a> {
    /// The binary.
    pub(crate) program: &'a Path,
    /// The work tree whose head carries the trust file.
    pub(crate) repository: &'a Path,
    /// Name of the repository on the server, of the GitSource and of the Sync.
    pub(crate) name: &'a str,
    /// Folder of the Sync; empty is the whole repository.
    pub(crate) path: &'a str,
}

impl Order<'_> {
    /// Puts TrustRoot, GitSource, Sync and the credentials into the cluster; the manifests of the first three.
    pub(crate) fn give(&self, server: &GitServer, tenant: &Tenant<'_>) -> Result<String> {
        tenant.kubectl(&[
            "create",
            "secret",
            "generic",
            "git-credentials",
            &format!("--from-literal=username={}", server.username()),
            &format!("--from-literal=password={}", server.password()),
            &format!("--from-file=ca.crt={}", server.authority_file().display()),
        ])?;
        let url = server.url(self.name);
        let arguments = [
            ["--repo", text(self.repository)?],
            ["--name", tenant.namespace()],
            ["--namespace", tenant.namespace()],
            ["--instance", tenant.instance()],
            ["--source", self.name],
            ["--sync", self.name],
            ["--url", &url],
            ["--secret", "git-credentials"],
            ["--path", self.path],
            ["--service-account", tenant.service_account()],
        ];
        let words = ["trust", "root", "HEAD"].into_iter().chain(arguments.into_iter().flatten());
        let manifests = writ(self.program, &words.collect::<Vec<_>>())?;
        tenant.control_plane().apply(&manifests)?;
        Ok(manifests)
    }
}

/// How one controller is called; it can be started again on the same state.
pub(crate) struct Controller {
    /// Its folder of state.
    pub(crate) state: PathBuf,
    /// The public key of its log.
    pub(crate) log_public_key: PathBuf,
    /// `ADDRESS:PORT` of metrics and probes.
    pub(crate) metrics: String,
    command: WritCommand,
}

impl Controller {
    /// Makes the log's key and the call of a controller for the tenant, under writ's own ServiceAccount.
    pub(crate) fn new(program: &Path, tenant: &Tenant<'_>, log_origin: &str) -> Result<Self> {
        let command = WritCommand::new(program)?;
        let state = command.directory().join("state");
        let folder = command.directory().join("log-key");
        std::fs::create_dir_all(&folder).context("cannot make the folder of the log key")?;
        writ(program, &["audit", "key", "--name", log_origin, "--dir", text(&folder)?])?;
        let metrics = free_address()?;
        let kubeconfig = writ_kubeconfig(tenant.control_plane())?;
        let command = command
            .args(["controller"])
            .env("WRIT_STATE_DIR", text(&state)?)
            .env("WRIT_LOG_KEY", text(&folder.join("key"))?)
            .env("WRIT_LOG_ORIGIN", log_origin)
            .env("WRIT_INSTANCE", tenant.instance())
            .env("WRIT_IDENTITY", "writ-0")
            .env("WRIT_LISTEN", &metrics)
            .env("KUBECONFIG", text(&kubeconfig)?);
        Ok(Self { state, log_public_key: folder.join("key.pub"), metrics, command })
    }

    /// Starts it.
    pub(crate) fn start(&self) -> Result<Writ> {
        self.command.start()
    }
}

/// Runs the binary and returns its standard output; fails unless it exits with 0.
pub(crate) fn writ(program: &Path, arguments: &[&str]) -> Result<String> {
    let finished = WritCommand::new(program)?.args(arguments.iter().copied()).output()?;
    ensure!(finished.code == Some(0), "`writ {}` failed: {}", arguments.join(" "), finished.stderr);
    Ok(finished.stdout)
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}

/// A loopback address nobody listens on.
fn free_address() -> Result<String> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").context("cannot find a free port")?;
    Ok(listener.local_addr()?.to_string())
}
