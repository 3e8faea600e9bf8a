//! Timestamps of RFC 3161 over a signature.

use anyhow::Result;
use jiff::Timestamp;

use super::{
    certificates::{ECDSA_WITH_SHA256, Key, name, sha256},
    der::{explicit, generalized_time, integer, octets, oid, sequence, set_of},
};

const TIMESTAMP: &str = "1.2.840.113549.1.9.16.1.4";
pub(super) const SHA256: &str = "2.16.840.1.101.3.4.2.1";

/// An attribute with one value.
pub(super) fn attribute(id: &str, value: Vec<u8>) -> Vec<u8> {
    sequence(&[&oid(id), &set_of(vec![value])])
}

/// The token of an authority, which a certificate of this issuer and serial number is for.
pub(super) fn token(key: &Key, (issuer, serial): (&str, &[u8]), signature: &[u8], at: Timestamp) -> Result<Vec<u8>> {
    let digest = sequence(&[&oid(SHA256)]);
    let imprint = sequence(&[&digest, &octets(&sha256(signature))]);
    let said =
        sequence(&[&integer(&[1]), &oid("1.3.6.1.4.1.57264.2"), &imprint, &integer(&[7]), &generalized_time(at)]);
    let attributes = set_of(vec![
        attribute("1.2.840.113549.1.9.3", oid(TIMESTAMP)),
        attribute("1.2.840.113549.1.9.4", octets(&sha256(&said))),
    ]);
    let signed = key.sign(&attributes)?;
    let mut implicit = attributes;
    if let Some(tag) = implicit.first_mut() {
        *tag = 0xa0;
    }
    let signer = sequence(&[
        &integer(&[1]),
        &sequence(&[&name(issuer), &integer(serial)]),
        &digest,
        &implicit,
        &sequence(&[&oid(ECDSA_WITH_SHA256)]),
        &octets(&signed),
    ]);
    let content = sequence(&[&oid(TIMESTAMP), &explicit(0, &[&octets(&said)])]);
    let data = sequence(&[&integer(&[3]), &set_of(vec![digest]), &content, &set_of(vec![signer])]);
    Ok(sequence(&[&oid("1.2.840.113549.1.7.2"), &explicit(0, &[&data])]))
}
