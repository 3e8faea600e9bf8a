//! Which signatures were verified before, so that a range that is judged again costs none.
//!
//! What is remembered is the answer of the maths, and only a good one: these bytes are a signature of this key over that
//! message under the settings of that trust file, or of that account by that trust root of keyless ones. Whose key it is, whether it is in its time (that of its OpenPGP
//! certificate, too) and whether it is revoked is judged each time anew, so what is remembered makes nothing good that a
//! fresh verification would refuse.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use manifest::{Digest, Finding};

use crate::{
    ArmorFormat, Bundled, CommitObject, Crypto, KeyFingerprint, KeylessError, KeylessSignature, KeylessVerifier,
    NAMESPACE_GIT, SshSignature, SshsigError, TrustFile,
    instants::Instants,
    keyless::{verify_bundle, verify_cms},
    openpgp::{Certificate, Claim, OpenPgpError, OpenPgpSignature, OpenPgpVerifier, Signature},
    signed_by::SignedBy,
    still_holds::{Looked, Made},
    verify_sshsig,
};

/// Counts up whenever verification accepts less than before: what an older verifier found good is verified anew, and what
/// was accepted is judged anew (see [`trust_digest`](crate::trust_digest)).
pub const VERIFIER_VERSION: u32 = 4;

/// How many signatures a generation has; two are kept, so a range of 10,000 commits is remembered whole. At 90 bytes each
/// (a digest and a pointer in a table that may be half empty) both are 2.3 MB; of security keys, whose counter makes every
/// signature one of a kind, up to 600 bytes each, 15 MB. Those of OpenPGP, 110 bytes with their digests in such a table,
/// are 6 MB beside them, and keyless ones, with an account and its issuer each (200 bytes), 8 MB.
const GENERATION: usize = 12_500;
/// How many different answers (keys, mostly) are looked through for an equal one: what a team signs with.
const SHARED: usize = 32;
/// For how many commits that Syncs are held to it is remembered what was found: of a source few are rolled back at once.
const HELD: usize = 16;

/// OpenPGP knows no namespaces; none of SSH is this one.
const OPENPGP: &str = "OpenPGP";
/// The same for keyless signatures, and for bundles over messages and statements.
const KEYLESS: &str = "keyless";
const BUNDLE: &str = "keyless bundle";
const STATEMENT: &str = "keyless statement";

/// Remembers which signatures were verified, and how far a mainline was looked through for what is revoked. One for each
/// TrustRoot, for as long as the process runs.
#[derive(Default)]
pub struct SignatureCache {
    kept: Mutex<Kept>,
    verified: AtomicU64,
    looked: Mutex<Option<LookedUnder>>,
    line: Mutex<Option<Lined>>,
    held: Mutex<VecDeque<(Digest, Arc<Looked>)>>,
}

/// The accepted steps from the introduction, and the digest of what they were judged by. With who signed it a step has 320
/// bytes: 10,000 are 3 MB, and the most that are judged at once (200,000) 64 MB; they are kept only where something is revoked.
struct Lined {
    under: Digest,
    steps: Arc<[Arc<Made>]>,
}

/// What was found under the trust of this digest from the introduction on.
struct LookedUnder {
    trust: Digest,
    looked: Arc<Looked>,
}

#[derive(Default)]
struct Kept {
    ssh: Generations<Arc<SshSignature>>,
    openpgp: Generations<Claim>,
    keyless: Generations<Arc<KeylessSignature>>,
    /// The answers of SSH met last; most commits are signed by few keys.
    shared: Vec<Arc<SshSignature>>,
}

/// In order of age: what is in neither is verified again. Nothing moves up, so that a range that fits is found whole, in
/// whatever order it is gone through.
struct Generations<A> {
    young: HashMap<Digest, A>,
    old: HashMap<Digest, A>,
}

