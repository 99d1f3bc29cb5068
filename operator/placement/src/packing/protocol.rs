//! The published experiment of FGD (USENIX ATC'23): a list in random order, more than the fleet holds, one task at a time.

use super::{Cluster, JobMix, Models, NodeRow, PodRow, Policy, Shape, SplitMix64, Task, fragmentation};

/// The order in which tasks and nodes come in one run.
#[derive(Debug, Clone)]
pub struct Arrivals {
    /// The fleet, in the order that breaks ties.
    pub cluster: Cluster,
    /// The tasks, in the order of arrival.
    pub tasks: Vec<Task>,
}

impl Arrivals {
    /// The run of a seed. The list, sorted by name, is shuffled; tasks drawn with replacement follow until the next one would bring the
    /// devices asked for above `tune` × capacity (the published check adds the share per device, not the total), and when the list
    /// alone asks for more, random tasks leave until it does not. Nodes are shuffled too: the published scheduler breaks ties by a
    /// random prefix of the node's name.
    pub fn new(nodes: &[NodeRow], pods: &[PodRow], tune: f64, seed: u64) -> Self {
        let mut random = SplitMix64::new(seed);
        let models = Models::of(nodes);
        let mut order: Vec<&NodeRow> = nodes.iter().collect();
        order.sort_by(|a, b| a.name.cmp(&b.name));
        random.shuffle(&mut order);
        let order: Vec<NodeRow> = order.into_iter().cloned().collect();
        let cluster = Cluster::new(&order, &models);

        let all = tasks(pods, &models);
        let target = tune * cluster.capacity_milli() as f64;
        let asked = |tasks: &[Task]| tasks.iter().map(|task| task.shape.total_milli()).sum::<u64>() as f64;
        let mut arriving = all.clone();
        random.shuffle(&mut arriving);
        let mut sum = asked(&arriving);
        while sum > target && !arriving.is_empty() {
            sum -= arriving.remove(random.below(arriving.len())).shape.total_milli() as f64;
        }
        // A list without devices would never reach the target.
        while sum < target && asked(&all) > 0.0 {
            let Some(task) = all.get(random.below(all.len())) else { break };
            if sum + f64::from(task.shape.device_milli) > target {
                break;
            }
            sum += task.shape.total_milli() as f64;
            arriving.push(*task);
        }
        Self { cluster, tasks: arriving }
    }
}

/// The rows as tasks, sorted by name, equal shapes sharing an id.
fn tasks(pods: &[PodRow], models: &Models) -> Vec<Task> {
    let mut rows: Vec<&PodRow> = pods.iter().collect();
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    let mut ids = std::collections::HashMap::new();
    let numbered = rows.into_iter().map(|pod| {
        let shape = Shape::of(pod, models);
        let next = ids.len() as u32;
        Task { shape, shape_id: *ids.entry(shape).or_insert(next), memory_mib: pod.memory_mib }
    });
    numbered.collect()
}

/// The mix that the published experiment gives the policies: the shapes that cover 95 % of the list.
pub fn typical_mix(nodes: &[NodeRow], pods: &[PodRow], coverage: f64) -> JobMix {
    let models = Models::of(nodes);
    JobMix::typical(tasks(pods, &models).iter().map(|task| task.shape), coverage)
}

/// State after an arrival.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Device thousandths asked for so far.
    pub arrived_milli: u64,
    /// Device thousandths in use.
    pub allocated_milli: u64,
    /// Free device thousandths that a task of the mix cannot use, in expectation.
    pub fragmented_milli: f64,
}

/// Sends every task through the policy; a sample after each.
pub fn run(arrivals: &Arrivals, policy: &mut dyn Policy, mix: &JobMix, mut each: impl FnMut(&Cluster, Sample)) -> Cluster {
    let mut cluster = arrivals.cluster.clone();
    let mut now = Sample {
        arrived_milli: 0,
        allocated_milli: 0,
        fragmented_milli: cluster.nodes().iter().map(|node| fragmentation(node, mix)).sum(),
    };
    for task in &arrivals.tasks {
        now.arrived_milli += task.shape.total_milli();
        if let Some(placement) = policy.choose(&cluster, task) {
            if let Some((before, after)) = cluster.place(task, placement) {
                now.allocated_milli += task.shape.total_milli();
                now.fragmented_milli += fragmentation(after, mix) - fragmentation(&before, mix);
            }
        }
        each(&cluster, now);
    }
    cluster
}
