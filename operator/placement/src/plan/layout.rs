//! Laying out a [board](super::board): which nodes, which jobs, which ways.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::board::{Board, Piece, Spot, Way};
use super::candidate::{Candidate, requirement};
use super::gang::affordable;
use super::price::Use;
use super::round::{Entry, Round};
use crate::arena::{CellIndex, GroupIndex, NodeIndex, PoolIndex};
use crate::model::{JobSpec, Level};

/// Most nodes of a board. A round that could use more keeps its plan as it was made.
const MOST_NODES: usize = 262_144;
/// Most devices of a node on a board.
const MOST_DEVICES: u32 = 1024;
/// Most domains of one group that a job which requires one may use.
const MOST_DOMAINS: usize = 32;

/// Most prices of a way that are ways of their own.
const MOST_TIERS: usize = 4;

/// A board and whose pieces are on it.
pub(crate) struct Layout {
    /// The board, with every piece where the round has it.
    pub(crate) board: Board,
    /// Positions of the jobs in the round, by piece.
    pub(crate) entries: Vec<usize>,
    /// Whether every way of every job of the round is on the board, so that what is proven there holds for the round.
    pub(crate) exact: bool,
}

/// What of a group is on the board.
struct Yard {
    group: GroupIndex,
    /// The tightest level that a job requires there, if it is not the cluster's or the node's.
    level: Option<Level>,
    /// Bins by pool and domain of that level.
    bins: BTreeMap<(PoolIndex, Option<CellIndex>), u32>,
    /// Units of one device are enough to tell which domains are worth a way.
    devices: HashMap<u32, u64>,
}

impl Round<'_, '_> {
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

    /// Groups that the jobs could use, in the order in which they name them.
    fn yards(&self, entries: &[usize]) -> Vec<Yard> {
        let mut yards: Vec<Yard> = Vec::new();
        let mut place: HashMap<GroupIndex, usize> = HashMap::new();
        let mut classes = HashSet::new();
        for &at in entries {
            let Some(entry) = self.entries.get(at) else {
                continue;
            };
            if !classes.insert(entry.class) {
                continue;
            }
            let level = Some(entry.job.topology.required)
                .filter(|level| !matches!(level, Level::Node | Level::Cluster));
            let candidates = self
                .classes
                .get(entry.class)
                .map(|s| s.candidates.as_slice());
            for candidate in candidates.unwrap_or_default() {
                let at = *place.entry(candidate.group).or_insert_with(|| {
                    yards.push(Yard {
                        group: candidate.group,
                        level: None,
                        bins: BTreeMap::new(),
                        devices: HashMap::new(),
                    });
                    yards.len() - 1
                });
                if let (Some(yard), Some(level)) = (yards.get_mut(at), level) {
                    yard.level = Some(yard.level.map_or(level, |tightest| tightest.min(level)));
                }
            }
        }
        yards
    }

    /// Puts the nodes of the yards on the board, with what the jobs hold of them still free.
    fn add_nodes(
        &self,
        board: &mut Board,
        yards: &mut [Yard],
        entries: &[usize],
    ) -> Option<HashMap<(GroupIndex, NodeIndex), u32>> {
        // Replicas of each job by node, to be added to what is free.
        let mut held: HashMap<(GroupIndex, NodeIndex), [u64; 4]> = HashMap::new();
        let mut full: HashMap<GroupIndex, Vec<NodeIndex>> = HashMap::new();
        for &at in entries {
            let Some(place) = self.entries.get(at).and_then(Entry::place) else {
                continue;
            };
            let alternative = self
                .entries
                .get(at)?
                .job
                .alternatives
                .get(place.alternative)?;
            for pick in &place.picks {
                let first = !held.contains_key(&(place.group, pick.node));
                let sum = held.entry((place.group, pick.node)).or_default();
                let replicas = u64::from(pick.replicas);
                let each = [
                    u64::from(alternative.devices_per_replica),
                    alternative.pod.cpu_milli,
                    alternative.pod.memory_mib,
                    1,
                ];
                for (sum, each) in sum.iter_mut().zip(each) {
                    *sum = sum.saturating_add(each.saturating_mul(replicas));
                }
                let offered = self.fleet.nodes[pick.node].slot(place.group)?.offered;
                if first && offered == 0 {
                    full.entry(place.group).or_default().push(pick.node);
                }
            }
        }
        let mut spot_of = HashMap::new();
        for yard in yards {
            let root = self.fleet.groups[yard.group].root;
            let offered: usize = self
                .fleet
                .cells
                .get(root)
                .counts
                .iter()
                .map(|count| count.nodes as usize)
                .sum();
            if board.spots.len() + offered > MOST_NODES {
                return None;
            }
            let mut nodes = Vec::with_capacity(offered);
            self.fleet.offered_below(root, &mut nodes);
            nodes.extend(full.remove(&yard.group).unwrap_or_default());
            for index in nodes {
                let node = &self.fleet.nodes[index];
                let Some(slot) = node.slot(yard.group) else {
                    continue;
                };
                let [devices, cpu, memory, pods] =
                    held.get(&(yard.group, index)).copied().unwrap_or_default();
                let free = u64::from(slot.offered).saturating_add(devices);
                let free = u32::try_from(free)
                    .ok()
                    .filter(|free| *free <= MOST_DEVICES)?;
                let cell = yard
                    .level
                    .and_then(|level| self.fleet.cells.above(slot.cell, level));
                let bin = *yard.bins.entry((slot.pool, cell)).or_insert_with(|| {
                    let key = &self.fleet.pools[slot.pool].key;
                    board.add_bin(key.devices, self.fleet.power.path_of(key.feed).to_vec())
                });
                *yard.devices.entry(bin).or_default() += u64::from(free);
                let at = u32::try_from(board.spots.len()).ok()?;
                spot_of.insert((yard.group, index), at);
                board.add_spot(Spot::new(
                    (index, slot.pool),
                    bin,
                    [
                        u64::from(free),
                        node.cpu_free.saturating_add(cpu),
                        node.memory_free.saturating_add(memory),
                        node.pods_free.saturating_add(pods),
                    ],
                ));
            }
        }
        // What the jobs draw is given back too, and charged again when each is put where it is.
        for &at in entries {
            if let Some(place) = self.entries.get(at).and_then(Entry::place) {
                let alternative = self
                    .entries
                    .get(at)?
                    .job
                    .alternatives
                    .get(place.alternative)?;
                for pick in &place.picks {
                    let feed = self.fleet.pools[pick.pool].key.feed;
                    let watts =
                        i128::from(self.watts(alternative.devices_per_replica, place.group))
                            * i128::from(pick.replicas);
                    for &(domain, factor) in self.fleet.power.path_of(feed) {
                        if let Some(left) = board.headroom.get_mut(domain) {
                            *left = left.saturating_add(watts.saturating_mul(factor));
                        }
                    }
                }
            }
        }
        Some(spot_of)
    }

