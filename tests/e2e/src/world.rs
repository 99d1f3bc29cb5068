//! A hub, its members and the operator.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use ampacity_api::{InferenceJob, MemberCluster, Placement, TrainingJob};
use ampacity_controlplane::{
    ControlPlane, FaultProxy, SimulatedNode, apply_yaml, create_nodes, wait_for_object,
};
use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;

use crate::helm;
use crate::manifest::PRICES;
use crate::operator::OperatorProcess;

/// The operator's namespace, in every cluster.
pub const NAMESPACE: &str = "ampacity-system";
/// How long anything may take. Tests share two cores with others: it is a bound for failure, not a measure.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster of a [`World`].
pub struct Cluster {
    /// Its control plane.
    pub plane: ControlPlane,
    /// A client that may do everything.
    pub admin: Client,
    /// Between the operator and the API server; passes everything unless told otherwise.
    pub proxy: FaultProxy,
}

/// Describes a [`World`].
#[derive(Debug, Default)]
pub struct WorldBuilder {
    nodes: BTreeMap<String, Vec<SimulatedNode>>,
    arguments: Vec<String>,
    without_operator: bool,
    audited: bool,
}

impl WorldBuilder {
    /// Nodes of a cluster: `hub`, or a member that is started for them and registered in region `hall`.
    #[must_use]
    pub fn nodes(mut self, cluster: &str, nodes: impl IntoIterator<Item = SimulatedNode>) -> Self {
        self.nodes
            .entry(cluster.to_owned())
            .or_default()
            .extend(nodes);
        self
    }

    /// One more argument of the operator, such as `--node-grace-seconds=1`.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// The test starts the operator itself.
    #[must_use]
    pub fn without_operator(mut self) -> Self {
        self.without_operator = true;
        self
    }

    /// The API servers keep audit logs of all writes.
    #[must_use]
    pub fn audited(mut self) -> Self {
        self.audited = true;
        self
    }

    /// Starts everything and waits until the operator has read every cluster.
    ///
    /// # Errors
    /// What went wrong first.
    pub async fn start(self) -> Result<World> {
        let mut names: Vec<String> = self.nodes.keys().cloned().collect();
        if !self.nodes.contains_key("hub") {
            names.insert(0, "hub".to_owned());
        }
        let started = futures::future::try_join_all(
            names.iter().map(|name| start_cluster(name, self.audited)),
        )
        .await?;
        let mut clusters: BTreeMap<String, Cluster> = names.into_iter().zip(started).collect();
        for (name, nodes) in self.nodes {
            let cluster = clusters.get(&name).context("no such cluster")?;
            create_nodes(&cluster.admin, nodes).await?;
        }
        let hub = clusters.remove("hub").context("no hub")?;
        let folder = tempfile::tempdir()?;
        let token = hub
            .plane
            .service_account_token(NAMESPACE, "ampacity")
            .await?;
        let kubeconfig = folder.path().join("operator.kubeconfig");
        std::fs::write(
            &kubeconfig,
            hub.plane
                .kubeconfig_at(&hub.proxy.url(), "ampacity", &token),
        )?;
        let mut world = World {
            operator: None,
            arguments: self.arguments,
            kubeconfig,
            log: folder.path().join("operator.log"),
            hub,
            members: clusters,
            folder,
        };
        apply_yaml(&world.hub.admin, PRICES).await?;
        world.register_hub().await?;
        let members: Vec<String> = world.members.keys().cloned().collect();
        for name in members {
            world.register(&name).await?;
        }
        if !self.without_operator {
            world.start_operator(&[])?;
            world.all_reachable().await?;
        }
        Ok(world)
    }
}

async fn start_cluster(name: &str, audited: bool) -> Result<Cluster> {
    let plane = ControlPlane::builder(name)
        .audit_log(audited)
        .start()
        .await?;
    let admin = plane.client()?;
    let kubeconfig = plane.dir().join("admin.kubeconfig");
    plane.write_kubeconfig(&kubeconfig)?;
    apply_yaml(
        &admin,
        &format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {NAMESPACE}}}}}"),
    )
    .await?;
    let setting = if name == "hub" {
        "replicas=0"
    } else {
        "memberOnly=true"
    };
    let settings = [setting, "member.createNamespaces=true"];
    tokio::task::spawn_blocking(move || helm::install(&kubeconfig, NAMESPACE, &settings)).await??;
    let proxy = FaultProxy::start(plane.socket_address()).await?;
    Ok(Cluster {
        plane,
        admin,
        proxy,
    })
}

/// A hub, its members and the operator, which holds the chart's ServiceAccount tokens and nothing else.
pub struct World {
    /// The operator; first, so that it ends first.
    pub operator: Option<OperatorProcess>,
    /// Further arguments of the operator.
    pub arguments: Vec<String>,
    /// The operator's kubeconfig of the hub.
    pub kubeconfig: PathBuf,
    /// The operator's log, of all its runs.
    pub log: PathBuf,
    /// The hub.
    pub hub: Cluster,
    /// The other clusters.
    pub members: BTreeMap<String, Cluster>,
    /// Where the files of this world are.
    pub folder: tempfile::TempDir,
}

impl World {
    /// Describes one.
    #[must_use]
    pub fn builder() -> WorldBuilder {
        WorldBuilder::default()
    }

