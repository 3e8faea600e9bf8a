//! Who signed this commit, and were they allowed to change these paths.
//!
//! A *decide* crate: no I/O, no clock, no environment. What an object database knows is asked of the caller; the time is
//! an argument.

mod approval;
mod armor;
mod claimed_signers;
mod code;
mod commit_headers;
mod commit_id;
mod commit_object;
mod commit_signature;
mod credit;
mod declared_kinds;
mod detached;
mod envelope;
mod explain;
mod freshness;
mod git_ref;
mod glob;
mod head;
mod heartbeat;
mod history;
mod holder;
mod instants;
mod issuers;
mod judge;
mod keyless;
mod keyless_trust;
mod kinds;
mod known_keys;
mod log_proof;
mod merge_credit;
mod namespaces;
mod obeyed_order;
pub mod openpgp;
mod person;
mod ref_binding;
mod refusal;
mod repair;
mod root;
mod rules;
mod shown;
mod signature_cache;
mod signature_only;
mod signed_by;
mod signed_order;
mod signer;
mod signing_formats;
mod ssh;
mod statement;
mod step;
mod still_holds;
mod tag_object;
mod trust_file;
mod verified;
mod verified_signature;
mod watched;

pub use approval::{
    APPROVAL_TYPE, Approval, ApprovalError, Decision, FETCH_APPROVALS, MAX_SKIPPED, NAMESPACE_APPROVAL, PUSH_APPROVALS,
};
pub use armor::{ArmorError, ArmorFormat, MAX_ARMOR_BYTES, MAX_CMS_ARMOR_BYTES};
pub use code::TrustCode;
pub use commit_id::{CommitId, ObjectFormat, ObjectIdError, Sha1Collision, TagId, TreeId};
pub use commit_object::{CommitObject, MAX_COMMIT_BYTES, MAX_PARENTS, MAX_SIGNATURE_BYTES};
pub use credit::Credit;
pub use keyless::{
    BUNDLE_TYPE, Bundled, KeylessError, KeylessFingerprint, KeylessIdentity, KeylessSignature, KeylessVerifier,
    MAX_BUNDLE_BYTES, MAX_IDENTITY_BYTES, MAX_ISSUER_BYTES,
};
pub use keyless_trust::{
    KeylessRefresh, KeylessTrust, MAX_MIRROR_BYTES, MAX_MIRROR_CA_BYTES, MAX_TRUSTED_ROOT_BYTES, MAX_TUF_ROOT_BYTES,
};
pub use signature_cache::{SignatureCache, VERIFIER_VERSION, Verifiers};
pub use signature_only::{KnownIdentities, KnownSigners, verify_signature_only};
pub use signer::{KeyFingerprint, SignatureFormat, Signer};
pub use signing_formats::SigningFormats;
pub use ssh::{
    AllowedSigners, AllowedSignersError, Assertion, Certificate, CertificateError, Crypto, Fingerprint,
    FingerprintError, HashAlgorithm, KeyAlgorithm, LineError, MAX_ALLOWED_SIGNERS_BYTES, MAX_CERTIFICATE_BYTES,
    MAX_KEY_TEXT_BYTES, MAX_REVOCATIONS, MAX_REVOCATIONS_BYTES, MIN_RSA_BITS_DEFAULT, NAMESPACE_GIT, NAMESPACE_TRUST,
    PublicKey, PublicKeyError, Revocations, RevocationsError, RevokedItem, SshSignature, SshsigError, UnknownAlgorithm,
    UserCheck, UserPresence, verify_sshsig,
};

pub use declared_kinds::{MAX_SCOPE_BYTES, MAX_STEP_BYTES, MAX_STEP_OBJECTS};
pub use envelope::{
    EnvelopeError, MAX_ENVELOPE_BYTES, MAX_ENVELOPES, PAYLOAD_TYPE, bundled_statement, envelope, envelope_message,
};
pub use explain::{AlternativeReasons, PathReasons, RuleReasons, RuleUse, Standing, StepReasons, explain};
pub use freshness::{Freshness, MAX_AGE, MIN_AGE};
pub use git_ref::{MAX_REF_BYTES, check_ref, tag_name};
pub use glob::{MAX_PATTERN_BYTES, PathPattern, PatternError};
pub use head::Head;
pub use heartbeat::{HEARTBEAT_TYPE, Heard, Heartbeat, HeartbeatError, NAMESPACE_HEARTBEAT, hear};
pub use history::{BadEntry, Change, Entry, EntryMode, History, HistoryError};
pub use instants::{CLOCK_SKEW, EXPIRY_GRACE, Instants};
pub use judge::{
    BreakGlass, HeldTo, Judgement, LetThrough, MAX_STEPS, ObeyedRollback, Rollback, Start, StepVerdict, TagVerdict,
    WaivedStep, Waivers, held_to, judge, judge_break_glass, judge_floor, judge_introduction, judge_rollback,
    judge_waiving, judge_with, rollback_signers, still_waived,
};
pub use kinds::{KindPattern, KindPatternError, KindPatterns, KindVerdict};
pub use log_proof::{LogFields, LogKey, LogProof, ResumeError};
pub use namespaces::{NamespacePattern, NamespacePatternError, NamespacePatterns};
pub use obeyed_order::ObeyedOrder;
pub use ref_binding::RefBinding;
pub use root::{
    BootstrapKind, BootstrapOrder, Introduction, MAX_BOOTSTRAP, MAX_REPOSITORY_BYTES, MAX_ROOT_KEYS, RootKeys,
    TrustLimits, TrustMode, TrustOrders, TrustRootError, TrustRootSpec,
};
pub use rules::{DeclaredObject, OWN_GROUP};
pub use signed_order::{
    MAX_BREAK_GLASS_AHEAD, MAX_NONCE_BYTES, MAX_ORDER_SIGNATURES, MAX_ROLLBACK_AHEAD, NAMESPACE_BREAK_GLASS,
    NAMESPACE_ROLLBACK, OrderKind, Seen, SignedOrder,
};
pub use step::{MAX_CHANGED_PATHS, MAX_SIDE_COMMITS};
pub use tag_object::{MAX_TAG_BYTES, TagObject};
pub use trust_file::{
    Ancestry, Authority, CERTIFICATES, CertificateToImport, CertifiedName, HistoryRules, ImportTerms,
    ImportedRevocations, ImportedSigners, KeyListError, KeylessKey, MAX_CERTIFICATES_BYTES, MAX_ITEMS, MAX_PATTERNS,
    MAX_SIGNATURE_FILES, MAX_TRUST_FILE_BYTES, MergeCreditMode, NewAuthority, NewKey, NewKeyMaterial, NewPrincipal,
    NewRevocation, PinnedCertificate, Principal, PrincipalKey, PrincipalKind, Revocation, Revoked, RoleThreshold, Rule,
    TRUST_FILE, TRUST_SIGNATURES, TrustEditError, TrustEditor, TrustFile, certificate_path, key_list,
    openpgp_signature_path, signature_path,
};
pub use verified::{AuthorizedCommit, VerifiedCommit, trust_digest};
