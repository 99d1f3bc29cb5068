//! The board of a schedule: every gang that may be moved is put where the schedule has it.

use std::collections::HashMap;

use crate::arena::{GroupIndex, NodeIndex};
use crate::candidates::requirement;
use crate::schedule::{Entry, Schedule};
use crate::search::board::Board;
use crate::search::model::Piece;

/// A board and whose pieces are on it.
pub(crate) struct Layout {
    /// The board, with every piece where the schedule has it.
    pub(crate) board: Board,
    /// Positions of the jobs in the schedule, by piece.
    pub(crate) entries: Vec<usize>,
    /// Whether every way of every job of the schedule is on the board, so that what is proven there holds for the schedule.
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
                    && (!entry.waits() || self.is_hopeful(*at))
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
        let mut yards = self.yards(&entries);
        let mut board = Board {
            headroom: self.fleet.power.headrooms(),
            yards: vec![Vec::new(); yards.len()],
            ..Board::default()
        };
        let spot_of = self.add_nodes(&mut board, &mut yards, &entries)?;
        let yard_of: HashMap<GroupIndex, usize> = yards
            .iter()
            .enumerate()
            .map(|(at, yard)| (yard.group, at))
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
            entries.binary_search(&at).is_ok() || entry.waits() && !self.is_hopeful(at)
        });
        for (piece_at, &at) in entries.iter().enumerate() {
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
                let ways = self.ways(entry, &yards, &yard_of, &mut exact);
                board.ways.push(ways);
                board.queue_of.push(queue);
                board.ways.len() - 1
            });
            // What the job draws is in the headroom already: it is charged again when its piece is put down.
            if let (Some(left), Some(seat)) = (
                queue.and_then(|queue| board.queues.get_mut(queue)),
                entry.seats.first(),
            ) {
                *left += i128::from(seat.decision.reservation.watts.0);
            }
            let rank = priorities.binary_search(&entry.job.priority).unwrap_or(0);
            board.pieces.push(Piece::new(class, rank, queue));
            if !self.put(&mut board, piece_at, entry, &spot_of) {
                return None;
            }
        }
        Some(Layout {
            board,
            entries,
            exact,
        })
    }

    /// Puts a piece where the schedule has its job; `false` where the board does not know that place.
    fn put(
        &self,
        board: &mut Board,
        piece: usize,
        entry: &Entry<'_>,
        spot_of: &HashMap<(GroupIndex, NodeIndex), u32>,
    ) -> bool {
        let (Some(place), Some(usd)) = (entry.place(), entry.usd()) else {
            return true;
        };
        let Some(class) = board.pieces.get(piece).map(|piece| piece.class) else {
            return false;
        };
        let spots: Vec<(u32, u32)> = place
            .picks
            .iter()
            .filter_map(|pick| Some((*spot_of.get(&(place.group, pick.node))?, pick.replicas)))
            .collect();
        let choice = board.ways.get(class).and_then(|ways| {
            ways.iter().rposition(|way| {
                (way.alternative, way.group) == (place.alternative, place.group)
                    && spots.iter().all(|(spot, _)| {
                        let bin = board.spots.get(*spot as usize).map(|spot| spot.bin);
                        way.bins.iter().any(|(of, _)| Some(*of) == bin)
                    })
            })
        });
        let Some(choice) = choice else { return false };
        let replicas = board
            .ways
            .get(class)
            .and_then(|ways| ways.get(choice))
            .map_or(1, |way| way.replicas.max(1));
        let held: Vec<(u32, u32)> = spots
            .into_iter()
            .map(|(spot, count)| (spot, count / replicas))
            .collect();
        board.restore(piece, choice, usd, &held);
        true
    }
}
