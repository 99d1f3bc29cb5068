//! What must hold at every moment, asked of the API servers and worked out here, by nobody else's sums.

use std::collections::BTreeMap;

use ampacity_api::{Placement, PowerDomain, labels};
use anyhow::{Result, ensure};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use crate::world::World;

impl World {
    /// No node holds more devices than it has, or is promised more, no breaker carries more than it may, and no job has two attempts
    /// alive.
    ///
    /// # Errors
    /// What is violated, by name.
    pub async fn check_invariants(&self) -> Result<()> {
        let mut alive: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, cluster) in self.clusters() {
            let pods = Api::<Pod>::all(cluster.admin.clone())
                .list(&ListParams::default())
                .await?;
            let nodes = Api::<Node>::all(cluster.admin.clone())
                .list(&ListParams::default())
                .await?;
            let mut held: BTreeMap<String, i64> = BTreeMap::new();
            for pod in pods.items.iter().filter(|p| !is_over(p)) {
                if let Some(node) = pod.spec.as_ref().and_then(|s| s.node_name.clone()) {
                    *held.entry(node).or_default() += devices(pod);
                }
            }
            for node in nodes {
                let has = devices_of(&node);
                let holds = held.get(&node.name_any()).copied().unwrap_or(0);
                ensure!(
                    holds <= has,
                    "node {} of {name} has {has} devices and holds {holds}",
                    node.name_any()
                );
            }
            let ours = ListParams::default().labels(labels::JOB_NAME);
            for job in Api::<Job>::all(cluster.admin.clone()).list(&ours).await? {
                let over = job
                    .status
                    .iter()
                    .flat_map(|s| s.conditions.iter().flatten())
                    .any(|c| {
                        matches!(c.type_.as_str(), "Complete" | "Failed") && c.status == "True"
                    });
                if !over && job.metadata.deletion_timestamp.is_none() {
                    let of = job
                        .labels()
                        .get(labels::JOB_UID)
                        .cloned()
                        .unwrap_or_default();
                    let attempt = format!("{name}/{}", job.name_any());
                    alive.entry(of).or_default().push(attempt);
                }
            }
        }
        for (uid, attempts) in alive {
            ensure!(
                attempts.len() <= 1,
                "job {uid} has several attempts alive: {attempts:?}"
            );
        }
        self.check_promises().await
    }

    /// What the Placements promise, whatever runs: no node's devices twice, and no more watts than its breakers carry.
    async fn check_promises(&self) -> Result<()> {
        let placements = Api::<Placement>::all(self.hub.admin.clone())
            .list(&ListParams::default())
            .await?
            .items;
        let mut promised: BTreeMap<(&str, &str), i64> = BTreeMap::new();
        for spec in placements.iter().map(|p| &p.spec) {
            if spec.mig_profile.is_some() || spec.millidevices.is_some() {
                continue;
            }
            for node in &spec.nodes {
                let devices = i64::from(node.replicas) * i64::from(spec.devices_per_replica);
                *promised.entry((&spec.cluster, &node.name)).or_default() += devices;
            }
        }
        for ((cluster, name), promised) in promised {
            let Ok(cluster) = self.cluster(cluster) else {
                continue;
            };
            let nodes: Api<Node> = Api::all(cluster.admin.clone());
            if let Some(node) = nodes.get_opt(name).await? {
                let has = devices_of(&node);
                ensure!(
                    promised <= has,
                    "node {name} has {has} devices, and {promised} are promised"
                );
            }
        }
        let domains = Api::<PowerDomain>::all(self.hub.admin.clone())
            .list(&ListParams::default())
            .await?
            .items;
        let domains: BTreeMap<&str, &PowerDomain> = domains
            .iter()
            .filter_map(|d| Some((d.metadata.name.as_deref()?, d)))
            .collect();
        let mut drawn: BTreeMap<&str, f64> = BTreeMap::new();
        for spec in placements.iter().map(|p| &p.spec) {
            let per_replica = spec.watts as f64 / f64::from(spec.replicas.max(1));
            let mut nodes = spec.nodes.iter();
            for run in &spec.power_domains {
                let count = usize::try_from(run.nodes).unwrap_or(0);
                let replicas: i32 = nodes.by_ref().take(count).map(|n| n.replicas).sum();
                for feed in &run.domains {
                    charge(
                        feed,
                        per_replica * f64::from(replicas),
                        &domains,
                        &mut drawn,
                    );
                }
            }
        }
        for (name, watts) in drawn {
            let Some(domain) = domains.get(name) else {
                continue;
            };
            let overloaded = domain.status.iter().flat_map(|s| &s.conditions);
            if overloaded
                .into_iter()
                .any(|c| c.type_ == "Overloaded" && c.status == "True")
            {
                continue;
            }
            let spec = &domain.spec;
            let usable = spec.rated_watts as f64 * f64::from(spec.continuous_percent) / 100.0
                - spec.reserve_watts as f64;
            // A watt of rounding for each Placement.
            let usable = usable + placements.len() as f64;
            ensure!(
                watts <= usable,
                "power domain {name} carries {usable} W, and {watts} W are promised"
            );
        }
        Ok(())
    }
}

/// Charges watts to a domain and, with its losses, to all above it. Domains with two ways up to one ancestor are not in the tests.
fn charge<'a>(
    name: &'a str,
    watts: f64,
    domains: &BTreeMap<&'a str, &'a PowerDomain>,
    drawn: &mut BTreeMap<&'a str, f64>,
) {
    *drawn.entry(name).or_default() += watts;
    if let Some(domain) = domains.get(name) {
        let above = watts * (1.0 + f64::from(domain.spec.loss_percent) / 100.0);
        for parent in &domain.spec.parents {
            charge(&parent.name, above, domains, drawn);
        }
    }
}

fn devices_of(node: &Node) -> i64 {
    let allocatable = node.status.as_ref().and_then(|s| s.allocatable.as_ref());
    allocatable
        .and_then(|a| a.get("nvidia.com/gpu"))
        .and_then(|q| q.0.parse().ok())
        .unwrap_or(0)
}

fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

fn devices(pod: &Pod) -> i64 {
    let of_container = |c: &k8s_openapi::api::core::v1::Container| -> i64 {
        c.resources
            .as_ref()
            .and_then(|r| r.limits.as_ref().or(r.requests.as_ref()))
            .and_then(|r| r.get("nvidia.com/gpu"))
            .and_then(|q| q.0.parse().ok())
            .unwrap_or(0)
    };
    pod.spec
        .iter()
        .flat_map(|s| &s.containers)
        .map(of_container)
        .sum()
}