/// What a caller brings along for verifying signatures.
#[derive(Debug, Clone, Copy, Default)]
pub struct Verifiers<'a> {
    /// Which signatures were verified before.
    pub known: Option<&'a SignatureCache>,
    /// Verifies keyless signatures; without it none of them counts.
    pub keyless: Option<&'a dyn KeylessVerifier>,
}

/// Verifies signatures, or knows that they were verified, and has keyless ones verified.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Verifier<'a> {
    cache: Option<&'a SignatureCache>,
    keyless: Option<&'a dyn KeylessVerifier>,
}

impl<'a> From<Option<&'a SignatureCache>> for Verifiers<'a> {
    fn from(known: Option<&'a SignatureCache>) -> Self {
        Self { known, keyless: None }
    }
}

impl SignatureCache {
    /// How many signatures were verified because they were not known, good ones and others.
    #[must_use]
    pub fn verified(&self) -> u64 {
        self.verified.load(Ordering::Relaxed)
    }

    /// What was found before under the same trust.
    pub(crate) fn looked(&self, trust: &Digest) -> Option<Arc<Looked>> {
        let known = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().filter(|one| one.trust == *trust).map(|one| Arc::clone(&one.looked))
    }

    /// Takes what was found for the last time: what a branch needs that goes on.
    pub(crate) fn keep_looked(&self, trust: Digest, looked: Arc<Looked>) {
        if looked.is_whole() {
            let mut known = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
            *known = Some(LookedUnder { trust, looked });
        }
    }

    /// What was found up to a commit that is held, if the same was asked.
    pub(crate) fn held(&self, asked: &Digest) -> Option<Arc<Looked>> {
        let known = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|(known, _)| known == asked).map(|(_, looked)| Arc::clone(looked))
    }

    /// Takes what was found up to a commit that is held; the oldest gives way.
    pub(crate) fn keep_held(&self, asked: Digest, looked: Arc<Looked>) {
        if looked.is_whole() {
            let mut known = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            known.retain(|(known, _)| *known != asked);
            known.push_back((asked, looked));
            if known.len() > HELD {
                known.pop_front();
            }
        }
    }

    /// The accepted steps that are known, if they were judged by the same.
    pub(crate) fn line(&self, under: &Digest) -> Option<Arc<[Arc<Made>]>> {
        let known = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().filter(|one| one.under == *under).map(|one| Arc::clone(&one.steps))
    }

    /// Takes the accepted steps that were found last.
    pub(crate) fn keep_line(&self, under: Digest, steps: Arc<[Arc<Made>]>) {
        let mut known = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some(Lined { under, steps });
    }

    /// The answer of SSH that is known for this question, or the one that `verify` gives.
    fn ssh<E>(&self, question: Digest, verify: impl FnOnce() -> Result<SshSignature, E>) -> Result<SshSignature, E> {
        if let Some(known) = self.with(|kept| kept.ssh.get(&question)) {
            return Ok(SshSignature::clone(&known));
        }
        self.verified.fetch_add(1, Ordering::Relaxed);
        let verified = verify()?;
        self.with(|kept| kept.keep(question, verified.clone(), GENERATION));
        Ok(verified)
    }

    /// The verdict of certificates on a signature over `message`. Its maths is done if the answer to `question` is not
    /// known; all else is judged in any case.
    fn openpgp<'c>(
        &self,
        question: Digest,
        armoured: &[u8],
        message: &[u8],
        certificates: impl IntoIterator<Item = &'c Certificate>,
        crypto: &Crypto,
        at: &Instants,
    ) -> Result<OpenPgpSignature, OpenPgpError> {
        if let Some(known) = self.with(|kept| kept.openpgp.get(&question)) {
            return known.known_to_fit(certificates, crypto, at);
        }
        self.verified.fetch_add(1, Ordering::Relaxed);
        let (verdict, fits) = Signature::parse(armoured)?.verify_to_remember(certificates, message, crypto, at);
        if let Some(claim) = fits {
            self.with(|kept| kept.openpgp.keep(question, claim, GENERATION));
        }
        verdict
    }

    /// The answer that is known for this question about a keyless signature, or the one that `verify` gives.
    fn keyless<E>(
        &self,
        question: Digest,
        verify: impl FnOnce() -> Result<KeylessSignature, E>,
    ) -> Result<KeylessSignature, E> {
        if let Some(known) = self.with(|kept| kept.keyless.get(&question)) {
            return Ok(KeylessSignature::clone(&known));
        }
        self.verified.fetch_add(1, Ordering::Relaxed);
        let verified = verify()?;
        self.with(|kept| kept.keyless.keep(question, Arc::new(verified.clone()), GENERATION));
        Ok(verified)
    }

    /// The lock is held for a look-up or an insertion, never while something is verified. Whoever panicked there has left a
    /// table of good answers behind.
    fn with<T>(&self, ask: impl FnOnce(&mut Kept) -> T) -> T {
        ask(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for SignatureCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignatureCache").field("verified", &self.verified()).finish_non_exhaustive()
    }
}

