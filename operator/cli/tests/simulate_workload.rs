//! `ampacity simulate workload` as a user runs it.

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

fn workload(folder: &Path, args: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_ampacity"))
        .args(["simulate", "workload"])
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

fn json(ran: &Ran) -> serde_json::Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {}{}", ran.out, ran.err))
}

const ARRIVALS: [&str; 4] = ["-f", "workload", "--arrivals", "arrivals.csv"];

#[test]
fn jobs_come_at_their_creation_and_one_without_a_place_ends_with_2() {
    let ran = workload(&data(), &["-f", "workload"]);
    assert_eq!((ran.code, ran.err.as_str()), (2, ""));
    insta::assert_snapshot!(ran.out);
}

#[test]
fn a_job_named_several_times_arrives_several_times() {
    let ran = workload(&data(), &[&ARRIVALS[..], &["-o", "json"]].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
    let report = json(&ran);
    let mut arrivals: Vec<(String, i64)> = report["jobs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| {
            let name = job["job"].as_str().unwrap().to_owned();
            (name, job["arrivalSeconds"].as_i64().unwrap())
        })
        .collect();
    arrivals.sort();
    let expected = [
        ("default/small", 600),
        ("default/small#2", 900),
        ("default/small#3", 900),
        ("default/small#4", 9000),
        ("research/either", 600),
        ("research/either#2", 1000),
        ("research/either#3", 1100),
        ("research/gang", 0),
        ("research/gang#2", 3000),
    ];
    let expected: Vec<(String, i64)> = expected
        .iter()
        .map(|&(name, seconds)| (name.to_owned(), seconds))
        .collect();
    assert_eq!(arrivals, expected);
    let notes = report["notes"].to_string();
    assert!(
        notes.contains("1 of 4 TrainingJobs have no row in arrivals.csv"),
        "{notes}"
    );
}

#[test]
fn a_run_adds_up() {
    let ran = workload(&data(), &[&ARRIVALS[..], &["-o", "json"]].concat());
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let report = json(&ran);
    let number = |value: &serde_json::Value, field: &str| value[field].as_f64().unwrap();
    let jobs = report["jobs"].as_array().unwrap();
    assert_eq!(jobs.len(), 9);
    let sum = |field: &str| jobs.iter().map(|job| number(job, field)).sum::<f64>();
    assert!((sum("usd") - number(&report["totals"], "usd")).abs() < 1e-3);
    assert!((sum("kwh") - number(&report["totals"], "kwh")).abs() < 1e-3);

    // Devices, watts and dollars by time give the same sums as job by job.
    let series = report["series"].as_array().unwrap();
    let area = |field: &str| {
        series
            .windows(2)
            .map(|pair| {
                number(&pair[0], field)
                    * (number(&pair[1], "seconds") - number(&pair[0], "seconds"))
            })
            .sum::<f64>()
    };
    let device_seconds: f64 = jobs
        .iter()
        .map(|job| {
            number(job, "devices") * (number(job, "finishSeconds") - number(job, "startSeconds"))
        })
        .sum();
    assert!((area("devices") - device_seconds).abs() < 1e-6);
    assert!((area("watts") / 3.6e6 - sum("kwh")).abs() < 1e-3);
    assert!((area("usdPerHour") / 3600.0 - sum("usd")).abs() < 1e-3);

    // At every moment no more is held than there is, and no more drawn than the hall allows.
    for point in series {
        assert!(number(point, "devices") <= 24.0, "{point}");
    }
    for domain in report["power"].as_array().unwrap() {
        assert!(
            number(domain, "peakWatts") <= number(domain, "limitWatts"),
            "{domain}"
        );
    }
    let last = series.last().unwrap();
    assert_eq!((&last["running"], &last["queued"]), (&0.into(), &0.into()));
    for job in jobs {
        assert!(
            number(job, "startSeconds") >= number(job, "arrivalSeconds"),
            "{job}"
        );
    }
    // 36000 units at 10 or 4 per second.
    let either = jobs
        .iter()
        .find(|job| job["job"] == "research/either")
        .unwrap();
    let seconds = number(either, "finishSeconds") - number(either, "startSeconds");
    let expected = if either["alternative"] == "h100" {
        3600.0
    } else {
        9000.0
    };
    assert_eq!(seconds, expected);
}

