//! OpenPGP certificates of principals: files of the repository that the trust file pins by their digest.

use std::collections::BTreeMap;

use jiff::Timestamp;
use manifest::{Digest, Finding, Position, RepoPath, Subject};

use super::{Principal, Revoked, TRUST_FILE, TrustFile, trust_file_path};
use crate::{
    Change, CommitId, Crypto, History, Instants, TrustCode,
    openpgp::{
        Certificate, MAX_CERTIFICATE_BYTES, OpenPgpError, OpenPgpFingerprint, OpenPgpSignature, OpenPgpVerifier,
        Signature,
    },
    refusal::unreadable,
    step::read_trust_file,
};

/// Folder of the certificates.
pub const CERTIFICATES: &str = ".writ/keys";
/// The most bytes of all certificates of a trust file: 256 of 16 KiB. Built to waste time, of nothing but signatures on
/// the slowest curve (200 bytes and 1 ms each), they take 21 s; whoever pushes them has signed for it.
pub const MAX_CERTIFICATES_BYTES: usize = 4 * 1024 * 1024;

/// A certificate that is a key of a principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedCertificate {
    /// Its fingerprint: that of its primary key.
    pub fingerprint: OpenPgpFingerprint,
    /// Where it lies, below [`CERTIFICATES`].
    pub file: RepoPath,
    /// Digest of that file.
    pub sha256: Digest,
    /// When it begins as a key of this principal.
    pub not_before: Option<Timestamp>,
    /// When it ends as a key of this principal, whatever it says itself.
    pub not_after: Option<Timestamp>,
    pub(crate) place: Position,
}

/// Certificates by fingerprint, as far as they have been loaded.
pub(super) type Certificates = BTreeMap<OpenPgpFingerprint, Certificate>;

/// Reads the certificates that a trust file pins from the commit that carries it. Until then no OpenPGP signature counts.
///
/// # Errors
/// W502 for a file that is missing, too large, another than the one that is pinned, or no certificate.
pub(crate) fn load_certificates(history: &dyn History, commit: &CommitId, file: &mut TrustFile) -> Result<(), Finding> {
    let mut loaded = Certificates::new();
    let mut total = 0_usize;
    for pin in file.principals.values().flat_map(|principal| &principal.pinned) {
        let bytes = history.read(commit, &pin.file).map_err(|error| unreadable(commit, &error))?;
        loaded.insert(pin.fingerprint, pinned(pin, bytes.as_deref(), &mut total)?);
    }
    file.certificates = loaded;
    Ok(())
}

/// The certificate in a file, if it is the one that is pinned.
fn pinned(pin: &PinnedCertificate, bytes: Option<&[u8]>, total: &mut usize) -> Result<Certificate, Finding> {
    let bytes = bytes.ok_or_else(|| refuse(pin, "not there".to_owned()))?;
    *total = total.saturating_add(bytes.len());
    if bytes.len() > MAX_CERTIFICATE_BYTES || *total > MAX_CERTIFICATES_BYTES {
        return Err(refuse(pin, format!("{} bytes, of certificates {total} bytes", bytes.len())));
    }
    let digest = Digest::of(bytes);
    if digest != pin.sha256 {
        return Err(refuse(pin, format!("a file of sha256 {digest}")));
    }
    let certificate = Certificate::parse(bytes).map_err(|error| refuse(pin, error.to_string()))?;
    if certificate.fingerprint() != pin.fingerprint {
        return Err(refuse(pin, format!("the certificate {}", certificate.fingerprint())));
    }
    Ok(certificate)
}

fn refuse(pin: &PinnedCertificate, found: String) -> Finding {
    let file = manifest::shell_quote(pin.file.as_str());
    Finding {
        code: TrustCode::W502.entry(),
        subject: Subject::Path { path: pin.file.clone(), line: None, column: None },
        rule: None,
        found: found.into(),
        needed: format!("the certificate {} with sha256 {}, as .writ/trust.yaml pins", pin.fingerprint, pin.sha256)
            .into(),
        fix: format!(
            "gpg --armor --export {} > {file} && sha256sum {file} # put that into .writ/trust.yaml and have it signed",
            pin.fingerprint
        )
        .into(),
    }
}

impl Principal {
    /// Whether OpenPGP is all it can sign with.
    pub(super) fn signs_by_openpgp_alone(&self) -> bool {
        self.keys.is_empty() && self.certificates.is_empty() && !self.pinned.is_empty()
    }

    /// Whether one of its certificates is in force: not revoked, not ended, and as far as it is loaded, able to sign.
    pub(super) fn certificate_in_force(&self, file: &TrustFile, at: Option<Timestamp>) -> bool {
        self.pinned.iter().any(|pin| {
            let ended = at.zip(pin.not_after).is_some_and(|(at, end)| at > end);
            let unable = at
                .zip(file.certificates.get(&pin.fingerprint))
                .is_some_and(|(at, certificate)| !certificate.can_sign(&file.crypto, at));
            !ended && !unable && !file.revoked.contains_key(&Revoked::Certificate(pin.fingerprint))
        })
    }
}

impl TrustFile {
    /// The trust file that a commit carries, with the certificates that it pins.
    ///
    /// # Errors
    /// W501 if there is none, W502 and W506 if it or a certificate is refused, W403 if the history cannot be read.
    pub fn of_commit(history: &dyn History, commit: &CommitId) -> Result<Self, Vec<Finding>> {
        let bytes = read_trust_file(history, commit).map_err(|finding| vec![finding])?;
        let mut file = Self::parse(&bytes)?;
        load_certificates(history, commit, &mut file).map_err(|finding| vec![finding])?;
        Ok(file)
    }

