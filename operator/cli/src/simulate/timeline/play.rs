//! The event loop.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use ampacity_placement::{Alternative, Fleet, JobSpec, PlacementDecision, PlanOptions};

use super::preempt::Priority;
use super::{Arrival, DomainPeak, Outcome, Ran, Sample};

/// What happened.
#[derive(Clone, Debug)]
pub(in crate::simulate) struct Played {
    /// Every job, in order of arrival, then by name.
    pub(in crate::simulate) jobs: Vec<Outcome>,
    /// The fleet after every moment at which something changed, in order of time.
    pub(in crate::simulate) samples: Vec<Sample>,
    /// The most that each power domain and budget carried, by name.
    pub(in crate::simulate) power: Vec<DomainPeak>,
}

/// Who decides what starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::simulate) enum Policy {
    /// The engine, with the whole queue at once.
    #[default]
    Engine,
    /// The job that came first, on the first of its alternatives that has room; nobody overtakes it.
    FirstFit,
}

/// Plays arrivals on a fleet.
pub(in crate::simulate) struct Player {
    pub(super) fleet: Fleet,
    policy: Policy,
    /// With which running jobs may be stopped for others.
    pub(super) priority: Option<Priority>,
    /// Jobs whose end ends it all, by order of arrival, and how many of them have not ended.
    awaited: Option<(Range<usize>, usize)>,
    start_unix_seconds: i64,
    pub(super) now: i64,
    pub(super) queue: Vec<JobSpec>,
    /// Key of a job to its outcome.
    pub(super) index: BTreeMap<String, usize>,
    pub(super) outcomes: Vec<Outcome>,
    /// Ends of running jobs: seconds and index of the outcome.
    pub(super) ends: BTreeSet<(i64, usize)>,
    /// Jobs that run, as they were when they started, where they may be stopped.
    pub(super) running: BTreeMap<usize, JobSpec>,
    sample: Sample,
    samples: Vec<Sample>,
    power: BTreeMap<String, DomainPeak>,
}

impl Player {
    /// A clock that stands at `start_unix_seconds`, where deadlines are counted from.
    pub(in crate::simulate) fn new(fleet: Fleet, start_unix_seconds: i64) -> Self {
        Self {
            fleet,
            policy: Policy::Engine,
            priority: None,
            awaited: None,
            start_unix_seconds,
            now: 0,
            queue: Vec::new(),
            index: BTreeMap::new(),
            outcomes: Vec::new(),
            ends: BTreeSet::new(),
            running: BTreeMap::new(),
            sample: Sample::default(),
            samples: Vec::new(),
            power: BTreeMap::new(),
        }
    }

