//! A cycle's movable gangs on a small copy of the nodes that they could use, where a move costs nanoseconds.
//!
//! The copy knows devices, CPU, memory, pod slots, required topology, dollars and watts, but no names: nodes of one pool
//! and domain are one *bin*, and per bin nodes are listed by free devices. What is found here is carried out, and checked,
//! on the fleet itself.

use std::collections::BTreeMap;

use super::model::{Bin, Lack, Piece, Spot, Way, Wish};
use crate::arena::{NodeIndex, PoolIndex};

/// The board.
#[derive(Clone, Debug, Default)]
pub(crate) struct Board {
    pub(crate) bins: Vec<Bin>,
    pub(crate) spots: Vec<Spot>,
    /// Ways of each class.
    pub(crate) ways: Vec<Vec<Way>>,
    /// The queue with a limit of each class's jobs.
    pub(crate) queue_of: Vec<Option<usize>>,
    /// Their positions, best at shadow prices first.
    pub(crate) order: Vec<Vec<usize>>,
    pub(crate) pieces: Vec<Piece>,
    /// Pieces with a place, by group.
    pub(crate) yards: Vec<Vec<u32>>,
    /// Nano-watts left by power domain.
    pub(crate) headroom: Vec<i128>,
    /// Watts left by queue with a limit.
    pub(crate) queues: Vec<i128>,
    /// Pieces with a place, by rank of priority.
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
    pub(crate) fn add_spot(&mut self, spot: Spot) {
        let at = u32::try_from(self.spots.len()).unwrap_or(u32::MAX);
        self.spots.push(spot);
        self.list(at);
    }

    fn list(&mut self, at: u32) {
        let Some(spot) = self.spots.get_mut(at as usize) else {
            return;
        };
        let Some(bin) = self.bins.get_mut(spot.bin as usize) else {
            return;
        };
        let free = spot.free as usize;
        if bin.by_free.len() <= free {
            bin.by_free.resize(free + 1, Vec::new());
        }
        if let Some(list) = bin.by_free.get_mut(free) {
            spot.place = u32::try_from(list.len()).unwrap_or(u32::MAX);
            list.push(at);
        }
    }

    fn unlist(&mut self, at: u32) {
        let Some(spot) = self.spots.get(at as usize) else {
            return;
        };
        let place = spot.place as usize;
        let list = self
            .bins
            .get_mut(spot.bin as usize)
            .and_then(|bin| bin.by_free.get_mut(spot.free as usize));
        if let Some(list) = list
            && place < list.len()
        {
            list.swap_remove(place);
            let moved = list.get(place).copied();
            if let Some(spot) = moved.and_then(|moved| self.spots.get_mut(moved as usize)) {
                spot.place = u32::try_from(place).unwrap_or(u32::MAX);
            }
        }
    }

    /// Units of a way that a node has room for.
    fn room(spot: &Spot, way: &Way) -> u32 {
        let mut room = spot.free / way.devices.max(1);
        let most = |left: u64, each: u64| -> u32 {
            let fits = left.checked_div(each).unwrap_or(u64::MAX);
            u32::try_from(fits).unwrap_or(u32::MAX)
        };
        if way.cpu_milli > 0 {
            room = room.min(most(spot.cpu_milli, way.cpu_milli));
        }
        if way.memory_mib > 0 {
            room = room.min(most(spot.memory_mib, way.memory_mib));
        }
        room.min(most(spot.pods, u64::from(way.replicas)))
    }

