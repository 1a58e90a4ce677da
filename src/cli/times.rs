//! Times, as people write them and as they like to read them.

use jiff::{Span, Timestamp, Zoned};

/// A time in microseconds since 1970: RFC 3339 ("2026-11-21T10:00:00Z"), a local time ("2026-11-21 10:00"), or some time
/// ago ("5 minutes ago", "2h ago").
pub fn parse(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let time = if let Some(ago) = text.strip_suffix("ago") {
        let span: Span = ago.trim().parse().map_err(|_| wrong(text))?;
        Zoned::now().checked_sub(span).map_err(|error| error.to_string())?.timestamp()
    } else if text == "now" {
        Timestamp::now()
    } else if let Ok(time) = text.parse::<Timestamp>() {
        time
    } else {
        let local: jiff::civil::DateTime = text.parse().map_err(|_| wrong(text))?;
        let zone = jiff::tz::TimeZone::system();
        local.to_zoned(zone).map_err(|error| error.to_string())?.timestamp()
    };
    u64::try_from(time.as_microsecond()).map_err(|_| "a time before 1970".to_owned())
}

fn wrong(text: &str) -> String {
    format!(
        "'{text}' is no time: right are 2026-11-21T10:00:00Z, 2026-11-21 10:00 (local time), or '5 minutes ago'"
    )
}

/// A duration in seconds, minutes, hours or days: "24h", "7 days".
pub fn duration(text: &str) -> Result<std::time::Duration, String> {
    let wrong = || format!("'{text}' is no duration: right are 24h, '7 days', 30m");
    let span: Span = text.trim().parse().map_err(|_| wrong())?;
    // A day has 24 hours here, whatever the clock does.
    let marker = jiff::SpanRelativeTo::days_are_24_hours();
    let length = span.to_duration(marker).map_err(|_| wrong())?;
    std::time::Duration::try_from(length).map_err(|_| wrong())
}

/// RFC 3339 in UTC, to the microsecond.
pub fn show(us: u64) -> String {
    i64::try_from(us)
        .ok()
        .and_then(|us| Timestamp::from_microsecond(us).ok())
        .map_or_else(|| format!("{us} µs"), |time| format!("{time:.6}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_shown() {
        assert_eq!(parse("2026-11-21T10:00:00Z"), Ok(1_795_255_200_000_000));
        assert_eq!(parse("2026-11-21T12:00:00.000001+02:00"), Ok(1_795_255_200_000_001));
        assert_eq!(show(1_795_255_200_000_001), "2026-11-21T10:00:00.000001Z");
        let now = parse("now").unwrap();
        let before = parse("5 minutes ago").unwrap();
        assert!((now - before).abs_diff(300_000_000) < 60_000_000);
        assert!(parse("2h ago").unwrap() < before);
        assert!(parse("2026-11-21 10:00").is_ok());
        for wrong in ["", "ago", "yesterday ago", "soon", "12", "1960-01-01T00:00:00Z"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_are_read() {
        assert_eq!(duration("24h").map(|d| d.as_secs()), Ok(86_400));
        assert_eq!(duration("7 days").map(|d| d.as_secs()), Ok(7 * 86_400));
        assert!(duration("soon").is_err() && duration("-3h").is_err());
    }
}
