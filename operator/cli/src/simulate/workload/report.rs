//! What is printed: the fields of `-o json` in a fixed order, and the table for people.

use ampacity_controller::plan::verdict::{reason_text, usd_number};
use ampacity_placement::MicroUsd;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::input::printable;
use crate::simulate::timeline::{
    DomainPeak, Outcome, Played, Ran, Sample, Totals, WATT_SECONDS_PER_KWH, totals,
};
use crate::simulate::{rounded, table};

/// Most jobs without a place that the table shows, and reasons for each.
const MAX_SHOWN: usize = 10;
const MAX_REASONS: usize = 4;

/// The whole result.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pub(super) simulation: &'static str,
    pub(super) start: Timestamp,
    pub(super) clusters: usize,
    pub(super) devices: u64,
    pub(super) totals: Totals,
    pub(super) by_accelerator: Vec<AcceleratorShare>,
    pub(super) power: Vec<DomainPeak>,
    pub(super) jobs: Vec<JobLine>,
    pub(super) series: Vec<Point>,
    pub(super) notes: Vec<String>,
}

/// What ran on one accelerator type under one capacity type.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AcceleratorShare {
    pub(super) accelerator_type: String,
    pub(super) capacity_type: &'static str,
    pub(super) jobs: usize,
    pub(super) device_hours: f64,
    pub(super) usd: f64,
    pub(super) kwh: f64,
}

/// One job.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct JobLine {
    pub(super) job: String,
    pub(super) arrival_seconds: i64,
    #[serde(flatten)]
    pub(super) ran: Option<RanLine>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) reasons: Vec<String>,
}

/// Where and when it ran.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RanLine {
    pub(super) start_seconds: i64,
    pub(super) finish_seconds: i64,
    pub(super) queue_seconds: i64,
    pub(super) alternative: String,
    pub(super) cluster: String,
    pub(super) accelerator_type: String,
    pub(super) capacity_type: &'static str,
    pub(super) devices: u64,
    pub(super) usd: f64,
    pub(super) kwh: f64,
}

/// The fleet from this moment to the next.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Point {
    pub(super) seconds: i64,
    pub(super) running: usize,
    pub(super) queued: usize,
    pub(super) devices: u64,
    pub(super) utilisation_percent: f64,
    pub(super) usd_per_hour: Value,
    pub(super) watts: i64,
    /// As a number to draw.
    #[serde(skip)]
    pub(super) usd_per_hour_number: f64,
}

impl Report {
    /// The report of a run.
    pub(super) fn new(
        played: &Played,
        start: Timestamp,
        devices: u64,
        clusters: usize,
        notes: Vec<String>,
    ) -> Self {
        Self {
            simulation: "workload",
            start,
            clusters,
            devices,
            totals: totals(played, devices),
            by_accelerator: by_accelerator(played),
            power: played.power.clone(),
            jobs: played.jobs.iter().map(line).collect(),
            series: played.samples.iter().map(|s| point(s, devices)).collect(),
            notes,
        }
    }
}

fn usd(ran: &Ran) -> f64 {
    rounded(ran.usd_micro() as f64 / 1e6, 6)
}

fn kwh(ran: &Ran) -> f64 {
    rounded(ran.watt_seconds() as f64 / WATT_SECONDS_PER_KWH, 6)
}

fn by_accelerator(played: &Played) -> Vec<AcceleratorShare> {
    let mut shares = std::collections::BTreeMap::new();
    for ran in played.jobs.iter().flat_map(|job| &job.runs) {
        let held = &ran.decision.reservation;
        let capacity_type = ran.decision.capacity_type;
        let share = shares
            .entry((held.accelerator_type.as_str(), capacity_type))
            .or_insert((0, 0.0, 0_i128, 0_i128));
        share.0 += 1;
        share.1 += ran.devices() as f64 * ran.seconds() as f64 / 3600.0;
        share.2 += ran.usd_micro();
        share.3 += ran.watt_seconds();
    }
    let line = |((accelerator, capacity), (jobs, hours, usd, energy)): (
        (&str, ampacity_placement::CapacityType),
        (usize, f64, i128, i128),
    )| AcceleratorShare {
        accelerator_type: accelerator.to_owned(),
        capacity_type: capacity.as_str(),
        jobs,
        device_hours: rounded(hours, 3),
        usd: rounded(usd as f64 / 1e6, 6),
        kwh: rounded(energy as f64 / WATT_SECONDS_PER_KWH, 6),
    };
    shares.into_iter().map(line).collect()
}

