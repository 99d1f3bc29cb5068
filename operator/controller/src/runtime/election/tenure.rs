//! Until when this process may act, shared between the election and everybody who writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The end of this process's leadership as far as it is assured; clones share it.
///
/// A process that was stopped for a while goes on where it was, with calls that it was about to make. By then another
/// may lead. So the tenure is asked right before a call is made, on the monotonic clock.
#[derive(Clone, Debug)]
pub struct Tenure {
    origin: Instant,
    ends_after_millis: Arc<AtomicU64>,
    has_ended: Arc<AtomicBool>,
}

impl Default for Tenure {
    /// A tenure that has not begun.
    fn default() -> Self {
        Self {
            origin: Instant::now(),
            ends_after_millis: Arc::default(),
            has_ended: Arc::default(),
        }
    }
}

impl Tenure {
    /// The Lease was renewed by a call sent at `sent_at`: others leave it alone at least until then and `renew_deadline`.
    pub fn renew(&self, sent_at: Instant, renew_deadline: Duration) {
        let ends = sent_at.saturating_duration_since(self.origin) + renew_deadline;
        let millis = u64::try_from(ends.as_millis()).unwrap_or(u64::MAX);
        self.ends_after_millis.fetch_max(millis, Ordering::Release);
    }

    /// This process steps down: it begins nothing any more.
    pub fn end(&self) {
        self.has_ended.store(true, Ordering::Release);
    }

    /// Whether this process may act at `now`.
    pub fn holds_at(&self, now: Instant) -> bool {
        if self.has_ended.load(Ordering::Acquire) {
            return false;
        }
        let ends = Duration::from_millis(self.ends_after_millis.load(Ordering::Acquire));
        now.saturating_duration_since(self.origin) < ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_from_a_renewal_until_the_deadline_and_for_every_clone() {
        let tenure = Tenure::default();
        let other = tenure.clone();
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        assert!(!other.holds_at(now), "nothing was won yet");
        tenure.renew(now, Duration::from_secs(10));
        assert!(other.holds_at(after(9)));
        assert!(!other.holds_at(after(11)), "stopped for too long");
        tenure.renew(after(8), Duration::from_secs(10));
        assert!(other.holds_at(after(17)));
        tenure.renew(now, Duration::from_secs(10));
        assert!(
            other.holds_at(after(17)),
            "a late answer takes nothing back"
        );
    }
}
