//! Jumps of this machine's clock: times that were written before one are read as if the clock had never been otherwise.

use jiff::Timestamp;

/// Jumps that are remembered.
const REMEMBERED: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    /// The time before it.
    before: Timestamp,
    /// Seconds by which the clock jumped, forward or back.
    by_seconds: i64,
}

/// The jumps of the clock that this process has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClockSteps(Vec<Step>);

impl ClockSteps {
    /// The clock jumped by so many seconds when it said `before`.
    pub fn stepped(&mut self, before: Timestamp, by_seconds: i64) {
        if self.0.len() == REMEMBERED {
            self.0.remove(0);
        }
        self.0.push(Step { before, by_seconds });
    }

    /// When something that was written down as `at` was, by the clock as it is now. A time that may have been written after the
    /// clock went back is left: what began then seems shorter than it is, and nothing is ended for it.
    pub fn carried(&self, at: Timestamp, now: Timestamp) -> Timestamp {
        self.0.iter().fold(at, |at, step| {
            let was_before = at <= step.before && (step.by_seconds > 0 || at > now);
            let carried = at.as_second().saturating_add(step.by_seconds);
            match Timestamp::from_second(carried) {
                Ok(carried) if was_before => carried,
                _ => at,
            }
        })
    }

    /// Seconds from `at` until `now`; never less than none.
    pub fn seconds_since(&self, at: Timestamp, now: Timestamp) -> i64 {
        (now.as_second() - self.carried(at, now).as_second()).max(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_before_a_jump_is_as_long_ago_as_it_was() {
        let time = |second| Timestamp::from_second(second).unwrap();
        type Jumps = &'static [(i64, i64)];
        // The clock before each jump and by how much it jumped; when something was written and what the clock says now: seconds since.
        let table: &[(Jumps, i64, i64, i64)] = &[
            (&[], 10_000, 10_050, 50),
            (&[(10_050, 3_600)], 10_000, 13_650, 50),
            (&[(10_050, 3_600)], 10_000, 13_700, 100),
            (&[(10_050, 3_600)], 13_660, 13_700, 40),
            (&[(10_050, -3_600)], 10_000, 6_450, 50),
            (&[(10_050, -3_600)], 6_460, 6_500, 40),
            // Later than anybody can tell whether it was written before.
            (&[(10_050, -3_600)], 10_000, 10_010, 10),
            // There and back again.
            (&[(10_050, 3_600), (13_700, -3_600)], 10_000, 10_110, 110),
            (&[(10_050, 3_600), (13_700, -3_600)], 13_660, 10_110, 50),
            // Of a clock that is ahead, with no jump seen.
            (&[], 10_000, 9_000, 0),
        ];
        for (jumps, at, now, expected) in table {
            let mut steps = ClockSteps::default();
            for (before, by_seconds) in *jumps {
                steps.stepped(time(*before), *by_seconds);
            }
            let since = steps.seconds_since(time(*at), time(*now));
            assert_eq!(since, *expected, "{jumps:?} {at} {now}");
        }
    }
}
