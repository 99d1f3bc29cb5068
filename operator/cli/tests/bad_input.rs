//! What a user is told about input that cannot be used: file, document, line, field, and what to do. Never a panic.

// A test that cannot go on is to fail.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::process::Command;

const JOB: &str = "apiVersion: ampacity.dev/v1alpha1
kind: TrainingJob
metadata: {name: a, namespace: b}
spec:
  estimatedDurationSeconds: 60
  template: {spec: {containers: [{name: main, image: i}]}}
  alternatives:
  - name: h100
    acceleratorType: nvidia-h100-sxm5-80gb
    devicesPerReplica: 8
    replicas: 4
";

fn plan(folder: &Path, file: &str) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_ampacity"))
        .args(["plan", "-o", "json", "-f", file])
        .current_dir(folder)
        .output()
        .unwrap();
    let code = output.status.code().expect("no signal");
    (code, String::from_utf8(output.stderr).unwrap())
}

/// Writes `content` to a file of that name and plans it.
fn said(file: &str, content: impl AsRef<[u8]>) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(file), content).unwrap();
    plan(folder.path(), file)
}

#[test]
fn every_mistake_names_its_place_and_what_to_do() {
    let edit = |from: &str, to: &str| {
        assert!(JOB.contains(from), "{from}");
        JOB.replacen(from, to, 1)
    };
    let cases: Vec<(&str, &str, String)> = vec![
        ("bad indentation", "a.yaml", edit("    devicesPerReplica", "   devicesPerReplica")),
        ("tab", "a.yaml", edit("  estimated", "\testimated")),
        ("key given twice", "a.yaml", JOB.to_owned() + "    replicas: 5\n"),
        ("word for a number", "a.yaml", edit("replicas: 4", "replicas: four")),
        ("number in quotes", "a.yaml", edit("replicas: 4", "replicas: '4'")),
        ("below the bound", "a.yaml", edit("replicas: 4", "replicas: -1")),
        ("huge number", "a.yaml", edit("replicas: 4", "replicas: 99999999999999999999999999")),
        ("infinity", "a.yaml", edit("replicas: 4", "replicas: .inf")),
        ("number for text", "a.yaml", edit("replicas: 4", "throughput: 10.4")),
        ("unknown field", "a.yaml", edit("replicas: 4", "replics: 4")),
        ("unknown field at the top", "a.yaml", JOB.to_owned() + "sepc: {}\n"),
        ("unknown field of the pod", "a.yaml", edit("image: i", "image: i, imagePullPolcy: Always")),
        ("wrong type in the pod", "a.yaml", edit("image: i", "image: i, command: run.sh")),
        ("unknown device", "a.yaml", edit("sxm5-80gb", "sxm5-80g")),
        ("unknown PriorityClass", "a.yaml", edit("  estimated", "  priorityClassName: nope\n  estimated")),
        ("amount of memory", "a.yaml", edit("image: i", "image: i, resources: {requests: {memory: 12GB}}")),
        ("missing field", "a.yaml", edit("    devicesPerReplica: 8\n", "")),
        ("missing name", "a.yaml", edit("name: a, ", "")),
        ("name that is none", "a.yaml", edit("name: a,", "name: A_b,")),
        ("name too long for a host", "a.yaml", edit("name: a,", &format!("name: {},", "a".repeat(60)))),
        ("neither device nor selector", "a.yaml", edit("    acceleratorType: nvidia-h100-sxm5-80gb\n", "")),
        ("work without throughput", "a.yaml", edit("estimatedDurationSeconds: 60", "work: {units: 5}")),
        ("no image", "a.yaml", edit(", image: i", "")),
        ("two alternatives of one name", "a.yaml", JOB.to_owned() + "  - {name: h100, acceleratorType: nvidia-l4, devicesPerReplica: 1}\n"),
        ("list that is an object", "a.yaml", edit("  alternatives:\n  - name: h100", "  alternatives:\n    name: h100")),
        ("empty object", "a.yaml", edit("metadata: {name: a, namespace: b}", "metadata:")),
        ("no such version", "a.yaml", edit("v1alpha1", "v1")),
        ("no such kind", "a.yaml", edit("TrainingJob", "TraningJob")),
        ("no kind", "a.yaml", "a: 1\n".to_owned()),
        ("only text", "a.yaml", "just text\n".to_owned()),
        ("second document", "a.yaml", format!("{JOB}---\n{}", edit("replicas: 4", "replicas: 0").replace("name: a", "name: c"))),
        ("item of a List", "a.yaml", "apiVersion: v1\nkind: List\nitems:\n- apiVersion: ampacity.dev/v1alpha1\n  kind: PowerBudget\n  metadata: {name: x}\n  spec:\n    limitWatts: -5\n    queueRef: {name: q}\n".to_owned()),
        ("same name, other contents", "a.yaml", format!("{JOB}---\n{}", edit("replicas: 4", "replicas: 5"))),
        ("JSON syntax", "a.json", "{\"kind\": \"Node\"\n \"metadata\": {}}".to_owned()),
        ("JSON field", "a.json", "{\"apiVersion\": \"ampacity.dev/v1alpha1\", \"kind\": \"PowerDomain\", \"metadata\": {\"name\": \"x\"},\n \"spec\": {\n  \"ratedWatts\": \"60\"}}".to_owned()),
        ("control characters", "a.yaml", "apiVersion: ampacity.dev/v1alpha1\nkind: \"\\e[31mred\"\nmetadata: {name: x}\n".to_owned()),
    ];
    let mut told = String::new();
    for (what, file, content) in cases {
        let (code, err) = said(file, content);
        // A manifest that names what is not there is well-formed; its job has no place.
        let wanted = if ["unknown device", "unknown PriorityClass"].contains(&what) {
            2
        } else {
            1
        };
        assert_eq!(code, wanted, "{what}: {err}");
        told.push_str(&format!("# {what}\n{err}\n"));
    }
    insta::assert_snapshot!(told);
}

