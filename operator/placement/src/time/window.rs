//! The fleet as it would be from one moment to another: what is not held then is counted out for a while.

use std::collections::BTreeSet;

use crate::arena::{GroupIndex, ReservationIndex};
use crate::fleet::Fleet;
use crate::model::Reservation;

/// Most nodes that one window counts in and out, so that looking ahead stays cheap however much ends soon.
const MOST_NODES: u64 = 512;

/// A reservation with the time for which it holds, in seconds from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// The reservation.
    pub(crate) reservation: ReservationIndex,
    /// From then on; 0 or less: it holds now.
    pub(crate) start: i64,
    /// Until then.
    pub(crate) end: i64,
    /// Devices that it gives back.
    pub(crate) devices: u64,
    /// Nodes that it is on.
    pub(crate) nodes: u64,
}

impl Span {
    /// A reservation that holds from `start` to `end`.
    pub(crate) fn new(
        index: ReservationIndex,
        reservation: &Reservation,
        start: i64,
        end: i64,
    ) -> Self {
        let replicas: u64 = reservation
            .nodes
            .iter()
            .map(|share| u64::from(share.replicas))
            .fold(0, u64::saturating_add);
        Self {
            reservation: index,
            start,
            end,
            devices: replicas.saturating_mul(u64::from(reservation.devices_per_replica)),
            nodes: u64::try_from(reservation.nodes.len()).unwrap_or(u64::MAX),
        }
    }

    /// Whether it holds at any moment from `start` for `duration` seconds.
    pub(crate) fn overlaps(&self, start: i64, duration: i64) -> bool {
        self.start < start.saturating_add(duration) && self.end > start
    }
}

/// Seconds from now until a reservation is expected to end. One that is late is expected to be late by as much again:
/// what was wrong once is believed less the longer it is wrong, and never to end this moment.
fn expected_end(ends_seconds: i64, now_seconds: i64) -> i64 {
    let left = ends_seconds.saturating_sub(now_seconds);
    left.saturating_abs().max(1)
}

impl Fleet {
    /// What ends of the devices of a group, soonest first; with the `queue` of a job, also what ends anywhere and holds
    /// watts under a limit of the group or the queue. All that ends at one moment or nothing of it, and no more than a window may count out.
    pub(crate) fn ending(
        &self,
        group: GroupIndex,
        queue: Option<&str>,
        now_seconds: i64,
    ) -> Vec<Span> {
        let key = &self.groups[group].key;
        let cluster = &self.clusters[key.cluster].name;
        let ends = self.ledger.ends();
        let of_type = ends.of_type(cluster, &key.accelerator_type);
        let Some(ends) = (if queue.is_some() {
            Some(ends.all())
        } else {
            of_type
        }) else {
            return Vec::new();
        };
        let limits = queue.map(|queue| (queue, self.limits_of(group)));
        let counts = |reservation: &Reservation| match &limits {
            None => self.is_in_group(reservation, group),
            Some((queue, limits)) => {
                self.is_in_group(reservation, group) || self.is_under(reservation, queue, limits)
            }
        };
        // Those that are late come first in the order of ends, the latest in front; they are expected the other way schedule.
        let after_now = (now_seconds.saturating_add(1), ReservationIndex::FIRST);
        let mut spans = Vec::new();
        self.spans_within(
            ends.range(..after_now).rev(),
            &counts,
            now_seconds,
            &mut spans,
        );
        self.spans_within(ends.range(after_now..), &counts, now_seconds, &mut spans);
        spans.sort_by_key(|span| span.end);
        let mut nodes = 0_u64;
        let beyond = spans.iter().find_map(|span| {
            nodes += span.nodes;
            (nodes > MOST_NODES).then_some(span.end)
        });
        spans.retain(|span| beyond.is_none_or(|beyond| span.end < beyond));
        spans
    }

