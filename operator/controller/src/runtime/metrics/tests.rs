//! What an operator of clusters reads of metrics, the book, the dashboard and the alerts, is what is registered.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::*;

/// A file of the repository.
fn read(path: &str) -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Names of the operator's metrics that a text uses. A template's name has a dot behind `ampacity`, a metric's an underscore.
fn named(text: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    text.split(|c| !is_name(c))
        .filter(|word| word.starts_with("ampacity_"))
        .map(str::to_owned)
        .collect()
}

/// Every name under which something can be queried.
fn queryable(metrics: &Metrics) -> BTreeSet<String> {
    let suffixes = |type_| match type_ {
        "histogram" => &["_bucket", "_sum", "_count"][..],
        _ => &[""],
    };
    let names = |facts: &MetricFacts| {
        let name = facts.name.clone();
        suffixes(facts.type_)
            .iter()
            .map(move |suffix| format!("{name}{suffix}"))
    };
    metrics.facts.iter().flat_map(names).collect()
}

#[test]
fn the_book_lists_what_is_registered() {
    let book = read("docs/src/operations/monitoring.md");
    let rows = book
        .lines()
        .filter(|line| line.starts_with("| `ampacity_"))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [name, type_, labels, _meaning] = cells[..] else {
                panic!("a row needs four cells: {line}");
            };
            let labels: Vec<String> = labels
                .split(',')
                .map(|label| label.trim().trim_matches('`').to_owned())
                .filter(|label| !label.is_empty())
                .collect();
            (
                name.trim_matches('`').to_owned(),
                (type_.to_owned(), labels),
            )
        });
    let listed: BTreeMap<String, (String, Vec<String>)> = rows.collect();
    let metrics = Metrics::default();
    let registered: BTreeMap<String, (String, Vec<String>)> = metrics
        .facts
        .iter()
        .map(|facts| {
            let labels = facts.labels.iter().map(|l| (*l).to_owned()).collect();
            (facts.name.clone(), (facts.type_.to_owned(), labels))
        })
        .collect();
    assert_eq!(listed, registered, "docs/src/operations/monitoring.md");
}

#[test]
fn the_dashboard_shows_metrics_that_exist() {
    let text = read("charts/ampacity/dashboards/ampacity.json");
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let used = named(&text);
    assert!(used.len() > 10, "{used:?}");
    let exist = queryable(&Metrics::default());
    let unknown: Vec<&String> = used.difference(&exist).collect();
    assert!(unknown.is_empty(), "no such metrics: {unknown:?}");
    // Grafana tells panels apart by their numbers.
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<i64> = panels.iter().map(|p| p["id"].as_i64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let targets = panel["targets"].as_array().unwrap();
        let has_query =
            |target: &serde_json::Value| !named(target["expr"].as_str().unwrap()).is_empty();
        assert!(
            !targets.is_empty() && targets.iter().all(has_query),
            "{}",
            panel["title"]
        );
    }
}

#[test]
fn alerts_are_on_metrics_that_exist() {
    let used = named(&read("charts/ampacity/templates/alerts.yaml"));
    assert!(used.len() >= 4, "{used:?}");
    let exist = queryable(&Metrics::default());
    let unknown: Vec<&String> = used.difference(&exist).collect();
    assert!(unknown.is_empty(), "no such metrics: {unknown:?}");
}

#[test]
fn names_are_unique_and_say_their_unit() {
    let metrics = Metrics::default();
    let names: BTreeSet<&String> = metrics.facts.iter().map(|facts| &facts.name).collect();
    assert_eq!(names.len(), metrics.facts.len());
    for facts in metrics.facts.iter() {
        let about = |word: &str| facts.name.contains(word);
        assert!(
            facts.type_ != "histogram" || about("_seconds"),
            "{}: what is measured here is time",
            facts.name
        );
    }
}

#[test]
fn the_text_has_labels_values_and_an_end() {
    let metrics = Metrics::default();
    metrics.refused("oslo", "QuotaExceeded");
    metrics.placed("oslo", "nvidia-h100-sxm5-80gb", 42);
    metrics.watch_failed(HUB_CLUSTER);
    let cluster = of_cluster("oslo");
    let measures = |cluster_reachable| Measures {
        cluster_reachable,
        domain_headroom_watts: [(
            DomainLabel {
                domain: "hall-7".to_owned(),
            },
            -600,
        )]
        .into(),
        usd_micro_per_hour: 80_400_000,
        ..Measures::default()
    };
    metrics.show(measures([(cluster, 1)].into()));
    let text = metrics.text();
    for line in [
        "ampacity_refusals_total{cluster=\"oslo\",reason=\"QuotaExceeded\"} 1",
        "ampacity_job_time_to_placement_seconds_bucket{le=\"60.0\",cluster=\"oslo\",accelerator_type=\"nvidia-h100-sxm5-80gb\"} 1",
        "ampacity_cluster_reachable{cluster=\"oslo\"} 1",
        "ampacity_power_domain_headroom_watts{domain=\"hall-7\"} -600",
        "ampacity_power_domain_overload_watts{domain=\"hall-7\"} 600",
        "ampacity_usd_per_hour 80.4",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
    // The cluster is gone: nothing is said of it any more; the hub stays.
    metrics.show(measures(BTreeMap::new()));
    let text = metrics.text();
    assert!(!text.contains("oslo"), "{text}");
    assert!(text.contains("ampacity_watch_failures_total{cluster=\"hub\"} 1"));
}
