//! What proves who asks.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use manifest::Sensitive;

use crate::{app::App, remote::RemoteError};

/// The largest user name, password or token, in bytes: half of the 16 KiB that servers allow for all headers.
pub const MAX_CREDENTIAL_BYTES: usize = 8 << 10;

/// What is sent to the server as proof of who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// RFC 7617.
    Basic {
        /// Without a colon.
        username: String,
        /// Password or access token.
        password: Sensitive<String>,
    },
    /// RFC 6750.
    Bearer(Sensitive<String>),
    /// Tokens of an installation of a GitHub App.
    App(App),
    /// RFC 4252: a private key.
    PrivateKey {
        /// In OpenSSH's form: ed25519, ecdsa or rsa.
        identity: Sensitive<String>,
        /// What it is encrypted with.
        passphrase: Option<Sensitive<String>>,
    },
}

/// A certificate that a server of https knows us by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// PEM, with those that lead to an authority after it.
    pub chain: Vec<u8>,
    /// Its private key, PEM.
    pub key: Sensitive<Vec<u8>>,
}

impl Credentials {
    /// The value of the `authorization` header.
    pub(crate) fn header(&self) -> Result<Sensitive<String>, RemoteError> {
        let refuse = |reason| Err(RemoteError::Credentials { reason });
        let (value, parts) = match self {
            Self::Basic { username, password } => {
                if username.contains(':') {
                    return refuse("a user name with a colon cannot be sent as basic authentication");
                }
                let pair = format!("{username}:{}", password.expose());
                (format!("Basic {}", STANDARD.encode(&pair)), pair)
            }
            Self::Bearer(token) => (format!("Bearer {}", token.expose()), token.expose().clone()),
            Self::App(_) => return refuse("a token has to be asked for first"),
            Self::PrivateKey { .. } => return refuse("a private key is for ssh, and the url is of https"),
        };
        if parts.is_empty() || parts == ":" {
            return refuse("they are empty");
        }
        if parts.len() > MAX_CREDENTIAL_BYTES {
            return refuse("they are longer than 8 KiB");
        }
        if parts.chars().any(char::is_control) {
            return refuse("they hold a control character (a line break at the end of a file, perhaps)");
        }
        if !value.is_ascii() {
            return refuse("a token with characters outside ASCII cannot be sent");
        }
        Ok(Sensitive::new(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials() {
        let basic = |username: &str, password: &str| Credentials::Basic {
            username: username.to_owned(),
            password: Sensitive::new(password.to_owned()),
        };
        assert_eq!(basic("Aladdin", "open sesame").header().unwrap().expose(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(Credentials::Bearer(Sensitive::new("t0ken".into())).header().unwrap().expose(), "Bearer t0ken");
        for refused in [basic("a:b", "c"), basic("a", "b\n"), basic("", ""), basic("a", &"b".repeat(9_000))] {
            assert!(refused.header().is_err());
        }
        assert!(Credentials::Bearer(Sensitive::new("a\r\nx: y".into())).header().is_err());
        assert!(Credentials::Bearer(Sensitive::new("ü".into())).header().is_err());
    }
}
