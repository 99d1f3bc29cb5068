//! Runs packing policies over the openb traces and prints what they leave unallocated, and the watts.
//!
//! `AMPACITY_DATA=DIR cargo run --release -p ampacity-placement --example openb -- POLICY,… LIST,…|published SEEDS`

use std::path::{Path, PathBuf};

use ampacity_placement::packing::{Experiment, LoadPoint, NodeRow, PodRow, PolicyName};

type Failure = Box<dyn std::error::Error>;

const PUBLISHED: &str = "default,cpu050,cpu100,cpu200,cpu250,gpushare40,gpushare60,gpushare80,gpushare100,multigpu20,multigpu30,multigpu40,multigpu50,gpuspec10,gpuspec20,gpuspec25,gpuspec33";

fn table<T>(path: &Path, parse: impl Fn(&[&str]) -> Option<T>) -> Result<Vec<T>, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let row = |line: &str| {
        parse(&line.split(',').collect::<Vec<_>>())
            .ok_or_else(|| format!("bad row in {}: {line}", path.display()).into())
    };
    text.lines().skip(1).map(row).collect()
}

fn number<T: std::str::FromStr>(row: &[&str], at: usize) -> Option<T> {
    row.get(at)?.parse().ok()
}

fn node(row: &[&str]) -> Option<NodeRow> {
    let name = row.first()?.to_string();
    Some(NodeRow {
        name,
        cpu_milli: number(row, 1)?,
        memory_mib: number(row, 2)?,
        devices: number(row, 3)?,
        model: row.get(4)?.to_string(),
    })
}

fn pod(row: &[&str]) -> Option<PodRow> {
    let models = row.get(5).map(|models| {
        models
            .split('|')
            .filter(|model| !model.is_empty())
            .map(str::to_owned)
            .collect()
    });
    Some(PodRow {
        name: row.first()?.to_string(),
        cpu_milli: number(row, 1)?,
        memory_mib: number(row, 2)?,
        devices: number(row, 3)?,
        device_milli: number(row, 4).unwrap_or(0),
        models: models.unwrap_or_default(),
    })
}

/// The mean of a quantity at a load over all runs, and its standard deviation.
fn at(runs: &[Vec<LoadPoint>], percent: u32, of: impl Fn(&LoadPoint) -> f64) -> (f64, f64) {
    let values: Vec<f64> = runs
        .iter()
        .filter_map(|run| run.iter().find(|point| point.arrived_percent == percent))
        .map(of)
        .collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let variance = values
        .iter()
        .map(|value| (value - mean).powi(2))
        .sum::<f64>()
        / values.len() as f64;
    (mean, variance.sqrt())
}

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [policies, lists, seeds] = args.as_slice() else {
        return Err("usage: openb POLICY,… LIST,…|published SEEDS".into());
    };
    let seeds: u64 = seeds.parse()?;
    let data = std::env::var("AMPACITY_DATA")
        .map_err(|_| "set AMPACITY_DATA to the folder that holds alibaba-gpu-2023")?;
    let data = PathBuf::from(data).join("alibaba-gpu-2023");
    let nodes = table(&data.join("openb_node_list_gpu_node.csv"), node)?;
    for wanted in policies.split(',') {
        let policy = PolicyName::ALL
            .into_iter()
            .find(|policy| policy.as_str() == wanted)
            .ok_or_else(|| format!("no policy {wanted}"))?;
        let mut left = Vec::new();
        for list in (if lists == "published" {
            PUBLISHED
        } else {
            lists
        })
        .split(',')
        {
            let pods = table(&data.join(format!("openb_pod_list_{list}.csv")), pod)?;
            let started = std::time::Instant::now();
            let run = |seed| {
                Experiment {
                    nodes: &nodes,
                    pods: &pods,
                    tune: 1.3,
                    seed,
                    policy,
                }
                .run()
            };
            let runs: Vec<Vec<LoadPoint>> = (42..42 + seeds).map(run).collect();
            let seconds = started.elapsed().as_secs_f64() / seeds as f64;
            let (allocated, spread) = at(&runs, 130, |point| point.allocated_percent);
            left.push(100.0 - allocated);
            let by_load = |of: &dyn Fn(&LoadPoint) -> f64, digits: usize| {
                let value = |percent| format!("{:.digits$}", at(&runs, percent, of).0);
                [30, 50, 70, 80, 90, 95, 100, 110].map(value).join(" ")
            };
            println!(
                "{wanted:14} {list:12} allocated {allocated:.2} ± {spread:.2} at 130; at 30 50 70 80 90 95 100 110: allocated {}, kW {}, GRAR at 100 {:.3}; {seconds:.2} s a run",
                by_load(&|point| point.allocated_percent, 2),
                by_load(&|point| point.watts / 1000.0, 1),
                at(&runs, 100, |point| point.grar).0,
            );
        }
        println!(
            "{wanted:14} unallocated at 130, mean over lists: {:.3}",
            left.iter().sum::<f64>() / left.len() as f64
        );
    }
    Ok(())
}
