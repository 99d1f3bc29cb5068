//! When a gang that has no room now could start: the first moment at which enough has ended, and nothing that was promised
//! to others is in the way for as long as it runs.
//!
//! Tried on the fleet itself, through a [window](super::window), on the groups that lack the fewest devices. Counting devices
//! says before which end there is no use in trying; from there the steps double until the gang fits, and halve until the
//! first such end is found.

use super::candidate::{Score, gang_size};
use super::price::duration_seconds;
use super::verdict::{MOST_REASONS, Missing};
use super::window::{Span, Window};
use crate::arena::{GroupIndex, Key};
use crate::fleet::Fleet;
use crate::model::{
    Alternative, Fix, JobSpec, Kind, Level, PlacementDecision, Reason, Refusal, Unplaced,
};

/// Most groups that are looked at for one gang.
const MOST_GROUPS: usize = 4;
/// Most moments that are tried on one group once enough has ended, while promises are in the way.
const MOST_STEPS: usize = 32;
/// No deadline is missed from here: a start that is too late is found all the same, to say by how much.
const NEVER_LATE: i64 = i64::MIN;

/// How a gang could start later.
#[derive(Clone, Debug)]
pub(crate) struct Ahead {
    /// What it would hold then.
    pub(crate) decision: PlacementDecision,
    /// Seconds by which it would miss its deadline; 0 where it does not.
    pub(crate) late_seconds: i64,
    score: Score,
}

impl Ahead {
    /// Least is best: on time before late, then the sooner start or the lesser delay, then the better score.
    fn key(&self) -> (bool, i64, Score) {
        let late = self.late_seconds > 0;
        let seconds = if late {
            self.late_seconds
        } else {
            self.decision.start_seconds
        };
        (late, seconds, self.score)
    }

    /// Whether it starts within so many seconds, and on time.
    pub(crate) fn is_within(&self, horizon_seconds: i64) -> bool {
        // A start at 0 is no later start: it comes of ends so absurd that time has no room for them.
        let start = self.decision.start_seconds;
        self.late_seconds == 0 && start > 0 && start <= horizon_seconds
    }

    /// Says in a verdict what lies ahead.
    pub(crate) fn tell(&self, unplaced: &mut Unplaced) {
        let start_seconds = self.decision.start_seconds;
        if start_seconds <= 0 {
            return; // It is late even if it starts now: the verdict says so already.
        }
        unplaced.earliest_start_seconds = Some(start_seconds);
        if self.late_seconds == 0 {
            // A setting that is changed lets it start now; to wait is less than to find it other devices.
            if let None | Some(Fix::AddNodes { .. } | Fix::FreeDevices { .. } | Fix::ChangeJob) =
                unplaced.fix
            {
                unplaced.fix = Some(Fix::WaitUntil { start_seconds });
            }
            return;
        }
        let late = Refusal {
            reason: Reason::DeadlineMissed {
                late_seconds: self.late_seconds,
            },
            cluster: Some(self.decision.reservation.cluster.clone()),
            alternative: Some(self.decision.alternative.clone()),
            count: 1,
        };
        // Counted from the earliest start, not from now.
        let older = |refusal: &Refusal| matches!(refusal.reason, Reason::DeadlineMissed { .. });
        unplaced.reasons.retain(|refusal| !older(refusal));
        unplaced.reasons.insert(0, late);
        unplaced.reasons.truncate(MOST_REASONS);
        unplaced.fix = Some(Fix::ExtendDeadline {
            by_seconds: self.late_seconds,
        });
    }

    /// Seconds from now until it ends.
    pub(crate) fn end_seconds(&self) -> i64 {
        let duration = self.decision.duration_seconds.unwrap_or(i64::MAX);
        self.decision.start_seconds.saturating_add(duration)
    }
}

/// A gang's alternative on one group.
#[derive(Clone, Copy)]
struct Case<'a> {
    job: &'a JobSpec,
    at: usize,
    alternative: &'a Alternative,
    group: GroupIndex,
    duration: i64,
}

impl Case<'_> {
    /// Devices of the whole gang.
    fn devices(&self) -> u64 {
        u64::from(self.alternative.replicas)
            .saturating_mul(u64::from(self.alternative.devices_per_replica))
    }
}