    /// Watts of one replica on a group.
    fn watts(&self, devices: u32, group: GroupIndex) -> i64 {
        let each = self.fleet.watts_each(group);
        each.saturating_mul(i64::from(devices))
    }

    /// Ways of a class, cheapest first.
    fn ways(
        &self,
        entry: &Entry<'_>,
        yards: &[Yard],
        yard_of: &HashMap<GroupIndex, usize>,
        exact: &mut bool,
    ) -> Vec<Way> {
        let Some(slate) = self.classes.get(entry.class) else {
            return Vec::new();
        };
        *exact &= slate.complete;
        let mut ways: Vec<Way> = Vec::new();
        for (at, candidate) in slate.candidates.iter().enumerate() {
            let of_pair = |other: &Candidate| {
                (other.alternative, other.group) == (candidate.alternative, candidate.group)
            };
            // Of the candidates of one alternative on one group, the last admits every price.
            if slate
                .candidates
                .get(at + 1..)
                .unwrap_or_default()
                .iter()
                .any(of_pair)
            {
                continue;
            }
            let Some((place, yard)) = yard_of
                .get(&candidate.group)
                .and_then(|&at| Some((at, yards.get(at)?)))
            else {
                continue;
            };
            // The estimate is exact where prices do not differ.
            if candidate.ranks.is_none()
                && !affordable(entry.job, &candidate.quote, self.now_seconds)
            {
                continue;
            }
            let Some(way) = self.way(entry.job, candidate, place) else {
                *exact = false;
                continue;
            };
            // Several prices with a risk each: what a mix costs is then not the sum of its parts.
            *exact &= candidate.ranks.is_none() || !self.is_risky(candidate.group);
            let pools = self.priced_pools(entry.job, candidate, &way);
            let level = entry.job.topology.required;
            let within: Vec<Option<CellIndex>> = match level {
                Level::Cluster | Level::Node => vec![None],
                _ => self.domains(yard, level, &way),
            };
            *exact &= within.len() < MOST_DOMAINS;
            for domain in within {
                let inside = |cell: Option<CellIndex>| {
                    domain.is_none()
                        || cell.and_then(|cell| self.fleet.cells.above(cell, level)) == domain
                };
                let mut bins: Vec<(u32, i64)> = Vec::new();
                for &(pool, usd) in &pools {
                    let of_pool = yard.bins.range((pool, None)..);
                    let of_pool = of_pool.take_while(|((of, _), _)| *of == pool);
                    bins.extend(
                        of_pool
                            .filter(|((_, cell), _)| inside(*cell))
                            .map(|(_, &bin)| (bin, usd)),
                    );
                }
                // Bins are numbered in the order of names, so this is the same whatever the order of calls.
                bins.sort_unstable_by_key(|&(bin, usd)| (usd, bin));
                if !bins.is_empty() {
                    ways.push(Way {
                        bins,
                        ..way.clone()
                    });
                }
            }
        }
        ways.sort_by_key(|way| way.least_usd);
        for at in 0..ways.len() {
            let Some(way) = ways.get_mut(at) else { break };
            way.base = at;
            let tiers = tiers(way);
            ways.extend(tiers);
        }
        ways
    }

