//! The published experiment of FGD (USENIX ATC'23): a list in random order, more than the fleet holds, one task at a time.

use ampacity_placement::numerics::SplitMix64;

use super::{Cluster, JobMix, Models, NodeRow, PodRow, Shape, Task};

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
        let asked = |tasks: &[Task]| {
            tasks
                .iter()
                .map(|task| task.shape.total_milli())
                .sum::<u64>() as f64
        };
        let mut arriving = all.clone();
        random.shuffle(&mut arriving);
        let mut sum = asked(&arriving);
        let mut staying = Staying::all(arriving.len());
        while sum > target && staying.count > 0 {
            let leaves = staying.take(random.below(staying.count));
            let task = arriving.get(leaves);
            sum -= task.map_or(0.0, |task| task.shape.total_milli() as f64);
        }
        staying.keep(&mut arriving);
        // A list without devices would never reach the target.
        while sum < target && asked(&all) > 0.0 {
            let Some(task) = all.get(random.below(all.len())) else {
                break;
            };
            if sum + f64::from(task.shape.device_milli) > target {
                break;
            }
            sum += task.shape.total_milli() as f64;
            arriving.push(*task);
        }
        Self {
            cluster,
            tasks: arriving,
        }
    }
}

/// Which items of a list stay, so that the n-th of them is found and taken in logarithmic time (Fenwick's binary indexed tree).
struct Staying {
    /// Items that stay, over as many items up to here as the lowest bit of the index says; index 0 is not used.
    sums: Vec<usize>,
    stays: Vec<bool>,
    count: usize,
}

impl Staying {
    fn all(count: usize) -> Self {
        Self {
            sums: (0..=count).map(|at| at & at.wrapping_neg()).collect(),
            stays: vec![true; count],
            count,
        }
    }

    /// Takes the n-th of those that stay, from 0, and returns its place in the list.
    fn take(&mut self, n: usize) -> usize {
        let (mut before, mut left) = (0, n);
        let mut step = self.sums.len().next_power_of_two();
        while step > 0 {
            if let Some(&sum) = self.sums.get(before + step)
                && sum <= left
            {
                before += step;
                left -= sum;
            }
            step /= 2;
        }
        if let Some(stays) = self.stays.get_mut(before) {
            *stays = false;
            self.count -= 1;
        }
        let mut at = before + 1;
        while let Some(sum) = self.sums.get_mut(at) {
            *sum = sum.saturating_sub(1);
            at += at & at.wrapping_neg();
        }
        before
    }

    /// Leaves in a list what stays.
    fn keep<T>(&self, list: &mut Vec<T>) {
        let mut stays = self.stays.iter();
        list.retain(|_| stays.next() == Some(&true));
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
        Task {
            shape,
            shape_id: *ids.entry(shape).or_insert(next),
            memory_mib: pod.memory_mib,
        }
    });
    numbered.collect()
}

/// The mix of a list: the most frequent shapes that cover this part of it. The published experiment covers 0.95.
pub fn mix_of(nodes: &[NodeRow], pods: &[PodRow], coverage: f64) -> JobMix {
    let models = Models::of(nodes);
    JobMix::typical(tasks(pods, &models).iter().map(|task| task.shape), coverage)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(devices: u8) -> NodeRow {
        NodeRow {
            name: "n".into(),
            cpu_milli: 1000,
            memory_mib: 1,
            devices,
            model: "T4".into(),
        }
    }

    fn pods(count: usize, devices: u8) -> Vec<PodRow> {
        let pod = |at| PodRow {
            name: format!("p{at:03}"),
            cpu_milli: 1,
            memory_mib: 1,
            devices,
            device_milli: 1000,
            models: vec![],
        };
        (0..count).map(pod).collect()
    }

    #[test]
    fn a_list_is_stretched_or_cut_to_the_target() {
        for (case, list, arriving) in [
            ("stretched", pods(4, 1), 10),
            ("cut", pods(40, 1), 10),
            ("as it is", pods(10, 1), 10),
            ("no devices: never reaches a target", pods(3, 0), 3),
            ("nothing", vec![], 0),
        ] {
            assert_eq!(
                Arrivals::new(&[node(8)], &list, 1.25, 42).tasks.len(),
                arriving,
                "{case}"
            );
        }
    }

    #[test]
    fn the_nth_that_stays_is_taken_as_from_a_list() {
        let mut random = SplitMix64::new(3);
        for count in [0, 1, 2, 7, 8, 9, 100] {
            let mut list: Vec<usize> = (0..count).collect();
            let mut left = list.clone();
            let mut staying = Staying::all(count);
            while staying.count > count / 3 {
                let n = random.below(staying.count);
                assert_eq!(staying.take(n), left.remove(n), "{n} of {count}");
            }
            staying.keep(&mut list);
            assert_eq!(list, left);
        }
    }

    #[test]
    fn the_order_of_the_rows_does_not_matter() {
        let mut list = pods(20, 1);
        list.iter_mut()
            .enumerate()
            .for_each(|(at, pod)| pod.cpu_milli = at as u32);
        let before = Arrivals::new(&[node(8)], &list, 1.3, 7);
        list.reverse();
        let after = Arrivals::new(&[node(8)], &list, 1.3, 7);
        let cpu = |arrivals: &Arrivals| {
            arrivals
                .tasks
                .iter()
                .map(|task| task.shape.cpu_milli)
                .collect::<Vec<_>>()
        };
        assert_eq!(cpu(&before), cpu(&after));
    }
}
