//! A cycle's movable gangs on a small copy of the nodes that they could use, where a move costs nanoseconds.
//!
//! The copy knows devices, CPU, memory, pod slots, required topology, dollars and watts, but no names: nodes of one pool
//! and domain are one *bin*, and per bin nodes are listed by free devices. What is found here is carried out, and checked,
//! on the fleet itself.

use std::collections::BTreeMap;

use super::model::{Bin, BoardCandidate, BoardNode, Gang, Shortage, Target};
use crate::arena::{NodeIndex, PoolIndex};

/// The board.
#[derive(Clone, Debug, Default)]
pub(crate) struct Board {
    pub(crate) bins: Vec<Bin>,
    pub(crate) nodes: Vec<BoardNode>,
    /// Candidates of each class.
    pub(crate) candidates: Vec<Vec<BoardCandidate>>,
    /// The queue with a limit of each class's jobs.
    pub(crate) queue_of: Vec<Option<usize>>,
    /// Their positions, best at shadow prices first.
    pub(crate) order: Vec<Vec<usize>>,
    pub(crate) gangs: Vec<Gang>,
    /// Gangs with a place, by group.
    pub(crate) gangs_by_group: Vec<Vec<u32>>,
    /// Nano-watts left by power domain.
    pub(crate) headroom: Vec<i128>,
    /// Watts left by queue with a limit.
    pub(crate) queues: Vec<i128>,
    /// Gangs with a place, by rank of priority.
    pub(crate) placed: Vec<i64>,
    /// Dollars of all.
    pub(crate) usd: i128,
}

impl Board {
    /// The power domains of a bin.
    pub(super) fn feed(&self, bin: u32) -> &[(usize, i128)] {
        self.bins
            .get(bin as usize)
            .map_or(&[][..], |bin| bin.feed.as_slice())
    }

    /// An empty bin.
    pub(crate) fn add_bin(&mut self, devices: u32, feed: Vec<(usize, i128)>) -> u32 {
        self.bins.push(Bin {
            devices,
            feed,
            by_free: Vec::new(),
        });
        u32::try_from(self.bins.len() - 1).unwrap_or(u32::MAX)
    }

    /// Adds a node to its bin.
    pub(crate) fn add_node(&mut self, node: BoardNode) {
        let at = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        self.nodes.push(node);
        self.list(at);
    }

    fn list(&mut self, at: u32) {
        let Some(node) = self.nodes.get_mut(at as usize) else {
            return;
        };
        let Some(bin) = self.bins.get_mut(node.bin as usize) else {
            return;
        };
        let free = node.free as usize;
        if bin.by_free.len() <= free {
            bin.by_free.resize(free + 1, Vec::new());
        }
        if let Some(list) = bin.by_free.get_mut(free) {
            node.place = u32::try_from(list.len()).unwrap_or(u32::MAX);
            list.push(at);
        }
    }

    fn unlist(&mut self, at: u32) {
        let Some(node) = self.nodes.get(at as usize) else {
            return;
        };
        let place = node.place as usize;
        let list = self
            .bins
            .get_mut(node.bin as usize)
            .and_then(|bin| bin.by_free.get_mut(node.free as usize));
        if let Some(list) = list
            && place < list.len()
        {
            list.swap_remove(place);
            let moved = list.get(place).copied();
            if let Some(node) = moved.and_then(|moved| self.nodes.get_mut(moved as usize)) {
                node.place = u32::try_from(place).unwrap_or(u32::MAX);
            }
        }
    }

    /// Units of a candidate that a node has room for.
    fn room(node: &BoardNode, candidate: &BoardCandidate) -> u32 {
        let mut room = node.free / candidate.devices.max(1);
        let most = |left: u64, each: u64| -> u32 {
            let fits = left.checked_div(each).unwrap_or(u64::MAX);
            u32::try_from(fits).unwrap_or(u32::MAX)
        };
        if candidate.cpu_milli > 0 {
            room = room.min(most(node.cpu_milli, candidate.cpu_milli));
        }
        if candidate.memory_mib > 0 {
            room = room.min(most(node.memory_mib, candidate.memory_mib));
        }
        for &(resource, each) in &candidate.other {
            let left = node.other.get(resource).copied().unwrap_or(0);
            room = room.min(most(left, each));
        }
        room.min(most(node.pods, u64::from(candidate.replicas)))
    }

