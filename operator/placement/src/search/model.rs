//! What is on the [board](super::board): bins of nodes, the nodes, gangs and their candidates.

use crate::arena::{GroupIndex, NodeIndex, PoolIndex};

/// Nodes that differ in nothing but what is free.
#[derive(Clone, Debug)]
pub(crate) struct Bin {
    /// Devices of each node.
    pub(crate) devices: u32,
    /// Its power domains with the watts drawn there per watt drawn here, in billionths.
    pub(crate) feed: Vec<(usize, i128)>,
    /// Nodes by free devices.
    pub(super) by_free: Vec<Vec<u32>>,
}

/// A node.
#[derive(Clone, Debug)]
pub(crate) struct BoardNode {
    /// The node in the fleet.
    pub(crate) index: NodeIndex,
    /// Its pool.
    pub(crate) pool: PoolIndex,
    /// Its bin.
    pub(crate) bin: u32,
    /// Free devices.
    pub(crate) free: u32,
    /// Free millicores.
    pub(crate) cpu_milli: u64,
    /// Free MiB.
    pub(crate) memory_mib: u64,
    /// Free pod slots.
    pub(crate) pods: u64,
    /// Free amounts of the other resources that jobs on the board ask for; none where nobody asks for any.
    pub(crate) other: Box<[u64]>,
    pub(super) place: u32,
}

impl BoardNode {
    /// A node in a bin with so many devices, millicores, MiB and pod slots free, and so much of the other resources.
    pub(crate) fn new(
        (index, pool): (NodeIndex, PoolIndex),
        bin: u32,
        [free, cpu_milli, memory_mib, pods]: [u64; 4],
        other: Box<[u64]>,
    ) -> Self {
        Self {
            index,
            pool,
            bin,
            free: u32::try_from(free).unwrap_or(u32::MAX),
            cpu_milli,
            memory_mib,
            pods,
            other,
            place: 0,
        }
    }
}

/// A candidate of the board: an alternative on one group, in one domain where that is required.
#[derive(Clone, Debug)]
pub(crate) struct BoardCandidate {
    /// Position of the alternative.
    pub(crate) alternative: usize,
    /// Group.
    pub(crate) group: GroupIndex,
    /// Position of the group on the board.
    pub(crate) board_group: usize,
    /// Position, among the candidates of the class, of the same candidate over all prices; its own where it is that.
    pub(crate) base: usize,
    /// Bins, cheapest first, with what the whole gang would cost there, egress left out.
    pub(crate) bins: Vec<(u32, i64)>,
    /// Egress.
    pub(crate) usd_egress: i64,
    /// The least that it can cost.
    pub(crate) least_usd: i64,
    /// What it costs at shadow prices.
    pub(crate) priced_usd: i64,
    /// The most that it may cost.
    pub(crate) most_usd: i64,
    /// Units that are placed one by one: replicas or, where all must share a node, one.
    pub(crate) units: u32,
    /// Replicas of a unit.
    pub(crate) replicas: u32,
    /// Devices of a unit.
    pub(crate) devices: u32,
    /// Millicores of a unit.
    pub(crate) cpu_milli: u64,
    /// MiB of a unit.
    pub(crate) memory_mib: u64,
    /// Other resources of a unit, by their place in the nodes' amounts.
    pub(crate) other: Vec<(usize, u64)>,
    /// Watts of a unit.
    pub(crate) watts: i64,
}

/// A gang on the board.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gang {
    /// Its candidates, by class.
    pub(crate) class: usize,
    /// Rank of its priority: 0 is the lowest.
    pub(crate) rank: usize,
    /// Its queue's limit, if any.
    pub(crate) queue: Option<usize>,
    /// Its candidate and what that costs, while it has a place.
    pub(crate) now: Option<(usize, i64)>,
    /// Units per node.
    pub(crate) held: Vec<(u32, u32)>,
    /// Where it stands in its group's list.
    pub(super) list_position: u32,
}

impl Gang {
    /// A gang without a place.
    pub(crate) fn new(class: usize, rank: usize, queue: Option<usize>) -> Self {
        Self {
            class,
            rank,
            queue,
            ..Self::default()
        }
    }
}

/// What a gang that got no place is short of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shortage {
    Devices,
    Watts,
    Queue,
    Dollars,
}

/// Where a gang is wanted: its candidate, and the bin if it is wholly in one; `None` where it waits.
pub(crate) type Target = Option<(usize, Option<u32>)>;
