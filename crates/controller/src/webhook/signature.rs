//! Whether a request comes from whoever knows the token. Each forge has a header of its own; which one is there decides how
//! it is proven, and nothing else of the request is looked at.

use axum::http::HeaderMap;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac as _};
use jiff::Timestamp;
use manifest::Sensitive;
use sha2::Sha256;

/// The shortest token: 16 random bytes cannot be guessed, and whoever takes fewer signs has words in mind.
pub(crate) const MIN_TOKEN_BYTES: usize = 16;
/// How far the time in a request may be from ours: what Standard Webhooks recommends, and more than a retry takes.
pub(super) const WINDOW_SECONDS: i64 = 300;
/// Most signatures of one request: the old and the new token while one takes the place of the other, and room.
const MAX_SIGNATURES: usize = 4;
/// Longest id and time of a delivery: both are some tens of characters.
const MAX_FIELD_BYTES: usize = 256;
/// What tokens of Standard Webhooks begin with; the key is the rest, which is base64.
const STANDARD_PREFIX: &[u8] = b"whsec_";

type Tag = [u8; 32];

/// The token that a source shares with its forge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token(Sensitive<Vec<u8>>);

impl Token {
    /// From the bytes of a Secret; a line break at the end of a file is none of a token. `None` if it is too short.
    pub(crate) fn new(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.trim_ascii_end();
        (bytes.len() >= MIN_TOKEN_BYTES).then(|| Self(Sensitive::new(bytes.to_vec())))
    }

    /// One that proves nothing: what is unknown takes as long as what is known. Whoever uses it refuses anyway.
    pub(super) fn decoy() -> Self {
        Self(Sensitive::new(vec![0; MIN_TOKEN_BYTES]))
    }

    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length (RFC 2104, section 2)")]
    fn keyed(key: &[u8]) -> Hmac<Sha256> {
        Hmac::new_from_slice(key).expect("a key of any length")
    }

    /// The key of Standard Webhooks: what is written after the prefix, or all of it.
    fn standard(&self) -> Vec<u8> {
        let bytes = self.0.expose();
        let encoded = bytes.strip_prefix(STANDARD_PREFIX);
        encoded.and_then(|encoded| STANDARD.decode(encoded).ok()).unwrap_or_else(|| bytes.clone())
    }
}

/// How a request says that it is genuine.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// An HMAC of the body: GitHub, Gitea, Forgejo, Bitbucket, and anybody with a shell.
    Body(Tag),
    /// HMACs of id, time and body: GitLab, and whoever follows Standard Webhooks.
    Timed {
        /// `id.time.`, which comes before the body.
        head: Vec<u8>,
        /// That time.
        at: Timestamp,
        /// Any of them is enough.
        tags: Vec<Tag>,
    },
    /// The token itself: older GitLab.
    Plain(Sensitive<Vec<u8>>),
}

/// What a request turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proven {
    /// Genuine; a replay of it has the same digest.
    Genuine(Tag),
    /// Genuine, and of another time.
    Stale,
    /// Somebody else's.
    Forged,
}

impl Proof {
    /// What the headers say; `None` if they say nothing that is taken, SHA-1 among it.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        if headers.contains_key("webhook-signature") {
            return Self::timed(headers);
        }
        if headers.contains_key("x-gitlab-token") {
            let token = single(headers, "x-gitlab-token")?;
            return Some(Self::Plain(Sensitive::new(token.to_vec())));
        }
        for bare in ["x-forgejo-signature", "x-gitea-signature"] {
            if headers.contains_key(bare) {
                return tag_of_hex(single(headers, bare)?).map(Self::Body);
            }
        }
        // GitHub sends the weak one as well.
        for named in ["x-hub-signature-256", "x-hub-signature", "x-signature"] {
            if headers.contains_key(named) {
                return tag_of_hex(single(headers, named)?.strip_prefix(b"sha256=")?).map(Self::Body);
            }
        }
        None
    }

    fn timed(headers: &HeaderMap) -> Option<Self> {
        let id = single(headers, "webhook-id")?;
        let time = single(headers, "webhook-timestamp")?;
        if id.len() > MAX_FIELD_BYTES || time.len() > MAX_FIELD_BYTES {
            return None;
        }
        let at = Timestamp::from_second(std::str::from_utf8(time).ok()?.parse().ok()?).ok()?;
        let signatures = single(headers, "webhook-signature")?.split(|byte| *byte == b' ');
        let tags: Vec<Tag> = signatures
            .filter_map(|signature| STANDARD.decode(signature.strip_prefix(b"v1,")?).ok()?.try_into().ok())
            .take(MAX_SIGNATURES)
            .collect();
        Some(Self::Timed { head: [id, b".", time, b"."].concat(), at, tags })
    }
}

