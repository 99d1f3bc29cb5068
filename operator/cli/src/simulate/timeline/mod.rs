//! Time: jobs arrive, wait, run and end, and at every change the engine plans the whole queue anew.
//!
//! ```text
//!   Arrival… ──► play ──► at every arrival and end: release, Fleet::plan(queue) ──► Played { jobs, samples }
//!                                                                                      │
//!                                                                  measure ◄───────────┘  waiting time, dollars, kWh
//! ```
//!
//! A job runs for exactly as long as the engine expects: nothing fails. Where jobs may be stopped for others
//! ([`Player::with_preemption`]), a stopped one saves its state, waits in the queue again, and restores before it goes on.

mod measure;
mod play;
mod preempt;

pub(super) use measure::{DomainPeak, Totals, WATT_SECONDS_PER_KWH, totals, totals_of};
pub(super) use play::{Played, Player, Policy};

use ampacity_placement::{DevicePart, JobSpec, PlacementDecision, Refusal};

/// A job and when it comes.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    /// How it is shown.
    pub(super) name: String,
    /// Seconds after the start, not negative.
    pub(super) seconds: i64,
    /// The job; its key is unique.
    pub(super) job: JobSpec,
}

/// What became of a job.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    /// How it is shown.
    pub(super) name: String,
    /// Seconds after the start.
    pub(super) arrival_seconds: i64,
    /// Where and when it ran: each time but the last until it was stopped.
    pub(super) runs: Vec<Ran>,
    /// Why it never ran, as the last plan said.
    pub(super) reasons: Vec<Refusal>,
}

impl Outcome {
    /// When it started, if it did.
    pub(super) fn start_seconds(&self) -> Option<i64> {
        self.runs.first().map(|run| run.start_seconds)
    }

    /// When it ended, if it did.
    pub(super) fn finish_seconds(&self) -> Option<i64> {
        self.runs.last().map(|run| run.finish_seconds)
    }
}

/// One run of a job.
#[derive(Clone, Debug)]
pub(super) struct Ran {
    /// Seconds after the start.
    pub(super) start_seconds: i64,
    /// Seconds after the start.
    pub(super) finish_seconds: i64,
    /// What the engine decided.
    pub(super) decision: PlacementDecision,
}

impl Ran {
    /// Whole devices held: parts of devices are left out, as they are where the fleet's devices are counted.
    pub(super) fn devices(&self) -> u64 {
        match self.decision.reservation.part {
            DevicePart::Whole => self.units(),
            DevicePart::Mig(_) | DevicePart::Milli(_) => 0,
        }
    }

    /// Devices held, or MIG instances or time slices.
    pub(super) fn units(&self) -> u64 {
        u64::from(self.decision.replicas())
            .saturating_mul(u64::from(self.decision.reservation.devices_per_replica))
    }

    /// Micro-dollars spent: hours and egress. Nothing is interrupted here, so what the engine expects to lose to interruptions is
    /// not part of it.
    pub(super) fn usd_micro(&self) -> i128 {
        let hours = i128::from(self.decision.usd_per_hour.0) * self.seconds();
        i128::from(self.decision.usd_egress.0) + (hours + 1800).div_euclid(3600)
    }

    /// Watt-seconds drawn.
    pub(super) fn watt_seconds(&self) -> i128 {
        i128::from(self.decision.reservation.watts.0) * self.seconds()
    }

    /// Seconds that it ran.
    pub(super) fn seconds(&self) -> i128 {
        i128::from(self.finish_seconds) - i128::from(self.start_seconds)
    }
}

/// The fleet from this moment to the next sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sample {
    /// Seconds after the start.
    pub(super) seconds: i64,
    /// Jobs that run or start up.
    pub(super) running: usize,
    /// Jobs that wait.
    pub(super) queued: usize,
    /// Devices held by jobs.
    pub(super) devices: u64,
    /// Micro-dollars per hour of what is held.
    pub(super) usd_per_hour_micro: i64,
    /// Watts reserved by jobs.
    pub(super) watts: i64,
}
