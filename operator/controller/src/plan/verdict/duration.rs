//! Durations for people.

/// The two largest units, `3 h 12 min`; rounded up, so that who waits or moves a deadline by so much has waited enough.
pub fn duration(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    let up = |unit: i64| {
        let rest = seconds.rem_euclid(unit);
        if rest == 0 {
            seconds
        } else {
            seconds.saturating_add(unit - rest)
        }
    };
    let two = |seconds: i64, large: (i64, &str), small: (i64, &str)| {
        let (whole, rest) = (seconds / large.0, seconds % large.0 / small.0);
        match rest {
            0 => format!("{whole} {}", large.1),
            _ => format!("{whole} {} {rest} {}", large.1, small.1),
        }
    };
    match seconds {
        ..MINUTE => format!("{seconds} s"),
        MINUTE..HOUR => two(seconds, (MINUTE, "min"), (1, "s")),
        _ if up(MINUTE) < DAY => two(up(MINUTE), (HOUR, "h"), (MINUTE, "min")),
        _ => two(up(HOUR), (DAY, "d"), (HOUR, "h")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_units_are_told_and_never_too_little() {
        for (seconds, text) in [
            (0, "0 s"),
            (45, "45 s"),
            (60, "1 min"),
            (125, "2 min 5 s"),
            (3600, "1 h"),
            (11_520, "3 h 12 min"),
            (11_521, "3 h 13 min"),
            (86_399, "1 d"),
            (187_201, "2 d 5 h"),
            (i64::MAX, "106751991167300 d 15 h"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }
}
