//! Words for what the user reads: durations, sizes, ids. They read without colour.

pub mod durations;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::docker::{Container, SERVICE};

/// A duration as people say it: `0.4 s`, `42 s`, `3 min 10 s`, `5 h`, `2 days`.
pub fn spoken(duration: Duration) -> String {
    match duration.as_secs() {
        0..10 => format!("{:.1} s", duration.as_secs_f64()),
        s @ 10..60 => format!("{s} s"),
        s @ 60..600 => format!("{} min {} s", s / 60, s % 60),
        s @ 600..7200 => format!("{} min", s / 60),
        s @ 7200..172_800 => format!("{} h", s / 3600),
        s => format!("{} days", s / 86400),
    }
}

/// Bytes as Docker says them, in powers of 1000.
pub fn size(bytes: u64) -> String {
    match bytes {
        1_000_000_000.. => format!("{:.1} GB", bytes as f64 / 1e9),
        1_000_000.. => format!("{:.0} MB", bytes as f64 / 1e6),
        _ => format!("{:.0} kB", bytes as f64 / 1e3),
    }
}

/// An image's or container's id as Docker shortens it.
pub fn short_id(id: &str) -> &str {
    let hex = id.strip_prefix("sha256:").unwrap_or(id);
    hex.get(..12).unwrap_or(hex)
}

/// That the service answers, and where.
pub fn answers(container: &Container) -> String {
    let at = container.addresses().into_iter().next();
    let at = at.map(|at| format!(" on http://{at}")).unwrap_or_default();
    match container.healthcheck() {
        Some(_) => format!("`{SERVICE}` answers{at}"),
        None => {
            format!("`{SERVICE}` runs{at}; without a healthcheck nothing tells whether it answers")
        }
    }
}

/// How long ago an RFC 3339 time was; none for nonsense and for Docker's year 1.
pub fn age(time: &str) -> Option<String> {
    let then = seconds_since_1970(time).filter(|then| *then > 0)?;
    Some(spoken(Duration::from_secs(now().saturating_sub(then as u64))))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Seconds since 1970 of an RFC 3339 time in UTC, as Docker prints them. The
/// days are counted as in Howard Hinnant's `days_from_civil`.
fn seconds_since_1970(time: &str) -> Option<i64> {
    let number = |range: std::ops::Range<usize>| time.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(days * 86400 + number(11..13)? * 3600 + number(14..16)? * 60 + number(17..19)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        for (time, want) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T12:30:15.123456789Z", Some(951_827_415)),
            ("2026-11-23T22:44:35.359178355Z", Some(1_795_473_875)),
            ("0001-01-01T00:00:00Z", Some(-62_135_596_800)),
            ("nonsense", None),
            ("", None),
        ] {
            assert_eq!(seconds_since_1970(time), want, "{time}");
        }
        assert_eq!(age("0001-01-01T00:00:00Z"), None);
    }

    #[test]
    fn durations_and_sizes_are_spoken() {
        let spoken = |seconds: f64| spoken(Duration::from_secs_f64(seconds));
        for (seconds, want) in [
            (0.42, "0.4 s"),
            (59.9, "59 s"),
            (190.0, "3 min 10 s"),
            (3600.0, "60 min"),
            (7200.0, "2 h"),
            (200_000.0, "2 days"),
        ] {
            assert_eq!(spoken(seconds), want);
        }
        assert_eq!([size(7_912_000_000), size(52_430_000), size(227)], ["7.9 GB", "52 MB", "0 kB"]);
    }
}
