//! Who signs, from the files of other tools: allowed-signers files, lists of public keys, OpenPGP certificates.

use std::collections::BTreeMap;

use manifest::{Digest, RepoPath};

use super::{CERTIFICATES, NewKey, NewKeyMaterial, NewPrincipal, PrincipalKind, TrustFile};
use crate::{
    AllowedSigners, KeyFingerprint, NAMESPACE_GIT, PublicKey, PublicKeyError, UserCheck,
    openpgp::{Certificate, OpenPgpFingerprint},
    ssh::{AllowedLine, matches_list},
};

/// Longest name of a principal.
const MAX_NAME_BYTES: usize = 64;

/// How what is imported is taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportTerms {
    /// Whose keys they are, whatever the file says.
    pub name: Option<String>,
    /// What kind of principals they are.
    pub kind: Option<PrincipalKind>,
    /// The roles that they get.
    pub roles: Vec<String>,
}

/// What becomes of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportedSigners {
    /// Whom to add; nobody's key is in the trust file already.
    pub people: Vec<NewPrincipal>,
    /// The authorities to add before them.
    pub authorities: Vec<NewAuthority>,
    /// How the file calls each principal whose name is another one here.
    pub renamed: BTreeMap<String, String>,
    /// What is not taken, and why.
    pub left_out: Vec<String>,
}

/// An authority to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAuthority {
    /// The name.
    pub name: String,
    /// Its key.
    pub key: PublicKey,
    /// Patterns of whom it may certify.
    pub principals: Vec<String>,
}

/// A certificate to be imported, and the file that will hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateToImport {
    /// Its fingerprint.
    pub fingerprint: OpenPgpFingerprint,
    /// Its first user id.
    pub user_id: Option<String>,
    /// Digest of its file.
    pub sha256: Digest,
}

/// A line of a list of public keys that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the list of keys")]
pub struct KeyListError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    #[source]
    pub reason: PublicKeyError,
}

/// Reads a list of public keys, one in each line, as `https://github.com/NAME.keys` gives. Blank lines and lines that begin
/// with `#` are skipped.
///
/// # Errors
/// The first line that is no public key.
pub fn key_list(text: &str) -> Result<Vec<PublicKey>, KeyListError> {
    let lines = text.lines().map(str::trim).enumerate();
    let lines = lines.filter(|(_index, line)| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|(index, line)| PublicKey::parse(line).map_err(|reason| KeyListError { line: index + 1, reason }))
        .collect()
}

/// Where the certificate of a principal lies.
#[must_use]
pub fn certificate_path(fingerprint: &OpenPgpFingerprint, name: &str) -> RepoPath {
    let text = fingerprint.to_string();
    let digits = text.get(text.len().saturating_sub(16)..).unwrap_or_default();
    format!("{CERTIFICATES}/{name}-{digits}.asc").parse().unwrap_or_default()
}

impl TrustFile {
    /// Whom an allowed-signers file names, as principals: those with a key of their own, and the authorities with those
    /// whom they certify.
    #[must_use]
    pub fn import_signers(&self, signers: &AllowedSigners, terms: &ImportTerms) -> ImportedSigners {
        let mut import = Import::new(self, terms);
        for line in signers.lines() {
            if !line.allows_namespace(NAMESPACE_GIT) {
                import.left_out(format!("a key of {}: its namespaces do not hold {NAMESPACE_GIT}", line.principal));
            } else if line.cert_authority {
                import.authority(line);
            } else {
                let called = terms.name.as_deref().unwrap_or(&line.principal);
                let key = NewKey {
                    not_before: line.valid_after,
                    not_after: line.valid_before,
                    ..NewKey::ssh(line.key.clone())
                };
                import.key(called, key);
            }
        }
        import.imported
    }

    /// Keys of one principal.
    #[must_use]
    pub fn import_keys(&self, name: &str, keys: &[PublicKey], terms: &ImportTerms) -> ImportedSigners {
        let mut import = Import::new(self, terms);
        keys.iter().for_each(|key| import.key(name, NewKey::ssh(key.clone())));
        import.imported
    }

    /// The holders of certificates, by the address in their first user id.
    #[must_use]
    pub fn import_certificates(&self, certificates: &[CertificateToImport], terms: &ImportTerms) -> ImportedSigners {
        let mut import = Import::new(self, terms);
        for certificate in certificates {
            let fingerprint = certificate.fingerprint;
            let called = terms.name.as_deref().or(certificate.user_id.as_deref().map(address));
            let Some(name) = called.and_then(|called| import.name(called)) else {
                import.left_out(format!("certificate {fingerprint}: no name can be made of its user id"));
                continue;
            };
            let material = NewKeyMaterial::OpenPgp {
                fingerprint,
                file: certificate_path(&fingerprint, &name),
                sha256: certificate.sha256,
            };
            let key = NewKey { material, not_before: None, not_after: None, user: UserCheck::default() };
            import.add(&name, key);
        }
        import.imported
    }
}