    /// Whether nodes of a group may be interrupted.
    fn is_risky(&self, group: GroupIndex) -> bool {
        let pools = &self.fleet.groups[group].pools;
        pools.iter().any(|&pool| {
            self.fleet.pools[pool]
                .key
                .price
                .interruptions_per_hour_micro
                > 0
        })
    }

    /// Domains of a level with devices enough for the whole gang, tightest first.
    fn domains(&self, yard: &Yard, level: Level, way: &Way) -> Vec<Option<CellIndex>> {
        let mut free: BTreeMap<CellIndex, u64> = BTreeMap::new();
        for ((_, cell), bin) in &yard.bins {
            if let Some(cell) = cell.and_then(|cell| self.fleet.cells.above(cell, level)) {
                *free.entry(cell).or_default() += yard.devices.get(bin).copied().unwrap_or(0);
            }
        }
        let needed = u64::from(way.units).saturating_mul(u64::from(way.devices));
        let mut domains: Vec<(u64, CellIndex)> = free
            .into_iter()
            .filter(|(_, free)| *free >= needed)
            .map(|(cell, free)| (free, cell))
            .collect();
        domains.sort_by(|a, b| {
            let path = |cell| &self.fleet.cells.get(cell).path;
            (a.0, path(a.1)).cmp(&(b.0, path(b.1)))
        });
        domains.truncate(MOST_DOMAINS);
        domains.into_iter().map(|(_, cell)| Some(cell)).collect()
    }

    fn way(&self, job: &JobSpec, candidate: &Candidate, yard: usize) -> Option<Way> {
        let alternative = job.alternatives.get(candidate.alternative)?;
        // A gang that must share a node is placed as one.
        let (units, replicas) = match job.topology.required {
            Level::Node => (1, alternative.replicas),
            _ => (alternative.replicas, 1),
        };
        let all = u64::from(replicas);
        let devices = alternative.devices_per_replica.checked_mul(replicas)?;
        if devices > MOST_DEVICES {
            return None;
        }
        Some(Way {
            alternative: candidate.alternative,
            group: candidate.group,
            yard,
            base: 0,
            bins: Vec::new(),
            usd_egress: candidate.quote.usd_egress,
            least_usd: candidate.score.usd,
            priced_usd: candidate.score.usd,
            most_usd: job.budget.max_usd.map_or(i64::MAX, |most| most.0),
            units,
            replicas,
            devices,
            cpu_milli: alternative.pod.cpu_milli.saturating_mul(all),
            memory_mib: alternative.pod.memory_mib.saturating_mul(all),
            watts: self.watts(devices, candidate.group),
        })
    }

    /// The admitted pools of a candidate with what the whole gang would cost in each, egress left out.
    fn priced_pools(
        &self,
        job: &JobSpec,
        candidate: &Candidate,
        way: &Way,
    ) -> Vec<(PoolIndex, i64)> {
        let pools: Vec<PoolIndex> = match &candidate.pools {
            Some(pools) => pools.clone(),
            None => self.fleet.groups[candidate.group].pools.clone(),
        };
        let egress = candidate.quote.usd_egress;
        let cluster = &self.fleet.clusters[self.fleet.cluster_of(candidate.group)].name;
        let watts_each = self.watts(1, candidate.group);
        pools
            .into_iter()
            .map(|pool| {
                if candidate.ranks.is_none() {
                    return (pool, candidate.score.usd.saturating_sub(egress));
                }
                let units = u64::from(way.units);
                let per_node = u64::from(self.fleet.pools[pool].key.devices / way.devices.max(1));
                let uses = [Use {
                    pool,
                    devices: units.saturating_mul(u64::from(way.devices)),
                    nodes: units.div_ceil(per_node.max(1)),
                }];
                let duration = candidate.quote.duration_seconds;
                let quote = self.fleet.quote(job, cluster, &uses, watts_each, duration);
                (pool, quote.usd_total.saturating_sub(egress))
            })
            .collect()
    }

    /// Puts a piece where the round has its job; `false` where the board does not know that place.
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

/// A way at each of its prices alone, the cheapest first; none where there is one price only.
fn tiers(way: &Way) -> Vec<Way> {
    let mut tiers: Vec<Way> = Vec::new();
    for &(bin, usd) in &way.bins {
        let count = tiers.len();
        match tiers.last_mut() {
            Some(tier) if tier.bins.first().is_some_and(|(_, of)| *of == usd) => {
                tier.bins.push((bin, usd));
            }
            _ if count == MOST_TIERS => break,
            _ => tiers.push(Way {
                bins: vec![(bin, usd)],
                least_usd: usd.saturating_add(way.usd_egress),
                ..way.clone()
            }),
        }
    }
    if tiers.len() < 2 {
        return Vec::new();
    }
    tiers
}
