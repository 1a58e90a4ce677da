//! Points in time, as people write and read them. What is shown, given back, is the same microsecond.

use jiff::civil::DateTime;
use jiff::fmt::temporal::DateTimeParser;
use jiff::tz::{AmbiguousOffset, Disambiguation, TimeZone};
use jiff::{Span, Timestamp, Zoned};

use crate::cli::Failure;

/// A time in an argument, microseconds since 1970: RFC 3339, local time without an offset, "5 minutes ago", "yesterday".
pub fn parse(text: &str) -> Result<u64, Failure> {
    parse_at(text, &Zoned::now()).map_err(|wrong| {
        Failure::usage(match wrong {
            Wrong::NoTime => format!(
                "'{text}' is no time: write 2026-11-21T10:00:00Z, '2026-11-21 10:00' (local time), '5 minutes ago', \
                 'yesterday' (this time of day) or 'now'"
            ),
            Wrong::Twice(meanings) => format!(
                "'{text}' exists twice in the local time zone, whose clocks are set back then: write {meanings}"
            ),
            Wrong::Never(meanings) => format!(
                "'{text}' does not exist in the local time zone, whose clocks are set forward then: write {meanings}"
            ),
        })
    })
}

/// Why a text is no point in time. The meanings that it may have are written with their offsets.
#[derive(Debug, PartialEq, Eq)]
enum Wrong {
    NoTime,
    Twice(String),
    Never(String),
}

fn parse_at(text: &str, now: &Zoned) -> Result<u64, Wrong> {
    let text = text.trim();
    let found = match text {
        "now" => Some(now.timestamp()),
        "yesterday" => now.yesterday().ok().map(|then| then.timestamp()),
        // "2026-11-21T10:00[Europe/Berlin]": the other forms would be read without the zone.
        _ if text.contains('[') => {
            const PARSER: DateTimeParser = DateTimeParser::new().disambiguation(Disambiguation::Reject);
            PARSER.parse_zoned(text).ok().map(|then| then.timestamp())
        }
        // A span is one of the past only when it says so.
        _ if text.ends_with("ago") => {
            let span = text.parse::<Span>().ok();
            span.and_then(|span| now.checked_add(span).ok()).map(|then| then.timestamp())
        }
        _ => match text.parse::<Timestamp>() {
            Ok(timestamp) => Some(timestamp),
            Err(_) => match text.parse::<DateTime>() {
                Ok(local) => Some(of_local(local, now.time_zone())?),
                Err(_) => None,
            },
        },
    };
    found.and_then(|found| u64::try_from(found.as_microsecond()).ok()).ok_or(Wrong::NoTime)
}

/// The point in time that a clock in `zone` shows as `local`, when there is one and only one.
fn of_local(local: DateTime, zone: &TimeZone) -> Result<Timestamp, Wrong> {
    let ambiguous = zone.to_ambiguous_timestamp(local);
    let (before, after, is_twice) = match ambiguous.offset() {
        AmbiguousOffset::Unambiguous { offset } => {
            return offset.to_timestamp(local).map_err(|_| Wrong::NoTime);
        }
        AmbiguousOffset::Fold { before, after } => (before, after, true),
        AmbiguousOffset::Gap { before, after } => (before, after, false),
    };
    let meaning = |offset: jiff::tz::Offset| {
        let fixed = offset.to_timestamp(local).map(|then| then.to_zoned(TimeZone::fixed(offset)));
        fixed.map(|then| format!("'{}'", then.strftime(SHOWN))).map_err(|_| Wrong::NoTime)
    };
    let meanings = format!("{} or {}", meaning(before)?, meaning(after)?);
    Err(if is_twice { Wrong::Twice(meanings) } else { Wrong::Never(meanings) })
}

/// To the microsecond, and with the offset from UTC: without either it would name another time when it is given back.
const SHOWN: &str = "%Y-%m-%d %H:%M:%S%.6f%:z";

/// A time for people: local, to the microsecond, with its offset from UTC.
pub fn show(us: u64) -> String {
    show_in(us, &TimeZone::system())
}

fn show_in(us: u64, zone: &TimeZone) -> String {
    match timestamp(us) {
        Some(timestamp) => timestamp.to_zoned(zone.clone()).strftime(SHOWN).to_string(),
        None => format!("{us} µs"),
    }
}

/// A time for programs: RFC 3339 in UTC, to the microsecond.
pub fn rfc3339(us: u64) -> Option<String> {
    timestamp(us).map(|timestamp| format!("{timestamp:.6}"))
}

