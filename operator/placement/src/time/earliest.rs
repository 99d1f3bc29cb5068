//! When a gang that has no room now could start: the first moment at which enough has ended, and nothing that was promised
//! to others is in the way for as long as it runs.
//!
//! Tried on the fleet itself, through a [window](super::window), on the groups that lack the fewest devices. Counting devices
//! says before which end there is no use in trying; from there the steps double until the gang fits, and halve until the
//! first such end is found.

use super::future_candidates::FutureCandidate;
use super::window::{Span, Window};
use crate::fleet::Fleet;
use crate::model::{JobSpec, Kind};
use crate::schedule::{FutureStart, StartCost};

/// Most moments that are tried on one group once enough has ended, while promises are in the way.
const MOST_STEPS: usize = 32;
/// No deadline is missed from here: a start that is too late is found all the same, to say by how much.
const NEVER_LATE: i64 = i64::MIN;

impl Fleet {
    /// The earliest start of a gang after now, beside these promises, all of which are counted in. What looking costs is
    /// added to `moved`, in nodes counted in or out.
    pub(crate) fn earliest(
        &mut self,
        job: &JobSpec,
        promises: &[Span],
        now_seconds: i64,
        moved: &mut u64,
    ) -> Option<FutureStart> {
        let mut hopes: Vec<(i64, FutureCandidate<'_>, Vec<Span>)> = Vec::new();
        for future_candidate in self.nearest(job) {
            let spans = self.spans(future_candidate, false, promises, now_seconds);
            if let Some(end) = self.soonest(future_candidate, &spans) {
                hopes.push((end, future_candidate, spans));
            }
        }
        // Stable: nearest first among equals.
        hopes.sort_by_key(|(end, ..)| *end);
        let mut best: Option<FutureStart> = None;
        for (soonest, future_candidate, spans) in hopes {
            let settled = |best: &FutureStart| {
                best.late_seconds == 0 && best.decision.start_seconds < soonest
            };
            if best.as_ref().is_some_and(settled) {
                break;
            }
            let on = (promises, now_seconds, None);
            let found = self.best_on(future_candidate, spans, on, moved);
            if let Some(found) = found
                && best.as_ref().is_none_or(|best| found.key() < best.key())
            {
                best = Some(found);
            }
        }
        best
    }

    /// The start within the horizon that is worth most to a gang and more than `than`, beside these promises, all of which are
    /// counted in. What looking costs is added to `moved`, in nodes counted in or out.
    pub(crate) fn better_start(
        &mut self,
        job: &JobSpec,
        than: StartCost,
        promises: &[Span],
        (now_seconds, horizon_seconds): (i64, i64),
        moved: &mut u64,
    ) -> Option<FutureStart> {
        let mut best: Option<FutureStart> = None;
        let mut than = than;
        for (least, future_candidate) in self.cheapest(job) {
            if least >= than {
                break;
            }
            let spans = self.spans(future_candidate, false, promises, now_seconds);
            let on = (promises, now_seconds, Some(than));
            let found = self.best_on(future_candidate, spans, on, moved);
            if let Some(found) = found.filter(|found| found.is_within(horizon_seconds)) {
                than = found.start_cost(job);
                best = Some(found);
            }
        }
        best
    }

    /// The best start on one group. Where watts are what it waits for, whatever ends under the same limits is waited for, not
    /// only what ends on the group.
    fn best_on(
        &mut self,
        future_candidate: FutureCandidate<'_>,
        spans: Vec<Span>,
        (promises, now_seconds, than): (&[Span], i64, Option<StartCost>),
        moved: &mut u64,
    ) -> Option<FutureStart> {
        let own = self.on_future_candidate(future_candidate, spans, now_seconds, than, moved);
        if !own.waits_for_watts {
            return own.start;
        }
        let spans = self.spans(future_candidate, true, promises, now_seconds);
        let all = self.on_future_candidate(future_candidate, spans, now_seconds, than, moved);
        let job = future_candidate.job;
        own.start.into_iter().chain(all.start).min_by_key(|start| {
            // By what it costs where that is asked for, else the soonest.
            (than.map(|_| start.start_cost(job)), start.key())
        })
    }

    /// What ends on a group, soonest first, and the promises that hold devices of its type there or, with `elsewhere`, all.
    fn spans(
        &self,
        future_candidate: FutureCandidate<'_>,
        elsewhere: bool,
        promises: &[Span],
        now_seconds: i64,
    ) -> Vec<Span> {
        let group = future_candidate.group;
        let queue = elsewhere.then_some(future_candidate.job.queue.as_str());
        let mut spans = self.ending(group, queue, now_seconds);
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
    fn soonest(&self, future_candidate: FutureCandidate<'_>, spans: &[Span]) -> Option<i64> {
        let mut free = self
            .cells
            .get(self.groups[future_candidate.group].root)
            .free_devices;
        // Promised devices are free until they are taken.
        for span in spans.iter().filter(|span| span.start > 0) {
            free = free.saturating_add(span.devices);
        }
        if free >= future_candidate.devices() {
            return Some(0);
        }
        spans
            .iter()
            .filter(|span| span.start <= 0)
            .find_map(|span| {
                free = free.saturating_add(span.devices);
                (free >= future_candidate.devices()).then_some(span.end)
            })
    }

    /// The earliest start on one group, beside these spans.
    fn on_future_candidate(
        &mut self,
        future_candidate: FutureCandidate<'_>,
        spans: Vec<Span>,
        now_seconds: i64,
        than: Option<StartCost>,
        moved: &mut u64,
    ) -> GroupStart {
        let Some(soonest) = self.soonest(future_candidate, &spans) else {
            return GroupStart::default();
        };
        let mut search = StartSearch {
            future_candidate,
            now_seconds,
            than,
            window: Window::new(self, spans, moved),
        };
        match search.enough(soonest) {
            Some(first) => GroupStart {
                start: search.first_start(first),
                waits_for_watts: first > soonest && search.is_short_of_watts(first),
            },
            None => GroupStart {
                start: None,
                waits_for_watts: search.is_short_of_watts(i64::MAX),
            },
        }
    }
}

/// What was found on one group.
#[derive(Default)]
struct GroupStart {
    start: Option<FutureStart>,
    /// Whether watts were short before it, or for good.
    waits_for_watts: bool,
}

/// The search on one group.
struct StartSearch<'f, 'a> {
    future_candidate: FutureCandidate<'a>,
    now_seconds: i64,
    /// Only a start that is worth more than this will do.
    than: Option<StartCost>,
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
    fn first_start(&mut self, from: i64) -> Option<FutureStart> {
        let duration = self.future_candidate.duration;
        self.ends(from, true)
            .into_iter()
            .take(MOST_STEPS)
            .find_map(|start| {
                self.window.show(|span| span.overlaps(start, duration));
                self.fits(start)
            })
    }

    /// How it would run if it started then, in the fleet as the window shows it.
    fn fits(&self, start: i64) -> Option<FutureStart> {
        let FutureCandidate {
            job,
            at,
            alternative,
            group,
            duration,
        } = self.future_candidate;
        let fleet = &*self.window.fleet;
        let mut candidates = Vec::new();
        fleet.on_group(job, at, alternative, group, Some(duration), &mut candidates);
        let mut found = candidates
            .iter()
            .find_map(|candidate| fleet.try_candidate(job, candidate, NEVER_LATE))?;
        let score = found.score;
        if let Some(than) = self.than
            && StartCost::of(job, score, start) >= than
        {
            return None;
        }
        let mut decision = fleet.decision(job, &mut found)?;
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
        Some(FutureStart {
            decision,
            late_seconds,
            score,
        })
    }

    /// Whether, with all gone that ends before then, there would be room but for watts.
    fn is_short_of_watts(&mut self, before: i64) -> bool {
        self.window
            .show(|span| span.start <= 0 && span.end >= before);
        let FutureCandidate {
            job,
            alternative,
            group,
            ..
        } = self.future_candidate;
        let fleet = &self.window.fleet;
        fleet.lacks_watts(job, alternative, group, NEVER_LATE)
    }
}
