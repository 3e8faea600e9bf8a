//! Raw commit objects, read so that each signature fits exactly one object.
//!
//! Git leaves every header whose name begins with `gpgsig` out of the signed bytes, joins several of them, and
//! tolerates blanks inside them, so that other objects can carry the same signature. Here a commit has one form, the one
//! that `git commit` writes: `tree`, `parent`…, `author`, `committer`, `encoding`?, `mergetag`…, `gpgsig`? (in SHA-256
//! repositories `gpgsig-sha256`?), a blank line, the message. Headers that other tools add (`change-id` of jj and
//! GitButler, `HG:…` of hg-git) are refused by name: Git itself never interprets them, and what is not understood is
//! not passed.

use manifest::{Digest, Finding, Subject};

use crate::{
    CommitId, KeyFingerprint, TreeId, TrustCode,
    armor::ArmorFormat,
    commit_headers::{Header, split},
    commit_signature::signatures,
    instants::Instants,
    openpgp::{OpenPgpSignature, OpenPgpVerifier, Signature},
    person,
    repair::{remake, resign, resign_openpgp, resign_openpgp_with},
    ssh::{Crypto, NAMESPACE_GIT, SshSignature, claimed_keys, verify_sshsig},
};

/// The most bytes a commit object may have. The largest of the Linux kernel, an octopus merge with its tags, is below
/// 64 KiB; 1 MiB leaves a factor of sixteen, and 10,000 commits of that size are still judged one at a time.
pub const MAX_COMMIT_BYTES: usize = 1024 * 1024;
/// The most parents a commit may have. The largest merge ever made in the Linux kernel has 66.
pub const MAX_PARENTS: usize = 128;
/// The most bytes a signature header may have: OpenPGP signatures are below 2 KiB, CMS ones with a transparency log
/// entry below 16 KiB.
pub const MAX_SIGNATURE_BYTES: usize = 64 * 1024;

/// A commit, split but not yet verified.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommitObject {
    /// Its id, recomputed from the bytes.
    pub id: CommitId,
    /// The tree it names.
    pub tree: TreeId,
    /// Its parents, the mainline first.
    pub parents: Vec<CommitId>,
    /// `name <email> seconds zone` of the author; the signer chose it, it identifies nobody.
    pub author: Vec<u8>,
    /// `name <email> seconds zone` of the committer; the signer chose it, it identifies nobody.
    pub committer: Vec<u8>,
    /// Seconds since 1970 that the committer claims; 0 to the end of the year 9999.
    pub committer_time: i64,
    /// The bytes that are signed: all but the signature headers.
    pub payload: Vec<u8>,
    /// SHA-256 of the payload. Unlike the id, it is the same for every object that carries the same signed content.
    pub payload_sha256: Digest,
    /// The armoured signature, as it was before Git indented it.
    pub signature: Option<Vec<u8>>,
    /// Whether there is a signature of the other object format beside it. It is not verified, and nothing signs it, so the same
    /// signed commit has another id without it and with another one.
    pub dual_signed: bool,
    /// The message, in whatever encoding.
    pub message: Vec<u8>,
}

/// A refusal of the object: code, what was found, what would be needed.
pub(crate) struct Refused {
    pub(crate) code: TrustCode,
    pub(crate) found: String,
    pub(crate) needed: String,
}

impl Refused {
    pub(crate) fn new(code: TrustCode, found: impl Into<String>, needed: impl Into<String>) -> Self {
        Self { code, found: found.into(), needed: needed.into() }
    }
}

impl CommitObject {
    /// Reads the raw body of commit `id` (what `git cat-file commit` prints).
    ///
    /// # Errors
    /// W101 for every other form than the one described in this module, W102 for several or look-alike signature
    /// headers, W103 for a NUL byte or a size above a limit, W106 if the bytes do not have this id.
    pub fn parse(id: CommitId, raw: &[u8]) -> Result<Self, Finding> {
        parse(id, raw).map_err(|refused| Finding {
            code: refused.code.entry(),
            subject: Subject::Commit(id.to_string()),
            rule: None,
            found: refused.found.into(),
            needed: refused.needed.into(),
            fix: remake(refused.code, &id).into(),
        })
    }