/// The check of one request, to which the body is given as it comes.
pub(super) struct Check {
    proof: Proof,
    token: Token,
    /// Of the body, or of what is signed with it.
    body: Hmac<Sha256>,
    /// The same with the other key that the token may stand for.
    standard: Hmac<Sha256>,
}

impl Check {
    pub(super) fn new(proof: Proof, token: Token) -> Self {
        let head = match &proof {
            Proof::Timed { head, .. } => head.clone(),
            Proof::Body(_) | Proof::Plain(_) => Vec::new(),
        };
        let (body, standard) = (Token::keyed(token.0.expose()), Token::keyed(&token.standard()));
        let mut check = Self { proof, token, body, standard };
        check.update(&head);
        check
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.body.update(bytes);
        if matches!(self.proof, Proof::Timed { .. }) {
            self.standard.update(bytes);
        }
    }

    pub(super) fn end(self, now: Timestamp) -> Proven {
        let digest: Tag = self.body.clone().finalize().into_bytes().into();
        let is_genuine = match &self.proof {
            Proof::Body(tag) => self.body.verify_slice(tag).is_ok(),
            // All are compared: how long it takes says nothing.
            Proof::Timed { tags, .. } => tags.iter().fold(false, |any, tag| {
                let one = self.body.clone().verify_slice(tag).is_ok();
                let other = self.standard.clone().verify_slice(tag).is_ok();
                any | one | other
            }),
            Proof::Plain(given) => is_token(&self.token, given),
        };
        match self.proof {
            _ if !is_genuine => Proven::Forged,
            Proof::Timed { at, .. } if at.as_second().abs_diff(now.as_second()) > WINDOW_SECONDS.unsigned_abs() => {
                Proven::Stale
            }
            _ => Proven::Genuine(digest),
        }
    }
}

/// Compares digests of both under the token's own key, in constant time: neither where they differ nor their lengths show.
fn is_token(token: &Token, given: &Sensitive<Vec<u8>>) -> bool {
    let mac = |text: &[u8]| Token::keyed(token.0.expose()).chain_update(text);
    mac(given.expose()).verify(&mac(token.0.expose()).finalize().into_bytes()).is_ok()
}

/// The value of a header that is there once.
fn single<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h [u8]> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then(|| first.as_bytes())
}

