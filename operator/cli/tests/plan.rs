//! The `plan` command as a user runs it.

// A test that cannot go on is to fail.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The time at which everything here is planned.
const AT: &str = "2026-07-01T00:00:00Z";

struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn ampacity(folder: &Path, args: &[&str], stdin: &str) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ampacity"))
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input closes it; that is no failure of the test.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code().expect("no signal"),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn plan(args: &[&str]) -> Ran {
    let all: Vec<&str> = ["plan", "--at", AT].iter().chain(args).copied().collect();
    ampacity(&fixtures(), &all, "")
}

fn json(ran: &Ran) -> serde_json::Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {}{}", ran.out, ran.err))
}

#[test]
fn a_small_fleet_as_table() {
    let ran = plan(&["-f", "fleet", "-f", "jobs"]);
    assert_eq!((ran.code, ran.err.as_str()), (2, ""));
    insta::assert_snapshot!(ran.out);
}

#[test]
fn a_small_fleet_as_json() {
    let ran = plan(&["-f", "fleet", "-f", "jobs", "-o", "json"]);
    assert_eq!((ran.code, ran.err.as_str()), (2, ""));
    insta::assert_snapshot!(ran.out);
}

#[test]
fn yaml_says_the_same_as_json() {
    let from_yaml: serde_json::Value =
        serde_saphyr::from_str(&plan(&["-f", ".", "-o", "yaml"]).out).unwrap();
    assert_eq!(from_yaml, json(&plan(&["-f", ".", "-o", "json"])));
}

#[test]
fn the_order_of_files_changes_nothing() {
    let expected = plan(&["-f", "fleet", "-f", "jobs", "-o", "json"]).out;
    let mut files: Vec<String> = ["fleet", "jobs"]
        .iter()
        .flat_map(|folder| fs::read_dir(fixtures().join(folder)).unwrap())
        .map(|entry| entry.unwrap().path().display().to_string())
        .collect();
    files.sort();
    for turn in 0..files.len() {
        files.rotate_left(1);
        let mut args: Vec<&str> = files
            .iter()
            .flat_map(|file| ["-f", file.as_str()])
            .collect();
        if turn % 2 == 1 {
            args.reverse();
            args.chunks_mut(2).for_each(|pair| pair.reverse());
        }
        args.extend(["-o", "json"]);
        assert_eq!(plan(&args).out, expected);
    }
    // The documents of one stream in another order, as objects of one List.
    let mut items: Vec<serde_json::Value> = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        items.extend(serde_saphyr::from_multiple::<serde_json::Value>(&text).unwrap());
    }
    items.reverse();
    let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
    let ran = ampacity(
        &fixtures(),
        &["plan", "--at", AT, "-f", "-", "-o", "json"],
        &list,
    );
    assert_eq!(ran.out, expected);
}

#[test]
fn all_placed_ends_with_0() {
    let ran = plan(&["-f", "fleet", "-f", "jobs/inference.yaml", "-o", "json"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let report = json(&ran);
    assert_eq!(report["totals"]["placed"], 1);
    let replicas: u64 = report["placements"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["replicas"].as_u64().unwrap())
        .sum();
    assert_eq!(replicas, 4);
}

#[test]
fn several_paths_may_follow_one_flag() {
    let one_flag = plan(&["-f", "fleet", "jobs", "-o", "json"]);
    let two_flags = plan(&["-f", "fleet", "-f", "jobs", "-o", "json"]);
    assert_eq!(
        (one_flag.code, one_flag.out),
        (two_flags.code, two_flags.out)
    );
}

#[test]
fn a_path_without_manifests_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("empty/deeper")).unwrap();
    fs::write(folder.path().join("empty/notes.txt"), "no manifest").unwrap();
    fs::write(folder.path().join("blank.yaml"), "# to be written\n").unwrap();
    let args = ["plan", "-f", "empty", "blank.yaml", "-o", "json"];
    let ran = ampacity(folder.path(), &args, "");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    for path in ["blank.yaml", "empty"] {
        let note = format!("{path}: there is no manifest in it (YAML or JSON)");
        let notes = json(&ran)["notes"].as_array().unwrap().clone();
        assert!(notes.contains(&note.as_str().into()), "{notes:?}");
    }
}

