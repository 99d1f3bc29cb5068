//! `ampacity simulate gavel` as a user runs it, on a reduced copy of the measured throughputs.

// A test that cannot go on is to fail.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/simulate-data")
}

fn gavel(folder: &Path, args: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_ampacity"))
        .args(["simulate", "gavel"])
        .args(args)
        .current_dir(folder)
        .output()
        .unwrap();
    Ran {
        code: output.status.code().expect("no signal"),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A short run on a third of the cluster.
fn run(more: &[&str]) -> serde_json::Value {
    run_at("0.6", more)
}

fn run_at(jobs_per_hour: &str, more: &[&str]) -> serde_json::Value {
    let mut args = vec![
        "--throughputs",
        "gavel-throughputs.json",
        "--cluster",
        "v100=12,p100=12,k80=12",
        "--jobs-per-hour",
        jobs_per_hour,
        "--measure",
        "50-150",
        "-o",
        "json",
    ];
    args.extend(more);
    let ran = gavel(&data(), &args);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{more:?}");
    serde_json::from_str(&ran.out).unwrap()
}

fn number(report: &serde_json::Value, pointer: &str) -> f64 {
    report.pointer(pointer).unwrap().as_f64().unwrap()
}

#[test]
fn a_run_repeats_itself_and_a_seed_is_another_run() {
    for policy in ["ampacity", "fifo"] {
        let of = |seed: &str| run(&["--policy", policy, "--seed", seed]);
        assert_eq!(of("1"), of("1"), "{policy}");
        assert_ne!(of("1"), of("2"), "{policy}");
    }
}

#[test]
fn figures_are_possible_and_agree() {
    for args in [
        &["--policy", "fifo"][..],
        &["--objective", "time"][..],
        &["--objective", "cost", "--order", "arrival"][..],
        &["--gpus-per-node", "1", "--max-slowdown", "1"][..],
        &["--no-preemption"][..],
        &["--order", "shortest", "--restore-seconds", "3600"][..],
    ] {
        let report = run(args);
        assert_eq!(number(&report, "/totals/finished"), 100.0, "{args:?}");
        // Nobody is faster than alone on an empty cluster; seconds are whole.
        assert!(
            number(&report, "/meanCompletionHours")
                > number(&report, "/meanCompletionHoursAlone") - 0.001,
            "{report}"
        );
        let used = number(&report, "/totals/utilisationPercent");
        assert!(used > 10.0 && used <= 100.0, "{report}");
        let total = number(&report, "/usdPerJob") * 100.0;
        assert!(
            (total - number(&report, "/totals/usd")).abs() < 0.02,
            "{report}"
        );
        let on: f64 = (0..3)
            .map(|at| number(&report, &format!("/cluster/{at}/measuredJobs")))
            .sum();
        assert_eq!(on, 100.0, "{args:?}");
    }
}

#[test]
fn knowing_the_throughputs_beats_not_knowing_them() {
    let mean = |args: &[&str]| -> f64 {
        let of = |seed: &str| {
            number(
                &run(&[args, &["--seed", seed]].concat()),
                "/meanCompletionHours",
            )
        };
        ["0", "1", "2"].map(of).iter().sum::<f64>() / 3.0
    };
    let (engine, fifo) = (mean(&[]), mean(&["--policy", "fifo"]));
    assert!(engine < fifo, "{engine} {fifo}");
}

#[test]
fn making_way_shortens_the_mean_and_is_counted() {
    // Enough jobs that they are in each other's way.
    let of = |args: &[&str], figure: &str| -> f64 {
        let seeds = ["0", "1", "2"];
        let run = |seed: &str| number(&run_at("0.8", &[args, &["--seed", seed]].concat()), figure);
        seeds.map(run).iter().sum()
    };
    let mean = |args: &[&str]| of(args, "/meanCompletionHours");
    assert!(mean(&[]) < mean(&["--no-preemption"]));
    assert!(mean(&[]) < mean(&["--restore-seconds", "86400"]));
    assert!(of(&[], "/stopsPerJob") > 0.0);
    assert_eq!(of(&["--no-preemption"], "/stopsPerJob"), 0.0);
}

#[test]
fn types_weigh_what_they_are_worth_and_are_billed_at_their_price() {
    let report = run(&[]);
    let of = |what: &str| [0, 1, 2].map(|at| number(&report, &format!("/cluster/{at}/{what}")));
    let weights = of("weightPerGpuHour");
    assert!(
        weights[0] > weights[1] && weights[1] > weights[2],
        "{report}"
    );
    assert_eq!(of("usdPerGpuHour"), [2.48, 1.46, 0.45]);
    let report = run(&["--objective", "cost"]);
    assert_eq!(number(&report, "/cluster/2/weightPerGpuHour"), 0.45);
    // Whatever types are chosen by, an hour of the dearest costs no more than its price.
    let gpu_hours = 36.0 * number(&report, "/totals/makespanSeconds") / 3600.0;
    assert!(number(&report, "/totals/usd") < 2.48 * gpu_hours);
}

#[test]
fn the_best_type_alone_is_used_where_nothing_else_is_an_alternative() {
    let report = run_at("0.01", &["--max-slowdown", "1"]);
    let late =
        number(&report, "/meanCompletionHours") - number(&report, "/meanCompletionHoursAlone");
    // So few jobs that hardly any waits.
    assert!(late < 1.0, "{report}");
}

#[test]
fn the_table_says_what_was_run() {
    let args = [
        "--throughputs",
        "gavel-throughputs.json",
        "--policy",
        "fifo",
        "--jobs-per-hour",
        "0.5",
        "--measure",
        "0-20",
    ];
    let ran = gavel(&data(), &args);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    insta::assert_snapshot!(ran.out);
}

#[test]
fn bad_input_names_the_place_and_ends_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let good = fs::read_to_string(data().join("gavel-throughputs.json")).unwrap();
    fs::write(folder.path().join("good.json"), &good).unwrap();
    fs::write(folder.path().join("cut.json"), &good[..500]).unwrap();
    fs::write(
        folder.path().join("text.json"),
        good.replacen("{\"null\": ", "{\"null\": -", 1),
    )
    .unwrap();
    let cases: [&[&str]; 10] = [
        &["--throughputs", "absent.json"],
        &["--throughputs", "cut.json"],
        &["--throughputs", "text.json"],
        &["--throughputs", "good.json", "--cluster", "v100=36,h100=8"],
        &["--throughputs", "good.json", "--cluster", "v100=4"],
        &["--throughputs", "good.json", "--jobs-per-hour", "0"],
        &["--throughputs", "good.json", "--measure", "9-9"],
        &["--throughputs", "good.json", "--max-slowdown", "0.5"],
        &["--throughputs", "good.json", "--prices", "v100=cheap"],
        &["--throughputs", "good.json", "--restore-seconds", "90000"],
    ];
    let mut said = String::new();
    for args in cases {
        let ran = gavel(folder.path(), args);
        assert_eq!(
            (ran.code, ran.out.as_str()),
            (1, ""),
            "{args:?}: {}",
            ran.err
        );
        said.push_str(&format!("{}\n", ran.err));
    }
    insta::assert_snapshot!(said);
}
