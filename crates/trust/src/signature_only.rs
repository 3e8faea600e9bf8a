//! The verdict on a signature alone, by lists of keys: what `git verify-commit` decides, without its leniency.

use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;
use manifest::{Finding, Subject};

use crate::{
    AllowedSigners, ArmorFormat, Certificate, CommitObject, Instants, KeyFingerprint, KeylessIdentity, KeylessVerifier,
    SignatureFormat, Signer, SigningFormats, SshSignature, TrustCode, UserCheck,
    openpgp::Keyring,
    repair::{resign, resign_keyless, resign_openpgp_with},
    ssh::{AllowedLine, Crypto, NAMESPACE_GIT, Unproven},
};

/// Whose signatures are good, by format; without a list no signature of that format is.
#[derive(Debug, Clone, Default)]
pub struct KnownSigners {
    /// Of SSH.
    pub allowed_signers: Option<AllowedSigners>,
    /// Of OpenPGP.
    pub certificates: Option<Keyring>,
    /// Of keyless signatures.
    pub keyless: Option<KnownIdentities>,
}

/// Whose keyless signatures are good.
#[derive(Debug, Clone)]
pub struct KnownIdentities {
    /// The accounts.
    pub identities: BTreeSet<KeylessIdentity>,
    /// What verifies their signatures.
    pub verifier: Arc<dyn KeylessVerifier>,
}

impl KnownSigners {
    /// The formats of which there is a list.
    fn formats(&self) -> SigningFormats {
        SigningFormats::given(&[
            (SignatureFormat::Ssh, self.allowed_signers.is_some()),
            (SignatureFormat::OpenPgp, self.certificates.is_some()),
            (SignatureFormat::Keyless, self.keyless.is_some()),
        ])
    }
}

/// Who signed this commit, if the list of the signature's format holds the key, for commits at the committer's time
/// (which the signer chose: so does Git, and so a window here is no defence against a stolen key).
///
/// # Errors
/// W301 and W2xx as [`CommitObject::verify_ssh`], [`CommitObject::verify_openpgp`] and [`KeylessVerifier`] say under
/// default settings; W202 if the list does not hold the key or the authority of its certificate, W204 if not for that time,
/// W206 if it does not hold the account, W207 if not for commits, not for a principal of the certificate, or if its security
/// key was not touched, W208 if there is no list, W304 if the key is revoked.
pub fn verify_signature_only(commit: &CommitObject, known: &KnownSigners) -> Result<Signer, Finding> {
    if commit.signature.is_none() {
        let (formats, found) = (known.formats(), "no signature".to_owned());
        let needed = format!("{} by a principal", formats.needed());
        return Err(formats.fit(refuse(commit, TrustCode::W301, found, &needed, resign(commit)), None));
    }
    let no_list = |what: &str, needed: &str, fix: &str| {
        refuse(
            commit,
            TrustCode::W208,
            format!("{what} signature, for which no keys are given"),
            needed,
            fix.to_owned(),
        )
    };
    match (commit.signature_format(), &known.allowed_signers, &known.certificates) {
        (Some(ArmorFormat::OpenPgp), _, Some(certificates)) => by_certificates(commit, certificates),
        (Some(ArmorFormat::OpenPgp), _, None) => {
            let fix = "gpg --armor --export FINGERPRINT > FILE # of each signer; then verify with --openpgp-certs FILE";
            Err(no_list("an OpenPGP", "certificates of the signers", fix))
        }
        (Some(ArmorFormat::X509), ..) => match &known.keyless {
            Some(identities) => by_identities(commit, identities),
            None => {
                let fix = "verify with --certificate-identity IDENTITY --certificate-oidc-issuer URL # of each signer, if gitsign made it";
                Err(no_list("an X.509", "identities of the signers", fix))
            }
        },
        (_, Some(allowed), _) => by_allowed_signers(commit, allowed),
        (_, None, _) => commit.verify_ssh(&Crypto::default()).and_then(|_nobody_known| {
            let fix =
                "list the signers as ssh-keygen(1) has it (ALLOWED SIGNERS); then verify with --allowed-signers FILE";
            Err(no_list("an SSH", "an allowed-signers file", fix))
        }),
    }
}

fn refuse(commit: &CommitObject, code: TrustCode, found: String, needed: &str, fix: String) -> Finding {
    let (code, subject) = (code.entry(), Subject::Commit(commit.id.to_string()));
    Finding { code, subject, rule: None, found: found.into(), needed: needed.into(), fix: fix.into() }
}

fn committer_time(commit: &CommitObject) -> Result<Timestamp, Finding> {
    Timestamp::from_second(commit.committer_time).map_err(|error| {
        let found = format!("committer time: {error}");
        refuse(commit, TrustCode::W101, found, "a time until the year 9999", resign(commit))
    })
}

fn by_certificates(commit: &CommitObject, certificates: &Keyring) -> Result<Signer, Finding> {
    let at = Instants { committer: committer_time(commit)?, first_sight: None };
    let signature = commit.verify_openpgp(certificates, &Crypto::default(), &at).map_err(|finding| {
        if finding.code != TrustCode::W202.entry() {
            return finding;
        }
        let add = "if its holder may sign, add what gpg --armor --export prints for it to the certificates";
        Finding { fix: format!("{} # {add}", resign_openpgp_with(commit)).into(), ..finding }
    })?;
    let fingerprint = signature.certificate();
    let name = certificates.certificate(&fingerprint).and_then(|one| one.user_id());
    Ok(Signer {
        principal: name.map_or_else(|| fingerprint.to_string(), str::to_owned),
        format: SignatureFormat::OpenPgp,
        key: KeyFingerprint::OpenPgp(fingerprint),
        ca: None,
        identity: None,
    })
}