impl<A: Clone> Generations<A> {
    fn get(&self, question: &Digest) -> Option<A> {
        self.young.get(question).or_else(|| self.old.get(question)).cloned()
    }

    fn keep(&mut self, question: Digest, answer: A, generation: usize) {
        if self.young.len() >= generation {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(question, answer);
    }
}

impl<A> Default for Generations<A> {
    fn default() -> Self {
        Self { young: HashMap::new(), old: HashMap::new() }
    }
}

impl Kept {
    fn keep(&mut self, question: Digest, answer: SshSignature, generation: usize) {
        let shared = self.shared.iter().find(|known| ***known == answer).cloned();
        let shared = shared.unwrap_or_else(|| {
            if self.shared.len() >= SHARED {
                self.shared.remove(0);
            }
            let answer = Arc::new(answer);
            self.shared.push(Arc::clone(&answer));
            answer
        });
        self.ssh.keep(question, shared, generation);
    }
}

impl<'a> Verifier<'a> {
    pub(crate) const fn new(with: Verifiers<'a>) -> Self {
        Self { cache: with.known, keyless: with.keyless }
    }

    /// What it was made of.
    pub(crate) const fn parts(self) -> Verifiers<'a> {
        Verifiers { known: self.cache, keyless: self.keyless }
    }

    /// Verifies the signature of a commit as a keyless one.
    pub(crate) fn keyless(self, object: &CommitObject) -> Result<KeylessSignature, Finding> {
        let verify = || object.verify_keyless(self.keyless);
        let (Some(cache), Some(basis), Some(armoured)) = (self.cache, self.basis(), &object.signature) else {
            return verify();
        };
        let basis = Digest::from_bytes(basis);
        cache.keyless(question(object.id.as_bytes(), KEYLESS, object.payload_sha256, armoured, basis), verify)
    }

    /// Verifies a CMS signature over another message than a commit.
    pub(crate) fn cms(self, armoured: &[u8], message: &[u8]) -> Result<KeylessSignature, KeylessError> {
        let verify = || verify_cms(armoured, message, self.keyless);
        let (Some(cache), Some(basis)) = (self.cache, self.basis()) else { return verify() };
        cache.keyless(question(&[], KEYLESS, Digest::of(message), armoured, Digest::from_bytes(basis)), verify)
    }

    /// Verifies a Sigstore bundle.
    pub(crate) fn bundle(self, bundle: &[u8], about: Bundled<'_>) -> Result<KeylessSignature, KeylessError> {
        let verify = || verify_bundle(bundle, about, self.keyless);
        let (Some(cache), Some(basis)) = (self.cache, self.basis()) else { return verify() };
        let (kind, message) = match about {
            Bundled::Message(message) => (BUNDLE, message),
            Bundled::Statement(payload) => (STATEMENT, payload),
        };
        cache.keyless(question(&[], kind, Digest::of(message), bundle, Digest::from_bytes(basis)), verify)
    }

