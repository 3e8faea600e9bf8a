//! How much an exchange with a server may take.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::exchange::{ExchangeError, Waiting};

/// Name, connection and handshake together: three lost SYN packets (1+2+4 s) and some.
pub(crate) const CONNECT_SECONDS: u64 = 10;
/// Silence of the peer: a server that packs a large repository sends progress every second.
pub(crate) const SILENCE_SECONDS: u64 = 20;

/// How much one exchange may still take: a deadline and bytes, shared by all its requests.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    started: Instant,
    seconds: u64,
    bytes: u64,
    left: Arc<AtomicU64>,
}

impl Budget {
    pub(crate) fn new(seconds: u64, bytes: u64) -> Self {
        Self { started: Instant::now(), seconds, bytes, left: Arc::new(AtomicU64::new(bytes)) }
    }

    /// One with the same deadline and bytes of its own.
    pub(crate) fn beside(&self, bytes: u64) -> Self {
        Self { bytes, left: Arc::new(AtomicU64::new(bytes)), ..self.clone() }
    }

    /// All the time there is, in seconds.
    pub(crate) const fn seconds(&self) -> u64 {
        self.seconds
    }

    /// Bytes received so far.
    pub(crate) fn received(&self) -> u64 {
        self.bytes.saturating_sub(self.left.load(Ordering::Relaxed))
    }

    /// What is left of the time.
    pub(crate) fn remaining(&self) -> Result<Duration, ExchangeError> {
        Duration::from_secs(self.seconds)
            .checked_sub(self.started.elapsed())
            .filter(|left| !left.is_zero())
            .ok_or(ExchangeError::TimedOut { waiting: Waiting::Whole, seconds: self.seconds })
    }

    /// Counts bytes that were received.
    pub(crate) fn take(&self, count: usize) -> Result<(), ExchangeError> {
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(count as u64))
            .map(drop)
            .map_err(|_| ExchangeError::Bytes { limit: self.bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_ends() {
        let budget = Budget::new(100, 10);
        assert!(budget.take(10).is_ok());
        assert_eq!(budget.received(), 10);
        assert_eq!(budget.take(1), Err(ExchangeError::Bytes { limit: 10 }));
        assert_eq!(budget.received(), 10);
        assert!(matches!(Budget::new(0, 1).remaining(), Err(ExchangeError::TimedOut { .. })));
    }
}