#[test]
fn kinds_that_are_not_in_force_yet_are_passed_over_with_a_note() {
    let input = format!(
        "{{apiVersion: ampacity.dev/v1alpha1, kind: JobQueue, metadata: {{name: q}}, spec: {{weight: 1}}}}\n---\n\
         {{apiVersion: ampacity.dev/v1alpha1, kind: CapacityReservation, metadata: {{name: r}}, spec: {{nodes: 16}}}}\n---\n{NODE}---\n{JOB}"
    );
    let ran = ampacity(&fixtures(), &["plan", "-f", "-", "-o", "json"], &input);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let notes = json(&ran)["notes"].to_string();
    for kind in ["JobQueue", "CapacityReservation"] {
        let note = format!("1 object of kind {kind} ignored: the kind is not in force yet");
        assert!(notes.contains(&note), "{notes}");
    }
}

#[test]
fn nothing_to_plan_is_said_and_no_error() {
    for input in [
        "",
        "# only a comment\n---\n",
        "{\"kind\": \"List\", \"apiVersion\": \"v1\", \"items\": []}",
    ] {
        let ran = ampacity(&fixtures(), &["plan", "-f", "-", "-o", "json"], input);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{input}");
        let notes = json(&ran)["notes"].to_string();
        assert!(
            notes.contains("there is no TrainingJob or InferenceJob to plan"),
            "{notes}"
        );
    }
}

const NODE: &str = "
apiVersion: v1
kind: Node
metadata:
  labels: {nvidia.com/gpu.product: NVIDIA-L4}
status: {allocatable: {cpu: 8, memory: 32Gi, pods: 10, nvidia.com/gpu: 2}}
";

const JOB: &str = "apiVersion: ampacity.dev/v1alpha1
kind: TrainingJob
metadata:
  name: one
spec:
  estimatedDurationSeconds: 60
  template:
    spec:
      containers:
      - name: main
        image: a
  alternatives:
  - name: l4
    acceleratorType: nvidia-l4
    devicesPerReplica: 1
    replicas: 2
";

#[test]
fn a_node_without_name_and_cluster_is_used_with_a_note() {
    let ran = ampacity(
        &fixtures(),
        &["plan", "-f", "-", "-o", "json"],
        &format!("{NODE}---\n{JOB}"),
    );
    assert_eq!(ran.code, 0, "{}", ran.err);
    let report = json(&ran);
    assert_eq!(report["placements"][0]["cluster"], "default");
    assert_eq!(report["placements"][0]["capacityType"], "Owned");
    assert_eq!(report["placements"][0]["unpriced"], true);
    assert_eq!(
        report["placements"][0]["nodes"][0]["name"],
        "standard-input-1"
    );
    let notes = report["notes"].to_string();
    assert!(notes.contains("no MemberCluster is given"), "{notes}");
    assert!(
        notes.contains("has no metadata.name; it is called standard-input-1 here"),
        "{notes}"
    );
}

#[test]
fn pods_hold_devices_unless_they_have_ended() {
    let pod = |phase: &str| {
        let node = NODE.replace("metadata:", "metadata:\n  name: n1");
        format!(
            "{node}---\n{{apiVersion: v1, kind: Pod, metadata: {{name: p}}, spec: {{nodeName: n1, containers: [{{name: c, resources: {{limits: {{nvidia.com/gpu: 1}}}}}}]}}, status: {{phase: {phase}}}}}\n---\n{JOB}"
        )
    };
    let code = |phase: &str| ampacity(&fixtures(), &["plan", "-f", "-"], &pod(phase)).code;
    assert_eq!(code("Running"), 2);
    assert_eq!(code("Succeeded"), 0);
}

