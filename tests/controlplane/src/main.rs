//! Runs one control plane in the foreground, for the demo and for trying things by hand.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use ampacity_controlplane::{Component, ControlPlane};
use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

/// Real Kubernetes control planes on loopback.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a control plane and keep it running until Ctrl-C or SIGTERM
    Up(Up),
}

#[derive(Args)]
struct Up {
    /// Name of the plane, and of the cluster in its kubeconfig
    #[arg(long)]
    name: String,
    /// Folder for its data, logs, `kubeconfig` and, once it is ready, `ready`; a later run goes on with what is there
    #[arg(long)]
    dir: PathBuf,
    /// Port of the API server on 127.0.0.1 [default: that of the last run, else any free one]
    #[arg(long)]
    port: Option<u16>,
    /// Leave out kube-scheduler: pods stay unbound
    #[arg(long)]
    no_scheduler: bool,
    /// Leave out kube-controller-manager: Jobs make no pods
    #[arg(long)]
    no_controller_manager: bool,
    /// Leave out kwok: nodes are never ready
    #[arg(long)]
    no_kwok: bool,
    /// Write every write request to audit.log in the folder
    #[arg(long)]
    audit_log: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        // The client calls every answer of a server that is still starting an error.
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn,kube_client=off"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();

    let Command::Up(arguments) = Cli::parse().command;
    match up(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn up(arguments: Up) -> anyhow::Result<()> {
    // Before anything is started, so that a signal during the start ends it in order too.
    let mut terminate = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to listen for SIGINT")?;
    let ready = arguments.dir.join("ready");
    remove_if_present(&ready)?;
    tokio::select! {
        result = run(&arguments, &ready) => result,
        _ = terminate.recv() => remove_if_present(&ready),
        _ = interrupt.recv() => remove_if_present(&ready),
    }
}

/// Starts the plane and looks after it. Returns only when it breaks; the plane ends when this future is dropped.
async fn run(arguments: &Up, ready: &Path) -> anyhow::Result<()> {
    let started = std::time::Instant::now();
    let mut builder = ControlPlane::builder(&arguments.name)
        .dir(&arguments.dir)
        .scheduler(!arguments.no_scheduler)
        .controller_manager(!arguments.no_controller_manager)
        .kwok(!arguments.no_kwok)
        .audit_log(arguments.audit_log);
    if let Some(port) = arguments.port {
        builder = builder.api_server_port(port);
    }
    let plane = builder.start().await?;
    let kubeconfig = arguments.dir.join("kubeconfig");
    plane.write_kubeconfig(&kubeconfig)?;
    std::fs::write(ready, format!("{}\n", plane.url()))
        .with_context(|| format!("failed to write {}", ready.display()))?;
    println!(
        "{} is ready at {} after {:.1} s; kubeconfig: {}",
        plane.name(),
        plane.url(),
        started.elapsed().as_secs_f64(),
        kubeconfig.display()
    );
    for component in Component::ALL {
        if let Ok(memory) = plane.memory(component) {
            tracing::info!(%component, resident_mib = memory.resident_bytes >> 20, "running");
        }
    }
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if let Err(error) = plane.check_running() {
            remove_if_present(ready)?;
            return Err(error.into());
        }
    }
}

fn remove_if_present(path: &Path) -> anyhow::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("failed to remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