fn timestamp(us: u64) -> Option<Timestamp> {
    Timestamp::from_microsecond(i64::try_from(us).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let now: Zoned = "2026-11-21T10:00:00+01:00[+01:00]".parse().unwrap();
        let at = |text: &str| parse_at(text, &now).ok().and_then(rfc3339);
        for (text, expected) in [
            ("2026-11-21T10:00:00Z", "2026-11-21T10:00:00.000000Z"),
            ("2026-11-21T10:00:00.123456+02:00", "2026-11-21T08:00:00.123456Z"),
            ("2026-11-21 10:00", "2026-11-21T09:00:00.000000Z"),
            ("2026-11-21 10:00:05.5", "2026-11-21T09:00:05.500000Z"),
            ("2026-11-20", "2026-11-19T23:00:00.000000Z"),
            ("2026-11-21T10:00[America/New_York]", "2026-11-21T15:00:00.000000Z"),
            ("5 minutes ago", "2026-11-21T08:55:00.000000Z"),
            ("1h 30m ago", "2026-11-21T07:30:00.000000Z"),
            ("2 days ago", "2026-11-19T09:00:00.000000Z"),
            (" now ", "2026-11-21T09:00:00.000000Z"),
            ("yesterday", "2026-11-20T09:00:00.000000Z"),
        ] {
            assert_eq!(at(text).as_deref(), Some(expected), "{text}");
        }
        for text in [
            "",
            "ago",
            "5 minutes",
            "soon",
            "2026-13-01",
            "12345",
            "1969-01-01T00:00:00Z",
            "9999999 years ago",
            "2026-10-25T02:30[Europe/Berlin]",
        ] {
            assert_eq!(at(text), None, "{text}");
        }
    }

    /// Rules of POSIX, so that no database of zones is needed: north, south, west, half an hour, half an hour of summer time.
    const ZONES: [&str; 6] = [
        "CET-1CEST,M3.5.0,M10.5.0/3",
        "AEST-10AEDT,M10.1.0,M4.1.0/3",
        "NST3:30NDT,M3.2.0,M11.1.0",
        "IST-5:30",
        "LHST-10:30LHDT-11,M10.1.0,M4.1.0",
        "UTC0",
    ];

    #[test]
    fn an_hour_that_exists_twice_or_never_is_refused_with_both_meanings() {
        let zone = TimeZone::posix(ZONES[0]).unwrap();
        let now = Timestamp::UNIX_EPOCH.to_zoned(zone);
        let at = |text: &str| parse_at(text, &now);
        let twice = "'2026-10-25 02:30:00.000000+02:00' or '2026-10-25 02:30:00.000000+01:00'";
        assert_eq!(at("2026-10-25 02:30"), Err(Wrong::Twice(twice.into())));
        let never = "'2026-03-29 02:30:00.000000+01:00' or '2026-03-29 02:30:00.000000+02:00'";
        assert_eq!(at("2026-03-29 02:30"), Err(Wrong::Never(never.into())));
        // An offset settles it, and each of the meanings can be given back as it is written.
        for meanings in [twice, never] {
            let times: Vec<u64> =
                meanings.split(" or ").map(|time| at(time.trim_matches('\'')).unwrap()).collect();
            assert_eq!(times[0].abs_diff(times[1]), 3_600_000_000, "{meanings}");
        }
        assert!(at("2026-10-25 03:00").is_ok() && at("2026-03-29 03:00").is_ok());
    }

    proptest! {
        #[test]
        fn what_is_shown_is_the_same_time_when_it_is_given_back(
            us in 0..4_102_444_800_000_000_u64,
            name in prop::sample::select(ZONES.to_vec()),
            // Historical zones have seconds in their offsets: Monrovia had until 1972.
            seconds in -86_399..=86_399_i32,
            is_fixed: bool,
        ) {
            let zone = match is_fixed {
                true => TimeZone::fixed(jiff::tz::Offset::from_seconds(seconds).unwrap()),
                false => TimeZone::posix(name).unwrap(),
            };
            let now = Timestamp::UNIX_EPOCH.to_zoned(zone.clone());
            let shown = show_in(us, &zone);
            prop_assert_eq!(parse_at(&shown, &now), Ok(us), "{}", shown);
            let for_programs = rfc3339(us).unwrap();
            prop_assert_eq!(parse_at(&for_programs, &now), Ok(us), "{}", for_programs);
        }
    }

    #[test]
    fn any_number_is_shown() {
        assert_eq!(rfc3339(0).as_deref(), Some("1970-01-01T00:00:00.000000Z"));
        assert_eq!((rfc3339(u64::MAX), show(u64::MAX)), (None, format!("{} µs", u64::MAX)));
    }
}
