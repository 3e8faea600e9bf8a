//! A hash of any JSON value, in a single pass over its bytes: two objects with one hash have one content.

use std::{
    fmt,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    sync::LazyLock,
};

use serde::{
    Deserializer,
    de::{DeserializeSeed, MapAccess, SeqAccess, Visitor},
};
use siphasher::sip128::{Hasher128 as _, SipHasher13};

use crate::record::Key;

/// Hashes any value. Fields of a map are summed, so their order does not matter; serde_json refuses
/// to nest deeper than 128.
pub(crate) struct HashSeed;

impl<'de> DeserializeSeed<'de> for HashSeed {
    type Value = u128;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u128, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for HashSeed {
    type Value = u128;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<u128, E> {
        Ok(hash(b'b', &[u8::from(value)]))
    }

    fn visit_i64<E>(self, value: i64) -> Result<u128, E> {
        Ok(hash(b'i', &value.to_le_bytes()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<u128, E> {
        Ok(hash(b'i', &value.to_le_bytes()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<u128, E> {
        Ok(hash(b'f', &value.to_bits().to_le_bytes()))
    }

    fn visit_str<E>(self, value: &str) -> Result<u128, E> {
        Ok(hash(b's', value.as_bytes()))
    }

    fn visit_unit<E>(self) -> Result<u128, E> {
        Ok(hash(b'n', &[]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<u128, A::Error> {
        let mut hasher = hasher(b'l');
        while let Some(item) = items.next_element_seed(HashSeed)? {
            hasher.write_u128(item);
        }
        Ok(hasher.finish128().as_u128())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<u128, A::Error> {
        let mut sum = 0_u128;
        while let Some(key) = map.next_key_seed(Key)? {
            sum = sum.wrapping_add(entry(&key, map.next_value_seed(HashSeed)?));
        }
        Ok(hash(b'm', &sum.to_le_bytes()))
    }
}

/// Drawn once per process: nobody outside can search for two contents with one hash.
static KEY: LazyLock<SipHasher13> = LazyLock::new(|| {
    // The standard library offers its randomness in no other form.
    let half = || RandomState::new().build_hasher().finish();
    SipHasher13::new_with_keys(half(), half())
});

fn hasher(tag: u8) -> SipHasher13 {
    let mut hasher = *KEY;
    hasher.write_u8(tag);
    hasher
}

/// A value of the kind that `tag` names.
pub(crate) fn hash(tag: u8, bytes: &[u8]) -> u128 {
    let mut hasher = hasher(tag);
    hasher.write(bytes);
    hasher.finish128().as_u128()
}

/// One field of a map.
pub(crate) fn entry(name: &str, value: u128) -> u128 {
    let mut hasher = hasher(b'e');
    hasher.write_usize(name.len());
    hasher.write(name.as_bytes());
    hasher.write_u128(value);
    hasher.finish128().as_u128()
}
