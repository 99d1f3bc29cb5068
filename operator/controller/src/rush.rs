//! Whether many jobs are being started at once. Placements then go before statuses and events, which cost the API server
//! as much as placements do: a burst is placed sooner, and told of a little later.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// So many steps within [`WITHIN`] are a rush; fewer are made and told of at once. A start takes about four: placed,
/// dispatched, bound, running.
const MANY: usize = 64;
/// See [`MANY`].
const WITHIN: Duration = Duration::from_secs(3);

/// The last steps of starts.
#[derive(Debug, Default)]
pub(crate) struct Rush {
    steps: VecDeque<Instant>,
}

impl Rush {
    /// A placement was written, or has come a step further in its member.
    pub(crate) fn note(&mut self, now: Instant) {
        self.steps.push_back(now);
        if self.steps.len() > MANY {
            self.steps.pop_front();
        }
    }

    /// Whether there is a rush.
    pub(crate) fn is_on(&self, now: Instant) -> bool {
        self.steps.len() == MANY
            && self
                .steps
                .front()
                .is_some_and(|first| now.saturating_duration_since(*first) < WITHIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_steps_within_seconds_are_a_rush() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut rush = Rush::default();
        for step in 0..63 {
            rush.note(at(step * 10));
        }
        assert!(!rush.is_on(at(640)), "a few jobs are told of at once");
        rush.note(at(640));
        assert!(rush.is_on(at(650)));
        assert!(!rush.is_on(at(3000)), "it is over when they stop coming");
        for step in 0..64 {
            rush.note(at(10_000 + step * 100));
        }
        assert!(!rush.is_on(at(16_400)), "a steady trickle is none");
    }
}
