//! The signature headers of a commit: one, or the two that Git writes where objects are named by both hashes
//! (`extensions.compatObjectFormat`).
//!
//! Of two, each is over the form that the commit has in its object format, and neither is part of what is signed. Only the
//! one of the repository is verified: the other form names its tree and its parents by ids that the repository does not
//! have, and to know those of the parents, everything that was ever committed would be hashed once more. So that the other
//! one is as little of a free place as can be, it has to be in the one form that is read, for Git, by the same key (and
//! certificate), and such as this key makes. Whether it counts at all a trust file says (`history.dualSigned`).

use crate::{
    ObjectFormat, TrustCode,
    armor::{self, ArmorFormat},
    commit_headers::Header,
    commit_object::{MAX_SIGNATURE_BYTES, Refused},
    openpgp::{OpenPgpFingerprint, Signature},
    ssh::claimed_in_git,
};

/// The signature header of SHA-1 repositories. Git writes it first.
const SHA1: &[u8] = b"gpgsig";
/// The signature header of SHA-256 repositories.
const SHA256: &[u8] = b"gpgsig-sha256";

/// Whose signature a text is by its own account.
#[derive(PartialEq, Eq)]
enum Claim {
    /// The key with its certificate, as the signature has it.
    Ssh(Vec<u8>),
    /// The key, and the number of its algorithm.
    OpenPgp(OpenPgpFingerprint, u8),
}

/// What the signature headers hold.
pub(crate) struct Signatures {
    /// The signature of the repository's own format, armoured.
    pub(crate) own: Vec<u8>,
    /// Whether there is one of the other format as well.
    pub(crate) dual: bool,
}

/// The signatures, if there are any. Judged before the order of headers, so that a look-alike is named as what it is.
pub(crate) fn signatures(format: ObjectFormat, headers: &[Header<'_>]) -> Result<Option<Signatures>, Refused> {
    let own = match format {
        ObjectFormat::Sha1 => SHA1,
        ObjectFormat::Sha256 => SHA256,
    };
    let refused = |found: String| {
        let needed = format!("at most one header {} and no other that begins with gpgsig", own.escape_ascii());
        Err(Refused::new(TrustCode::W102, found, needed))
    };
    let found: Vec<_> = headers.iter().filter(|header| header.is_signature()).collect();
    match found.as_slice() {
        [] => Ok(None),
        [header] if header.name == own => read(header).map(|own| Some(Signatures { own, dual: false })),
        [header] => refused(format!("a header {}", header.shown_name())),
        [first, second] if first.name == SHA1 && second.name == SHA256 => {
            let (own, other) = if format == ObjectFormat::Sha1 { (first, second) } else { (second, first) };
            let own = read(own)?;
            same_signer(&own, other).map(|()| Some(Signatures { own, dual: true }))
        }
        [first, ..] => refused(format!("{} headers like {}", found.len(), first.shown_name())),
    }
}

/// The one signature of a header, in canonical armour.
fn read(header: &Header<'_>) -> Result<Vec<u8>, Refused> {
    let malformed = |found: String, needed: &str| Refused::new(TrustCode::W101, found, needed);
    let text = header.unfolded();
    if text.len() > MAX_SIGNATURE_BYTES {
        let needed = format!("at most {MAX_SIGNATURE_BYTES} bytes");
        return Err(Refused::new(TrustCode::W103, format!("a signature of {} bytes", text.len()), needed));
    }
    match ArmorFormat::of(&text) {
        Some(ArmorFormat::Ssh) => {
            armor::dearmor(&text).map_err(|error| malformed(error.to_string(), "the armour that ssh-keygen writes"))?;
        }
        Some(ArmorFormat::OpenPgp) => {
            armor::dearmor_openpgp(&text)
                .map_err(|error| malformed(error.to_string(), "the armour that gpg writes"))?;
        }
        Some(ArmorFormat::X509) => {
            armor::dearmor_cms(&text)
                .map_err(|error| malformed(error.to_string(), "the armour that gitsign writes"))?;
        }
        None => {
            let found = "a signature without a known armour line".to_owned();
            return Err(malformed(found, "-----BEGIN SSH SIGNATURE-----"));
        }
    }
    Ok(text)
}

/// W102 unless the header of the other object format holds a signature of its own by the signer of this one.
fn same_signer(signature: &[u8], other: &Header<'_>) -> Result<(), Refused> {
    let name = other.shown_name();
    let refused = |found: String, needed: &str| Err(Refused::new(TrustCode::W102, found, needed));
    let text = read(other).map_err(|unread| {
        let found = format!("the header {name} beside the one of this object format: {}", unread.found);
        Refused::new(TrustCode::W102, found, unread.needed)
    })?;
    if signature == text {
        let needed = "a signature over the commit in the other object format";
        return refused(format!("the header {name} repeats the signature of this object format"), needed);
    }
    match (Claim::of(signature), Claim::of(&text)) {
        (Some(own), Some(other)) if own == other => Ok(()),
        (Some(_), Some(_)) => {
            refused(format!("the header {name} is signed by another key"), "two signatures of one key")
        }
        _ => refused(
            format!("the header {name} beside the one of this object format, and not both can be read"),
            "two SSH or two OpenPGP signatures, as Git writes them",
        ),
    }
}

impl Claim {
    fn of(armored: &[u8]) -> Option<Self> {
        match ArmorFormat::of(armored)? {
            ArmorFormat::Ssh => claimed_in_git(armored).map(Self::Ssh),
            ArmorFormat::OpenPgp => {
                Signature::parse(armored).ok().map(|one| Self::OpenPgp(one.issuer(), one.algorithm()))
            }
            ArmorFormat::X509 => None,
        }
    }
}
