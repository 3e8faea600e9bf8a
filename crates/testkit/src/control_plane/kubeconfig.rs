//! Kubeconfig files: one cluster, one user, one context, everything inline.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::authority::Issued;

/// How the user of a kubeconfig proves who it is.
pub(crate) enum User<'a> {
    Certificate(&'a Issued),
    Token(&'a str),
}

/// The cluster entry of a control plane made here.
pub(crate) fn cluster(server: &str, authority: &str) -> Value {
    json!({"server": server, "certificate-authority-data": STANDARD.encode(authority)})
}

/// The text of a kubeconfig. JSON is YAML, so every client reads it.
pub(crate) fn text(cluster: &Value, user: &User<'_>, namespace: &str) -> String {
    let user: Value = match user {
        User::Certificate(issued) => json!({
            "client-certificate-data": STANDARD.encode(&issued.certificate),
            "client-key-data": STANDARD.encode(&issued.key),
        }),
        User::Token(token) => json!({ "token": token }),
    };
    format!(
        "{:#}\n",
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "testkit", "cluster": cluster}],
            "users": [{"name": "user", "user": user}],
            "contexts": [{"name": "testkit", "context": {"cluster": "testkit", "user": "user", "namespace": namespace}}],
            "current-context": "testkit",
        })
    )
}

/// Writes a file that only its owner may read, replacing an older one.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<()> {
    OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}
