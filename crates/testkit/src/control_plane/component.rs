//! The programs of a control plane and how each is called.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::hermetic_command;

/// One program of the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    /// The database.
    Etcd,
    /// kube-apiserver.
    ApiServer,
    /// kube-controller-manager.
    ControllerManager,
    /// kube-scheduler.
    Scheduler,
}

impl Component {
    /// The program's upstream name: also that of its log file and of the file it is called by.
    pub fn program(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
        }
    }
}

/// Everything a component's command line needs: the same for its first start and every restart.
#[derive(Debug)]
pub(super) struct Launch {
    /// Folder of the programs.
    pub(super) programs: PathBuf,
    /// Folder with `pki/`, `logs/` and kubeconfigs.
    pub(super) directory: PathBuf,
    /// Folder of the database.
    pub(super) database: PathBuf,
    pub(super) etcd_port: u16,
    pub(super) api_port: u16,
    /// Flags of the API server asked for by the test, after ours.
    pub(super) api_server_flags: Vec<String>,
}

impl Launch {
    pub(super) fn etcd_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.etcd_port)
    }

    pub(super) fn log(&self, component: Component) -> PathBuf {
        self.directory.join("logs").join(format!("{}.log", component.program()))
    }

    pub(super) fn kubeconfig(&self, component: Component) -> PathBuf {
        self.directory.join(format!("{}.kubeconfig", component.program()))
    }

    pub(super) fn command(&self, component: Component) -> Command {
        let mut command = hermetic_command(self.programs.join(component.program()), &self.directory);
        command.current_dir(&self.directory).args(match component {
            Component::Etcd => self.etcd(),
            Component::ApiServer => self.api_server(),
            Component::ControllerManager => self.controller_manager(),
            Component::Scheduler => self.scheduler(),
        });
        command
    }

    fn etcd(&self) -> Vec<String> {
        let url = self.etcd_url();
        vec![
            flag("data-dir", &self.database.display().to_string()),
            flag("listen-client-urls", &url),
            flag("advertise-client-urls", &url),
            // A single member talks to nobody; port 0 keeps two control planes apart.
            flag("listen-peer-urls", "http://127.0.0.1:0"),
            "--unsafe-no-fsync".into(),
            flag("log-level", "warn"),
        ]
    }

    fn api_server(&self) -> Vec<String> {
        let pki = |name: &str| self.pki(name);
        let mut flags = vec![
            flag("etcd-servers", &self.etcd_url()),
            flag("bind-address", "127.0.0.1"),
            flag("advertise-address", "127.0.0.1"),
            flag("secure-port", &self.api_port.to_string()),
            // A restart takes the port back while old connections linger.
            flag("permit-address-sharing", "true"),
            flag("tls-cert-file", &pki("server.crt")),
            flag("tls-private-key-file", &pki("server.key")),
            flag("client-ca-file", &pki("ca.crt")),
            flag("service-account-issuer", "https://kubernetes.default.svc"),
            flag("service-account-key-file", &pki("service-account.pub")),
            flag("service-account-signing-key-file", &pki("service-account.key")),
            flag("service-cluster-ip-range", "10.0.0.0/24"),
            flag("authorization-mode", "Node,RBAC"),
            // There is one API server and no node to reach it by a Service.
            flag("endpoint-reconciler-type", "none"),
            flag("requestheader-client-ca-file", &pki("front-proxy.crt")),
            flag("requestheader-allowed-names", "front-proxy"),
            flag("requestheader-username-headers", "X-Remote-User"),
            flag("requestheader-group-headers", "X-Remote-Group"),
            flag("requestheader-extra-headers-prefix", "X-Remote-Extra-"),
            flag("profiling", "false"),
            flag("v", "1"),
        ];
        flags.extend(self.api_server_flags.iter().cloned());
        flags
    }

    fn controller_manager(&self) -> Vec<String> {
        vec![
            flag("kubeconfig", &self.kubeconfig(Component::ControllerManager).display().to_string()),
            flag("leader-elect", "false"),
            flag("use-service-account-credentials", "true"),
            flag("root-ca-file", &self.pki("ca.crt")),
            flag("service-account-private-key-file", &self.pki("service-account.key")),
            // Nobody asks it anything.
            flag("secure-port", "0"),
            flag("v", "1"),
        ]
    }

    fn scheduler(&self) -> Vec<String> {
        vec![
            flag("kubeconfig", &self.kubeconfig(Component::Scheduler).display().to_string()),
            flag("leader-elect", "false"),
            flag("secure-port", "0"),
            flag("v", "1"),
        ]
    }

    fn pki(&self, name: &str) -> String {
        pki(&self.directory, name).display().to_string()
    }
}

/// A file of the control plane's keys and certificates.
pub(super) fn pki(directory: &Path, name: &str) -> PathBuf {
    directory.join("pki").join(name)
}

fn flag(name: &str, value: &str) -> String {
    format!("--{name}={value}")
}
