//! What a node's free resources are worth to the tasks that usually come.

use super::{JobMix, Node, Shape, SharePrices, WHOLE};

/// CPU of a hole counts in whole virtual cores up to this many.
const CORES: usize = 64;
/// Holes and shares count in hundredths of a device.
const SLOTS: usize = 100;
/// Groups of tasks with several devices that are watched apart: 2 to 3, 4 to 7, 8 and more; with usual and with much CPU.
pub(super) const GANGS: usize = 6;
/// CPU per device above this many times the mean of the mix is much: few nodes may have it.
const MUCH_CPU: f64 = 1.25;

/// Free devices of one node that tasks of the mix can use, in expectation.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Worth {
    /// To tasks of one device or less, in devices.
    pub single: f64,
    /// To tasks of several devices, by group, in devices weighted by how much of the demand is theirs.
    pub gangs: [f64; GANGS],
}

/// The mix, priced.
#[derive(Debug, Clone)]
pub(super) struct Outlook {
    prices: SharePrices,
    /// Shape, part of the demand in priced devices, devices that one task costs.
    classes: Vec<(Shape, f64, f64)>,
    /// By size of a hole: what it is worth with so many cores beside it.
    fills: Vec<[f64; CORES]>,
    /// By size of a hole: CPU of its best fill, thousandths of a virtual core.
    fill_cpu: Vec<f64>,
    /// CPU that goes with one device of the demand, thousandths of a virtual core.
    mean_cpu: f64,
    /// Priced devices for shares that leave a useful hole, per device asked for.
    pub small_rate: f64,
    /// Devices for tasks of several, per device asked for.
    pub gang_rate: [f64; GANGS],
    /// Mean CPU of tasks of several devices, thousandths of a virtual core.
    pub gang_cpu: [f64; GANGS],
}

impl Outlook {
    pub(super) fn of(mix: &JobMix) -> Self {
        let shared = mix.classes().iter().filter(|(shape, _)| shape.is_shared());
        let prices = SharePrices::of(shared.map(|(shape, often)| (shape.device_milli, *often)));
        let price = |shape: &Shape| {
            if shape.is_shared() {
                prices.share(shape.device_milli)
            } else {
                f64::from(shape.devices)
            }
        };
        let on_devices = || mix.classes().iter().filter(|(shape, _)| shape.devices > 0);

        let priced: f64 = on_devices()
            .map(|(shape, often)| often * price(shape))
            .sum::<f64>()
            .max(f64::MIN_POSITIVE);
        let asked: f64 = on_devices()
            .map(|(shape, often)| often * shape.total_milli() as f64 / 1000.0)
            .sum::<f64>()
            .max(f64::MIN_POSITIVE);
        let cpu: f64 = on_devices()
            .map(|(shape, often)| often * f64::from(shape.cpu_milli))
            .sum();
        let leaves_hole =
            |shape: &Shape| shape.is_shared() && prices.hole(WHOLE - shape.device_milli) > 1e-9;
        let small: f64 = on_devices()
            .filter(|(shape, _)| leaves_hole(shape))
            .map(|(shape, often)| often * price(shape))
            .sum();

        let mean_cpu = cpu / priced;
        let (mut gang_rate, mut gang_cpu, mut gang_often) =
            ([0.0; GANGS], [0.0; GANGS], [0.0; GANGS]);
        for (shape, often) in on_devices() {
            let at = gang(shape, mean_cpu);
            let Some(((rate, cpu), sum)) = at.and_then(|at| {
                gang_rate
                    .get_mut(at)
                    .zip(gang_cpu.get_mut(at))
                    .zip(gang_often.get_mut(at))
            }) else {
                continue;
            };
            *rate += often * f64::from(shape.devices) / asked;
            *cpu += often * f64::from(shape.cpu_milli);
            *sum += often;
        }
        gang_cpu
            .iter_mut()
            .zip(gang_often)
            .filter(|(_, sum)| *sum > 0.0)
            .for_each(|(cpu, sum)| *cpu /= sum);

        let levels = cpu_levels(mix);
        Self {
            classes: on_devices()
                .map(|(shape, often)| (*shape, often * price(shape) / priced, price(shape)))
                .collect(),
            fills: fills(&prices, &levels),
            fill_cpu: (0..=SLOTS)
                .map(|hole| fill_cpu(hole, &prices, &levels))
                .collect(),
            mean_cpu,
            small_rate: small / asked,
            gang_rate,
            gang_cpu,
            prices,
        }
    }

