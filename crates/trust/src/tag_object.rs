//! Raw annotated tags, read so that each signature fits exactly one object.
//!
//! Git takes the last line that begins like an armour for the beginning of the signature, knows headers that begin with
//! `gpgsig`, and lets a tag name another tag. Here a tag has one form, the one that `git tag -s` writes: `object`, `type
//! commit`, `tag`, `tagger`, a blank line, the message, and one signature in canonical armour that ends the object.

use manifest::{CodeEntry, Digest, Finding, Subject};

use crate::{
    CommitId, MAX_SIGNATURE_BYTES, TagId, TrustCode,
    armor::{self, ArmorFormat},
    commit_headers::{Header, split},
    commit_object::Refused,
    git_ref::tag_name,
    holder::Uncounted,
    person,
    repair::{sign_tag, sign_tag_keyless, sign_tag_openpgp},
};

/// The most bytes a tag object may have: release notes of a thousand pages, and what a commit may have.
pub const MAX_TAG_BYTES: usize = 1024 * 1024;

/// How an armour begins for Git.
const BEGINNINGS: [&[u8]; 4] = [
    b"-----BEGIN SSH SIGNATURE-----",
    b"-----BEGIN PGP SIGNATURE-----",
    b"-----BEGIN PGP MESSAGE-----",
    b"-----BEGIN SIGNED MESSAGE-----",
];

const ORDER: &str = "the headers object, type, tag, tagger in this order, and no other";
const PERSON: &str = "name <email> seconds ±hhmm";

/// A tag of a commit, split but not yet verified.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TagObject {
    /// Its id, recomputed from the bytes.
    pub id: TagId,
    /// The commit it names.
    pub commit: CommitId,
    /// What it is called; a ref of another name may lead to it.
    pub name: String,
    /// Seconds since 1970 that the tagger claims; 0 to the end of the year 9999.
    pub tagger_time: i64,
    /// The bytes that are signed: all before the signature.
    pub payload: Vec<u8>,
    /// SHA-256 of the payload.
    pub payload_sha256: Digest,
    /// The armoured signature.
    pub signature: Vec<u8>,
}

impl TagObject {
    /// Reads the raw body of tag `id` (what `git cat-file tag` prints).
    ///
    /// # Errors
    /// W101 for every other form than the one described in this module, W102 for several signatures or look-alike
    /// headers, W103 for a NUL byte or a size above a limit, W106 if the bytes do not have this id, W301 if nobody signed it.
    pub fn parse(id: TagId, raw: &[u8]) -> Result<Self, Finding> {
        parse(id, raw).map_err(|refused| {
            let fix = match refused.code {
                TrustCode::W106 => {
                    "git fsck --full # then clone again from a server you trust, and report the object".to_owned()
                }
                _ => sign_tag("TAG", "COMMIT"),
            };
            finding(&id, refused, fix)
        })
    }

    /// The format of the signature by its first line.
    #[must_use]
    pub fn signature_format(&self) -> Option<ArmorFormat> {
        ArmorFormat::of(&self.signature)
    }

    /// W404 unless it is made for this ref: whoever may move refs could show a tag under the name of another.
    pub(crate) fn for_ref(&self, git_ref: &str) -> Result<(), Finding> {
        if tag_name(git_ref) == Some(&self.name) {
            return Ok(());
        }
        let refused = Refused::new(
            TrustCode::W404,
            format!("it is called {:?}, and {git_ref} leads to it", self.name),
            "a tag of the name of its ref",
        );
        Err(self.refuse(refused))
    }

    /// A refusal of it that a new tag of the same commit mends. Who signed with OpenPGP or gitsign is told how to do so again,
    /// unless that is what is refused.
    pub(crate) fn refuse(&self, refused: Refused) -> Finding {
        let fix = self.sign_again(refused.code.entry());
        finding(&self.id, refused, fix)
    }

    /// A refusal of its signature.
    pub(crate) fn uncounted(&self, refused: Uncounted) -> Finding {
        let Uncounted { code, found, needed, fix } = refused;
        let again = self.sign_again(code);
        let fix = fix.map_or_else(|| again.clone(), |with| format!("{again} # {with}"));
        Finding {
            code,
            subject: Subject::Named(format!("tag {}", self.id)),
            rule: None,
            found: found.into(),
            needed: needed.into(),
            fix: fix.into(),
        }
    }

    fn sign_again(&self, code: &'static CodeEntry) -> String {
        let sign = match self.signature_format() {
            _ if code == TrustCode::W208.entry() => sign_tag,
            Some(ArmorFormat::OpenPgp) => sign_tag_openpgp,
            Some(ArmorFormat::X509) => sign_tag_keyless,
            Some(ArmorFormat::Ssh) | None => sign_tag,
        };
        sign(&self.name, &self.commit.to_string())
    }
}