    /// With another policy than the engine.
    pub(in crate::simulate) fn with_policy(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    /// Where the engine places, running jobs may be stopped or moved for others, and each cycle sees the priorities that this gives.
    pub(in crate::simulate) fn with_preemption(self, priority: Priority) -> Self {
        Self {
            priority: Some(priority),
            ..self
        }
    }

    /// Stops when these jobs, by order of arrival, have ended.
    pub(in crate::simulate) fn until_ended(self, jobs: Range<usize>) -> Self {
        let left = jobs.len();
        Self {
            awaited: Some((jobs, left)),
            ..self
        }
    }

    /// Plays arrivals, which come in order of time, until nothing runs and nothing more comes. `tick` hears of the number of jobs that
    /// have ended.
    pub(in crate::simulate) fn play(
        mut self,
        arrivals: impl IntoIterator<Item = Arrival>,
        mut tick: impl FnMut(u64),
    ) -> Played {
        let mut coming = arrivals.into_iter().peekable();
        let mut ended = 0;
        loop {
            let next_end = self.ends.first().map(|&(seconds, _)| seconds);
            let next_arrival = coming.peek().map(|arrival| arrival.seconds);
            let Some(now) = next_end.into_iter().chain(next_arrival).min() else {
                break;
            };
            // Never backwards, whatever comes.
            self.now = now.max(self.now);
            ended += self.end_due();
            while let Some(arrival) = coming.next_if(|arrival| arrival.seconds <= self.now) {
                self.admit(arrival);
            }
            self.plan();
            self.observe();
            tick(ended);
            if self.awaited.as_ref().is_some_and(|(_, left)| *left == 0) {
                break;
            }
        }
        if self.priority.is_some() && self.ends.is_empty() {
            self.plan_queue(); // It says why what is left never ran.
        }
        Played {
            jobs: self.outcomes,
            samples: self.samples,
            power: self.power.into_values().collect(),
        }
    }

    fn admit(&mut self, arrival: Arrival) {
        let Arrival {
            name,
            seconds,
            mut job,
        } = arrival;
        job.submitted_seconds = self.start_unix_seconds.saturating_add(seconds);
        self.index.insert(job.key.clone(), self.outcomes.len());
        self.outcomes.push(Outcome {
            name,
            arrival_seconds: seconds,
            runs: Vec::new(),
            reasons: Vec::new(),
        });
        self.queue.push(job);
    }

    /// Ends what is due; how many jobs that were.
    fn end_due(&mut self) -> u64 {
        let mut ended = 0;
        while let Some(&(seconds, at)) = self.ends.first()
            && seconds <= self.now
        {
            self.ends.pop_first();
            ended += 1;
            if let Some((jobs, left)) = &mut self.awaited
                && jobs.contains(&at)
            {
                *left = left.saturating_sub(1);
            }
            self.running.remove(&at);
            self.leave(at);
            let run = self
                .outcomes
                .get(at)
                .and_then(|outcome| outcome.runs.last());
            if let Some(run) = run {
                self.fleet.release(&run.decision.reservation.key);
            }
        }
        ended
    }

    /// What a job held in its last run is held no more, as far as the samples go.
    pub(super) fn leave(&mut self, at: usize) {
        let Some(ran) = self
            .outcomes
            .get(at)
            .and_then(|outcome| outcome.runs.last())
        else {
            return;
        };
        self.sample.running = self.sample.running.saturating_sub(1);
        self.sample.devices = self.sample.devices.saturating_sub(ran.devices());
        self.sample.watts = self
            .sample
            .watts
            .saturating_sub(ran.decision.reservation.watts.0);
        self.sample.usd_per_hour_micro = self
            .sample
            .usd_per_hour_micro
            .saturating_sub(ran.decision.usd_per_hour.0);
    }

    fn plan(&mut self) {
        match self.policy {
            Policy::Engine if self.priority.is_some() => self.plan_over(),
            Policy::Engine => self.plan_queue(),
            Policy::FirstFit => while self.place_first() {},
        }
    }

    pub(super) fn options(&self) -> PlanOptions {
        PlanOptions {
            now_seconds: self.start_unix_seconds.saturating_add(self.now),
            horizon_seconds: 0,
        }
    }

    pub(super) fn plan_queue(&mut self) {
        if self.queue.is_empty() {
            return;
        }
        let options = self.options();
        let plan = self.fleet.plan(&self.queue, &options);
        let mut placed = BTreeSet::new();
        for decision in plan.placements {
            placed.insert(decision.job.clone());
            self.start(decision);
        }
        self.queue.retain(|job| !placed.contains(&job.key));
        for unplaced in plan.unplaced {
            if let Some(outcome) = self
                .index
                .get(&unplaced.job)
                .and_then(|&at| self.outcomes.get_mut(at))
            {
                outcome.reasons = unplaced.reasons;
            }
        }
    }

    /// Starts the first job of the queue; whether there was one with room.
    fn place_first(&mut self) -> bool {
        let Some(first) = self.queue.first() else {
            return false;
        };
        let options = self.options();
        let one = |alternative: &Alternative| JobSpec {
            alternatives: vec![alternative.clone()],
            ..first.clone()
        };
        for job in first.alternatives.iter().map(one).collect::<Vec<_>>() {
            let plan = self.fleet.plan(std::slice::from_ref(&job), &options);
            if let Some(decision) = plan.placements.into_iter().next() {
                self.queue.remove(0);
                self.start(decision);
                return true;
            }
        }
        false
    }

    pub(super) fn start(&mut self, decision: PlacementDecision) {
        let Some(&at) = self.index.get(&decision.job) else {
            return;
        };
        let start_seconds = self.now.saturating_add(decision.start_seconds.max(0));
        let duration = decision.duration_seconds.unwrap_or(0).max(0);
        let ran = Ran {
            start_seconds,
            finish_seconds: start_seconds.saturating_add(duration),
            decision,
        };
        self.sample.running += 1;
        self.sample.devices = self.sample.devices.saturating_add(ran.devices());
        self.sample.watts = self
            .sample
            .watts
            .saturating_add(ran.decision.reservation.watts.0);
        self.sample.usd_per_hour_micro = self
            .sample
            .usd_per_hour_micro
            .saturating_add(ran.decision.usd_per_hour.0);
        self.ends.insert((ran.finish_seconds, at));
        if let Some(outcome) = self.outcomes.get_mut(at) {
            outcome.reasons.clear();
            outcome.runs.push(ran);
        }
    }

    /// Records the fleet as it is until the next event.
    fn observe(&mut self) {
        self.sample.seconds = self.now;
        self.sample.queued = self.queue.len();
        match self.samples.last_mut() {
            Some(last) if last.seconds == self.now => *last = self.sample,
            _ => self.samples.push(self.sample),
        }
        let domains = self
            .fleet
            .domain_usage()
            .into_iter()
            .map(|u| ("PowerDomain", u));
        let budgets = self
            .fleet
            .budget_usage()
            .into_iter()
            .map(|u| ("PowerBudget", u));
        for (kind, usage) in domains.chain(budgets) {
            let peak = self
                .power
                .entry(format!("{kind} {}", usage.name))
                .or_insert_with(|| DomainPeak {
                    kind,
                    name: usage.name.clone(),
                    limit_watts: usage.limit_watts.0,
                    peak_watts: 0,
                });
            peak.peak_watts = peak.peak_watts.max(usage.reserved_watts.0);
        }
    }
}
