//! Keys and certificates: of the authority, of accounts with the promise of a certificate log inside, of who signs
//! timestamps.

use anyhow::{Result, anyhow};
use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use jiff::{Timestamp, ToSpan as _};

use super::{
    Account,
    der::{bits, boolean, explicit, integer, octets, oid, sequence, set_of, text, tlv, utc_time},
};

pub(super) const ECDSA_WITH_SHA256: &str = "1.2.840.10045.4.3.2";

/// A key of ECDSA on P-256.
pub(super) struct Key(EcdsaKeyPair);

impl Key {
    pub(super) fn generate() -> Result<Self> {
        EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map(Self).map_err(|_error| anyhow!("no key"))
    }

    /// What stands for it in certificates and trust roots.
    pub(super) fn public(&self) -> Vec<u8> {
        let algorithm = sequence(&[&oid("1.2.840.10045.2.1"), &oid("1.2.840.10045.3.1.7")]);
        sequence(&[&algorithm, &bits(0, self.0.public_key().as_ref())])
    }

    /// How logs call their keys.
    pub(super) fn id(&self) -> Vec<u8> {
        sha256(&self.public())
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let signature = self.0.sign(&SystemRandom::new(), message).map_err(|_error| anyhow!("no signature"))?;
        Ok(signature.as_ref().to_vec())
    }
}

pub(super) fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA256, bytes).as_ref().to_vec()
}

/// What a certificate is for.
pub(super) enum Purpose<'a> {
    /// An authority.
    Authority,
    /// An account, with what the certificate log promised about it if it did; without an issuer it is like one for mail.
    Account(&'a Account, Option<&'a Key>, bool),
    /// Timestamps.
    Timestamps,
}

/// Who signs certificates, and its name.
pub(super) struct Signer<'a> {
    pub(super) name: &'a str,
    pub(super) key: &'a Key,
}

pub(super) fn name(common: &str) -> Vec<u8> {
    if common.is_empty() {
        return sequence(&[]);
    }
    sequence(&[&set_of(vec![sequence(&[&oid("2.5.4.3"), &text(common)])])])
}

fn extension(id: &str, is_critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if is_critical { boolean() } else { Vec::new() };
    sequence(&[&oid(id), &critical, &octets(value)])
}

fn usage(bits_set: u8, unused: u8) -> Vec<u8> {
    extension("2.5.29.15", true, &bits(unused, &[bits_set]))
}

fn extended_usage(purpose: &str, is_critical: bool) -> Vec<u8> {
    extension("2.5.29.37", is_critical, &sequence(&[&oid(purpose)]))
}

/// A certificate that begins at a time and is valid for some minutes.
pub(super) fn certificate(
    by: &Signer<'_>,
    (subject, serial, key): (&str, &[u8], &[u8]),
    purpose: &Purpose<'_>,
    (begin, minutes): (Timestamp, i64),
) -> Result<Vec<u8>> {
    const CODE_SIGNING: &str = "1.3.6.1.5.5.7.3.3";
    let mut extensions = match purpose {
        Purpose::Authority => {
            vec![usage(0x04, 2), extension("2.5.29.19", true, &sequence(&[&boolean()]))]
        }
        Purpose::Timestamps => vec![usage(0x80, 7), extended_usage("1.3.6.1.5.5.7.3.8", true)],
        Purpose::Account(account, _, has_issuer) => {
            let tag = if account.identity.contains("://") { 0x86 } else { 0x81 };
            let names = sequence(&[&tlv(tag, &[account.identity.as_bytes()])]);
            let mut all =
                vec![usage(0x80, 7), extended_usage(CODE_SIGNING, false), extension("2.5.29.17", true, &names)];
            if *has_issuer {
                all.push(extension("1.3.6.1.4.1.57264.1.1", false, account.issuer.as_bytes()));
                all.push(extension("1.3.6.1.4.1.57264.1.8", false, &text(&account.issuer)));
            }
            all
        }
    };
    let end = begin.checked_add(minutes.minutes())?;
    let algorithm = sequence(&[&oid(ECDSA_WITH_SHA256)]);
    let validity = sequence(&[&utc_time(begin), &utc_time(end)]);
    let body = |extensions: &[Vec<u8>]| {
        let list = explicit(3, &[&sequence(&[&extensions.concat()])]);
        let (version, number) = (explicit(0, &[&integer(&[2])]), integer(serial));
        sequence(&[&version, &number, &algorithm, &name(by.name), &validity, &name(subject), key, &list])
    };
    if let Purpose::Account(_, Some(log), _) = purpose {
        extensions.push(promise(log, &by.key.public(), &body(&extensions), begin)?);
    }
    let body = body(&extensions);
    let signature = by.key.sign(&body)?;
    Ok(sequence(&[&body, &algorithm, &bits(0, &signature)]))
}

/// The promise of a certificate log (RFC 6962, section 3.2) to hold this certificate, as an extension of it.
fn promise(log: &Key, issuer: &[u8], certificate: &[u8], at: Timestamp) -> Result<Vec<u8>> {
    let milliseconds = at.as_millisecond().to_be_bytes();
    let length = u32::try_from(certificate.len())?.to_be_bytes();
    let signed =
        [&[0, 0], milliseconds.as_slice(), &[0, 1], &sha256(issuer), &length[1..], certificate, &[0, 0]].concat();
    let signature = log.sign(&signed)?;
    let short = |bytes: &[u8]| u16::try_from(bytes.len()).map(u16::to_be_bytes);
    let (id, size) = (log.id(), short(&signature)?);
    let one = [[0].as_slice(), &id, &milliseconds, &[0, 0, 4, 3], &size, &signature].concat();
    let list = [short(&one)?.as_slice(), &one].concat();
    let whole = [short(&list)?.as_slice(), &list].concat();
    Ok(extension("1.3.6.1.4.1.11129.2.4.2", false, &octets(&whole)))
}
