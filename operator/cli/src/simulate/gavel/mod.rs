//! `ampacity simulate gavel`: the continuous-multiple experiment of Gavel (Narayanan et al., OSDI'20): jobs of 1 to 8 GPUs and of
//! measured throughput arrive at random on V100, P100 and K80, and the mean time to completion is taken of some in the middle.

mod cluster;
mod jobs;
mod options;
mod report;
mod throughputs;
mod worth;

use ampacity_placement::{MicroUsd, Objective};

use self::cluster::{Manners, Worker};
use self::jobs::Jobs;
pub(crate) use self::options::GavelArgs;
use self::options::{ObjectiveChoice, Order, PolicyChoice};
use self::report::{Report, Type};
use self::throughputs::Model;
use super::timeline::{Played, Player, Policy, totals_of};
use super::{Ended, progress, rounded};
use crate::exit::Exit;
use crate::input::{BadInput, Source};

/// Arrivals go on until the measured jobs have ended, but not beyond this times their number: with a rate that the cluster cannot carry,
/// the queue would grow without end.
const MAX_TIMES: usize = 3;

pub(super) fn run(args: &GavelArgs) -> Ended {
    let throughputs = Source::File(args.throughputs.clone());
    let bar = progress(args.measure.to as u64);
    let report = simulate(&throughputs, args, |ended| bar.set_position(ended));
    bar.finish_and_clear();
    let report = match report {
        Ok(report) => report,
        Err(errors) => return Ok(Err(errors)),
    };
    args.output.print(&report, report::text)?;
    Ok(Ok(if report.totals.never_placed == 0 {
        Exit::Success
    } else {
        Exit::NotAllPlaced
    }))
}

/// The table, JSON and YAML of a run.
///
/// # Errors
/// What is wrong with the throughputs.
pub(crate) fn all_forms(
    throughputs: &Source,
    args: &GavelArgs,
) -> anyhow::Result<Result<String, Vec<BadInput>>> {
    match simulate(throughputs, args, |_| {}) {
        Ok(report) => super::all_forms(&report, report::text).map(Ok),
        Err(errors) => Ok(Err(errors)),
    }
}

/// Runs the experiment; `tick` hears of the number of jobs that have ended.
fn simulate(
    throughputs: &Source,
    args: &GavelArgs,
    tick: impl FnMut(u64),
) -> Result<Report, Vec<BadInput>> {
    let names: Vec<&str> = args
        .cluster
        .0
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    let models = throughputs::read(throughputs, &names)?;
    let workers = workers(&models, args);
    let gpus: u64 = workers.iter().map(|worker| u64::from(worker.gpus)).sum();
    let engine = args.policy == PolicyChoice::Ampacity;
    let manners = Manners {
        objective: match args.objective {
            ObjectiveChoice::Worth | ObjectiveChoice::Cost => Objective::Cost,
            ObjectiveChoice::Time => Objective::Time,
        },
        order: if engine { args.order } else { Order::Arrival },
        max_slowdown: if engine {
            args.max_slowdown
        } else {
            f64::INFINITY
        },
        gpus_per_node: args.gpus_per_node,
        restore_seconds: i64::from(args.restore_seconds),
    };
    let window = args.measure.from..args.measure.to;
    let most = args.measure.to.saturating_mul(MAX_TIMES);
    let mut alone_seconds = 0.0;
    let arrivals = Jobs::new(&models, args.jobs_per_hour, args.seed)
        .take(most)
        .inspect(|job| {
            if window.contains(&job.number) {
                let fastest = job.rates.iter().flatten().copied().fold(0.0, f64::max);
                alone_seconds += job.steps / fastest;
            }
        })
        .map(|job| cluster::arrival(&job, &workers, &manners));
    let policy = if engine {
        Policy::Engine
    } else {
        Policy::FirstFit
    };
    let mut player = Player::new(cluster::fleet(&workers, args.gpus_per_node), 0)
        .with_policy(policy)
        .until_ended(window.clone());
    let preempts = engine && !args.no_preemption;
    if preempts {
        let order = manners.order;
        player = player.with_preemption(Box::new(move |arrival, job| {
            cluster::priority_of_rest(order, arrival, job)
        }));
    }
    let mut played = player.play(arrivals, tick);
    bill(&mut played, &workers);

    let totals = totals_of(&played, window.clone(), gpus);
    let jobs = played.jobs.get(window).unwrap_or_default();
    let on = |name: &str| {
        jobs.iter()
            .filter_map(|job| job.runs.last())
            .filter(|ran| ran.decision.reservation.accelerator_type == name)
            .count()
    };
    let stops: usize = jobs
        .iter()
        .map(|job| job.runs.len().saturating_sub(1))
        .sum();
    Ok(Report {
        experiment: "gavel",
        policy: if engine { "ampacity" } else { "fifo" },
        objective: engine.then_some(match args.objective {
            ObjectiveChoice::Worth => "worth",
            ObjectiveChoice::Cost => "cost",
            ObjectiveChoice::Time => "time",
        }),
        order: engine.then_some(match args.order {
            Order::Arrival => "arrival",
            Order::Shortest => "shortest",
            Order::Due => "due",
        }),
        restore_seconds: preempts.then_some(args.restore_seconds),
        stops_per_job: rounded(stops as f64 / jobs.len().max(1) as f64, 4),
        max_slowdown: engine.then_some(manners.max_slowdown),
        jobs_per_hour: args.jobs_per_hour,
        seed: args.seed,
        cluster: workers
            .iter()
            .map(|worker| Type {
                name: worker.name.clone(),
                gpus: worker.gpus,
                usd_per_gpu_hour: worker.usd_per_gpu_hour.0 as f64 / 1e6,
                weight_per_gpu_hour: worker.weight_per_gpu_hour.0 as f64 / 1e6,
                measured_jobs: on(&worker.name),
            })
            .collect(),
        gpus_per_node: args.gpus_per_node,
        measured_from: args.measure.from,
        measured_to: args.measure.to,
        arrived: played.jobs.len(),
        mean_completion_hours: rounded(totals.completion_seconds.mean / 3600.0, 4),
        mean_completion_hours_alone: rounded(
            alone_seconds / 3600.0 / (args.measure.to - args.measure.from).max(1) as f64,
            4,
        ),
        usd_per_job: rounded(totals.usd / (totals.finished.max(1) as f64), 4),
        totals,
    })
}

