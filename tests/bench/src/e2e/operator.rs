//! Ampacity's operator, as released: built with `--release`, on the hub's own nodes.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use ampacity_api::MemberCluster;
use ampacity_controlplane::{ControlPlane, apply_yaml, install_crds, wait_for_object};
use anyhow::Context;
use kube::{Api, Client};

use crate::scenario::Process;

const OBJECTS: &str = "
apiVersion: ampacity.dev/v1alpha1
kind: PriceSheet
metadata: {name: bench}
spec:
  provider: onprem
  source: benchmark
  effectiveFrom: \"2026-01-01T00:00:00Z\"
  owned: [{acceleratorType: nvidia-h100-sxm5-80gb, usdPerDeviceHour: \"1.10\"}]
  electricity: [{region: hall, usdPerKwh: \"0.06\", pue: \"1.2\"}]
---
apiVersion: ampacity.dev/v1alpha1
kind: PowerDomain
metadata: {name: hall}
spec: {ratedWatts: 100000000, continuousPercent: 80, members: [{cluster: hub}]}
---
apiVersion: ampacity.dev/v1alpha1
kind: MemberCluster
metadata: {name: hub}
spec: {provider: onprem, region: hall}
";

/// Starts the operator and waits until it has read every node.
pub(crate) async fn start(
    plane: &ControlPlane,
    client: &Client,
    nodes: usize,
) -> anyhow::Result<Process> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    install_crds(client, &root.join("crds/manifests")).await?;
    apply_yaml(
        client,
        "{apiVersion: v1, kind: Namespace, metadata: {name: ampacity-system}}",
    )
    .await?;
    apply_yaml(client, OBJECTS).await?;
    let program = std::env::current_exe()?.with_file_name("ampacity");
    anyhow::ensure!(
        program.exists(),
        "{} is missing; run `make bench-e2e`, which builds it",
        program.display()
    );
    let folder = tempfile::tempdir()?;
    let kubeconfig = folder.path().join("kubeconfig");
    plane.write_kubeconfig(&kubeconfig)?;
    let log_path = folder.path().join("operator.log");
    let log = std::fs::File::create(&log_path)?;
    let child = tokio::process::Command::new(&program)
        .args([
            "operator",
            "--lease-seconds",
            "0",
            "--log",
            "warn",
            "--kubeconfig",
        ])
        .arg(&kubeconfig)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let process = Process {
        child,
        log: log_path,
        _files: Box::new(folder),
    };
    let clusters: Api<MemberCluster> = Api::all(client.clone());
    wait_for_object(
        &clusters,
        "hub",
        "all nodes read",
        Duration::from_secs(60),
        |cluster| {
            let devices: i64 = cluster
                .status
                .iter()
                .flat_map(|s| &s.accelerators)
                .map(|a| a.free)
                .sum();
            devices >= i64::try_from(nodes * 8).unwrap_or(i64::MAX)
        },
    )
    .await?;
    Ok(process)
}
