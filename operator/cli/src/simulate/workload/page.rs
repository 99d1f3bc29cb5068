//! The report as one HTML page that loads nothing: plots are drawn in it, colours follow the reader's light or dark.

use std::fmt::Write as _;

use super::plot::{Plot, svg};
use super::report::{Point, Report, duration, summary};

/// Most jobs that the page lists.
const MAX_JOBS: usize = 200;

const STYLE: &str = ":root{color-scheme:light dark;--paper:#fff;--ink:#1c2430;--soft:#5b6675;--line:#dfe3e8;--draw:#0b6bcb;--fill:#0b6bcb26}
@media(prefers-color-scheme:dark){:root{--paper:#14181d;--ink:#e6eaef;--soft:#9aa5b1;--line:#2d343c;--draw:#5aaeff;--fill:#5aaeff2e}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1400px;padding:24px;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
h1{font-size:22px;margin:0}h2{font-size:16px;margin:0 0 4px}p{margin:4px 0;color:var(--soft)}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:8px;margin:20px 0}
dl div{border:1px solid var(--line);border-radius:6px;padding:8px 12px}
dt{color:var(--soft);font-size:13px}dd{margin:0;font-size:18px;font-variant-numeric:tabular-nums}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,480px),1fr));gap:24px}
figure{margin:0;min-width:0}svg{display:block;width:100%;height:auto}
.grid{stroke:var(--line);stroke-width:1;fill:none}.line{stroke:var(--draw);stroke-width:1.5;fill:none;stroke-linejoin:round}.area{fill:var(--fill)}
svg text{fill:var(--soft);font-size:11px;font-family:inherit}.x{text-anchor:middle}.y,.end{text-anchor:end}.hover{fill:transparent}.hover:hover{fill:var(--fill)}
.wide{overflow-x:auto;margin-top:24px}table{border-collapse:collapse;width:100%;font-size:13px;font-variant-numeric:tabular-nums}
th,td{padding:4px 10px;border-bottom:1px solid var(--line);text-align:left;white-space:nowrap}th{color:var(--soft);font-weight:500}
.n{text-align:right}td.w{white-space:normal}ul{padding-left:20px;color:var(--soft)}
";

/// The page.
pub(super) fn render(report: &Report) -> String {
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>Ampacity simulation</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>Simulated workload</h1>\n<p>{} devices in {} cluster{}, from {}</p>\n",
        report.devices,
        report.clusters,
        if report.clusters == 1 { "" } else { "s" },
        escape(&report.start.to_string())
    );
    out.push_str("<dl>\n");
    for (name, value) in summary(report) {
        let _ = writeln!(out, "<div><dt>{name}</dt><dd>{}</dd></div>", escape(&value));
    }
    out.push_str("</dl>\n<div class=\"plots\">\n");
    figure(
        &mut out,
        report,
        "Utilisation",
        "devices held by jobs, of all",
        " %",
        Some(100.0),
        |p| p.utilisation_percent,
    );
    figure(
        &mut out,
        report,
        "Queue",
        "jobs that wait",
        " jobs",
        None,
        |p| p.queued as f64,
    );
    figure(
        &mut out,
        report,
        "Dollars",
        "price per hour of what is held",
        " $/h",
        None,
        |p| p.usd_per_hour_number,
    );
    figure(
        &mut out,
        report,
        "Watts",
        "reserved by jobs",
        " W",
        None,
        |p| p.watts as f64,
    );
    out.push_str("</div>\n");
    accelerators(&mut out, report);
    power(&mut out, report);
    jobs(&mut out, report);
    if !report.notes.is_empty() {
        out.push_str("<h2>Notes</h2>\n<ul>\n");
        for note in &report.notes {
            let _ = writeln!(out, "<li>{}</li>", escape(note));
        }
        out.push_str("</ul>\n");
    }
    out.push_str("</body>\n</html>\n");
    out
}