/// A Placement of `one` on node n1.
const PLACEMENT: &str = "
apiVersion: ampacity.dev/v1alpha1
kind: Placement
metadata: {name: one-1, namespace: default}
spec:
  jobRef: {kind: TrainingJob, name: one, uid: u}
  attempt: 1
  epoch: 1
  cluster: default
  alternative: l4
  acceleratorType: nvidia-l4
  capacityType: Owned
  devicesPerReplica: 1
  replicas: 2
  nodes: [{name: n1, replicas: 2}]
  resource: {resourceName: nvidia.com/gpu}
  watts: 200
  usdPerHour: '0'
";

#[test]
fn what_a_placement_holds_is_held_once_and_its_job_is_not_planned_again() {
    let node = NODE.replace("metadata:", "metadata:\n  name: n1");
    // Its pod is the same devices, not more of them.
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: one-0, namespace: default, labels: {ampacity.dev/placement: one-1}}, spec: {nodeName: n1, containers: [{name: c, resources: {limits: {nvidia.com/gpu: 2}}}]}}";
    let other = JOB.replace("name: one", "name: two");
    let input = format!("{node}---{PLACEMENT}---\n{pod}\n---\n{JOB}---\n{other}");
    let ran = ampacity(&fixtures(), &["plan", "-f", "-", "-o", "json"], &input);
    assert_eq!(ran.code, 2, "{}", ran.err);
    let report = json(&ran);
    assert_eq!(report["placements"], serde_json::json!([]));
    assert_eq!(report["unplaced"][0]["job"], "default/two");
    assert!(
        report["notes"]
            .to_string()
            .contains("TrainingJob default/one: runs in default already")
    );
    // Once it has ended, nothing is held.
    let ended = PLACEMENT.to_owned() + "status: {phase: Succeeded}\n";
    let input = format!("{node}---{ended}---\n{other}");
    assert_eq!(ampacity(&fixtures(), &["plan", "-f", "-"], &input).code, 0);
}

/// What a Placement of two devices on a node of four leaves is two, whatever of UIDs the objects say that are consistent.
#[test]
fn pods_of_a_placement_hold_what_it_holds_and_no_more() {
    let node = NODE
        .replace("metadata:", "metadata:\n  name: n1")
        .replace("nvidia.com/gpu: 2", "nvidia.com/gpu: 4");
    assert!(node.contains("nvidia.com/gpu: 4"), "{node}");
    let other = JOB.replace("name: one", "name: two");
    let pod = |uid: &str| {
        let annotations = if uid.is_empty() {
            String::new()
        } else {
            format!(", annotations: {{ampacity.dev/placement-uid: {uid}}}")
        };
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: one-0, namespace: default, labels: {{ampacity.dev/placement: one-1, ampacity.dev/hub: any}}{annotations}}}, spec: {{nodeName: n1, containers: [{{name: c, resources: {{limits: {{nvidia.com/gpu: 2}}}}}}]}}}}"
        )
    };
    for (what, placement_uid, pod_uid, code) in [
        ("neither says", "", "", 0),
        ("both say", "p", "p", 0),
        ("only the pod says", "", "p", 0),
        ("of an earlier placement of the name", "p", "q", 2),
        ("a pod that does not say is anybody's", "p", "", 2),
    ] {
        let uid = if placement_uid.is_empty() {
            String::new()
        } else {
            format!(", uid: {placement_uid}")
        };
        let placement =
            PLACEMENT.replace("namespace: default}", &format!("namespace: default{uid}}}"));
        let input = format!(
            "{node}---{placement}---\n{}\n---\n{JOB}---\n{other}",
            pod(pod_uid)
        );
        let ran = ampacity(&fixtures(), &["plan", "-f", "-"], &input);
        assert_eq!(ran.code, code, "{what}: {}{}", ran.out, ran.err);
    }
}