#[test]
fn what_is_no_manifest_at_all_is_refused() {
    let bomb: String = ('b'..='h')
        .map(|c| {
            let before = char::from(c as u8 - 1);
            format!("{c}: &{c} [{}]\n", vec![format!("*{before}"); 9].join(","))
        })
        .fold("a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned(), |all, line| {
            all + &line
        });
    let ladder: String = (0..3000).map(|depth| " ".repeat(depth) + "a:\n").collect();
    let cases: Vec<(&str, &str, Vec<u8>)> = vec![
        ("zero bytes", "a.yaml", vec![0, 1, 2, 3]),
        ("not UTF-8", "a.yaml", b"a: 1\nb: \xff\n".to_vec()),
        ("aliases that multiply", "a.yaml", bomb.into_bytes()),
        ("nested lists", "a.yaml", "[".repeat(100_000).into_bytes()),
        (
            "nested JSON",
            "a.json",
            "{\"a\":".repeat(100_000).into_bytes(),
        ),
        ("nested mappings", "a.yaml", ladder.into_bytes()),
    ];
    let mut told = String::new();
    for (what, file, content) in cases {
        let (code, err) = said(file, content);
        assert_eq!(code, 1, "{what}: {err}");
        told.push_str(&format!("# {what}\n{err}\n"));
    }
    insta::assert_snapshot!(told);
}

#[test]
fn all_mistakes_of_all_files_are_told_up_to_a_bound() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..30 {
        let name = folder.path().join(format!("{number:02}.yaml"));
        fs::write(name, JOB.replace("replicas: 4", "replicas: 0")).unwrap();
    }
    let (code, err) = plan(folder.path(), ".");
    assert_eq!(code, 1);
    assert_eq!(err.lines().count(), 21, "{err}");
    assert!(err.contains("00.yaml") && err.contains("07.yaml"), "{err}");
    assert!(
        err.ends_with("error: there is more; correct these first\n"),
        "{err}"
    );
}

#[test]
fn a_job_that_cannot_be_planned_does_not_stop_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let other = JOB.replace("name: a,", "name: z,");
    let bad = JOB.replace("sxm5-80gb", "sxm5-80g");
    fs::write(folder.path().join("a.yaml"), format!("{bad}---\n{other}")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_ampacity"))
        .args(["plan", "-o", "json", "-f", "."])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["unplaced"][0]["job"], "b/a");
    assert_eq!(report["unplaced"][0]["reasons"][0]["reason"], "Invalid");
    assert_eq!(report["unplaced"][0]["fix"]["action"], "ChangeJob");
    assert_eq!(report["unplaced"][1]["job"], "b/z");
    assert_eq!(report["totals"]["unplaced"], 2);
}

#[test]
fn a_path_or_argument_that_cannot_be_used_ends_with_1() {
    for (args, said) in [
        (
            vec!["plan", "-f", "missing.yaml"],
            "missing.yaml: cannot be opened",
        ),
        (vec!["plan"], "required"),
        (vec!["plan", "-f", ".", "--at", "noon"], "--at"),
        (vec!["plan", "-f", ".", "-o", "xml"], "xml"),
        (
            vec!["operator", "--kubeconfig", "missing"],
            "cannot read kubeconfig missing",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_ampacity"))
            .args(&args)
            .current_dir(folder.path())
            .env_remove("KUBECONFIG")
            .output()
            .unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {err}");
        assert!(err.contains(said), "{args:?}: {err}");
    }
}

#[test]
fn kubectl_finds_it_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = folder.path().join("kubectl-ampacity");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_ampacity"), &plugin).unwrap();
    let output = Command::new(plugin).arg("version").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn crds_print_every_definition_and_version_prints_the_version() {
    let run = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_ampacity"))
            .args(args)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stdout).unwrap()
    };
    let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(&run(&["crds"])).unwrap();
    let kinds: Vec<_> = documents
        .iter()
        .map(|d| d["spec"]["names"]["kind"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        [
            "AcceleratorType",
            "InferenceJob",
            "MemberCluster",
            "Placement",
            "PowerBudget",
            "PowerDomain",
            "PriceSheet",
            "TrainingJob"
        ]
    );
    assert_eq!(
        run(&["version"]),
        format!("ampacity {}\n", env!("CARGO_PKG_VERSION"))
    );
}

// A version or a group that is nearly ours is never somebody else's kind, whatever the kind.
#[test]
fn a_misspelt_api_version_is_bad_input_with_its_line() {
    for (given, kind) in [
        ("ampacity.dev/v1alpha2", "TrainingJob"),
        ("ampacity.dev/v1", "JobQueue"),
        ("ampacity.dev/v1", "CapacityReservation"),
        ("ampacity.de/v1alpha1", "TrainingJob"),
        ("v1alpha1", "MemberCluster"),
    ] {
        let text =
            format!("# a comment\napiVersion: {given}\nkind: {kind}\nmetadata: {{name: a}}\n");
        let (code, error) = said("a.yaml", text);
        assert_eq!(code, 1, "{given} {kind}: {error}");
        let expected = format!(
            "error: a.yaml, line 2, apiVersion: {given:?} does not exist; use ampacity.dev/v1alpha1\n"
        );
        assert_eq!(error, expected);
    }
    let foreign =
        "apiVersion: sagemaker.services.k8s.aws/v1alpha1\nkind: TrainingJob\nmetadata: {name: a}\n";
    assert_eq!(said("a.yaml", foreign).0, 0);
}
