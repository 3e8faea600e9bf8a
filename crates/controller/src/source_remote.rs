//! The remote of a source: made of its spec and Secret, kept with its connection until one of them is another.

use std::{fmt, sync::Arc};

use cluster::{Cluster, SecretData, crd::GitSourceSpec};
use git::{App, ClientCertificate, Credentials, Remote, RemoteError, RemoteOptions};
use manifest::{Finding, Sensitive};
use trust::TrustRootSpec;

use crate::{
    code::ControllerCode,
    resources::finding,
    state::Key,
    webhook::{MIN_TOKEN_BYTES, SecretToken, Token},
};

/// The key of a Secret that holds certificates.
const CA: &str = "ca.crt";
/// All keys that a Secret may have. The public key beside `identity` is for people: it is what the server has to know.
const KEYS: [&str; 14] = [
    "username",
    "password",
    "bearerToken",
    APP,
    "githubAppInstallationID",
    "githubAppPrivateKey",
    "githubAppBaseURL",
    CA,
    "tls.crt",
    "tls.key",
    "identity",
    "identity.pub",
    "known_hosts",
    WEBHOOK,
];
/// The key of a Secret that its forge knows as well.
const WEBHOOK: &str = "webhook.token";
/// The key of a Secret that makes it one of a GitHub App.
const APP: &str = "githubAppID";
/// What a Secret has to be.
const NEEDED: &str = "for https: username and password, bearerToken, or githubAppID, githubAppInstallationID, githubAppPrivateKey and githubAppBaseURL; ca.crt; tls.crt and tls.key; for ssh: identity, password if it has a passphrase, identity.pub; known_hosts; for both: webhook.token; all as UTF-8, nothing else";

/// A remote with its connection, and what it was made of.
#[derive(Debug)]
pub(crate) struct KeptRemote {
    url: String,
    reference: String,
    options: RemoteOptions,
    remote: Remote,
}

impl KeptRemote {
    /// The remote of these; the one that is kept if it was made of the same.
    pub(crate) fn of(
        kept: Option<Arc<Self>>,
        url: &str,
        reference: &str,
        options: RemoteOptions,
    ) -> Result<Arc<Self>, RemoteError> {
        let same = |kept: &Arc<Self>| kept.url == url && kept.reference == reference && kept.options == options;
        if let Some(kept) = kept.filter(same) {
            return Ok(kept);
        }
        let remote = Remote::new(url, reference, &options)?;
        Ok(Arc::new(Self { url: url.to_owned(), reference: reference.to_owned(), options, remote }))
    }

    /// The remote.
    pub(crate) const fn remote(&self) -> &Remote {
        &self.remote
    }
}