/// The types with their prices, and what they weigh where a type is chosen.
fn workers(models: &[Model], args: &GavelArgs) -> Vec<Worker> {
    let gpus: Vec<u32> = args.cluster.0.iter().map(|&(_, gpus)| gpus).collect();
    let worth = worth::of(models, &gpus);
    let types = args.cluster.0.iter().zip(worth);
    types
        .map(|((name, gpus), worth)| {
            let price = args.prices.0.iter().find(|(priced, _)| priced == name);
            let usd_per_gpu_hour = price.map_or(MicroUsd::ZERO, |&(_, usd)| usd);
            let weighs_worth =
                args.policy == PolicyChoice::Ampacity && args.objective == ObjectiveChoice::Worth;
            Worker {
                name: name.clone(),
                gpus: *gpus,
                usd_per_gpu_hour,
                weight_per_gpu_hour: if weighs_worth {
                    MicroUsd((worth * 1e6).round() as i64)
                } else {
                    usd_per_gpu_hour
                },
            }
        })
        .collect()
}

/// Puts prices on what ran, whatever types were chosen by.
fn bill(played: &mut Played, workers: &[Worker]) {
    for run in played.jobs.iter_mut().flat_map(|job| &mut job.runs) {
        let held = &run.decision.reservation;
        let worker = workers
            .iter()
            .find(|worker| worker.name == held.accelerator_type);
        let usd = worker.map_or(MicroUsd::ZERO, |worker| worker.usd_per_gpu_hour);
        let gpus = i64::try_from(run.units()).unwrap_or(i64::MAX);
        run.decision.usd_per_hour = MicroUsd(usd.0.saturating_mul(gpus));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One GPU for the 1st, all 8 of the only type for the 2nd, one for the 3rd: 100 s each, a second apart.
    fn three_jobs(policy: Policy) -> Played {
        let workers = [Worker {
            name: "v100".into(),
            gpus: 8,
            usd_per_gpu_hour: MicroUsd(1_000_000),
            weight_per_gpu_hour: MicroUsd(1_000_000),
        }];
        let manners = Manners {
            objective: Objective::Cost,
            order: Order::Arrival,
            max_slowdown: 1.0,
            gpus_per_node: 4,
            restore_seconds: 0,
        };
        let arrivals = [1, 8, 1].into_iter().enumerate().map(|(number, gpus)| {
            let job = jobs::Job {
                number,
                arrival_seconds: number as f64,
                gpus,
                steps: 100.0,
                model: "m".into(),
                rates: vec![Some(1.0)],
            };
            cluster::arrival(&job, &workers, &manners)
        });
        Player::new(cluster::fleet(&workers, 4), 0)
            .with_policy(policy)
            .play(arrivals, |_| {})
    }

    fn starts(played: &Played) -> Vec<i64> {
        let start = |job: &super::super::timeline::Outcome| job.start_seconds().unwrap();
        played.jobs.iter().map(start).collect()
    }

    #[test]
    fn nobody_overtakes_in_order_of_arrival_and_a_small_job_may_with_the_engine() {
        assert_eq!(starts(&three_jobs(Policy::FirstFit)), [0, 100, 200]);
        let engine = three_jobs(Policy::Engine);
        // The engine may start the small job at once; whether the gang then waits longer is for the engine to say.
        let starts = starts(&engine);
        assert_eq!(starts.first(), Some(&0));
        assert!(starts.iter().all(|start| *start <= 202), "{starts:?}");
        for sample in &engine.samples {
            assert!(sample.devices <= 8, "{sample:?}");
        }
    }

    #[test]
    fn dollars_and_devices_are_those_of_the_jobs_measured() {
        let played = three_jobs(Policy::FirstFit);
        let all = totals_of(&played, 0..3, 8);
        // Ten GPUs for 100 s at a dollar an hour; 1000 of 8 × 300 GPU seconds.
        assert!((all.usd - 1000.0 / 3600.0).abs() < 1e-5, "{all:?}");
        assert_eq!(all.makespan_seconds, 300);
        assert!((all.utilisation_percent - 100.0 * 1000.0 / 2400.0).abs() < 1e-3);
        let gang = totals_of(&played, 1..2, 8);
        assert_eq!(
            (gang.jobs, gang.queue_seconds.max, gang.makespan_seconds),
            (1, 99, 199)
        );
        assert_eq!(totals_of(&played, 3..9, 8).jobs, 0);
    }
}
