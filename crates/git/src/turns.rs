//! Turns of the fetch children, in the order in which they were asked for, and one for each owner at a time.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, PoisonError},
};

/// Children at once. Each may have 327 MiB ([`crate::child`]), and the pod of deploy/ has 1 GiB: 370 MiB are left to the
/// controller. Not one, so that an owner whose servers stall leaves the other to everybody else.
const CHILDREN: usize = 2;

static TURNS: Turns = Turns { line: Mutex::new(Line::new()), moved: Condvar::new() };

struct Turns {
    line: Mutex<Line>,
    moved: Condvar,
}

/// One of the [`CHILDREN`], given back when it is dropped.
pub(crate) struct Turn<'a> {
    owner: &'a str,
}

impl<'a> Turn<'a> {
    /// Waits for one. Each child ends within its deadline, and nobody is passed by one who came later and could not run
    /// beside those who came before.
    pub(crate) fn take(owner: &'a str) -> Self {
        // The line is whole between any two of its calls.
        let mut line = TURNS.line.lock().unwrap_or_else(PoisonError::into_inner);
        let ticket = line.arrive(owner);
        let mut line =
            TURNS.moved.wait_while(line, |line| !line.is_next(ticket)).unwrap_or_else(PoisonError::into_inner);
        line.start(ticket);
        // There may be room for another.
        TURNS.moved.notify_all();
        Self { owner }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        TURNS.line.lock().unwrap_or_else(PoisonError::into_inner).end(self.owner);
        TURNS.moved.notify_all();
    }
}

/// Who waits, first come first, and who runs.
struct Line {
    tickets: u64,
    waiting: VecDeque<(u64, String)>,
    running: Vec<String>,
}

impl Line {
    const fn new() -> Self {
        Self { tickets: 0, waiting: VecDeque::new(), running: Vec::new() }
    }

    fn arrive(&mut self, owner: &str) -> u64 {
        self.tickets = self.tickets.wrapping_add(1);
        self.waiting.push_back((self.tickets, owner.to_owned()));
        self.tickets
    }

    fn is_next(&self, ticket: u64) -> bool {
        let mut free = self.waiting.iter().filter(|(_, owner)| !self.running.contains(owner));
        self.running.len() < CHILDREN && free.next().is_some_and(|(first, _)| *first == ticket)
    }

    fn start(&mut self, ticket: u64) {
        if let Some(place) = self.waiting.iter().position(|(other, _)| *other == ticket)
            && let Some((_, owner)) = self.waiting.remove(place)
        {
            self.running.push(owner);
        }
    }

    fn end(&mut self, owner: &str) {
        if let Some(place) = self.running.iter().position(|other| other == owner) {
            self.running.remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Starts all that may start.
    fn run(line: &mut Line) -> Vec<String> {
        while let Some((ticket, _)) = line.waiting.iter().find(|(ticket, _)| line.is_next(*ticket)).cloned() {
            line.start(ticket);
        }
        line.running.clone()
    }

    #[test]
    fn an_owner_has_one_turn_and_the_others_have_theirs_in_order() {
        let mut line = Line::new();
        for owner in ["a", "a", "a", "b", "c", "d"] {
            line.arrive(owner);
        }
        assert_eq!(run(&mut line), ["a", "b"]);
        line.end("b");
        assert_eq!(run(&mut line), ["a", "c"]);
        line.end("a");
        assert_eq!(run(&mut line), ["c", "a"]);
        line.end("c");
        assert_eq!(run(&mut line), ["a", "d"], "the third of a waits for the second");
        line.end("a");
        line.end("d");
        assert_eq!(run(&mut line), ["a"]);
        line.end("a");
        assert!(run(&mut line).is_empty() && line.waiting.is_empty());
    }
}
