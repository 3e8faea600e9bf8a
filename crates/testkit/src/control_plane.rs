//! A real Kubernetes control plane on loopback.
//!
//! The programs are built by `cargo xtask controlplane`. Keys and certificates are made at run time, the database lives in
//! memory, the ports are free ones. Nothing is left when the process that started it ends.

mod api;
mod component;
mod foreign;
mod kubeconfig;
mod start;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

pub(crate) use api::get_plain;
pub use component::Component;
use component::{Launch, pki};

use crate::authority::{Authority, Issued};
use crate::process::{Server, hermetic_command, run};
use crate::scratch::Scratch;
use crate::wait::wait_until;

/// Environment variable with the folder of the control plane's programs; `target/controlplane` when it is absent.
pub const PROGRAMS_VARIABLE: &str = "WRIT_CONTROLPLANE";
/// Common name of the authority of serving and client certificates.
const AUTHORITY_NAME: &str = "testkit-control-plane";
/// A cold start takes 4 s alone and several times that beside a compiler on two cores.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// Lives longer than any test run or demo: the API server issues tokens of up to a year when nothing limits them.
const TOKEN_DURATION: &str = "72h";

/// What of Kubernetes is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Profile {
    /// etcd and kube-apiserver: everything about apply, ownership, watches, CRDs, RBAC and admission. No controller runs: nothing
    /// deletes the content of a Namespace or collects garbage, Namespaces get no `default` ServiceAccount, and a ClusterRole that
    /// aggregates others keeps the rules it was given (`admin`, `edit` and `view` are filled at the start).
    Api,
    /// Also kube-controller-manager and kube-scheduler (no node).
    Full,
}

impl Profile {
    /// Environment variable with the state file of the control plane that all tests of a run share.
    pub fn shared_variable(self) -> &'static str {
        match self {
            Self::Api => "WRIT_TEST_CONTROL_PLANE_API",
            Self::Full => "WRIT_TEST_CONTROL_PLANE_FULL",
        }
    }

    fn components(self) -> &'static [Component] {
        match self {
            Self::Api => &[Component::Etcd, Component::ApiServer],
            Self::Full => &[Component::Etcd, Component::ApiServer, Component::ControllerManager, Component::Scheduler],
        }
    }
}

/// What another process of the same test run needs to use a control plane; the content of the state file.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Description {
    profile: Profile,
    /// `https://127.0.0.1:PORT`
    server: String,
    directory: PathBuf,
    programs: PathBuf,
}

/// The processes and directories of a control plane started here. Dropped in this order: first the processes.
struct Own {
    processes: Mutex<BTreeMap<Component, Server>>,
    launch: Launch,
    _directories: [Scratch; 2],
}

/// A running control plane: started by this process, attached to, or somebody else's.
pub struct ControlPlane {
    description: Description,
    authority: Authority,
    access: Access,
    own: Option<Own>,
}

/// How requests get there.
enum Access {
    /// With the admin's client certificate, which was made here.
    Direct(api::Api),
    /// As its owner's kubeconfig says.
    Foreign(foreign::Foreign),
}

impl ControlPlane {
    /// Starts a control plane of its own and waits until it is ready.
    pub fn start(profile: Profile) -> Result<Self> {
        Self::start_with(profile, &[])
    }

    /// As [`ControlPlane::start`], with more flags for the API server (`--name=value`; a flag given twice: the later counts).
    pub fn start_with(profile: Profile, api_server_flags: &[&str]) -> Result<Self> {
        start::start(profile, api_server_flags)
    }

    /// Uses the control plane of another process of this test run, by its state file. It can be used in every way except
    /// [`kill`](Self::kill), [`restart`](Self::restart) and [`stop`](Self::stop).
    pub fn attach(state_file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(state_file)
            .with_context(|| format!("cannot read the control plane's state file {}", state_file.display()))?;
        let description: Description = serde_json::from_str(&text)
            .with_context(|| format!("{} is not a control plane's state file", state_file.display()))?;
        let authority = Authority::from_pem(
            AUTHORITY_NAME,
            Issued {
                certificate: read(&pki(&description.directory, "ca.crt"))?,
                key: read(&pki(&description.directory, "ca.key"))?,
            },
        );
        let client = Issued {
            certificate: read(&pki(&description.directory, "admin.crt"))?,
            key: read(&pki(&description.directory, "admin.key"))?,
        };
        let api = api::Api::new(&description.server, authority.certificate(), &client)?;
        let plane = Self { description, authority, access: Access::Direct(api), own: None };
        plane.get("/readyz").context("the shared control plane does not answer")?;
        Ok(plane)
    }

    /// Uses the cluster of a kubeconfig (its current context) with the rights that it gives. Its components cannot be touched, and
    /// it issues no client certificates.
    pub fn foreign(kubeconfig: &Path) -> Result<Self> {
        foreign::reach(kubeconfig)
    }

