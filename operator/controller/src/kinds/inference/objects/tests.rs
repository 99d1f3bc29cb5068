use k8s_openapi::api::apps::v1::Deployment;
use serde_json::{Value, json};

use crate::dispatch::Objects;
use crate::dispatch::testing::{PlacementOf, inference, target};
use crate::kinds::inference::objects::inference_objects;

const CHAT: &str = "
replicas: 6
spread: {by: Zone, maxSkew: 2}
template:
  spec:
    restartPolicy: Never
    containers:
    - name: server
      image: vllm
      ports: [{name: http, containerPort: 8000}, {containerPort: 9090}, {containerPort: 5000, protocol: UDP}]
      readinessProbe: {httpGet: {path: /health, port: http}}
    - {name: proxy, image: envoy, ports: [{name: http, containerPort: 8443}, {containerPort: 9090}]}
alternatives: [{name: a, acceleratorType: nvidia-l40s, devicesPerReplica: 1}]
";

fn placement() -> PlacementOf {
    PlacementOf::inference(&[("n1", 2), ("n2", 1)]).devices("nvidia-l40s", "nvidia.com/gpu", 1)
}

fn build(spec: &str) -> Objects<Deployment> {
    let placement = placement().build();
    let target = target("nvidia", &placement);
    inference_objects(&inference(spec), &placement, &target).unwrap()
}

fn terms(objects: &Objects<Deployment>) -> Value {
    let pod = serde_json::to_value(&objects.workload.spec.template.spec).unwrap();
    pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"].clone()
}

#[test]
fn replicas_with_ports_and_spread() {
    let objects = build(CHAT);
    assert_eq!(objects.claim_template, None);
    insta::assert_yaml_snapshot!((&objects.service, &objects.workload));
}

#[test]
fn without_ports_there_is_no_service_and_spread_over_clusters_is_the_engines() {
    let objects = build(
        "
spread: {by: Cluster}
alternatives: [{name: a, acceleratorType: nvidia-l40s, devicesPerReplica: 1, image: worker}]
",
    );
    assert_eq!(objects.service, None);
    let pod = objects.workload.spec.template.spec.unwrap();
    let spread = pod.topology_spread_constraints.unwrap();
    assert_eq!(spread.len(), 1, "over the placement's nodes alone");
    assert_eq!(spread[0].topology_key, "kubernetes.io/hostname");
    assert_eq!(pod.scheduling_gates, None);
    assert_eq!(pod.containers[0].name, "main");
}

#[test]
fn two_placements_of_a_job_share_one_service_and_no_selector() {
    let job = inference(CHAT);
    let build = |name: &str| {
        let placement = placement()
            .with(|p| p.metadata.name = Some(name.to_owned()))
            .build();
        let target = target("nvidia", &placement);
        inference_objects(&job, &placement, &target).unwrap()
    };
    let (one, two) = (build("chat-1"), build("chat-2"));
    assert_eq!(one.service, two.service);
    let (one, two) = (one.workload, two.workload);
    assert_ne!(one.metadata.name, two.metadata.name);
    assert_ne!(one.spec.selector, two.spec.selector);
}

#[test]
fn a_later_epoch_or_other_replicas_do_not_roll_the_pods() {
    let job = inference(CHAT);
    let build = |epoch, replicas| {
        let placement = placement()
            .with(|p| {
                p.spec.epoch = epoch;
                p.spec.replicas = replicas;
            })
            .build();
        let target = target("nvidia", &placement);
        inference_objects(&job, &placement, &target)
            .unwrap()
            .workload
    };
    let (one, two) = (build(7, 3), build(8, 5));
    assert_eq!(one.spec.template, two.spec.template);
    assert_eq!((one.spec.replicas, two.spec.replicas), (Some(3), Some(5)));
}

#[test]
fn replicas_may_only_be_where_they_were_charged_and_as_many_on_each_node() {
    let build = |nodes: &[(&str, i32)], hidden: &[&str]| {
        let placement = PlacementOf::inference(nodes)
            .devices("nvidia-l40s", "nvidia.com/gpu", 1)
            .build();
        let mut target = target("nvidia", &placement);
        target
            .hostnames
            .retain(|node, _| !hidden.contains(&node.as_str()));
        inference_objects(&inference(CHAT), &placement, &target).unwrap()
    };
    let spread = |objects: &Objects<Deployment>| {
        let pod = objects.workload.spec.template.spec.as_ref().unwrap();
        let constraints = pod.topology_spread_constraints.iter().flatten();
        constraints
            .map(|c| (c.topology_key.clone(), c.max_skew))
            .collect::<Vec<_>>()
    };
    let named = |nodes: &[&str]| -> Value {
        let term = |node: &&str| json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]});
        nodes.iter().map(term).collect()
    };
    let evenly = vec![("kubernetes.io/hostname".to_owned(), 1)];
    let two = build(&[("n1", 2), ("n2", 2)], &[]);
    assert_eq!(terms(&two), named(&["n1", "n2"]));
    assert_eq!(spread(&two), evenly);
    let one = build(&[("n1", 4)], &[]);
    assert_eq!(terms(&one), named(&["n1"]));
    assert_eq!(spread(&one), []);
    // A node without the label would be passed over by a spread.
    let unlabelled = build(&[("n1", 2), ("n2", 2)], &["n2"]);
    assert_eq!(terms(&unlabelled), named(&["n1", "n2"]));
    assert_eq!(spread(&unlabelled), []);
}

#[test]
fn the_users_own_spread_on_the_same_key_stays_alone() {
    let objects = build(
        "
spread: {by: Node}
template:
  spec:
    topologySpreadConstraints: [{topologyKey: kubernetes.io/hostname, maxSkew: 9, whenUnsatisfiable: DoNotSchedule}]
    containers: [{name: main, image: worker}]
alternatives: [{name: a, acceleratorType: nvidia-l40s, devicesPerReplica: 1}]
",
    );
    let pod = objects.workload.spec.template.spec.unwrap();
    let constraints = pod.topology_spread_constraints.unwrap();
    assert_eq!(
        constraints.iter().map(|c| c.max_skew).collect::<Vec<_>>(),
        [9]
    );
}
