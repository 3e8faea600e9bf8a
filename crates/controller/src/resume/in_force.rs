//! What an accepted commit puts in force, read again.

use std::path::Path;

use git::{Approvals, Attested, Mirror, Objects};
use jiff::Timestamp;
use manifest::Finding;
use trust::{AuthorizedCommit, SignatureCache, TrustRootSpec, Verifiers, judge_floor};

use super::NO_ROOT;
use crate::{
    archives::{Stores, judging},
    break_glass::Overrides,
    floor::{Owner, disputed},
    source_gate::{Verified, keyless, read_verified},
};

/// A TrustRoot, and what was verified under it before: a start that has to go through the whole history, because something is
/// revoked, does that once, and the gate after it knows what was found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Under<'a> {
    /// The TrustRoot.
    pub root: &'a TrustRootSpec,
    /// Which signatures are known.
    pub signatures: &'a SignatureCache,
}

/// Reads what an accepted commit puts in force, and keeps it in the mirror. One that the mirror has lost is read from what
/// is kept apart from it.
///
/// # Errors
/// Why the mirror cannot be read.
pub(crate) fn read_floor(
    stores: Stores<'_>,
    under: Under<'_>,
    floor: &AuthorizedCommit,
    overrides: &Overrides,
    now: Timestamp,
) -> Result<Verified, Finding> {
    let Stores { mirror, archive } = stores;
    let opened = Mirror::open(mirror).map_err(|error| git::GitError::from(error).finding());
    let read = |objects: &Objects| read_from(objects, mirror, under, floor, overrides, now);
    let lost = match opened.and_then(|opened| read(opened.objects())) {
        Ok(verified) => {
            pin(mirror, floor)?;
            return Ok(verified);
        }
        Err(finding) => finding,
    };
    let kept = match archive.map(|archive| archive.open(&floor.id(), &judging())) {
        Some(Ok(kept)) => kept,
        None => return Err(lost),
        Some(Err(error)) => {
            tracing::debug!(commit = %floor.id(), "it is not kept apart from the mirror either: {error}");
            return Err(lost);
        }
    };
    tracing::warn!(commit = %floor.id(), "the mirror has lost what is verified; it is read from what is kept: {lost}");
    read(&kept).map_err(|_same| lost)
}

fn read_from(
    objects: &Objects,
    mirror: &Path,
    under: Under<'_>,
    floor: &AuthorizedCommit,
    overrides: &Overrides,
    now: Timestamp,
) -> Result<Verified, Finding> {
    let (Under { root, signatures }, waivers) = (under, overrides.waivers());
    // What was accepted may have been broken by its own revocations already.
    let approvals = Approvals::open(mirror).map_err(|error| git::GitError::from(error).finding())?;
    let history = Attested { objects, approvals: &approvals };
    let keyless = keyless(root);
    let with = Verifiers { known: Some(signatures), keyless: keyless.as_ref().map(|one| one as _) };
    let judgement = judge_floor(&history, root, floor, now, with, &waivers);
    read_verified(objects, floor, judgement.broken().cloned()).map_err(|findings| {
        let unknown = || disputed(Owner { name: "the mirror", root: NO_ROOT }, &floor.id(), &floor.id());
        findings.into_iter().next().unwrap_or_else(unknown)
    })
}

/// Keeps an accepted commit in the mirror, whatever the server does to its branch.
///
/// # Errors
/// When the mirror cannot be written.
pub(crate) fn pin(mirror: &Path, commit: &AuthorizedCommit) -> Result<(), Finding> {
    let mirror = Mirror::open(mirror).map_err(|error| git::GitError::from(error).finding())?;
    let id = commit.id();
    mirror.pin_line("verified", &id).map_err(|error| git::GitError::from(error).finding())
}