    /// The control plane that all tests share: the one that `cargo xtask test` started, or, when it started none (the variable of
    /// [`Profile::shared_variable`] is absent), one that this process starts now and keeps until it exits. An error stays: every
    /// later call reports it again.
    pub fn shared(profile: Profile) -> Result<&'static Self> {
        static API: OnceLock<Result<ControlPlane, String>> = OnceLock::new();
        static FULL: OnceLock<Result<ControlPlane, String>> = OnceLock::new();
        let cell = match profile {
            Profile::Api => &API,
            Profile::Full => &FULL,
        };
        let outcome = cell.get_or_init(|| {
            match std::env::var_os(profile.shared_variable()) {
                Some(state_file) => Self::attach(Path::new(&state_file)),
                None => Self::start(profile),
            }
            .map_err(|error| format!("{error:#}"))
        });
        outcome.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
    }

    /// File that [`ControlPlane::attach`] reads in other processes.
    pub fn state_file(&self) -> PathBuf {
        self.description.directory.join("control-plane.json")
    }

    /// `https://127.0.0.1:PORT`
    pub fn server(&self) -> &str {
        &self.description.server
    }

    /// The profile it was started with.
    pub fn profile(&self) -> Profile {
        self.description.profile
    }

    /// Certificate of the authority that signed the API server's certificate, PEM.
    pub fn authority(&self) -> &str {
        self.authority.certificate()
    }

    /// Kubeconfig file of a cluster admin (group `system:masters`). For the test's own hands, never for writ.
    pub fn admin_kubeconfig(&self) -> PathBuf {
        self.description.directory.join("admin.kubeconfig")
    }

    /// Kubeconfig file of a user with a client certificate of its own; at most one group.
    pub fn kubeconfig_for(&self, user: &str, groups: &[&str]) -> Result<PathBuf> {
        let issued = self.authority.client(user, groups)?;
        self.write_kubeconfig(&kubeconfig::User::Certificate(&issued), "default")
    }

    /// Kubeconfig file of an existing ServiceAccount, with a token by TokenRequest (72 h).
    pub fn service_account_kubeconfig(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        let token = self.kubectl(&["create", "token", name, "-n", namespace, "--duration", TOKEN_DURATION])?;
        self.write_kubeconfig(&kubeconfig::User::Token(token.trim()), namespace)
    }

    fn write_kubeconfig(&self, user: &kubeconfig::User<'_>, namespace: &str) -> Result<PathBuf> {
        let cluster = match &self.access {
            Access::Direct(_) => kubeconfig::cluster(self.server(), self.authority()),
            Access::Foreign(foreign) => foreign.cluster.clone(),
        };
        let text = kubeconfig::text(&cluster, user, namespace);
        let (file, path) = tempfile::Builder::new()
            .prefix("user-")
            .suffix(".kubeconfig")
            .tempfile_in(&self.description.directory)
            .and_then(|file| file.keep().map_err(|error| error.error))
            .context("cannot make a kubeconfig file")?;
        drop(file); // 0600 from the start: tempfile makes private files
        kubeconfig::write_private(&path, &text)?;
        Ok(path)
    }

    /// Whether it is somebody else's cluster, which has other clients as well.
    pub fn is_foreign(&self) -> bool {
        matches!(self.access, Access::Foreign(_))
    }

    /// Runs `kubectl` as cluster admin; its standard output, or an error with its standard error.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.kubectl_as(&self.admin_kubeconfig(), arguments)
    }

    /// Runs a command as a cluster admin who pastes it into a shell where `kubectl` is found; its standard output.
    pub fn paste(&self, command: &str) -> Result<String> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(self.description.programs.clone()).chain(std::env::split_paths(&path));
        let path = std::env::join_paths(folders).context("the folder of the programs")?;
        let mut shell = hermetic_command("sh", &self.description.directory);
        shell.env("PATH", path).env("KUBECONFIG", self.admin_kubeconfig()).args(["-c", command]);
        String::from_utf8(run(&mut shell)?).context("the command printed something that is not UTF-8")
    }

    /// Runs `kubectl` with another kubeconfig.
    pub fn kubectl_as(&self, kubeconfig: &Path, arguments: &[&str]) -> Result<String> {
        let program = self.description.programs.join("kubectl");
        let mut command = match &self.access {
            Access::Direct(_) => hermetic_command(program, &self.description.directory),
            // Its credentials may come from a program that needs the user's own environment.
            Access::Foreign(_) => Command::new(program),
        };
        let output = run(command.env("KUBECONFIG", kubeconfig).args(arguments))?;
        String::from_utf8(output).context("kubectl printed something that is not UTF-8")
    }

    /// Applies manifests (any number of YAML documents) as cluster admin, server-side, taking over conflicts.
    pub fn apply(&self, manifests: &str) -> Result<()> {
        self.apply_in(None, manifests)
    }

    pub(crate) fn apply_in(&self, namespace: Option<&str>, manifests: &str) -> Result<()> {
        let file = manifest_file(manifests)?;
        let path = file.path().to_string_lossy();
        let mut arguments = vec!["apply", "--server-side", "--force-conflicts", "--field-manager=testkit", "-f", &path];
        arguments.extend(namespace.iter().flat_map(|&namespace| ["--namespace", namespace]));
        self.kubectl(&arguments).map(drop)
    }

    /// Waits until every object of `manifests` has the condition, e.g. `Established` of CRDs.
    pub fn wait_for_condition(&self, condition: &str, manifests: &str) -> Result<()> {
        let file = manifest_file(manifests)?;
        let condition = format!("--for=condition={condition}");
        self.kubectl(&["wait", &condition, "--timeout=60s", "-f", &file.path().to_string_lossy()]).map(drop)
    }

    /// GET of an API path as cluster admin, e.g. `/metrics` or `/api/v1/namespaces`; any status but 200 is an error.
    pub fn get(&self, path: &str) -> Result<String> {
        match &self.access {
            Access::Direct(api) => api.get(path),
            Access::Foreign(_) => self.kubectl(&["get", "--raw", path]),
        }
    }

    /// Kills a component with SIGKILL and waits until it is gone.
    pub fn kill(&self, component: Component) -> Result<()> {
        let mut processes = self.own_processes()?;
        let mut server =
            processes.remove(&component).with_context(|| format!("{} is not running here", component.program()))?;
        server.kill().map(drop)
    }

    /// Stops a component without ending it (SIGSTOP): it holds its connections and answers nobody.
    pub fn pause(&self, component: Component) -> Result<()> {
        self.signal(component, Signal::STOP)
    }

    /// Lets a paused component go on.
    pub fn resume(&self, component: Component) -> Result<()> {
        self.signal(component, Signal::CONT)
    }

    fn signal(&self, component: Component, signal: Signal) -> Result<()> {
        let mut processes = self.own_processes()?;
        let server = processes.get_mut(&component);
        server.with_context(|| format!("{} is not running here", component.program()))?.signal(signal)
    }

    /// Starts a component again, with the same data, address and flags, and waits until the control plane is ready. A component
    /// that still runs is killed first. After [`kill`](Self::kill) of several components restart etcd first.
    pub fn restart(&self, component: Component) -> Result<()> {
        let own = self.own("restart")?;
        if !self.description.profile.components().contains(&component) {
            bail!("{} is not part of profile {:?}", component.program(), self.description.profile);
        }
        let mut processes = self.own_processes()?;
        processes.remove(&component); // dropping kills it and waits
        let server = Server::start(component.program(), own.launch.command(component), &own.launch.log(component))?;
        processes.insert(component, server);
        drop(processes);
        self.wait_ready(component)
    }

    /// Kills everything and removes all files: what dropping does, in words.
    pub fn stop(self) -> Result<()> {
        self.own("stop").map(drop)
    }

    /// The log of a component over all of its runs.
    pub fn log(&self, component: Component) -> Result<String> {
        read(&self.description.directory.join("logs").join(format!("{}.log", component.program())))
    }

    /// Process ids of the components that this process started and that have not been killed.
    pub fn pids(&self) -> Result<BTreeMap<Component, u32>> {
        Ok(self.own_processes()?.iter().map(|(component, server)| (*component, server.pid())).collect())
    }

    fn own(&self, what: &str) -> Result<&Own> {
        self.own
            .as_ref()
            .with_context(|| format!("cannot {what} a shared control plane: a test that needs this starts its own"))
    }

    fn own_processes(&self) -> Result<MutexGuard<'_, BTreeMap<Component, Server>>> {
        // A panic elsewhere leaves a map of processes, which is what it says.
        Ok(self.own("kill, pause, restart or list")?.processes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until `component` does its work; an error shows the end of its log.
    fn wait_ready(&self, component: Component) -> Result<()> {
        let own = self.own("wait for")?;
        let what = format!("{} ready", component.program());
        let mut ended = None;
        let ready = wait_until(&what, READY_WITHIN, || {
            if let Some(server) = self.own_processes()?.get_mut(&component)
                && let Err(error) = server.check_running()
            {
                ended = Some(error);
                return Ok(());
            }
            match component {
                Component::Etcd => get_plain(&format!("{}/health", own.launch.etcd_url())).map(drop),
                Component::ApiServer => self.get("/readyz").map(drop),
                // Made by the controller manager: it is at work.
                Component::ControllerManager => {
                    self.get("/api/v1/namespaces/default/serviceaccounts/default").map(drop)
                }
                // It serves nothing; that it stays is seen by `check_running` in later waits.
                Component::Scheduler => Ok(()),
            }
        });
        match ended {
            Some(error) => Err(error),
            None => ready.with_context(|| {
                format!("its log ends with:\n{}", crate::process::log_tail(&own.launch.log(component)))
            }),
        }
    }
}

fn manifest_file(manifests: &str) -> Result<tempfile::NamedTempFile> {
    let mut file = tempfile::NamedTempFile::with_suffix(".yaml").context("cannot make a file")?;
    file.write_all(manifests.as_bytes()).context("cannot write manifests")?;
    Ok(file)
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
