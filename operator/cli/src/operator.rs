//! `ampacity operator`: runs the controller against a hub.

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
    /// Namespace of the operator: its Lease lives there.
    #[arg(
        long,
        visible_alias = "lease-namespace",
        env = "POD_NAMESPACE",
        default_value = "ampacity-system"
    )]
    namespace: String,
    /// Name of this hub, a label value. Hubs that share a member cluster need different ones: each removes what carries its
    /// name there and has no Placement in it.
    #[arg(
        long,
        env = "AMPACITY_HUB_NAME",
        value_name = "NAME",
        default_value = "hub"
    )]
    hub_name: String,
    /// Address that health and metrics are served on, such as 0.0.0.0:8080. Default: they are not served.
    #[arg(long, visible_alias = "metrics-address", value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Kubeconfig of the hub. Default: $KUBECONFIG, ~/.kube/config, or the pod's own service account.
    #[arg(long, value_name = "PATH")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig. Default: its current one.
    #[arg(long, value_name = "NAME", requires = "kubeconfig")]
    context: Option<String>,
    /// Name of the Lease by which one of several operators is the leader.
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
    fn config(&self) -> OperatorConfig {
        OperatorConfig {
            namespace: self.namespace.clone(),
            hub_name: self.hub_name.clone(),
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

    /// Two operators on one host, or one that starts again under the same name, must not take each other for themselves.
    fn identity(&self) -> String {
        let name = self.identity.clone().filter(|name| !name.is_empty());
        let name = name.or_else(|| {
            std::env::var("HOSTNAME")
                .ok()
                .filter(|name| !name.is_empty())
        });
        let name = name.unwrap_or_else(|| "ampacity-operator".to_owned());
        format!("{name}_{}", std::process::id())
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

/// Runs until it is told to stop or loses leadership.
pub(crate) fn run(args: &OperatorArgs) -> anyhow::Result<()> {
    start_log(args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start")?;
    runtime.block_on(async {
        let hub = args.kube_config().await?;
        ampacity_controller::run(args.config(), hub, shutdown()?).await?;
        Ok(())
    })
}

fn start_log(args: &OperatorArgs) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&args.log)
        .with_context(|| format!("--log {:?} is no log filter; use info or debug", args.log))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
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