/// Two clusters' pods in one file, or two dumps of one: what either pod holds is held. The same pod twice is one.
#[test]
fn pods_of_one_name_that_are_not_the_same_pod_hold_devices_each() {
    let node = |name: &str| NODE.replace("metadata:", &format!("metadata:\n  name: {name}"));
    let pod = |node: &str, uid: &str| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: vllm-0, namespace: default, uid: {uid}}}, spec: {{nodeName: {node}, containers: [{{name: c, resources: {{limits: {{nvidia.com/gpu: 2}}}}}}]}}}}"
        )
    };
    for (what, first, second, code, noted) in [
        ("one pod twice", pod("n1", "u"), pod("n1", "u"), 0, false),
        ("on two nodes", pod("n1", "u"), pod("n2", "v"), 2, true),
        (
            "on two nodes, one UID",
            pod("n1", "u"),
            pod("n2", "u"),
            2,
            true,
        ),
    ] {
        let input = format!(
            "{}---{}---\n{first}\n---\n{second}\n---\n{JOB}",
            node("n1"),
            node("n2")
        );
        let ran = ampacity(&fixtures(), &["plan", "-f", "-", "-o", "json"], &input);
        assert_eq!(ran.code, code, "{what}: {}{}", ran.out, ran.err);
        let notes = json(&ran)["notes"].to_string();
        assert_eq!(
            notes.contains("pod vllm-0 is given on node n1 and on node n2"),
            noted,
            "{what}: {notes}"
        );
    }
}

#[test]
fn a_node_of_no_known_cluster_is_left_out_and_the_rest_goes_on() {
    let clusters = "---
{apiVersion: ampacity.dev/v1alpha1, kind: MemberCluster, metadata: {name: a}, spec: {provider: onprem, region: r}}
---
{apiVersion: ampacity.dev/v1alpha1, kind: MemberCluster, metadata: {name: b}, spec: {provider: onprem, region: r}}
---
";
    let labelled = NODE.replace("labels: {", "labels: {ampacity.dev/cluster: b, ");
    let lost = NODE.replace("labels: {", "labels: {ampacity.dev/cluster: zz, ");
    let input = format!("{NODE}{clusters}{labelled}---\n{lost}---\n{JOB}");
    let ran = ampacity(&fixtures(), &["plan", "-f", "-", "-o", "json"], &input);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let report = json(&ran);
    assert_eq!(report["placements"][0]["cluster"], "b");
    let notes = report["notes"].to_string();
    assert!(
        notes.contains("there are 2 MemberClusters and nothing says to which it belongs"),
        "{notes}"
    );
    assert!(
        notes.contains("names MemberCluster \\\"zz\\\", which is not given"),
        "{notes}"
    );
}

#[test]
fn a_cluster_that_happens_to_be_called_default_takes_no_stray_nodes() {
    let clusters = "---
{apiVersion: ampacity.dev/v1alpha1, kind: MemberCluster, metadata: {name: default}, spec: {provider: onprem, region: r}}
---
{apiVersion: ampacity.dev/v1alpha1, kind: MemberCluster, metadata: {name: b}, spec: {provider: onprem, region: r}}
---
";
    let input = format!("{NODE}{clusters}{JOB}");
    let ran = ampacity(&fixtures(), &["plan", "-f", "-", "-o", "json"], &input);
    assert_eq!(ran.code, 2, "{}", ran.err);
    let notes = json(&ran)["notes"].to_string();
    assert!(
        notes.contains("there are 2 MemberClusters and nothing says to which it belongs"),
        "{notes}"
    );
}

/// One node of 8 H100, on which `now` runs until an hour after the plan, and two jobs that wait for it.
const CHAIN: &str = r#"
apiVersion: v1
kind: Node
metadata: {name: n1, labels: {nvidia.com/gpu.product: NVIDIA-H100-80GB-HBM3}}
status:
  capacity: {cpu: "96", memory: 1Ti, pods: "110", nvidia.com/gpu: "8"}
  allocatable: {cpu: "96", memory: 1Ti, pods: "110", nvidia.com/gpu: "8"}
  conditions: [{type: Ready, status: "True"}]
