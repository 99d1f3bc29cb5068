//! What must hold at every moment, asked of the members' API servers and of nobody else.

use std::collections::BTreeMap;

use ampacity_api::labels;
use anyhow::{Result, ensure};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use crate::world::World;

impl World {
    /// No node holds more devices than it has, and no job has two attempts alive.
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
                let has = node
                    .status
                    .as_ref()
                    .and_then(|s| s.allocatable.as_ref())
                    .and_then(|a| a.get("nvidia.com/gpu"))
                    .and_then(|q| q.0.parse().ok())
                    .unwrap_or(0);
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
        Ok(())
    }
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