    /// Whether a device that this task opens has room left that is worth something.
    pub(super) fn leaves_hole(&self, shape: &Shape) -> bool {
        shape.is_shared() && self.prices.hole(WHOLE - shape.device_milli) > 1e-9
    }

    /// What the partly used devices of a node are worth if CPU is no matter, in devices.
    pub(super) fn holes(&self, node: &Node) -> f64 {
        node.shares()
            .filter(|&share| share < WHOLE)
            .map(|share| self.prices.hole(share))
            .sum()
    }

    /// What is free on the node, in devices that the mix can use. Free CPU is divided between holes and whole devices by what each
    /// needs on average. Holes are filled as the share prices have it; whole devices count for each class as often as it would fit
    /// if it alone came, which is where CPU too small for the devices beside it shows.
    pub(super) fn worth(&self, node: &Node) -> Worth {
        let whole = f64::from(node.whole_free());
        let cpu = f64::from(node.cpu_free_milli);
        let fill_cpu = |share: u16| {
            self.fill_cpu
                .get(usize::from(share) * SLOTS / usize::from(WHOLE))
                .copied()
                .unwrap_or_default()
        };
        let holes_need: f64 = node
            .shares()
            .filter(|&share| share < WHOLE)
            .map(fill_cpu)
            .sum();
        let need = holes_need + whole * self.mean_cpu;

        let mut worth = Worth::default();
        if holes_need > 0.0 {
            let mut left = if cpu < need {
                cpu * holes_need / need
            } else {
                cpu - whole * self.mean_cpu
            };
            let mut shares = node.free_milli;
            shares.sort_unstable();
            for &share in shares
                .iter()
                .rev()
                .filter(|&&share| share > 0 && share < WHOLE)
            {
                worth.single += self.fill(share, left);
                left = (left - fill_cpu(share)).max(0.0);
            }
        }
        if whole > 0.0 {
            let for_whole = (cpu - holes_need * (cpu / need.max(1.0)).min(1.0)).max(0.0) as u32;
            for (shape, part, price) in self
                .classes
                .iter()
                .filter(|(shape, ..)| shape.models.accepts(node.model))
            {
                let by_cpu = for_whole.checked_div(shape.cpu_milli).unwrap_or(u32::MAX);
                let group = gang(shape, self.mean_cpu);
                let times = if group.is_some() {
                    by_cpu.min(u32::from(node.whole_free() / shape.devices))
                } else {
                    by_cpu
                };
                let usable = part * (price * f64::from(times)).min(whole);
                match group.and_then(|group| worth.gangs.get_mut(group)) {
                    Some(sum) => *sum += usable,
                    None => worth.single += usable,
                }
            }
        }
        worth
    }

    fn fill(&self, share: u16, cpu_milli: f64) -> f64 {
        let cores = ((cpu_milli / 1000.0) as usize).min(CORES - 1);
        let by_cores = self
            .fills
            .get(usize::from(share) * SLOTS / usize::from(WHOLE));
        by_cores
            .and_then(|by_cores| by_cores.get(cores))
            .copied()
            .unwrap_or_default()
    }
}

/// The group of a task with several devices, `None` for the others.
fn gang(shape: &Shape, mean_cpu: f64) -> Option<usize> {
    let size = match shape.devices {
        0 | 1 => return None,
        2 | 3 => 0,
        4..=7 => 1,
        _ => 2,
    };
    let much = f64::from(shape.cpu_milli) > MUCH_CPU * mean_cpu * f64::from(shape.devices);
    Some(if much { size + 3 } else { size })
}

/// By size in slots: the cores that tasks of the size ask for, and how likely each.
type CpuLevels = Vec<Vec<(usize, f64)>>;

fn cpu_levels(mix: &JobMix) -> CpuLevels {
    let mut levels: CpuLevels = vec![Vec::new(); SLOTS + 1];
    for (shape, often) in mix.classes().iter().filter(|(shape, _)| shape.is_shared()) {
        if let Some(level) =
            levels.get_mut((usize::from(shape.device_milli) * SLOTS).div_ceil(usize::from(WHOLE)))
        {
            level.push(((shape.cpu_milli as usize).div_ceil(1000), *often));
        }
    }
    for level in &mut levels {
        let sum: f64 = level.iter().map(|(_, often)| often).sum();
        level.iter_mut().for_each(|(_, often)| *often /= sum);
    }
    levels
}

