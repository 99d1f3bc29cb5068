//! Bettering a plan: what the [search](super::optimise) finds on the board is carried out on the fleet, and taken back
//! whole where it turns out not to be better.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::incumbent::Bound;
use super::layout::Layout;
use super::state::Search;
use crate::arena::{GroupIndex, NodeIndex, PoolIndex};
use crate::candidates::{duration_seconds, is_within_limits, score};
use crate::model::Level;
use crate::nodes::{Found, Missing, Pick};
use crate::schedule::{Entry, Schedule, Seat};

/// Trials beyond which there is little to find, for each job.
const TRIALS_EACH: u64 = 6_000;

/// Jobs with what they had before.
type Before = Vec<(usize, Vec<Seat>, Option<Missing>)>;

/// Replicas by node.
type Replicas = BTreeMap<NodeIndex, (PoolIndex, u32)>;

/// Where the search wants a job.
struct Wish {
    entry: usize,
    /// Alternative, group and replicas by node; `None` leaves it waiting.
    place: Option<(usize, GroupIndex, Replicas)>,
    devices: u64,
}

impl Schedule<'_, '_> {
    /// Betters the plan within so many trials. What is proven of every plan, where anything is.
    pub(crate) fn improve(&mut self, trials: u64) -> Option<Bound> {
        let movable = self.movable();
        let gains = |(at, entry): (usize, &Entry<'_>)| {
            movable.get(at) == Some(&true)
                && if entry.waits() {
                    self.is_hopeful(at)
                } else {
                    self.above_floor(entry).is_some_and(|usd| usd > 0)
                }
        };
        if trials == 0 || !self.entries.iter().enumerate().any(gains) {
            return None;
        }
        let Some(mut layout) = self.lay_out(&movable) else {
            return None;
        };
        let pieces = u64::try_from(layout.entries.len()).unwrap_or(u64::MAX);
        let trials = trials.min(TRIALS_EACH.saturating_mul(pieces));
        let (better, bound) = Search::new(&mut layout.board, trials).run();
        let bound = bound.filter(|_| layout.exact);
        if !better {
            return bound;
        }
        let wishes = self.wishes(&layout);
        // As the planner would choose nodes within the groups, if that costs no more; else the very nodes that were found.
        let usd = layout.board.usd;
        if self.carry_out(&wishes, false, usd)
            || self.carry_out(&wishes, true, i128::MAX)
            || self.carry_out(&wishes, false, i128::MAX)
        {
            self.uphold_priorities();
        }
        bound
    }

    /// Which jobs may be moved: gangs judged by dollars. Where an inference job misses replicas, only those of lower
    /// priority, so that nothing is freed that it should have had.
    fn movable(&self) -> Vec<bool> {
        let bound = self
            .entries
            .iter()
            .filter(|entry| !entry.is_gang() && entry.missing.is_some())
            .map(|entry| entry.job.priority)
            .min();
        self.entries
            .iter()
            .map(|entry| entry.by_dollars() && bound.is_none_or(|p| entry.job.priority < p))
            .collect()
    }

    fn wishes(&self, layout: &Layout) -> Vec<Wish> {
        let board = &layout.board;
        let mut wishes: Vec<Wish> = layout
            .entries
            .iter()
            .enumerate()
            .filter_map(|(piece_at, &entry)| {
                let piece = board.pieces.get(piece_at)?;
                let way = piece
                    .now
                    .and_then(|(choice, _)| board.ways.get(piece.class)?.get(choice));
                Some(Wish {
                    entry,
                    place: way.map(|way| (way.alternative, way.group, board.replicas_of(piece_at))),
                    devices: way.map_or(0, |way| u64::from(way.units) * u64::from(way.devices)),
                })
            })
            .collect();
        wishes.sort_by_key(|wish| (Reverse(wish.devices), wish.entry));
        wishes
    }