fn by_identities(commit: &CommitObject, known: &KnownIdentities) -> Result<Signer, Finding> {
    let signer = commit.verify_keyless(Some(&*known.verifier))?.signer;
    if !known.identities.contains(&signer) {
        let fix = format!("{} # as one of them", resign_keyless(commit));
        return Err(refuse(commit, TrustCode::W206, format!("signed as {signer}"), "an identity that is given", fix));
    }
    Ok(Signer {
        principal: signer.identity.clone(),
        format: SignatureFormat::Keyless,
        key: KeyFingerprint::Keyless(signer.fingerprint()),
        ca: None,
        identity: Some(Box::new(signer)),
    })
}

fn by_allowed_signers(commit: &CommitObject, allowed: &AllowedSigners) -> Result<Signer, Finding> {
    let signature = commit.verify_ssh_by(&Crypto::default(), allowed)?;
    let asked = Asked { commit, allowed, signature: &signature };
    let at = committer_time(commit)?;
    let (line, principal) = match signature.certificate() {
        None => asked.by_key(at)?,
        Some(certificate) => asked.by_certificate(certificate, at)?,
    };
    let key = signature.key().fingerprint();
    if !line.allows_namespace(NAMESPACE_GIT) {
        let found = format!("{key} of {principal} is not listed for commits");
        let fix = "add git to the namespaces of the line, if the key may sign commits".to_owned();
        return Err(refuse(commit, TrustCode::W207, found, "a line whose namespaces match \"git\"", fix));
    }
    if let Some(Unproven { found, needed, fix }) = UserCheck::default().unproven(signature.assertion()) {
        let found = format!("signed with key {key} of {principal} {found}");
        return Err(refuse(commit, TrustCode::W207, found, needed, fix.to_owned()));
    }
    let ca = signature.certificate().map(|certificate| Box::new(certificate.authority().fingerprint()));
    let key = KeyFingerprint::Ssh(key);
    Ok(Signer { principal: principal.to_owned(), format: SignatureFormat::Ssh, key, ca, identity: None })
}

struct Asked<'a> {
    commit: &'a CommitObject,
    allowed: &'a AllowedSigners,
    signature: &'a SshSignature,
}

impl<'a> Asked<'a> {
    /// The line that decides. As with Git it is the first in force at that time, also if a later one would allow more.
    fn by_key(&self, at: Timestamp) -> Result<(&'a AllowedLine, &'a str), Finding> {
        let key = self.signature.key();
        let fingerprint = key.fingerprint();
        let Some(first) = self.allowed.lines_of(key).next() else {
            let needed = "a key that the allowed-signers file lists";
            let fix = format!(
                "if NAME holds the key, add the line: NAME namespaces=\"git\" {key}; else have it signed with a listed key"
            );
            return Err(refuse(self.commit, TrustCode::W202, format!("signed by {fingerprint}"), needed, fix));
        };
        let Some(line) = self.allowed.lines_of(key).find(|line| line.allows_time(at)) else {
            let found = format!("{fingerprint} of {} is valid {}", first.principal, window(first));
            return Err(refuse(
                self.commit,
                TrustCode::W204,
                found,
                &format!("a key valid at {at}"),
                resign(self.commit),
            ));
        };
        Ok((line, &line.principal))
    }

    /// The same for a certificate: the line of its authority, and the principal that both name.
    fn by_certificate(
        &self,
        certificate: &'a Certificate,
        at: Timestamp,
    ) -> Result<(&'a AllowedLine, &'a str), Finding> {
        let ca = certificate.authority();
        let what = format!("signed by {}, certified by {}", certificate.key().fingerprint(), ca.fingerprint());
        let lines = || self.allowed.lines_of_authority(certificate);
        let Some((first, _principal)) = lines().next() else {
            let needed = "an authority that the allowed-signers file lists";
            let fix = format!(
                "if certificates of this authority are to count for NAMES, add the line: NAMES cert-authority,namespaces=\"git\" {ca}; else have it signed with a listed key"
            );
            return Err(refuse(self.commit, TrustCode::W202, what, needed, fix));
        };
        if !lines().any(|(_line, principal)| principal.is_some()) {
            let found = format!("{what} for {}", certificate.principals().join(", "));
            let needed = "a certificate for principals that the line of its authority names";
            let fix = "have the authority name one of them, or the line name one of these".to_owned();
            return Err(refuse(self.commit, TrustCode::W207, found, needed, fix));
        }
        if !certificate.is_valid_at(at) {
            let found = format!("{what}, valid {}", certificate.window());
            return Err(refuse(
                self.commit,
                TrustCode::W204,
                found,
                &format!("a certificate valid at {at}"),
                resign(self.commit),
            ));
        }
        let in_force = |(line, principal): (&'a AllowedLine, Option<&'a str>)| {
            principal.filter(|_name| line.allows_time(at)).map(|name| (line, name))
        };
        lines().find_map(in_force).ok_or_else(|| {
            let found = format!("{what}, whose line is valid {}", window(first));
            refuse(self.commit, TrustCode::W204, found, &format!("an authority valid at {at}"), resign(self.commit))
        })
    }
}

fn window(line: &AllowedLine) -> String {
    match (line.valid_after, line.valid_before) {
        (Some(after), Some(before)) => format!("from {after} to {before}"),
        (Some(after), None) => format!("from {after}"),
        (None, Some(before)) => format!("until {before}"),
        (None, None) => "always".to_owned(),
    }
}
