//! `ampacity plan` with MIG instances and time slices.

// A test that cannot go on is to fail.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};

const MIG_NODE: &str = "../controller/tests/fixtures/nodes/gce-a100-mig-mixed-4-instances.yaml";

fn plan(output: &str) -> Output {
    let files = [MIG_NODE, "tests/fixtures_parts"];
    Command::new(env!("CARGO_BIN_EXE_ampacity"))
        .args(["plan", "--at", "2026-07-01T00:00:00Z", "-o", output])
        .args(files.iter().flat_map(|file| ["-f", file]))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .output()
        .unwrap()
}

#[test]
fn parts_are_planned_priced_and_explained() {
    let ran = plan("table");
    let out = String::from_utf8(ran.stdout).unwrap();
    assert_eq!(ran.status.code(), Some(2), "{out}");
    insta::assert_snapshot!(out);
}

#[test]
fn json_names_the_part_only_where_there_is_one() {
    let ran = plan("json");
    let report: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    let placements = report["placements"].as_array().unwrap();
    let seen: Vec<_> = placements
        .iter()
        .map(|p| {
            (
                p["job"].as_str().unwrap(),
                p["migProfile"].as_str(),
                p["millidevices"].as_i64(),
                p["devicesPerReplica"].as_i64().unwrap(),
                p["watts"].as_i64().unwrap(),
                p["usdPerHour"].as_f64().unwrap(),
            )
        })
        .collect();
    // Two sevenths of an A100's $0.70; six quarters of a T4's $0.12.
    assert_eq!(
        seen,
        [
            ("research/embed", None, Some(250), 1, 192, 0.18),
            ("research/pair", Some("1g.5gb"), None, 2, 234, 0.2),
        ]
    );
    let whole = placements.iter().find(|p| p["job"] == "research/embed");
    assert!(whole.unwrap().get("migProfile").is_none());
    let half = &report["unplaced"][0];
    assert_eq!(half["job"], "research/half");
    assert_eq!(half["reasons"][0]["reason"], "NoSuchPart");
    assert_eq!(half["reasons"][0]["part"], "500m");
    assert_eq!(half["reasons"][0]["exists"], "250m 8");
}
