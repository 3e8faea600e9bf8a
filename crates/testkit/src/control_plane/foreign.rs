//! A cluster that somebody else runs, reached by their kubeconfig.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::kubeconfig::write_private;
use super::{AUTHORITY_NAME, Access, ControlPlane, Description, Profile, start};
use crate::authority::{Authority, Issued};
use crate::process::run;
use crate::scratch::Scratch;

/// What is known of it.
pub(super) struct Foreign {
    /// The kubeconfig's cluster entry: address, authority, proxy, …
    pub(super) cluster: Value,
    _directory: Scratch,
}

pub(super) fn reach(kubeconfig: &Path) -> Result<ControlPlane> {
    let kubeconfig =
        kubeconfig.canonicalize().with_context(|| format!("cannot find the kubeconfig {}", kubeconfig.display()))?;
    let programs = start::programs()?;
    let mut kubectl = Command::new(programs.join("kubectl"));
    kubectl.env("KUBECONFIG", &kubeconfig).args(["config", "view", "--raw", "--minify", "--flatten", "-o", "json"]);
    let text = run(&mut kubectl).with_context(|| format!("cannot read the kubeconfig {}", kubeconfig.display()))?;
    let text = String::from_utf8(text).context("kubectl printed something that is not UTF-8")?;
    let config: Value = serde_json::from_str(&text).context("kubectl printed no JSON")?;
    let cluster = config.pointer("/clusters/0/cluster").cloned();
    let cluster = cluster.with_context(|| format!("{} has no current context", kubeconfig.display()))?;
    let server = cluster.get("server").and_then(Value::as_str).context("the cluster has no server")?.to_owned();

    let files = Scratch::new("cluster")?;
    let directory = files.path().to_owned();
    // Its one current context, so that a context chosen meanwhile in the user's own file changes nothing.
    write_private(&directory.join("admin.kubeconfig"), &text)?;
    // Signs nothing: whoever asks for a client certificate is told so.
    let authority = Authority::from_pem(AUTHORITY_NAME, Issued { certificate: String::new(), key: String::new() });
    let plane = ControlPlane {
        description: Description { profile: Profile::Full, server, directory, programs },
        authority,
        access: Access::Foreign(Foreign { cluster, _directory: files }),
        own: None,
    };
    plane.get("/version").with_context(|| format!("the cluster at {} does not answer", plane.server()))?;
    Ok(plane)
}
