//! Whose turn it is in a Sync: an order to take it back, or what its source has verified. Whoever may write orders keeps no
//! commit from being rolled out, has no roll-out tried again before its time, and costs no more than one judgement now and
//! then: 60 a minute, at 16 signatures of less than 1 ms each, and 5 ms to open the mirror, are 2 % of a core; and a roll-out
//! that waits keeps nobody from ordering the Sync back.

use std::time::Instant;

use crate::{pace::Pace, state::Phase};

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// That of an order, if one can be judged.
    Order,
    /// That of what is verified, or of what a roll-out left.
    Candidate,
    /// Nobody's: something is under way, or it is not time.
    Nobody,
}

/// Which order is judged next, in turns: those who wrote a thousand before keep nobody waiting, and neither do those who go on
/// and on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Of those that were not judged yet, the one that waits longest.
    #[default]
    Oldest,
    /// Of those that were not judged yet, the one that came last.
    Newest,
    /// One that was refused, and may have been mended.
    Again,
}

/// What is known of the turns of one Sync.
#[derive(Debug, Default)]
pub(crate) struct OrderTurns {
    /// An order was judged since the last candidate was: it is the candidate's turn, if there is one.
    judged: bool,
    /// How often orders are judged.
    pace: Pace,
    /// Which order is next.
    choice: Choice,
    /// When the roll-out is tried again that waits while an order is judged.
    retry: Option<Instant>,
}

/// Whether a candidate may be judged in this phase.
pub(crate) fn is_due(phase: Phase, now: Instant) -> bool {
    match phase {
        Phase::Idle => true,
        Phase::Waiting { until } => until <= now,
        Phase::Preparing | Phase::Applying => false,
    }
}

impl OrderTurns {
    /// Whether an order may be judged in this phase.
    pub(crate) fn may_order(&self, phase: Phase, now: Instant) -> bool {
        matches!(phase, Phase::Idle | Phase::Waiting { .. }) && self.pace.allows(now)
    }

    /// Whose turn it is, if there is a candidate or an order. One order at most, then the candidate, once its time has come.
    pub(crate) fn turn(&self, phase: Phase, has_candidate: bool, has_order: bool, now: Instant) -> Turn {
        let is_due = is_due(phase, now);
        let is_candidates = is_due && has_candidate && self.judged;
        if has_order && !is_candidates && self.may_order(phase, now) {
            return Turn::Order;
        }
        if is_due { Turn::Candidate } else { Turn::Nobody }
    }

    /// The judgement of an order begins in this phase.
    pub(crate) fn order_begins(&mut self, phase: Phase, now: Instant) {
        self.judged = true;
        self.choice = match self.choice {
            Choice::Oldest => Choice::Newest,
            Choice::Newest => Choice::Again,
            Choice::Again => Choice::Oldest,
        };
        self.pace.take(now);
        self.retry = match phase {
            Phase::Waiting { until } => Some(until),
            Phase::Idle | Phase::Preparing | Phase::Applying => None,
        };
    }

    /// It is over, and the phase is what it was.
    pub(crate) fn order_ends(&mut self) -> Phase {
        self.retry.take().map_or(Phase::Idle, |until| Phase::Waiting { until })
    }

    /// Nobody had signed the order that was judged last.
    pub(crate) fn was_unsigned(&mut self) {
        self.pace.was_unsigned();
    }

    /// Which order is next.
    pub(crate) const fn choice(&self) -> Choice {
        self.choice
    }

    /// The judgement of a candidate begins.
    pub(crate) fn candidate_begins(&mut self) {
        self.judged = false;
    }

    /// Whether a roll-out waits while an order is judged.
    pub(crate) const fn is_waiting(&self) -> bool {
        self.retry.is_some()
    }

