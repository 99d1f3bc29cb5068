//! Taking a cluster out. A finalizer keeps its MemberCluster, and with it the right to its credentials, until nothing of ours is left
//! there: so what runs there is ended in good order, and what cannot be asked to end stays charged.

use ampacity_api::member_cluster::DeletionPolicy;
use ampacity_api::{MemberCluster, Placement, labels};
use jiff::Timestamp;
use kube::ResourceExt;

use super::finalizer::{hold, is_held, let_go};
use super::release::release;
use crate::runtime::Operator;
use crate::state::{ObjectKey, State};

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
            Step::Hold => hold(operator, &cluster, labels::CLUSTER_FINALIZER),
            Step::End(placements) => {
                for placement in placements {
                    release(operator, &placement, now);
                }
            }
            Step::LetGo => let_go(operator, &cluster, labels::CLUSTER_FINALIZER),
        }
    }
}

/// What is to be done about a cluster now, if anything.
fn step(state: &State, cluster: &MemberCluster) -> Option<Step> {
    let held = is_held(cluster, labels::CLUSTER_FINALIZER);
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

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
