//! The board of a schedule: every gang that may be moved is put where the schedule has it.

use std::collections::HashMap;

use crate::arena::{GroupIndex, NodeIndex};
use crate::candidates::requirement;
use crate::schedule::{Entry, Schedule};
use crate::search::board::Board;
use crate::search::model::Gang;

/// A board and whose gangs are on it.
pub(crate) struct Layout {
    /// The board, with every gang where the schedule has it.
    pub(crate) board: Board,
    /// Positions of the jobs in the schedule, by gang.
    pub(crate) entries: Vec<usize>,
    /// Whether every candidate of every job of the schedule is on the board, so that what is proven there holds for the schedule.
    pub(crate) exact: bool,
}

impl Schedule<'_, '_> {
    /// The board of these jobs; `None` where there is nothing to move or too much.
    pub(crate) fn lay_out(&self, movable: &[bool]) -> Option<Layout> {
        let entries: Vec<usize> = self
            .entries
            .iter()
            .enumerate()
            .filter(|(at, entry)| {
                movable.get(*at) == Some(&true)
                    && (!entry.is_pending() || self.is_hopeful(*at))
                    && entry
                        .job
                        .alternatives
                        .iter()
                        .all(|a| requirement(&a.pod).is_none())
            })
            .map(|(at, _)| at)
            .collect();
        if entries.len() < 2 {
            return None;
        }
        let mut board_groups = self.board_groups(&entries);
        let mut board = Board {
            headroom: self.fleet.power.headrooms(),
            gangs_by_group: vec![Vec::new(); board_groups.len()],
            ..Board::default()
        };
        let resources = self.other_resources(&entries);
        let board_node_of = self.add_nodes(&mut board, &mut board_groups, &entries, &resources)?;
        let board_group_of: HashMap<GroupIndex, usize> = board_groups
            .iter()
            .enumerate()
            .map(|(at, board_group)| (board_group.group, at))
            .collect();
        let mut class_of: HashMap<usize, usize> = HashMap::new();
        let mut priorities: Vec<i32> = entries
            .iter()
            .filter_map(|&at| Some(self.entries.get(at)?.job.priority))
            .collect();
        priorities.sort_unstable();
        priorities.dedup();
        board.placed = vec![0; priorities.len()];
        let mut queue_of: HashMap<&str, usize> = HashMap::new();
        let mut exact = self.entries.iter().enumerate().all(|(at, entry)| {
            entries.binary_search(&at).is_ok() || entry.is_pending() && !self.is_hopeful(at)
        });
        for (gang_at, &at) in entries.iter().enumerate() {
            let entry = self.entries.get(at)?;
            let queue = self
                .fleet
                .power
                .queue_headroom(&entry.job.queue)
                .map(|left| {
                    *queue_of.entry(&entry.job.queue).or_insert_with(|| {
                        board.queues.push(left);
                        board.queues.len() - 1
                    })
                });
            let class = *class_of.entry(entry.class).or_insert_with(|| {
                let candidates = self.board_candidates(
                    entry,
                    &board_groups,
                    &board_group_of,
                    &resources,
                    &mut exact,
                );
                board.candidates.push(candidates);
                board.queue_of.push(queue);
                board.candidates.len() - 1
            });
            // What the job draws is in the headroom already: it is charged again when its gang is put down.
            if let (Some(left), Some(assignment)) = (
                queue.and_then(|queue| board.queues.get_mut(queue)),
                entry.assignments.first(),
            ) {
                *left += i128::from(assignment.decision.reservation.watts.0);
            }
            let rank = priorities.binary_search(&entry.job.priority).unwrap_or(0);
            board.gangs.push(Gang::new(class, rank, queue));
            if !self.put(&mut board, gang_at, entry, &board_node_of) {
                return None;
            }
        }
        Some(Layout {
            board,
            entries,
            exact,
        })
    }

    /// Puts a gang where the schedule has its job; `false` where the board does not know that place.
    fn put(
        &self,
        board: &mut Board,
        gang: usize,
        entry: &Entry<'_>,
        board_node_of: &HashMap<(GroupIndex, NodeIndex), u32>,
    ) -> bool {
        let (Some(place), Some(usd)) = (entry.placement(), entry.usd()) else {
            return true;
        };
        let Some(class) = board.gangs.get(gang).map(|gang| gang.class) else {
            return false;
        };
        let nodes: Vec<(u32, u32)> = place
            .allocations
            .iter()
            .filter_map(|allocation| {
                Some((
                    *board_node_of.get(&(place.group, allocation.node))?,
                    allocation.replicas,
                ))
            })
            .collect();
        let choice = board.candidates.get(class).and_then(|candidates| {
            candidates.iter().rposition(|candidate| {
                (candidate.alternative, candidate.group) == (place.alternative, place.group)
                    && nodes.iter().all(|(board_node, _)| {
                        let bin = board
                            .nodes
                            .get(*board_node as usize)
                            .map(|board_node| board_node.bin);
                        candidate.bins.iter().any(|(of, _)| Some(*of) == bin)
                    })
            })
        });
        let Some(choice) = choice else { return false };
        let replicas = board
            .candidates
            .get(class)
            .and_then(|candidates| candidates.get(choice))
            .map_or(1, |candidate| candidate.replicas.max(1));
        let held: Vec<(u32, u32)> = nodes
            .into_iter()
            .map(|(board_node, count)| (board_node, count / replicas))
            .collect();
        board.restore(gang, choice, usd, &held);
        true
    }
}