    /// Moves units on a node: positive takes, negative gives back.
    fn shift(&mut self, at: u32, candidate: &BoardCandidate, units: i64) {
        self.unlist(at);
        let Some(node) = self.nodes.get_mut(at as usize) else {
            return;
        };
        let count = units.unsigned_abs();
        let devices =
            u32::try_from(u64::from(candidate.devices).saturating_mul(count)).unwrap_or(u32::MAX);
        let cpu = candidate.cpu_milli.saturating_mul(count);
        let memory = candidate.memory_mib.saturating_mul(count);
        let pods = u64::from(candidate.replicas).saturating_mul(count);
        if units > 0 {
            node.free = node.free.saturating_sub(devices);
            node.cpu_milli = node.cpu_milli.saturating_sub(cpu);
            node.memory_mib = node.memory_mib.saturating_sub(memory);
            node.pods = node.pods.saturating_sub(pods);
        } else {
            node.free = node.free.saturating_add(devices);
            node.cpu_milli = node.cpu_milli.saturating_add(cpu);
            node.memory_mib = node.memory_mib.saturating_add(memory);
            node.pods = node.pods.saturating_add(pods);
        }
        for &(resource, each) in &candidate.other {
            let amount = each.saturating_mul(count);
            if let Some(left) = node.other.get_mut(resource) {
                *left = if units > 0 {
                    left.saturating_sub(amount)
                } else {
                    left.saturating_add(amount)
                };
            }
        }
        let bin = node.bin as usize;
        self.list(at);
        if let Some(bin) = self.bins.get(bin) {
            let watts = i128::from(candidate.watts) * i128::from(units);
            for &(domain, factor) in &bin.feed {
                if let Some(left) = self.headroom.get_mut(domain) {
                    *left = left.saturating_sub(watts.saturating_mul(factor));
                }
            }
        }
    }

    /// Units of so many watts that a bin's power domains still carry, up to `units`.
    fn powered(&self, bin: &Bin, watts: i64, units: u32) -> u32 {
        let mut units = units;
        for &(domain, factor) in &bin.feed {
            let Some(&left) = self.headroom.get(domain) else {
                continue;
            };
            let each = i128::from(watts).saturating_mul(factor);
            if each.saturating_mul(i128::from(units)) > left {
                let fits = left.max(0).checked_div(each).unwrap_or(0);
                units = units.min(u32::try_from(fits).unwrap_or(0));
            }
        }
        units
    }

    /// Gives a gang a place in one of its candidates. Best fit: a whole node is broken last, then least is left over.
    pub(crate) fn place(&mut self, at: usize, choice: usize) -> Result<(), Shortage> {
        let Some(gang) = self.gangs.get(at) else {
            return Err(Shortage::Devices);
        };
        let (class, rank, queue) = (gang.class, gang.rank, gang.queue);
        // Taken out while the board changes, so that neither has to be copied.
        let Some(candidates) = self.candidates.get_mut(class).map(std::mem::take) else {
            return Err(Shortage::Devices);
        };
        let mut held = self
            .gangs
            .get_mut(at)
            .map(|gang| std::mem::take(&mut gang.held))
            .unwrap_or_default();
        held.clear();
        let outcome = match candidates.get(choice) {
            Some(candidate) => self.take(candidate, queue, &mut held),
            None => Err(Shortage::Devices),
        };
        if let (Ok(usd), Some(candidate)) = (outcome, candidates.get(choice)) {
            self.usd += i128::from(usd);
            if let Some(count) = self.placed.get_mut(rank) {
                *count += 1;
            }
            if let Some(left) = queue.and_then(|queue| self.queues.get_mut(queue)) {
                *left -= i128::from(candidate.watts) * i128::from(candidate.units);
            }
            if let (Some(board_group), Some(gang)) = (
                self.gangs_by_group.get_mut(candidate.board_group),
                self.gangs.get_mut(at),
            ) {
                gang.now = Some((choice, usd));
                gang.list_position = u32::try_from(board_group.len()).unwrap_or(u32::MAX);
                board_group.push(u32::try_from(at).unwrap_or(u32::MAX));
            }
        }
        if let Some(gang) = self.gangs.get_mut(at) {
            gang.held = held;
        }
        if let Some(place) = self.candidates.get_mut(class) {
            *place = candidates;
        }
        outcome.map(|_| ())
    }

