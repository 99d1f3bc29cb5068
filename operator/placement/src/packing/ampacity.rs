//! Experimental.

use super::{Cluster, JobMix, Node, Placement, Policy, Shape, SharePrices, Task, WHOLE};

pub(crate) fn knob(name: &str, default: f64) -> f64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

#[derive(Debug, Clone)]
pub struct Ampacity {
    prices: SharePrices,
    /// shape, weight, price
    classes: Vec<(Shape, f64, f64)>,
    /// cpu (milli) needed by the best fill of a hole
    fill_cpu: Vec<f64>,
    mean_cpu: f64,
    quant: f64,
    tight: f64,
    cpu: f64,
    open: f64,
    pack: f64,
    hole: f64,
    multi: f64,
    keep: f64,
    kappa: f64, horizon: f64, ramp: f64, open_lo: f64, small_rate: f64, capacity: f64, arrived: f64,
    kept: Vec<Vec<Options>>,
    multi_rate: [f64; 4], multi_cpu: [u32; 4], multi_horizon: f64, gamma: f64, fills: Vec<[f64; 64]>, blend: f64,
}

impl Ampacity {
    pub fn new(mix: &JobMix, capacity: f64) -> Self {
        let shared = mix.classes().iter().filter(|(shape, _)| shape.is_shared());
        let prices = SharePrices::of(shared.map(|(shape, p)| (shape.device_milli, *p)));
        let price = |shape: &Shape| if shape.is_shared() { prices.share(shape.device_milli) } else { f64::from(shape.devices) };
        let mut classes: Vec<(Shape, f64, f64)> = mix.classes().iter().filter(|(s, _)| s.devices > 0).map(|(s, p)| (*s, p * price(s), price(s))).collect();
        let total: f64 = classes.iter().map(|c| c.1).sum();
        classes.iter_mut().for_each(|c| c.1 /= total);
        let mut mean_cpu = 0.0; let mut gp = 0.0;
        let mut by_size = vec![(0.0, 0.0); 101];
        for (s, p) in mix.classes() {
            if s.devices > 0 {
            mean_cpu += p * f64::from(s.cpu_milli); gp += p * price(s); }
            if s.is_shared() { let e = &mut by_size[usize::from(s.device_milli).div_ceil(10)]; e.0 += p * f64::from(s.cpu_milli); e.1 += p; }
        }
        mean_cpu /= gp;
        let asked: f64 = mix.classes().iter().map(|(s, p)| p * s.total_milli() as f64 / 1000.0).sum();
        let small_rate = mix.classes().iter().filter(|(s, _)| s.is_shared() && prices.hole(WHOLE - s.device_milli) > 1e-9).map(|(s, p)| p * prices.share(s.device_milli)).sum::<f64>() / asked;
        // expected value of a hole with cpu
        let mut levels: Vec<Vec<(usize, f64)>> = vec![Vec::new(); 101];
        for (s, p) in mix.classes() { if s.is_shared() { levels[usize::from(s.device_milli).div_ceil(10)].push(((s.cpu_milli as usize).div_ceil(1000), *p)); } }
        for l in &mut levels { let t: f64 = l.iter().map(|x| x.1).sum(); l.iter_mut().for_each(|x| x.1 /= t); }
        let mut fills = vec![[0.0f64; 64]; 101];
        for f in 1..=100usize { for c in 0..64usize {
            let mut best: f64 = fills[f - 1][c];
            for s in 1..=f { if levels[s].is_empty() { continue; }
                let v: f64 = levels[s].iter().map(|&(l, p)| if l <= c { p * (prices.share((s * 10) as u16) + fills[f - s][c - l]) } else { 0.0 }).sum();
                best = best.max(v);
            }
            fills[f][c] = best;
        } }
        let mut multi_rate = [0.0; 4]; let mut multi_cpu = [0u32; 4]; let mut mp = [0.0; 4];
        for (s, p) in mix.classes() { let k = match s.devices { 0 | 1 => continue, 2 | 3 => 1, 4..=7 => 2, _ => 3 }; multi_rate[k] += p * f64::from(s.devices) / asked; mp[k] += p; multi_cpu[k] += (p * 1e6 * f64::from(s.cpu_milli) / 1e6) as u32; }
        for k in 1..4 { if mp[k] > 0.0 { multi_cpu[k] = (f64::from(multi_cpu[k]) / mp[k]) as u32; } }
        // cpu of a hole's best fill, greedy: best single value then rest
        let mut fill_cpu = vec![0.0; 1001];
        for f in 1..1000usize {
            let mut left = f / 10; let mut cpu = 0.0;
            while left > 0 {
                let mut found = None;
                for size in (1..=left).rev() {
                    if by_size[size].1 > 0.0 && (prices.share((size * 10) as u16) + prices.hole(((left - size) * 10) as u16) - prices.hole((left * 10) as u16)).abs() < 1e-9 && prices.share((size*10) as u16) > 1e-9 { found = Some(size); break; }
                }
                match found { Some(size) => { cpu += by_size[size].0 / by_size[size].1; left -= size; } None => left -= 1 }
            }
            fill_cpu[f] = cpu;
        }
        if std::env::var("PRICES").is_ok() {
            for m in (10..1000).step_by(10) { if (prices.share(m) - f64::from(m) / 1000.0).abs() > 1e-9 { eprintln!("{m} {:.3}", prices.share(m)); } }
            eprintln!("mean cpu {mean_cpu} {fill_cpu:?}");
        }
        Self { prices, classes, fill_cpu, mean_cpu, quant: knob("QUANT", 100.0), tight: knob("TIGHT", 0.0), cpu: knob("CPU", 1.0), open: knob("OPEN", 0.0), pack: knob("PACK", 0.0), hole: knob("HOLE", 1.0), multi: knob("MULTI", 1.0), keep: knob("KEEP", 0.0), kappa: knob("KAPPA", 0.5), horizon: knob("HORIZON", 1.3), ramp: knob("RAMP", 0.2), open_lo: knob("LO", 0.0), small_rate, capacity, arrived: 0.0, kept: Vec::new(), multi_rate, multi_cpu, multi_horizon: knob("MH", 1.0), gamma: knob("GAMMA", 1.0), fills, blend: knob("BLEND", 0.0) }
    }