    /// The format of the signature by its first line; `None` if there is no signature.
    #[must_use]
    pub fn signature_format(&self) -> Option<ArmorFormat> {
        self.signature.as_deref().and_then(ArmorFormat::of)
    }

    /// Verifies the signature over the payload, as a signature of a commit.
    ///
    /// # Errors
    /// W301 if there is none; W201, W203, W207 or W208 as [`verify_sshsig`] says.
    pub fn verify_ssh(&self, crypto: &Crypto) -> Result<SshSignature, Finding> {
        let armored = self.signed("an SSH signature by a principal", resign)?;
        verify_sshsig(armored, &self.payload, NAMESPACE_GIT, crypto)
            .map_err(|error| error.finding(Subject::Commit(self.id.to_string()), resign(self)))
    }

    /// Verifies the signature over the payload as one of OpenPGP, as of the times of `at`. OpenPGP knows no namespaces: a
    /// signature over other bytes of the same signer fits no commit, since no other file of ours is in the form of one.
    ///
    /// # Errors
    /// W301 if there is none; W201, W202, W203, W204, W208 or W304 as [`OpenPgpError`](crate::openpgp::OpenPgpError) says.
    pub fn verify_openpgp(
        &self,
        verifier: &impl OpenPgpVerifier,
        crypto: &Crypto,
        at: &Instants,
    ) -> Result<OpenPgpSignature, Finding> {
        let armored = self.signed("an OpenPGP signature by a principal", resign_openpgp)?;
        verifier.verify_openpgp(armored, &self.payload, crypto, at).map_err(|error| {
            let fix = match error.code() {
                TrustCode::W201 | TrustCode::W301 => resign_openpgp(self),
                _ => resign_openpgp_with(self),
            };
            error.finding(Subject::Commit(self.id.to_string()), fix)
        })
    }

    /// The keys that the signature names, whether or not it fits: for commits that were verified before. Of an SSH
    /// signature the one that signed, then the one that certified it; of an OpenPGP signature the one that signed, which
    /// may be a subkey of the certificate that a trust file pins.
    pub(crate) fn claimed_keys(&self) -> Vec<KeyFingerprint> {
        let Some(armored) = self.signature.as_deref() else { return Vec::new() };
        match ArmorFormat::of(armored) {
            Some(ArmorFormat::OpenPgp) => Signature::parse(armored)
                .map(|signature| KeyFingerprint::OpenPgp(signature.issuer()))
                .into_iter()
                .collect(),
            Some(ArmorFormat::X509) => Vec::new(),
            Some(ArmorFormat::Ssh) | None => claimed_keys(armored).into_iter().map(KeyFingerprint::Ssh).collect(),
        }
    }

    fn signed(&self, needed: &str, resign: impl Fn(&Self) -> String) -> Result<&[u8], Finding> {
        self.signature.as_deref().ok_or_else(|| Finding {
            code: TrustCode::W301.entry(),
            subject: Subject::Commit(self.id.to_string()),
            rule: None,
            found: "no signature".into(),
            needed: needed.into(),
            fix: resign(self).into(),
        })
    }
}

fn parse(id: CommitId, raw: &[u8]) -> Result<CommitObject, Refused> {
    check_bytes(id, raw)?;
    let (headers, message) = split(raw)?;
    let signatures = signatures(id.format(), &headers)?;
    let dual_signed = signatures.as_ref().is_some_and(|signatures| signatures.dual);
    let mut rest = headers.as_slice();
    let tree = required(&mut rest, b"tree")?.parse().map_err(|()| bad_id("tree"))?;
    let parents = parents(&mut rest)?;
    let author = required(&mut rest, b"author")?;
    person::check(author.value).map_err(|reason| malformed(format!("author: {reason}"), PERSON))?;
    let committer = required(&mut rest, b"committer")?;
    let committer_time =
        person::check(committer.value).map_err(|reason| malformed(format!("committer: {reason}"), PERSON))?;
    optional(rest)?;
    let tree: TreeId = tree;
    if tree.format() != id.format() || parents.iter().any(|parent| parent.format() != id.format()) {
        return Err(malformed("ids of two object formats", "ids of the length that the commit's own id has"));
    }
    let mut payload = Vec::with_capacity(raw.len());
    for header in headers.iter().filter(|header| !header.is_signature()) {
        payload.extend_from_slice(header.bytes);
    }
    payload.push(b'\n');
    payload.extend_from_slice(message);
    Ok(CommitObject {
        id,
        tree,
        parents,
        author: author.value.to_vec(),
        committer: committer.value.to_vec(),
        committer_time,
        payload_sha256: Digest::of(&payload),
        payload,
        signature: signatures.map(|signatures| signatures.own),
        dual_signed,
        message: message.to_vec(),
    })
}

