//! What a key must prove about its user: `userPresence` and `userVerification`.

use manifest::Node;

use super::reader::Reader;
use crate::{UserCheck, UserPresence};

const FIELDS: [&str; 2] = ["userPresence", "userVerification"];

/// Reads the two fields of a key.
pub(super) fn read(reader: &mut Reader, node: &Node) -> Option<UserCheck> {
    let presence = match node.get("userPresence") {
        None => UserPresence::default(),
        Some(value) => match value.as_str() {
            Some("required") => UserPresence::Required,
            Some("notRequired") => UserPresence::NotRequired,
            _ => {
                reader.wrong(value.position, "userPresence is unknown".to_owned(), "required or notRequired");
                return None;
            }
        },
    };
    let verification = match node.get("userVerification") {
        None => false,
        Some(value) if value.as_str() == Some("required") => true,
        Some(value) => {
            reader.wrong(value.position, "userVerification is unknown".to_owned(), "required");
            return None;
        }
    };
    Some(UserCheck { presence, verification })
}

/// Notes each of the fields that a key outside a token cannot prove.
pub(super) fn refuse(reader: &mut Reader, node: &Node, algorithm: &str) {
    for field in FIELDS {
        if let Some(value) = node.get(field) {
            let found = format!("{field} is set for a key of type {algorithm}, which proves nothing about its user");
            reader.wrong(value.position, found, "a security key (ssh-keygen -t ed25519-sk), or the key without it");
        }
    }
}
