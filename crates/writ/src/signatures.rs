//! `writ verify --signatures-only`: signatures alone, on any repository.

use std::collections::HashSet;

use anyhow::Context as _;
use manifest::Digest;
use trust::{
    AllowedSigners, CommitId, CommitObject, History as _, KnownSigners, MAX_ALLOWED_SIGNERS_BYTES, StepVerdict,
    openpgp::{Keyring, MAX_KEYRING_BYTES},
};

use crate::{
    cli::VerifyArgs,
    exit::Outcome,
    input,
    verify::{Verification, open},
};

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
        known.allowed_signers =
            Some(AllowedSigners::parse(&text).with_context(|| format!("cannot use {}", file.display()))?);
    }
    if let Some(file) = &args.openpgp_certs {
        let bytes = input::bytes(file, MAX_KEYRING_BYTES)?;
        known.certificates = Some(Keyring::parse(&bytes).with_context(|| format!("cannot use {}", file.display()))?);
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
        Ok(object) => (object.payload_sha256, trust::verify_signature_only(&object, signers)),
    };
    let (verdict, signer) = match result {
        Ok(signer) => (Ok(()), Some(signer)),
        Err(finding) => (Err(finding), None),
    };
    Ok(StepVerdict { commit, payload_sha256, verdict, signer })
}
