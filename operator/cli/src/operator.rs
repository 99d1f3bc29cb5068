//! `ampacity operator`: runs the controller against a hub.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ampacity_controller::OperatorConfig;
use anyhow::Context;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tracing_subscriber::EnvFilter;

/// Arguments of `ampacity operator`.
#[derive(Debug, clap::Args)]
pub(crate) struct OperatorArgs {
    /// Namespace of the operator. Jobs in it are never placed.
    #[arg(long, env = "POD_NAMESPACE", default_value = "ampacity-system")]
    namespace: String,
    /// Name of this hub, a label value. Hubs that share a member cluster need different ones: each removes what carries its
    /// name there and has no Placement in it. Default: hub- and the first 12 digits of the UID of Namespace kube-system, which
    /// no other cluster has.
    #[arg(
        long,
        env = "AMPACITY_HUB_NAME",
        value_name = "NAME",
        value_parser = hub_name
    )]
    hub_name: Option<String>,
    /// Address that health and metrics are served on, such as 0.0.0.0:8080. Default: they are not served.
    #[arg(long, visible_alias = "metrics-address", value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Kubeconfig of the hub. Default: $KUBECONFIG, ~/.kube/config, or the pod's own service account.
    #[arg(long, value_name = "PATH")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig. Default: its current one.
    #[arg(long, value_name = "NAME", requires = "kubeconfig")]
    context: Option<String>,
    /// Namespace of the Lease by which one of several operators is the leader: the same for all operators of a hub, wherever
    /// each is installed.
    #[arg(
        long,
        env = "AMPACITY_LEASE_NAMESPACE",
        value_name = "NAMESPACE",
        default_value = "kube-system"
    )]
    lease_namespace: String,
    /// Name of that Lease.
    #[arg(
        long,
        visible_alias = "leader-election-id",
        default_value = "ampacity-operator"
    )]
    lease_name: String,
    /// Seconds that a silent leader is waited for; 0 takes the Lease at once, for a single operator.
    #[arg(long, value_name = "SECONDS", default_value_t = 15)]
    lease_seconds: u64,
    /// Who this process is, unique per process. Default: the pod's or host's name and the process id.
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    identity: Option<String>,
    /// Seconds that a node may be gone or not ready before what ran on it is placed again.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    node_grace_seconds: u64,
    /// Seconds that something may keep a replica from starting (no node, no pod, an image that cannot be pulled) before its attempt
    /// ends and the job is placed again.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    start_deadline_seconds: u64,
    /// API calls in flight at once, per API server.
    #[arg(long, value_name = "COUNT", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,
    /// What is logged: error, warn, info, debug, trace, or a filter such as info,ampacity_controller=debug.
    #[arg(long, env = "RUST_LOG", value_name = "FILTER", default_value = "info")]
    log: String,
    /// How it is logged.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl OperatorArgs {
    fn config(&self, hub_name: String) -> OperatorConfig {
        OperatorConfig {
            namespace: self.namespace.clone(),
            hub_name,
            lease_namespace: self.lease_namespace.clone(),
            lease_name: self.lease_name.clone(),
            identity: self.identity(),
            lease_duration: (self.lease_seconds > 0)
                .then(|| Duration::from_secs(self.lease_seconds)),
            listen: self.listen,
            node_grace: Duration::from_secs(self.node_grace_seconds),
            start_deadline: Duration::from_secs(self.start_deadline_seconds),
            concurrency: usize::from(self.concurrency),
        }
    }

    /// Two operators on one host, or one that starts again under the same name, must not take each other for themselves. The
    /// namespace tells people which of several releases leads.
    fn identity(&self) -> String {
        let name = self.identity.clone().filter(|name| !name.is_empty());
        let name = name.or_else(|| {
            std::env::var("HOSTNAME")
                .ok()
                .filter(|name| !name.is_empty())
        });
        let name = name.unwrap_or_else(|| "ampacity-operator".to_owned());
        format!("{}/{name}_{}", self.namespace, std::process::id())
    }

    async fn kube_config(&self) -> anyhow::Result<kube::Config> {
        let Some(path) = &self.kubeconfig else {
            return kube::Config::infer()
                .await
                .context("no hub found; give --kubeconfig, set KUBECONFIG, or run in a pod with a service account");
        };
        let file = Kubeconfig::read_from(path)
            .with_context(|| format!("cannot read kubeconfig {}", path.display()))?;
        let options = KubeConfigOptions {
            context: self.context.clone(),
            ..KubeConfigOptions::default()
        };
        kube::Config::from_custom_kubeconfig(file, &options)
            .await
            .with_context(|| format!("cannot use kubeconfig {}", path.display()))
    }
}

/// A name of a hub as a label value (kubernetes.io/docs/concepts/overview/working-with-objects/labels); empty is none.
fn hub_name(text: &str) -> Result<String, String> {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_label = text.len() <= 63
        && text.chars().all(inner)
        && !text.starts_with(|c: char| !c.is_ascii_alphanumeric())
        && !text.ends_with(|c: char| !c.is_ascii_alphanumeric());
    if is_label {
        Ok(text.to_owned())
    } else {
        Err("it must be a label value: up to 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends".to_owned())
    }
}

/// Runs until it is told to stop or loses leadership.
pub(crate) fn run(args: &OperatorArgs) -> anyhow::Result<()> {
    start_log(args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start")?;
    runtime.block_on(async {
        let hub = args.kube_config().await?;
        let mut shutdown = Box::pin(shutdown()?);
        let hub_name = match args.hub_name.clone().filter(|name| !name.is_empty()) {
            Some(name) => name,
            None => tokio::select! {
                name = ampacity_controller::hub_identity(hub.clone()) => name?,
                () = &mut shutdown => return Ok(()),
            },
        };
        ampacity_controller::run(args.config(hub_name), hub, shutdown).await?;
        Ok(())
    })
}

fn start_log(args: &OperatorArgs) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&args.log)
        .with_context(|| format!("--log \"{}\" is no log filter; use info or debug", args.log))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match args.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    Ok(())
}

/// Ends at SIGTERM (as Kubernetes stops a pod) or SIGINT.
fn shutdown() -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_is_named_by_a_label_value() {
        let longest = "a".repeat(63);
        for name in ["hub", "hub-1.eu_west", "", longest.as_str()] {
            assert_eq!(hub_name(name).as_deref(), Ok(name));
        }
        let too_long = "a".repeat(64);
        for name in ["-hub", "hub-", "hub 1", "h\u{fc}b", too_long.as_str()] {
            assert!(hub_name(name).is_err(), "{name}");
        }
    }
}