    fn take(
        &mut self,
        candidate: &BoardCandidate,
        queue: Option<usize>,
        held: &mut Vec<(u32, u32)>,
    ) -> Result<i64, Shortage> {
        if let Some(&left) = queue.and_then(|queue| self.queues.get(queue))
            && i128::from(candidate.watts) * i128::from(candidate.units) > left
        {
            return Err(Shortage::Queue);
        }
        let mut shortage = Shortage::Devices;
        let mut left = candidate.units;
        let mut usd = candidate.usd_egress;
        for &(bin_at, whole_usd) in &candidate.bins {
            let before = left;
            while left > 0 {
                let Some(bin) = self.bins.get(bin_at as usize) else {
                    break;
                };
                let Some((node, units)) = self.best_fit(bin, candidate, left) else {
                    break;
                };
                let powered = if candidate.watts > 0 && !bin.feed.is_empty() {
                    self.powered(bin, candidate.watts, units)
                } else {
                    units
                };
                if powered == 0 {
                    shortage = Shortage::Watts;
                    break;
                }
                self.shift(node, candidate, i64::from(powered));
                held.push((node, powered));
                left -= powered;
            }
            let taken = before - left;
            if taken > 0 {
                let share =
                    i128::from(whole_usd) * i128::from(taken) / i128::from(candidate.units.max(1));
                usd = usd.saturating_add(i64::try_from(share).unwrap_or(i64::MAX));
            }
            if left == 0 {
                break;
            }
        }
        if left == 0 && usd <= candidate.most_usd {
            return Ok(usd);
        }
        if left == 0 {
            shortage = Shortage::Dollars;
        }
        for (node, units) in held.drain(..) {
            self.shift(node, candidate, -i64::from(units));
        }
        Err(shortage)
    }

    /// The node of a bin that suits best, with the units that it takes.
    fn best_fit(&self, bin: &Bin, candidate: &BoardCandidate, left: u32) -> Option<(u32, u32)> {
        let mut best: Option<((bool, u32, bool), u32, u32)> = None;
        for (free, list) in bin
            .by_free
            .iter()
            .enumerate()
            .skip(candidate.devices as usize)
        {
            if list.is_empty() {
                continue;
            }
            let free = u32::try_from(free).unwrap_or(u32::MAX);
            let units = (free / candidate.devices.max(1)).min(left);
            let over = free - units * candidate.devices;
            let whole = free == bin.devices;
            let key = (whole && over > 0, over, whole);
            if best.as_ref().is_some_and(|(least, _, _)| key >= *least) {
                continue;
            }
            // CPU, memory and pod slots seldom bind: a few nodes are asked.
            let found = list.iter().rev().take(4).find_map(|&at| {
                let room = Self::room(self.nodes.get(at as usize)?, candidate).min(units);
                (room > 0).then_some((at, room))
            });
            if let Some((at, room)) = found {
                best = Some((key, at, room));
            }
        }
        best.map(|(_, at, room)| (at, room))
    }

    /// Takes a gang's place away.
    pub(crate) fn lift(&mut self, at: usize) {
        let Some(gang) = self.gangs.get_mut(at) else {
            return;
        };
        let Some((choice, usd)) = gang.now.take() else {
            return;
        };
        let (class, rank, queue, list_position) =
            (gang.class, gang.rank, gang.queue, gang.list_position);
        let held = std::mem::take(&mut gang.held);
        let Some(candidates) = self.candidates.get_mut(class).map(std::mem::take) else {
            return;
        };
        if let Some(candidate) = candidates.get(choice) {
            for &(node, units) in &held {
                self.shift(node, candidate, -i64::from(units));
            }
            self.usd -= i128::from(usd);
            if let Some(count) = self.placed.get_mut(rank) {
                *count -= 1;
            }
            if let Some(left) = queue.and_then(|queue| self.queues.get_mut(queue)) {
                *left += i128::from(candidate.watts) * i128::from(candidate.units);
            }
            if let Some(board_group) = self.gangs_by_group.get_mut(candidate.board_group)
                && (list_position as usize) < board_group.len()
            {
                board_group.swap_remove(list_position as usize);
                let moved = board_group.get(list_position as usize).copied();
                if let Some(moved) = moved.and_then(|moved| self.gangs.get_mut(moved as usize)) {
                    moved.list_position = list_position;
                }
            }
        }
        if let Some(place) = self.candidates.get_mut(class) {
            *place = candidates;
        }
        if let Some(gang) = self.gangs.get_mut(at) {
            gang.held = held;
        }
    }

