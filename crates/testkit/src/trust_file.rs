//! Trust files as text, in the format that writ reads.

use std::fmt::Write as _;

use crate::{keyless::Account, keys::SigningKey};

/// Builds `.writ/trust.yaml`. Nothing is checked: tests also need files that writ refuses.
#[derive(Debug, Clone)]
pub struct TrustFile {
    repo_id: String,
    git_ref: String,
    version: u64,
    expires: String,
    principals: Vec<String>,
    roles: Vec<String>,
    rules: Vec<String>,
    revoked: Vec<String>,
    history: Option<String>,
    crypto: Option<String>,
}

/// Who a principal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrincipalKind {
    /// A person.
    Human,
    /// A machine: counts only where a role names it.
    Robot,
    /// A server that signs for whoever presses its buttons: counts nowhere.
    Forge,
}

impl TrustFile {
    /// A trust file without principals, roles and rules, for `refs/heads/main`, version 1, good until 2099.
    pub fn new(repo_id: &str) -> Self {
        Self {
            repo_id: repo_id.to_owned(),
            git_ref: "refs/heads/main".to_owned(),
            version: 1,
            expires: "2099-01-01T00:00:00Z".to_owned(),
            principals: Vec::new(),
            roles: Vec::new(),
            rules: Vec::new(),
            revoked: Vec::new(),
            history: None,
            crypto: None,
        }
    }

    /// The usual file of a small team: `root` signs trust (1 of them), `security` policies and waivers, `sre` everything else
    /// (`apps/**`), Kubernetes kinds as writ's own rules want them.
    pub fn team(repo_id: &str, root: &SigningKey, security: &SigningKey, sre: &SigningKey) -> Self {
        let mut file = Self::new(repo_id);
        let mut seen: Vec<&str> = Vec::new();
        for key in [root, security, sre] {
            if !seen.contains(&key.principal()) {
                file = file.principal(key.principal(), PrincipalKind::Human, &[key]);
                seen.push(key.principal());
            }
        }
        file.role("root", &[root.principal()])
            .role("security", &[security.principal()])
            .role("sre", &[sre.principal()])
            .rule("trust", &[".writ/**"], &[("root", 1)], &[])
            .rule(
                "policies",
                &["policies/**"],
                &[("security", 1)],
                &["admissionregistration.k8s.io/ValidatingAdmissionPolicy*"],
            )
            .rule("waivers", &["waivers/**"], &[("security", 1)], &[])
            .rule("apps", &["apps/**"], &[("sre", 1)], &["namespaced"])
    }

    /// Sets `ref`.
    #[must_use]
    pub fn git_ref(mut self, git_ref: &str) -> Self {
        git_ref.clone_into(&mut self.git_ref);
        self
    }

    /// Sets `version`.
    #[must_use]
    pub fn version(mut self, version: u64) -> Self {
        self.version = version;
        self
    }

    /// Sets `expires`, an RFC 3339 time.
    #[must_use]
    pub fn expires(mut self, time: &str) -> Self {
        time.clone_into(&mut self.expires);
        self
    }

    /// Adds a principal with SSH keys.
    #[must_use]
    pub fn principal(self, name: &str, kind: PrincipalKind, keys: &[&SigningKey]) -> Self {
        let keys: Vec<(&SigningKey, Option<&str>)> = keys.iter().map(|&key| (key, None)).collect();
        self.principal_until(name, kind, &keys)
    }

    /// Adds a principal with SSH keys, each with its `notAfter` (RFC 3339), if any.
    #[must_use]
    pub fn principal_until(mut self, name: &str, kind: PrincipalKind, keys: &[(&SigningKey, Option<&str>)]) -> Self {
        let kind = match kind {
            PrincipalKind::Human => "human",
            PrincipalKind::Robot => "robot",
            PrincipalKind::Forge => "forge",
        };
        let keys: Vec<String> = keys
            .iter()
            .map(|(key, not_after)| match not_after {
                None => format!("{{ssh: \"{}\"}}", key.public()),
                Some(time) => format!("{{ssh: \"{}\", notAfter: {time}}}", key.public()),
            })
            .collect();
        self.principals.push(format!("{name}: {{kind: {kind}, keys: [{}]}}", keys.join(", ")));
        self
    }

    /// Adds a person with an OpenPGP key, whose certificate is the file `.writ/keys/NAME.asc` with this SHA-256 in hex.
    #[must_use]
    pub fn openpgp(mut self, name: &str, fingerprint: &str, sha256: &str) -> Self {
        let pin = format!("{{fingerprint: \"{fingerprint}\", certFile: .writ/keys/{name}.asc, sha256: \"{sha256}\"}}");
        self.principals.push(format!("{name}: {{kind: human, keys: [{{openpgp: {pin}}}]}}"));
        self
    }

    /// Adds a person who has an account and no key.
    #[must_use]
    pub fn keyless(self, name: &str, account: &Account) -> Self {
        self.keyless_of(name, "human", account)
    }

