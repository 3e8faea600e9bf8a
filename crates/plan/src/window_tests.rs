use jiff::{Span, tz::AmbiguousOffset};
use proptest::prelude::*;

use super::*;

/// As `Allow Europe/Berlin 2h: 0 9 * * *`.
fn window(text: &str) -> Window {
    let (head, schedule) = text.split_once(": ").unwrap();
    let [kind, zone, duration] = head.split(' ').collect::<Vec<_>>()[..] else { panic!("{text}") };
    let kind = if kind == "Allow" { WindowKind::Allow } else { WindowKind::Deny };
    let time_zone = (zone != "-").then(|| zone.to_owned());
    Window { kind, schedule: schedule.to_owned(), duration: duration.to_owned(), time_zone }
}

fn windows(texts: &[&str]) -> Windows {
    Windows::parse(&texts.iter().map(|text| window(text)).collect::<Vec<_>>()).unwrap()
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The next changes, and what it is from then on.
fn changes(windows: &Windows, from: &str, count: usize) -> Vec<String> {
    let next = |at: &Timestamp| windows.next_change(*at);
    let word = |at: Timestamp| if windows.open(at).is_ok() { "open" } else { "closed" };
    let found = std::iter::successors(Some(time(from)), next).take(count + 1);
    found.map(|at| format!("{} {}", at.strftime("%F %R"), word(at))).collect()
}

#[test]
fn when_it_is_open() {
    let rows: &[(&[&str], &str, &[&str])] = &[
        (&[], "2026-01-01T00:00Z", &["2026-01-01 00:00 open"]),
        // Working hours; the first of January 2026 is a Thursday.
        (
            &["Allow - 8h: 0 9 * * 1-5"],
            "2026-01-01T08:59Z",
            &[
                "2026-01-01 08:59 closed",
                "2026-01-01 09:00 open",
                "2026-01-01 17:00 closed",
                "2026-01-02 09:00 open",
                "2026-01-02 17:00 closed",
                "2026-01-05 09:00 open",
            ],
        ),
        // A weekend.
        (
            &["Deny - 62h: 0 18 * * fri"],
            "2026-01-01T00:00Z",
            &["2026-01-01 00:00 open", "2026-01-02 18:00 closed", "2026-01-05 08:00 open", "2026-01-09 18:00 closed"],
        ),
        // Whatever is allowed, what denies closes.
        (
            &["Allow - 8h: 0 9 * * *", "Deny - 1h: 0 12 * * *"],
            "2026-01-01T10:00Z",
            &["2026-01-01 10:00 open", "2026-01-01 12:00 closed", "2026-01-01 13:00 open", "2026-01-01 17:00 closed"],
        ),
        // Two that meet are one; two that overlap as well.
        (
            &["Allow - 1h: 0 9 * * *", "Allow - 1h: 0 10 * * *", "Allow - 90m: 30 10 * * *"],
            "2026-01-01T00:00Z",
            &["2026-01-01 00:00 closed", "2026-01-01 09:00 open", "2026-01-01 12:00 closed"],
        ),
        // One that begins again before it is over.
        (
            &["Deny - 90m: 0 8-10 * * *"],
            "2026-01-01T00:00Z",
            &["2026-01-01 00:00 open", "2026-01-01 08:00 closed", "2026-01-01 11:30 open", "2026-01-02 08:00 closed"],
        ),
        // One that never ends, and one that is never allowed to begin.
        (&["Deny - 744h: 0 0 * * *"], "2026-01-01T00:00Z", &["2026-01-01 00:00 closed"]),
        (&["Deny - 1m: * * * * *"], "2026-01-01T00:00Z", &["2026-01-01 00:00 closed"]),
        (&["Allow - 1m: * * * * *"], "2026-01-01T00:00Z", &["2026-01-01 00:00 open"]),
        (&["Allow - 1h: 0 9 * * *", "Deny - 1h: 0 9 * * *"], "2026-01-01T00:00Z", &["2026-01-01 00:00 closed"]),
        // Seconds count.
        (
            &["Deny - 1m30s: 0 0 * * *"],
            "2026-01-01T00:01:29Z",
            &["2026-01-01 00:01 closed", "2026-01-01 00:01 open", "2026-01-02 00:00 closed"],
        ),
        // Other zones: the day of the week is that of the zone.
        (
            &["Allow America/New_York 2h: 0 20 * * sun"],
            "2026-01-01T00:00Z",
            &["2026-01-01 00:00 closed", "2026-01-05 01:00 open", "2026-01-05 03:00 closed"],
        ),
        (
            &["Allow Asia/Kathmandu 1h: 0 0 1 1 *"],
            "2026-06-01T00:00Z",
            &["2026-06-01 00:00 closed", "2026-12-31 18:15 open", "2026-12-31 19:15 closed"],
        ),
        // Seldom.
        (&["Deny - 1h: 0 0 29 2 */7"], "2089-01-01T00:00Z", &["2089-01-01 00:00 open", "2128-02-29 00:00 closed"]),
        (
            &["Deny Europe/Berlin 1h: 0 0 29 2 */7"],
            "2089-01-01T00:00Z",
            &["2089-01-01 00:00 open", "2128-02-28 23:00 closed"],
        ),
    ];
    for (texts, from, expected) in rows {
        let found = changes(&windows(texts), from, 20);
        assert!(
            found.starts_with(&expected.iter().map(ToString::to_string).collect::<Vec<_>>()),
            "{texts:?}: {found:?}"
        );
        if expected.len() == 1 {
            assert_eq!(found.len(), 1, "{texts:?}: {found:?}");
        }
    }
}

/// In Berlin, 2026: from 2 to 3 o'clock on 29 March, in UTC at 1; from 3 to 2 on 25 October, in UTC at 1.
#[test]
fn a_minute_that_the_clock_leaves_out_counts_once_and_one_that_it_shows_twice_counts_twice() {
    let rows: &[(&str, &str, &[&str])] = &[
        // 2:30 is not shown: it would have come half an hour after the clock was moved.
        (
            "Deny Europe/Berlin 1h: 30 2 * * *",
            "2026-03-29T00:00Z",
            &["2026-03-29 00:00 open", "2026-03-29 01:30 closed", "2026-03-29 02:30 open", "2026-03-30 00:30 closed"],
        ),
        // 2:00 and 3:00 are the same moment.
        (
            "Deny Europe/Berlin 30m: 0 2,3 * * *",
            "2026-03-29T00:00Z",
            &["2026-03-29 00:00 open", "2026-03-29 01:00 closed", "2026-03-29 01:30 open", "2026-03-30 00:00 closed"],
        ),
        // A duration is no time on the clock: this one ends at 4.
        (
            "Allow Europe/Berlin 2h: 0 1 * * *",
            "2026-03-29T00:00Z",
            &["2026-03-29 00:00 open", "2026-03-29 02:00 closed", "2026-03-29 23:00 open"],
        ),
        // 2:30 is shown twice.
        (
            "Deny Europe/Berlin 30m: 30 2 * * *",
            "2026-10-25T00:00Z",
            &[
                "2026-10-25 00:00 open",
                "2026-10-25 00:30 closed",
                "2026-10-25 01:00 open",
                "2026-10-25 01:30 closed",
                "2026-10-25 02:00 open",
                "2026-10-26 01:30 closed",
            ],
        ),
        (
            "Deny Europe/Berlin 1h: 30 2 * * *",
            "2026-10-25T00:00Z",
            &["2026-10-25 00:00 open", "2026-10-25 00:30 closed", "2026-10-25 02:30 open", "2026-10-26 01:30 closed"],
        ),
        // Half an hour, on Lord Howe Island: from 2:00 to 2:30 on 4 October, in UTC at 15:30 the day before.
        (
            "Deny Australia/Lord_Howe 10m: 15 2 * * *",
            "2026-10-03T00:00Z",
            &["2026-10-03 00:00 open", "2026-10-03 15:45 closed", "2026-10-03 15:55 open", "2026-10-04 15:15 closed"],
        ),
        // A whole day, in Samoa: there was no 30 December 2011.
        (
            "Deny Pacific/Apia 10m: 0 12 * * *",
            "2011-12-29T23:00Z",
            &["2011-12-29 23:00 open", "2011-12-30 22:00 closed", "2011-12-30 22:10 open", "2011-12-31 22:00 closed"],
        ),
    ];
    for (text, from, expected) in rows {
        assert_eq!(changes(&windows(&[text]), from, expected.len() - 1), *expected, "{text}");
    }
}

#[test]
fn what_closes_is_named() {
    let closed = |texts: &[&str], at| {
        let Closed { until, by } = windows(texts).open(time(at)).unwrap_err();
        format!("{by}, until {}", until.map_or_else(|| "?".to_owned(), |until| until.to_string()))
    };
    let both = ["Allow - 8h: 0 9 * * *", "Deny Europe/Berlin 1h30m: 0  12 * * *"];
    assert_eq!(
        closed(&both, "2026-01-01T11:10Z"),
        "window 2 denies it (0 12 * * * for 1h30m, Europe/Berlin), until 2026-01-01T12:30:00Z"
    );
    assert_eq!(closed(&both, "2026-01-01T18:10Z"), "no window allows it, until 2026-01-02T09:00:00Z");
    assert!(closed(&["Deny - 1m: * * * * *"], "2026-01-01T18:10Z").ends_with(", until ?"));
}

#[test]
fn all_that_is_wrong_is_said_with_its_field() {
    let good = window("Allow - 1h: 0 0 * * *");
    let said = |windows: &[Window]| {
        let errors = Windows::parse(windows).unwrap_err();
        errors.iter().map(|error| format!("{}: {error}", error.field())).collect::<Vec<_>>()
    };
    let with = |schedule: &str, duration: &str, zone: &str| Window {
        schedule: schedule.to_owned(),
        duration: duration.to_owned(),
        time_zone: Some(zone.to_owned()),
        ..good.clone()
    };
    assert_eq!(
        said(&[good.clone(), with("0 0 30 2 *", "59s", "Mars/Olympus")]),
        [
            "[1].schedule: schedule \"0 0 30 2 *\": it never comes: no day of any year has this day of month, month and day of week",
            "[1].duration: duration \"59s\" is not between a minute and 31 days, in hours, minutes and seconds such as `1h30m`",
            "[1].timeZone: time zone \"Mars/Olympus\" is not known; a name of the IANA database such as `Europe/Berlin`, or none for UTC",
        ]
    );
    for duration in ["", "0s", "59s", "744h1s", "2d", "1.5h", "-1h"] {
        assert_eq!(said(&[with("0 0 * * *", duration, "UTC")]).len(), 1, "{duration}");
    }
    for zone in ["", "CET-1CEST", "/etc/localtime", "../UTC", "Local", "local time"] {
        assert_eq!(said(&[with("0 0 * * *", "1h", zone)]).len(), 1, "{zone}");
    }
    for (duration, zone) in [("1m", "UTC"), ("744h", "europe/berlin"), ("90s", "CET")] {
        assert!(Windows::parse(&[with("0 0 * * *", duration, zone)]).is_ok(), "{duration} {zone}");
    }
    assert_eq!(said(&vec![good.clone(); 33]), [": there are 33 windows, at most 32 are read"]);
    assert!(Windows::parse(&vec![good; 32]).is_ok());
}

fn any_window() -> impl Strategy<Value = Window> {
    let zones =
        ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Casablanca"];
    let minute =
        prop_oneof![Just("0".to_owned()), Just("*/20".to_owned()), (0..60_u8).prop_map(|minute| minute.to_string())];
    let hour = prop_oneof![
        Just("*".to_owned()),
        Just("2".to_owned()),
        Just("1-3".to_owned()),
        (0..24_u8).prop_map(|hour| hour.to_string())
    ];
    let day = prop::sample::select(vec!["* * *", "* * 0", "* * mon-fri", "28-31 * *", "25 3,10 sun"]);
    let duration = prop::sample::select(vec!["1m", "90s", "20m", "1h", "25h"]);
    let kind = prop::sample::select(vec![WindowKind::Allow, WindowKind::Deny]);
    (kind, minute, hour, day, duration, prop::sample::select(zones.to_vec())).prop_map(
        |(kind, minute, hour, day, duration, zone)| {
            let schedule = format!("{minute} {hour} {day}");
            Window { kind, schedule, duration: duration.to_owned(), time_zone: Some(zone.to_owned()) }
        },
    )
}

/// The days around which clocks are moved in 2026, and one that is like others.
fn any_time() -> impl Strategy<Value = Timestamp> {
    let days = ["2026-03-08", "2026-03-29", "2026-04-04", "2026-10-03", "2026-10-25", "2026-11-01", "2026-06-30"];
    (prop::sample::select(days.to_vec()), -86_400_i64..2 * 86_400)
        .prop_map(|(day, seconds)| time(&format!("{day}T00:00Z")) + SignedDuration::from_secs(seconds))
}

/// The same from the other side: each minute on the clock of the zone, and the moments that it is.
fn covers(window: &Recurrence, now: Timestamp) -> bool {
    let shown = window.zone.to_datetime(now);
    let mut minute = shown.checked_sub(Span::new().hours(50)).unwrap().with().second(0).build().unwrap();
    let end = shown.checked_add(Span::new().hours(24)).unwrap();
    let begins = |begin: Timestamp| begin <= now && now < begin + window.duration;
    while minute < end {
        let next = minute.checked_add(Span::new().minutes(1)).unwrap();
        if window.schedule.first(minute, next).is_some() {
            let found = match window.zone.to_ambiguous_timestamp(minute).offset() {
                AmbiguousOffset::Unambiguous { offset } => vec![offset],
                AmbiguousOffset::Gap { before, .. } => vec![before],
                AmbiguousOffset::Fold { before, after } => vec![before, after],
            };
            if found.into_iter().any(|offset| begins(offset.to_timestamp(minute).unwrap())) {
                return true;
            }
        }
        minute = next;
    }
    false
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn it_changes_at_the_next_change_and_not_before(texts in prop::collection::vec(any_window(), 1..5), now in any_time(), share in 0.0..1.0_f64) {
        let windows = Windows::parse(&texts).unwrap();
        let is_open = windows.open(now).is_ok();
        prop_assert_eq!(windows.is_open(now), is_open);
        let Some(next) = windows.next_change(now) else { return Ok(()) };
        prop_assert!(next > now);
        prop_assert_eq!(windows.is_open(next), !is_open);
        prop_assert_eq!(windows.is_open(before(next)), is_open);
        let between = now + SignedDuration::from_secs_f64(now.duration_until(next).as_secs_f64() * share);
        prop_assert_eq!(windows.is_open(between.min(before(next))), is_open);
    }

    #[test]
    fn a_window_is_what_the_clock_of_its_zone_shows(text in any_window(), now in any_time()) {
        let window = Recurrence::parse(0, &text).unwrap();
        prop_assert_eq!(window.covers(now), covers(&window, now));
    }
}
