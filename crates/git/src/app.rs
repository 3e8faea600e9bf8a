//! Tokens of a GitHub App: short-lived, asked for with a signed statement of who asks, and kept until they end.

use std::{
    fmt,
    io::Read as _,
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::{rand::SystemRandom, rsa::KeyPair, signature::RSA_PKCS1_SHA256};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use manifest::Sensitive;
use rustls::pki_types::{PrivateKeyDer, pem::PemObject as _};
use serde::Deserialize;
use ureq::{Agent, http::header};

use crate::{
    address::Address,
    budget::Budget,
    credentials::MAX_CREDENTIAL_BYTES,
    exchange::{ExchangeError, cause},
    http::{Received, failure, place},
    remote::RemoteError,
};

/// Where tokens are asked for when nothing else is named.
const API: &str = "https://api.github.com";
/// Who logs in with a token, by GitHub's documentation.
const USERNAME: &str = "x-access-token";
/// The longest id of an App or an installation: numbers of 64 bits have 20 digits, client ids 20 characters.
const MAX_ID_BYTES: usize = 64;
/// The largest answer with a token: it lists the repositories only when it is asked for some.
const MAX_ANSWER_BYTES: u64 = 64 << 10;
/// A statement counts from a minute ago, for clocks that go otherwise, for ten minutes in all: the most that is taken.
const STATEMENT_SECONDS: (u64, u64) = (60, 540);
/// A token is not used in its last five minutes: a fetch takes up to two by default.
const LAST: Duration = Duration::from_secs(300);
/// Nor for longer than an hour, whatever its answer says: that is how long they last.
const LONGEST: Duration = Duration::from_secs(3_600);

/// What an installation of a GitHub App proves itself with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// Of the App: its number or its client id.
    pub id: String,
    /// Of its installation: a number.
    pub installation: String,
    /// The App's private key: RSA, PEM.
    pub key: Sensitive<Vec<u8>>,
    /// Where tokens are asked for; `None`: GitHub's own.
    pub api: Option<String>,
}

/// The tokens of one installation.
pub(crate) struct Tokens {
    id: String,
    url: String,
    key: KeyPair,
    agent: Agent,
    /// The header with the last one, and until when it is used.
    kept: Mutex<Option<(Sensitive<String>, SystemTime)>>,
}

#[derive(Deserialize)]
struct Answer {
    token: String,
    expires_at: jiff::Timestamp,
}

impl Tokens {
    pub(crate) fn new(app: &App, agent: Agent) -> Result<Self, RemoteError> {
        let refuse = |reason| RemoteError::Credentials { reason };
        let fits = |text: &str, plain: fn(char) -> bool| {
            !text.is_empty() && text.len() <= MAX_ID_BYTES && text.chars().all(plain)
        };
        if !fits(&app.id, |c| c.is_ascii_alphanumeric() || c == '.') {
            return Err(refuse("the id of the GitHub App is neither a number nor a client id"));
        }
        if !fits(&app.installation, |c| c.is_ascii_digit()) {
            return Err(refuse("the id of the App's installation is no number"));
        }
        let base = format!("{}/app", app.api.as_deref().unwrap_or(API).trim_end_matches('/'));
        let Ok(Address::Https { base, .. }) = Address::parse(&base) else {
            return Err(refuse("the base url of the GitHub App is not of the form https://host/path"));
        };
        let url = format!("{base}/installations/{}/access_tokens", app.installation);
        Ok(Self { id: app.id.clone(), url, key: key(app.key.expose())?, agent, kept: Mutex::new(None) })
    }

    /// The value of the `authorization` header, with a token that lasts for a while.
    pub(crate) fn header(&self, time: &Budget) -> Result<Sensitive<String>, ExchangeError> {
        let now = SystemTime::now();
        // Held while one is asked for: whoever else wants one waits for the same.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((header, _)) = kept.as_ref().filter(|(_, until)| now < *until) {
            return Ok(header.clone());
        }
        *kept = None;
        let Answer { token, expires_at } = self.ask(now, &time.beside(MAX_ANSWER_BYTES))?;
        if token.is_empty() || token.len() > MAX_CREDENTIAL_BYTES || !token.chars().all(|c| c.is_ascii_graphic()) {
            return Err(refused("its token cannot be sent"));
        }
        let header = Sensitive::new(format!("Basic {}", STANDARD.encode(format!("{USERNAME}:{token}"))));
        let until = SystemTime::from(expires_at).checked_sub(LAST).unwrap_or(now).min(now + LONGEST);
        *kept = Some((header.clone(), until));
        Ok(header)
    }

    /// The server did not take the last one: the next question begins with another.
    pub(crate) fn forget(&self) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn ask(&self, now: SystemTime, budget: &Budget) -> Result<Answer, ExchangeError> {
        let statement = self.statement(now)?;
        let request = self
            .agent
            .post(&self.url)
            .config()
            .timeout_global(Some(budget.remaining()?))
            .build()
            .header(header::ACCEPT, "application/vnd.github+json")
            .header(header::AUTHORIZATION, format!("Bearer {}", statement.expose()));
        let answer = request.send_empty().map_err(|error| failure(error, budget))?;
        let status = answer.status().as_u16();
        match status {
            201 => {}
            300..=399 => {
                let location = answer.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
                return Err(ExchangeError::Redirect { status, location: place(location.unwrap_or_default()) });
            }
            401 | 403 | 404 => return Err(refused(&format!("status {status}"))),
            _ => return Err(ExchangeError::Status { status }),
        }
        let mut text = Vec::new();
        let mut body = Received::of(answer, budget);
        body.read_to_end(&mut text).map_err(|error| cause(&error))?;
        // serde's message could quote the token.
        serde_json::from_slice(&text).map_err(|_| refused("its answer holds no token"))
    }

    /// A JSON Web Token (RFC 7519) with RS256.
    fn statement(&self, now: SystemTime) -> Result<Sensitive<String>, ExchangeError> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let (before, after) = STATEMENT_SECONDS;
        let claims = serde_json::json!({ "iat": now.saturating_sub(before), "exp": now + after, "iss": self.id });
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let signed = format!("{}.{}", encode(br#"{"alg":"RS256","typ":"JWT"}"#), encode(claims.to_string().as_bytes()));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| refused("the App's private key cannot sign"))?;
        Ok(Sensitive::new(format!("{signed}.{}", encode(&signature))))
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("id", &self.id).field("url", &self.url).finish_non_exhaustive()
    }
}

fn refused(detail: &str) -> ExchangeError {
    ExchangeError::App { detail: detail.to_owned() }
}

fn key(pem: &[u8]) -> Result<KeyPair, RemoteError> {
    let refuse = || RemoteError::Credentials { reason: "the private key of the GitHub App is no RSA key in PEM form" };
    match PrivateKeyDer::from_pem_slice(pem).map_err(|_| refuse())? {
        PrivateKeyDer::Pkcs1(key) => KeyPair::from_der(key.secret_pkcs1_der()).map_err(|_| refuse()),
        PrivateKeyDer::Pkcs8(key) => KeyPair::from_pkcs8(key.secret_pkcs8_der()).map_err(|_| refuse()),
        _ => Err(refuse()),
    }
}
