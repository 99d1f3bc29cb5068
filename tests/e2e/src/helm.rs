//! Helm, as a person runs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};

/// Names an image, which a hub cannot do without; none is ever pulled here.
pub const IMAGE: &str = "image.repository=registry.example/ampacity/ampacity";

/// The checkout.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The chart.
#[must_use]
pub fn chart() -> PathBuf {
    root().join("charts/ampacity")
}

/// Runs helm with its caches in a folder of its own, so that a user's repositories and plugins play no part.
///
/// # Errors
/// When the program is missing or cannot be started.
pub fn helm(arguments: &[&str]) -> Result<Output> {
    let home = std::env::temp_dir().join(format!("ampacity-helm-{}", std::process::id()));
    let program = ampacity_controlplane::Binaries::locate()?.path("helm")?;
    Command::new(program)
        .args(arguments)
        .env("HELM_CACHE_HOME", home.join("cache"))
        .env("HELM_CONFIG_HOME", home.join("config"))
        .env("HELM_DATA_HOME", home.join("data"))
        .env_remove("KUBECONFIG")
        .output()
        .context("failed to run helm")
}

/// Runs helm and returns what it prints.
///
/// # Errors
/// When it fails, or prints a warning: helm passes on those of the API server (deprecated fields, pod security).
pub fn helm_ok(arguments: &[&str]) -> Result<String> {
    let output = helm(arguments)?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "helm {arguments:?}: {error}{}",
        String::from_utf8_lossy(&output.stdout)
    );
    ensure!(error.trim().is_empty(), "helm {arguments:?} warns: {error}");
    Ok(String::from_utf8(output.stdout)?)
}

/// Installs the chart with `--set` settings into the cluster of a kubeconfig; the namespace must be there.
///
/// # Errors
/// Those of [`helm_ok`].
pub fn install(kubeconfig: &Path, namespace: &str, settings: &[&str]) -> Result<()> {
    let chart = chart();
    let mut arguments = vec![
        "install",
        "ampacity",
        chart.to_str().context("the path is not UTF-8")?,
        "--namespace",
        namespace,
        "--kubeconfig",
        kubeconfig.to_str().context("the path is not UTF-8")?,
        "--set",
        IMAGE,
    ];
    for setting in settings {
        arguments.extend(["--set", setting]);
    }
    let notes = helm_ok(&arguments)?;
    ensure!(notes.contains("STATUS: deployed"), "{notes}");
    Ok(())
}
