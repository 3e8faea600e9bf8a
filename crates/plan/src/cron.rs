//! When something recurs, as `crontab(5)` writes it: minute, hour, day of month, month, day of week.
//!
//! A parser of our own: those on the registry work on another library of time, or read six or seven fields and count the days of the
//! week from 1, which is not what is meant by people who write five.

use jiff::civil::{Date, DateTime, Time, date};

/// The longest expression, in bytes: 60 minutes by name of a number are 170, and nobody lists more than half of them.
pub(crate) const MAX_SCHEDULE_BYTES: usize = 128;
/// After so many days the calendar, with its days of the week, begins anew: what does not come in 400 years never does.
const CALENDAR_DAYS: usize = 146_097;
/// How far ahead is looked, in days: a 29 February that is a Sunday comes after 40 years where 2100 is in between.
const MAX_AHEAD_DAYS: usize = 41 * 366;

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Why an expression is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// It is longer than people write.
    #[error("it has {0} bytes, at most {MAX_SCHEDULE_BYTES} are read")]
    Long(usize),
    /// Another number of fields.
    #[error("it has {0} fields, not the five of minute, hour, day of month, month and day of week")]
    Fields(usize),
    /// A part is no number, name or range of the field.
    #[error("`{part}` is no {field}: {low} to {high}, `*`, a range such as `{low}-{high}`, or a list of them")]
    Part {
        /// Which field.
        field: &'static str,
        /// What was found, cut.
        part: String,
        /// The lowest value.
        low: u8,
        /// The highest value.
        high: u8,
    },
    /// A range ends before it begins.
    #[error("the range `{part}` of the {field} ends before it begins; write it as two, with a comma")]
    Backwards {
        /// Which field.
        field: &'static str,
        /// What was found, cut.
        part: String,
    },
    /// A step that is none, or of a single value.
    #[error("`{part}` of the {field} is no step: a number from 1 after `*` or a range, such as `*/2`")]
    Step {
        /// Which field.
        field: &'static str,
        /// What was found, cut.
        part: String,
    },
    /// No day of the calendar is meant.
    #[error("it never comes: no day of any year has this day of month, month and day of week")]
    Never,
}

/// A field: its values, and what stands for them.
struct Field {
    name: &'static str,
    low: u8,
    high: u8,
    names: &'static [&'static str],
}

const MINUTE: Field = Field { name: "minute", low: 0, high: 59, names: &[] };
const HOUR: Field = Field { name: "hour", low: 0, high: 23, names: &[] };
const DAY: Field = Field { name: "day of month", low: 1, high: 31, names: &[] };
const MONTH: Field = Field { name: "month", low: 1, high: 12, names: &MONTHS };
/// 7 is Sunday, as 0 is.
const WEEKDAY: Field = Field { name: "day of week", low: 0, high: 7, names: &WEEKDAYS };

impl Field {
    /// The values that a field means, as bits.
    fn read(&self, text: &str) -> Result<u64, CronError> {
        text.split(',').try_fold(0, |bits, part| Ok(bits | self.part(part)?))
    }

    fn part(&self, part: &str) -> Result<u64, CronError> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (part, None),
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (self.low, self.high),
            Some((first, last)) => (self.value(first, part)?, self.value(last, part)?),
            None if step.is_some() => return Err(self.step(part)),
            None => (self.value(range, part)?, self.value(range, part)?),
        };
        if first > last {
            return Err(CronError::Backwards { field: self.name, part: cut(part) });
        }
        let step = step.map_or(Ok(1), |step| number(step).filter(|step| *step > 0).ok_or_else(|| self.step(part)))?;
        Ok((first..=last).step_by(usize::from(step)).fold(0, |bits, value| bits | (1 << value)))
    }

    fn value(&self, text: &str, part: &str) -> Result<u8, CronError> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let named = named.and_then(|at| u8::try_from(at).ok()).map(|at| at + self.low);
        let value = named.or_else(|| number(text)).filter(|value| (self.low..=self.high).contains(value));
        value.ok_or_else(|| CronError::Part { field: self.name, part: cut(part), low: self.low, high: self.high })
    }

    fn step(&self, part: &str) -> CronError {
        CronError::Step { field: self.name, part: cut(part) }
    }
}

