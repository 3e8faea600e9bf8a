//! Ids of commits, trees and tags, in both object formats of Git.

use std::{fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// The hash a repository names its objects by (`extensions.objectFormat`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectFormat {
    /// 20 bytes, 40 hex digits.
    #[default]
    Sha1,
    /// 32 bytes, 64 hex digits.
    Sha256,
}

impl ObjectFormat {
    /// Bytes of an id.
    #[must_use]
    pub const fn id_bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// As Git calls it in settings and in its protocol.
    #[must_use]
    pub const fn git_name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
        }
    }
}

impl fmt::Display for ObjectFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha1 => "SHA-1",
            Self::Sha256 => "SHA-256",
        })
    }
}

/// 20 or 32 bytes; the variant is the format, so that no id is half of another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Bytes {
    Sha1([u8; 20]),
    Sha256([u8; 32]),
}

/// The text or the bytes are not an object id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectIdError {
    /// Neither 40 nor 64 lower-case hex digits.
    #[error("{text:?} is not an object id (40 or 64 lower-case hex digits)")]
    Text {
        /// The text, cut after 80 characters.
        text: String,
    },
    /// Neither 20 nor 32 bytes.
    #[error("an object id has 20 or 32 bytes, not {count}")]
    Length {
        /// How many there were.
        count: usize,
    },
}

impl Bytes {
    fn from_slice(bytes: &[u8]) -> Result<Self, ObjectIdError> {
        <[u8; 20]>::try_from(bytes)
            .map(Self::Sha1)
            .or_else(|_other_length| <[u8; 32]>::try_from(bytes).map(Self::Sha256))
            .map_err(|_other_length| ObjectIdError::Length { count: bytes.len() })
    }

    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Sha1(bytes) => bytes,
            Self::Sha256(bytes) => bytes,
        }
    }
}

impl FromStr for Bytes {
    type Err = ObjectIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ObjectIdError::Text { text: text.chars().take(80).collect() };
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(error());
        }
        let (mut sha1, mut sha256) = ([0; 20], [0; 32]);
        match text.len() {
            40 => hex::decode_to_slice(text, &mut sha1).map(|()| Self::Sha1(sha1)).map_err(|_invalid| error()),
            64 => hex::decode_to_slice(text, &mut sha256).map(|()| Self::Sha256(sha256)).map_err(|_invalid| error()),
            _ => Err(error()),
        }
    }
}

macro_rules! object_id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Bytes);

        impl $name {
            /// The id of these 20 or 32 bytes.
            ///
            /// # Errors
            /// Any other number of bytes.
            pub fn from_bytes(bytes: &[u8]) -> Result<Self, ObjectIdError> {
                Bytes::from_slice(bytes).map(Self)
            }

            /// The 20 or 32 bytes.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8] {
                self.0.as_slice()
            }

            /// The object format the id belongs to.
            #[must_use]
            pub const fn format(&self) -> ObjectFormat {
                match self.0 {
                    Bytes::Sha1(_) => ObjectFormat::Sha1,
                    Bytes::Sha256(_) => ObjectFormat::Sha256,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = ObjectIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "maxLength": 64, "pattern": "^([0-9a-f]{40}|[0-9a-f]{64})$"})
            }
        }
    };
}

object_id! {
    /// The id of a commit: 40 or 64 lower-case hex digits.
    CommitId
}

object_id! {
    /// The id of a tree: 40 or 64 lower-case hex digits.
    TreeId
}

object_id! {
    /// The id of a tag object: 40 or 64 lower-case hex digits.
    TagId
}

/// The bytes were built to collide under SHA-1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes were built to collide under SHA-1")]
pub struct Sha1Collision;

impl CommitId {
    /// The id that Git gives a commit with this raw body: the hash of `commit <length>`, NUL and the body.
    ///
    /// # Errors
    /// The body shows the marks of a SHA-1 collision attack (only with [`ObjectFormat::Sha1`]).
    pub fn of(format: ObjectFormat, raw: &[u8]) -> Result<Self, Sha1Collision> {
        hashed(format, "commit", raw).map(Self)
    }
}

