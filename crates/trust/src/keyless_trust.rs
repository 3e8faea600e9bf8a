//! By what keyless signatures are verified: what the TrustRoot says of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The most bytes of `keyless.trustedRoot`. That of the public Sigstore has 7 KiB, that of GitHub, with all its former
/// keys, 32 KiB; 64 KiB leaves a factor of two, and a TrustRoot that holds it is far below the 1.5 MiB of an API object.
pub const MAX_TRUSTED_ROOT_BYTES: usize = 64 * 1024;
/// The most bytes of `keyless.refresh.root`, and of each later root: that of the public Sigstore has 6 KiB for five people;
/// with signatures of fifty it is 60 KiB.
pub const MAX_TUF_ROOT_BYTES: usize = 64 * 1024;
/// The most bytes of `keyless.refresh.caCertificates`: thirty authorities of 2 KiB.
pub const MAX_MIRROR_CA_BYTES: usize = 64 * 1024;
/// The longest address of a mirror: what is safe everywhere.
pub const MAX_MIRROR_BYTES: usize = 2_000;

/// By what keyless signatures are verified. At most one of the two fields is set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeylessTrust {
    /// The text of the `trusted_root.json` of a Sigstore of one's own, which replaces the public one. It stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65536))]
    pub trusted_root: Option<String>,
    /// The TUF repository from which the controller fetches the trust root, at its start and once a day. `{}`: that of
    /// the public Sigstore. Without this field no server is ever asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<KeylessRefresh>,
}

/// A TUF repository that holds a trust root, `trusted_root.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeylessRefresh {
    /// Its address, or that of a mirror: `https://…`, below which `timestamp.json` and `targets/` are. Default: that of the
    /// public Sigstore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2000), regex(pattern = r"^https://[^\s@?#]+$"))]
    pub mirror: Option<String>,
    /// The text of a `root.json` of a repository of one's own, by which all later ones are verified; it needs `mirror`. Until
    /// something is fetched no keyless signature is good then. Default: the one of the public Sigstore that writ was built with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65536))]
    pub root: Option<String>,
    /// The certificates, in PEM form, that the server is trusted by. Default: those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65536))]
    pub ca_certificates: Option<String>,
}

impl KeylessTrust {
    /// Each field that makes no sense, and why.
    pub(crate) fn check(&self) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        let mut size = |field, text: Option<&String>, most: usize| {
            if let Some(bytes) = text.map(String::len).filter(|bytes| !(1..=most).contains(bytes)) {
                wrong.push((field, format!("{bytes} bytes, not 1 to {most}")));
            }
        };
        size("keyless.trustedRoot", self.trusted_root.as_ref(), MAX_TRUSTED_ROOT_BYTES);
        let Some(refresh) = &self.refresh else { return wrong };
        size("keyless.refresh.root", refresh.root.as_ref(), MAX_TUF_ROOT_BYTES);
        size("keyless.refresh.caCertificates", refresh.ca_certificates.as_ref(), MAX_MIRROR_CA_BYTES);
        if self.trusted_root.is_some() {
            let reason = "the trust root is either this text or what keyless.refresh fetches: remove one of the two";
            wrong.push(("keyless.trustedRoot", reason.to_owned()));
        }
        if refresh.root.is_some() && refresh.mirror.is_none() {
            let reason = "the repository of the public Sigstore does not begin with it: set keyless.refresh.mirror to \
                          the address of the repository that does, or remove it";
            wrong.push(("keyless.refresh.root", reason.to_owned()));
        }
        if let Some(reason) = refresh.mirror.as_deref().and_then(wrong_address) {
            wrong.push(("keyless.refresh.mirror", reason));
        }
        wrong
    }
}

/// Why it is no address of a mirror.
fn wrong_address(mirror: &str) -> Option<String> {
    if mirror.len() > MAX_MIRROR_BYTES {
        return Some(format!("{} bytes are more than {MAX_MIRROR_BYTES}", mirror.len()));
    }
    let rest = mirror.strip_prefix("https://").unwrap_or_default();
    let is_wrong = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '@' | '?' | '#');
    let has_host = rest.split('/').next().is_some_and(|host| !host.is_empty());
    (!has_host || rest.contains(is_wrong))
        .then(|| "not https://HOST[:PORT][/PATH], without user name, query and fragment".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(keyless: &KeylessTrust) -> Vec<&'static str> {
        keyless.check().into_iter().map(|(field, _)| field).collect()
    }

    fn from(mirror: &str) -> KeylessTrust {
        let refresh = KeylessRefresh { mirror: Some(mirror.to_owned()), ..KeylessRefresh::default() };
        KeylessTrust { trusted_root: None, refresh: Some(refresh) }
    }

    #[test]
    fn a_trust_root_is_given_or_fetched() {
        let (given, fetched) = (Some("{}".to_owned()), Some(KeylessRefresh::default()));
        assert_eq!(wrong(&KeylessTrust { trusted_root: given.clone(), refresh: None }), Vec::<&str>::new());
        assert_eq!(wrong(&KeylessTrust { trusted_root: None, refresh: fetched.clone() }), Vec::<&str>::new());
        assert_eq!(wrong(&KeylessTrust { trusted_root: given, refresh: fetched }), ["keyless.trustedRoot"]);
        assert_eq!(wrong(&KeylessTrust { trusted_root: Some(String::new()), refresh: None }), ["keyless.trustedRoot"]);
    }

    #[test]
    fn a_root_of_ones_own_is_that_of_a_repository_of_ones_own() {
        let root = |bytes: usize| Some("x".repeat(bytes));
        let refresh = |keyless: KeylessTrust, root: Option<String>| {
            let refresh = KeylessRefresh { root, ..keyless.refresh.unwrap_or_default() };
            wrong(&KeylessTrust { refresh: Some(refresh), ..KeylessTrust::default() })
        };
        assert_eq!(refresh(KeylessTrust::default(), root(1)), ["keyless.refresh.root"]);
        assert_eq!(refresh(from("https://tuf.example.com"), root(MAX_TUF_ROOT_BYTES)), Vec::<&str>::new());
        assert_eq!(refresh(from("https://tuf.example.com"), root(MAX_TUF_ROOT_BYTES + 1)), ["keyless.refresh.root"]);
    }

    #[test]
    fn a_mirror_is_an_address_of_https() {
        for good in ["https://tuf.example.com", "https://127.0.0.1:8443/tuf/"] {
            assert_eq!(wrong(&from(good)), Vec::<&str>::new(), "{good}");
        }
        let long = format!("https://{}", "a".repeat(MAX_MIRROR_BYTES));
        for bad in
            ["", "http://a.example", "https://", "https:///x", "https://u:p@a.example", "https://a.example/?x", &long]
        {
            assert_eq!(wrong(&from(bad)), ["keyless.refresh.mirror"], "{bad}");
        }
    }
}