    /// Adds a robot that has an account, as a workflow has, and no key.
    #[must_use]
    pub fn keyless_robot(self, name: &str, account: &Account) -> Self {
        self.keyless_of(name, "robot", account)
    }

    fn keyless_of(mut self, name: &str, kind: &str, Account { issuer, identity }: &Account) -> Self {
        let key = format!("{{keyless: {{issuer: \"{issuer}\", identity: \"{identity}\"}}}}");
        self.principals.push(format!("{name}: {{kind: {kind}, keys: [{key}]}}"));
        self
    }

    /// Adds a role.
    #[must_use]
    pub fn role(mut self, name: &str, principals: &[&str]) -> Self {
        self.roles.push(format!("{name}: [{}]", principals.join(", ")));
        self
    }

    /// Adds a rule: globs, `anyOf` items (role, threshold), and `kinds` (none: the field is left out, which allows any).
    #[must_use]
    pub fn rule(mut self, name: &str, paths: &[&str], any_of: &[(&str, u32)], kinds: &[&str]) -> Self {
        let any_of: Vec<String> =
            any_of.iter().map(|(role, threshold)| format!("{{role: {role}, threshold: {threshold}}}")).collect();
        let mut rule = format!("{{name: {name}, paths: [{}], anyOf: [{}]", quoted(paths), any_of.join(", "));
        if !kinds.is_empty() {
            // Writing to a string cannot fail.
            let _ok = write!(rule, ", kinds: [{}]", quoted(kinds));
        }
        rule.push('}');
        self.rules.push(rule);
        self
    }

    /// Sets `history.ancestry`: `firstParent` or `allSigned`.
    #[must_use]
    pub fn ancestry(self, ancestry: &str) -> Self {
        self.history(&format!("{{ancestry: {ancestry}}}"))
    }

    /// Sets `history` to a flow mapping such as `{refBinding: trailer}`.
    #[must_use]
    pub fn history(mut self, flow_mapping: &str) -> Self {
        self.history = Some(flow_mapping.to_owned());
        self
    }

    /// Sets `history.partialAdvance`: good steps before a refused one are accepted.
    #[must_use]
    pub fn partial_advance(mut self) -> Self {
        self.history = Some("{partialAdvance: true}".to_owned());
        self
    }

    /// Sets `history.dualSigned`: commits may carry a signature for each object format.
    #[must_use]
    pub fn dual_signed(mut self) -> Self {
        self.history = Some("{dualSigned: true}".to_owned());
        self
    }

    /// Revokes a key hard, by fingerprint (`SHA256:…`).
    #[must_use]
    pub fn revoke_key(mut self, fingerprint: &str, reason: &str) -> Self {
        self.revoked.push(format!("{{key: \"{fingerprint}\", kind: hard, reason: \"{reason}\"}}"));
        self
    }

    /// Revokes a key softly: not for what lies at or before this commit of the mainline.
    #[must_use]
    pub fn revoke_key_after(mut self, fingerprint: &str, commit: &str) -> Self {
        self.revoked.push(format!("{{key: \"{fingerprint}\", kind: soft, after: {commit}}}"));
        self
    }

    /// Revokes a commit by the SHA-256 of its payload, in hex.
    #[must_use]
    pub fn revoke_payload(mut self, sha256: &str, reason: &str) -> Self {
        self.revoked.push(format!("{{payload: \"sha256:{sha256}\", reason: \"{reason}\"}}"));
        self
    }

    /// Sets `crypto` to a flow mapping such as `{minRsa: 3072}`.
    #[must_use]
    pub fn crypto(mut self, flow_mapping: &str) -> Self {
        self.crypto = Some(flow_mapping.to_owned());
        self
    }

    /// The file.
    pub fn text(&self) -> String {
        let mut text = format!(
            "apiVersion: writ.dev/v1alpha1\nkind: TrustPolicy\nrepoId: \"{}\"\nref: {}\nversion: {}\nexpires: {}\n",
            self.repo_id, self.git_ref, self.version, self.expires
        );
        let line = |name: &str, value: &Option<String>| match value {
            Some(value) => format!("{name}: {value}\n"),
            None => String::new(),
        };
        text.push_str(&block("principals", "  ", &self.principals));
        text.push_str(&block("roles", "  ", &self.roles));
        text.push_str(&block("rules", "  - ", &self.rules));
        text.push_str(&line("history", &self.history));
        if !self.revoked.is_empty() {
            text.push_str(&block("revoked", "  - ", &self.revoked));
        }
        text.push_str(&line("crypto", &self.crypto));
        text
    }
}

fn block(name: &str, indent: &str, items: &[String]) -> String {
    items.iter().fold(format!("{name}:\n"), |text, item| format!("{text}{indent}{item}\n"))
}

fn quoted(items: &[&str]) -> String {
    items.iter().map(|item| format!("\"{item}\"")).collect::<Vec<_>>().join(", ")
}
