//! Space kept for the entries that must be written when nothing else can be.
//!
//! A file of allocated blocks. When the volume is full it is cut, step by step, for advance, refuse,
//! rollback and override entries and for publishing what was already promised. While it is short, other kinds are
//! refused; each of their attempts tries to fill it up again first.

use std::sync::{Mutex, PoisonError};

use crate::body::BODY_LIMIT;
use crate::error::LogError;
use crate::storage::Storage;

pub(crate) const RESERVE: &str = "reserve";
/// Two of the largest bodies: the advance that filled the volume, and the refusal of the next one.
/// Smaller ones, with entries of 16 KiB at most, fit by the hundred. The tests of this crate take
/// an eighth, as their file system is in memory.
pub(crate) const RESERVE_BYTES: u64 = if cfg!(test) { BODY_LIMIT / 4 } else { 2 * BODY_LIMIT };
/// It is cut by at least this much, so that an entry with its tiles (a bundle of at most 4 MiB
/// rewritten in steps) needs few attempts.
const STEP: u64 = 1024 * 1024;

/// Bytes that are left in it.
pub(crate) struct Reserve(Mutex<u64>);

impl Reserve {
    pub(crate) fn open(storage: &dyn Storage) -> Result<Self, LogError> {
        let found = storage.length(RESERVE).map_err(|error| LogError::storage("read", RESERVE, error))?;
        let reserve = Self(Mutex::new(found.unwrap_or(0).min(RESERVE_BYTES)));
        match reserve.fill(storage) {
            // A full volume does not keep the log from opening.
            Err(error) if error.is_out_of_space() => Ok(reserve),
            result => result.map(|()| reserve),
        }
    }

    /// Fills it up again.
    pub(crate) fn fill(&self, storage: &dyn Storage) -> Result<(), LogError> {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *left < RESERVE_BYTES {
            storage.allocate(RESERVE, RESERVE_BYTES).map_err(|error| LogError::storage("allocate", RESERVE, error))?;
            *left = RESERVE_BYTES;
        }
        Ok(())
    }

    /// Bytes that are left in it.
    pub(crate) fn left(&self) -> u64 {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives up at least `needed` bytes; says whether there was anything to give.
    pub(crate) fn shrink(&self, storage: &dyn Storage, needed: u64) -> Result<bool, LogError> {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *left == 0 {
            return Ok(false);
        }
        let rest = left.saturating_sub(needed.max(STEP));
        storage.set_len(RESERVE, rest).map_err(|error| LogError::storage("cut", RESERVE, error))?;
        *left = rest;
        Ok(true)
    }
}
