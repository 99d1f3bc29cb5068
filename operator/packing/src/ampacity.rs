//! The policy of this project: take the place that costs the usual mix of tasks least.

use super::outlook::{GANGS, Outlook, Worth};
use super::{Cluster, JobMix, Node, Placement, Policy, PowerTable, Shape, Task, WHOLE};

/// Costs within one step of 1/30 device are equal; ties go to the first node. Steps that small tell real loss from noise, and first-fit
/// among equals keeps the nodes at the end free.
const STEPS_PER_DEVICE: f64 = 30.0;
/// Room left beside a share counts this much of a device per device: among equal fills the tighter wins.
const TIGHTNESS: f64 = 0.2;
/// Opening a device for a share while there are holes enough costs this much of a device.
const OPENING: f64 = 0.7;
/// Holes are enough when they hold this part of the shares that are still expected. More holes, opened earlier, close the fleet to large
/// tasks before it is full.
const HOLES_KEPT: f64 = 0.03;
/// The cost of opening rises from nothing to all of it within ± this part of the wanted stock.
const HOLES_RAMP: f64 = 0.2;
/// Watts have their full price while this part of the fleet is not asked for yet: an idle device is cheap to leave idle then.
const ROOMY: f64 = 0.6;
/// A place lost to a task of several devices counts so often when such places are short.
const GANG_WEIGHT: f64 = 3.0;

/// Minimises the expected loss of useful devices.
///
/// Every node has a worth: the devices that the mix can still use there (`Outlook::worth`). A task goes where the worth falls least.
/// Three corrections know the fleet and not the node only: places for tasks of several devices count in full only when they become short
/// of what is still expected; a share opens a device freely only until there are holes enough; and, when asked for, watts have a price.
///
/// No task that fits is refused, and the order of what comes is not known: only the mix, and how much is expected in all.
#[derive(Debug)]
pub struct Ampacity {
    outlook: Outlook,
    /// Devices in the fleet.
    capacity: f64,
    /// Devices expected to be asked for in all.
    expected: f64,
    /// Devices asked for so far.
    arrived: f64,
    /// The table of watts, and what a watt costs in devices.
    power: Option<(PowerTable, f64)>,
    /// By shape, then by node.
    kept: Vec<Vec<Kept>>,
}

#[derive(Debug, Clone, Copy)]
struct Kept {
    version: u32,
    /// On a partly used device, whole devices, or none.
    fill: Option<Offer>,
    /// A share on a device that nothing uses yet.
    open: Option<Offer>,
}

const NEVER: Kept = Kept {
    version: u32::MAX,
    fill: None,
    open: None,
};

/// A place on a node and what it costs.
#[derive(Debug, Clone, Copy)]
struct Offer {
    device: u8,
    /// Worth that is lost.
    lost: f64,
    /// Watts that are added.
    watts: f64,
    /// Worth that is lost to tasks of several devices.
    gangs: [f64; GANGS],
}

impl Offer {
    fn cost(&self, scarcity: &[f64; GANGS], devices_per_watt: f64) -> f64 {
        self.lost
            + self.watts * devices_per_watt
            + self
                .gangs
                .iter()
                .zip(scarcity)
                .map(|(lost, scarcity)| lost * scarcity)
                .sum::<f64>()
    }
}

impl Ampacity {
    /// A policy for a fleet of `capacity` devices that expects the whole of `mix`, `expected` devices in all.
    pub fn new(mix: &JobMix, capacity: f64, expected: f64) -> Self {
        Self {
            outlook: Outlook::of(mix),
            capacity,
            expected,
            arrived: 0.0,
            power: None,
            kept: Vec::new(),
        }
    }

    /// Makes a watt cost `devices_per_watt` while there is room, and nothing once the fleet is asked for in full.
    #[must_use]
    pub fn with_power(self, table: PowerTable, devices_per_watt: f64) -> Self {
        Self {
            power: Some((table, devices_per_watt)),
            ..self
        }
    }

