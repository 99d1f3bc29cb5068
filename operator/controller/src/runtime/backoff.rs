//! Pauses between tries of calls that fail: each longer than the last, so that a server which refuses is not called in a loop.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Pause after the first failure; it doubles with each further one.
const FIRST: Duration = Duration::from_secs(1);
/// Longest pause.
const LONGEST: Duration = Duration::from_secs(30);
/// A call that was not tried again for so long is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);
/// Beyond so many, those that are to be forgotten are looked for.
const MANY: usize = 1024;

/// A call that failed.
#[derive(Clone, Debug)]
struct Failed {
    times: u32,
    since: Instant,
    not_before: Instant,
    words: String,
}

/// Calls that failed and have not succeeded since, by what they do and for what.
#[derive(Debug, Default)]
pub struct Backoff {
    failed: BTreeMap<String, Failed>,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure<'a> {
    /// How many times running.
    pub times: u32,
    /// For how long.
    pub lasted: Duration,
    /// What the server said last.
    pub words: &'a str,
}

impl Backoff {
    /// Whether a call may be made now.
    pub fn is_open(&self, call: &str, now: Instant) -> bool {
        self.failed
            .get(call)
            .is_none_or(|failed| failed.not_before <= now)
    }

    /// A call failed; returns the pause until it may be made again.
    pub fn failed(&mut self, call: &str, words: String, now: Instant) -> Duration {
        if self.failed.len() >= MANY {
            self.failed
                .retain(|_, failed| now.duration_since(failed.not_before) < FORGOTTEN_AFTER);
        }
        let failed = self.failed.entry(call.to_owned()).or_insert(Failed {
            times: 0,
            since: now,
            not_before: now,
            words: String::new(),
        });
        let pause = FIRST
            .saturating_mul(1_u32.checked_shl(failed.times).unwrap_or(u32::MAX))
            .min(LONGEST);
        failed.times = failed.times.saturating_add(1);
        failed.not_before = now + pause;
        failed.words = words;
        pause
    }

    /// A call succeeded, or what it was for is gone.
    pub fn succeeded(&mut self, call: &str) {
        self.failed.remove(call);
    }

    /// How a call fails, if it does.
    pub fn failure(&self, call: &str, now: Instant) -> Option<Failure<'_>> {
        let failed = self.failed.get(call)?;
        Some(Failure {
            times: failed.times,
            lasted: now.duration_since(failed.since),
            words: &failed.words,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_end_with_a_success() {
        let mut backoff = Backoff::default();
        let start = Instant::now();
        let mut now = start;
        let mut pauses = Vec::new();
        for _ in 0..8 {
            assert!(backoff.is_open("a", now));
            let pause = backoff.failed("a", "no".to_owned(), now);
            assert!(!backoff.is_open("a", now), "{pause:?}");
            assert!(backoff.is_open("b", now), "another call");
            pauses.push(pause.as_secs());
            now += pause;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
        let failure = backoff.failure("a", now).unwrap();
        assert_eq!(
            (failure.times, failure.lasted, failure.words),
            (8, now - start, "no")
        );
        backoff.succeeded("a");
        assert_eq!(backoff.failure("a", now), None);
        assert_eq!(backoff.failed("a", String::new(), now), FIRST);
    }

    #[test]
    fn what_is_tried_no_more_is_forgotten() {
        let mut backoff = Backoff::default();
        let start = Instant::now();
        for call in 0..MANY {
            backoff.failed(&call.to_string(), String::new(), start);
        }
        backoff.failed("new", String::new(), start + FORGOTTEN_AFTER * 2);
        assert_eq!(backoff.failed.len(), 1);
    }
}
