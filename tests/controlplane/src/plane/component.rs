//! The programs of a plane and the arguments each is started with.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use super::credentials::CredentialFiles;

/// A program of the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// The store.
    Etcd,
    /// kube-apiserver.
    ApiServer,
    /// kube-controller-manager: Jobs, garbage collection, node lifecycle, TTL.
    ControllerManager,
    /// kube-scheduler.
    Scheduler,
    /// kwok: plays the part of every node's kubelet.
    Kwok,
}

impl Component {
    /// Every component, in the order they are started in.
    pub const ALL: [Self; 5] = [
        Self::Etcd,
        Self::ApiServer,
        Self::ControllerManager,
        Self::Scheduler,
        Self::Kwok,
    ];

    /// The name of its program.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Kwok => "kwok",
        }
    }

    /// The user it talks to the API server as: audit entries tell components apart by it.
    #[must_use]
    pub fn user_name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "system:apiserver",
            Self::ControllerManager => "system:kube-controller-manager",
            Self::Scheduler => "system:kube-scheduler",
            Self::Kwok => "kwok",
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.program())
    }
}

/// The loopback ports of a plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Ports {
    pub(crate) etcd_client: u16,
    pub(crate) etcd_peer: u16,
    pub(crate) api_server: u16,
    pub(crate) controller_manager: u16,
    pub(crate) scheduler: u16,
    pub(crate) kwok: u16,
}

/// The files of a plane, below its folder.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) dir: PathBuf,
    pub(crate) credentials: CredentialFiles,
}

impl Layout {
    pub(crate) fn etcd_data(&self) -> PathBuf {
        self.dir.join("etcd")
    }
    pub(crate) fn log(&self, component: Component) -> PathBuf {
        self.dir.join(format!("{component}.log"))
    }
    pub(crate) fn kubeconfig(&self, component: Component) -> PathBuf {
        self.dir.join(format!("{component}.kubeconfig"))
    }
    pub(crate) fn scheduler_config(&self) -> PathBuf {
        self.dir.join("kube-scheduler.yaml")
    }
    pub(crate) fn kwok_stages(&self) -> PathBuf {
        self.dir.join("kwok.yaml")
    }
    pub(crate) fn audit_policy(&self) -> PathBuf {
        self.dir.join("audit-policy.yaml")
    }
    pub(crate) fn audit_log(&self) -> PathBuf {
        self.dir.join("audit.log")
    }
}

/// Writes only, one line each, without bodies: enough to say who wrote what, small enough to leave on.
pub(crate) const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  verbs: [get, list, watch]
- level: Metadata
";

/// The scheduler's own default of 50 requests a second would be what a benchmark measures.
pub(crate) fn scheduler_config(kubeconfig: &Path) -> String {
    format!(
        "\
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
clientConnection:
  kubeconfig: {}
  qps: 3000
  burst: 5000
leaderElection:
  leaderElect: false
",
        kubeconfig.display()
    )
}

/// Joins `--name` and a value that may be a path.
fn flag(name: &str, value: impl Into<OsString>) -> OsString {
    let mut joined = OsString::from(format!("--{name}="));
    joined.push(value.into());
    joined
}

/// The arguments of `component` in the plane that `layout` and `ports` describe.
pub(crate) fn arguments(
    component: Component,
    layout: &Layout,
    ports: &Ports,
    audit_log: bool,
) -> Vec<OsString> {
    match component {
        Component::Etcd => etcd(layout, ports),
        Component::ApiServer => api_server(layout, ports, audit_log),
        Component::ControllerManager => controller_manager(layout, ports),
        Component::Scheduler => scheduler(layout, ports),
        Component::Kwok => kwok(layout, ports),
    }
}

fn etcd(layout: &Layout, ports: &Ports) -> Vec<OsString> {
    let client = format!("http://127.0.0.1:{}", ports.etcd_client);
    let peer = format!("http://127.0.0.1:{}", ports.etcd_peer);
    vec![
        // A test's data need not survive a power cut, and every write would otherwise wait for the disk.
        "--unsafe-no-fsync".into(),
        flag("data-dir", layout.etcd_data()),
        flag("listen-client-urls", client.as_str()),
        flag("advertise-client-urls", client.as_str()),
        flag("listen-peer-urls", peer.as_str()),
        flag("initial-advertise-peer-urls", peer.as_str()),
        flag("initial-cluster", format!("default={peer}")),
        // The default of 2 GiB is within reach of a long benchmark.
        flag("quota-backend-bytes", (8_u64 << 30).to_string()),
        flag("log-level", "error"),
    ]
}

