//! Starting a control plane: programs, keys, ports, processes.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::component::{Component, Launch, pki};
use super::kubeconfig::{self, write_private};
use super::{AUTHORITY_NAME, Access, ControlPlane, Description, Own, PROGRAMS_VARIABLE, Profile, api};
use crate::authority::{Authority, Issued};
use crate::ports::free_port;
use crate::scratch::Scratch;

/// Starts until one found its two ports still free when it came to bind them.
const START_TRIES: usize = 3;
/// Every program that must be in the folder.
const PROGRAMS: [&str; 5] = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl"];

pub(super) fn start(profile: Profile, api_server_flags: &[&str]) -> Result<ControlPlane> {
    let programs = programs()?;
    let mut tries = 1;
    loop {
        match try_start(profile, api_server_flags, &programs) {
            Err(error) if tries < START_TRIES && format!("{error:#}").contains("address already in use") => tries += 1,
            outcome => return outcome,
        }
    }
}

/// Folder of the control plane's programs.
pub(super) fn programs() -> Result<PathBuf> {
    let folder = match std::env::var_os(PROGRAMS_VARIABLE) {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/controlplane"),
    };
    for program in PROGRAMS {
        if !folder.join(program).is_file() {
            bail!("{} is missing in {}: run `cargo xtask controlplane` to build it", program, folder.display());
        }
    }
    folder.canonicalize().with_context(|| format!("cannot resolve {}", folder.display()))
}

fn try_start(profile: Profile, api_server_flags: &[&str], programs: &Path) -> Result<ControlPlane> {
    let files = Scratch::new("control-plane")?;
    let database = Scratch::in_memory("etcd")?;
    let directory = files.path().to_owned();
    for folder in ["pki", "logs"] {
        std::fs::create_dir(directory.join(folder)).with_context(|| format!("cannot make {folder}/"))?;
    }
    let (etcd_port, api_port) = two_free_ports()?;
    let description = Description {
        profile,
        server: format!("https://127.0.0.1:{api_port}"),
        directory: directory.clone(),
        programs: programs.to_owned(),
    };
    let launch = Launch {
        programs: programs.to_owned(),
        directory,
        database: database.path().join("data"),
        etcd_port,
        api_port,
        api_server_flags: api_server_flags.iter().map(|&flag| flag.to_owned()).collect(),
    };
    let (authority, admin) = write_keys(&description, &launch)?;
    let api = api::Api::new(&description.server, authority.certificate(), &admin)?;
    let own = Own { processes: Mutex::new(BTreeMap::new()), launch, _directories: [files, database] };
    let plane = ControlPlane { description, authority, access: Access::Direct(api), own: Some(own) };
    for &component in profile.components() {
        plane.restart(component)?;
    }
    if profile == Profile::Api {
        fill_aggregated_roles(&plane)?;
    }
    let state = serde_json::to_string_pretty(&plane.description).context("cannot describe the control plane")?;
    write_private(&plane.state_file(), &state)?;
    Ok(plane)
}

/// Makes all keys and certificates and the kubeconfigs of the components; returns the authority and the admin's certificate.
fn write_keys(description: &Description, launch: &Launch) -> Result<(Authority, Issued)> {
    let directory = &description.directory;
    let store = |name: &str, issued: &Issued| {
        write_private(&pki(directory, &format!("{name}.crt")), &issued.certificate)?;
        write_private(&pki(directory, &format!("{name}.key")), &issued.key)
    };
    let authority = Authority::generate(AUTHORITY_NAME)?;
    store("ca", &Issued { certificate: authority.certificate().to_owned(), key: authority.key().to_owned() })?;
    // Its own authority: with the cluster's, every client certificate of that name could claim to be anyone.
    write_private(&pki(directory, "front-proxy.crt"), Authority::generate("testkit-front-proxy")?.certificate())?;
    store("server", &authority.server(&["127.0.0.1", "localhost", "10.0.0.1", "kubernetes.default.svc"])?)?;
    let service_account = rcgen::KeyPair::generate().context("cannot make the service-account key")?;
    write_private(&pki(directory, "service-account.key"), &service_account.serialize_pem())?;
    write_private(&pki(directory, "service-account.pub"), &service_account.public_key_pem())?;

    let admin = authority.client("testkit-admin", &["system:masters"])?;
    store("admin", &admin)?;
    let kubeconfig = |path: &Path, issued: &Issued| {
        let user = kubeconfig::User::Certificate(issued);
        let cluster = kubeconfig::cluster(&description.server, authority.certificate());
        write_private(path, &kubeconfig::text(&cluster, &user, "default"))
    };
    kubeconfig(&directory.join("admin.kubeconfig"), &admin)?;
    for component in [Component::ControllerManager, Component::Scheduler] {
        let user = format!("system:{}", component.program());
        kubeconfig(&launch.kubeconfig(component), &authority.client(&user, &[])?)?;
    }
    Ok((authority, admin))
}

/// Gives the ClusterRoles `admin`, `edit` and `view` the rules that the controller manager would collect for them: without it they
/// are empty, and a tenant that is `admin` of its namespace could do nothing.
fn fill_aggregated_roles(plane: &ControlPlane) -> Result<()> {
    let mut collected: Vec<Value> = Vec::new();
    let mut manifests = String::new();
    // Each role holds the rules of those before it.
    for role in ["view", "edit", "admin"] {
        let path = format!("/apis/rbac.authorization.k8s.io/v1/clusterroles/system:aggregate-to-{role}");
        let part: Value = serde_json::from_str(&plane.get(&path)?).context("a ClusterRole is not JSON")?;
        let rules = part.get("rules").and_then(Value::as_array).with_context(|| format!("{path} has no rules"))?;
        collected.extend(rules.iter().cloned());
        let filled = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": role},
            "rules": collected,
        });
        manifests = format!("{manifests}{filled}\n---\n");
    }
    plane.apply(&manifests).context("cannot fill the aggregated roles")
}

/// Two different ports that are free now.
fn two_free_ports() -> Result<(u16, u16)> {
    // Held until both are known, so that they differ.
    let (first, second) = (free_port()?, free_port()?);
    let port =
        |listener: &TcpListener| listener.local_addr().context("cannot read a socket's address").map(|a| a.port());
    Ok((port(&first)?, port(&second)?))
}
