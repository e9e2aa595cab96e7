//! Words for what the user reads: durations, sizes, ids. They read without colour.

pub mod durations;

use std::time::{Duration, SystemTime};

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
    if container.healthcheck().is_some() {
        return format!("`{SERVICE}` answers{at}");
    }
    format!("`{SERVICE}` runs{at}; without a healthcheck nothing tells whether it answers")
}

/// How long ago an RFC 3339 time was; none for nonsense and for Docker's year 1.
pub fn age(time: &str) -> Option<String> {
    let then = humantime::parse_rfc3339(time).ok()?;
    Some(spoken(SystemTime::now().duration_since(then).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn times_are_read() {
        for (time, seconds) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T12:30:15.123456789Z", Some(951_827_415)),
            ("2026-01-23T22:44:35.359178355Z", Some(1_769_208_275)),
            ("0001-01-01T00:00:00Z", None),
            ("nonsense", None),
            ("", None),
        ] {
            let then = seconds.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds));
            let want = then.map(|then| spoken(then.elapsed().unwrap_or_default()));
            assert_eq!(age(time), want, "{time}");
        }
        assert_eq!(age("2999-01-01T00:00:00Z").as_deref(), Some("0.0 s"));
    }

    #[test]
    fn durations_and_sizes_are_spoken() {
        let spoken = |seconds: f64| spoken(Duration::from_secs_f64(seconds));
        for (seconds, want) in [
            (0.42, "0.4 s"),
            (59.9, "59 s"),
            (190.0, "3 min 10 s"),
            (9.99, "10.0 s"),
            (10.0, "10 s"),
            (60.0, "1 min 0 s"),
            (600.0, "10 min"),
            (3600.0, "60 min"),
            (172_800.0, "2 days"),
            (7200.0, "2 h"),
            (200_000.0, "2 days"),
        ] {
            assert_eq!(spoken(seconds), want);
        }
        assert_eq!([size(1_000_000_000), size(1_000_000)], ["1.0 GB", "1 MB"]);
        assert_eq!((short_id("sha256:0123456789abcdef"), short_id("c1")), ("0123456789ab", "c1"));
        assert_eq!([size(7_912_000_000), size(52_430_000), size(227)], ["7.9 GB", "52 MB", "0 kB"]);
    }
}