    fn offer(
        &self,
        node: &Node,
        before: &Worth,
        shape: &Shape,
        device: u8,
        left: u16,
    ) -> Option<Offer> {
        let placed = node.with(shape, device)?;
        let after = self.outlook.worth(&placed);
        let mut gangs = before.gangs;
        gangs
            .iter_mut()
            .zip(after.gangs)
            .for_each(|(gang, after)| *gang -= after);
        let watts = self.power.as_ref().map_or(0.0, |(table, _)| {
            f64::from(table.node_watts(&placed)) - f64::from(table.node_watts(node))
        });
        let tightness = TIGHTNESS * f64::from(left) / f64::from(WHOLE);
        Some(Offer {
            device,
            lost: before.single - after.single + tightness,
            watts,
            gangs,
        })
    }

    fn offers(&self, node: &Node, shape: &Shape) -> (Option<Offer>, Option<Offer>) {
        if !node.fits(shape) {
            return (None, None);
        }
        let before = self.outlook.worth(node);
        if !shape.is_shared() {
            return (self.offer(node, &before, shape, 0, 0), None);
        }
        let (mut fill, mut open): (Option<Offer>, Option<Offer>) = (None, None);
        for (device, share) in node
            .shares()
            .enumerate()
            .filter(|&(_, share)| share >= shape.device_milli)
        {
            if share == WHOLE && open.is_some() {
                continue;
            }
            let offer = self.offer(
                node,
                &before,
                shape,
                device as u8,
                share - shape.device_milli,
            );
            if share == WHOLE {
                open = offer;
            } else if offer.is_some_and(|offer| fill.is_none_or(|best| offer.lost < best.lost)) {
                fill = offer;
            }
        }
        (fill, open)
    }

    /// How short places for tasks of several devices are: expected demand until the fleet is full over places, at most 1, weighted.
    fn scarcity(&self, cluster: &Cluster) -> [f64; GANGS] {
        let mut places = [0.0; GANGS];
        let sizes = [2, 4, 8, 2, 4, 8];
        for node in cluster.nodes() {
            let whole = node.whole_free();
            for ((places, size), &cpu) in places.iter_mut().zip(sizes).zip(&self.outlook.gang_cpu) {
                if f64::from(node.cpu_free_milli) >= cpu {
                    *places += f64::from(whole / size * size);
                }
            }
        }
        let rest = (self.capacity - self.arrived).max(0.0);
        let mut scarcity = self.outlook.gang_rate;
        scarcity.iter_mut().zip(places).for_each(|(rate, places)| {
            *rate = GANG_WEIGHT * (*rate * rest / places.max(1e-9)).min(1.0)
        });
        scarcity
    }

    /// What a watt costs now, in devices: all of the price while there is room, less and less of it as the fleet fills up.
    fn watt(&self) -> f64 {
        let room = (1.0 - self.arrived / self.capacity).max(0.0);
        let full = |(_, price): &(PowerTable, f64)| price * (room / ROOMY).min(1.0);
        self.power.as_ref().map_or(0.0, full)
    }

    /// What opening a device costs a share that leaves a hole.
    fn opening(&self, cluster: &Cluster) -> f64 {
        let stock: f64 = cluster
            .nodes()
            .iter()
            .map(|node| self.outlook.holes(node))
            .sum();
        let wanted = HOLES_KEPT * self.outlook.small_rate * (self.expected - self.arrived).max(0.0);
        let fullness = stock / wanted.max(1e-9);
        OPENING * ((fullness - 1.0 + HOLES_RAMP) / (2.0 * HOLES_RAMP)).clamp(0.0, 1.0)
    }
}

