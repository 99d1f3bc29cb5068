//! `ampacity simulate openb` as a user runs it, on a reduced copy of the published lists.

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

fn openb(folder: &Path, args: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_ampacity"))
        .args(["simulate", "openb"])
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

fn run(more: &[&str]) -> Ran {
    let mut args = vec!["--nodes", "openb-nodes.csv", "--pods", "openb-pods.csv"];
    args.extend(more);
    openb(&data(), &args)
}

fn json(ran: &Ran) -> serde_json::Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {}{}", ran.out, ran.err))
}

#[test]
fn every_policy_reports_load_by_load_and_repeats_itself() {
    for policy in [
        "ampacity",
        "ampacity-power",
        "fgd",
        "fgd-power",
        "best-fit",
        "random",
    ] {
        let args = ["--policy", policy, "--seed", "7", "-o", "json"];
        let ran = run(&args);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{policy}");
        assert_eq!(run(&args).out, ran.out, "{policy}");
        let report = json(&ran);
        assert_eq!(report["policy"], policy);
        let points = report["points"].as_array().unwrap();
        let number = |at: usize, field: &str| points[at][field].as_f64().unwrap();
        for at in 1..points.len() {
            assert!(
                number(at, "arrivedPercent") > number(at - 1, "arrivedPercent")
                    && number(at, "allocatedGpuPercent") >= number(at - 1, "allocatedGpuPercent")
                    && number(at, "watts") >= number(at - 1, "watts"),
                "{policy} {at}: nothing ever leaves"
            );
        }
        let last = points.len() - 1;
        assert!(number(last, "arrivedPercent") > 120.0, "{policy}");
        let idle = 100.0 - number(last, "allocatedGpuPercent");
        assert!(
            (0.0..40.0).contains(&idle) && number(last, "fragmentedGpuPercent") <= idle,
            "{policy}: {idle}"
        );
        assert!(
            (number(last, "grar") * number(last, "arrivedPercent")
                - number(last, "allocatedGpuPercent"))
            .abs()
                < 1.0,
            "{policy}: GRAR is allocated over arrived"
        );
    }
}

#[test]
fn the_table_shows_the_same_points() {
    let ran = run(&["--tune", "0.1"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    insta::assert_snapshot!(ran.out);
}

#[test]
fn another_seed_is_another_run() {
    let of = |seed: &str| {
        json(&run(&["--policy", "random", "--seed", seed, "-o", "json"]))["points"].clone()
    };
    assert_ne!(of("1"), of("2"));
}

#[test]
fn yaml_says_the_same_as_json() {
    let yaml: serde_json::Value = serde_saphyr::from_str(&run(&["-o", "yaml"]).out).unwrap();
    assert_eq!(yaml, json(&run(&["-o", "json"])));
}

#[test]
fn bad_lists_name_the_place_and_end_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let good_nodes = "sn,cpu_milli,memory_mib,gpu,model\nn1,8000,1000,2,T4\n";
    let good_pods = "name,cpu_milli,memory_mib,num_gpu,gpu_milli\np1,1000,10,1,500\n";
    let cases = [
        ("sn,cpu_milli\nn1,1\n", good_pods),
        (
            "sn,cpu_milli,memory_mib,gpu,model\nn1,8000,1000,9,T4\nn1,-8,1000,2,\n",
            good_pods,
        ),
        (
            "sn,cpu_milli,memory_mib,gpu,model\nn1,8000,99999999999,2,T4\nn2,1.5,1000,2,\n",
            good_pods,
        ),
        (
            "sn,cpu_milli,memory_mib,gpu,model\nn1,8000,1000,0,\n",
            good_pods,
        ),
        (
            good_nodes,
            "name,cpu_milli,memory_mib,num_gpu,gpu_milli\np1,1000,10,1\n",
        ),
        (
            good_nodes,
            "name,cpu_milli,memory_mib,num_gpu,gpu_milli\np1,1000,10,one,\n,1,1,1,1\n",
        ),
        (good_nodes, "name,cpu_milli,memory_mib,num_gpu,gpu_milli\n"),
        ("\u{0}\u{1}\u{2}", "%PDF-1.4\n"),
    ];
    let mut said = String::new();
    for (nodes, pods) in cases {
        fs::write(folder.path().join("nodes.csv"), nodes).unwrap();
        fs::write(folder.path().join("pods.csv"), pods).unwrap();
        let ran = openb(
            folder.path(),
            &["--nodes", "nodes.csv", "--pods", "pods.csv"],
        );
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{}", ran.err);
        said.push_str(&ran.err);
        said.push('\n');
    }
    for args in [
        &["--nodes", "absent.csv", "--pods", "absent.csv"][..],
        &["--nodes", "nodes.csv", "--pods", "pods.csv", "--tune", "0"][..],
        &[
            "--nodes",
            "nodes.csv",
            "--pods",
            "pods.csv",
            "--tune",
            "nan",
        ][..],
        &[
            "--nodes",
            "nodes.csv",
            "--pods",
            "pods.csv",
            "--policy",
            "best",
        ][..],
    ] {
        let ran = openb(folder.path(), args);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{}", ran.err);
        said.push_str(&ran.err);
        said.push('\n');
    }
    insta::assert_snapshot!(said);
}

#[test]
fn a_run_that_would_take_all_memory_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut nodes = "sn,cpu_milli,memory_mib,gpu,model\n".to_owned();
    for at in 0..20_000 {
        nodes.push_str(&format!("n{at},1,1,8,T4\n"));
    }
    fs::write(folder.path().join("nodes.csv"), nodes).unwrap();
    fs::write(
        folder.path().join("pods.csv"),
        "name,cpu_milli,memory_mib,num_gpu,gpu_milli\np1,0,0,1,1\n",
    )
    .unwrap();
    let ran = openb(
        folder.path(),
        &["--nodes", "nodes.csv", "--pods", "pods.csv"],
    );
    assert_eq!(ran.code, 1);
    assert!(
        ran.err
            .contains("asks for so little that about 208000000 tasks"),
        "{}",
        ran.err
    );
}

#[test]
fn models_without_published_watts_are_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("nodes.csv"),
        "sn,cpu_milli,memory_mib,gpu,model\nn1,8000,1000,2,B300\nn2,8000,1000,2,T4\n",
    )
    .unwrap();
    fs::write(
        folder.path().join("pods.csv"),
        "name,cpu_milli,memory_mib,num_gpu,gpu_milli\np1,1000,10,1,500\n",
    )
    .unwrap();
    let ran = openb(
        folder.path(),
        &["--nodes", "nodes.csv", "--pods", "pods.csv"],
    );
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(
        ran.out.contains("the PWR paper has no watts for B300;"),
        "{}",
        ran.out
    );
}
