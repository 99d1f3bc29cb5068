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
use crate::nodes::{FeasiblePlacement, NodeAllocation, Shortfall};
use crate::schedule::{Assignment, Entry, Schedule};

/// Trials beyond which there is little to find, for each job.
const TRIALS_EACH: u64 = 6_000;

/// Jobs with what they had before.
type Before = Vec<(usize, Vec<Assignment>, Option<Shortfall>)>;

/// Replicas by node.
type Replicas = BTreeMap<NodeIndex, (PoolIndex, u32)>;

/// Where the search moves a job.
struct Move {
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
                && if entry.is_pending() {
                    self.is_hopeful(at)
                } else {
                    self.above_floor(entry).is_some_and(|usd| usd > 0)
                }
        };
        if trials == 0 || !self.entries.iter().enumerate().any(gains) {
            return None;
        }
        let mut layout = self.lay_out(&movable)?;
        let gangs = u64::try_from(layout.entries.len()).unwrap_or(u64::MAX);
        let trials = trials.min(TRIALS_EACH.saturating_mul(gangs));
        let (better, bound) = Search::new(&mut layout.board, trials).run();
        let bound = bound.filter(|_| layout.exact);
        if !better {
            return bound;
        }
        let moves = self.moves(&layout);
        // As the planner would choose nodes within the groups, if that costs no more; else the very nodes that were found.
        let usd = layout.board.usd;
        if self.carry_out(&moves, false, usd)
            || self.carry_out(&moves, true, i128::MAX)
            || self.carry_out(&moves, false, i128::MAX)
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
            .filter(|entry| !entry.is_gang() && entry.shortfall.is_some())
            .map(|entry| entry.job.priority)
            .min();
        self.entries
            .iter()
            .map(|entry| entry.by_dollars() && bound.is_none_or(|p| entry.job.priority < p))
            .collect()
    }

    fn moves(&self, layout: &Layout) -> Vec<Move> {
        let board = &layout.board;
        let mut moves: Vec<Move> = layout
            .entries
            .iter()
            .enumerate()
            .filter_map(|(gang_at, &entry)| {
                let gang = board.gangs.get(gang_at)?;
                let candidate = gang
                    .now
                    .and_then(|(choice, _)| board.candidates.get(gang.class)?.get(choice));
                Some(Move {
                    entry,
                    place: candidate.map(|candidate| {
                        (
                            candidate.alternative,
                            candidate.group,
                            board.replicas_of(gang_at),
                        )
                    }),
                    devices: candidate.map_or(0, |candidate| {
                        u64::from(candidate.units) * u64::from(candidate.devices)
                    }),
                })
            })
            .collect();
        moves.sort_by_key(|wanted| (Reverse(wanted.devices), wanted.entry));
        moves
    }

    /// Moves jobs to where the search wants them. `exact`: on the very nodes. All or nothing, and only for a better plan in which
    /// all of them cost no more than `most_usd`.
    fn carry_out(&mut self, moves: &[Move], exact: bool, most_usd: i128) -> bool {
        let moved: Vec<&Move> = moves
            .iter()
            .filter(|wanted| {
                let place = self.entries.get(wanted.entry).and_then(Entry::placement);
                match (place, &wanted.place) {
                    (None, None) => false,
                    (Some(now), Some((alternative, group, nodes))) => {
                        (now.alternative, now.group) != (*alternative, *group)
                            || exact && !same_nodes(&now.allocations, nodes)
                    }
                    _ => true,
                }
            })
            .collect();
        let mut before: Before = Vec::with_capacity(moved.len());
        for wanted in &moved {
            let shortfall = self
                .entries
                .get(wanted.entry)
                .and_then(|entry| entry.shortfall);
            before.push((wanted.entry, self.unassign(wanted.entry), shortfall));
        }
        let mut whole = true;
        for wanted in &moved {
            let found = if exact {
                self.found_exactly(wanted)
            } else {
                self.found_nearly(wanted)
            };
            whole &= self.assign(wanted.entry, found) || wanted.place.is_none();
            if !whole {
                break;
            }
        }
        let usd = moves
            .iter()
            .filter_map(|wanted| self.entries.get(wanted.entry)?.usd())
            .map(i128::from)
            .sum::<i128>();
        // The board rounds the shares of a gang over several prices.
        let rounding = i128::try_from(moves.len()).unwrap_or(0);
        let within = usd.saturating_sub(rounding) <= most_usd;
        if whole && within && self.is_better_than(&before) {
            return true;
        }
        for (at, _, _) in &before {
            self.unassign(*at);
        }
        for (at, assignments, shortfall) in before {
            self.reassign(at, assignments, shortfall);
        }
        false
    }

    /// Nodes as the planner would choose them, in the wanted alternative and group.
    fn found_nearly(&self, wanted: &Move) -> Option<FeasiblePlacement> {
        let (alternative, group, _) = wanted.place.as_ref()?;
        let entry = self.entries.get(wanted.entry)?;
        self.classes
            .get(entry.class)?
            .candidates
            .iter()
            .filter(|c| (c.alternative, c.group) == (*alternative, *group))
            .find_map(|c| self.fleet.try_candidate(entry.job, c, self.now_seconds))
    }

    /// The wanted nodes, where everything about them holds.
    fn found_exactly(&self, wanted: &Move) -> Option<FeasiblePlacement> {
        let (at, group, nodes) = wanted.place.as_ref()?;
        let job = self.entries.get(wanted.entry)?.job;
        let alternative = job.alternatives.get(*at)?;
        let request =
            self.fleet
                .node_request(alternative, *group, u64::from(alternative.replicas), None);
        let mut allocations = Vec::with_capacity(nodes.len());
        for (&node, &(pool, replicas)) in nodes {
            let (_, room) = self.fleet.usable(&request, node)?;
            if room < u64::from(replicas) {
                return None;
            }
            allocations.push(NodeAllocation {
                node,
                pool,
                replicas,
            });
        }
        let duration = duration_seconds(&job.kind, alternative);
        let cluster = &self.fleet.clusters[self.fleet.cluster_of(*group)].name;
        let uses = self.fleet.uses(&allocations, request.devices);
        let quote = self
            .fleet
            .quote(job, cluster, &uses, request.watts_each, duration);
        let power = &self.fleet.power;
        let holds = is_within_limits(job, &quote, self.now_seconds)
            && power.queue_shortage(&job.queue, quote.watts).is_none()
            && power
                .shortage(&self.fleet.loads(&request, &allocations))
                .is_none();
        holds.then(|| FeasiblePlacement {
            alternative: *at,
            group: *group,
            score: score(job, alternative, &quote),
            allocations,
            level: Level::Cluster,
            quote,
        })
    }

    /// Whether more of these jobs have a place than before, by priority, or as many for fewer dollars.
    fn is_better_than(&self, before: &Before) -> bool {
        let mut gained: BTreeMap<Reverse<i32>, i64> = BTreeMap::new();
        let mut usd = 0_i128;
        for (at, assignments, _) in before {
            let Some(entry) = self.entries.get(*at) else {
                continue;
            };
            let gain = gained.entry(Reverse(entry.job.priority)).or_default();
            for (assignments, sign) in [(&entry.assignments, 1), (assignments, -1)] {
                for assignment in assignments {
                    *gain += i64::from(sign);
                    usd += i128::from(sign) * i128::from(assignment.decision.usd_total.0);
                }
            }
        }
        gained
            .values()
            .find(|gain| **gain != 0)
            .map_or(usd < 0, |gain| *gain > 0)
    }
}

fn same_nodes(allocations: &[NodeAllocation], nodes: &Replicas) -> bool {
    allocations.len() == nodes.len()
        && allocations.iter().all(|allocation| {
            nodes.get(&allocation.node) == Some(&(allocation.pool, allocation.replicas))
        })
}
