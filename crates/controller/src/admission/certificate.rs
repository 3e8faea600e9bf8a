//! The certificate that the API server sees: an authority and a leaf, made at each start and anew each month, in memory alone.
//!
//! Before another leaf is shown its authority is written into the configurations beside the old one, and the old one goes
//! later: an API server that has not read the newest configuration yet trusts us all the same.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp, ToSpan as _, tz::TimeZone};
use manifest::Digest;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use tokio_rustls::rustls::{
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::CertifiedKey,
};

/// From when on another one is made.
const ROTATED_AFTER: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How long it is valid: long enough that an API server which is away for a month past the rotation still finds it good.
const VALID_DAYS: i64 = 90;
/// Clocks differ; and certificates begin at midnight here.
const BACKDATED_DAYS: i64 = 2;
/// How long every API server has to read a configuration anew. They watch it: seconds, minutes when one is ill.
const SPREAD: SignedDuration = SignedDuration::from_mins(10);

/// There is no certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    /// It cannot be made.
    #[error("cannot make the certificate")]
    Make(#[from] rcgen::Error),
    /// Its key cannot be used.
    #[error("cannot use the certificate's key")]
    Use(#[from] tokio_rustls::rustls::Error),
    /// The clock gives no date that a certificate can have.
    #[error("no certificate can be valid now")]
    Clock(#[from] jiff::Error),
}

/// An authority, and what it signed.
struct Issued {
    authority: String,
    shown: Arc<CertifiedKey>,
    /// Digest of the key, with another purpose before it.
    digest: Digest,
    made: Timestamp,
}

/// What is shown, and what stands in the configurations.
pub(super) struct Certificates {
    names: Vec<String>,
    token: Digest,
    current: Issued,
    /// Shown once its authority is known everywhere; when it was written first.
    next: Option<(Issued, Option<Timestamp>)>,
    /// The authority before, and when the leaf of the current one was shown first.
    before: Option<(String, Timestamp)>,
}

impl Certificates {
    /// The first.
    ///
    /// # Errors
    /// When none can be made.
    pub(super) fn begin(names: &[String], now: Timestamp) -> Result<Self, CertificateError> {
        let current = issue(names, now)?;
        Ok(Self { names: names.to_vec(), token: current.digest, current, next: None, before: None })
    }

    /// What nobody knows who does not know the key of the first: for the path.
    pub(super) fn token(&self) -> String {
        self.token.to_string()
    }

    /// What is shown now.
    pub(super) fn serving(&self) -> Arc<CertifiedKey> {
        self.current.shown.clone()
    }

    /// The authorities that are to be trusted, PEM.
    pub(super) fn bundle(&self) -> String {
        let next = self.next.as_ref().map(|(next, _)| next.authority.as_str());
        let before = self.before.as_ref().map(|(before, _)| before.as_str());
        [Some(self.current.authority.as_str()), next, before].into_iter().flatten().collect()
    }

    /// The bundle stands in all configurations that are there.
    pub(super) fn written(&mut self, now: Timestamp) {
        if let Some((_, written @ None)) = &mut self.next {
            *written = Some(now);
        }
    }

    /// Does what is due; whether another one is shown from now on.
    ///
    /// # Errors
    /// When none can be made: what is shown stays.
    pub(super) fn turn(&mut self, now: Timestamp) -> Result<bool, CertificateError> {
        if self.before.as_ref().is_some_and(|(_, since)| is_over(*since, SPREAD, now)) {
            self.before = None;
        }
        match self.next.take() {
            Some((next, Some(written))) if is_over(written, SPREAD, now) => {
                let old = std::mem::replace(&mut self.current, next);
                self.before = Some((old.authority, now));
                Ok(true)
            }
            Some(next) => {
                self.next = Some(next);
                Ok(false)
            }
            None => {
                if is_over(self.current.made, ROTATED_AFTER, now) {
                    self.next = Some((issue(&self.names, now)?, None));
                }
                Ok(false)
            }
        }
    }
}

/// Also when the clock went back by so much: what was made then may not be valid yet.
fn is_over(since: Timestamp, period: SignedDuration, now: Timestamp) -> bool {
    now.duration_since(since).abs() >= period
}

fn issue(names: &[String], now: Timestamp) -> Result<Issued, CertificateError> {
    let key = KeyPair::generate()?;
    let mut authority = CertificateParams::default();
    authority.distinguished_name = named("writ-admission-ca");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    within(&mut authority, now)?;
    let root = authority.self_signed(&key)?;
    let issuer = Issuer::new(authority, key);
    let mut leaf = CertificateParams::new(names.to_vec())?;
    leaf.distinguished_name = named("writ-admission");
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.use_authority_key_identifier_extension = true;
    within(&mut leaf, now)?;
    let key = KeyPair::generate()?;
    let certificate = leaf.signed_by(&key, &issuer)?;
    let der = key.serialize_der();
    let digest = Digest::of_parts([b"writ.dev/admission-path/v1".as_slice(), &der]);
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der));
    let key = aws_lc_rs::default_provider().key_provider.load_private_key(private)?;
    let shown = CertifiedKey::new(vec![certificate.der().clone()], key);
    Ok(Issued { authority: root.pem(), shown: Arc::new(shown), digest, made: now })
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn within(params: &mut CertificateParams, now: Timestamp) -> Result<(), CertificateError> {
    let today = now.to_zoned(TimeZone::UTC).date();
    let at = |date: jiff::civil::Date| {
        let part = |value: i8| u8::try_from(value).unwrap_or(1);
        rcgen::date_time_ymd(i32::from(date.year()), part(date.month()), part(date.day()))
    };
    params.not_before = at(today.checked_sub(BACKDATED_DAYS.days())?);
    params.not_after = at(today.checked_add(VALID_DAYS.days())?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(bundle: &str) -> usize {
        bundle.matches("BEGIN CERTIFICATE").count()
    }

    #[test]
    fn another_leaf_is_shown_after_its_authority_is_known_and_the_old_one_goes_later() {
        let begin: Timestamp = "2026-11-28T12:00:00Z".parse().unwrap();
        let hours = |hours: i64| begin + SignedDuration::from_hours(hours);
        let mut certificates = Certificates::begin(&["localhost".to_owned()], begin).unwrap();
        let (first, old) = (certificates.serving(), certificates.bundle());
        assert_eq!(count(&old), 1);
        assert!(!certificates.turn(hours(24)).unwrap());
        assert_eq!(certificates.bundle(), old);
        let day = |day: i64| hours(day * 24);
        assert!(!certificates.turn(day(30)).unwrap());
        assert_eq!((count(&certificates.bundle()), certificates.bundle().starts_with(&old)), (2, true));
        // However long it takes to write it: nothing else is shown before that.
        assert!(!certificates.turn(day(40)).unwrap());
        certificates.written(day(40));
        assert!(!certificates.turn(day(40) + SignedDuration::from_mins(9)).unwrap());
        certificates.written(day(40) + SignedDuration::from_mins(9));
        assert!(Arc::ptr_eq(&first, &certificates.serving()));
        let shown = day(40) + SPREAD;
        assert!(certificates.turn(shown).unwrap());
        assert!(!Arc::ptr_eq(&first, &certificates.serving()));
        assert_eq!((count(&certificates.bundle()), certificates.bundle().ends_with(&old)), (2, true));
        assert!(!certificates.turn(shown + SPREAD).unwrap());
        assert_eq!((count(&certificates.bundle()), certificates.bundle().contains(&old)), (1, false));
    }

    #[test]
    fn a_clock_that_goes_far_back_makes_another_one() {
        let begin: Timestamp = "2026-11-28T12:00:00Z".parse().unwrap();
        let mut certificates = Certificates::begin(&["localhost".to_owned()], begin).unwrap();
        certificates.turn(begin - ROTATED_AFTER).unwrap();
        assert_eq!(count(&certificates.bundle()), 2);
    }

    #[test]
    fn each_start_has_a_token_of_its_own() {
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * 365 * 50);
        let token = || Certificates::begin(&["localhost".to_owned()], now).unwrap().token();
        assert_eq!(token().len(), 64);
        assert_ne!(token(), token());
    }
}