/// Digits and nothing else: `parse` would take `+1`.
fn number(text: &str) -> Option<u8> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// What is shown of a part.
fn cut(part: &str) -> String {
    part.chars().take(24).collect()
}

/// A schedule: which minutes of which days, on the clock of whoever asks.
///
/// Fields are numbers, names of months and days of the week (`jan`, `mon`; case does not matter), `*`, ranges, lists, and steps of
/// `*` or a range. Sunday is 0 and 7. If neither day of month nor day of week begins with `*`, a day is meant that is one of both, as
/// cron has it; else one that is both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    either_day: bool,
}

impl Cron {
    /// Reads an expression.
    pub(crate) fn parse(text: &str) -> Result<Self, CronError> {
        if text.len() > MAX_SCHEDULE_BYTES {
            return Err(CronError::Long(text.len()));
        }
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let &[minute, hour, day, month, weekday] = fields.as_slice() else {
            return Err(CronError::Fields(fields.len()));
        };
        let weekdays = WEEKDAY.read(weekday)?;
        let cron = Self {
            minutes: MINUTE.read(minute)?,
            hours: HOUR.read(hour)?,
            days: DAY.read(day)?,
            months: MONTH.read(month)?,
            weekdays: weekdays | (weekdays >> 7),
            either_day: !day.starts_with('*') && !weekday.starts_with('*'),
        };
        let comes = days_from(date(2000, 1, 1)).take(CALENDAR_DAYS).any(|day| cron.has_day(day));
        if comes { Ok(cron) } else { Err(CronError::Never) }
    }

    fn has_day(&self, day: Date) -> bool {
        let has = |bits: u64, value: i8| bits & (1 << value) != 0;
        if !has(self.months, day.month()) {
            return false;
        }
        let (of_month, of_week) =
            (has(self.days, day.day()), has(self.weekdays, day.weekday().to_sunday_zero_offset()));
        if self.either_day { of_month || of_week } else { of_month && of_week }
    }

    /// The first minute that is meant, from this one on and before that one.
    pub(crate) fn first(&self, from: DateTime, before: DateTime) -> Option<DateTime> {
        let day = days_from(from.date()).take(MAX_AHEAD_DAYS).take_while(|day| *day <= before.date());
        let mut minutes = day.filter(|day| self.has_day(*day)).flat_map(|day| self.minutes_of(day, from));
        minutes.next().filter(|minute| *minute < before)
    }

    /// The last minute that is meant, from this one on and not after that one.
    pub(crate) fn last(&self, from: DateTime, to: DateTime) -> Option<DateTime> {
        let days = std::iter::successors(Some(to.date()), |day| day.yesterday().ok());
        let days = days.take(MAX_AHEAD_DAYS).take_while(|day| *day >= from.date());
        let found = days.filter(|day| self.has_day(*day)).find_map(|day| {
            let hours = (0..24_i8).rev().filter(|hour| self.hours & (1 << hour) != 0);
            let minutes = hours.flat_map(|hour| bits_down(self.minutes).map(move |minute| at(day, hour, minute)));
            minutes.flatten().find(|minute| *minute <= to)
        });
        found.filter(|minute| *minute >= from)
    }

    fn minutes_of(&self, day: Date, from: DateTime) -> impl Iterator<Item = DateTime> {
        let (hours, minutes) = (self.hours, self.minutes);
        let hours = (0..24_i8).filter(move |hour| hours & (1 << hour) != 0);
        let of_hour =
            move |hour| (0..60_i8).filter(move |minute| minutes & (1 << minute) != 0).map(move |minute| (hour, minute));
        hours
            .flat_map(of_hour)
            .filter_map(move |(hour, minute)| at(day, hour, minute))
            .filter(move |minute| *minute >= from)
    }
}

fn bits_down(minutes: u64) -> impl Iterator<Item = i8> {
    (0..60_i8).rev().filter(move |minute| minutes & (1 << minute) != 0)
}

fn days_from(day: Date) -> impl Iterator<Item = Date> {
    std::iter::successors(Some(day), |day| day.tomorrow().ok())
}

fn at(day: Date, hour: i8, minute: i8) -> Option<DateTime> {
    Some(day.to_datetime(Time::new(hour, minute, 0, 0).ok()?))
}

#[cfg(test)]
#[path = "cron_tests.rs"]
mod tests;