/// The remote of a source, and what its webhooks must know. Its Secret is read each time: nothing else tells that a credential was withdrawn.
pub(crate) async fn remote(
    cluster: &Cluster,
    key: &Key,
    spec: &GitSourceSpec,
    root: &TrustRootSpec,
    kept: Option<Arc<KeptRemote>>,
) -> (SecretToken, Result<Arc<KeptRemote>, Finding>) {
    let tracked = root.r#ref.as_str();
    let owner = format!("GitSource {key}");
    if spec.r#ref != tracked {
        let found = format!("spec.ref is {}, the TrustRoot tracks {tracked}", spec.r#ref);
        let finding = finding(ControllerCode::A142, &owner, &found, "the ref of the TrustRoot");
        return (SecretToken::Unread, Err(Finding { fix: format!("set spec.ref to {tracked}").into(), ..finding }));
    }
    let (webhook, options) = secret(cluster, key, spec, &owner).await;
    let remote = options.and_then(|mut options| {
        options.format = root.introduction.commit.format();
        limit(&mut options, root);
        let remote = KeptRemote::of(kept, &spec.url, &spec.r#ref, options);
        remote.map_err(|error| git::GitError::from(error).finding())
    });
    (webhook, remote)
}

// What a TrustRoot may allow is what is built in.
const _: () = assert!(trust::MAX_REPOSITORY_BYTES == git::Limits::MIRROR_BYTES, "a TrustRoot only tightens");

/// Nothing is fetched that leaves the mirror with more than the TrustRoot lets it have.
pub(crate) fn limit(options: &mut RemoteOptions, root: &TrustRootSpec) {
    options.limits.mirror_bytes = options.limits.mirror_bytes.min(root.repository_bytes());
}

/// What the Secret of a source says, if there is to be one.
async fn secret(
    cluster: &Cluster,
    key: &Key,
    spec: &GitSourceSpec,
    owner: &str,
) -> (SecretToken, Result<RemoteOptions, Finding>) {
    let Some(secret) = &spec.secret_ref else { return (SecretToken::Read(None), Ok(RemoteOptions::default())) };
    let (webhook, options) = said(cluster.secret(&key.namespace, &secret.name).await);
    let options = options.map_err(|(what, needed)| {
        let found = format!("Secret {}/{} {what}", key.namespace, secret.name);
        let fix = format!("kubectl -n {} describe secret {} # then apply or mend it", key.namespace, secret.name);
        Finding { fix: fix.into(), ..finding(ControllerCode::A141, owner, &found, needed) }
    });
    (webhook, options)
}

/// What was found, or what is wrong with it and what is needed. A token is withdrawn by a Secret that was read without it, or
/// that is gone, not by an API server that does not answer.
fn said(
    found: Result<Option<SecretData>, impl fmt::Display>,
) -> (SecretToken, Result<RemoteOptions, (String, &'static str)>) {
    let data = match found {
        Ok(Some(data)) => data,
        Ok(None) => return (SecretToken::Read(None), Err(("is not there".to_owned(), "an existing Secret"))),
        Err(error) => {
            return (SecretToken::Unread, Err((format!("cannot be read: {error}"), "a readable Secret")));
        }
    };
    match token(&data) {
        Ok(token) => (SecretToken::Read(token), of_secret(&data).map_err(|what| (what, NEEDED))),
        Err(what) => (SecretToken::Read(None), Err((what, NEEDED))),
    }
}

/// What webhooks must know.
fn token(data: &SecretData) -> Result<Option<Token>, String> {
    let token = |value: &Sensitive<Vec<u8>>| {
        let short = || format!("has a {WEBHOOK} of fewer than {MIN_TOKEN_BYTES} bytes");
        Token::new(value.expose()).ok_or_else(short)
    };
    data.get(WEBHOOK).map(token).transpose()
}

/// A key that is not known is refused: read without it, the Secret would mean something else than who wrote it thinks.
fn of_secret(data: &SecretData) -> Result<RemoteOptions, String> {
    if let Some(other) = data.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(format!("has the key {other:?}, which is not known"));
    }
    let text = |name: &str| {
        data.get(name)
            .map(|value| {
                String::from_utf8(value.expose().clone())
                    .map(Sensitive::new)
                    .map_err(|_| format!("has a {name} that is not UTF-8"))
            })
            .transpose()
    };
    let bytes = |name: &str| data.get(name).cloned();
    let basic = (text("username")?, text("password")?);
    let credentials = match (basic, text("bearerToken")?, text("identity")?, app(data)?) {
        ((None, None), None, None, None) => None,
        ((None, None), Some(token), None, None) => Some(Credentials::Bearer(token)),
        ((Some(username), Some(password)), None, None, None) => {
            Some(Credentials::Basic { username: username.into_exposed(), password })
        }
        ((None, None), None, None, Some(app)) => Some(Credentials::App(app)),
        ((None, passphrase), None, Some(identity), None) => Some(Credentials::PrivateKey { identity, passphrase }),
        _ => {
            let one = "username and password, bearerToken, githubAppID, identity";
            return Err(format!("has neither nothing nor exactly one of: {one} (with password for its passphrase)"));
        }
    };
    let client_certificate = match (bytes("tls.crt"), bytes("tls.key")) {
        (None, None) => None,
        (Some(chain), Some(key)) => Some(ClientCertificate { chain: chain.into_exposed(), key }),
        _ => return Err("has one of tls.crt and tls.key alone".to_owned()),
    };
    Ok(RemoteOptions {
        ca: bytes(CA).map(Sensitive::into_exposed),
        known_hosts: text("known_hosts")?.map(Sensitive::into_exposed),
        client_certificate,
        credentials,
        ..RemoteOptions::default()
    })
}

/// The GitHub App that a Secret is of.
fn app(data: &SecretData) -> Result<Option<App>, String> {
    let text = |name: &str| {
        let Some(value) = data.get(name) else { return Ok(None) };
        let value = str::from_utf8(value.expose()).map_err(|_| format!("has a {name} that is not UTF-8"))?;
        // A line break at the end of a file is none of a number.
        Ok::<_, String>(Some(value.trim().to_owned()))
    };
    let (installation, key) = ("githubAppInstallationID", "githubAppPrivateKey");
    match (text(APP)?, text(installation)?, data.get(key), text("githubAppBaseURL")?) {
        (None, None, None, None) => Ok(None),
        (Some(id), Some(installation), Some(key), api) => Ok(Some(App { id, installation, key: key.clone(), api })),
        _ => Err(format!("has some of {APP}, {installation} and {key}, and not all three")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(token: &str) -> RemoteOptions {
        let credentials = Some(Credentials::Bearer(Sensitive::new(token.to_owned())));
        RemoteOptions { credentials, ..RemoteOptions::default() }
    }

    #[test]
    fn a_secret_holds_what_is_known_and_nothing_else() {
        let of = |keys: &[&str]| {
            let data = keys.iter().map(|key| ((*key).to_owned(), Sensitive::new(b"secret".to_vec()))).collect();
            of_secret(&data).map(|options| options.credentials.is_some())
        };
        assert_eq!(of(&["username", "password", "ca.crt"]), Ok(true));
        assert_eq!(of(&["bearerToken"]), Ok(true));
        assert_eq!(of(&["ca.crt", "webhook.token"]), Ok(false));
        assert_eq!(of(&["identity", "identity.pub", "known_hosts"]), Ok(true));
        assert_eq!(of(&["identity", "password", "known_hosts"]), Ok(true));
        for unknown in ["token", "Identity", "bearertoken"] {
            let refused = of(&["ca.crt", unknown]).unwrap_err();
            assert_eq!(refused, format!("has the key \"{unknown}\", which is not known"));
        }
        let app = ["githubAppID", "githubAppInstallationID", "githubAppPrivateKey", "githubAppBaseURL"];
        assert_eq!(of(&app), Ok(true));
        assert_eq!(of(&app[..3]), Ok(true));
        assert!(of(&app[..2]).is_err() && of(&app[3..]).is_err());
        assert!(of(&[&app[..], &["bearerToken"]].concat()).is_err());
        assert_eq!(of(&["tls.crt", "tls.key", "ca.crt"]), Ok(false));
        assert!(of(&["tls.crt"]).is_err() && of(&["tls.key"]).is_err());
        assert!(of(&["username"]).is_err() && of(&["username", "password", "bearerToken"]).is_err());
        assert!(of(&["identity", "username", "password"]).is_err() && of(&["identity", "bearerToken"]).is_err());
    }

    #[test]
    fn a_webhook_token_is_long_enough_or_refused() {
        let of = |value: &[u8]| token(&[(WEBHOOK.to_owned(), Sensitive::new(value.to_vec()))].into());
        assert!(of(b"0123456789abcdef\n").unwrap().is_some());
        assert_eq!(of(b"short").unwrap_err(), "has a webhook.token of fewer than 16 bytes");
        assert_eq!(token(&SecretData::new()), Ok(None));
    }

    #[test]
    fn only_a_secret_that_was_read_says_what_the_token_is() {
        let of = |found: Result<Option<&[(&str, &str)]>, &str>| {
            let data = |pairs: &[(&str, &str)]| {
                pairs
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), Sensitive::new(value.as_bytes().to_vec())))
                    .collect()
            };
            let (token, options) = said(found.map(|pairs| pairs.map(data)));
            (token, options.is_ok())
        };
        let token = || SecretToken::Read(Token::new(b"0123456789abcdef"));
        let good = (WEBHOOK, "0123456789abcdef");
        assert_eq!(of(Ok(Some(&[good]))), (token(), true));
        assert_eq!(of(Ok(Some(&[good, ("password", "alone")]))), (token(), false), "what is wrong is another key");
        assert_eq!(of(Ok(Some(&[]))), (SecretToken::Read(None), true));
        assert_eq!(of(Ok(Some(&[(WEBHOOK, "short")]))), (SecretToken::Read(None), false));
        assert_eq!(of(Ok(None)), (SecretToken::Read(None), false), "it was deleted");
        assert_eq!(of(Err("timed out")), (SecretToken::Unread, false));
    }

    #[test]
    fn a_connection_is_kept_until_spec_or_secret_change() {
        const URL: &str = "https://127.0.0.1/config.git";
        let of = |kept: Option<&Arc<KeptRemote>>, url, token| {
            KeptRemote::of(kept.cloned(), url, "refs/heads/main", options(token)).unwrap()
        };
        let first = of(None, URL, "token-one");
        assert!(Arc::ptr_eq(&first, &of(Some(&first), URL, "token-one")));
        assert!(!Arc::ptr_eq(&first, &of(Some(&first), URL, "token-two")));
        assert!(!Arc::ptr_eq(&first, &of(Some(&first), "https://127.0.0.1/other.git", "token-one")));
        let kept = KeptRemote::of(Some(first.clone()), URL, "refs/heads/other", options("token-one")).unwrap();
        assert!(!Arc::ptr_eq(&first, &kept));
        assert!(!format!("{first:?}").contains("token-one"));
    }
}