    /// What keyless signatures are verified by, for [`trust_digest`](crate::trust_digest).
    pub(crate) fn basis(self) -> Option<[u8; 32]> {
        self.keyless.map(KeylessVerifier::basis)
    }

    /// What made the signature of a commit by its own account, whether or not it fits: for commits that were verified
    /// before. A keyless one names an account.
    pub(crate) fn signed_by(self, object: &CommitObject) -> SignedBy {
        if object.signature_format() != Some(ArmorFormat::X509) {
            return SignedBy::of_commit(object);
        }
        let account = object.claimed_identity(self.keyless);
        let keys: Vec<_> = account.map(|account| KeyFingerprint::Keyless(account.fingerprint())).into_iter().collect();
        SignedBy { is_unknown_account: keys.is_empty(), keys, certificate: None }
    }

    /// Verifies the signature of a commit under the settings of a trust file.
    pub(crate) fn commit(self, object: &CommitObject, policy: &TrustFile) -> Result<SshSignature, Finding> {
        let verify = || object.verify_ssh_by(&policy.crypto, policy);
        let (Some(cache), Some(armoured)) = (self.cache, &object.signature) else { return verify() };
        let question = question(object.id.as_bytes(), NAMESPACE_GIT, object.payload_sha256, armoured, policy.digest());
        cache.ssh(question, verify)
    }

    /// What verifies the OpenPGP signature of a commit by the certificates of a trust file.
    pub(crate) const fn openpgp_of_commit(self, object: &'a CommitObject, policy: &'a TrustFile) -> ByCertificates<'a> {
        ByCertificates { verifier: self, policy, commit: Some(object) }
    }

    /// What verifies an OpenPGP signature over another message.
    pub(crate) const fn openpgp_of_message(self, policy: &'a TrustFile) -> ByCertificates<'a> {
        ByCertificates { verifier: self, policy, commit: None }
    }

    /// Verifies a signature over another message. `settings` is the digest of what `crypto` comes from.
    pub(crate) fn message(
        self,
        armoured: &[u8],
        message: &[u8],
        namespace: &str,
        crypto: &Crypto,
        settings: Digest,
    ) -> Result<SshSignature, SshsigError> {
        let verify = || verify_sshsig(armoured, message, namespace, crypto);
        let Some(cache) = self.cache else { return verify() };
        cache.ssh(question(&[], namespace, Digest::of(message), armoured, settings), verify)
    }
}

/// The certificates of a trust file, under its settings.
#[derive(Clone, Copy)]
pub(crate) struct ByCertificates<'a> {
    verifier: Verifier<'a>,
    policy: &'a TrustFile,
    commit: Option<&'a CommitObject>,
}

impl OpenPgpVerifier for ByCertificates<'_> {
    fn verify_openpgp(
        &self,
        armored: &[u8],
        message: &[u8],
        crypto: &Crypto,
        at: &Instants,
    ) -> Result<OpenPgpSignature, OpenPgpError> {
        let policy = self.policy;
        // The digest of the trust file stands for its settings, and for no others.
        let Some(cache) = self.verifier.cache.filter(|_cache| *crypto == policy.crypto) else {
            return policy.verify_openpgp(armored, message, crypto, at);
        };
        let commit = self.commit.map_or(&[][..], |object| object.id.as_bytes());
        let question = question(commit, OPENPGP, Digest::of(message), armored, policy.digest());
        cache.openpgp(question, armored, message, policy.certificates(), crypto, at)
    }
}