fn line(outcome: &Outcome) -> JobLine {
    JobLine {
        job: outcome.name.clone(),
        arrival_seconds: outcome.arrival_seconds,
        ran: outcome.runs.last().map(|ran| RanLine {
            start_seconds: ran.start_seconds,
            finish_seconds: ran.finish_seconds,
            queue_seconds: ran.start_seconds.saturating_sub(outcome.arrival_seconds),
            alternative: ran.decision.alternative.clone(),
            cluster: ran.decision.reservation.cluster.clone(),
            accelerator_type: ran.decision.reservation.accelerator_type.clone(),
            capacity_type: ran.decision.capacity_type.as_str(),
            devices: ran.units(),
            usd: usd(ran),
            kwh: kwh(ran),
        }),
        reasons: outcome
            .reasons
            .iter()
            .map(|refusal| reason_text(&refusal.reason).sentence(refusal))
            .collect(),
    }
}

fn point(sample: &Sample, devices: u64) -> Point {
    Point {
        seconds: sample.seconds,
        running: sample.running,
        queued: sample.queued,
        devices: sample.devices,
        utilisation_percent: rounded(100.0 * sample.devices as f64 / (devices.max(1) as f64), 4),
        usd_per_hour: usd_number(MicroUsd(sample.usd_per_hour_micro)),
        watts: sample.watts,
        usd_per_hour_number: sample.usd_per_hour_micro as f64 / 1e6,
    }
}

/// The summary: names and values, as the table and the page show them.
pub(super) fn summary(report: &Report) -> Vec<(&'static str, String)> {
    let totals = &report.totals;
    let queue = totals.queue_seconds;
    let unpriced = if totals.unpriced {
        " (without nodes that have no price)"
    } else {
        ""
    };
    vec![
        (
            "jobs finished",
            format!("{} of {}", totals.finished, totals.jobs),
        ),
        ("mean wait", duration(queue.mean as i64)),
        ("median wait", duration(queue.median)),
        ("95 % waited at most", duration(queue.p95)),
        ("longest wait", duration(queue.max)),
        (
            "mean completion",
            duration(totals.completion_seconds.mean as i64),
        ),
        ("makespan", duration(totals.makespan_seconds)),
        (
            "utilisation",
            format!("{:.1} %", totals.utilisation_percent),
        ),
        ("dollars", format!("{:.2}{unpriced}", totals.usd)),
        ("energy", format!("{:.1} kWh", totals.kwh)),
        (
            "highest power",
            format!("{:.1} kW", totals.peak_watts as f64 / 1000.0),
        ),
        (
            "longest queue",
            match totals.peak_queue {
                1 => "1 job".to_owned(),
                jobs => format!("{jobs} jobs"),
            },
        ),
    ]
}

/// The report for people.
pub(super) fn text(report: &Report) -> String {
    let mut out = format!(
        "{} devices in {} cluster{}.\n\n",
        report.devices,
        report.clusters,
        if report.clusters == 1 { "" } else { "s" }
    );
    let rows = summary(report)
        .into_iter()
        .map(|(name, value)| vec![name.to_owned(), value]);
    out.push_str(&table::render(&["WHAT", "VALUE"], rows));
    if !report.by_accelerator.is_empty() {
        out.push('\n');
        let rows = report.by_accelerator.iter().map(|share| {
            vec![
                format!("{} {}", share.accelerator_type, share.capacity_type),
                share.jobs.to_string(),
                format!("{:.1}", share.device_hours),
                format!("{:.2}", share.usd),
                format!("{:.1}", share.kwh),
            ]
        });
        out.push_str(&table::render(
            &["ACCELERATOR", "JOBS", "DEVICE HOURS", "USD", "KWH"],
            rows,
        ));
    }
    if !report.power.is_empty() {
        out.push('\n');
        let rows = report.power.iter().map(|domain| {
            vec![
                format!("{} {}", domain.kind, domain.name),
                domain.peak_watts.to_string(),
                domain.limit_watts.to_string(),
            ]
        });
        out.push_str(&table::render(&["POWER", "HIGHEST W", "LIMIT W"], rows));
    }
    let waiting: Vec<&JobLine> = report.jobs.iter().filter(|job| job.ran.is_none()).collect();
    for job in waiting.iter().take(MAX_SHOWN) {
        out.push_str(&format!("\n{} never found a place:\n", printable(&job.job)));
        for reason in job.reasons.iter().take(MAX_REASONS) {
            out.push_str(&format!("  - {}\n", printable(reason)));
        }
    }
    if waiting.len() > MAX_SHOWN {
        out.push_str(&format!(
            "\nand {} more jobs; -o json shows all\n",
            waiting.len() - MAX_SHOWN
        ));
    }
    if !report.notes.is_empty() {
        out.push_str("\nNotes:\n");
        for note in &report.notes {
            out.push_str(&format!("- {}\n", printable(note)));
        }
    }
    out
}

/// The two largest units: `3h12m`, `2d4h`, `45s`.
pub(super) fn duration(seconds: i64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (hours, rest) = (rest / 3600, rest % 3600);
    let (minutes, seconds) = (rest / 60, rest % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{seconds}s"),
        (0, _, _) => format!("{hours}h{minutes}m"),
        _ => format!("{days}d{hours}h"),
    }
}
