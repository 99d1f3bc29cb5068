//! Where a search begins: the project's own fixtures and examples, put together as a target wants them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::Value;

use crate::mutate::HOSTILE;
use crate::targets::SEPARATOR;

/// The seeds of a target, by name of the target.
///
/// # Errors
/// When a fixture cannot be read.
pub fn of(target: &str) -> anyhow::Result<Vec<Vec<u8>>> {
    match target {
        "plan" => plan(),
        "workload" => workload(),
        "openb" => openb(),
        "gavel" => gavel(),
        _ => anyhow::bail!("no target is named {target:?}"),
    }
}

/// Inputs of a target that once broke something.
///
/// # Errors
/// When one cannot be read.
pub fn regressions(target: &str) -> anyhow::Result<Vec<(PathBuf, Vec<u8>)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("regressions")
        .join(target);
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let read = |path: PathBuf| Ok((path.clone(), bytes(&path)?));
    files(&folder)?.into_iter().map(read).collect()
}

/// Words that mean something to a parser, in libFuzzer's format: fields and values of every kind, and hostile numbers.
///
/// # Errors
/// When a schema cannot be written as JSON.
pub fn dictionary() -> anyhow::Result<String> {
    let mut words: BTreeSet<String> = HOSTILE.map(str::to_owned).into();
    for crd in ampacity_api::crds() {
        words.insert(format!("kind: {}", crd.spec.names.kind));
        collect(&serde_json::to_value(&crd.spec.versions)?, &mut words);
    }
    let quoted = |word: &String| format!("{word:?}\n");
    Ok(words.iter().map(quoted).collect())
}

/// Names of fields and values of enums.
fn collect(schema: &Value, words: &mut BTreeSet<String>) {
    match schema {
        Value::Object(object) => {
            for (key, value) in object {
                if let ("properties", Value::Object(fields)) = (key.as_str(), value) {
                    words.extend(fields.keys().map(|field| format!("{field}: ")));
                }
                if let ("enum", Value::Array(values)) = (key.as_str(), value) {
                    words.extend(values.iter().filter_map(Value::as_str).map(str::to_owned));
                }
                collect(value, words);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, words)),
        _ => {}
    }
}

/// A file of the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

