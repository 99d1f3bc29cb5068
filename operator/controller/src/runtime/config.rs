//! How the operator is run.

use std::net::SocketAddr;
use std::time::Duration;

/// Settings of the operator process; the command line fills them in.
#[derive(Clone, Debug)]
pub struct OperatorConfig {
    /// Namespace of the operator: kubeconfig Secrets live there by default, and no job is ever placed from it.
    pub namespace: String,
    /// Identity of this hub, a label value: hubs that share a member need different ones, since each removes what carries its
    /// name there and has no Placement in it. [`super::hub_identity`] gives one that no other cluster has.
    pub hub_name: String,
    /// Namespace of the Lease: one place for the whole hub, wherever operators are installed, so that only one leads.
    pub lease_namespace: String,
    /// Name of the Lease.
    pub lease_name: String,
    /// Who this process is; unique per process.
    pub identity: String,
    /// How long a silent leader is waited for. `None`: no election, the Lease is taken at once (single replica).
    pub lease_duration: Option<Duration>,
    /// Where health and metrics are served; `None` serves nothing.
    pub listen: Option<SocketAddr>,
    /// How long a node may be gone or not ready before what ran on it is placed again.
    pub node_grace: Duration,
    /// How long something may keep a replica from starting before its attempt ends and the job is placed again.
    pub start_deadline: Duration,
    /// API calls in flight at once, per API server.
    pub concurrency: usize,
}

impl Default for OperatorConfig {
    fn default() -> Self {
        Self {
            namespace: "ampacity-system".to_owned(),
            hub_name: "hub".to_owned(),
            lease_namespace: "kube-system".to_owned(),
            lease_name: "ampacity-operator".to_owned(),
            identity: "ampacity-operator".to_owned(),
            lease_duration: Some(Duration::from_secs(15)),
            listen: None,
            node_grace: Duration::from_secs(60),
            start_deadline: Duration::from_secs(120),
            concurrency: 32,
        }
    }
}
