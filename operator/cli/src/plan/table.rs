//! The plan for people.

use std::fmt::Write as _;

use ampacity_controller::plan::verdict::duration as long;
use ampacity_controller::state::device_name;
use ampacity_placement::{MicroUsd, Watts};
use comfy_table::presets::NOTHING;
use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Table};

use super::report::{NodeReplicas, NotPlaced, Placed, ProofName, Quality, Report};
use crate::input::printable;

/// Node names that one row shows.
const MAX_NAMES: usize = 3;
/// Reasons that one job shows.
const MAX_REASONS: usize = 8;

/// The report as text; with colours where `colour` is set.
pub(super) fn render(report: &Report, colour: bool) -> String {
    let mut out = String::new();
    if !report.placements.is_empty() {
        for line in placements(&report.placements, colour).lines() {
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out.push('\n');
    }
    for job in &report.unplaced {
        unplaced(&mut out, job, colour);
    }
    totals(&mut out, report);
    if !(report.placements.is_empty() && report.unplaced.is_empty()) {
        let _ = writeln!(out, "{}", quality(&report.quality));
    }
    if !report.notes.is_empty() {
        out.push_str("\nNotes:\n");
        for note in &report.notes {
            out.push_str(&format!("- {}\n", printable(note)));
        }
    }
    out
}

fn placements(placements: &[Placed], colour: bool) -> String {
    let mut table = Table::new();
    table
        .load_preset(NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    if colour {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    // Without a horizon everything starts now.
    let later = placements.iter().any(|p| p.start_seconds > 0);
    let mut header = vec![
        "JOB",
        "KIND",
        "CLUSTER",
        "ACCELERATOR",
        "ALT",
        "REPLICAS×DEVICES",
        "CAPACITY",
        "NODES",
        "WATTS",
        "USD/H",
        "USD TOTAL",
        "DURATION",
    ];
    if later {
        header.push("START");
    }
    table.set_header(header.into_iter().map(|name| {
        let cell = Cell::new(name);
        if colour {
            cell.add_attribute(Attribute::Bold)
        } else {
            cell
        }
    }));
    for p in placements {
        let text = |text: &str| Cell::new(printable(text));
        let number = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        let job = text(&p.job);
        let start = match p.start_seconds {
            0 => "now".to_owned(),
            seconds => format!("in {}", duration(seconds)),
        };
        let mut row = vec![
            if colour { job.fg(Color::Green) } else { job },
            text(p.kind),
            text(&p.cluster),
            text(&device_name(
                &p.accelerator_type,
                p.part.mig_profile.as_deref(),
                p.part.millidevices,
            )),
            text(&p.alternative),
            Cell::new(format!("{}×{}", p.replicas, p.devices_per_replica)),
            text(p.capacity_type),
            text(&nodes(&p.nodes)),
            number(p.watts.to_string()),
            number(dollars(p.usd_per_hour.0.0, p.unpriced)),
            number(dollars(p.usd_total.0.0, p.unpriced)),
            number(p.duration_seconds.map_or_else(|| "-".to_owned(), duration)),
        ];
        if later {
            row.push(number(start));
        }
        table.add_row(row);
    }
    // Columns are set apart by two spaces, as kubectl does.
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.to_string()
}

fn unplaced(out: &mut String, job: &NotPlaced, colour: bool) {
    let name = printable(&job.job);
    let name = if colour {
        format!("\u{1b}[31m{name}\u{1b}[39m")
    } else {
        name
    };
    let missing = match job.replicas {
        Some(1) => "1 replica has no place".to_owned(),
        Some(replicas) => format!("{replicas} replicas have no place"),
        None => "has no place".to_owned(),
    };
    let _ = writeln!(out, "{name} ({}) {missing}:", job.kind);
    for reason in job.reasons.iter().take(MAX_REASONS) {
        let _ = write!(out, "  - {}", printable(&reason.sentence));
        if reason.count > 1 {
            let _ = write!(out, " ({} times)", reason.count);
        }
        out.push('\n');
    }
    let more = job.reasons.len().saturating_sub(MAX_REASONS);
    if more > 0 {
        let _ = writeln!(out, "  - … and {more} more (see -o json)");
    } else if job.reasons_cut {
        let _ = writeln!(out, "  - … and more like these");
    }
    if let Some(fix) = &job.fix {
        let _ = writeln!(out, "  Fix: {}", printable(&fix.sentence));
    }
    if let Some(seconds) = job.earliest_start_seconds {
        let _ = writeln!(out, "  Earliest start: in {}", long(seconds));
    }
    out.push('\n');
}

fn totals(out: &mut String, report: &Report) {
    let totals = &report.totals;
    let jobs = |count: usize| {
        if count == 1 {
            "1 job".to_owned()
        } else {
            format!("{count} jobs")
        }
    };
    let unpriced = report.placements.iter().any(|p| p.unpriced);
    let cost = if unpriced
        && (totals.usd_per_hour.0, totals.usd_total.0) == (MicroUsd::ZERO, MicroUsd::ZERO)
    {
        "no price known".to_owned()
    } else {
        format!(
            "{} per hour, {} for the work{}",
            totals.usd_per_hour.0,
            totals.usd_total.0,
            if unpriced {
                " (* is without nodes that have no price)"
            } else {
                ""
            },
        )
    };
    let _ = writeln!(
        out,
        "{} placed, {} not. In all: {}, {cost}.",
        jobs(totals.placed),
        totals.unplaced,
        Watts(totals.watts),
    );
}

/// How good the plan is known to be, as a sentence.
fn quality(quality: &Quality) -> String {
    match (quality.proof, quality.gap_usd) {
        (ProofName::Optimal, _) => "No better plan exists.".to_owned(),
        (ProofName::GapAtMost, Some(gap)) if gap.0 < MicroUsd(10_000) => {
            "No plan places more, or the same for a cent less.".to_owned()
        }
        (ProofName::GapAtMost, gap) => format!(
            "No plan places more, or the same for over {} less.",
            gap.unwrap_or_default().0
        ),
        (ProofName::StoppedAtLimit, _) if quality.may_be_missing.is_empty() => {
            "Another plan may cost less: by how much is not known.".to_owned()
        }
        (ProofName::StoppedAtLimit, _) => {
            let missing: Vec<String> = quality
                .may_be_missing
                .iter()
                .map(|missing| format!("{} of priority {}", missing.jobs, missing.priority))
                .collect();
            format!(
                "Another plan may place more ({}) or cost less: how much is not known.",
                missing.join(", ")
            )
        }
    }
}

/// Dollars to the cent; a star where some node has no price, nothing where none has.
fn dollars(micro: i64, unpriced: bool) -> String {
    if unpriced && micro == 0 {
        return String::new();
    }
    let text = ampacity_placement::MicroUsd(micro).to_string();
    let text = text.replacen('$', "", 1);
    if unpriced { format!("{text}*") } else { text }
}

/// `n1, n2×2, n3 +5`: the first names in rank order and how many more there are.
fn nodes(nodes: &[NodeReplicas]) -> String {
    let names: Vec<String> = nodes
        .iter()
        .take(MAX_NAMES)
        .map(|node| match node.replicas {
            1 => node.name.clone(),
            replicas => format!("{}×{replicas}", node.name),
        })
        .collect();
    let mut text = names.join(", ");
    let more = nodes.len().saturating_sub(MAX_NAMES);
    if more > 0 {
        let _ = write!(text, " +{more}");
    }
    text
}

/// The two largest units: `3h12m`, `2d4h`, `45s`.
fn duration(seconds: i64) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_node_lists_stay_short() {
        for (seconds, text) in [
            (45, "45s"),
            (125, "2m5s"),
            (11_538, "3h12m"),
            (187_200, "2d4h"),
        ] {
            assert_eq!(duration(seconds), text);
        }
        let list: Vec<NodeReplicas> = (0..5)
            .map(|i| NodeReplicas {
                name: format!("n{i}"),
                replicas: 1 + i % 2,
            })
            .collect();
        assert_eq!(nodes(&list), "n0, n1×2, n2 +2");
        assert_eq!(dollars(1_005_000, true), "1.01*");
        assert_eq!(dollars(0, true), "", "no price is not 0");
        assert_eq!(dollars(0, false), "0.00", "free is");
    }
}