    /// The certificates, as far as they are loaded.
    pub(crate) fn certificates(&self) -> impl Iterator<Item = &Certificate> {
        self.certificates.values()
    }

    /// The OpenPGP keys of all principals, each with its holder.
    pub fn pins(&self) -> impl Iterator<Item = (&str, &PinnedCertificate)> {
        self.principals.iter().flat_map(|(name, one)| one.pinned.iter().map(move |pin| (name.as_str(), pin)))
    }

    /// Loads the certificates that the file pins from these files, as far as they are what is pinned. The findings have
    /// the place in the trust file.
    pub fn load_from(&mut self, files: &BTreeMap<RepoPath, Vec<u8>>) -> Vec<Finding> {
        let (mut loaded, mut findings, mut total) = (Certificates::new(), Vec::new(), 0);
        for (_name, pin) in self.pins() {
            match pinned(pin, files.get(&pin.file).map(Vec::as_slice), &mut total) {
                Ok(certificate) => _ = loaded.insert(pin.fingerprint, certificate),
                Err(finding) => {
                    let Position { line, column } = pin.place;
                    let path = trust_file_path();
                    let subject = Subject::Path { path, line: Some(line), column: Some(column) };
                    findings.push(Finding {
                        subject,
                        found: format!("{} is {}", pin.file, finding.found).into(),
                        ..finding
                    });
                }
            }
        }
        self.certificates = loaded;
        findings
    }

    /// What is wrong with certificates that are loaded, or soon will be, and does not refuse the file: each with its place.
    #[must_use]
    pub fn ailing_certificates(&self, now: Timestamp, soon: Timestamp) -> Vec<String> {
        let mut ailing = Vec::new();
        for (name, pin) in self.pins() {
            let Some(certificate) = self.certificates.get(&pin.fingerprint) else { continue };
            let what = match certificate.signs_until(&self.crypto, now) {
                Err(error) => format!("cannot sign: {error}"),
                Ok(Some(end)) if end <= soon => format!("signs until {end}"),
                Ok(_) => continue,
            };
            let Position { line, column } = pin.place;
            let place = format!("{TRUST_FILE}:{line}:{column}");
            ailing.push(format!("{place}: certificate {} of {name} {what}", pin.fingerprint));
        }
        ailing
    }

    /// Whether any principal has an OpenPGP key.
    #[must_use]
    pub fn has_certificates(&self) -> bool {
        self.principals.values().any(|principal| !principal.pinned.is_empty())
    }

    /// The principal whose key a certificate is.
    #[must_use]
    pub fn certificate_holder(&self, fingerprint: &OpenPgpFingerprint) -> Option<(&str, &PinnedCertificate)> {
        self.principals.iter().find_map(|(name, principal)| {
            let found = principal.pinned.iter().find(|pin| pin.fingerprint == *fingerprint)?;
            Some((name.as_str(), found))
        })
    }

    /// The certificates, as far as they are loaded, that sign with this key.
    pub(crate) fn certificates_with(&self, key: &OpenPgpFingerprint) -> impl Iterator<Item = OpenPgpFingerprint> {
        let has = move |certificate: &&Certificate| certificate.signing_keys().any(|one| one == *key);
        self.certificates.values().filter(has).map(Certificate::fingerprint)
    }

    /// W502 if a step that leaves the trust file as it is changes a certificate that the file pins: the state after it
    /// could not be loaded.
    pub(crate) fn keeps_certificates(&self, changes: &[Change]) -> Result<(), Finding> {
        let changed = |pin: &&PinnedCertificate| changes.iter().any(|change| change.path == pin.file);
        let pin = self.principals.values().flat_map(|principal| &principal.pinned).find(changed);
        pin.map_or(Ok(()), |pin| Err(refuse(pin, "changed without .writ/trust.yaml".to_owned())))
    }

    /// The principals with an OpenPGP key in force.
    pub(crate) fn certificate_holders(&self, at: Timestamp) -> impl Iterator<Item = &str> {
        let able = move |principal: &Principal| principal.certificate_in_force(self, Some(at));
        self.principals.iter().filter(move |(_, principal)| able(principal)).map(|(name, _)| name.as_str())
    }

    /// The holder of the certificate of a good signature, unless the trust file itself has revoked or ended it.
    pub(crate) fn certificate_in_window(
        &self,
        signature: &OpenPgpSignature,
        instants: &Instants,
    ) -> Result<(&str, &PinnedCertificate), (TrustCode, String)> {
        let fingerprint = signature.certificate();
        for key in [fingerprint, signature.key()] {
            if let Some(reason) = self.revoked.get(&Revoked::Certificate(key)) {
                return Err((TrustCode::W304, format!("signed with key {key}, which is revoked ({reason})")));
            }
        }
        let (name, pin) = self.certificate_holder(&fingerprint).ok_or_else(|| {
            (TrustCode::W202, format!("signed with key {fingerprint}, which belongs to no principal"))
        })?;
        // A third time besides those of the commit: when the signature says that it was made.
        let made = Instants { committer: signature.created(), first_sight: None };
        instants
            .between(pin.not_before, pin.not_after)
            .and_then(|()| made.between(pin.not_before, pin.not_after))
            .map_err(|reason| (TrustCode::W204, format!("key {fingerprint} of {name} {reason}")))?;
        Ok((name, pin))
    }
}

impl OpenPgpVerifier for TrustFile {
    fn verify_openpgp(
        &self,
        armored: &[u8],
        message: &[u8],
        crypto: &Crypto,
        at: &Instants,
    ) -> Result<OpenPgpSignature, OpenPgpError> {
        Signature::parse(armored)?.verify_by_any(self.certificates(), message, crypto, at)
    }
}