impl TagId {
    /// The id that Git gives a tag with this raw body; as [`CommitId::of`].
    ///
    /// # Errors
    /// As [`CommitId::of`].
    pub fn of(format: ObjectFormat, raw: &[u8]) -> Result<Self, Sha1Collision> {
        hashed(format, "tag", raw).map(Self)
    }
}

fn hashed(format: ObjectFormat, kind: &str, raw: &[u8]) -> Result<Bytes, Sha1Collision> {
    let header = format!("{kind} {}\0", raw.len());
    match format {
        ObjectFormat::Sha1 => sha1(&[header.as_bytes(), raw]).map(Bytes::Sha1),
        ObjectFormat::Sha256 => {
            let hash = Sha256::new().chain_update(header.as_bytes()).chain_update(raw);
            Ok(Bytes::Sha256(hash.finalize().into()))
        }
    }
}

/// The SHA-1 of these bytes one after the other, unless they bear the marks of a collision.
fn sha1(parts: &[&[u8]]) -> Result<[u8; 20], Sha1Collision> {
    let mut hash = sha1_checked::Sha1::new();
    parts.iter().for_each(|part| hash.update(part));
    let result = hash.try_finalize();
    if result.has_collision() { Err(Sha1Collision) } else { Ok((*result.hash()).into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_parses_both_formats() {
        for text in ["ab".repeat(20), "0f".repeat(32)] {
            let id: CommitId = text.parse().unwrap();
            assert_eq!(id.to_string(), text);
            assert_eq!(CommitId::from_bytes(id.as_bytes()), Ok(id));
            assert_eq!(serde_json::from_str::<TreeId>(&format!("\"{text}\"")).unwrap().to_string(), text);
        }
    }

    #[test]
    fn refuses_everything_else() {
        for text in ["", "abcd", &"AB".repeat(20), &"zz".repeat(20), &"ab".repeat(26), &format!("{} ", "ab".repeat(19))]
        {
            assert!(text.parse::<CommitId>().is_err(), "{text:?}");
        }
        assert!(CommitId::from_bytes(&[0; 21]).is_err());
    }

    /// The first 320 bytes of one of the two files of "The first collision for full SHA-1" (2017): the first five blocks,
    /// after which both have the same state.
    const SHATTERED: &str = "255044462d312e330a25e2e3cfd30a0a0a312030206f626a0a3c3c2f57696474682032203020522f48656967687420332030\
        20522f547970652034203020522f537562747970652035203020522f46696c7465722036203020522f436f6c6f7253706163\
        652037203020522f4c656e6774682038203020522f42697473506572436f6d706f6e656e7420383e3e0a73747265616d0aff\
        d8fffe00245348412d3120697320646561642121212121852fec092339759c39b1a1c63c4c97e1fffe017346dc9166b67e11\
        8f029ab621b2560ff9ca67cca8c7f85ba84c79030c2b3de218f86db3a90901d5df45c14f26fedfb3dc38e96ac22fe7bd728f\
        0e45bce046d23c570feb141398bb552ef5a0a82be331fea48037b8b5d71f0e332edf93ac3500eb4ddc0decc1a864790c782c\
        76215660dd309791d06bd0af3f98cda4bc4629b1";

    #[test]
    fn a_collision_is_refused() {
        let shattered = hex::decode(SHATTERED).unwrap();
        assert_eq!(sha1(&[&shattered]), Err(Sha1Collision));
        assert_eq!(sha1(&[&shattered, b"whatever follows"]), Err(Sha1Collision));
        // It is the state that collides: after other bytes it is data like any.
        assert!(sha1(&[b"commit 320\0", &shattered]).is_ok());
        assert_eq!(hex::encode(sha1(&[b"ab", b"c"]).unwrap()), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert!(sha1(&[&shattered[..319]]).is_ok());
    }
}
