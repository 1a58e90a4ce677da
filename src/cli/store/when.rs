//! Points in time, as people write and read them.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};

use crate::cli::Failure;

/// A time in an argument, microseconds since 1970: RFC 3339, local time without an offset, "5 minutes ago", "yesterday".
pub fn parse(text: &str) -> Result<u64, Failure> {
    parse_at(text, &Zoned::now()).ok_or_else(|| {
        Failure::usage(format!(
            "'{text}' is no time: write 2026-11-21T10:00:00Z, '2026-11-21 10:00' (local time), '5 minutes ago', 'yesterday' \
             (this time of day) or 'now'"
        ))
    })
}

fn parse_at(text: &str, now: &Zoned) -> Option<u64> {
    let text = text.trim();
    let found = match text {
        "now" => now.timestamp(),
        "yesterday" => now.yesterday().ok()?.timestamp(),
        _ => match text.parse::<Timestamp>() {
            Ok(timestamp) => timestamp,
            Err(_) => match text.parse::<DateTime>() {
                Ok(local) => local.to_zoned(now.time_zone().clone()).ok()?.timestamp(),
                // A span is one of the past only when it says so.
                Err(_) if text.ends_with("ago") => {
                    now.checked_add(text.parse::<Span>().ok()?).ok()?.timestamp()
                }
                Err(_) => return None,
            },
        },
    };
    u64::try_from(found.as_microsecond()).ok()
}

/// A time for people: local, to the millisecond.
pub fn show(us: u64) -> String {
    match timestamp(us) {
        Some(timestamp) => {
            timestamp.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()
        }
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

    #[test]
    fn times_are_read_as_people_write_them() {
        let now: Zoned = "2026-11-21T10:00:00+01:00[+01:00]".parse().unwrap();
        let at = |text: &str| parse_at(text, &now).and_then(rfc3339);
        for (text, expected) in [
            ("2026-11-21T10:00:00Z", "2026-11-21T10:00:00.000000Z"),
            ("2026-11-21T10:00:00.123456+02:00", "2026-11-21T08:00:00.123456Z"),
            ("2026-11-21 10:00", "2026-11-21T09:00:00.000000Z"),
            ("2026-11-21 10:00:05.5", "2026-11-21T09:00:05.500000Z"),
            ("2026-11-20", "2026-11-19T23:00:00.000000Z"),
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
        ] {
            assert_eq!(at(text), None, "{text}");
        }
    }

    #[test]
    fn any_number_is_shown() {
        assert_eq!(rfc3339(0).as_deref(), Some("1970-01-01T00:00:00.000000Z"));
        assert_eq!((rfc3339(u64::MAX), show(u64::MAX)), (None, format!("{} µs", u64::MAX)));
    }
}
