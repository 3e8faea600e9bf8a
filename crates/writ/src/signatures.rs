//! `writ verify --signatures-only`: signatures alone, on any repository.

use std::{collections::HashSet, sync::Arc};

use anyhow::Context as _;
use jiff::tz::{Offset, TimeZone};
use manifest::{Digest, Finding, Subject};
use trust::{
    AllowedSigners, CommitId, CommitObject, History as _, HistoryError, KeylessIdentity, KnownIdentities, KnownSigners,
    MAX_ALLOWED_SIGNERS_BYTES, StepVerdict, TrustCode,
    openpgp::{Keyring, MAX_KEYRING_BYTES},
};

use crate::{
    cli::VerifyArgs,
    exit::{Outcome, UsageError},
    input,
    report::Verification,
    trusted_root::verifier,
    verify::open,
};

/// A zone of the command line: `UTC`, an offset from it, or rules as in the variable `TZ`.
pub(crate) fn zone(text: &str) -> Result<TimeZone, String> {
    let invalid =
        || format!("{text:?} is not UTC, an offset such as +02:00, or rules such as CET-1CEST,M3.5.0,M10.5.0/3");
    let hours_and_minutes = |digits: &str| {
        let (hours, minutes) = digits.split_once(':').filter(|_parts| digits.len() == 5)?;
        let (hours, minutes) = (hours.parse::<u8>().ok()?, minutes.parse::<u8>().ok()?);
        (hours <= 14 && minutes < 60).then(|| i32::from(hours) * 3_600 + i32::from(minutes) * 60)
    };
    let seconds = match (text.strip_prefix('+'), text.strip_prefix('-')) {
        (Some(east), _) => hours_and_minutes(east).ok_or_else(invalid)?,
        (_, Some(west)) => -hours_and_minutes(west).ok_or_else(invalid)?,
        _ if text == "UTC" => 0,
        _ => return TimeZone::posix(text).map_err(|_error| invalid()),
    };
    Offset::from_seconds(seconds).map(TimeZone::fixed).map_err(|_error| invalid())
}

/// Runs `writ verify --signatures-only`.
pub(crate) fn run(args: &VerifyArgs) -> anyhow::Result<Outcome> {
    let signers = known_signers(args)?;
    let repository = open(&args.repo)?;
    let head = ["HEAD".to_owned()];
    let revisions = if args.revisions.is_empty() { head.as_slice() } else { args.revisions.as_slice() };
    let mut steps = Vec::new();
    let mut judged = HashSet::new();
    for revision in revisions {
        let commits = repository.commits(revision).with_context(|| format!("{revision:?} names no commits"))?;
        for commit in commits {
            if judged.insert(commit) {
                steps.push(judge(&repository, &signers, commit)?);
            }
        }
    }
    Verification::of_signatures(&steps).print(args.output)
}

/// The lists that the arguments name.
fn known_signers(args: &VerifyArgs) -> anyhow::Result<KnownSigners> {
    let mut known = KnownSigners::default();
    if let Some(file) = &args.allowed_signers {
        let text = input::text(file, MAX_ALLOWED_SIGNERS_BYTES)?;
        known.allowed_signers = Some(
            AllowedSigners::parse_in(&text, &args.timezone)
                .with_context(|| format!("cannot use {}", file.display()))?,
        );
    }
    if let Some(file) = &args.openpgp_certs {
        let bytes = input::bytes(file, MAX_KEYRING_BYTES)?;
        known.certificates = Some(Keyring::parse(&bytes).with_context(|| format!("cannot use {}", file.display()))?);
    }
    if args.certificate_identities.len() != args.certificate_oidc_issuers.len() {
        let message = "each --certificate-identity goes with one --certificate-oidc-issuer, in the same order";
        return Err(UsageError(message.to_owned()).into());
    }
    if args.trusted_root.is_some() && args.certificate_identities.is_empty() {
        return Err(UsageError("--trusted-root goes with --certificate-identity".to_owned()).into());
    }
    if !args.certificate_identities.is_empty() {
        let both = args.certificate_oidc_issuers.iter().zip(&args.certificate_identities);
        let identity = |(issuer, identity): (&String, &String)| KeylessIdentity {
            issuer: issuer.clone(),
            identity: identity.clone(),
        };
        let identities = both.map(identity).collect();
        known.keyless =
            Some(KnownIdentities { identities, verifier: Arc::new(verifier(args.trusted_root.as_deref())?) });
    }
    Ok(known)
}

/// One commit: its form and its signature.
fn judge(repository: &git::Objects, signers: &KnownSigners, commit: CommitId) -> anyhow::Result<StepVerdict> {
    let raw = repository
        .commit(&commit)
        .with_context(|| format!("cannot read commit {commit}"))?
        .with_context(|| format!("commit {commit} is not in the repository"))?;
    let (payload_sha256, result) = match CommitObject::parse(commit, &raw) {
        Err(finding) => (Digest::of(&raw), Err(finding)),
        Ok(object) => {
            let signer = trust::verify_signature_only(&object, signers);
            let whole = |signer| match repository.check_parents(&commit, &object.parents) {
                Ok(()) => Ok(signer),
                Err(error) => Err(without_parents(commit, &error)),
            };
            (object.payload_sha256, signer.and_then(whole))
        }
    };
    let (verdict, signer) = match result {
        Ok(signer) => (Ok(()), Some(signer)),
        Err(finding) => (Err(finding), None),
    };
    Ok(StepVerdict { commit, payload_sha256, verdict, signer, skipped: Vec::new() })
}

/// A commit whose parents are not there, or are no commits: nobody who reads the history gets past it.
fn without_parents(commit: CommitId, error: &HistoryError) -> Finding {
    let fix = match error {
        HistoryError::Missing { .. } => "fetch what it builds on: git fetch --unshallow origin",
        _ => "git fsck --full # names the objects; have the commit made again on top of a commit",
    };
    Finding {
        code: TrustCode::W403.entry(),
        subject: Subject::Commit(commit.to_string()),
        rule: None,
        found: error.to_string().into(),
        needed: "parents that are commits of the repository".into(),
        fix: fix.into(),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn zones_of_the_command_line() {
        let july: Timestamp = "2026-07-01T00:00:00Z".parse().unwrap();
        let offset = |text: &str| zone(text).map(|zone| zone.to_offset(july).seconds());
        assert_eq!(offset("UTC"), Ok(0));
        assert_eq!(offset("+02:00"), Ok(7_200));
        assert_eq!(offset("-03:30"), Ok(-12_600));
        assert_eq!(offset("CET-1CEST,M3.5.0,M10.5.0/3"), Ok(7_200));
        for text in ["", "Europe/Berlin", "+2", "+02:60", "+15:00", "+-2:00", "+02:000"] {
            assert!(zone(text).is_err(), "{text}");
        }
    }
}