    /// Spans of these ends, until there are more nodes than a window may count out.
    fn spans_within<'a>(
        &self,
        ends: impl Iterator<Item = &'a (i64, ReservationIndex)>,
        counts: &impl Fn(&Reservation) -> bool,
        now_seconds: i64,
        spans: &mut Vec<Span>,
    ) {
        let mut nodes = 0_u64;
        for &(ends_seconds, index) in ends {
            let Some(reservation) = self.ledger.get(index) else {
                continue;
            };
            if !counts(reservation) {
                continue;
            }
            let end = expected_end(ends_seconds, now_seconds);
            let span = Span::new(index, reservation, i64::MIN, end);
            nodes += span.nodes;
            spans.push(span);
            if nodes > MOST_NODES {
                return;
            }
        }
    }

    /// Power domains that a group's nodes hang on, by position.
    fn limits_of(&self, group: GroupIndex) -> BTreeSet<usize> {
        let pools = self.groups[group].pools.iter();
        let feeds = pools.map(|&pool| self.pools[pool].key.feed);
        feeds
            .flat_map(|feed| self.power.path_of(feed).iter().map(|(at, _)| *at))
            .collect()
    }

    /// Whether a reservation holds watts under one of these power domains or of the queue. One on a node that is not there is
    /// taken to.
    fn is_under(&self, reservation: &Reservation, queue: &str, limits: &BTreeSet<usize>) -> bool {
        if reservation.queue == queue && self.power.queue_headroom(queue).is_some() {
            return true;
        }
        let nodes = reservation.nodes.iter();
        let mut found = nodes.map(|share| self.find_node(&reservation.cluster, &share.name));
        found.any(|node| {
            node.is_none_or(|node| {
                let path = self.power.path_of(self.nodes[node].feed);
                path.iter().any(|(at, _)| limits.contains(at))
            })
        })
    }

    /// Whether a reservation holds devices of a group: all of its nodes are of one.
    fn is_in_group(&self, reservation: &Reservation, group: GroupIndex) -> bool {
        let cluster = self.cluster_of(group);
        reservation
            .nodes
            .iter()
            .find_map(|share| self.node_in(cluster, &share.name))
            .is_some_and(|node| self.nodes[node].slot(group).is_some())
    }
}

/// Counts in exactly those spans that are held as `held` says; `out` tells those that are counted out, in the same order. What
/// it costs is added to `moved`, in nodes.
pub(crate) fn show(
    fleet: &mut Fleet,
    spans: &[Span],
    out: &mut [bool],
    moved: &mut u64,
    held: impl Fn(&Span) -> bool,
) {
    for (span, out) in spans.iter().zip(out) {
        let wanted_out = !held(span);
        if wanted_out == *out {
            continue;
        }
        *moved = moved.saturating_add(span.nodes);
        if wanted_out {
            fleet.count_out(span.reservation);
        } else {
            fleet.count_in(span.reservation);
        }
        *out = wanted_out;
    }
}

/// A fleet from which reservations may be counted out. When it is dropped, all of them are counted in again.
pub(crate) struct Window<'f> {
    /// The fleet.
    pub(crate) fleet: &'f mut Fleet,
    spans: Vec<Span>,
    out: Vec<bool>,
    /// Nodes that were counted in or out: what it costs.
    moved: &'f mut u64,
}

impl<'f> Window<'f> {
    /// Over reservations that are all counted in. What it costs is added to `moved`, in nodes.
    pub(crate) fn new(fleet: &'f mut Fleet, spans: Vec<Span>, moved: &'f mut u64) -> Self {
        Self {
            out: vec![false; spans.len()],
            fleet,
            spans,
            moved,
        }
    }

    /// The reservations.
    pub(crate) fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Counts in exactly those that are held as `held` says.
    pub(crate) fn show(&mut self, held: impl Fn(&Span) -> bool) {
        show(self.fleet, &self.spans, &mut self.out, self.moved, held);
    }
}

impl Drop for Window<'_> {
    fn drop(&mut self) {
        self.show(|_| true);
    }
}
