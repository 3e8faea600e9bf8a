//! The stamp on a request: who made it, in a form that nobody else can write.
//!
//! The API server tells us who creates a request and we write it into `spec.requestedBy`. While our webhook is not asked
//! anybody may write that field himself, so it carries a keyed digest (HMAC-SHA-256) of the whole request; without the right
//! one a request is nobody's and has no effect. Pure: values in, values out.

use hmac::{Hmac, Mac as _};
use manifest::canonical_json;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::Sha256;

/// What the key is for: no digest that is made for anything else is one of these.
const PURPOSE: &str = "writ.dev/requested-by/v1";
/// The field of the spec.
pub(crate) const FIELD: &str = "requestedBy";
/// Most groups that a stamp names. What signs people in gives tens; the rest says nothing that a pause is decided by.
pub(crate) const MAX_GROUPS: usize = 64;

/// Who the API server says makes a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UserInfo {
    /// The name; never empty in what the API server says.
    #[serde(default)]
    pub username: String,
    /// The id, where whatever signed the user in has one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// The groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
}

/// `spec.requestedBy` of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RequestedBy {
    /// Who.
    #[serde(flatten)]
    pub user: UserInfo,
    /// Keyed digest of the request, as 64 hex digits.
    pub mac: String,
}

/// A request, as it is stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamped<'a> {
    /// Its kind.
    pub kind: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its spec as the API server has it, defaults included: not as a type of ours would write it again. `requestedBy` in it
    /// is passed over.
    pub spec: &'a Value,
}

/// Why nobody stands for a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StampError {
    /// There is no stamp.
    #[error("nobody is named in spec.{FIELD}: the request was made while writ was not asked about it")]
    Missing,
    /// What is there has not the form.
    #[error("spec.{FIELD} has not the form of a stamp")]
    Malformed,
    /// It is not ours, or the request was changed since.
    #[error("spec.{FIELD} is not what writ wrote, or the request is not what it was written on")]
    Forged,
}

/// The key of stamps.
#[derive(Clone)]
pub(crate) struct Stamp(Hmac<Sha256>);

impl Stamp {
    /// From the secret of the installation, the text of the log's key. Not from a digest made with the key of sensitive
    /// values: somebody might have a Secret whose digest, which is shown, would then be this key.
    pub(crate) fn derive(secret: &[u8]) -> Self {
        Self(keyed(&keyed(secret).chain_update(PURPOSE).finalize().into_bytes()))
    }

    /// What is to stand in `spec.requestedBy`.
    pub(crate) fn sign(&self, request: &Stamped<'_>, by: &UserInfo) -> RequestedBy {
        let mut user = by.clone();
        user.groups.truncate(MAX_GROUPS);
        let mac = hex::encode(self.over(request, &user).finalize().into_bytes());
        RequestedBy { user, mac }
    }

    /// Who made the request, if `spec.requestedBy` is our stamp on just this one.
    ///
    /// # Errors
    /// When there is no stamp, or not ours.
    #[cfg_attr(not(test), expect(dead_code, reason = "requests of people are not obeyed yet"))]
    pub(crate) fn verify(&self, request: &Stamped<'_>) -> Result<UserInfo, StampError> {
        let found = request.spec.get(FIELD).ok_or(StampError::Missing)?;
        let RequestedBy { user, mac } = RequestedBy::deserialize(found).map_err(|_other| StampError::Malformed)?;
        let mac = hex::decode(mac).map_err(|_other| StampError::Malformed)?;
        // In a time that does not depend on where they differ.
        self.over(request, &user).verify_slice(&mac).map_err(|_other| StampError::Forged)?;
        Ok(user)
    }

    fn over(&self, request: &Stamped<'_>, user: &UserInfo) -> Hmac<Sha256> {
        let mut spec = request.spec.clone();
        if let Some(fields) = spec.as_object_mut() {
            fields.remove(FIELD);
        }
        let Stamped { kind, namespace, name, .. } = request;
        let UserInfo { username, uid, groups } = user;
        // As one canonical value: no two requests give the same bytes.
        let all = json!([kind, namespace, name, spec, username, uid, groups]);
        self.0.clone().chain_update(canonical_json(&all))
    }
}

