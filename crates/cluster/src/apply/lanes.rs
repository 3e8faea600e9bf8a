//! How many requests are in flight: an adaptive lane for roll-outs, and one of their own for
//! reverts, so that a roll-out never delays a revert.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};

/// Where a roll-out starts: eight times the cores of a small API server, which waits for its disk most of the time. With
/// four in flight such a server was idle for a third of it.
const START: usize = 16;
/// The most requests of roll-outs in flight: far below the 245 seats that API priority and fairness
/// gives to ServiceAccounts, and as many connections as one client should hold.
pub(super) const MAX: usize = 32;
/// The most reverts in flight: a burst of drift on a small API server is served by four; the rest
/// keeps a slow request from blocking the others.
const REVERTS: usize = 16;
/// Answers per measured stretch, at least.
const STRETCH: usize = 16;
/// A stretch must be this much faster than the best before it to be worth another request in flight.
const GAIN: f64 = 1.05;

/// A place in a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    Rollout,
    Revert,
}

/// How a request was answered, as far as pressure goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pressure {
    Served,
    /// 429, 503, 504, or no answer.
    Overloaded,
}

pub(crate) struct Lanes {
    rollout: Semaphore,
    revert: Semaphore,
    state: Mutex<State>,
}

struct State {
    limit: usize,
    /// Permits that are taken out of use as they come back.
    debt: usize,
    answered: usize,
    since: Option<Instant>,
    /// Answers per second of the best stretch since the limit last fell, fading.
    best: f64,
}

pub(super) struct Permit<'a> {
    lanes: &'a Lanes,
    lane: Lane,
    permit: Option<SemaphorePermit<'a>>,
}

impl Lanes {
    pub(crate) fn new() -> Self {
        let state = State { limit: START, debt: 0, answered: 0, since: None, best: 0.0 };
        Self { rollout: Semaphore::new(START), revert: Semaphore::new(REVERTS), state: Mutex::new(state) }
    }

    /// Waits for a place.
    pub(super) async fn enter(&self, lane: Lane) -> Permit<'_> {
        let semaphore = match lane {
            Lane::Rollout => &self.rollout,
            Lane::Revert => &self.revert,
        };
        if lane == Lane::Rollout {
            let mut state = self.state();
            if self.rollout.available_permits() >= state.limit {
                // Nothing was in flight: the pause before is not part of a rate.
                state.since = None;
            }
        }
        // Never closed, so it never fails; without a permit the request is still bounded by the
        // caller's own limit.
        Permit { lanes: self, lane, permit: semaphore.acquire().await.ok() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Numbers only: a panic elsewhere leaves them usable.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn learn(&self, pressure: Pressure) {
        let mut state = self.state();
        let now = Instant::now();
        if pressure == Pressure::Overloaded {
            let limit = (state.limit / 2).max(1);
            state.debt += state.limit - limit;
            state.limit = limit;
            (state.answered, state.since, state.best) = (0, None, 0.0);
            return;
        }
        let Some(since) = state.since else {
            (state.answered, state.since) = (0, Some(now));
            return;
        };
        state.answered += 1;
        if state.answered < STRETCH.max(2 * state.limit) {
            return;
        }
        let rate = state.answered as f64 / now.duration_since(since).as_secs_f64().max(1e-6);
        (state.answered, state.since) = (0, Some(now));
        if rate <= state.best * GAIN {
            // Other kinds cost more: what was reached once is forgotten slowly.
            state.best = state.best.mul_add(0.9, rate * 0.1);
            return;
        }
        state.best = rate;
        if state.limit < MAX {
            state.limit += 1;
            if state.debt > 0 {
                state.debt -= 1;
            } else {
                self.rollout.add_permits(1);
            }
        }
    }

    /// How many requests of roll-outs may be in flight at the moment.
    #[cfg(test)]
    pub(super) fn limit(&self) -> usize {
        self.state().limit
    }
}

impl Permit<'_> {
    /// Leaves the lane and tells how it went.
    pub(super) fn leave(self, pressure: Pressure) {
        if self.lane == Lane::Rollout {
            self.lanes.learn(pressure);
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.lane == Lane::Revert {
            return;
        }
        let mut state = self.lanes.state();
        if state.debt > 0
            && let Some(permit) = self.permit.take()
        {
            state.debt -= 1;
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// One request after the other, each answered after `each`.
    async fn serve(lanes: &Lanes, waves: usize, each: Duration) {
        let mut last = lanes.enter(Lane::Rollout).await;
        for _ in 0..waves {
            tokio::time::advance(each).await;
            // One is always in flight, so that the lane is never idle.
            let next = lanes.enter(Lane::Rollout).await;
            last.leave(Pressure::Served);
            last = next;
        }
        last.leave(Pressure::Served);
    }

    #[tokio::test(start_paused = true)]
    async fn grows_while_the_rate_grows_and_halves_under_pressure() {
        let lanes = Lanes::new();
        assert_eq!(lanes.limit(), START);
        for micros in (100..1000).rev().step_by(100) {
            serve(&lanes, 80, Duration::from_micros(micros)).await;
        }
        serve(&lanes, 40, Duration::from_millis(5)).await;
        let grown = lanes.limit();
        assert!(grown > START && grown <= MAX, "{grown}");
        serve(&lanes, 1000, Duration::from_millis(5)).await;
        assert_eq!(lanes.limit(), grown, "a slower server is not asked for more");
        lanes.enter(Lane::Rollout).await.leave(Pressure::Overloaded);
        assert_eq!(lanes.limit(), grown / 2);
        // The permits follow the limit as they come back.
        serve(&lanes, grown, Duration::from_millis(5)).await;
        assert_eq!(lanes.rollout.available_permits(), grown / 2);
        for _ in 0..10 {
            lanes.enter(Lane::Rollout).await.leave(Pressure::Overloaded);
        }
        assert_eq!(lanes.limit(), 1);
        assert_eq!(lanes.revert.available_permits(), REVERTS);
    }
}
