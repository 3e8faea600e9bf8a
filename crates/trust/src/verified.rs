//! Commits that carry their proof: signature checked, then authorised.

use jiff::Timestamp;
use manifest::{Digest, Finding};

use crate::{
    CommitId, CommitObject, KeyFingerprint, Signer, TreeId, TrustCode, TrustFile, TrustRootSpec, VERIFIER_VERSION,
    instants::Instants, refusal::refuse, signature_cache::Verifier, step::Step, verified_signature::Signed,
};

/// A commit whose signature was checked: by a key that a trust file names, in force, not revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedCommit {
    id: CommitId,
    tree: TreeId,
    payload_sha256: Digest,
    signer: Signer,
}

/// A commit that was verified and whose every change was authorised by the policy before it.
///
/// It has two constructors: `authorize`, after the judgement of its step, and [`resume`](Self::resume), from an entry
/// that is proven to be in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizedCommit {
    pub(crate) id: CommitId,
    pub(crate) tree: TreeId,
    pub(crate) payload_sha256: Digest,
    pub(crate) trust_digest: Digest,
    pub(crate) policy_version: u64,
    /// The latest committer time of the accepted commits up to it; `None` if it was resumed from an entry that does not say.
    pub(crate) latest: Option<Timestamp>,
    /// Boxed, so that what names a commit does not grow by all of it.
    pub(crate) signer: Option<Box<Signer>>,
}

/// On what grounds a verified commit is authorised.
pub(crate) enum Grounds<'a> {
    /// The TrustRoot pins it; `policy` is the file in its tree, already vouched for by the root keys.
    Introduction,
    /// Its step from its predecessor.
    Step(&'a Step<'a>),
}

