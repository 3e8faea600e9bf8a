use super::*;

/// The next times from noon of the first of January 2026, a Thursday.
fn times(text: &str, count: usize) -> Vec<String> {
    let cron = Cron::parse(text).unwrap();
    let end = date(2400, 1, 1).at(0, 0, 0, 0);
    let next = |from: &DateTime| cron.first(from.checked_add(jiff::Span::new().nanoseconds(1)).unwrap(), end);
    let first = cron.first(date(2026, 1, 1).at(12, 0, 0, 0), end);
    std::iter::successors(first, next).take(count).map(|time| time.strftime("%F %R").to_string()).collect()
}

#[test]
fn what_an_expression_means() {
    let rows: &[(&str, &[&str])] = &[
        ("* * * * *", &["2026-01-01 12:00", "2026-01-01 12:01"]),
        ("  0   13 *\t* * ", &["2026-01-01 13:00", "2026-01-02 13:00"]),
        ("*/20 * * * *", &["2026-01-01 12:00", "2026-01-01 12:20", "2026-01-01 12:40", "2026-01-01 13:00"]),
        ("5-15/5 6 * * *", &["2026-01-02 06:05", "2026-01-02 06:10", "2026-01-02 06:15", "2026-01-03 06:05"]),
        ("50,10 0 * * *", &["2026-01-02 00:10", "2026-01-02 00:50", "2026-01-03 00:10"]),
        ("0 */7 * * *", &["2026-01-01 14:00", "2026-01-01 21:00", "2026-01-02 00:00", "2026-01-02 07:00"]),
        ("59 23 31 * *", &["2026-01-31 23:59", "2026-03-31 23:59", "2026-05-31 23:59"]),
        ("0 0 1 jan *", &["2027-01-01 00:00", "2028-01-01 00:00"]),
        ("0 0 1 FEB,Dec *", &["2026-02-01 00:00", "2026-12-01 00:00"]),
        ("0 0 1 mar-MAY *", &["2026-03-01 00:00", "2026-04-01 00:00", "2026-05-01 00:00", "2027-03-01 00:00"]),
        // Days of the week: 0 and 7 are Sunday, and a range may end with it.
        ("0 0 * * 0", &["2026-01-04 00:00", "2026-01-11 00:00"]),
        ("0 0 * * 7", &["2026-01-04 00:00", "2026-01-11 00:00"]),
        ("0 0 * * Sun", &["2026-01-04 00:00", "2026-01-11 00:00"]),
        ("0 0 * * 6-7", &["2026-01-03 00:00", "2026-01-04 00:00", "2026-01-10 00:00"]),
        ("0 0 * * mon-fri", &["2026-01-02 00:00", "2026-01-05 00:00", "2026-01-06 00:00"]),
        ("0 0 * * */2", &["2026-01-03 00:00", "2026-01-04 00:00", "2026-01-06 00:00"]),
        // Both days named: one of both. One of them with a star: both.
        ("0 0 13 * fri", &["2026-01-02 00:00", "2026-01-09 00:00", "2026-01-13 00:00", "2026-01-16 00:00"]),
        ("0 0 */10 * fri", &["2026-05-01 00:00", "2026-07-31 00:00", "2026-08-21 00:00"]),
        ("0 0 1-7 * */7", &["2026-01-04 00:00", "2026-02-01 00:00", "2026-03-01 00:00"]),
        // Rare days, also over 2100, which has no 29 February.
        ("0 0 29 2 *", &["2028-02-29 00:00", "2032-02-29 00:00"]),
        ("0 0 29 2 */7", &["2032-02-29 00:00", "2060-02-29 00:00", "2088-02-29 00:00", "2128-02-29 00:00"]),
        ("0 0 30 2 mon", &["2026-02-02 00:00", "2026-02-09 00:00"]),
    ];
    for (text, expected) in rows {
        assert_eq!(times(text, expected.len()), *expected, "{text}");
    }
}

#[test]
fn what_is_no_expression() {
    let rows = [
        ("", "it has 0 fields, not the five of minute, hour, day of month, month and day of week"),
        ("@daily", "it has 1 fields"),
        ("* * * *", "it has 4 fields"),
        ("0 * * * * *", "it has 6 fields"),
        ("60 * * * *", "`60` is no minute: 0 to 59"),
        ("* 24 * * *", "`24` is no hour: 0 to 23"),
        ("* * 0 * *", "`0` is no day of month: 1 to 31"),
        ("* * 32 * *", "`32` is no day of month"),
        ("* * * 13 *", "`13` is no month: 1 to 12"),
        ("* * * january *", "`january` is no month"),
        ("* * * * 8", "`8` is no day of week: 0 to 7"),
        ("* * * * L", "`L` is no day of week"),
        ("* * * * 5#2", "`5#2` is no day of week"),
        ("1,,2 * * * *", "`` is no minute"),
        ("-1 * * * *", "`-1` is no minute"),
        ("+1 * * * *", "`+1` is no minute"),
        ("1-2-3 * * * *", "`1-2-3` is no minute"),
        ("256 * * * *", "`256` is no minute"),
        ("? * * * *", "`?` is no minute"),
        ("30-10 * * * *", "the range `30-10` of the minute ends before it begins"),
        ("* * * * sat-mon", "the range `sat-mon` of the day of week ends before it begins"),
        ("*/0 * * * *", "`*/0` of the minute is no step"),
        ("*/x * * * *", "`*/x` of the minute is no step"),
        ("5/10 * * * *", "`5/10` of the minute is no step"),
        ("*/ * * * *", "`*/` of the minute is no step"),
        ("0 0 30 2 *", "it never comes"),
        ("0 0 31 4,6,9,11 *", "it never comes"),
        ("0 0 30-31 feb */2", "it never comes"),
    ];
    for (text, expected) in rows {
        let said = Cron::parse(text).unwrap_err().to_string();
        assert!(said.contains(expected), "{text}: {said}");
    }
    let long = format!("{} * * * *", "1,".repeat(80));
    assert_eq!(Cron::parse(&long), Err(CronError::Long(long.len())));
    let shown = Cron::parse(&format!("{} * * * *", "9".repeat(100))).unwrap_err().to_string();
    assert!(shown.len() < 120, "{shown}");
}

#[test]
fn the_last_time_is_found_backwards() {
    let day = |hour, minute| date(2026, 1, 5).at(hour, minute, 30, 0);
    let last = |text: &str, from, to| {
        Cron::parse(text).unwrap().last(from, to).map(|time| time.strftime("%F %R").to_string()).unwrap_or_default()
    };
    assert_eq!(last("*/20 * * * *", day(0, 0), day(12, 39)), "2026-01-05 12:20");
    assert_eq!(last("0 0 * * *", day(0, 0), day(12, 0)), "", "it was half a minute before");
    assert_eq!(last("50 23 * * *", date(2026, 1, 4).at(0, 0, 0, 0), day(12, 0)), "2026-01-04 23:50");
    assert_eq!(last("39 12 * * *", day(0, 0), date(2026, 1, 5).at(12, 39, 0, 0)), "2026-01-05 12:39");
}