    /// Moves units on a node: positive takes, negative gives back.
    fn shift(&mut self, at: u32, way: &Way, units: i64) {
        self.unlist(at);
        let Some(spot) = self.spots.get_mut(at as usize) else {
            return;
        };
        let count = units.unsigned_abs();
        let devices =
            u32::try_from(u64::from(way.devices).saturating_mul(count)).unwrap_or(u32::MAX);
        let cpu = way.cpu_milli.saturating_mul(count);
        let memory = way.memory_mib.saturating_mul(count);
        let pods = u64::from(way.replicas).saturating_mul(count);
        if units > 0 {
            spot.free = spot.free.saturating_sub(devices);
            spot.cpu_milli = spot.cpu_milli.saturating_sub(cpu);
            spot.memory_mib = spot.memory_mib.saturating_sub(memory);
            spot.pods = spot.pods.saturating_sub(pods);
        } else {
            spot.free = spot.free.saturating_add(devices);
            spot.cpu_milli = spot.cpu_milli.saturating_add(cpu);
            spot.memory_mib = spot.memory_mib.saturating_add(memory);
            spot.pods = spot.pods.saturating_add(pods);
        }
        let bin = spot.bin as usize;
        self.list(at);
        if let Some(bin) = self.bins.get(bin) {
            let watts = i128::from(way.watts) * i128::from(units);
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

    /// Gives a piece a place in one of its ways. Best fit: a whole node is broken last, then least is left over.
    pub(crate) fn place(&mut self, at: usize, choice: usize) -> Result<(), Lack> {
        let Some(piece) = self.pieces.get(at) else {
            return Err(Lack::Devices);
        };
        let (class, rank, queue) = (piece.class, piece.rank, piece.queue);
        // Taken out while the board changes, so that neither has to be copied.
        let Some(ways) = self.ways.get_mut(class).map(std::mem::take) else {
            return Err(Lack::Devices);
        };
        let mut held = self
            .pieces
            .get_mut(at)
            .map(|piece| std::mem::take(&mut piece.held))
            .unwrap_or_default();
        held.clear();
        let outcome = match ways.get(choice) {
            Some(way) => self.take(way, queue, &mut held),
            None => Err(Lack::Devices),
        };
        if let (Ok(usd), Some(way)) = (outcome, ways.get(choice)) {
            self.usd += i128::from(usd);
            if let Some(count) = self.placed.get_mut(rank) {
                *count += 1;
            }
            if let Some(left) = queue.and_then(|queue| self.queues.get_mut(queue)) {
                *left -= i128::from(way.watts) * i128::from(way.units);
            }
            if let (Some(yard), Some(piece)) =
                (self.yards.get_mut(way.yard), self.pieces.get_mut(at))
            {
                piece.now = Some((choice, usd));
                piece.seat = u32::try_from(yard.len()).unwrap_or(u32::MAX);
                yard.push(u32::try_from(at).unwrap_or(u32::MAX));
            }
        }
        if let Some(piece) = self.pieces.get_mut(at) {
            piece.held = held;
        }
        if let Some(place) = self.ways.get_mut(class) {
            *place = ways;
        }
        outcome.map(|_| ())
    }

    fn take(
        &mut self,
        way: &Way,
        queue: Option<usize>,
        held: &mut Vec<(u32, u32)>,
    ) -> Result<i64, Lack> {
        if let Some(&left) = queue.and_then(|queue| self.queues.get(queue))
            && i128::from(way.watts) * i128::from(way.units) > left
        {
            return Err(Lack::Queue);
        }
        let mut lack = Lack::Devices;
        let mut left = way.units;
        let mut usd = way.usd_egress;
        for &(bin_at, whole_usd) in &way.bins {
            let before = left;
            while left > 0 {
                let Some(bin) = self.bins.get(bin_at as usize) else {
                    break;
                };
                let Some((spot, units)) = self.best_fit(bin, way, left) else {
                    break;
                };
                let powered = if way.watts > 0 && !bin.feed.is_empty() {
                    self.powered(bin, way.watts, units)
                } else {
                    units
                };
                if powered == 0 {
                    lack = Lack::Watts;
                    break;
                }
                self.shift(spot, way, i64::from(powered));
                held.push((spot, powered));
                left -= powered;
            }
            let taken = before - left;
            if taken > 0 {
                let share =
                    i128::from(whole_usd) * i128::from(taken) / i128::from(way.units.max(1));
                usd = usd.saturating_add(i64::try_from(share).unwrap_or(i64::MAX));
            }
            if left == 0 {
                break;
            }
        }
        if left == 0 && usd <= way.most_usd {
            return Ok(usd);
        }
        if left == 0 {
            lack = Lack::Dollars;
        }
        for (spot, units) in held.drain(..) {
            self.shift(spot, way, -i64::from(units));
        }
        Err(lack)
    }

    /// The node of a bin that suits best, with the units that it takes.
    fn best_fit(&self, bin: &Bin, way: &Way, left: u32) -> Option<(u32, u32)> {
        let mut best: Option<((bool, u32, bool), u32, u32)> = None;
        for (free, list) in bin.by_free.iter().enumerate().skip(way.devices as usize) {
            if list.is_empty() {
                continue;
            }
            let free = u32::try_from(free).unwrap_or(u32::MAX);
            let units = (free / way.devices.max(1)).min(left);
            let over = free - units * way.devices;
            let whole = free == bin.devices;
            let key = (whole && over > 0, over, whole);
            if best.as_ref().is_some_and(|(least, _, _)| key >= *least) {
                continue;
            }
            // CPU, memory and pod slots seldom bind: a few nodes are asked.
            let found = list.iter().rev().take(4).find_map(|&at| {
                let room = Self::room(self.spots.get(at as usize)?, way).min(units);
                (room > 0).then_some((at, room))
            });
            if let Some((at, room)) = found {
                best = Some((key, at, room));
            }
        }
        best.map(|(_, at, room)| (at, room))
    }

    /// Takes a piece's place away.
    pub(crate) fn lift(&mut self, at: usize) {
        let Some(piece) = self.pieces.get_mut(at) else {
            return;
        };
        let Some((choice, usd)) = piece.now.take() else {
            return;
        };
        let (class, rank, queue, seat) = (piece.class, piece.rank, piece.queue, piece.seat);
        let held = std::mem::take(&mut piece.held);
        let Some(ways) = self.ways.get_mut(class).map(std::mem::take) else {
            return;
        };
        if let Some(way) = ways.get(choice) {
            for &(spot, units) in &held {
                self.shift(spot, way, -i64::from(units));
            }
            self.usd -= i128::from(usd);
            if let Some(count) = self.placed.get_mut(rank) {
                *count -= 1;
            }
            if let Some(left) = queue.and_then(|queue| self.queues.get_mut(queue)) {
                *left += i128::from(way.watts) * i128::from(way.units);
            }
            if let Some(yard) = self.yards.get_mut(way.yard)
                && (seat as usize) < yard.len()
            {
                yard.swap_remove(seat as usize);
                let moved = yard.get(seat as usize).copied();
                if let Some(moved) = moved.and_then(|moved| self.pieces.get_mut(moved as usize)) {
                    moved.seat = seat;
                }
            }
        }
        if let Some(place) = self.ways.get_mut(class) {
            *place = ways;
        }
        if let Some(piece) = self.pieces.get_mut(at) {
            piece.held = held;
        }
    }

    /// Puts a piece, which has no place, exactly where it was.
    pub(crate) fn restore(&mut self, at: usize, choice: usize, usd: i64, held: &[(u32, u32)]) {
        let Some(piece) = self.pieces.get_mut(at) else {
            return;
        };
        piece.now = Some((choice, usd));
        piece.held.clear();
        piece.held.extend_from_slice(held);
        let (class, rank, queue) = (piece.class, piece.rank, piece.queue);
        let Some(ways) = self.ways.get_mut(class).map(std::mem::take) else {
            return;
        };
        if let Some(way) = ways.get(choice) {
            for &(spot, units) in held {
                self.shift(spot, way, i64::from(units));
            }
            self.usd += i128::from(usd);
            if let Some(count) = self.placed.get_mut(rank) {
                *count += 1;
            }
            if let Some(left) = queue.and_then(|queue| self.queues.get_mut(queue)) {
                *left -= i128::from(way.watts) * i128::from(way.units);
            }
            if let (Some(yard), Some(piece)) =
                (self.yards.get_mut(way.yard), self.pieces.get_mut(at))
            {
                piece.seat = u32::try_from(yard.len()).unwrap_or(u32::MAX);
                yard.push(u32::try_from(at).unwrap_or(u32::MAX));
            }
        }
        if let Some(place) = self.ways.get_mut(class) {
            *place = ways;
        }
    }

    /// Takes over what every way costs at shadow prices, by class and way, and orders the ways by it.
    pub(crate) fn price(&mut self, priced: impl Fn(&Self, usize, &Way) -> i64) {
        let priced: Vec<Vec<i64>> = self
            .ways
            .iter()
            .enumerate()
            .map(|(class, ways)| ways.iter().map(|way| priced(self, class, way)).collect())
            .collect();
        self.order.resize(self.ways.len(), Vec::new());
        let classes = self.ways.iter_mut().zip(&mut self.order);
        for ((ways, order), priced) in classes.zip(priced) {
            for (way, usd) in ways.iter_mut().zip(priced) {
                way.priced_usd = usd;
            }
            order.clear();
            order.extend(0..ways.len());
            order.sort_unstable_by_key(|&at| {
                (ways.get(at).map(|way| (way.priced_usd, way.least_usd)), at)
            });
        }
    }

    /// The way of a class that is so many others away from the best at shadow prices.
    pub(crate) fn nth(&self, class: usize, place: usize) -> Option<(usize, &Way)> {
        let at = *self.order.get(class)?.get(place)?;
        Some((at, self.ways.get(class)?.get(at)?))
    }

    /// The way of a piece at the price of a bin, if it is wanted wholly in one.
    pub(crate) fn way_at(&self, at: usize, wish: Wish) -> Option<usize> {
        let (base, bin) = wish?;
        let ways = self.ways.get(self.pieces.get(at)?.class)?;
        let tier = ways.iter().enumerate().position(|(at, tier)| {
            tier.base == base && at != base && tier.bins.iter().any(|(of, _)| Some(*of) == bin)
        });
        tier.or(Some(base))
    }

    /// Whether a piece with a place gives room to a way of another by leaving: always, unless the way is at one of its
    /// prices only.
    pub(crate) fn shares_bins(&self, at: usize, other: usize, choice: usize) -> bool {
        let way = || {
            let class = self.pieces.get(other)?.class;
            self.ways.get(class)?.get(choice)
        };
        let Some(way) = way().filter(|way| way.base != choice) else {
            return true;
        };
        let held = self.pieces.get(at).map_or(&[][..], |piece| &piece.held);
        held.iter().any(|(spot, _)| {
            let bin = self.spots.get(*spot as usize).map(|spot| spot.bin);
            way.bins.iter().any(|(of, _)| Some(*of) == bin)
        })
    }

    /// Replicas of a piece by node.
    pub(crate) fn replicas_of(&self, at: usize) -> BTreeMap<NodeIndex, (PoolIndex, u32)> {
        let mut nodes = BTreeMap::new();
        let Some(piece) = self.pieces.get(at) else {
            return nodes;
        };
        let way = piece
            .now
            .and_then(|(choice, _)| self.ways.get(piece.class)?.get(choice));
        let each = way.map_or(1, |way| way.replicas);
        for &(spot, units) in &piece.held {
            if let Some(spot) = self.spots.get(spot as usize) {
                let (_, sum) = nodes.entry(spot.node).or_insert((spot.pool, 0_u32));
                *sum = sum.saturating_add(units.saturating_mul(each));
            }
        }
        nodes
    }
}