---
apiVersion: ampacity.dev/v1alpha1
kind: TrainingJob
metadata: {name: now, namespace: a, creationTimestamp: "2026-06-30T00:00:00Z"}
spec:
  estimatedDurationSeconds: 7200
  template: {spec: {containers: [{name: main, image: i}]}}
  alternatives: [{name: h100, acceleratorType: nvidia-h100-sxm5-80gb, devicesPerReplica: 8, replicas: 1}]
status: {state: Running, estimatedCompletionTime: "2026-07-01T01:00:00Z"}
---
apiVersion: ampacity.dev/v1alpha1
kind: Placement
metadata: {name: now-1, namespace: a}
spec:
  jobRef: {kind: TrainingJob, name: now, uid: u}
  attempt: 1
  epoch: 1
  cluster: default
  alternative: h100
  acceleratorType: nvidia-h100-sxm5-80gb
  capacityType: Owned
  devicesPerReplica: 8
  replicas: 1
  nodes: [{name: n1, replicas: 1}]
  resource: {resourceName: nvidia.com/gpu}
  watts: 10200
  usdPerHour: "8"
---
apiVersion: ampacity.dev/v1alpha1
kind: TrainingJob
metadata: {name: next, namespace: a, creationTimestamp: "2026-06-30T01:00:00Z"}
spec:
  estimatedDurationSeconds: 7200
  template: {spec: {containers: [{name: main, image: i}]}}
  alternatives: [{name: h100, acceleratorType: nvidia-h100-sxm5-80gb, devicesPerReplica: 8, replicas: 1}]
---
apiVersion: ampacity.dev/v1alpha1
kind: TrainingJob
metadata: {name: last, namespace: a, creationTimestamp: "2026-06-30T02:00:00Z"}
spec:
  estimatedDurationSeconds: 60
  template: {spec: {containers: [{name: main, image: i}]}}
  alternatives: [{name: h100, acceleratorType: nvidia-h100-sxm5-80gb, devicesPerReplica: 8, replicas: 1}]
"#;

#[test]
fn what_starts_within_the_horizon_is_placed_in_its_turn() {
    // Horizon in seconds, exit code, starts of `next` and `last`, and whether each is a placement.
    for (horizon, code, placed) in [("0", 2, 0), ("3600", 2, 1), ("10800", 0, 2)] {
        let args = ["plan", "--at", AT, "-f", "-", "--horizon", horizon];
        let ran = ampacity(&fixtures(), &[&args[..], &["-o", "json"]].concat(), CHAIN);
        assert_eq!((ran.code, ran.err.as_str()), (code, ""), "{}", ran.out);
        let report = json(&ran);
        let seconds = |list: &str, field: &str| -> Vec<(String, i64)> {
            let items = report[list].as_array().unwrap().iter();
            items
                .map(|item| {
                    let job = item["job"].as_str().unwrap().to_owned();
                    (job, item[field].as_i64().unwrap())
                })
                .collect()
        };
        let mut starts = seconds("placements", "startSeconds");
        assert_eq!(starts.len(), placed, "horizon {horizon}");
        starts.extend(seconds("unplaced", "earliestStartSeconds"));
        starts.sort();
        let expected = [("a/last", 10_800), ("a/next", 3600)];
        assert_eq!(starts, expected.map(|(job, start)| (job.to_owned(), start)));
        assert_eq!(report["totals"]["watts"], 0, "nothing starts now");
    }
    let args = ["plan", "--at", AT, "-f", "-", "--horizon", "3600"];
    insta::assert_snapshot!(ampacity(&fixtures(), &args, CHAIN).out);
    let refused = ampacity(&fixtures(), &["plan", "-f", "-", "--horizon", "-1"], CHAIN);
    assert_ne!(refused.code, 0);
}