/// What is refused about a tag.
pub(crate) fn finding(id: &TagId, refused: Refused, fix: String) -> Finding {
    Finding {
        code: refused.code.entry(),
        subject: Subject::Named(format!("tag {id}")),
        rule: None,
        found: refused.found.into(),
        needed: refused.needed.into(),
        fix: fix.into(),
    }
}

fn malformed(found: impl Into<String>, needed: &str) -> Refused {
    Refused::new(TrustCode::W101, found, needed)
}

fn parse(id: TagId, raw: &[u8]) -> Result<TagObject, Refused> {
    check_bytes(id, raw)?;
    let (headers, message) = split(raw)?;
    if let Some(header) = headers.iter().find(|header| header.is_signature()) {
        let found = format!("a header {}", header.shown_name());
        return Err(Refused::new(TrustCode::W102, found, "a signature at the end of the tag, and no other"));
    }
    let [object, kind, name, tagger] = headers.as_slice() else {
        return Err(malformed(format!("{} headers", headers.len()), ORDER));
    };
    for (header, expected) in [(object, "object"), (kind, "type"), (name, "tag"), (tagger, "tagger")] {
        one_line(header, expected)?;
    }
    let commit: CommitId = object.parse().map_err(|()| malformed("object is not an id", "an object id"))?;
    if commit.format() != id.format() {
        return Err(malformed("an id of the other object format", "an id of the length that the tag's own id has"));
    }
    if kind.value != b"commit" {
        let found = format!("it names an object of type {}", crate::ssh::shown(kind.value));
        return Err(malformed(found, "a tag of a commit"));
    }
    let name = std::str::from_utf8(name.value).map_err(|_invalid| malformed("its name is not UTF-8", "a name"))?;
    let tagger_time = person::check(tagger.value).map_err(|reason| malformed(format!("tagger: {reason}"), PERSON))?;
    let (payload, signature) = signed(raw, message)?;
    Ok(TagObject {
        id,
        commit,
        name: name.to_owned(),
        tagger_time,
        payload: payload.to_vec(),
        payload_sha256: Digest::of(payload),
        signature: signature.to_vec(),
    })
}

/// Size, NUL, id.
fn check_bytes(id: TagId, raw: &[u8]) -> Result<(), Refused> {
    if raw.len() > MAX_TAG_BYTES {
        let needed = format!("at most {MAX_TAG_BYTES} bytes");
        return Err(Refused::new(TrustCode::W103, format!("an object of {} bytes", raw.len()), needed));
    }
    if let Some(offset) = raw.iter().position(|byte| *byte == 0) {
        return Err(Refused::new(TrustCode::W103, format!("a NUL byte at offset {offset}"), "none"));
    }
    let real = TagId::of(id.format(), raw)
        .map_err(|collision| Refused::new(TrustCode::W106, collision.to_string(), "bytes without such marks"))?;
    if real != id {
        return Err(Refused::new(TrustCode::W106, format!("its bytes hash to {real}"), "the id it is named by"));
    }
    Ok(())
}

fn one_line(header: &Header<'_>, expected: &str) -> Result<(), Refused> {
    if header.name != expected.as_bytes() {
        return Err(malformed(format!("the header {} where {expected} belongs", header.shown_name()), ORDER));
    }
    if header.is_folded() {
        return Err(malformed(format!("the header {expected} has several lines"), "one line"));
    }
    Ok(())
}

/// All before the signature, and the signature.
fn signed<'a>(raw: &'a [u8], message: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), Refused> {
    let mut at = raw.len().saturating_sub(message.len());
    let mut found = Vec::new();
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        if BEGINNINGS.iter().any(|beginning| line.starts_with(beginning)) {
            found.push(at);
        }
        at = at.saturating_add(line.len());
    }
    let start = match found.as_slice() {
        [] => return Err(Refused::new(TrustCode::W301, "no signature", "a tag that is signed")),
        [start] => *start,
        _ => return Err(Refused::new(TrustCode::W102, "several lines begin like a signature", "one signature")),
    };
    let Some((payload, signature)) = raw.split_at_checked(start) else {
        return Err(malformed("no signature at its end", "one signature"));
    };
    if signature.len() > MAX_SIGNATURE_BYTES {
        let needed = format!("at most {MAX_SIGNATURE_BYTES} bytes");
        return Err(Refused::new(TrustCode::W103, format!("a signature of {} bytes", signature.len()), needed));
    }
    match ArmorFormat::of(signature) {
        Some(ArmorFormat::Ssh) => {
            armor::dearmor(signature).map_err(|error| {
                malformed(error.to_string(), "the armour that ssh-keygen writes, and nothing after it")
            })?;
        }
        Some(ArmorFormat::OpenPgp) => {
            armor::dearmor_openpgp(signature)
                .map_err(|error| malformed(error.to_string(), "the armour that gpg writes, and nothing after it"))?;
        }
        Some(ArmorFormat::X509) => {}
        None => return Err(malformed("a signature without a known armour line", "-----BEGIN SSH SIGNATURE-----")),
    }
    Ok((payload, signature))
}