fn api_server(layout: &Layout, ports: &Ports, audit_log: bool) -> Vec<OsString> {
    let credentials = &layout.credentials;
    let mut arguments = vec![
        flag(
            "etcd-servers",
            format!("http://127.0.0.1:{}", ports.etcd_client),
        ),
        flag("bind-address", "127.0.0.1"),
        flag("secure-port", ports.api_server.to_string()),
        // Without a reconciler the `kubernetes` Service gets no endpoints, and a machine without a network will do.
        flag("advertise-address", "127.0.0.1"),
        flag("endpoint-reconciler-type", "none"),
        flag("tls-cert-file", &credentials.serving_certificate),
        flag("tls-private-key-file", &credentials.serving_key),
        flag("cert-dir", layout.dir.join("kube-apiserver")),
        flag("service-cluster-ip-range", "10.0.0.0/16"),
        flag(
            "service-account-issuer",
            "https://kubernetes.default.svc.cluster.local",
        ),
        flag(
            "service-account-key-file",
            &credentials.service_account_public_key,
        ),
        flag(
            "service-account-signing-key-file",
            &credentials.service_account_key,
        ),
        flag("token-auth-file", &credentials.tokens),
        flag("authorization-mode", "Node,RBAC"),
        // Pods need no ServiceAccount here: nothing runs in them, and a plane may have no controller that makes one.
        flag("disable-admission-plugins", "ServiceAccount"),
        flag("allow-privileged", "true"),
    ];
    if audit_log {
        arguments.push(flag("audit-policy-file", layout.audit_policy()));
        arguments.push(flag("audit-log-path", layout.audit_log()));
    }
    arguments
}

fn controller_manager(layout: &Layout, ports: &Ports) -> Vec<OsString> {
    let kubeconfig = layout.kubeconfig(Component::ControllerManager);
    let credentials = &layout.credentials;
    vec![
        flag("kubeconfig", &kubeconfig),
        flag("authentication-kubeconfig", &kubeconfig),
        flag("authorization-kubeconfig", &kubeconfig),
        flag("bind-address", "127.0.0.1"),
        flag("secure-port", ports.controller_manager.to_string()),
        flag("tls-cert-file", &credentials.serving_certificate),
        flag("tls-private-key-file", &credentials.serving_key),
        flag("leader-elect", "false"),
        flag(
            "service-account-private-key-file",
            &credentials.service_account_key,
        ),
        flag("root-ca-file", &credentials.ca_certificate),
        // Its defaults of 20 requests a second and 5 Jobs at a time would be what a benchmark measures.
        flag("kube-api-qps", "3000"),
        flag("kube-api-burst", "5000"),
        flag("concurrent-job-syncs", "20"),
    ]
}

fn scheduler(layout: &Layout, ports: &Ports) -> Vec<OsString> {
    let kubeconfig = layout.kubeconfig(Component::Scheduler);
    let credentials = &layout.credentials;
    vec![
        flag("config", layout.scheduler_config()),
        flag("authentication-kubeconfig", &kubeconfig),
        flag("authorization-kubeconfig", &kubeconfig),
        flag("bind-address", "127.0.0.1"),
        flag("secure-port", ports.scheduler.to_string()),
        flag("tls-cert-file", &credentials.serving_certificate),
        flag("tls-private-key-file", &credentials.serving_key),
    ]
}

fn kwok(layout: &Layout, ports: &Ports) -> Vec<OsString> {
    vec![
        flag("kubeconfig", layout.kubeconfig(Component::Kwok)),
        flag("config", layout.kwok_stages()),
        flag("manage-all-nodes", "true"),
        flag("node-lease-duration-seconds", "40"),
        flag("server-address", format!("127.0.0.1:{}", ports.kwok)),
    ]
}