    /// Puts a gang, which has no place, exactly where it was.
    pub(crate) fn restore(&mut self, at: usize, choice: usize, usd: i64, held: &[(u32, u32)]) {
        let Some(gang) = self.gangs.get_mut(at) else {
            return;
        };
        gang.now = Some((choice, usd));
        gang.held.clear();
        gang.held.extend_from_slice(held);
        let (class, rank, queue) = (gang.class, gang.rank, gang.queue);
        let Some(candidates) = self.candidates.get_mut(class).map(std::mem::take) else {
            return;
        };
        if let Some(candidate) = candidates.get(choice) {
            for &(node, units) in held {
                self.shift(node, candidate, i64::from(units));
            }
            self.usd += i128::from(usd);
            if let Some(count) = self.placed.get_mut(rank) {
                *count += 1;
            }
            if let Some(left) = queue.and_then(|queue| self.queues.get_mut(queue)) {
                *left -= i128::from(candidate.watts) * i128::from(candidate.units);
            }
            if let (Some(board_group), Some(gang)) = (
                self.gangs_by_group.get_mut(candidate.board_group),
                self.gangs.get_mut(at),
            ) {
                gang.list_position = u32::try_from(board_group.len()).unwrap_or(u32::MAX);
                board_group.push(u32::try_from(at).unwrap_or(u32::MAX));
            }
        }
        if let Some(place) = self.candidates.get_mut(class) {
            *place = candidates;
        }
    }

    /// Takes over what every candidate costs at shadow prices, by class and candidate, and orders the candidates by it.
    pub(crate) fn price(&mut self, priced: impl Fn(&Self, usize, &BoardCandidate) -> i64) {
        let priced: Vec<Vec<i64>> = self
            .candidates
            .iter()
            .enumerate()
            .map(|(class, candidates)| {
                candidates
                    .iter()
                    .map(|candidate| priced(self, class, candidate))
                    .collect()
            })
            .collect();
        self.order.resize(self.candidates.len(), Vec::new());
        let classes = self.candidates.iter_mut().zip(&mut self.order);
        for ((candidates, order), priced) in classes.zip(priced) {
            for (candidate, usd) in candidates.iter_mut().zip(priced) {
                candidate.priced_usd = usd;
            }
            order.clear();
            order.extend(0..candidates.len());
            order.sort_unstable_by_key(|&at| {
                (
                    candidates
                        .get(at)
                        .map(|candidate| (candidate.priced_usd, candidate.least_usd)),
                    at,
                )
            });
        }
    }

    /// The candidate of a class that is so many others away from the best at shadow prices.
    pub(crate) fn nth(&self, class: usize, place: usize) -> Option<(usize, &BoardCandidate)> {
        let at = *self.order.get(class)?.get(place)?;
        Some((at, self.candidates.get(class)?.get(at)?))
    }

    /// The candidate of a gang at the price of a bin, if it is wanted wholly in one.
    pub(crate) fn candidate_at(&self, at: usize, target: Target) -> Option<usize> {
        let (base, bin) = target?;
        let candidates = self.candidates.get(self.gangs.get(at)?.class)?;
        let tier = candidates.iter().enumerate().position(|(at, tier)| {
            tier.base == base && at != base && tier.bins.iter().any(|(of, _)| Some(*of) == bin)
        });
        tier.or(Some(base))
    }

    /// Whether a gang with a place gives room to a candidate of another by leaving: always, unless the candidate is at one of its
    /// prices only.
    pub(crate) fn shares_bins(&self, at: usize, other: usize, choice: usize) -> bool {
        let candidate = || {
            let class = self.gangs.get(other)?.class;
            self.candidates.get(class)?.get(choice)
        };
        let Some(candidate) = candidate().filter(|candidate| candidate.base != choice) else {
            return true;
        };
        let held = self.gangs.get(at).map_or(&[][..], |gang| &gang.held);
        held.iter().any(|(node, _)| {
            let bin = self.nodes.get(*node as usize).map(|node| node.bin);
            candidate.bins.iter().any(|(of, _)| Some(*of) == bin)
        })
    }

    /// Replicas of a gang by node.
    pub(crate) fn replicas_of(&self, at: usize) -> BTreeMap<NodeIndex, (PoolIndex, u32)> {
        let mut nodes = BTreeMap::new();
        let Some(gang) = self.gangs.get(at) else {
            return nodes;
        };
        let candidate = gang
            .now
            .and_then(|(choice, _)| self.candidates.get(gang.class)?.get(choice));
        let each = candidate.map_or(1, |candidate| candidate.replicas);
        for &(node, units) in &gang.held {
            if let Some(node) = self.nodes.get(node as usize) {
                let (_, sum) = nodes.entry(node.index).or_insert((node.pool, 0_u32));
                *sum = sum.saturating_add(units.saturating_mul(each));
            }
        }
        nodes
    }
}
