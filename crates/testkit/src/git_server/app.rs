//! GitHub's API for tokens of an App's installation, as far as a client of it can tell.

use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::keys::SigningKey;
use crate::process::{hermetic_command, run};

/// The longest time that a statement may count from now on.
const MAX_STATEMENT_SECONDS: u64 = 600;

/// An App with one installation.
pub(super) struct App {
    id: String,
    path: String,
    /// RSAPublicKey, DER.
    public: Vec<u8>,
    lifetime: Duration,
}

impl App {
    pub(super) fn new(id: &str, installation: &str, key: &SigningKey, lifetime: Duration) -> Result<Self> {
        let mut export: Command = hermetic_command("ssh-keygen", std::path::Path::new("/"));
        let pem = run(export.args(["-e", "-m", "PEM", "-f"]).arg(key.private_file()))?;
        let pem = String::from_utf8(pem).context("ssh-keygen printed something that is not UTF-8")?;
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let public = STANDARD.decode(body).context("ssh-keygen printed no PEM")?;
        let path = format!("/app/installations/{installation}/access_tokens");
        Ok(Self { id: id.to_owned(), path, public, lifetime })
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The answer to a request with this `authorization` header: a token.
    pub(super) fn answer(&self, authorization: &str, token: &str) -> Result<Value> {
        let statement = authorization.strip_prefix("Bearer ").context("no statement")?;
        let (signed, signature) = statement.rsplit_once('.').context("no signature")?;
        let (header, claims) = signed.split_once('.').context("no claims")?;
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).context("not base64url");
        let verified = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.public)
            .verify(signed.as_bytes(), &decode(signature)?);
        ensure!(verified.is_ok(), "the signature is wrong");
        let header: Value = serde_json::from_slice(&decode(header)?)?;
        let claims: Value = serde_json::from_slice(&decode(claims)?)?;
        ensure!(header == json!({ "alg": "RS256", "typ": "JWT" }), "another algorithm: {header}");
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let seconds = |name: &str| claims.get(name).and_then(Value::as_u64);
        let (Some(issued), Some(expires)) = (seconds("iat"), seconds("exp")) else { bail!("no times: {claims}") };
        ensure!(issued <= now && now < expires && expires <= now + MAX_STATEMENT_SECONDS, "not now: {claims}");
        ensure!(claims.get("iss").and_then(Value::as_str) == Some(self.id.as_str()), "another App: {claims}");
        let expires_at = jiff::Timestamp::try_from(SystemTime::now() + self.lifetime)?;
        Ok(
            json!({ "token": token, "expires_at": expires_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(), "permissions": {} }),
        )
    }
}
