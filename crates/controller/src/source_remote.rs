//! The remote of a source: made of its spec and Secret, kept with its connection until one of them is another.

use std::sync::Arc;

use cluster::{Cluster, SecretData, crd::GitSourceSpec};
use git::{Credentials, Limits, Remote, RemoteError, RemoteOptions};
use manifest::{Finding, Sensitive};

use crate::{code::ControllerCode, resources::finding, state::Key};

/// The key of a Secret that holds certificates.
const CA: &str = "ca.crt";
/// All keys that a Secret may have. The public key beside `identity` is for people: it is what the server has to know.
const KEYS: [&str; 7] = ["username", "password", "bearerToken", CA, "identity", "identity.pub", "known_hosts"];
/// What a Secret has to be.
const NEEDED: &str = "for https: username and password, or bearerToken; ca.crt; for ssh: identity, password if it has a passphrase, identity.pub; known_hosts; all as UTF-8, nothing else";

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

/// The remote of a source. Its Secret is read each time: nothing else tells that a credential was withdrawn.
pub(crate) async fn remote(
    cluster: &Cluster,
    key: &Key,
    spec: &GitSourceSpec,
    tracked: &str,
    kept: Option<Arc<KeptRemote>>,
) -> Result<Arc<KeptRemote>, Finding> {
    let owner = format!("GitSource {key}");
    if spec.r#ref != tracked {
        let found = format!("spec.ref is {}, the TrustRoot tracks {tracked}", spec.r#ref);
        let finding = finding(ControllerCode::A142, &owner, &found, "the ref of the TrustRoot");
        return Err(Finding { fix: format!("set spec.ref to {tracked}"), ..finding });
    }
    let mut options = RemoteOptions { limits: Limits::default(), ..RemoteOptions::default() };
    if let Some(secret) = &spec.secret_ref {
        let refuse = |what: String, needed: &str| {
            let found = format!("Secret {}/{} {what}", key.namespace, secret.name);
            let fix = format!("kubectl -n {} describe secret {} # then apply or mend it", key.namespace, secret.name);
            Finding { fix, ..finding(ControllerCode::A141, &owner, &found, needed) }
        };
        let found = cluster.secret(&key.namespace, &secret.name).await;
        let found = found.map_err(|error| refuse(format!("cannot be read: {error}"), "a readable Secret"))?;
        let data = found.ok_or_else(|| refuse("is not there".to_owned(), "an existing Secret"))?;
        options = of_secret(&data).map_err(|what| refuse(what, NEEDED))?;
    }
    KeptRemote::of(kept, &spec.url, &spec.r#ref, options).map_err(|error| git::GitError::from(error).finding())
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
    let credentials = match (text("username")?, text("password")?, text("bearerToken")?, text("identity")?) {
        (None, None, None, None) => None,
        (None, None, Some(token), None) => Some(Credentials::Bearer(token)),
        (Some(username), Some(password), None, None) => {
            Some(Credentials::Basic { username: username.into_exposed(), password })
        }
        (None, passphrase, None, Some(identity)) => Some(Credentials::PrivateKey { identity, passphrase }),
        _ => {
            let one = "username and password, bearerToken, identity";
            return Err(format!("has neither nothing nor exactly one of: {one} (with password for its passphrase)"));
        }
    };
    Ok(RemoteOptions {
        ca: data.get(CA).map(|ca| ca.expose().clone()),
        known_hosts: text("known_hosts")?.map(Sensitive::into_exposed),
        credentials,
        limits: Limits::default(),
    })
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
        assert_eq!(of(&["ca.crt"]), Ok(false));
        assert_eq!(of(&["identity", "identity.pub", "known_hosts"]), Ok(true));
        assert_eq!(of(&["identity", "password", "known_hosts"]), Ok(true));
        for unknown in ["token", "Identity", "bearertoken"] {
            let refused = of(&["ca.crt", unknown]).unwrap_err();
            assert_eq!(refused, format!("has the key \"{unknown}\", which is not known"));
        }
        assert!(of(&["username"]).is_err() && of(&["username", "password", "bearerToken"]).is_err());
        assert!(of(&["identity", "username", "password"]).is_err() && of(&["identity", "bearerToken"]).is_err());
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
