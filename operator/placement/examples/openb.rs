//! Runs packing policies over the openb traces and prints what they leave unallocated.

use std::path::{Path, PathBuf};

use ampacity_placement::packing::*;

type Failure = Box<dyn std::error::Error>;

fn rows(path: &Path) -> Result<Vec<Vec<String>>, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Ok(text.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect()).collect())
}

fn field<T: std::str::FromStr>(row: &[String], at: usize) -> Option<T> {
    row.get(at)?.parse().ok()
}

fn nodes(path: &Path) -> Result<Vec<NodeRow>, Failure> {
    let parse = |row: &Vec<String>| {
        Some(NodeRow { name: row.first()?.clone(), cpu_milli: field(row, 1)?, memory_mib: field(row, 2)?, devices: field(row, 3)?, model: row.get(4)?.clone() })
    };
    rows(path)?.iter().map(|row| parse(row).ok_or_else(|| format!("bad node {row:?}").into())).collect()
}

fn pods(path: &Path) -> Result<Vec<PodRow>, Failure> {
    let parse = |row: &Vec<String>| {
        let models = row.get(5).map(|models| models.split('|').filter(|m| !m.is_empty()).map(str::to_owned).collect());
        Some(PodRow { name: row.first()?.clone(), cpu_milli: field(row, 1)?, memory_mib: field(row, 2)?, devices: field(row, 3)?, device_milli: field(row, 4).unwrap_or(0), models: models.unwrap_or_default() })
    };
    rows(path)?.iter().map(|row| parse(row).ok_or_else(|| format!("bad pod {row:?}").into())).collect()
}

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [policies, lists, seeds, ..] = args.as_slice() else { return Err("usage: openb POLICY,… LIST,…|all SEEDS".into()) };
    let seeds: u64 = seeds.parse()?;
    let data = PathBuf::from(std::env::var("AMPACITY_DATA").unwrap_or("../shared/data".into())).join("alibaba-gpu-2023");
    let nodes = nodes(&data.join("openb_node_list_gpu_node.csv"))?;
    let published = "default,cpu050,cpu100,cpu200,cpu250,gpushare40,gpushare60,gpushare80,gpushare100,multigpu20,multigpu30,multigpu40,multigpu50,gpuspec10,gpuspec20,gpuspec25,gpuspec33";
    let lists = if lists == "all" { published } else { lists };
    for policy in policies.split(',') {
        for list in lists.split(',') {
            let pods = pods(&data.join(format!("openb_pod_list_{list}.csv")))?;
            let mix = typical_mix(&nodes, &pods, 0.95);
            let full = typical_mix(&nodes, &pods, std::env::var("COVER").ok().and_then(|v| v.parse().ok()).unwrap_or(1.0));
            let mut finals = Vec::new();
            let mut series = vec![0.0; 131];
            let started = std::time::Instant::now();
            // Where the unallocated is: shares on used devices, whole devices without CPU, others.
            let mut left = [0.0; 3];
            let mut holes = std::collections::BTreeMap::<u16, (f64, f64)>::new();
            for seed in 42..42 + seeds {
                let arrivals = Arrivals::new(&nodes, &pods, 1.3, seed);
                let capacity = arrivals.cluster.capacity_milli() as f64;
                let mut chosen: Box<dyn Policy> = match policy {
                    "fgd" => Box::new(Scored::new(Fgd::new(mix.clone()))),
                    "ampacity" => Box::new(Ampacity::new(&full, arrivals.cluster.capacity_milli() as f64 / 1000.0)),
                    "best-fit" => Box::new(Scored::new(BestFit)),
                    "random" => Box::new(Random::new(seed)),
                    other => return Err(format!("no policy {other}").into()),
                };
                let mut buckets = vec![(0.0, 0.0); 132];
                let end = run(&arrivals, chosen.as_mut(), &mix, |_, sample| {
                    let at = (100.0 * sample.arrived_milli as f64 / capacity).round() as usize;
                    if let Some(bucket) = buckets.get_mut(at) {
                        bucket.0 += 100.0 * sample.allocated_milli as f64 / capacity;
                        bucket.1 += 1.0;
                    }
                });
                for (sum, bucket) in series.iter_mut().zip(&buckets) {
                    *sum += bucket.0 / bucket.1 / seeds as f64;
                }
                finals.push(buckets[130].0 / buckets[130].1);
                for node in end.nodes() {
                    for share in node.shares() {
                        let kind = if share < 1000 { 0 } else if node.cpu_free_milli < 3152 { 1 } else { 2 };
                        if share > 0 {
                            let hole = holes.entry(share).or_default();
                            hole.0 += 0.1 * f64::from(share) / capacity * 1000.0 / seeds as f64;
                            if node.cpu_free_milli < 4000 { hole.1 += 0.1 * f64::from(share) / capacity * 1000.0 / seeds as f64; }
                        }
                        left[kind] += 100.0 * f64::from(share) / capacity / seeds as f64;
                    }
                }
            }
            let mean = finals.iter().sum::<f64>() / finals.len() as f64;
            println!(
                "{policy:10} {list:12} {mean:6.2}  unallocated {:5.2} = shares {:.2} + no cpu {:.2} + other {:.2}   at 80/90/95/100/110: {:.2} {:.2} {:.2} {:.2} {:.2}  {:.2} s a run",
                100.0 - mean, left[0], left[1], left[2], series[80], series[90], series[95], series[100], series[110],
                started.elapsed().as_secs_f64() / seeds as f64
            );
            if std::env::var("HOLES").is_ok() {
                let mut sorted: Vec<_> = holes.into_iter().collect();
                sorted.sort_by(|a, b| b.1.0.total_cmp(&a.1.0));
                let shown: Vec<String> = sorted.iter().take(16).map(|(share, (all, starved))| format!("{share}: {all:.2} ({starved:.2})")).collect();
                println!("    holes, % (of which < 4 CPU left): {}", shown.join(", "));
            }
        }
    }
    Ok(())
}