fn figure(
    out: &mut String,
    report: &Report,
    title: &str,
    what: &str,
    unit: &str,
    top: Option<f64>,
    of: impl Fn(&Point) -> f64,
) {
    let moments: Vec<(i64, f64)> = report.series.iter().map(|p| (p.seconds, of(p))).collect();
    let plot = Plot {
        title,
        unit,
        moments: &moments,
        end: moments.last().map_or(0, |&(seconds, _)| seconds),
        top,
        least_mark: if unit == " jobs" { 1.0 } else { 0.0 },
    };
    let _ = writeln!(
        out,
        "<figure><h2>{title}</h2><p>{what}</p>\n{}</figure>",
        svg(&plot)
    );
}

/// A table: columns whose name ends in a space are text, the others numbers.
fn table(
    out: &mut String,
    title: &str,
    header: &[&str],
    rows: impl IntoIterator<Item = Vec<String>>,
) {
    let class = |at: usize| match header.get(at) {
        Some(name) if name.ends_with(' ') => "",
        _ => " class=\"n\"",
    };
    let _ = write!(out, "<div class=\"wide\"><h2>{title}</h2>\n<table><tr>");
    for (at, name) in header.iter().enumerate() {
        let _ = write!(out, "<th{}>{}</th>", class(at), name.trim_end());
    }
    out.push_str("</tr>\n");
    for row in rows {
        out.push_str("<tr>");
        for (at, text) in row.iter().enumerate() {
            let _ = write!(out, "<td{}>{}</td>", class(at), escape(text));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table></div>\n");
}

fn accelerators(out: &mut String, report: &Report) {
    if report.by_accelerator.is_empty() {
        return;
    }
    let rows = report.by_accelerator.iter().map(|share| {
        vec![
            share.accelerator_type.clone(),
            share.capacity_type.to_owned(),
            share.jobs.to_string(),
            format!("{:.1}", share.device_hours),
            format!("{:.2}", share.usd),
            format!("{:.1}", share.kwh),
        ]
    });
    table(
        out,
        "Accelerators",
        &[
            "Type ",
            "Capacity ",
            "Jobs",
            "Device hours",
            "Dollars",
            "kWh",
        ],
        rows,
    );
}

fn power(out: &mut String, report: &Report) {
    if report.power.is_empty() {
        return;
    }
    let rows = report.power.iter().map(|domain| {
        vec![
            domain.kind.to_owned(),
            domain.name.clone(),
            domain.peak_watts.to_string(),
            domain.limit_watts.to_string(),
        ]
    });
    table(
        out,
        "Power limits",
        &["Kind ", "Name ", "Highest W", "Limit W"],
        rows,
    );
}

fn jobs(out: &mut String, report: &Report) {
    let rows = report.jobs.iter().take(MAX_JOBS).map(|job| match &job.ran {
        Some(ran) => vec![
            job.job.clone(),
            ran.alternative.clone(),
            ran.cluster.clone(),
            ran.capacity_type.to_owned(),
            ran.devices.to_string(),
            duration(job.arrival_seconds),
            duration(ran.queue_seconds),
            duration(ran.finish_seconds.saturating_sub(ran.start_seconds)),
            format!("{:.2}", ran.usd),
            format!("{:.1}", ran.kwh),
        ],
        None => vec![
            job.job.clone(),
            "never placed".to_owned(),
            String::new(),
            String::new(),
            String::new(),
            duration(job.arrival_seconds),
        ],
    });
    let title = if report.jobs.len() > MAX_JOBS {
        format!("The first {MAX_JOBS} of {} jobs", report.jobs.len())
    } else {
        "Jobs".to_owned()
    };
    table(
        out,
        &title,
        &[
            "Job ",
            "Alternative ",
            "Cluster ",
            "Capacity ",
            "Devices",
            "Arrived",
            "Waited",
            "Ran",
            "Dollars",
            "kWh",
        ],
        rows,
    );
}

/// Text as HTML shows it; control characters are written out, so that what was read cannot hide anything.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in crate::input::printable(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(
            escape("<script>\"x\" & 'y'\u{1b}"),
            "&lt;script&gt;&quot;x&quot; &amp; &#39;y&#39;\\u{1b}"
        );
    }
}
