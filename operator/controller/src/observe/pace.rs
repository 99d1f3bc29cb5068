//! When a status is written: what only passes by on the way to the next state may wait, and numbers that change with every
//! other job are written seldom.

use std::time::Instant;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::state::{JobKey, State};

/// Seconds for which a start may go on before its intermediate states are written: most starts are shorter, and then
/// one write says it all.
const QUIET_START_SECONDS: i64 = 2;
/// The same while many jobs are being placed: placements go before statuses, but nobody is left in the dark for longer.
pub const BUSY_START_SECONDS: i64 = 60;
/// The same for a job that waits for a place.
const BUSY_WAIT_SECONDS: i64 = 10;
/// Least seconds between two writes of a status in which numbers merely changed; more where many jobs wait, so that all
/// of them together write no more than [`NUMBERS_PER_SECOND`].
const NUMBERS_EVERY_SECONDS: i64 = 30;
/// Most writes per second of statuses in which numbers merely changed.
const NUMBERS_PER_SECOND: i64 = 5;

/// What is new in a status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Something that is to be told at once.
    Now,
    /// It starts, or has just started, and nothing else.
    Start {
        /// Since when it has a place.
        placed: Option<Time>,
        /// Whether it runs by now.
        runs: bool,
    },
    /// The first word on a job that waits.
    FirstWait {
        /// When it was submitted.
        submitted: Option<Time>,
    },
    /// Numbers of a verdict.
    Numbers,
}

/// Seconds for which a status with such news need not be written; `None`: it is to be written now.
pub fn may_wait_seconds(state: &State, job: &JobKey, news: &News, now: Timestamp) -> Option<i64> {
    let age = |at: &Option<Time>| {
        let at = at.as_ref();
        at.map_or(i64::MAX, |t| now.as_second() - t.0.as_second())
    };
    let busy = state.burst.is_on(Instant::now());
    let quiet_seconds = |busy_seconds| {
        if busy {
            busy_seconds
        } else {
            QUIET_START_SECONDS
        }
    };
    match news {
        News::Now => None,
        // Only so many are written at once, so that placements go first all the same.
        News::Start { runs: true, .. } => None,
        News::Start { placed, .. } => {
            (age(placed) < quiet_seconds(BUSY_START_SECONDS)).then_some(QUIET_START_SECONDS)
        }
        News::FirstWait { submitted } => {
            (age(submitted) < quiet_seconds(BUSY_WAIT_SECONDS)).then_some(QUIET_START_SECONDS)
        }
        News::Numbers => {
            let waiting = i64::try_from(state.jobs.eligible_count()).unwrap_or(i64::MAX);
            let every = NUMBERS_EVERY_SECONDS.max(waiting / NUMBERS_PER_SECOND);
            let written = state.jobs.get(job)?.verdict_written?;
            let left = every - (now.as_second() - written.as_second());
            (left > 0).then_some(left)
        }
    }
}