impl Fleet {
    /// The earliest start of a gang after now, beside these promises, all of which are counted in. What looking costs is
    /// added to `moved`, in nodes counted in or out.
    pub(crate) fn earliest(
        &mut self,
        job: &JobSpec,
        promises: &[Span],
        now_seconds: i64,
        moved: &mut u64,
    ) -> Option<Ahead> {
        let mut hopes: Vec<(i64, Case<'_>, Vec<Span>)> = Vec::new();
        for case in self.nearest(job) {
            let spans = self.spans(case.group, false, promises, now_seconds);
            if let Some(end) = self.soonest(case, &spans) {
                hopes.push((end, case, spans));
            }
        }
        // Stable: nearest first among equals.
        hopes.sort_by_key(|(end, ..)| *end);
        let mut best: Option<Ahead> = None;
        for (soonest, case, spans) in hopes {
            let settled =
                |best: &Ahead| best.late_seconds == 0 && best.decision.start_seconds < soonest;
            if best.as_ref().is_some_and(settled) {
                break;
            }
            let found = match self.on_case(case, spans, now_seconds, moved) {
                Ok(found) => found,
                // Watts are what is short: whatever ends anywhere is waited for.
                Err(ShortOfWatts) => {
                    let spans = self.spans(case.group, true, promises, now_seconds);
                    self.on_case(case, spans, now_seconds, moved)
                        .unwrap_or_default()
                }
            };
            if let Some(found) = found
                && best.as_ref().is_none_or(|best| found.key() < best.key())
            {
                best = Some(found);
            }
        }
        best
    }

    /// The cases that could hold the gang if nobody else were there, those that lack the fewest devices now first.
    fn nearest<'a>(&self, job: &'a JobSpec) -> Vec<Case<'a>> {
        let Kind::Training { work, .. } = &job.kind else {
            return Vec::new();
        };
        let open = self.open_clusters(job);
        let mut cases: Vec<(i128, Case<'_>)> = Vec::new();
        for (at, alternative) in job.alternatives.iter().enumerate() {
            let duration = duration_seconds(*work, alternative).filter(|seconds| *seconds > 0);
            let Some(duration) = duration
                .filter(|_| alternative.devices_per_replica > 0 && gang_size(job, alternative) > 0)
            else {
                continue;
            };
            for group in self.groups_for(alternative) {
                let key = &self.groups[group].key;
                if open.get(key.cluster.position()) != Some(&true)
                    || !job.capacity_types.contains(&key.capacity_type)
                    || self.most_replicas(group, alternative) < gang_size(job, alternative)
                {
                    continue;
                }
                let case = Case {
                    job,
                    at,
                    alternative,
                    group,
                    duration,
                };
                let free = self.cells.get(self.groups[group].root).free_devices;
                cases.push((i128::from(case.devices()) - i128::from(free), case));
            }
        }
        cases.sort_by(|(lack, a), (other, b)| {
            let name = |case: &Case<'_>| {
                let key = &self.groups[case.group].key;
                let cluster = self.clusters[key.cluster].name.clone();
                (
                    cluster,
                    case.at,
                    key.capacity_type,
                    key.accelerator_type.clone(),
                    key.resource.clone(),
                )
            };
            lack.cmp(other).then_with(|| name(a).cmp(&name(b)))
        });
        cases
            .into_iter()
            .map(|(_, case)| case)
            .filter(|case| self.could_hold(case))
            .take(MOST_GROUPS)
            .collect()
    }

    /// Replicas that a group's nodes hold when nobody else does.
    fn most_replicas(&self, group: GroupIndex, alternative: &Alternative) -> u64 {
        self.groups[group]
            .pools
            .iter()
            .map(|&pool| &self.pools[pool])
            .map(|pool| {
                let each = pool
                    .key
                    .devices
                    .checked_div(alternative.devices_per_replica);
                pool.nodes().saturating_sub(pool.faulty()) * u64::from(each.unwrap_or(0))
            })
            .fold(0, u64::saturating_add)
    }

    /// Whether the admitted nodes of a group, and those of one domain of the required level, are enough in number.
    fn could_hold(&self, case: &Case<'_>) -> bool {
        let pools = self.admitted(case.job, case.alternative, case.group);
        let each =
            |pool| u64::from(self.pools[pool].key.devices / case.alternative.devices_per_replica);
        let (mut all, mut largest) = (0_u64, 0_u64);
        for pool in pools {
            largest = largest.max(each(pool));
            all = all.saturating_add(self.pools[pool].nodes().saturating_mul(each(pool)));
        }
        let needed = gang_size(case.job, case.alternative);
        let level = case.job.topology.required;
        all >= needed
            && match level {
                Level::Cluster => true,
                Level::Node => largest >= needed,
                _ => {
                    let root = self.groups[case.group].root;
                    let nodes = self
                        .cells
                        .at_level(root, level)
                        .into_iter()
                        .map(|cell| u64::from(self.cells.get(cell).nodes))
                        .max();
                    nodes.unwrap_or(0).saturating_mul(largest) >= needed
                }
            }
    }

    /// What ends on a group, soonest first, and the promises that hold devices of its type there or, with `elsewhere`, all.
    fn spans(
        &self,
        group: GroupIndex,
        elsewhere: bool,
        promises: &[Span],
        now_seconds: i64,
    ) -> Vec<Span> {
        let mut spans = self.ending(group, elsewhere, now_seconds);
        let key = &self.groups[group].key;
        let cluster = &*self.clusters[key.cluster].name;
        spans.extend(promises.iter().filter(|span| {
            self.ledger.get(span.reservation).is_some_and(|held| {
                elsewhere
                    || (held.cluster == cluster && *held.accelerator_type == *key.accelerator_type)
            })
        }));
        spans
    }

    /// The soonest end by which so many devices were given back as the gang needs; `None` where that is not in sight.
    fn soonest(&self, case: Case<'_>, spans: &[Span]) -> Option<i64> {
        let mut free = self.cells.get(self.groups[case.group].root).free_devices;
        // Promised devices are free until they are taken.
        for span in spans.iter().filter(|span| span.start > 0) {
            free = free.saturating_add(span.devices);
        }
        if free >= case.devices() {
            return Some(0);
        }
        spans
            .iter()
            .filter(|span| span.start <= 0)
            .find_map(|span| {
                free = free.saturating_add(span.devices);
                (free >= case.devices()).then_some(span.end)
            })
    }

    /// The earliest start on one group, beside these spans.
    fn on_case(
        &mut self,
        case: Case<'_>,
        spans: Vec<Span>,
        now_seconds: i64,
        moved: &mut u64,
    ) -> Result<Option<Ahead>, ShortOfWatts> {
        let Some(soonest) = self.soonest(case, &spans) else {
            return Ok(None);
        };
        let mut search = StartSearch {
            case,
            now_seconds,
            window: Window::new(self, spans, moved),
        };
        match search.enough(soonest) {
            Some(first) => Ok(search.first_start(first)),
            None if search.is_short_of_watts() => Err(ShortOfWatts),
            None => Ok(None),
        }
    }
}