impl Policy for Ampacity {
    fn choose(&mut self, cluster: &Cluster, task: &Task) -> Option<Placement> {
        self.arrived += task.shape.total_milli() as f64 / f64::from(WHOLE);
        let scarcity = self.scarcity(cluster);
        let opening = if self.outlook.leaves_hole(&task.shape) {
            self.opening(cluster)
        } else {
            0.0
        };

        let watt = self.watt();
        let shape_id = task.shape_id as usize;
        if self.kept.len() <= shape_id {
            self.kept.resize(shape_id + 1, Vec::new());
        }
        let mut row = self
            .kept
            .get_mut(shape_id)
            .map(std::mem::take)
            .unwrap_or_default();
        row.resize(cluster.nodes().len(), NEVER);
        let mut best: Option<(i64, Placement)> = None;
        for (at, ((node, &version), kept)) in cluster
            .nodes()
            .iter()
            .zip(cluster.versions())
            .zip(&mut row)
            .enumerate()
        {
            if kept.version != version {
                let (fill, open) = self.offers(node, &task.shape);
                *kept = Kept {
                    version,
                    fill,
                    open,
                };
            }
            if node.memory_free_mib < task.memory_mib {
                continue;
            }
            let priced = [(kept.fill, 0.0), (kept.open, opening)];
            for (offer, extra) in priced
                .into_iter()
                .filter_map(|(offer, extra)| Some((offer?, extra)))
            {
                let steps =
                    ((offer.cost(&scarcity, watt) + extra) * STEPS_PER_DEVICE).round() as i64;
                if best.is_none_or(|(least, _)| steps < least) {
                    best = Some((
                        steps,
                        Placement {
                            node: at,
                            device: offer.device,
                        },
                    ));
                }
            }
        }
        if let Some(slot) = self.kept.get_mut(shape_id) {
            *slot = row;
        }
        best.map(|(_, placement)| placement)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ModelSet, Models, NodeRow};

    fn shape(cpu_milli: u32, devices: u8, device_milli: u16) -> Shape {
        Shape {
            cpu_milli,
            device_milli,
            devices,
            models: ModelSet(u64::MAX),
        }
    }

    fn fleet(sizes: &[(u32, u8)]) -> Cluster {
        let row = |(at, &(cpu_milli, devices)): (usize, &(u32, u8))| NodeRow {
            name: format!("n{at}"),
            cpu_milli,
            memory_mib: 1000,
            devices,
            model: "T4".into(),
        };
        let rows: Vec<NodeRow> = sizes.iter().enumerate().map(row).collect();
        Cluster::new(&rows, &Models::of(&rows))
    }

    fn choice(cluster: &Cluster, mix: &[Shape], asked: Shape) -> Option<usize> {
        let mut policy = Ampacity::new(&JobMix::typical(mix.iter().copied(), 1.0), 8.0, 8.0);
        policy
            .choose(
                cluster,
                &Task {
                    shape: asked,
                    shape_id: 0,
                    memory_mib: 1,
                },
            )
            .map(|placement| placement.node)
    }

    #[test]
    fn cpu_work_goes_where_no_device_needs_the_cpu() {
        let cluster = fleet(&[(40_000, 4), (60_000, 2)]);
        assert_eq!(
            choice(&cluster, &[shape(10_000, 1, 1000)], shape(30_000, 0, 0)),
            Some(1)
        );
    }

    #[test]
    fn single_devices_leave_whole_nodes_to_those_who_need_them() {
        let cluster = fleet(&[(80_000, 8), (80_000, 4)]);
        assert_eq!(
            choice(
                &cluster,
                &[shape(1000, 1, 1000), shape(8000, 8, 1000)],
                shape(1000, 1, 1000)
            ),
            Some(1)
        );
    }

    #[test]
    fn a_task_that_fits_somewhere_is_never_refused() {
        let cluster = fleet(&[(1000, 1)]);
        assert_eq!(
            choice(&cluster, &[shape(1000, 1, 500)], shape(1000, 0, 0)),
            Some(0)
        );
        assert_eq!(
            choice(&cluster, &[shape(1000, 1, 500)], shape(1001, 0, 0)),
            None
        );
    }
}