/// All that the answer depends on, and more: the id of the commit, and every byte of the trust file, or what keyless
/// signatures are verified by.
fn question(commit: &[u8], namespace: &str, message_sha256: Digest, armoured: &[u8], settings: Digest) -> Digest {
    Digest::of_parts([
        b"writ.dev/verified-signature/v1".as_slice(),
        &VERIFIER_VERSION.to_be_bytes(),
        commit,
        namespace.as_bytes(),
        message_sha256.as_bytes(),
        armoured,
        settings.as_bytes(),
    ])
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
    use sha2::{Digest as _, Sha512};

    use super::*;
    use crate::armor::armor;

    fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
        out.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_be_bytes());
        out.extend_from_slice(bytes);
    }

    /// What `ssh-keygen -Y sign -n test` writes.
    fn signed(seed: u8, message: &[u8]) -> String {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let (mut key, mut bytes, mut signature) = (Vec::new(), b"SSHSIG".to_vec(), Vec::new());
        put_string(&mut key, b"ssh-ed25519");
        put_string(&mut key, pair.public_key().as_ref());
        for part in [b"test".as_slice(), b"", b"sha512", &Sha512::digest(message)] {
            put_string(&mut bytes, part);
        }
        put_string(&mut signature, b"ssh-ed25519");
        put_string(&mut signature, pair.sign(&bytes).as_ref());
        let mut blob = b"SSHSIG\x00\x00\x00\x01".to_vec();
        for part in [key.as_slice(), b"test", b"", b"sha512", &signature] {
            put_string(&mut blob, part);
        }
        armor(&blob)
    }

    fn ask(cache: &SignatureCache, armoured: &str, message: &[u8], settings: u8) -> bool {
        let settings = Digest::from_bytes([settings; 32]);
        Verifier::new(Some(cache).into())
            .message(armoured.as_bytes(), message, "test", &Crypto::default(), settings)
            .is_ok()
    }

    #[test]
    fn only_the_same_question_is_answered_from_memory() {
        let cache = SignatureCache::default();
        let (good, other) = (signed(1, b"message"), signed(2, b"message"));
        for (armoured, message, settings, accepted, verified) in [
            (&good, b"message", 1, true, 1),
            (&good, b"message", 1, true, 1),
            // Another trust file, another signature, another message: each is verified.
            (&good, b"message", 2, true, 2),
            (&other, b"message", 1, true, 3),
            (&good, b"massage", 1, false, 4),
            // What was refused is not remembered.
            (&good, b"massage", 1, false, 5),
            (&good, b"message", 1, true, 5),
        ] {
            assert_eq!(ask(&cache, armoured, message, settings), accepted);
            assert_eq!(cache.verified(), verified);
        }
    }

    #[test]
    fn another_commit_is_another_question() {
        let settings = Digest::from_bytes([1; 32]);
        let ask = |commit: &[u8], armoured: &[u8]| question(commit, "git", settings, armoured, settings);
        assert_eq!(ask(&[1; 20], b"signature"), ask(&[1; 20], b"signature"));
        assert_ne!(ask(&[1; 20], b"signature"), ask(&[2; 20], b"signature"));
        assert_ne!(ask(&[1; 20], b"signature"), ask(&[1; 20], b"another"));
    }

    #[test]
    fn the_oldest_are_forgotten_and_equal_answers_are_one() {
        let mut kept = Kept::default();
        let answer = |seed: u8| {
            verify_sshsig(signed(seed, b"message").as_bytes(), b"message", "test", &Crypto::default()).unwrap()
        };
        let (one, two) = (answer(1), answer(2));
        let id = |number: u8| Digest::from_bytes([number; 32]);
        for number in 0..6 {
            kept.keep(id(number), if number % 2 == 0 { one.clone() } else { two.clone() }, 2);
        }
        let known: Vec<u8> = (0..6).filter(|number| kept.ssh.get(&id(*number)).is_some()).collect();
        assert_eq!(known, [2, 3, 4, 5]);
        assert_eq!(kept.ssh.get(&id(3)).as_deref(), Some(&two));
        assert!(Arc::ptr_eq(&kept.ssh.get(&id(2)).unwrap(), &kept.ssh.get(&id(4)).unwrap()));
        for seed in 3..=u8::try_from(SHARED + 5).unwrap() {
            kept.keep(id(seed), answer(seed), 2);
        }
        assert_eq!((kept.shared.len(), kept.ssh.young.len().max(kept.ssh.old.len())), (SHARED, 2));
    }
}
