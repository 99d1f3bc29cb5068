//! What is printed.

use serde::Serialize;

use crate::simulate::table;
use crate::simulate::timeline::Totals;

/// What is printed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pub(super) experiment: &'static str,
    pub(super) policy: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) objective: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) order: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_slowdown: Option<f64>,
    /// Where jobs may be stopped and moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) restore_seconds: Option<u32>,
    pub(super) jobs_per_hour: f64,
    pub(super) seed: u64,
    pub(super) cluster: Vec<Type>,
    pub(super) gpus_per_node: u32,
    pub(super) measured_from: usize,
    pub(super) measured_to: usize,
    /// Jobs that had arrived when the last measured one ended.
    pub(super) arrived: usize,
    pub(super) mean_completion_hours: f64,
    /// If every measured job had its best type at once.
    pub(super) mean_completion_hours_alone: f64,
    pub(super) totals: Totals,
    pub(super) usd_per_job: f64,
    /// How often a measured job was stopped or moved.
    pub(super) stops_per_job: f64,
}

/// A type of worker and what the measured jobs did on it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Type {
    pub(super) name: String,
    pub(super) gpus: u32,
    pub(super) usd_per_gpu_hour: f64,
    /// What an hour of it costs where a type is chosen.
    pub(super) weight_per_gpu_hour: f64,
    /// Measured jobs that ended on it.
    pub(super) measured_jobs: usize,
}

/// For people.
pub(super) fn text(report: &Report) -> String {
    let mut out = format!(
        "gavel continuous-multiple, policy {}, {} jobs per hour, seed {}; jobs {} to {} measured.\n",
        report.policy,
        report.jobs_per_hour,
        report.seed,
        report.measured_from,
        report.measured_to - 1
    );
    if let (Some(objective), Some(order), Some(slowdown)) =
        (report.objective, report.order, report.max_slowdown)
    {
        out.push_str(&format!(
            "Objective {objective}, priority by {order}, types up to {slowdown} times slower than a job's best.\n"
        ));
        out.push_str(&match report.restore_seconds {
            Some(seconds) => {
                format!("Running jobs may be stopped and moved, which costs them {seconds} s.\n")
            }
            None => "A job that has started stays where it is.\n".to_owned(),
        });
    }
    let totals = &report.totals;
    let hours = |seconds: f64| format!("{:.2}", seconds / 3600.0);
    let rows = [
        (
            "mean completion, h",
            format!("{:.2}", report.mean_completion_hours),
        ),
        (
            "the same on an empty cluster, h",
            format!("{:.2}", report.mean_completion_hours_alone),
        ),
        (
            "median completion, h",
            hours(totals.completion_seconds.median as f64),
        ),
        (
            "95 % completed within, h",
            hours(totals.completion_seconds.p95 as f64),
        ),
        ("mean wait, h", hours(totals.queue_seconds.mean)),
        ("makespan, h", hours(totals.makespan_seconds as f64)),
        (
            "utilisation, %",
            format!("{:.1}", totals.utilisation_percent),
        ),
        ("dollars", format!("{:.2}", totals.usd)),
        ("dollars a job", format!("{:.2}", report.usd_per_job)),
        ("stops a job", format!("{:.2}", report.stops_per_job)),
        ("longest queue, jobs", totals.peak_queue.to_string()),
        ("never placed, jobs", totals.never_placed.to_string()),
    ];
    out.push('\n');
    out.push_str(&table::render(
        &["WHAT", "VALUE"],
        rows.map(|(name, value)| vec![name.to_owned(), value]),
    ));
    out.push('\n');
    let rows = report.cluster.iter().map(|worker| {
        vec![
            worker.name.clone(),
            worker.gpus.to_string(),
            format!("{:.2}", worker.usd_per_gpu_hour),
            format!("{:.3}", worker.weight_per_gpu_hour),
            worker.measured_jobs.to_string(),
        ]
    });
    out.push_str(&table::render(
        &["TYPE", "GPUS", "USD/H", "WEIGHT/H", "MEASURED JOBS"],
        rows,
    ));
    out
}