fn bytes(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The files of a folder and of the folders in it, by name.
fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// All files of folders as one stream of documents.
fn stream(folders: &[&str]) -> anyhow::Result<Vec<u8>> {
    let mut all = Vec::new();
    for folder in folders {
        for file in files(&repository(folder))? {
            let yaml = file.extension().is_some_and(|e| e == "yaml" || e == "json");
            if yaml {
                all.extend(b"---\n");
                all.extend(bytes(&file)?);
                all.push(b'\n');
            }
        }
    }
    Ok(all)
}

fn plan() -> anyhow::Result<Vec<Vec<u8>>> {
    let mut seeds = vec![
        stream(&["operator/cli/tests/fixtures"])?,
        stream(&["operator/cli/tests/fixtures/fleet"])?,
        stream(&["operator/cli/tests/simulate-data/workload"])?,
        stream(&["docs/examples"])?,
        stream(&[
            "operator/controller/tests/fixtures/nodes",
            "operator/cli/tests/fixtures/jobs",
        ])?,
        stream(&["operator/controller/tests/fixtures/resourceslices"])?,
        stream(&[
            "tests/e2e/fixtures/manifests/good",
            "tests/e2e/fixtures/manifests/status",
        ])?,
        SMALL.as_bytes().to_vec(),
    ];
    for folder in [
        "operator/cli/tests/fixtures/jobs",
        "tests/e2e/fixtures/manifests/good",
    ] {
        for file in files(&repository(folder))? {
            seeds.push(bytes(&file)?);
        }
    }
    Ok(seeds)
}

/// A node, a breaker and jobs: small, so that a change is likely to hit what matters.
const SMALL: &str = "apiVersion: v1
kind: Node
metadata: {name: n, labels: {nvidia.com/gpu.product: NVIDIA-L4}}
status: {allocatable: {cpu: 8, memory: 32Gi, pods: 10, nvidia.com/gpu: 4}}
---
apiVersion: ampacity.dev/v1alpha1
kind: MemberCluster
metadata: {name: default}
spec: {provider: onprem, region: hall}
---
apiVersion: ampacity.dev/v1alpha1
kind: PowerDomain
metadata: {name: a}
spec: {ratedWatts: 2000, parents: [{name: b}], members: [{cluster: default}]}
---
apiVersion: ampacity.dev/v1alpha1
kind: PowerDomain
metadata: {name: b}
spec: {ratedWatts: 3000, parents: [{name: a}]}
---
apiVersion: ampacity.dev/v1alpha1
kind: TrainingJob
metadata: {name: t}
spec:
  work: {units: \"1000\"}
  budget: {maxUsd: \"5\"}
  deadline: \"2026-07-02T00:00:00Z\"
  template: {spec: {containers: [{name: main, image: i}]}}
  alternatives:
  - {name: l4, acceleratorType: nvidia-l4, devicesPerReplica: 1, replicas: 2, throughput: \"0.5\"}
---
apiVersion: ampacity.dev/v1alpha1
kind: InferenceJob
metadata: {name: i}
spec:
  replicas: 3
  spread: {by: Node, maxSkew: 1}
  template: {spec: {containers: [{name: main, image: i}]}}
  alternatives:
  - {name: any, selector: {vendor: nvidia, minMemoryGib: 16}, devicesPerReplica: 1, throughput: \"10\"}
";

fn workload() -> anyhow::Result<Vec<Vec<u8>>> {
    let documents = stream(&["operator/cli/tests/simulate-data/workload"])?;
    let arrivals = bytes(&repository("operator/cli/tests/simulate-data/arrivals.csv"))?;
    let with_arrivals = [&documents, SEPARATOR.as_bytes(), &arrivals].concat();
    let small = [
        SMALL,
        SEPARATOR,
        "job,arrival_seconds\nt,0\nt,1\ndefault/t,500\n",
    ];
    Ok(vec![
        documents,
        with_arrivals,
        small.concat().into_bytes(),
        stream(&["docs/examples"])?,
    ])
}

fn openb() -> anyhow::Result<Vec<Vec<u8>>> {
    let nodes = bytes(&repository(
        "operator/cli/tests/simulate-data/openb-nodes.csv",
    ))?;
    let pods = bytes(&repository(
        "operator/cli/tests/simulate-data/openb-pods.csv",
    ))?;
    let small = [
        "sn,cpu_milli,memory_mib,gpu,model\nn1,8000,1000,2,T4\nn2,96000,9000,8,G2\n",
        SEPARATOR,
        "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\np1,1000,10,1,500,T4|G2\np2,1,1,2,1000,\np3,1,1,0,0,\n",
    ];
    let mut seeds = Vec::new();
    for first in 0..9 {
        seeds.push([&[first], small.concat().as_bytes()].concat());
    }
    for first in 6..12 {
        seeds.push([&[first], &*nodes, SEPARATOR.as_bytes(), &*pods].concat());
    }
    Ok(seeds)
}

fn gavel() -> anyhow::Result<Vec<Vec<u8>>> {
    let table = bytes(&repository(
        "operator/cli/tests/simulate-data/gavel-throughputs.json",
    ))?;
    let small = br#"{"v100": {"('A', 1)": {"null": 2.5}, "('A', 8)": {"null": 9}}, "p100": {"('A', 1)": {"null": 1}}, "k80": {"('A', 1)": {"null": 0.5}}}"#;
    let with = |first: u8, table: &[u8]| [&[first], table].concat();
    Ok([0, 1, 0b0010_0110, 0b1001_1000]
        .into_iter()
        .flat_map(|first| [with(first, small), with(first, &table)])
        .collect())
}