    /// It waits no longer.
    pub(crate) fn stop_waiting(&mut self) {
        self.retry = None;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::pace::{BURST, PACE};

    /// A Sync on a clock of our own, whose every roll-out fails and is tried again later each time, as in `apply`.
    struct Clocked {
        start: Instant,
        now: Instant,
        phase: Phase,
        turns: OrderTurns,
        attempts: u32,
        /// What was done, with the seconds since the start.
        orders: Vec<u64>,
        rollouts: Vec<u64>,
    }

    impl Clocked {
        fn new() -> Self {
            let start = Instant::now();
            let (orders, rollouts) = (Vec::new(), Vec::new());
            Self { start, now: start, phase: Phase::Idle, turns: OrderTurns::default(), attempts: 0, orders, rollouts }
        }

        /// One turn of the loop, with junk that is always there or none at all. A judgement takes a turn.
        fn turn(&mut self, has_candidate: bool, has_order: bool) {
            let second = self.now.duration_since(self.start).as_secs();
            if self.phase == Phase::Preparing {
                self.phase = self.turns.order_ends();
            }
            match self.turns.turn(self.phase, has_candidate, has_order, self.now) {
                Turn::Order => {
                    self.orders.push(second);
                    self.turns.order_begins(self.phase, self.now);
                    self.phase = Phase::Preparing;
                }
                Turn::Candidate if has_candidate => {
                    self.rollouts.push(second);
                    self.turns.candidate_begins();
                    self.phase = Phase::Waiting { until: self.now + crate::apply::retry_pause(self.attempts) };
                    self.attempts += 1;
                }
                Turn::Candidate | Turn::Nobody => {}
            }
            self.now += Duration::from_millis(500);
        }

        fn run(mut self, seconds: u64, has_candidate: bool, has_order: bool) -> (Vec<u64>, Vec<u64>) {
            for _ in 0..seconds * 2 {
                self.turn(has_candidate, has_order);
            }
            (self.orders, self.rollouts)
        }
    }

    /// However many orders come, a roll-out that fails is tried again when it would be without them.
    #[test]
    fn junk_has_no_roll_out_tried_again_early() {
        let (none, quiet) = Clocked::new().run(600, true, false);
        let (orders, flooded) = Clocked::new().run(600, true, true);
        assert!(none.is_empty() && quiet.len() > 10 && flooded.len() == quiet.len(), "{quiet:?} {flooded:?}");
        // A judgement under way takes half a second, and is not interrupted; what was late once stays so.
        let late = |(flooded, quiet): (&u64, &u64)| flooded - quiet;
        assert!(flooded.iter().zip(&quiet).map(late).all(|late| late <= 15), "{quiet:?} {flooded:?}");
        let pauses = |all: &[u64]| all.windows(2).map(|two| two[1] - two[0]).collect::<Vec<_>>();
        for (flooded, quiet) in pauses(&flooded).into_iter().zip(pauses(&quiet)) {
            assert!((quiet..=quiet + 1).contains(&flooded), "{flooded} {quiet}");
        }
        // And what they cost is bounded: all that may count at once, then one in four seconds.
        assert!((150..=150 + 16).contains(&orders.len()), "{orders:?}");
        let in_a_minute = |from: u64| orders.iter().filter(|at| (from..from + 60).contains(*at)).count();
        assert!(in_a_minute(0) <= 31 && (60..540).all(|from| in_a_minute(from) <= 16), "{orders:?}");
    }

    /// An order does not wait until the time of a failing roll-out has come.
    #[test]
    fn a_roll_out_that_waits_keeps_nobody_from_ordering() {
        let mut sync = Clocked::new();
        sync.attempts = 6;
        sync.turn(true, false);
        assert_eq!((sync.rollouts.len(), sync.orders.len()), (1, 0));
        sync.turn(true, true);
        assert_eq!((sync.rollouts.len(), sync.orders.len()), (1, 1));
    }

    /// One order, then the candidate, and the other way round.
    #[test]
    fn one_order_then_the_candidate() {
        let (mut turns, start) = (OrderTurns::default(), Instant::now());
        let mut done = Vec::new();
        for number in 0..8_u32 {
            // Both are always there, and it is always time.
            let now = start + PACE * number;
            let turn = turns.turn(Phase::Idle, true, true, now);
            match turn {
                Turn::Order => turns.order_begins(Phase::Idle, now),
                _ => turns.candidate_begins(),
            }
            done.push(turn);
        }
        assert_eq!(done, [Turn::Order, Turn::Candidate].repeat(4));
        // Without a candidate the next order has its turn, until there were too many; without orders candidates follow
        // each other.
        let now = start + PACE * 8;
        for _ in 0..BURST {
            assert_eq!(turns.turn(Phase::Idle, false, true, now), Turn::Order);
            turns.order_begins(Phase::Idle, now);
        }
        assert_eq!(turns.turn(Phase::Idle, false, true, now), Turn::Candidate);
        assert_eq!(turns.turn(Phase::Idle, false, true, now + PACE), Turn::Order);
        assert_eq!(turns.turn(Phase::Idle, true, false, now + PACE), Turn::Candidate);
        for phase in [Phase::Preparing, Phase::Applying] {
            assert_eq!(turns.turn(phase, true, true, now + PACE), Turn::Nobody);
        }
    }

    #[test]
    fn each_choice_has_its_turn() {
        let (mut turns, now) = (OrderTurns::default(), Instant::now());
        let mut choices = Vec::new();
        for _ in 0..4 {
            choices.push(turns.choice());
            turns.order_begins(Phase::Idle, now);
        }
        assert_eq!(choices, [Choice::Oldest, Choice::Newest, Choice::Again, Choice::Oldest]);
    }

    /// What a roll-out waits for may happen while an order is judged.
    #[test]
    fn a_roll_out_may_stop_waiting_meanwhile() {
        let (mut turns, now) = (OrderTurns::default(), Instant::now());
        let waiting = Phase::Waiting { until: now + PACE };
        turns.order_begins(waiting, now);
        assert!(turns.is_waiting());
        assert_eq!(turns.order_ends(), waiting);
        turns.order_begins(waiting, now);
        turns.stop_waiting();
        assert!(!turns.is_waiting());
        assert_eq!(turns.order_ends(), Phase::Idle);
    }
}
