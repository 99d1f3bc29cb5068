//! Watts of a fleet by the model of the PWR paper, and its policy (CCGrid'25, arXiv 2412.17484).

use super::{Cluster, Fgd, JobMix, Models, Node, Placement, Policy, Scored, Task, WHOLE};

/// Idle and full watts of a device. As in the paper's plugin, the undisclosed G2 counts as A10 and G3 as A100.
const DEVICES: [(&str, u32, u32); 7] = [
    ("T4", 10, 70),
    ("A10", 30, 150),
    ("G2", 30, 150),
    ("P100", 25, 250),
    ("V100M16", 30, 300),
    ("V100M32", 30, 300),
    ("G3", 50, 400),
];
/// The trace has no CPU model; the paper takes the Xeon E5-2682 v4: 16 cores of two threads, idle and full watts of one socket.
const SOCKET_CORES: u32 = 16;
const SOCKET_IDLE_WATTS: u32 = 15;
const SOCKET_FULL_WATTS: u32 = 120;
/// One core is two virtual cores.
const CORE_MILLI: u32 = 2000;

/// Watts by device model. A model that the paper does not list counts nothing.
#[derive(Debug, Clone)]
pub struct PowerTable(Vec<(u32, u32)>);

impl PowerTable {
    /// The paper's figures for these models.
    pub fn published(models: &Models) -> Self {
        let known = |name: &str| {
            DEVICES
                .iter()
                .find(|(model, ..)| *model == name)
                .map_or((0, 0), |&(_, idle, full)| (idle, full))
        };
        Self((0..64).map_while(|at| models.name(at)).map(known).collect())
    }

    /// Watts of a node, which is always on: a device draws full power as soon as any share of it is in use, a socket as soon as one of
    /// its cores is, cores being filled one socket after the other.
    pub fn node_watts(&self, node: &Node) -> u32 {
        let (idle, full) = self
            .0
            .get(usize::from(node.model))
            .copied()
            .unwrap_or_default();
        let free = u32::from(node.whole_free());
        let cores = node.cpu_milli.div_ceil(CORE_MILLI);
        let busy = cores - (node.cpu_free_milli / CORE_MILLI).min(cores);
        let sockets = cores.div_ceil(SOCKET_CORES);
        let active = busy.div_ceil(SOCKET_CORES);
        idle * free
            + full * (u32::from(node.devices) - free)
            + SOCKET_IDLE_WATTS * (sockets - active)
            + SOCKET_FULL_WATTS * active
    }

    /// Watts of all nodes.
    pub fn cluster_watts(&self, cluster: &Cluster) -> u64 {
        cluster
            .nodes()
            .iter()
            .map(|node| u64::from(self.node_watts(node)))
            .sum()
    }
}

/// PWR blended with FGD: `power_weight` · PWR + (1000 − `power_weight`) · FGD, in whole points of 100 each. PWR is the watts that the task
/// adds, the least on any feasible node being 100 and the most 0. FGD picks the device.
#[derive(Debug)]
pub struct PowerBlend {
    fgd: Scored<Fgd>,
    table: PowerTable,
    power_weight: i64,
}

impl PowerBlend {
    /// The published combination has a weight of 100 in 1000. Weights above 1000 count as 1000.
    pub fn new(mix: JobMix, table: PowerTable, power_weight: u16) -> Self {
        Self {
            fgd: Scored::new(Fgd::new(mix)),
            table,
            power_weight: i64::from(power_weight.min(WHOLE)),
        }
    }
}

impl Policy for PowerBlend {
    fn choose(&mut self, cluster: &Cluster, task: &Task) -> Option<Placement> {
        let table = &self.table;
        let added = |placement: &Placement| {
            let node = cluster.nodes().get(placement.node)?;
            let after = node.with(&task.shape, placement.device)?;
            Some(i64::from(table.node_watts(&after)) - i64::from(table.node_watts(node)))
        };
        let offers = self
            .fgd
            .feasible(cluster, task)
            .filter_map(|(fgd, place)| Some((fgd, added(&place)?, place)));
        let offers: Vec<(i64, i64, Placement)> = offers.collect();
        let least = offers.iter().map(|offer| offer.1).min()?;
        let most = offers.iter().map(|offer| offer.1).max()?;
        let mut best: Option<(i64, Placement)> = None;
        for (fgd, watts, placement) in offers {
            let power = (100 * (most - watts))
                .checked_div(most - least)
                .unwrap_or(100);
            let score = self.power_weight * power + (1000 - self.power_weight) * fgd;
            if best.is_none_or(|(highest, _)| score > highest) {
                best = Some((score, placement));
            }
        }
        best.map(|(_, placement)| placement)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ModelSet, NodeRow, Shape};

    #[test]
    fn devices_and_sockets_draw_full_power_as_soon_as_they_are_touched() {
        let row = NodeRow {
            name: "n".into(),
            cpu_milli: 96_000,
            memory_mib: 1,
            devices: 8,
            model: "G2".into(),
        };
        let models = Models::of(std::slice::from_ref(&row));
        let (table, idle) = (PowerTable::published(&models), Node::of(&row, &models));
        let shape = |cpu_milli, devices, device_milli| Shape {
            cpu_milli,
            device_milli,
            devices,
            models: ModelSet(u64::MAX),
        };
        for (case, asked, watts) in [
            ("nothing", shape(0, 0, 0), 8 * 30 + 3 * 15),
            ("one thread", shape(1000, 0, 0), 8 * 30 + 2 * 15 + 120),
            (
                "one socket and a thread",
                shape(33_000, 0, 0),
                8 * 30 + 15 + 2 * 120,
            ),
            ("a share", shape(0, 1, 50), 7 * 30 + 150 + 3 * 15),
            ("all", shape(96_000, 8, 1000), 8 * 150 + 3 * 120),
        ] {
            assert_eq!(
                table.node_watts(&idle.with(&asked, 0).unwrap()),
                watts,
                "{case}"
            );
        }
    }
}