impl VerifiedCommit {
    /// Checks the signature of a commit against the keys of a trust file.
    ///
    /// # Errors
    /// W209 signed for both object formats where that is not allowed, W301 unsigned, or as `TrustFile::signer` says.
    pub(crate) fn verify(
        object: &CommitObject,
        policy: &TrustFile,
        instants: &Instants,
        verifier: Verifier<'_>,
    ) -> Result<Self, Finding> {
        if object.dual_signed && !policy.history.dual_signed {
            return Err(dual_signed(object));
        }
        let signed = policy.signer(Signed::Commit(object), instants, verifier);
        let (signer, _signature) = signed.map_err(|uncounted| uncounted.of_commit(object))?;
        Ok(Self { id: object.id, tree: object.tree, payload_sha256: object.payload_sha256, signer })
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> CommitId {
        self.id
    }

    /// SHA-256 of what was signed.
    #[must_use]
    pub const fn payload_sha256(&self) -> Digest {
        self.payload_sha256
    }

    /// Who signed.
    #[must_use]
    pub const fn signer(&self) -> &Signer {
        &self.signer
    }
}

impl AuthorizedCommit {
    /// Authorises a verified commit. `policy` is the trust file that is in force *after* it, `trust_digest` what [`trust_digest`]
    /// makes of it, `latest` the latest committer time up to it.
    ///
    /// # Errors
    /// What the TrustRoot or the policy before the commit refuses: W106, W202, W3xx.
    pub(crate) fn authorize(
        verified: VerifiedCommit,
        grounds: &Grounds<'_>,
        root: &TrustRootSpec,
        policy: &TrustFile,
        trust_digest: Digest,
        latest: Timestamp,
    ) -> Result<Self, Finding> {
        match grounds {
            Grounds::Introduction => introduced(&verified, root)?,
            Grounds::Step(step) => step.judge(&verified)?,
        }
        Ok(Self {
            id: verified.id,
            tree: verified.tree,
            payload_sha256: verified.payload_sha256,
            trust_digest,
            policy_version: policy.version,
            latest: Some(latest),
            signer: Some(Box::new(verified.signer)),
        })
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> CommitId {
        self.id
    }

    /// Its tree.
    #[must_use]
    pub const fn tree(&self) -> TreeId {
        self.tree
    }

    /// SHA-256 of what was signed.
    #[must_use]
    pub const fn payload_sha256(&self) -> Digest {
        self.payload_sha256
    }

    /// Digest of what trust rests on after this commit; see [`trust_digest`].
    #[must_use]
    pub const fn trust_digest(&self) -> Digest {
        self.trust_digest
    }

    /// `version` of the trust file in its tree.
    #[must_use]
    pub const fn policy_version(&self) -> u64 {
        self.policy_version
    }

    /// Who signed; `None` if it was resumed from an entry that does not say.
    #[must_use]
    pub fn signer(&self) -> Option<&Signer> {
        self.signer.as_deref()
    }
}

/// W209: who may put a second signature beside the first gives the commit another id.
fn dual_signed(object: &CommitObject) -> Finding {
    let found = "signed for both object formats, gpgsig and gpgsig-sha256, of which one is not verified".to_owned();
    let needed = "one signature, or `history: {dualSigned: true}` in the trust file before it".to_owned();
    let fix = "in a clone without extensions.compatObjectFormat; or root principals have history.dualSigned: true put \
               into .writ/trust.yaml, in a commit of its own below this one";
    refuse(TrustCode::W209, &object.id, found, needed, fix.to_owned())
}

/// The three pins of the TrustRoot. (The root signatures over the trust file are checked where it is read.)
fn introduced(verified: &VerifiedCommit, root: &TrustRootSpec) -> Result<(), Finding> {
    let pins = &root.introduction;
    let fix = || "check introduction in the TrustRoot: writ trust root REV prints it".to_owned();
    if verified.id != pins.commit || verified.payload_sha256 != pins.payload_sha256 {
        let found = format!("its payload has sha256 {}", verified.payload_sha256);
        let needed = format!("commit {} with sha256 {}, as the TrustRoot pins", pins.commit, pins.payload_sha256);
        return Err(refuse(TrustCode::W106, &verified.id, found, needed, fix()));
    }
    if verified.signer.key != KeyFingerprint::Ssh(pins.signer) {
        let found = format!("the introduction is signed with key {}", verified.signer.key);
        return Err(refuse(
            TrustCode::W202,
            &verified.id,
            found,
            format!("key {}, as the TrustRoot pins", pins.signer),
            fix(),
        ));
    }
    Ok(())
}

/// Digest of all that a verdict rests on besides the commits: the version of the verifier, the TrustRoot (with the
/// trust root of keyless signatures that it holds or that was fetched for it), the bytes of the trust file in force, the
/// revocations in force, and where a principal has a keyless key, what keyless signatures are verified by
/// ([`KeylessVerifier::basis`](crate::KeylessVerifier::basis)). While it is the same, an accepted commit stays accepted.
#[must_use]
pub fn trust_digest(root: &TrustRootSpec, policy: &TrustFile, keyless: Option<[u8; 32]>) -> Digest {
    let revoked: Vec<String> = policy.revoked.keys().map(ToString::to_string).collect();
    let revoked = revoked.join("\n");
    let (root, file) = (root.canonical(), policy.digest());
    let verifier = VERIFIER_VERSION.to_be_bytes();
    let parts = [b"writ.dev/trust-digest/v2".as_slice(), &verifier, &root, file.as_bytes(), revoked.as_bytes()];
    let basis = keyless.filter(|_basis| policy.has_identities());
    Digest::of_parts(parts.into_iter().chain(basis.as_ref().map(<[u8; 32]>::as_slice)))
}

/// Seconds of a commit as an instant, or W406.
pub(crate) fn made_at(object: &CommitObject) -> Result<Timestamp, Finding> {
    crate::instants::committer_time(object).ok_or_else(|| {
        let found = format!("committer time {}", object.committer_time);
        refuse(TrustCode::W406, &object.id, found, "a time until the year 9999".to_owned(), "commit again".to_owned())
    })
}
