//! What is free on each node.

use super::{NodeRow, PodRow};

/// Most devices a node may have here; the published traces have 8.
pub const MAX_DEVICES: usize = 8;
/// Thousandths in one device.
pub const WHOLE: u16 = 1000;

/// Device models by name; a model's index is its bit in a [`ModelSet`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Models(Vec<String>);

impl Models {
    /// The models of the nodes, in order of first appearance; from the 65th on all share the last bit.
    pub fn of(nodes: &[NodeRow]) -> Self {
        let mut names: Vec<String> = Vec::new();
        for node in nodes {
            if !names.contains(&node.model) {
                names.push(node.model.clone());
            }
        }
        Self(names)
    }

    /// The model's index, 63 for one beyond the last bit.
    pub fn index(&self, name: &str) -> Option<u8> {
        self.0
            .iter()
            .position(|known| known == name)
            .map(|at| at.min(63) as u8)
    }

    /// The name at an index.
    pub fn name(&self, index: u8) -> Option<&str> {
        self.0.get(usize::from(index)).map(String::as_str)
    }

    /// The set that a task accepts: every model when it names none. Names that no node has add nothing.
    pub fn set(&self, names: &[String]) -> ModelSet {
        if names.is_empty() {
            return ModelSet(u64::MAX);
        }
        ModelSet(
            names
                .iter()
                .filter_map(|name| self.index(name))
                .fold(0, |bits, at| bits | 1 << at),
        )
    }
}

/// The models a task accepts, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelSet(pub u64);

impl ModelSet {
    /// Whether the model at this index is accepted.
    pub fn accepts(self, model: u8) -> bool {
        self.0 >> model.min(63) & 1 == 1
    }
}

/// What a task asks of a node, memory apart: tasks of one shape are equal to every policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shape {
    /// CPU in thousandths of a virtual core.
    pub cpu_milli: u32,
    /// Share of each device in thousandths; 0 with no devices.
    pub device_milli: u16,
    /// Devices.
    pub devices: u8,
    /// Models that will do.
    pub models: ModelSet,
}

impl Shape {
    /// The shape of a row: shares are clipped to 0..=1000, more than one device means whole devices.
    pub fn of(pod: &PodRow, models: &Models) -> Self {
        let device_milli = match pod.devices {
            0 => 0,
            1 => pod.device_milli.min(WHOLE),
            _ => WHOLE,
        };
        Self {
            cpu_milli: pod.cpu_milli,
            device_milli,
            devices: pod.devices,
            models: models.set(&pod.models),
        }
    }

    /// Device thousandths in total.
    pub fn total_milli(&self) -> u64 {
        u64::from(self.device_milli) * u64::from(self.devices)
    }

    /// Whether it takes a part of one device.
    pub fn is_shared(&self) -> bool {
        self.devices == 1 && self.device_milli < WHOLE
    }
}

/// One node: its size and what is free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Index into the [`Models`] of the cluster.
    pub model: u8,
    /// Devices.
    pub devices: u8,
    /// CPU in all, thousandths of a virtual core.
    pub cpu_milli: u32,
    /// Free CPU, thousandths of a virtual core.
    pub cpu_free_milli: u32,
    /// Memory in all, MiB.
    pub memory_mib: u32,
    /// Free memory, MiB.
    pub memory_free_mib: u32,
    /// Free thousandths of each device; entries beyond `devices` are 0.
    pub free_milli: [u16; MAX_DEVICES],
}

impl Node {
    /// An empty node. Devices beyond [`MAX_DEVICES`] are left out.
    pub fn of(row: &NodeRow, models: &Models) -> Self {
        let devices = row.devices.min(MAX_DEVICES as u8);
        let mut free_milli = [0; MAX_DEVICES];
        free_milli
            .iter_mut()
            .take(usize::from(devices))
            .for_each(|free| *free = WHOLE);
        Self {
            model: models.index(&row.model).unwrap_or(63),
            devices,
            cpu_milli: row.cpu_milli,
            cpu_free_milli: row.cpu_milli,
            memory_mib: row.memory_mib,
            memory_free_mib: row.memory_mib,
            free_milli,
        }
    }

    /// Free shares of the node's own devices.
    pub fn shares(&self) -> impl Iterator<Item = u16> + '_ {
        self.free_milli
            .iter()
            .copied()
            .take(usize::from(self.devices))
    }

    /// Free device thousandths in total.
    pub fn total_free_milli(&self) -> u32 {
        self.free_milli.iter().map(|&free| u32::from(free)).sum()
    }

    /// Devices no task uses.
    pub fn whole_free(&self) -> u8 {
        self.shares().filter(|&free| free == WHOLE).count() as u8
    }

    /// Whether no task runs here.
    pub fn is_idle(&self) -> bool {
        self.cpu_free_milli == self.cpu_milli
            && self.memory_free_mib == self.memory_mib
            && self.whole_free() == self.devices
    }

    /// Whether CPU and devices suffice; memory is checked apart, as it differs between tasks of one shape.
    pub fn fits(&self, shape: &Shape) -> bool {
        if self.cpu_free_milli < shape.cpu_milli {
            return false;
        }
        match shape.devices {
            0 => true,
            _ if !shape.models.accepts(self.model) => false,
            1 => self.shares().any(|free| free >= shape.device_milli),
            wanted => self.whole_free() >= wanted,
        }
    }

    /// The device with the least room that still suffices for a share.
    pub fn tightest(&self, device_milli: u16) -> Option<u8> {
        let fitting = self
            .shares()
            .enumerate()
            .filter(|&(_, free)| free >= device_milli);
        fitting
            .min_by_key(|&(at, free)| (free, at))
            .map(|(at, _)| at as u8)
    }

    /// The node with the task on it: a share on `device`, whole devices on the first free ones. `None` when it does not fit there.
    pub fn with(&self, shape: &Shape, device: u8) -> Option<Self> {
        let mut after = self.clone();
        after.cpu_free_milli = self.cpu_free_milli.checked_sub(shape.cpu_milli)?;
        match shape.devices {
            0 => {}
            1 if shape.is_shared() => {
                let free = after.free_milli.get_mut(usize::from(device))?;
                *free = free.checked_sub(shape.device_milli)?;
            }
            wanted => {
                let wanted = usize::from(wanted);
                let mut taken = 0;
                for free in after
                    .free_milli
                    .iter_mut()
                    .filter(|free| **free == WHOLE)
                    .take(wanted)
                {
                    *free = 0;
                    taken += 1;
                }
                if taken < wanted {
                    return None;
                }
            }
        }
        Some(after)
    }
}