impl std::fmt::Debug for Stamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stamp(***)")
    }
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length (RFC 2104, section 2)")]
fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("a key of any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ana() -> UserInfo {
        UserInfo { username: "ana".to_owned(), uid: "17".to_owned(), groups: vec!["sre".to_owned(), "dev".to_owned()] }
    }

    fn spec() -> Value {
        json!({"sync": "shop", "until": "2026-11-28T12:00:00Z", "reason": "disk is full", "targets": [{"group": "", "kind": "ConfigMap", "name": "a"}]})
    }

    fn request(spec: &Value) -> Stamped<'_> {
        Stamped { kind: "PauseRequest", namespace: "shop", name: "night", spec }
    }

    fn stamped() -> Value {
        let mut spec = spec();
        let by = Stamp::derive(b"secret").sign(&request(&spec), &ana());
        spec["requestedBy"] = serde_json::to_value(by).unwrap();
        spec
    }

    #[test]
    fn who_made_a_request_is_read_from_its_stamp() {
        let spec = stamped();
        assert_eq!(Stamp::derive(b"secret").verify(&request(&spec)), Ok(ana()));
        // The order in which a server writes fields says nothing.
        let text = serde_json::to_string(&spec).unwrap();
        let again: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(Stamp::derive(b"secret").verify(&request(&again)), Ok(ana()));
    }

    #[test]
    fn a_stamp_of_somebody_else_is_none() {
        let stamp = Stamp::derive(b"secret");
        let spec = stamped();
        assert_eq!(Stamp::derive(b"another").verify(&request(&spec)), Err(StampError::Forged));
        for other in [
            Stamped { kind: "DriftRequest", ..request(&spec) },
            Stamped { namespace: "shops", ..request(&spec) },
            Stamped { name: "day", ..request(&spec) },
        ] {
            assert_eq!(stamp.verify(&other), Err(StampError::Forged));
        }
        for (pointer, value) in [
            ("/reason", json!("")),
            ("/until", json!("2027-11-28T12:00:00Z")),
            ("/targets/0/name", json!("b")),
            ("/requestedBy/username", json!("eva")),
            ("/requestedBy/uid", json!("18")),
            ("/requestedBy/groups/0", json!("system:masters")),
            ("/requestedBy/groups", json!(["sre,dev"])),
            ("/requestedBy/mac", json!("00".repeat(32))),
            ("/requestedBy/mac", json!("")),
        ] {
            let mut changed = spec.clone();
            *changed.pointer_mut(pointer).unwrap() = value;
            assert_eq!(stamp.verify(&request(&changed)), Err(StampError::Forged), "{pointer}");
        }
        let mut more = spec;
        more["extra"] = json!(1);
        assert_eq!(stamp.verify(&request(&more)), Err(StampError::Forged));
    }

    #[test]
    fn without_a_stamp_a_request_is_nobodys() {
        let stamp = Stamp::derive(b"secret");
        assert_eq!(stamp.verify(&request(&spec())), Err(StampError::Missing));
        for odd in [json!(null), json!("ana"), json!({"username": "ana"}), json!({"username": "ana", "mac": "xyz"})] {
            let mut spec = spec();
            spec["requestedBy"] = odd;
            assert_eq!(stamp.verify(&request(&spec)), Err(StampError::Malformed));
        }
    }

    #[test]
    fn what_somebody_wrote_himself_is_not_signed_along() {
        let mut spec = spec();
        spec["requestedBy"] = json!({"username": "root", "mac": "00"});
        let stamp = Stamp::derive(b"secret");
        let by = stamp.sign(&request(&spec), &ana());
        spec["requestedBy"] = serde_json::to_value(by).unwrap();
        assert_eq!(stamp.verify(&request(&spec)), Ok(ana()));
    }

    #[test]
    fn groups_beyond_the_bound_are_not_named() {
        let mut spec = spec();
        let groups = (0..MAX_GROUPS + 1).map(|n| n.to_string()).collect();
        let stamp = Stamp::derive(b"secret");
        let by = stamp.sign(&request(&spec), &UserInfo { groups, ..ana() });
        spec["requestedBy"] = serde_json::to_value(by).unwrap();
        assert_eq!(stamp.verify(&request(&spec)).unwrap().groups.len(), MAX_GROUPS);
    }

    #[test]
    fn the_key_is_not_shown() {
        assert_eq!(format!("{:?}", Stamp::derive(b"hunter2")), "Stamp(***)");
    }
}
