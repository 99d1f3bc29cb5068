//! Whether many jobs are being placed at once. Placements then go before statuses and events, which cost the API server
//! as much as placements do: a burst is placed sooner, and told of a little later.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// So many placements within [`WITHIN`] are a rush; fewer are placed and told of at once.
const MANY: usize = 16;
/// See [`MANY`].
const WITHIN: Duration = Duration::from_secs(3);

/// The last placements that were written.
#[derive(Debug, Default)]
pub(crate) struct Rush {
    written: VecDeque<Instant>,
}

impl Rush {
    /// A placement was written.
    pub(crate) fn note(&mut self, now: Instant) {
        self.written.push_back(now);
        if self.written.len() > MANY {
            self.written.pop_front();
        }
    }

    /// Whether there is a rush.
    pub(crate) fn is_on(&self, now: Instant) -> bool {
        self.written.len() == MANY
            && self
                .written
                .front()
                .is_some_and(|first| now.saturating_duration_since(*first) < WITHIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_placements_within_seconds_are_a_rush() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut rush = Rush::default();
        for job in 0..15 {
            rush.note(at(job * 10));
        }
        assert!(!rush.is_on(at(150)), "a few jobs are told of at once");
        rush.note(at(150));
        assert!(rush.is_on(at(160)));
        assert!(!rush.is_on(at(3000)), "it is over when they stop coming");
        for job in 0..16 {
            rush.note(at(10_000 + job * 400));
        }
        assert!(!rush.is_on(at(16_000)), "a steady trickle is none");
    }
}
