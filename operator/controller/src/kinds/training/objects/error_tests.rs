use ampacity_api::{JobKind, Placement, TrainingJob};

use crate::dispatch::testing::{PlacementOf, target, training};
use crate::kinds::training::objects::training_objects;

const JOB: &str = "
estimatedDurationSeconds: 60
alternatives: [{name: a, acceleratorType: nvidia-h100-sxm5-80gb, devicesPerReplica: 8, image: train}]
";

fn message(change: impl FnOnce(&mut TrainingJob, &mut Placement)) -> String {
    let mut job = training(JOB);
    let mut placement = PlacementOf::training(&[("n1", 1), ("n2", 1)]).build();
    change(&mut job, &mut placement);
    let target = target("nvidia", &placement);
    let error = training_objects(&job, &placement, &target).unwrap_err();
    error.to_string()
}

#[test]
fn what_cannot_be_dispatched_says_why_and_what_to_do() {
    type Change = fn(&mut TrainingJob, &mut Placement);
    let cases: [(&str, Change); 12] = [
        ("a job made later under the name", |job, _| {
            job.metadata.uid = Some("other".to_owned())
        }),
        ("another kind", |_, p| {
            p.spec.job_ref.kind = JobKind::InferenceJob
        }),
        ("another namespace", |_, p| {
            p.metadata.namespace = Some("other".to_owned())
        }),
        ("a job that was never stored", |job, _| {
            job.metadata.uid = None
        }),
        ("a placement that was never stored", |_, p| {
            p.metadata.uid = None
        }),
        ("an alternative that is gone", |_, p| {
            p.spec.alternative = "b".to_owned()
        }),
        ("no resource", |_, p| p.spec.resource.resource_name = None),
        ("fewer places than replicas", |_, p| p.spec.replicas = 3),
        ("no nodes", |_, p| {
            p.spec.replicas = 0;
            p.spec.nodes.clear();
        }),
        ("a node chosen by the template", |job, _| {
            job.spec.template.spec.get_or_insert_default().node_name = Some("n9".to_owned());
        }),
        ("a priority of the cluster's own components", |job, _| {
            let pod = job.spec.template.spec.get_or_insert_default();
            pod.priority_class_name = Some("system-node-critical".to_owned());
        }),
        ("an affinity that nothing matches", |job, _| {
            job.spec
                .template
                .spec
                .get_or_insert_default()
                .affinity
                .get_or_insert_default()
                .node_affinity
                .get_or_insert_default()
                .required_during_scheduling_ignored_during_execution
                .get_or_insert_default()
                .node_selector_terms
                .push(Default::default());
        }),
    ];
    let messages: Vec<_> = cases
        .into_iter()
        .map(|(what, change)| format!("{what}: {}", message(change)))
        .collect();
    insta::assert_snapshot!(messages.join("\n"));
}