    /// Moves jobs to where they are wished. `exact`: on the very nodes. All or nothing, and only for a better plan in which
    /// all of them cost no more than `most_usd`.
    fn carry_out(&mut self, wishes: &[Wish], exact: bool, most_usd: i128) -> bool {
        let moved: Vec<&Wish> = wishes
            .iter()
            .filter(|wish| {
                let place = self.entries.get(wish.entry).and_then(Entry::place);
                match (place, &wish.place) {
                    (None, None) => false,
                    (Some(now), Some((alternative, group, nodes))) => {
                        (now.alternative, now.group) != (*alternative, *group)
                            || exact && !same_nodes(&now.picks, nodes)
                    }
                    _ => true,
                }
            })
            .collect();
        let mut before: Before = Vec::with_capacity(moved.len());
        for wish in &moved {
            let missing = self.entries.get(wish.entry).and_then(|entry| entry.missing);
            before.push((wish.entry, self.unseat(wish.entry), missing));
        }
        let mut whole = true;
        for wish in &moved {
            let found = if exact {
                self.found_exactly(wish)
            } else {
                self.found_nearly(wish)
            };
            whole &= self.seat(wish.entry, found) || wish.place.is_none();
            if !whole {
                break;
            }
        }
        let usd = wishes
            .iter()
            .filter_map(|wish| self.entries.get(wish.entry)?.usd())
            .map(i128::from)
            .sum::<i128>();
        // The board rounds the shares of a gang over several prices.
        let rounding = i128::try_from(wishes.len()).unwrap_or(0);
        let within = usd.saturating_sub(rounding) <= most_usd;
        if whole && within && self.is_better_than(&before) {
            return true;
        }
        for (at, _, _) in &before {
            self.unseat(*at);
        }
        for (at, seats, missing) in before {
            self.reseat(at, seats, missing);
        }
        false
    }

    /// Nodes as the planner would choose them, in the wished alternative and group.
    fn found_nearly(&self, wish: &Wish) -> Option<Found> {
        let (alternative, group, _) = wish.place.as_ref()?;
        let entry = self.entries.get(wish.entry)?;
        self.classes
            .get(entry.class)?
            .candidates
            .iter()
            .filter(|c| (c.alternative, c.group) == (*alternative, *group))
            .find_map(|c| self.fleet.try_candidate(entry.job, c, self.now_seconds))
    }

    /// The wished nodes, where everything about them holds.
    fn found_exactly(&self, wish: &Wish) -> Option<Found> {
        let (at, group, nodes) = wish.place.as_ref()?;
        let job = self.entries.get(wish.entry)?.job;
        let alternative = job.alternatives.get(*at)?;
        let want = self
            .fleet
            .want(alternative, *group, u64::from(alternative.replicas), None);
        let mut picks = Vec::with_capacity(nodes.len());
        for (&node, &(pool, replicas)) in nodes {
            let (_, room) = self.fleet.usable(&want, node)?;
            if room < u64::from(replicas) {
                return None;
            }
            picks.push(Pick {
                node,
                pool,
                replicas,
            });
        }
        let duration = duration_seconds(&job.kind, alternative);
        let cluster = &self.fleet.clusters[self.fleet.cluster_of(*group)].name;
        let uses = self.fleet.uses(&picks, want.devices);
        let quote = self
            .fleet
            .quote(job, cluster, &uses, want.watts_each, duration);
        let power = &self.fleet.power;
        let holds = is_within_limits(job, &quote, self.now_seconds)
            && power.queue_shortage(&job.queue, quote.watts).is_none()
            && power.shortage(&self.fleet.loads(&want, &picks)).is_none();
        holds.then(|| Found {
            alternative: *at,
            group: *group,
            score: score(job, alternative, &quote),
            picks,
            level: Level::Cluster,
            quote,
        })
    }

    /// Whether more of these jobs have a place than before, by priority, or as many for fewer dollars.
    fn is_better_than(&self, before: &Before) -> bool {
        let mut gained: BTreeMap<Reverse<i32>, i64> = BTreeMap::new();
        let mut usd = 0_i128;
        for (at, seats, _) in before {
            let Some(entry) = self.entries.get(*at) else {
                continue;
            };
            let gain = gained.entry(Reverse(entry.job.priority)).or_default();
            for (seats, sign) in [(&entry.seats, 1), (seats, -1)] {
                for seat in seats {
                    *gain += i64::from(sign);
                    usd += i128::from(sign) * i128::from(seat.decision.usd_total.0);
                }
            }
        }
        gained
            .values()
            .find(|gain| **gain != 0)
            .map_or(usd < 0, |gain| *gain > 0)
    }
}

fn same_nodes(picks: &[Pick], nodes: &Replicas) -> bool {
    picks.len() == nodes.len()
        && picks
            .iter()
            .all(|pick| nodes.get(&pick.node) == Some(&(pick.pool, pick.replicas)))
}