const PERSON: &str = "name <email> seconds ±hhmm";
const ORDER: &str = "the headers tree, parent…, author, committer, encoding?, mergetag…, gpgsig? in this order";

fn malformed(found: impl Into<String>, needed: &str) -> Refused {
    Refused::new(TrustCode::W101, found, needed)
}

fn bad_id(name: &str) -> Refused {
    malformed(format!("{name} is not an object id"), "40 or 64 lower-case hex digits")
}

/// Size, NUL, id.
fn check_bytes(id: CommitId, raw: &[u8]) -> Result<(), Refused> {
    if raw.len() > MAX_COMMIT_BYTES {
        let needed = format!("at most {MAX_COMMIT_BYTES} bytes");
        return Err(Refused::new(TrustCode::W103, format!("an object of {} bytes", raw.len()), needed));
    }
    if let Some(offset) = memchr::memchr(0, raw) {
        return Err(Refused::new(TrustCode::W103, format!("a NUL byte at offset {offset}"), "none"));
    }
    let real = CommitId::of(id.format(), raw)
        .map_err(|collision| Refused::new(TrustCode::W106, collision.to_string(), "bytes without such marks"))?;
    if real != id {
        return Err(Refused::new(TrustCode::W106, format!("its bytes hash to {real}"), "the id it is named by"));
    }
    Ok(())
}

fn required<'h, 'a>(rest: &mut &'h [Header<'a>], name: &'static [u8]) -> Result<&'h Header<'a>, Refused> {
    let (header, after) =
        rest.split_first().ok_or_else(|| malformed(format!("no header {}", name.escape_ascii()), ORDER))?;
    if header.name != name {
        let found = format!("the header {} where {} belongs", header.shown_name(), name.escape_ascii());
        return Err(malformed(found, ORDER));
    }
    if header.is_folded() {
        return Err(malformed(format!("the header {} has several lines", header.shown_name()), "one line"));
    }
    *rest = after;
    Ok(header)
}

fn parents(rest: &mut &[Header<'_>]) -> Result<Vec<CommitId>, Refused> {
    let mut parents = Vec::new();
    while rest.first().is_some_and(|header| header.name == b"parent") {
        if parents.len() == MAX_PARENTS {
            return Err(malformed(format!("more than {MAX_PARENTS} parents"), "fewer"));
        }
        parents.push(required(rest, b"parent")?.parse().map_err(|()| bad_id("parent"))?);
    }
    Ok(parents)
}

/// `encoding`?, `mergetag`…, signatures, and nothing else.
fn optional(mut rest: &[Header<'_>]) -> Result<(), Refused> {
    if rest.first().is_some_and(|header| header.name == b"encoding") {
        let header = required(&mut rest, b"encoding")?;
        if header.value.is_empty() || !header.value.iter().all(u8::is_ascii_graphic) {
            return Err(malformed("encoding is not a name", "printable ASCII without blanks"));
        }
    }
    while let Some((header, after)) = rest.split_first().filter(|(header, _)| header.name == b"mergetag") {
        if !header.value.starts_with(b"object ") {
            return Err(malformed("mergetag does not hold a tag", "a tag object"));
        }
        rest = after;
    }
    // How many there may be, and in which order, was judged before.
    while let Some((_, after)) = rest.split_first().filter(|(header, _)| header.is_signature()) {
        rest = after;
    }
    match rest.first() {
        None => Ok(()),
        Some(header) if header.is_known() => {
            Err(malformed(format!("the header {} is repeated or out of order", header.shown_name()), ORDER))
        }
        Some(header) => {
            Err(malformed(format!("the header {}, which Git itself does not write", header.shown_name()), ORDER))
        }
    }
}
