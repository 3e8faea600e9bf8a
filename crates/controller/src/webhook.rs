//! Webhooks: a forge says that something was pushed, and the source is polled now.
//!
//! A hint and no more: nothing of a request is parsed or believed but who sent it, and the worst that a forged one could do
//! is a poll. The token of each source is the one that its last poll found in the Secret, so that no request from outside
//! costs one to the API server. Sub-modules: `signature` (who sent it), `limits` (how often), `door` (how many connections,
//! and for how long), `answer` (what is said), `listen` (the thread).

mod answer;
mod door;
mod limits;
mod listen;
mod signature;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::state::Key;
use limits::Deliveries;

pub(crate) use answer::Outcome;
pub(crate) use listen::Webhooks;
pub use listen::WebhooksError;
pub(crate) use signature::{MIN_TOKEN_BYTES, Token};

/// What the loop and the thread of webhooks tell each other.
#[derive(Debug, Default)]
pub(crate) struct Hooks {
    known: Mutex<BTreeMap<Key, Arc<Hook>>>,
    /// Sources that are to be polled: many hints are one poll.
    hinted: Mutex<BTreeSet<Key>>,
    any: AtomicBool,
}

/// A source that takes webhooks.
#[derive(Debug)]
struct Hook {
    token: Token,
    seen: Arc<Mutex<Deliveries>>,
}

/// What a poll found of a source's token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SecretToken {
    /// The Secret was not read: nothing is known, and what was known stays.
    Unread,
    /// What the Secret has, or that there is none.
    Read(Option<Token>),
}

/// Nothing that can panic happens under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hooks {
    /// The token that a source's Secret has now; without one it takes no webhooks.
    pub(crate) fn know(&self, source: &Key, found: SecretToken) {
        let SecretToken::Read(token) = found else { return };
        let mut known = lock(&self.known);
        let Some(token) = token else {
            known.remove(source);
            return;
        };
        let before = known.get(source);
        if before.is_some_and(|hook| hook.token == token) {
            return;
        }
        // What was seen is not forgotten: the token before may come back.
        let seen = before.map(|hook| hook.seen.clone()).unwrap_or_default();
        known.insert(source.clone(), Arc::new(Hook { token, seen }));
    }

    /// Forgets sources that are gone.
    pub(crate) fn retain(&self, exists: impl Fn(&Key) -> bool) {
        lock(&self.known).retain(|source, _| exists(source));
    }

    /// The sources that are to be polled.
    pub(crate) fn take_hinted(&self) -> BTreeSet<Key> {
        if !self.any.swap(false, Ordering::AcqRel) {
            return BTreeSet::new();
        }
        std::mem::take(&mut *lock(&self.hinted))
    }

    fn hook(&self, source: &Key) -> Option<Arc<Hook>> {
        lock(&self.known).get(source).cloned()
    }

    /// At most as many as there are sources: who is not known gives no hint.
    fn hint(&self, source: Key) {
        lock(&self.hinted).insert(source);
        self.any.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{limits::Delivery, *};

    #[test]
    fn many_hints_are_one_poll_and_only_for_sources_that_are_there() {
        let key = |name: &str| Key { namespace: "shop".to_owned(), name: name.to_owned() };
        let token = |text: &str| SecretToken::Read(Some(Token::new(text.as_bytes()).unwrap()));
        let hooks = Hooks::default();
        hooks.know(&key("a"), token("0123456789abcdef"));
        hooks.hint(key("a"));
        hooks.hint(key("a"));
        assert_eq!(hooks.take_hinted(), BTreeSet::from([key("a")]));
        assert_eq!(hooks.take_hinted(), BTreeSet::new());
        hooks.know(&key("a"), SecretToken::Read(None));
        assert!(hooks.hook(&key("a")).is_none());
        hooks.know(&key("b"), token("0123456789abcdef"));
        hooks.retain(|source| source.name != "b");
        assert!(hooks.hook(&key("b")).is_none());
    }
    #[test]
    fn what_was_seen_is_forgotten_by_no_other_token_and_no_secret_that_was_not_read() {
        let source = Key { namespace: "shop".to_owned(), name: "a".to_owned() };
        let token = |text: &str| SecretToken::Read(Some(Token::new(text.as_bytes()).unwrap()));
        let (hooks, now) = (Hooks::default(), Instant::now());
        let see = |hooks: &Hooks, digest| lock(&hooks.hook(&source).unwrap().seen).see([digest; 32], now);
        hooks.know(&source, token("0123456789abcdef"));
        let first = hooks.hook(&source).unwrap();
        assert_eq!(see(&hooks, 1), Delivery::New);
        hooks.know(&source, SecretToken::Unread);
        hooks.know(&source, token("0123456789abcdef"));
        assert!(Arc::ptr_eq(&first, &hooks.hook(&source).unwrap()), "nothing has changed");
        hooks.know(&source, token("another-token-16"));
        assert_eq!(hooks.hook(&source).unwrap().token, Token::new(b"another-token-16").unwrap());
        assert_eq!(see(&hooks, 2), Delivery::New);
        hooks.know(&source, token("0123456789abcdef"));
        assert_eq!((see(&hooks, 1), see(&hooks, 2)), (Delivery::Replay, Delivery::Replay));
    }
}