/// Where a task goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// Index into [`Cluster::nodes`].
    pub node: usize,
    /// The device of a share; ignored for whole devices.
    pub device: u8,
}

/// A task as it arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Task {
    /// What it asks for.
    pub shape: Shape,
    /// Index of the shape in the list it came from: a key for policies that keep what they computed.
    pub shape_id: u32,
    /// Memory in MiB.
    pub memory_mib: u32,
}

/// Every node, in the order that breaks ties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    nodes: Vec<Node>,
    /// Counts the changes of each node.
    versions: Vec<u32>,
}

impl Cluster {
    /// An empty fleet in the order of the rows.
    pub fn new(rows: &[NodeRow], models: &Models) -> Self {
        Self {
            nodes: rows.iter().map(|row| Node::of(row, models)).collect(),
            versions: vec![0; rows.len()],
        }
    }

    /// All nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// How often each node has changed; same length as [`Cluster::nodes`].
    pub fn versions(&self) -> &[u32] {
        &self.versions
    }

    /// Device thousandths in all.
    pub fn capacity_milli(&self) -> u64 {
        self.nodes
            .iter()
            .map(|node| u64::from(node.devices) * u64::from(WHOLE))
            .sum()
    }

    /// Puts a task on a node. Returns the node before and after, or `None`, changing nothing, when it does not fit there.
    pub fn place(&mut self, task: &Task, placement: Placement) -> Option<(Node, &Node)> {
        let node = self.nodes.get_mut(placement.node)?;
        if !node.fits(&task.shape) || node.memory_free_mib < task.memory_mib {
            return None;
        }
        let mut after = node.with(&task.shape, placement.device)?;
        after.memory_free_mib -= task.memory_mib;
        let before = std::mem::replace(node, after);
        if let Some(version) = self.versions.get_mut(placement.node) {
            *version += 1;
        }
        Some((before, node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(devices: u8) -> NodeRow {
        NodeRow {
            name: "n".into(),
            cpu_milli: 8000,
            memory_mib: 100,
            devices,
            model: "T4".into(),
        }
    }

    fn shape(cpu_milli: u32, devices: u8, device_milli: u16) -> Shape {
        Shape {
            cpu_milli,
            device_milli,
            devices,
            models: ModelSet(u64::MAX),
        }
    }

    #[test]
    fn fitting_follows_cpu_shares_and_whole_devices() {
        let rows = [row(2)];
        let models = Models::of(&rows);
        let node = Node::of(&rows[0], &models);
        let half = node.with(&shape(1000, 1, 500), 0).unwrap();
        for (case, asked, fits) in [
            ("cpu only", shape(7000, 0, 0), true),
            ("cpu short", shape(7001, 0, 0), false),
            ("share beside", shape(0, 1, 500), true),
            ("share on the free one", shape(0, 1, 900), true),
            ("one whole", shape(0, 1, 1000), true),
            ("two whole", shape(0, 2, 1000), false),
        ] {
            assert_eq!(half.fits(&asked), fits, "{case}");
        }
        assert_eq!(half.tightest(400), Some(0));
        assert_eq!(half.tightest(600), Some(1));
    }

    #[test]
    fn models_limit_where_a_task_may_go() {
        let rows = [row(1)];
        let models = Models::of(&rows);
        let node = Node::of(&rows[0], &models);
        let asked = |names: &[&str]| Shape {
            models: models.set(
                &names
                    .iter()
                    .map(|name| (*name).to_owned())
                    .collect::<Vec<_>>(),
            ),
            ..shape(0, 1, 1000)
        };
        assert!(node.fits(&asked(&[])));
        assert!(node.fits(&asked(&["A10", "T4"])));
        assert!(!node.fits(&asked(&["A10"])));
    }

    #[test]
    fn a_refused_placement_changes_nothing() {
        let rows = [row(1)];
        let models = Models::of(&rows);
        let mut cluster = Cluster::new(&rows, &models);
        let before = cluster.clone();
        let task = Task {
            shape: shape(0, 1, 500),
            shape_id: 0,
            memory_mib: 101,
        };
        assert!(
            cluster
                .place(&task, Placement { node: 0, device: 0 })
                .is_none()
        );
        assert!(
            cluster
                .place(&task, Placement { node: 1, device: 0 })
                .is_none()
        );
        assert_eq!(cluster, before);
    }
}
