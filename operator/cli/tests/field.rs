//! Situations that people who run accelerators reported, and their siblings, planned from files. Each folder of `tests/field` has an
//! `input.yaml`, whose first line names the source, and an `expect.json`:
//!
//! * `exit`, `args`: exit code, and arguments beside `-f input.yaml -o json`.
//! * `jobs`: of a placed job its nodes (`nodes`, or one of `nodesOneOf`), `type`, `capacityType`, `usdPerHour`; of one that is not the
//!   `reasons` of which one must be given, with `facts` and texts that it `says`, and with `short` no number that suffices.
//! * `notes`, `nonotes`: texts that a note must have, and that none may have.

// A test that cannot go on is to fail.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/field")
}

fn texts(value: &Value) -> Vec<&str> {
    let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(Value::as_str).collect()
}

fn nodes(value: &Value) -> BTreeSet<&str> {
    let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter()
        .filter_map(|node| node.as_str().or_else(|| node["name"].as_str()))
        .collect()
}

fn of<'a>(list: &'a Value, job: &str) -> Option<&'a Value> {
    list.as_array()?.iter().find(|entry| entry["job"] == job)
}

/// What is wrong with the outcome of one job.
fn judge(job: &str, wanted: &Value, report: &Value, wrong: &mut Vec<String>) {
    let placed = of(&report["placements"], job);
    let unplaced = of(&report["unplaced"], job);
    if wanted["placed"] == true {
        let Some(placed) = placed else {
            wrong.push(format!("{job} is not placed: {unplaced:?}"));
            return;
        };
        let on = nodes(&placed["nodes"]);
        let mut check = |what: &str, holds: bool| {
            if !holds {
                wrong.push(format!("{job}: {what} of {placed}"));
            }
        };
        let wants = |field: &str| !wanted[field].is_null();
        check("nodes", !wants("nodes") || on == nodes(&wanted["nodes"]));
        let one_of = wanted["nodesOneOf"].as_array();
        check(
            "nodes",
            one_of.is_none_or(|sets| sets.iter().any(|set| on == nodes(set))),
        );
        for (field, of) in [
            ("type", "acceleratorType"),
            ("capacityType", "capacityType"),
        ] {
            check(of, !wants(field) || wanted[field] == placed[of]);
        }
        let usd = (wanted["usdPerHour"].as_f64(), placed["usdPerHour"].as_f64());
        check("usdPerHour", usd.0.is_none() || usd.0 == usd.1);
        return;
    }
    let Some(unplaced) = unplaced.filter(|_| placed.is_none()) else {
        wrong.push(format!("{job} is placed: {placed:?}"));
        return;
    };
    let reasons = unplaced["reasons"].as_array().unwrap();
    let names = texts(&wanted["reasons"]);
    let told: Vec<&Value> = reasons
        .iter()
        .filter(|reason| names.is_empty() || names.contains(&reason["reason"].as_str().unwrap()))
        .collect();
    let mut check = |what: &str, holds: bool| {
        if !holds {
            wrong.push(format!("{job}: {what} of {unplaced}"));
        }
    };
    check("reasons", !told.is_empty());
    for (name, fact) in wanted["facts"].as_object().into_iter().flatten() {
        check(name, told.iter().any(|reason| &reason[name] == fact));
    }
    for text in texts(&wanted["says"]) {
        check(
            text,
            told.iter().any(|reason| reason.to_string().contains(text)),
        );
    }
    if wanted["short"] == true {
        for (needed, available) in [
            ("needed", "available"),
            ("neededReplicas", "fittingReplicas"),
        ] {
            let suffices = |reason: &Value| {
                let numbers = reason[needed].as_u64().zip(reason[available].as_u64());
                numbers.is_some_and(|(needed, available)| available >= needed)
            };
            check("a number that suffices", !reasons.iter().any(suffices));
        }
    }
    // Nothing of Rust's own notation is for people.
    let text = unplaced.to_string();
    for notation in ["Some(", "None)", "Unhealthy(", "Ok(", "Err("] {
        check(notation, !text.contains(notation));
    }
}

fn run(case: &Path) -> Vec<String> {
    let expected: Value =
        serde_json::from_str(&fs::read_to_string(case.join("expect.json")).unwrap()).unwrap();
    let ran = Command::new(env!("CARGO_BIN_EXE_ampacity"))
        .args(["plan", "-o", "json", "-f"])
        .arg(case.join("input.yaml"))
        .args(texts(&expected["args"]))
        .output()
        .unwrap();
    let Ok(report) = serde_json::from_slice::<Value>(&ran.stdout) else {
        return vec![String::from_utf8_lossy(&ran.stderr).into_owned()];
    };
    let mut wrong = Vec::new();
    if expected["exit"].as_i64() != ran.status.code().map(i64::from) {
        wrong.push(format!("exit {:?}", ran.status.code()));
    }
    for (job, wanted) in expected["jobs"].as_object().unwrap() {
        judge(job, wanted, &report, &mut wrong);
    }
    let notes = texts(&report["notes"]);
    for text in texts(&expected["notes"]) {
        if !notes.iter().any(|note| note.contains(text)) {
            wrong.push(format!("no note has {text:?}: {notes:#?}"));
        }
    }
    for text in texts(&expected["nonotes"]) {
        for note in notes.iter().filter(|note| note.contains(text)) {
            wrong.push(format!("a note has {text:?}: {note}"));
        }
    }
    wrong
}

#[test]
fn situations_from_the_field_come_out_right() {
    let mut cases: Vec<PathBuf> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    cases.sort();
    assert!(cases.len() >= 51, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let name = case.file_name().unwrap().to_string_lossy();
        wrong.extend(run(case).into_iter().map(|what| format!("{name}: {what}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
