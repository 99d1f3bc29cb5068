//! An InferenceJob to the engine's job.

use ampacity_api::inference_job::SpreadBy;
use ampacity_api::{InferenceJob, Placement};
use ampacity_placement as engine;
use ampacity_placement::{DollarBudget, JobSpec, Kind, Level, MicroUsd, PlacedReplicas, Topology};
use kube::ResourceExt;

use crate::plan::fields::{
    alternatives, capacity_type, label_selector, objective, submitted_seconds,
};
use crate::state::{JobContext, JobIssue};

/// The engine's job for the replicas of an InferenceJob that have no place yet.
///
/// # Errors
/// When a field cannot be used; the issue names it.
pub fn inference_spec(
    job: &InferenceJob,
    key: &str,
    priority: i32,
    placed: Vec<PlacedReplicas>,
    ctx: &JobContext<'_>,
) -> Result<JobSpec, JobIssue> {
    let spec = &job.spec;
    let already = placed
        .iter()
        .fold(0_u32, |sum, p| sum.saturating_add(p.replicas));
    let replicas = u32::try_from(spec.replicas).unwrap_or(0);
    Ok(JobSpec {
        key: key.to_owned(),
        namespace: job.namespace().unwrap_or_else(|| "default".to_owned()),
        queue: spec.queue.clone(),
        priority,
        submitted_seconds: submitted_seconds(job.metadata.creation_timestamp.as_ref()),
        kind: Kind::Inference {
            replicas: replicas.saturating_sub(already),
            placed,
            spread: spec.spread.map(|spread| engine::Spread {
                by: match spread.by {
                    SpreadBy::Node => Level::Node,
                    SpreadBy::Zone => Level::Zone,
                    SpreadBy::Cluster => Level::Cluster,
                },
                max_skew: u32::try_from(spread.max_skew).unwrap_or(1),
            }),
        },
        objective: objective(spec.objective),
        budget: DollarBudget {
            max_usd: None,
            max_usd_per_hour: spec.budget.map(|b| MicroUsd(b.max_usd_per_hour.micros())),
        },
        capacity_types: spec
            .capacity_types
            .iter()
            .map(|c| capacity_type(*c))
            .collect(),
        clusters: label_selector(spec.cluster_selector.as_ref(), "spec.clusterSelector")?,
        excluded_clusters: Vec::new(),
        topology: Topology::default(),
        egress: Vec::new(),
        alternatives: alternatives(&spec.alternatives, &spec.template, 1, ctx)?,
    })
}

/// What placements of an InferenceJob hold already: each node bears its share of the price.
pub fn placed_replicas<'a>(
    placements: impl IntoIterator<Item = &'a Placement>,
) -> Vec<PlacedReplicas> {
    let of_placement = |placement: &'a Placement| {
        let spec = &placement.spec;
        let all = i64::from(spec.replicas.max(1));
        spec.nodes.iter().map(move |node| PlacedReplicas {
            cluster: spec.cluster.clone(),
            node: node.name.clone(),
            replicas: node.replicas.unsigned_abs(),
            usd_per_hour: MicroUsd(
                spec.usd_per_hour.micros().div_euclid(all) * i64::from(node.replicas),
            ),
        })
    };
    placements.into_iter().flat_map(of_placement).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::fields::testing::TestContext;

    #[test]
    fn inference_asks_for_what_is_not_placed_yet() {
        let job: InferenceJob = serde_saphyr::from_str(
            "
metadata: {name: chat}
spec:
  replicas: 6
  budget: {maxUsdPerHour: '3'}
  spread: {by: Zone, maxSkew: 2}
  alternatives: [{name: l40s, acceleratorType: nvidia-l40s, devicesPerReplica: 1, image: a}]
",
        )
        .unwrap();
        let placed = vec![PlacedReplicas {
            cluster: "near".into(),
            node: "n1".into(),
            replicas: 4,
            usd_per_hour: MicroUsd(1_000_000),
        }];
        let spec =
            inference_spec(&job, "k", 0, placed, &TestContext::two_clusters().context()).unwrap();
        let Kind::Inference {
            replicas, spread, ..
        } = spec.kind
        else {
            panic!("not inference");
        };
        assert_eq!(replicas, 2);
        assert_eq!(
            spread,
            Some(engine::Spread {
                by: Level::Zone,
                max_skew: 2
            })
        );
        assert_eq!(spec.budget.max_usd_per_hour, Some(MicroUsd(3_000_000)));
        assert_eq!(spec.namespace, "default");
    }
}
