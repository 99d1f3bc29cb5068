//! Whether to acquire, renew, wait or stop, from what was seen and when.

use std::time::Duration;

/// Times of an election.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// How long a holder may be silent before others take over.
    pub lease: Duration,
    /// A leader that could not renew for this long stops. Shorter than `lease`.
    pub renew_deadline: Duration,
    /// Pause between attempts.
    pub retry: Duration,
}

impl Timing {
    /// Derives the other times from the lease's duration, in client-go's proportions (15 s, 10 s, 2 s).
    pub fn from_lease(lease: Duration) -> Self {
        Self {
            lease,
            renew_deadline: lease * 2 / 3,
            retry: lease * 2 / 15,
        }
    }
}

/// What is known of the Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// Who holds it; `None` when it was released or never held.
    pub holder: Option<String>,
    /// How long the holder asked to be left alone.
    pub lease: Duration,
    /// When this process first saw this very version of the Lease, on its monotonic clock.
    pub changed_at: Duration,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nobody holds it: write ourselves in, one transition more.
    Acquire,
    /// We hold it: write a new renew time.
    Renew,
    /// Another holds it: look again after this long.
    Wait(Duration),
    /// We held it and lost it, or could not renew in time: stop acting at once.
    Stop,
}

/// Decides from the last observation. `leading_since_renewal` is how long ago we last renewed, if we lead.
pub fn decide(
    me: &str,
    seen: Option<&Observation>,
    now: Duration,
    leading_since_renewal: Option<Duration>,
    timing: &Timing,
) -> Decision {
    if let Some(silent) = leading_since_renewal {
        let ours = seen.is_some_and(|o| o.holder.as_deref() == Some(me));
        return if ours && silent < timing.renew_deadline {
            Decision::Renew
        } else {
            Decision::Stop
        };
    }
    let Some(seen) = seen else {
        return Decision::Acquire;
    };
    let Some(holder) = seen.holder.as_deref() else {
        return Decision::Acquire;
    };
    if holder == me {
        return Decision::Acquire;
    }
    let free_at = seen.changed_at + seen.lease;
    if now >= free_at {
        Decision::Acquire
    } else {
        Decision::Wait((free_at - now).min(timing.retry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMING: Timing = Timing {
        lease: Duration::from_secs(15),
        renew_deadline: Duration::from_secs(10),
        retry: Duration::from_secs(2),
    };

    fn held_by(holder: Option<&str>, changed_at: u64) -> Observation {
        Observation {
            holder: holder.map(String::from),
            lease: TIMING.lease,
            changed_at: Duration::from_secs(changed_at),
        }
    }

    #[test]
    fn decisions() {
        let seconds = Duration::from_secs;
        let cases = [
            ("no lease yet", None, 0, None, Decision::Acquire),
            (
                "released",
                Some(held_by(None, 0)),
                1,
                None,
                Decision::Acquire,
            ),
            (
                "held by another",
                Some(held_by(Some("b"), 0)),
                3,
                None,
                Decision::Wait(seconds(2)),
            ),
            (
                "about to expire",
                Some(held_by(Some("b"), 0)),
                14,
                None,
                Decision::Wait(seconds(1)),
            ),
            (
                "expired",
                Some(held_by(Some("b"), 0)),
                15,
                None,
                Decision::Acquire,
            ),
            (
                "changed late, so not expired",
                Some(held_by(Some("b"), 10)),
                15,
                None,
                Decision::Wait(seconds(2)),
            ),
            (
                "ours from before a restart",
                Some(held_by(Some("a"), 0)),
                0,
                None,
                Decision::Acquire,
            ),
            (
                "leading",
                Some(held_by(Some("a"), 0)),
                5,
                Some(seconds(3)),
                Decision::Renew,
            ),
            (
                "leading, silent too long",
                Some(held_by(Some("a"), 0)),
                15,
                Some(seconds(10)),
                Decision::Stop,
            ),
            (
                "leading, taken by another",
                Some(held_by(Some("b"), 4)),
                5,
                Some(seconds(1)),
                Decision::Stop,
            ),
            (
                "leading, lease deleted",
                None,
                5,
                Some(seconds(1)),
                Decision::Stop,
            ),
        ];
        for (name, seen, now, leading, expected) in cases {
            assert_eq!(
                decide("a", seen.as_ref(), seconds(now), leading, &TIMING),
                expected,
                "{name}"
            );
        }
    }

    #[test]
    fn a_leader_stops_before_another_may_take_over() {
        let timing = Timing::from_lease(Duration::from_secs(15));
        assert!(timing.renew_deadline + timing.retry < timing.lease);
    }
}
