//! Policies to compare with: any node, and the tightest node.

use ampacity_placement::numerics::SplitMix64;

use super::{Cluster, Node, NodeScore, Placement, Policy, Shape, Task};

/// One feasible node, each as likely as any other, and any device there that has room.
#[derive(Debug)]
pub struct Random(SplitMix64);

impl Random {
    /// Choices follow from the seed.
    pub fn new(seed: u64) -> Self {
        Self(SplitMix64::new(seed))
    }
}

impl Policy for Random {
    fn choose(&mut self, cluster: &Cluster, task: &Task) -> Option<Placement> {
        let roomy = |node: &Node| node.fits(&task.shape) && node.memory_free_mib >= task.memory_mib;
        let feasible: Vec<usize> = cluster
            .nodes()
            .iter()
            .enumerate()
            .filter(|(_, node)| roomy(node))
            .map(|(at, _)| at)
            .collect();
        let node = *feasible.get(self.0.below(feasible.len()))?;
        let shares = cluster.nodes().get(node)?.shares().enumerate();
        let devices: Vec<usize> = shares
            .filter(|&(_, free)| free >= task.shape.device_milli)
            .map(|(at, _)| at)
            .collect();
        let device = devices
            .get(self.0.below(devices.len()))
            .copied()
            .unwrap_or_default() as u8;
        Some(Placement { node, device })
    }
}

/// The node with the least CPU and devices left over, as the FGD paper (ATC'23) has it: 1 − ½(CPU left / 128 cores + devices left / 8),
/// in whole points of 100; a share goes to the device with the least room.
#[derive(Debug, Clone, Copy)]
pub struct BestFit;

impl NodeScore for BestFit {
    fn score(&self, node: &Node, shape: &Shape) -> Option<(i64, u8)> {
        if !node.fits(shape) {
            return None;
        }
        let cpu_left = f64::from(node.cpu_free_milli - shape.cpu_milli) / 128_000.0;
        let devices_left =
            (f64::from(node.total_free_milli()) - shape.total_milli() as f64) / 8_000.0;
        let device = if shape.is_shared() {
            node.tightest(shape.device_milli)?
        } else {
            0
        };
        Some((
            (100.0 * (1.0 - 0.5 * (cpu_left + devices_left))) as i64,
            device,
        ))
    }
}
