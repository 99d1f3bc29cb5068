//! Whether many jobs are being started at once. Placements then go before statuses and events, which cost the API server
//! as much as placements do: a burst is placed sooner, and told of a little later.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::key::ObjectKey;

/// So many placements that came a step further within [`WITHIN`] are a burst; fewer are told of at once.
const MANY: usize = 16;
/// See [`MANY`].
const WITHIN: Duration = Duration::from_secs(3);

/// The placements that came a step further last, each once, and when.
#[derive(Debug, Default)]
pub struct BurstDetector {
    recent: VecDeque<(ObjectKey, Instant)>,
}

impl BurstDetector {
    /// A placement was written, or has come a step further in its member.
    pub fn note(&mut self, placement: &ObjectKey, now: Instant) {
        if let Some(known) = self.recent.iter().position(|(key, _)| key == placement) {
            self.recent.remove(known);
        }
        self.recent.push_back((placement.clone(), now));
        if self.recent.len() > MANY {
            self.recent.pop_front();
        }
    }

    /// Whether there is a burst.
    pub fn is_on(&self, now: Instant) -> bool {
        self.recent.len() == MANY
            && self
                .recent
                .front()
                .is_some_and(|(_, first)| now.saturating_duration_since(*first) < WITHIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u64) -> ObjectKey {
        ObjectKey::new("team", &format!("job-{number}"))
    }

    #[test]
    fn many_placements_that_move_within_seconds_are_a_burst() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut burst = BurstDetector::default();
        for job in 0..15 {
            burst.note(&key(job), at(job * 10));
        }
        assert!(!burst.is_on(at(150)), "a few jobs are told of at once");
        burst.note(&key(15), at(150));
        assert!(burst.is_on(at(160)));
        assert!(!burst.is_on(at(3000)), "it is over when nothing moves");
        for job in 0..16 {
            burst.note(&key(job), at(10_000 + job * 400));
        }
        assert!(!burst.is_on(at(16_000)), "a steady trickle is none");
    }

    #[test]
    fn one_large_gang_is_no_burst_however_many_its_pods() {
        let start = Instant::now();
        let mut burst = BurstDetector::default();
        for _ in 0..500 {
            burst.note(&key(0), start);
        }
        assert!(!burst.is_on(start));
    }

    #[test]
    fn jobs_whose_pods_come_one_by_one_stay_a_burst() {
        let start = Instant::now();
        let mut burst = BurstDetector::default();
        for round in 0..10 {
            for job in 0..20 {
                let now = start + Duration::from_millis(round * 1000 + job * 50);
                burst.note(&key(job), now);
                assert!(round == 0 || burst.is_on(now));
            }
        }
    }
}
