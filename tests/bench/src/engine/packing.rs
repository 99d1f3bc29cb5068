//! Packing and power on the openb trace, by the protocols of FGD (Weng et al., USENIX ATC'23) and PWR (CCGrid'25).

use std::path::Path;

use serde_json::Value;

use crate::ampacity::{number, simulate};
use ampacity_bench::figure::{Figure, Goal, counted, mean, range, shown};

/// The lists with published results, and the percent of GPUs that FGD has allocated at 130 % arrived: means of 10 seeds
/// (`analysis_allo_discrete.csv` of hkust-adsl/kubernetes-scheduler-simulator, commit 8f3d641).
const PUBLISHED: [(&str, f64); 17] = [
    ("default", 95.39),
    ("cpu050", 95.21),
    ("cpu100", 95.35),
    ("cpu200", 95.04),
    ("cpu250", 93.41),
    ("gpushare40", 94.15),
    ("gpushare60", 91.40),
    ("gpushare80", 89.30),
    ("gpushare100", 86.90),
    ("multigpu20", 95.65),
    ("multigpu30", 96.46),
    ("multigpu40", 96.99),
    ("multigpu50", 97.18),
    ("gpuspec10", 94.95),
    ("gpuspec20", 94.84),
    ("gpuspec25", 94.74),
    ("gpuspec33", 94.55),
];
/// The first of the published seeds.
const FIRST_SEED: u64 = 42;
/// Loads at which watts are compared, in percent arrived.
const LOADS: [u64; 7] = [30, 50, 70, 80, 90, 95, 100];

/// The runs of a policy on a list, one per seed.
fn runs(folder: &Path, list: &str, policy: &str, seeds: u64) -> Vec<Vec<String>> {
    let file = |name: String| folder.join(name).display().to_string();
    (FIRST_SEED..FIRST_SEED + seeds)
        .map(|seed| {
            vec![
                "openb".to_owned(),
                "--nodes".to_owned(),
                file("openb_node_list_gpu_node.csv".to_owned()),
                "--pods".to_owned(),
                file(format!("openb_pod_list_{list}.csv")),
                "--policy".to_owned(),
                policy.to_owned(),
                "--tune".to_owned(),
                "1.3".to_owned(),
                "--seed".to_owned(),
                seed.to_string(),
            ]
        })
        .collect()
}

/// A quantity of a run at a load; not a number where nothing arrived at it.
fn at(run: &Value, percent: u64, field: &str) -> f64 {
    let points = run.get("points").and_then(Value::as_array);
    points
        .into_iter()
        .flatten()
        .find(|point| point.get("arrivedPercent").and_then(Value::as_u64) == Some(percent))
        .map_or(f64::NAN, |point| number(point, field))
}

/// Prints what is left unallocated on every published list. `each`: a line per list.
///
/// # Errors
/// When a run failed.
pub(crate) fn measure(folder: &Path, seeds: u64, each: bool) -> anyhow::Result<()> {
    let mut all = Vec::new();
    for policy in ["ampacity", "fgd"] {
        for (list, _) in PUBLISHED {
            all.extend(runs(folder, list, policy, seeds));
        }
    }
    let results = simulate(&all)?;
    let seeds_each = usize::try_from(seeds).unwrap_or(1).max(1);
    let mut allocated = results.chunks(seeds_each).map(|runs| {
        let values: Vec<f64> = runs
            .iter()
            .map(|run| at(run, 130, "allocatedGpuPercent"))
            .collect();
        (mean(&values), range(&values))
    });
    let ours: Vec<_> = allocated.by_ref().take(PUBLISHED.len()).collect();
    let fgd: Vec<_> = allocated.collect();
    let less = |ours: f64, theirs: f64| 100.0 * (1.0 - (100.0 - ours) / (100.0 - theirs));
    let (mut than_published, mut than_here) = (Vec::new(), Vec::new());
    for (((list, published), (ours, (least, most))), (fgd, _)) in
        PUBLISHED.iter().zip(&ours).zip(&fgd)
    {
        than_published.push(less(*ours, *published));
        than_here.push(less(*ours, *fgd));
        if each {
            Figure::one(
                format!("openb {list}, allocated at 130 % arrived"),
                "%",
                *ours,
                format!(
                    "mean of {}, {least:.2} to {most:.2}; FGD published {published:.2}, here {fgd:.2}; {:.1} % less unallocated",
                    counted(seeds, "seed"),
                    less(*ours, *published)
                ),
            )
            .print();
        }
    }
    let spread = |values: &[f64]| {
        let (least, most) = range(values);
        format!(
            "mean over 17 lists of {} each; {} to {} by list",
            counted(seeds, "run"),
            shown(least),
            shown(most)
        )
    };
    Figure::one(
        "openb, unallocated GPUs at 130 % arrived, below FGD's published",
        "%",
        mean(&than_published),
        spread(&than_published),
    )
    .goal(Goal::AtLeast(20.0))
    .print();
    Figure::one(
        "openb, the same on the list where it is least",
        "%",
        range(&than_published).0,
        "never below FGD",
    )
    .goal(Goal::AtLeast(0.0))
    .print();
    Figure::one(
        "openb, unallocated GPUs at 130 % arrived, below FGD's in the same run",
        "%",
        mean(&than_here),
        spread(&than_here),
    )
    .print();
    Ok(())
}

/// Prints what is saved of FGD's watts on the default list.
///
/// # Errors
/// When a run failed.
pub(crate) fn power(folder: &Path, seeds: u64) -> anyhow::Result<()> {
    let policies = ["fgd", "fgd-power", "ampacity-power"];
    let all: Vec<_> = policies
        .iter()
        .flat_map(|policy| runs(folder, "default", policy, seeds))
        .collect();
    let results = simulate(&all)?;
    let by_policy: Vec<&[Value]> = results
        .chunks(usize::try_from(seeds).unwrap_or(1).max(1))
        .collect();
    let [fgd, peer, ours] = by_policy.as_slice() else {
        anyhow::bail!(
            "{} runs where there should be three policies",
            results.len()
        );
    };
    let of = |runs: &[Value], percent, field| -> Vec<f64> {
        runs.iter().map(|run| at(run, percent, field)).collect()
    };
    for percent in LOADS {
        let watts = |runs| mean(&of(runs, percent, "watts"));
        let saved = |runs| 100.0 * (1.0 - watts(runs) / watts(fgd));
        Figure::one(
            format!("openb default, watts saved against FGD at {percent} % arrived"),
            "%",
            saved(ours),
            format!(
                "mean of {}, {:.1} kW; PWR100+FGD900 in the same run {:.1} kW",
                counted(seeds, "seed"),
                watts(ours) / 1e3,
                watts(peer) / 1e3
            ),
        )
        .goal(Goal::AtLeast(saved(peer)))
        .print();
    }
    let grar = of(ours, 100, "grar");
    let (least, most) = range(&grar);
    Figure::one(
        "openb default, power-aware, GRAR at 100 % arrived",
        "",
        mean(&grar),
        format!(
            "mean of {}, {least:.3} to {most:.3}; FGD {:.3}, PWR100+FGD900 {:.3}",
            counted(seeds, "seed"),
            mean(&of(fgd, 100, "grar")),
            mean(&of(peer, 100, "grar"))
        ),
    )
    .goal(Goal::AtLeast(0.953))
    .print();
    Ok(())
}
