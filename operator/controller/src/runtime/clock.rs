//! This machine's clock, and whether it jumped: set by hand or by NTP after a wrong start, or stopped with its virtual machine.

use std::time::Instant;

use jiff::Timestamp;

/// A difference to a clock that never jumps counts as a jump from here on. NTP slews less than this in a turn of the loop.
const JUMP_SECONDS: i64 = 5;

/// The time by this machine's clock.
pub fn wall_clock() -> Timestamp {
    Timestamp::now() + offset()
}

/// A test's own clock: `AMPACITY_CLOCK_OFFSET` names a file that says by how many seconds it is ahead. Release builds contain none of it.
#[cfg(debug_assertions)]
fn offset() -> jiff::SignedDuration {
    use std::sync::OnceLock;

    static FILE: OnceLock<Option<std::path::PathBuf>> = OnceLock::new();
    let file = FILE.get_or_init(|| std::env::var_os("AMPACITY_CLOCK_OFFSET").map(Into::into));
    let text = file
        .as_ref()
        .and_then(|file| std::fs::read_to_string(file).ok());
    let seconds = text.and_then(|text| text.trim().parse().ok());
    jiff::SignedDuration::from_secs(seconds.unwrap_or(0))
}

#[cfg(not(debug_assertions))]
#[inline]
fn offset() -> jiff::SignedDuration {
    jiff::SignedDuration::ZERO
}

/// A jump of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClockStep {
    /// The time before it.
    pub(super) before: Timestamp,
    /// Seconds by which it jumped, forward or back.
    pub(super) by_seconds: i64,
}

/// Compares the clock with one that never jumps.
#[derive(Debug)]
pub(super) struct ClockWatch {
    wall: Timestamp,
    steady: Instant,
}

impl ClockWatch {
    /// From now on.
    pub(super) fn begin(wall: Timestamp, steady: Instant) -> Self {
        Self { wall, steady }
    }

    /// Whether the clock jumped since the last time.
    pub(super) fn look(&mut self, wall: Timestamp, steady: Instant) -> Option<ClockStep> {
        let passed = steady.duration_since(self.steady);
        let before = self.wall.checked_add(passed).unwrap_or(self.wall);
        (self.wall, self.steady) = (wall, steady);
        let by_seconds = wall.as_second() - before.as_second();
        (by_seconds.abs() >= JUMP_SECONDS).then_some(ClockStep { before, by_seconds })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_a_jump_is_one() {
        let (wall, steady) = (Timestamp::from_second(1_000_000).unwrap(), Instant::now());
        // Seconds that pass by the clock and by one that never jumps: by how much it jumped.
        let table = [
            (1, 1, None),
            (3_601, 1, Some(3_600)),
            (-3_599, 1, Some(-3_600)),
            (600, 600, None),
            (0, 4, None),
        ];
        for (by_wall, by_steady, expected) in table {
            let mut watch = ClockWatch::begin(wall, steady);
            let wall = Timestamp::from_second(1_000_000 + by_wall).unwrap();
            let steady = steady + Duration::from_secs(by_steady);
            let step = watch.look(wall, steady);
            assert_eq!(
                step.map(|s| s.by_seconds),
                expected,
                "{by_wall} {by_steady}"
            );
            assert_eq!(watch.look(wall, steady), None, "told once");
        }
    }
}