    /// Starts the operator, with environment variables of its own.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_operator(&mut self, environment: &[(&str, &str)]) -> Result<()> {
        let process = self.another_operator("first", &["--lease-seconds=0"], environment)?;
        self.operator = Some(process);
        Ok(())
    }

    /// Starts an operator beside the one there is.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn another_operator(
        &self,
        identity: &str,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Result<OperatorProcess> {
        let identity = format!("--identity={identity}");
        let namespace = format!("--namespace={NAMESPACE}");
        let mut all: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        all.extend([identity.as_str(), namespace.as_str()]);
        all.extend(arguments);
        OperatorProcess::start(&self.kubeconfig, &self.log, &all, environment)
    }

    /// A cluster by name.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn cluster(&self, name: &str) -> Result<&Cluster> {
        if name == "hub" {
            return Ok(&self.hub);
        }
        self.members
            .get(name)
            .with_context(|| format!("no cluster {name}"))
    }

    /// Every cluster, the hub first.
    pub fn clusters(&self) -> impl Iterator<Item = (&str, &Cluster)> {
        std::iter::once(("hub", &self.hub))
            .chain(self.members.iter().map(|(name, c)| (name.as_str(), c)))
    }

    /// Applies manifests to the hub, as a user.
    ///
    /// # Errors
    /// The API server's.
    pub async fn apply(&self, yaml: &str) -> Result<()> {
        apply_yaml(&self.hub.admin, yaml).await?;
        Ok(())
    }

    async fn register_hub(&self) -> Result<()> {
        self.apply(&cluster_manifest("hub", "")).await
    }

    /// Registers a member as the chart's notes say: its token in a Secret, the Secret in a MemberCluster.
    ///
    /// # Errors
    /// When the member gives no token or the hub refuses an object.
    pub async fn register(&self, name: &str) -> Result<()> {
        let member = self.cluster(name)?;
        let secrets: Api<Secret> = Api::namespaced(member.admin.clone(), NAMESPACE);
        let has_token = |s: &Secret| s.data.as_ref().is_some_and(|d| d.contains_key("token"));
        let secret =
            wait_for_object(&secrets, "ampacity-token", "the token", PATIENCE, has_token).await?;
        let token = secret.data.and_then(|mut d| d.remove("token"));
        let token = String::from_utf8(token.context("no token")?.0)?;
        let kubeconfig = member
            .plane
            .kubeconfig_at(&member.proxy.url(), "hub", &token);
        self.apply(&secret_manifest(name, &kubeconfig)).await?;
        let reference = format!(
            "\n  kubeconfigSecretRef: {{namespace: {NAMESPACE}, name: {name}, key: kubeconfig}}"
        );
        self.apply(&cluster_manifest(name, &reference)).await
    }

    /// Waits until the operator has read every registered cluster.
    ///
    /// # Errors
    /// When it has not in time; the end of its log is in the error.
    pub async fn all_reachable(&self) -> Result<()> {
        for (name, _) in self.clusters() {
            self.reachable(name, "True").await?;
        }
        Ok(())
    }

    /// Waits until a cluster's `Reachable` condition has this status.
    ///
    /// # Errors
    /// When it has not in time.
    pub async fn reachable(&self, name: &str, status: &str) -> Result<MemberCluster> {
        let api: Api<MemberCluster> = Api::all(self.hub.admin.clone());
        let is_so = |c: &MemberCluster| {
            c.status
                .iter()
                .flat_map(|s| &s.conditions)
                .any(|c| c.type_ == "Reachable" && c.status == status)
        };
        let what = format!("cluster {name} with Reachable={status}");
        self.explained(wait_for_object(&api, name, what, PATIENCE, is_so).await)
    }

    /// TrainingJobs of the default namespace.
    #[must_use]
    pub fn training(&self) -> Api<TrainingJob> {
        Api::namespaced(self.hub.admin.clone(), "default")
    }

    /// InferenceJobs of the default namespace.
    #[must_use]
    pub fn inference(&self) -> Api<InferenceJob> {
        Api::namespaced(self.hub.admin.clone(), "default")
    }

    /// `kubectl scale` of an InferenceJob of the default namespace, as an autoscaler would.
    ///
    /// # Errors
    /// The API server's.
    pub async fn scale(&self, name: &str, replicas: i32) -> Result<()> {
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        self.inference()
            .patch_scale(name, &PatchParams::default(), &patch)
            .await?;
        Ok(())
    }

    /// Placements of the default namespace.
    #[must_use]
    pub fn placements(&self) -> Api<Placement> {
        Api::namespaced(self.hub.admin.clone(), "default")
    }

    /// A result with the end of the operator's log in its error.
    ///
    /// # Errors
    /// The one given.
    pub fn explained<T>(&self, result: ampacity_controlplane::Result<T>) -> Result<T> {
        result.map_err(|error| {
            anyhow::anyhow!(
                "{error}\n--- end of the operator's log\n{}",
                crate::operator::log_end(&self.log)
            )
        })
    }
}

/// A MemberCluster in region `hall`; `more` are further lines of its spec.
#[must_use]
pub fn cluster_manifest(name: &str, more: &str) -> String {
    format!(
        "apiVersion: ampacity.dev/v1alpha1
kind: MemberCluster
metadata: {{name: {name}, labels: {{name: {name}}}}}
spec:
  provider: onprem
  region: hall
  namespaces: {{create: true}}{more}
"
    )
}

/// A Secret with a kubeconfig.
#[must_use]
pub fn secret_manifest(name: &str, kubeconfig: &str) -> String {
    let indented: String = kubeconfig.lines().map(|l| format!("    {l}\n")).collect();
    format!(
        "apiVersion: v1
kind: Secret
metadata: {{name: {name}, namespace: {NAMESPACE}}}
stringData:
  kubeconfig: |
{indented}"
    )
}