impl Certificate {
    /// What of it is needed to import it from a file with this digest.
    #[must_use]
    pub fn to_import(&self, sha256: Digest) -> CertificateToImport {
        CertificateToImport { fingerprint: self.fingerprint(), user_id: self.user_id().map(str::to_owned), sha256 }
    }
}

/// `Bob <bob@example.com>` is `bob@example.com`.
fn address(user_id: &str) -> &str {
    let inside = user_id.rsplit_once('<').and_then(|(_name, rest)| rest.strip_suffix('>'));
    inside.unwrap_or(user_id)
}

struct Import<'a> {
    file: &'a TrustFile,
    terms: &'a ImportTerms,
    /// The names that are given, by what the file calls them.
    names: BTreeMap<String, String>,
    imported: ImportedSigners,
}

impl<'a> Import<'a> {
    fn new(file: &'a TrustFile, terms: &'a ImportTerms) -> Self {
        Self { file, terms, names: BTreeMap::new(), imported: ImportedSigners::default() }
    }

    fn left_out(&mut self, what: String) {
        self.imported.left_out.push(what);
    }

    fn key(&mut self, called: &str, key: NewKey) {
        let shown = key.fingerprint().map_or_else(String::new, |key| key.to_string());
        if called.contains(['*', '?']) {
            return self.left_out(format!("key {shown}: {called} is nobody in particular"));
        }
        match self.name(called) {
            Some(name) => self.add(&name, key),
            None => self.left_out(format!("key {shown}: no name can be made of {called}")),
        }
    }

    fn add(&mut self, name: &str, key: NewKey) {
        let fingerprint = key.fingerprint();
        if let Some(holder) = fingerprint.and_then(|key| self.file.holder_of(&key)) {
            let shown = fingerprint.map_or_else(String::new, |key| key.to_string());
            return self.left_out(format!("key {shown}: it is there already, as one of {holder}"));
        }
        let new = |one: &NewKey| one.fingerprint().is_some() && one.fingerprint() == fingerprint;
        if self.imported.people.iter().flat_map(|one| &one.keys).any(new) {
            let shown = fingerprint.map_or_else(String::new, |key: KeyFingerprint| key.to_string());
            return self.left_out(format!("key {shown}: it is in the file twice"));
        }
        match self.imported.people.iter_mut().find(|one| one.name == name) {
            Some(one) => one.keys.push(key),
            None => self.imported.people.push(NewPrincipal {
                name: name.to_owned(),
                kind: self.terms.kind,
                roles: self.terms.roles.clone(),
                keys: vec![key],
            }),
        }
    }

    /// An authority, with those of its principals whose names are written out.
    fn authority(&mut self, line: &AllowedLine) {
        let fingerprint = line.key.fingerprint();
        let there = self.file.authorities.iter().any(|(_, ca)| ca.key == line.key)
            || self.imported.authorities.iter().any(|ca| ca.key == line.key);
        if there {
            return self.left_out(format!("authority {fingerprint}: it is there already"));
        }
        if line.valid_after.is_some() || line.valid_before.is_some() {
            return self.left_out(format!("authority {fingerprint}: an authority has no times in the trust file"));
        }
        let patterns: Vec<String> =
            line.principals.split(',').filter(|one| !one.is_empty()).map(str::to_owned).collect();
        let number = self.file.authorities.len() + self.imported.authorities.len() + 1;
        let Some(ca) = self.name(&format!("ca-{number}")) else {
            return self.left_out(format!("authority {fingerprint}: the name ca-{number} is taken"));
        };
        for called in patterns.iter().filter(|one| !one.contains(['*', '?', '!'])) {
            if !matches_list(&line.principals, called) {
                continue;
            }
            if let Some(name) = self.name(called) {
                let material = NewKeyMaterial::Certified { ca: ca.clone(), principal: called.clone() };
                self.add(&name, NewKey { material, not_before: None, not_after: None, user: UserCheck::default() });
            }
        }
        self.imported.authorities.push(NewAuthority { name: ca, key: line.key.clone(), principals: patterns });
    }

    /// The name of what the file calls so: what stands before the `@`, or all of it where that is somebody else. Nobody
    /// who is in the trust file gets a key by an accident of names: that takes a name in the terms.
    fn name(&mut self, called: &str) -> Option<String> {
        if let Some(name) = self.names.get(called) {
            return Some(name.clone());
        }
        let given = self.terms.name.as_deref() == Some(called);
        let free = |name: &String| {
            let known = self.file.principals.contains_key(name) || self.file.authorities.contains_key(name);
            (given || !known) && !name.is_empty() && !self.names.values().any(|other| other == name)
        };
        let local = called.split_once('@').map_or(called, |(local, _host)| local);
        let name = [plain(local), plain(called)].into_iter().find(free)?;
        if name != called {
            self.imported.renamed.insert(called.to_owned(), name.clone());
        }
        self.names.insert(called.to_owned(), name.clone());
        Some(name)
    }
}

/// A name of what can stand in one.
fn plain(text: &str) -> String {
    let kept = |one: char| if one.is_ascii_alphanumeric() || matches!(one, '-' | '_' | '.') { one } else { '-' };
    text.trim_start_matches('.').chars().map(kept).take(MAX_NAME_BYTES).collect()
}
