//! Every manifest that people are told to apply is accepted by a real API server, without a warning.

use std::path::Path;
use std::process::Command;

use ampacity_controlplane::{ControlPlane, install_crds};
use anyhow::{Context as _, Result, ensure};

#[tokio::test]
async fn examples_and_demo_are_accepted_without_warnings() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let plane = ControlPlane::builder("examples")
        .controller_manager(false)
        .scheduler(false)
        .kwok(false)
        .start()
        .await?;
    let kubeconfig = plane.dir().join("examples.kubeconfig");
    plane.write_kubeconfig(&kubeconfig)?;
    install_crds(&plane.client()?, &root.join("crds/manifests")).await?;

    for folder in ["docs/examples", "demo/clusters", "demo/jobs"] {
        let output = Command::new(plane.binaries().path("kubectl")?)
            .arg("--kubeconfig")
            .arg(&kubeconfig)
            .args(["apply", "--server-side", "--validate=strict", "-f"])
            .arg(root.join(folder))
            .env("HOME", plane.dir())
            .output()
            .context("failed to run kubectl")?;
        let applied = String::from_utf8_lossy(&output.stdout);
        let problems = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success() && problems.trim().is_empty(),
            "{folder}: {problems}"
        );
        ensure!(applied.contains("ampacity.dev"), "{folder}: {applied}");
    }
    Ok(())
}