    fn hole_value(&self, share: u16, cpu: f64) -> f64 {
        let full = self.prices.hole(share);
        let c = ((cpu / 1000.0) as usize).min(63);
        (1.0 - self.blend) * self.fills[usize::from(share) / 10][c] + self.blend * full * (cpu / self.fill_cpu[usize::from(share)].max(1.0)).min(1.0)
    }

    fn value(&self, node: &Node) -> [f64; 4] {
        let mut multi = [0.0; 4];
        let whole = node.whole_free();
        let mut value = 0.0;
        let cpu = node.cpu_free_milli;
        let g = f64::from(whole);
        let hole_cpu: f64 = node.shares().filter(|&s| s < WHOLE).map(|s| self.fill_cpu[usize::from(s)]).sum();
        let need = hole_cpu + g * self.mean_cpu;
        let rho = (f64::from(cpu) / need.max(1.0)).min(1.0);
        let mut holes = 0.0;
        if hole_cpu > 0.0 {
            let mut shares: [u16; 8] = node.free_milli;
            shares.sort_unstable();
            let mut left = if rho < 1.0 { f64::from(cpu) * hole_cpu / need } else { f64::from(cpu) - g * self.mean_cpu };
            for &share in shares.iter().rev().filter(|&&s| s < WHOLE && s > 0) {
                holes += self.hole_value(share, left);
                left = (left - self.fill_cpu[usize::from(share)]).max(0.0);
            }
        }
        if whole > 0 {
            let cpu = cpu - ((rho * hole_cpu) as u32).min(cpu);
            for (shape, weight, price) in &self.classes {
                if !shape.models.accepts(node.model) { continue; }
                let times = if shape.cpu_milli == 0 { 64 } else { cpu / shape.cpu_milli };
                let times = if shape.devices > 1 { times.min(u32::from(whole / shape.devices)) } else { times };
                let v = self.cpu * weight * (price * f64::from(times)).min(g);
                match shape.devices { 0 | 1 => value += v, 2 | 3 => multi[1] += v, 4..=7 => multi[2] += v, _ => multi[3] += v }
            }
            if whole == node.devices { value += self.keep * g; }
        }
        multi[0] = value + self.hole * holes;
        multi
    }
}


