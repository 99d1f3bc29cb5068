//! Taking a cluster out. A finalizer keeps its MemberCluster, and with it the right to its credentials, until nothing of ours is left
//! there: so what runs there is ended in good order, and what cannot be asked to end stays charged.

use std::time::Duration;

use ampacity_api::member_cluster::DeletionPolicy;
use ampacity_api::{MemberCluster, Placement, labels};
use jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use super::release::release;
use crate::runtime::{HUB_STATUS, Operator, RETRY_SECONDS, Then};
use crate::state::{ObjectKey, State};

/// Pause between two writes of one finalizer.
const PAUSE: Duration = Duration::from_secs(RETRY_SECONDS.unsigned_abs());

/// What is to be done about a MemberCluster.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// Its finalizer is put on, so that it cannot go unnoticed.
    Hold,
    /// These placements are ended, and placed elsewhere.
    End(Vec<ObjectKey>),
    /// Nothing is left in the cluster: the finalizer is taken off.
    LetGo,
}

/// Takes every cluster that is being deleted one step further towards being gone, and sees to it that none goes unnoticed.
pub fn drain_clusters(operator: &mut Operator, now: Timestamp) {
    let clusters = operator.state.hub.clusters.values();
    let steps: Vec<(MemberCluster, Step)> = clusters
        .filter_map(|cluster| Some((cluster.clone(), step(&operator.state, cluster)?)))
        .collect();
    for (cluster, step) in steps {
        match step {
            Step::Hold => {
                let mut finalizers = cluster.finalizers().to_vec();
                finalizers.push(labels::CLUSTER_FINALIZER.to_owned());
                set_finalizers(operator, &cluster, finalizers);
            }
            Step::End(placements) => {
                for placement in placements {
                    release(operator, &placement, now);
                }
            }
            Step::LetGo => {
                let others = cluster.finalizers().iter();
                let others = others.filter(|f| *f != labels::CLUSTER_FINALIZER);
                let others = others.cloned().collect();
                set_finalizers(operator, &cluster, others);
            }
        }
    }
}

/// What is to be done about a cluster now, if anything.
fn step(state: &State, cluster: &MemberCluster) -> Option<Step> {
    let mut finalizers = cluster.finalizers().iter();
    let held = finalizers.any(|f| f == labels::CLUSTER_FINALIZER);
    if cluster.metadata.deletion_timestamp.is_none() {
        return (!held).then_some(Step::Hold);
    }
    if !held {
        return None;
    }
    let name = cluster.name_any();
    let here = |p: &&Placement| p.spec.cluster == name;
    let placements: Vec<&Placement> = state.hub.placements.values().filter(here).collect();
    let live: Vec<ObjectKey> = placements
        .iter()
        .filter(|p| p.metadata.deletion_timestamp.is_none())
        .map(|p| ObjectKey::of(*p))
        .collect();
    if !live.is_empty() && cluster.spec.deletion == DeletionPolicy::Drain {
        return Some(Step::End(live));
    }
    // A decision that is being written holds something already, and will have to be ended first.
    let is_empty = placements.is_empty()
        && !state
            .fleet
            .reservations()
            .any(|reservation| reservation.cluster == name);
    is_empty.then_some(Step::LetGo)
}

fn set_finalizers(operator: &mut Operator, cluster: &MemberCluster, finalizers: Vec<String>) {
    let (hub, name) = (operator.hub.clone(), cluster.name_any());
    let patch = json!({"metadata": {
        "finalizers": finalizers,
        "resourceVersion": cluster.resource_version(),
    }});
    operator.start(HUB_STATUS, format!("finalizers/{name}"), async move {
        let api: Api<MemberCluster> = Api::all(hub);
        let patched = api
            .patch(&name, &PatchParams::default(), &Patch::Merge(&patch))
            .await;
        let failed = match patched {
            Ok(_) => None,
            // It is gone, or has changed since: what is to be done is seen anew.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => None,
            Err(error) => Some(error),
        };
        if let Some(error) = &failed {
            tracing::warn!(cluster = %name, %error, "the finalizer of the MemberCluster is not written; trying again: the operator needs patch on memberclusters");
        }
        // The watch has yet to tell of what was written, and what failed need not be asked for at every turn.
        tokio::time::sleep(PAUSE).await;
        Box::new(move |operator: &mut Operator| {
            operator
                .metrics
                .called("write cluster finalizer", failed.is_none());
        }) as Then
    });
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::state::{Change, reservation};
    use crate::testing::{object, placement, state};

    fn cluster(finalizers: &[&str], deleting: bool, deletion: &str) -> MemberCluster {
        let deleted = deleting.then_some("2026-01-01T00:00:00Z");
        object(json!({
            "apiVersion": "ampacity.dev/v1alpha1", "kind": "MemberCluster",
            "metadata": {"name": "oslo", "finalizers": finalizers, "deletionTimestamp": deleted},
            "spec": {"provider": "onprem", "region": "oslo", "deletion": deletion},
        }))
    }

    const OURS: &str = labels::CLUSTER_FINALIZER;

    #[test]
    fn a_cluster_goes_when_nothing_of_ours_is_left_in_it() {
        let live = || placement("TrainingJob", 1, &[("a", 2)]);
        let ending = || -> Placement {
            let mut placement = serde_json::to_value(live()).unwrap();
            placement["metadata"]["deletionTimestamp"] = Value::from("2026-01-01T00:00:00Z");
            object(placement)
        };
        let elsewhere = || {
            let mut placement = live();
            placement.spec.cluster = "bergen".to_owned();
            placement
        };
        let end = || Some(Step::End(vec![ObjectKey::of(&live())]));
        let none = Vec::new;
        for (what, cluster, placements, expected) in [
            (
                "new",
                cluster(&[], false, "Drain"),
                none(),
                Some(Step::Hold),
            ),
            (
                "somebody else's",
                cluster(&["other"], false, "Drain"),
                none(),
                Some(Step::Hold),
            ),
            (
                "in use",
                cluster(&[OURS], false, "Drain"),
                vec![live()],
                None,
            ),
            (
                "drained",
                cluster(&[OURS], true, "Drain"),
                vec![live()],
                end(),
            ),
            (
                "waits for the end",
                cluster(&[OURS], true, "Drain"),
                vec![ending()],
                None,
            ),
            (
                "empty",
                cluster(&[OURS], true, "Drain"),
                vec![elsewhere()],
                Some(Step::LetGo),
            ),
            (
                "refuses",
                cluster(&[OURS], true, "Refuse"),
                vec![live()],
                None,
            ),
            (
                "waits though it refuses",
                cluster(&[OURS], true, "Refuse"),
                vec![ending()],
                None,
            ),
            (
                "has refused",
                cluster(&[OURS], true, "Refuse"),
                none(),
                Some(Step::LetGo),
            ),
            (
                "given up by somebody",
                cluster(&[], true, "Drain"),
                vec![live()],
                None,
            ),
        ] {
            let mut state = state();
            state.hub.placements.apply(Change::All(placements));
            assert_eq!(step(&state, &cluster), expected, "{what}");
        }
    }

    #[test]
    fn a_decision_that_is_being_written_is_waited_for() {
        let mut state = state();
        let going = cluster(&[OURS], true, "Drain");
        let held = reservation(&state, &placement("TrainingJob", 1, &[("a", 2)]));
        let key = held.key.clone();
        state.fleet.reserve(held);
        assert_eq!(step(&state, &going), None);
        state.fleet.release(&key);
        assert_eq!(step(&state, &going), Some(Step::LetGo));
    }
}