fn share_price(prices: &SharePrices, slots: usize) -> f64 {
    prices.share((slots * usize::from(WHOLE) / SLOTS) as u16)
}

/// The worth of every hole with every number of cores: take the best size next, where the cores it will ask for are a matter of chance
/// and too few cores mean that nothing comes.
fn fills(prices: &SharePrices, levels: &CpuLevels) -> Vec<[f64; CORES]> {
    let mut table: Vec<[f64; CORES]> = vec![[0.0; CORES]];
    for hole in 1..=SLOTS {
        let mut row = table.last().copied().unwrap_or([0.0; CORES]);
        for (cores, best) in row.iter_mut().enumerate() {
            for (size, level) in levels
                .iter()
                .enumerate()
                .take(hole + 1)
                .skip(1)
                .filter(|(_, level)| !level.is_empty())
            {
                let price = share_price(prices, size);
                let rest = |asked: usize| {
                    table
                        .get(hole - size)
                        .and_then(|row| row.get(cores - asked))
                        .copied()
                        .unwrap_or_default()
                };
                let expected: f64 = level
                    .iter()
                    .filter(|(asked, _)| *asked <= cores)
                    .map(|&(asked, often)| often * (price + rest(asked)))
                    .sum();
                *best = best.max(expected);
            }
        }
        table.push(row);
    }
    table
}

/// Mean CPU, in thousandths of a core, of a fill of the hole that is worth as much as the best, larger sizes first.
fn fill_cpu(hole: usize, prices: &SharePrices, levels: &CpuLevels) -> f64 {
    let worth = |slots: usize| prices.hole((slots * usize::from(WHOLE) / SLOTS) as u16);
    let (mut left, mut cpu) = (hole.min(SLOTS - 1), 0.0);
    while left > 0 {
        let mut useful = levels
            .iter()
            .enumerate()
            .take(left + 1)
            .skip(1)
            .rev()
            .filter(|(size, level)| {
                let price = share_price(prices, *size);
                !level.is_empty()
                    && price > 1e-9
                    && (price + worth(left - size) - worth(left)).abs() < 1e-9
            });
        match useful.next() {
            Some((size, level)) => {
                cpu += level
                    .iter()
                    .map(|&(cores, often)| cores as f64 * 1000.0 * often)
                    .sum::<f64>();
                left -= size;
            }
            None => left -= 1,
        }
    }
    cpu
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

    fn node(devices: u8, cpu_milli: u32) -> Node {
        let row = NodeRow {
            name: "n".into(),
            cpu_milli,
            memory_mib: 1,
            devices,
            model: "T4".into(),
        };
        Node::of(&row, &Models::of(std::slice::from_ref(&row)))
    }

    #[test]
    fn devices_without_cpu_for_them_are_worth_less() {
        let outlook = Outlook::of(&JobMix::typical([shape(10_000, 1, 1000)], 1.0));
        for (cpu_milli, expected) in [(80_000, 8.0), (40_000, 4.0), (9_000, 0.0)] {
            assert!(
                (outlook.worth(&node(8, cpu_milli)).single - expected).abs() < 1e-9,
                "{cpu_milli}"
            );
        }
    }

    #[test]
    fn a_hole_is_worth_what_fits_it_and_needs_its_cpu() {
        let outlook = Outlook::of(&JobMix::typical(
            [shape(4000, 1, 500), shape(4000, 1, 1000)],
            1.0,
        ));
        let half = node(1, 8000).with(&shape(4000, 1, 500), 0).unwrap();
        assert!((outlook.worth(&half).single - 0.5).abs() < 1e-9);
        let starved = node(1, 7000).with(&shape(4000, 1, 500), 0).unwrap();
        assert!(outlook.worth(&starved).single.abs() < 1e-9);
    }

    #[test]
    fn a_broken_node_is_worth_nothing_to_tasks_that_need_all_of_it() {
        let outlook = Outlook::of(&JobMix::typical([shape(0, 8, 1000)], 1.0));
        assert!((outlook.worth(&node(8, 0)).gangs[2] - 8.0).abs() < 1e-9);
        let broken = node(8, 0).with(&shape(0, 1, 1000), 0).unwrap();
        assert_eq!(outlook.worth(&broken).gangs[2], 0.0);
    }
}