fn tag_of_hex(text: &[u8]) -> Option<Tag> {
    let mut tag = Tag::default();
    hex::decode_to_slice(text, &mut tag).ok().map(|()| tag)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    const BODY: &[u8] = b"{\"after\": \"c0ffee\"}";
    const TOKEN: &[u8] = b"a token of 24 characters";

    fn mac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        parts.iter().fold(Token::keyed(key), |mac, part| mac.chain_update(part)).finalize().into_bytes().to_vec()
    }

    fn headers(pairs: &[(&str, String)]) -> HeaderMap {
        let pair = |(name, value): &(&str, String)| {
            (HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(value.as_str()).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    fn proven(token: &[u8], pairs: &[(&str, String)], body: &[u8]) -> Option<Proven> {
        let mut check = Check::new(Proof::of(&headers(pairs))?, Token::new(token)?);
        // As it comes: in pieces.
        body.chunks(5).for_each(|piece| check.update(piece));
        Some(check.end(now()))
    }

    #[test]
    fn each_forge_proves_itself_in_its_own_way() {
        let hexed = hex::encode(mac(TOKEN, &[BODY]));
        let named = format!("sha256={hexed}");
        for pairs in [
            // GitHub, with the weak one beside it.
            vec![("x-hub-signature-256", named.clone()), ("x-hub-signature", format!("sha1={}", "0".repeat(40)))],
            // Gitea and Forgejo.
            vec![("x-gitea-signature", hexed.clone())],
            vec![("x-forgejo-signature", hexed.clone()), ("x-gitea-signature", hexed)],
            // Bitbucket, and anybody else.
            vec![("x-hub-signature", named.clone())],
            vec![("x-signature", named)],
        ] {
            assert!(matches!(proven(TOKEN, &pairs, BODY), Some(Proven::Genuine(_))), "{pairs:?}");
            assert_eq!(proven(TOKEN, &pairs, b"{}"), Some(Proven::Forged), "{pairs:?}");
            assert_eq!(proven(b"another token, 24 long..", &pairs, BODY), Some(Proven::Forged), "{pairs:?}");
        }
        let plain = [("x-gitlab-token", String::from_utf8(TOKEN.to_vec()).unwrap())];
        assert!(matches!(proven(TOKEN, &plain, BODY), Some(Proven::Genuine(_))));
        assert_eq!(proven(b"another token, 24 long..", &plain, BODY), Some(Proven::Forged));
        for wrong in ["a token of 24 character", "a token of 24 characters ", ""] {
            assert_eq!(proven(TOKEN, &[("x-gitlab-token", wrong.to_owned())], BODY), Some(Proven::Forged), "{wrong:?}");
        }
    }

    fn timed(key: &[u8], at: i64, signature: impl Fn(String) -> String) -> [(&'static str, String); 3] {
        let (id, time) = ("msg_1", at.to_string());
        let tag = STANDARD.encode(mac(key, &[id.as_bytes(), b".", time.as_bytes(), b".", BODY]));
        [("webhook-id", id.to_owned()), ("webhook-timestamp", time), ("webhook-signature", signature(tag))]
    }

    #[test]
    fn what_is_signed_with_its_time_ends() {
        let at = |second: i64| proven(TOKEN, &timed(TOKEN, second, |tag| format!("v1,{tag}")), BODY).unwrap();
        let now = now().as_second();
        assert!(matches!(at(now), Proven::Genuine(_)));
        assert!(matches!(at(now - WINDOW_SECONDS), Proven::Genuine(_)));
        assert!(matches!(at(now + WINDOW_SECONDS), Proven::Genuine(_)));
        assert_eq!((at(now - WINDOW_SECONDS - 1), at(now + WINDOW_SECONDS + 1)), (Proven::Stale, Proven::Stale));
        assert_eq!((at(i64::MIN / 1_000_000_000_000), at(0)), (Proven::Stale, Proven::Stale));
        // Among several, one is enough; other versions and another id count for nothing.
        let other = STANDARD.encode([7; 32]);
        let pairs = timed(TOKEN, now, |tag| format!("v1a,{other} v1,{other} v1,{tag}"));
        assert!(matches!(proven(TOKEN, &pairs, BODY), Some(Proven::Genuine(_))));
        let pairs = timed(TOKEN, now, |tag| format!("v2,{tag}"));
        assert_eq!(proven(TOKEN, &pairs, BODY), Some(Proven::Forged));
        let mut pairs = timed(TOKEN, now, |tag| format!("v1,{tag}"));
        pairs[0].1 = "msg_2".to_owned();
        assert_eq!(proven(TOKEN, &pairs, BODY), Some(Proven::Forged));
        pairs[1].1 = "soon".to_owned();
        assert_eq!(proven(TOKEN, &pairs, BODY), None);
    }

    #[test]
    fn a_token_of_standard_webhooks_stands_for_its_key() {
        let key = [9_u8; 24];
        let token = [STANDARD_PREFIX, STANDARD.encode(key).as_bytes()].concat();
        let now = now().as_second();
        let by = |key: &[u8]| proven(&token, &timed(key, now, |tag| format!("v1,{tag}")), BODY).unwrap();
        assert!(matches!(by(&key), Proven::Genuine(_)));
        assert!(matches!(by(&token), Proven::Genuine(_)), "a forge that takes the token as it is");
        assert_eq!(by(b"another key of somebody"), Proven::Forged);
    }

    #[test]
    fn what_says_nothing_that_is_taken_is_no_proof() {
        let tag = hex::encode(mac(TOKEN, &[BODY]));
        for pairs in [
            vec![],
            vec![("x-hub-signature", format!("sha1={}", "0".repeat(40)))],
            vec![("x-hub-signature-256", tag.clone())],
            vec![("x-signature", format!("sha512={tag}"))],
            vec![("x-gitea-signature", format!("{tag}00"))],
            vec![("x-gitea-signature", String::new())],
            vec![("webhook-signature", format!("v1,{tag}"))],
            // Twice, or a strong name with a weak one's value.
            vec![("x-gitea-signature", tag.clone()), ("x-gitea-signature", tag)],
            vec![("x-hub-signature-256", format!("sha1={}", "0".repeat(40)))],
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in &pairs {
                map.append(HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(value.as_str()).unwrap());
            }
            assert_eq!(Proof::of(&map), None, "{pairs:?}");
        }
    }

    #[test]
    fn a_replay_has_the_digest_of_what_it_repeats_and_a_short_token_is_none() {
        let pairs = [("x-gitea-signature", hex::encode(mac(TOKEN, &[BODY])))];
        assert_eq!(proven(TOKEN, &pairs, BODY), proven(TOKEN, &pairs, BODY));
        assert!(Token::new(b"short").is_none());
        assert!(Token::new(b"fifteen bytes..\n").is_none());
        assert_eq!(Token::new(b"a token of 24 characters\n"), Token::new(TOKEN));
        assert!(!format!("{:?}", Token::new(TOKEN)).contains("characters"));
    }
}
