use k8s_openapi::api::apps::v1::Deployment;
use serde_json::Value;

use crate::dispatch::testing::{PlacementOf, inference, target, yaml};
use crate::dispatch::{DispatchError, Objects};
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
    let mut target = target("nvidia", &placement);
    target.pool_labels = yaml("{nvidia.com/gpu.product: NVIDIA-L40S}");
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
    assert_eq!(pod.topology_spread_constraints, None);
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
        let mut target = target("nvidia", &placement);
        target.pool_nodes = vec!["n1".to_owned()];
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
        let mut target = target("nvidia", &placement);
        target.pool_labels = yaml("{pool: a}");
        inference_objects(&job, &placement, &target)
            .unwrap()
            .workload
    };
    let (one, two) = (build(7, 3), build(8, 5));
    assert_eq!(one.spec.template, two.spec.template);
    assert_eq!((one.spec.replicas, two.spec.replicas), (Some(3), Some(5)));
}

#[test]
fn a_pool_is_named_by_labels_else_by_host_names() {
    let pool = |nodes: usize, labelled: bool, hostnames: bool| {
        let placement = placement().build();
        let mut target = target("nvidia", &placement);
        target.pool_nodes = (0..nodes).map(|i| format!("n{i:04}")).collect();
        if hostnames {
            let names = target
                .pool_nodes
                .iter()
                .map(|n| (n.clone(), format!("{n}.local")));
            target.hostnames = names.collect();
        }
        if labelled {
            target.pool_labels = yaml("{pool: a}");
        }
        inference_objects(&inference(CHAT), &placement, &target).map(|objects| terms(&objects))
    };
    let labelled: Value = yaml("[{matchExpressions: [{key: pool, operator: In, values: [a]}]}]");
    assert_eq!(pool(5000, true, false), Ok(labelled));
    let two: Value = yaml(
        "[{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [n0000.local, n0001.local]}]}]",
    );
    assert_eq!(pool(2, false, true), Ok(two));
    let many = pool(130, false, true).unwrap();
    let sizes: Vec<_> = many
        .as_array()
        .unwrap()
        .iter()
        .map(|term| {
            term["matchExpressions"][0]["values"]
                .as_array()
                .unwrap()
                .len()
        })
        .collect();
    assert_eq!(sizes, [64, 64, 2]);
    for (nodes, hostnames) in [(1025, true), (0, true), (3, false)] {
        let refused = pool(nodes, false, hostnames).unwrap_err();
        assert!(
            matches!(refused, DispatchError::PoolTooLarge { nodes: n, .. } if n == nodes),
            "{refused}"
        );
    }
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