/// With all gone that was to end, there would be room but for watts.
struct ShortOfWatts;

/// The search on one group.
struct StartSearch<'f, 'a> {
    case: Case<'a>,
    now_seconds: i64,
    window: Window<'f>,
}

impl StartSearch<'_, '_> {
    /// Moments at which something ends, from `from` on, in order.
    fn ends(&self, from: i64, promised: bool) -> Vec<i64> {
        let spans = self.window.spans().iter();
        let mut ends: Vec<i64> = spans
            .filter(|span| (promised || span.start <= 0) && span.end >= from)
            .map(|span| span.end)
            .collect();
        ends.push(from);
        ends.sort_unstable();
        ends.dedup();
        ends
    }

    /// The first moment from `soonest` on at which enough has ended, promises aside.
    fn enough(&mut self, soonest: i64) -> Option<i64> {
        let ends = self.ends(soonest, false);
        let mut fits_at = |at: usize| {
            let end = ends.get(at).copied().unwrap_or(i64::MAX);
            self.window.show(|span| span.start <= 0 && span.end > end);
            self.fits(0).is_some()
        };
        let (mut too_few, mut step) = (0, 1);
        if fits_at(0) {
            return ends.first().copied();
        }
        let last = ends.len().checked_sub(1)?;
        let mut enough = loop {
            let at = (too_few + step).min(last);
            if at == too_few {
                return None;
            }
            if fits_at(at) {
                break at;
            }
            (too_few, step) = (at, step * 2);
        };
        while enough - too_few > 1 {
            let middle = usize::midpoint(too_few, enough);
            if fits_at(middle) {
                enough = middle;
            } else {
                too_few = middle;
            }
        }
        ends.get(enough).copied()
    }

    /// The first moment from `from` on at which it fits for as long as it runs, promises included.
    fn first_start(&mut self, from: i64) -> Option<Ahead> {
        let duration = self.case.duration;
        self.ends(from, true)
            .into_iter()
            .take(MOST_STEPS)
            .find_map(|start| {
                self.window.show(|span| span.overlaps(start, duration));
                self.fits(start)
            })
    }

    /// How it would run if it started then, in the fleet as the window shows it.
    fn fits(&self, start: i64) -> Option<Ahead> {
        let Case {
            job,
            at,
            alternative,
            group,
            duration,
        } = self.case;
        let fleet = &*self.window.fleet;
        let mut candidates = Vec::new();
        fleet.on_group(job, at, alternative, group, Some(duration), &mut candidates);
        let found = candidates
            .iter()
            .find_map(|candidate| fleet.try_candidate(job, candidate, NEVER_LATE))?;
        let score = found.score;
        let mut decision = fleet.decision(job, found)?;
        decision.start_seconds = start;
        let ends_seconds = self
            .now_seconds
            .saturating_add(start)
            .saturating_add(duration);
        decision.reservation.ends_seconds = Some(ends_seconds);
        let late_seconds = match job.kind {
            Kind::Training {
                deadline_seconds: Some(deadline),
                ..
            } => ends_seconds.saturating_sub(deadline).max(0),
            _ => 0,
        };
        Some(Ahead {
            decision,
            late_seconds,
            score,
        })
    }

    /// Whether, with all gone that ends, there would be room but for watts.
    fn is_short_of_watts(&mut self) -> bool {
        self.window.show(|_| false);
        let Case {
            job,
            alternative,
            group,
            ..
        } = self.case;
        let missing = Missing {
            replicas: 0,
            spent_per_hour: 0,
        };
        let reason = self
            .window
            .fleet
            .diagnose(job, alternative, group, missing, NEVER_LATE);
        matches!(
            reason,
            Reason::PowerDomainExceeded { .. } | Reason::PowerBudgetExceeded { .. }
        )
    }
}