#[derive(Debug, Clone, Copy)]
struct Options { version: u32, fill: Option<([f64; 4], u8)>, open: Option<([f64; 4], u8)> }

impl Ampacity {
    fn options(&self, node: &Node, shape: &Shape) -> (Option<([f64; 4], u8)>, Option<([f64; 4], u8)>) {
        if !node.fits(shape) {
            return (None, None);
        }
        let before = self.value(node);
        let cost = |device: u8, left: u16| {
            let mut value = self.value(&node.with(shape, device)?);
            value.iter_mut().zip(before).for_each(|(v, b)| *v = b - *v);
            value[0] += self.tight * f64::from(left) / 1000.0;
            Some((value, device))
        };
        if !shape.is_shared() {
            return (cost(0, 0), None);
        }
        let mut fill: Option<([f64; 4], u8)> = None;
        let mut open: Option<([f64; 4], u8)> = None;
        for (device, share) in node.shares().enumerate() {
            if share < shape.device_milli || (share == WHOLE && open.is_some()) {
                continue;
            }
            let Some(c) = cost(device as u8, share - shape.device_milli) else { continue };
            if share == WHOLE { open = Some(c); } else if fill.is_none_or(|f| c.0[0] < f.0[0]) { fill = Some(c); }
        }
        (fill, open)
    }

    /// Weights of the multi-device parts.
    fn scarcity(&self, cluster: &Cluster) -> [f64; 4] {
        let mut stock = [0.0; 4];
        for node in cluster.nodes() {
            let whole = node.whole_free();
            for (k, size) in [(1, 2), (2, 4), (3, 8)] { if node.cpu_free_milli >= self.multi_cpu[k] { stock[k] += f64::from(whole / size * size); } }
        }
        let rest = (self.multi_horizon * self.capacity - self.arrived).max(0.0);
        let mut m = [1.0; 4];
        for k in 1..4 { m[k] = self.multi * (self.multi_rate[k] * rest / stock[k].max(1e-9)).min(1.0).powf(self.gamma); }
        m
    }
}

impl Policy for Ampacity {
    fn choose(&mut self, cluster: &Cluster, task: &Task) -> Option<Placement> {
        self.arrived += task.shape.total_milli() as f64 / 1000.0;
        let small = task.shape.is_shared() && self.prices.hole(WHOLE - task.shape.device_milli) > 1e-9;
        let stock: f64 = if small { cluster.nodes().iter().map(|n| n.shares().filter(|&s| s < WHOLE).map(|s| self.prices.hole(s)).sum::<f64>()).sum() } else { 0.0 };
        let rest = self.small_rate * (self.horizon * self.capacity - self.arrived).max(0.0);
        let u = stock / (self.kappa * rest).max(1e-9);
        let opening = if small { self.open_lo + (self.open - self.open_lo) * ((u - 1.0 + self.ramp) / (2.0 * self.ramp)).clamp(0.0, 1.0) } else { 0.0 };
        let m = self.scarcity(cluster);
        let at = task.shape_id as usize;
        let mut kept = std::mem::take(&mut self.kept);
        if kept.len() <= at { kept.resize(at + 1, Vec::new()); }
        let row = &mut kept[at];
        row.resize(cluster.nodes().len(), Options { version: u32::MAX, fill: None, open: None });
        let mut best: Option<(i64, Placement)> = None;
        for (index, ((node, &version), k)) in cluster.nodes().iter().zip(cluster.versions()).zip(row).enumerate() {
            if k.version != version {
                let (fill, open) = self.options(node, &task.shape);
                *k = Options { version, fill, open };
            }
            if node.memory_free_mib < task.memory_mib { continue; }
            for option in [k.fill.map(|o| (o, 0.0)), k.open.map(|o| (o, opening))].into_iter().flatten() {
                let (option, extra) = option;
                let c: f64 = option.0.iter().zip(m).map(|(a, b)| a * b).sum::<f64>() + extra;
                let v = (c * self.quant).round() as i64;
                if best.is_none_or(|(b, _)| v < b) { best = Some((v, Placement { node: index, device: option.1 })); }
            }
        }
        self.kept = kept;
        best.map(|(_, p)| p)
    }
}