#[test]
fn the_same_command_prints_the_same_bytes_and_order_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let of = |args: &[&str], html: &str| {
        let page = folder.path().join(html);
        let page = page.to_str().unwrap();
        let args = [args, &["-o", "json", "--html", page]].concat();
        let ran = workload(&data(), &args);
        assert_eq!(ran.code, 0, "{}", ran.err);
        (ran.out, fs::read_to_string(page).unwrap())
    };
    let first = of(&ARRIVALS, "a.html");
    assert_eq!(of(&ARRIVALS, "b.html"), first);
    // The rows and the files the other way round.
    let text = fs::read_to_string(data().join("arrivals.csv")).unwrap();
    let mut rows: Vec<&str> = text.lines().skip(2).collect();
    rows.reverse();
    let turned = folder.path().join("arrivals.csv");
    fs::write(
        &turned,
        format!("job,arrival_seconds\n{}\n", rows.join("\n")),
    )
    .unwrap();
    let turned = [
        "-f",
        "workload/nodes.yaml",
        "-f",
        "workload/jobs.yaml",
        "-f",
        "workload/fleet.yaml",
        "--arrivals",
        turned.to_str().unwrap(),
    ];
    let without_notes = |text: &str| {
        let mut value: serde_json::Value = serde_json::from_str(text).unwrap();
        value["notes"].take();
        value
    };
    assert_eq!(
        without_notes(&of(&turned, "c.html").0),
        without_notes(&first.0)
    );
}

#[test]
fn the_page_stands_alone_and_shows_four_plots() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.html");
    let ran = workload(
        &data(),
        &[&ARRIVALS[..], &["--html", page.to_str().unwrap()]].concat(),
    );
    assert_eq!(ran.code, 0, "{}", ran.err);
    let html = fs::read_to_string(&page).unwrap();
    for outside in [
        "http:", "https:", "<link", "<img", "<script", "src=", "href=", "url(", "@import",
    ] {
        assert!(!html.contains(outside), "{outside}");
    }
    assert_eq!(html.matches("<svg ").count(), 4);
    assert_eq!(html.matches("</svg>").count(), 4);
    assert!(html.contains("prefers-color-scheme:dark"));
    for title in ["Utilisation", "Queue", "Dollars", "Watts"] {
        assert!(html.contains(&format!("<h2>{title}</h2>")), "{title}");
    }
}

#[test]
fn standard_input_and_no_jobs_are_no_error() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("empty.yaml"), "# nothing\n").unwrap();
    let ran = workload(
        folder.path(),
        &["-f", "empty.yaml", "-o", "json", "--html", "page.html"],
    );
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(
        json(&ran)["notes"]
            .to_string()
            .contains("there is no TrainingJob to simulate")
    );
    assert!(
        fs::read_to_string(folder.path().join("page.html"))
            .unwrap()
            .contains("</html>")
    );
}

#[test]
fn bad_input_names_the_place_and_ends_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).unwrap();
    };
    let jobs = fs::read_to_string(data().join("workload/jobs.yaml")).unwrap();
    at("jobs.yaml", &jobs);
    at(
        "broken.yaml",
        &jobs.replace(
            "estimatedDurationSeconds: 7200",
            "estimatedDurationSecond: 7200",
        ),
    );
    at(
        "unknown.csv",
        "job,arrival_seconds\nresearch/gang,0\nresearch/gone,0\ngang,5\n",
    );
    at(
        "negative.csv",
        "job,arrival_seconds\nsmall,-5\nsmall,1e3\nsmall,99999999999\n",
    );
    at("column.csv", "name,time\nsmall,5\n");
    let cases: [&[&str]; 7] = [
        &["-f", "absent"],
        &["-f", "broken.yaml"],
        &["-f", "jobs.yaml", "--arrivals", "unknown.csv"],
        &["-f", "jobs.yaml", "--arrivals", "negative.csv"],
        &["-f", "jobs.yaml", "--arrivals", "column.csv"],
        &["-f", "jobs.yaml", "--at", "yesterday"],
        &["-f", "jobs.yaml", "--html", "no/such/folder/page.html"],
    ];
    let mut said = String::new();
    for args in cases {
        let ran = workload(folder.path(), args);
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
