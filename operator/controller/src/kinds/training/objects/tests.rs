use ampacity_api::{JobKind, Placement, TrainingJob, labels};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{EnvVar, PodSpec};
use serde_json::Value;

use crate::dispatch::testing::{PlacementOf, target, training, yaml};
use crate::dispatch::{DispatchError, Objects, Target};
use crate::kinds::training::objects::training_objects;

const ONE_ALTERNATIVE: &str = "
estimatedDurationSeconds: 60
alternatives: [{name: a, acceleratorType: nvidia-h100-sxm5-80gb, devicesPerReplica: 8, image: train:cuda}]
";

fn four_nodes() -> PlacementOf {
    PlacementOf::training(&[("n3", 1), ("n1", 1), ("n2", 1), ("n4", 1)])
}

fn build(job: &TrainingJob, placement: &Placement, target: &Target) -> Objects<Job> {
    training_objects(job, placement, target).unwrap()
}

/// The objects in the order in which they are applied.
fn documents(objects: &Objects<Job>) -> Vec<Value> {
    let mut documents = Vec::new();
    documents.extend(
        objects
            .claim_template
            .iter()
            .map(|o| serde_json::to_value(o).unwrap()),
    );
    documents.extend(
        objects
            .service
            .iter()
            .map(|o| serde_json::to_value(o).unwrap()),
    );
    documents.push(serde_json::to_value(&objects.workload).unwrap());
    documents
}

fn pod(objects: &Objects<Job>) -> &PodSpec {
    let spec = objects.workload.spec.as_ref().unwrap();
    spec.template.spec.as_ref().unwrap()
}

fn env(objects: &Objects<Job>) -> &[EnvVar] {
    pod(objects).containers[0].env.as_deref().unwrap()
}

fn env_value<'a>(objects: &'a Objects<Job>, name: &str) -> Option<&'a str> {
    let variable = env(objects).iter().find(|v| v.name == name)?;
    variable.value.as_deref()
}

#[test]
fn nvidia_gang_of_four_nodes() {
    let placement = four_nodes().build();
    let objects = build(
        &training(ONE_ALTERNATIVE),
        &placement,
        &target("nvidia", &placement),
    );
    assert!(objects.gated);
    insta::assert_yaml_snapshot!(documents(&objects));
}

#[test]
fn one_replica_needs_no_gate_and_no_service() {
    let placement = PlacementOf::training(&[("n1", 1)]).build();
    let objects = build(
        &training(ONE_ALTERNATIVE),
        &placement,
        &target("nvidia", &placement),
    );
    assert!(!objects.gated);
    insta::assert_yaml_snapshot!(documents(&objects));
}

#[test]
fn gang_on_one_node_is_pinned_without_a_gate() {
    let placement = PlacementOf::training(&[("n1", 2)])
        .devices("nvidia-h100-sxm5-80gb", "nvidia.com/gpu", 4)
        .build();
    let objects = build(
        &training(ONE_ALTERNATIVE),
        &placement,
        &target("nvidia", &placement),
    );
    assert!(!objects.gated);
    assert!(objects.service.is_some());
    insta::assert_yaml_snapshot!(pod(&objects).affinity);
}

#[test]
fn neuron_gang() {
    let placement = PlacementOf::training(&[("t1", 1), ("t2", 1)])
        .devices("aws-trainium2", "aws.amazon.com/neuron", 16)
        .build();
    let objects = build(
        &training(ONE_ALTERNATIVE),
        &placement,
        &target("aws", &placement),
    );
    insta::assert_yaml_snapshot!(pod(&objects));
}

#[test]
fn neuron_leaves_the_processes_to_torchrun() {
    let placement = PlacementOf::training(&[("t1", 1), ("t2", 1)])
        .devices("aws-trainium1", "aws.amazon.com/neuron", 16)
        .build();
    let cases = [
        (
            "a program that JAX runs",
            "args: [python, train.py]",
            Some("32,32"),
        ),
        ("torchrun", "args: [torchrun, train.py]", None),
        (
            "in a shell line",
            "command: [sh, -c, 'exec python -m torch.distributed.run t.py']",
            None,
        ),
        (
            "set by the user",
            "env: [{name: NEURON_PJRT_WORLD_SIZE, value: '64'}]",
            None,
        ),
    ];
    for (what, container, expected) in cases {
        let job = training(&format!(
            "{ONE_ALTERNATIVE}template: {{spec: {{containers: [{{name: main, {container}}}]}}}}"
        ));
        let objects = build(&job, &placement, &target("aws", &placement));
        assert_eq!(
            env_value(&objects, "NEURON_PJRT_PROCESSES_NUM_DEVICES"),
            expected,
            "{what}"
        );
        assert_eq!(
            env_value(&objects, "PET_NPROC_PER_NODE"),
            Some("32"),
            "{what}"
        );
    }
}

#[test]
fn neuron_cores_follow_the_logical_core_size() {
    let placement = PlacementOf::training(&[("t1", 1)])
        .devices("aws-trainium2", "aws.amazon.com/neuron", 16)
        .build();
    for (size, cores) in [("1", "128"), ("2", "64"), ("no number", "64"), ("0", "64")] {
        let job = training(&format!(
            "{ONE_ALTERNATIVE}template: {{spec: {{containers: [{{name: main, env: [{{name: NEURON_LOGICAL_NC_CONFIG, value: '{size}'}}]}}]}}}}"
        ));
        let objects = build(&job, &placement, &target("aws", &placement));
        assert_eq!(env_value(&objects, "NPROC_PER_NODE"), Some(cores), "{size}");
    }
}

#[test]
fn tpu_gang() {
    let placement = PlacementOf::training(&[("h1", 1), ("h2", 1)])
        .devices("google-tpu-v6e", "google.com/tpu", 4)
        .with(|p| p.spec.power_cap_watts = None)
        .build();
    let objects = build(
        &training(ONE_ALTERNATIVE),
        &placement,
        &target("google", &placement),
    );
    insta::assert_yaml_snapshot!(pod(&objects));
}

#[test]
fn amd_takes_the_place_of_what_the_template_asked_for() {
    let placement = PlacementOf::training(&[("m1", 1)])
        .devices("amd-mi300x", "amd.com/gpu", 8)
        .build();
    let job = training(
        "
estimatedDurationSeconds: 60
template:
  spec:
    initContainers:
    - {name: fetch, image: fetch, resources: {limits: {nvidia.com/gpu: 1}}}
    containers:
    - name: train
      image: train:cuda
      resources:
        requests: {cpu: '8', memory: 64Gi, nvidia.com/gpu: 4}
        limits: {nvidia.com/gpu: 4, rdma/ib: 1}
    - {name: sidecar, image: logs, resources: {limits: {amd.com/gpu: 1, cpu: '1'}}}
alternatives: [{name: a, acceleratorType: amd-mi300x, devicesPerReplica: 8, image: train:rocm, resources: {requests: {cpu: '32'}}}]
",
    );
    let objects = build(&job, &placement, &target("amd", &placement));
    insta::assert_yaml_snapshot!(pod(&objects).containers);
}

#[test]
fn dra_gang() {
    let placement = PlacementOf::training(&[("g1", 1), ("g2", 1)])
        .devices("nvidia-gb200", "gpu.nvidia.com", 4)
        .build();
    let job = training(
        "
estimatedDurationSeconds: 60
template:
  spec:
    resourceClaims: [{name: channel, resourceClaimTemplateName: imex}]
    containers: [{name: main, resources: {claims: [{name: channel}], limits: {nvidia.com/gpu: 4}}}]
alternatives: [{name: a, acceleratorType: nvidia-gb200, devicesPerReplica: 4, image: train}]
",
    );
    let objects = build(&job, &placement, &target("nvidia", &placement));
    let mut shown = documents(&objects);
    let pod = shown.pop().unwrap()["spec"]["template"]["spec"].take();
    insta::assert_yaml_snapshot!((
        &shown[0],
        &pod["resourceClaims"],
        &pod["containers"][0]["resources"]
    ));
}

#[test]
fn parts_are_asked_for_by_their_own_names() {
    // Resource and part of the placement, count; what the first container asks for, and the claim's selector.
    let cases = [
        (
            ("nvidia.com/mig-1g.10gb", Some("1g.10gb"), None, 2),
            "{limits: {nvidia.com/mig-1g.10gb: '2'}, requests: {nvidia.com/mig-1g.10gb: '2'}}",
            None,
        ),
        (
            ("nvidia.com/gpu.shared", None, Some(250), 1),
            "{limits: {nvidia.com/gpu.shared: '1'}, requests: {nvidia.com/gpu.shared: '1'}}",
            None,
        ),
        (
            ("mig.nvidia.com", Some("1g.10gb.me"), None, 1),
            "{claims: [{name: ampacity-devices}]}",
            Some("device.attributes['gpu.nvidia.com'].profile == '1g.10gb+me'"),
        ),
    ];
    let job = training(
        "
estimatedDurationSeconds: 60
template: {spec: {containers: [{name: main, resources: {limits: {nvidia.com/gpu: 4}}}]}}
alternatives: [{name: a, acceleratorType: nvidia-h100-sxm5-80gb, devicesPerReplica: 1, image: train}]
",
    );
    for ((resource, profile, milli, count), asked, selector) in cases {
        let placement = PlacementOf::training(&[("n1", 1)])
            .devices("nvidia-h100-sxm5-80gb", resource, count)
            .with(|p| {
                p.spec.mig_profile = profile.map(str::to_owned);
                p.spec.millidevices = milli;
            })
            .build();
        let objects = build(&job, &placement, &target("nvidia", &placement));
        let pod = objects
            .workload
            .spec
            .as_ref()
            .unwrap()
            .template
            .spec
            .as_ref()
            .unwrap();
        let resources = serde_json::to_value(&pod.containers[0].resources).unwrap();
        assert_eq!(resources, yaml::<Value>(asked), "{resource}");
        let tolerated = pod.tolerations.iter().flatten();
        let keys: Vec<_> = tolerated.filter_map(|t| t.key.as_deref()).collect();
        assert_eq!(keys.contains(&resource), resource.contains('/'), "{keys:?}");
        let claim = serde_json::to_value(&objects.claim_template).unwrap();
        let request = &claim["spec"]["spec"]["devices"]["requests"][0]["exactly"];
        assert_eq!(
            request["selectors"][0]["cel"]["expression"].as_str(),
            selector,
            "{request}"
        );
    }
}

#[test]
fn a_profile_that_is_none_is_told() {
    let placement = PlacementOf::training(&[("n1", 1)])
        .devices("nvidia-h100-sxm5-80gb", "mig.nvidia.com", 1)
        .with(|p| p.spec.mig_profile = Some("' || true || '".to_owned()))
        .build();
    let error = training_objects(
        &training(ONE_ALTERNATIVE),
        &placement,
        &target("nvidia", &placement),
    );
    assert!(
        matches!(error, Err(DispatchError::NoMigProfile { .. })),
        "{error:?}"
    );
}

#[test]
fn what_the_template_says_itself_stays() {
    let placement = four_nodes().build();
    let job = training(
        "
estimatedDurationSeconds: 60
template:
  metadata: {labels: {team: nlp, ampacity.dev/placement: forged, app.kubernetes.io/managed-by: helm}, annotations: {note: mine}}
  spec:
    schedulingGates: [{name: example.com/quota}]
    hostname: mine
    hostNetwork: true
    restartPolicy: OnFailure
    nodeSelector: {disk: ssd}
    tolerations:
    - {key: team, value: nlp, effect: NoSchedule}
    - {key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}
    affinity:
      nodeAffinity:
        preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, preference: {matchExpressions: [{key: row, operator: In, values: [r1]}]}}]
        requiredDuringSchedulingIgnoredDuringExecution:
          nodeSelectorTerms:
          - {matchExpressions: [{key: zone, operator: In, values: [a]}]}
          - {}
          - {matchExpressions: [{key: zone, operator: In, values: [b]}], matchFields: [{key: metadata.name, operator: NotIn, values: [bad]}]}
      podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: []}
    containers:
    - name: train
      image: old
      args: [--old]
      env:
      - {name: MASTER_PORT, value: '1234'}
      - {name: LR, value: '1'}
      - {name: ENDPOINT, value: $(MASTER_ADDR):$(MASTER_PORT)}
    - {name: sidecar, image: logs, env: [{name: A, value: b}]}
alternatives:
- {name: a, acceleratorType: nvidia-h100-sxm5-80gb, devicesPerReplica: 8, image: new, args: [--new], env: [{name: SEED, value: '7'}, {name: LR, value: '2'}], runtimeClassName: nvidia}
",
    );
    let objects = build(&job, &placement, &target("nvidia", &placement));
    insta::assert_yaml_snapshot!(objects.workload.spec.as_ref().unwrap().template);
}

#[test]
fn every_object_and_pod_says_whose_it_is() {
    let placement = four_nodes()
        .devices("nvidia-h100-sxm5-80gb", "gpu.nvidia.com", 8)
        .build();
    let objects = build(
        &training(ONE_ALTERNATIVE),
        &placement,
        &target("nvidia", &placement),
    );
    let documents = documents(&objects);
    assert_eq!(documents.len(), 3);
    let pod = documents[2]["spec"]["template"].clone();
    let of_object: Value = yaml(
        "{ampacity.dev/hub: hub-1, ampacity.dev/job-name: llama, ampacity.dev/job-kind: TrainingJob, ampacity.dev/job-uid: job-uid,
          ampacity.dev/placement: llama-2, ampacity.dev/attempt: '2', app.kubernetes.io/managed-by: ampacity}",
    );
    let of_pod: Value = yaml(
        "{ampacity.dev/hub: hub-1, ampacity.dev/job-name: llama, ampacity.dev/job-kind: TrainingJob,
          ampacity.dev/placement: llama-2, app.kubernetes.io/managed-by: ampacity}",
    );
    let objects_and_pod = documents
        .into_iter()
        .map(|d| (d, &of_object))
        .chain([(pod, &of_pod)]);
    for (document, expected) in objects_and_pod {
        assert_eq!(&document["metadata"]["labels"], expected, "{document}");
        let annotations = &document["metadata"]["annotations"];
        assert_eq!(annotations["ampacity.dev/placement-uid"], "placement-uid");
    }
    // The Service finds the pods by the same labels.
    let selector = objects.service.unwrap().spec.unwrap().selector.unwrap();
    let pods = objects
        .workload
        .spec
        .unwrap()
        .template
        .metadata
        .unwrap()
        .labels
        .unwrap();
    assert!(selector.iter().all(|pair| pods.get(pair.0) == Some(pair.1)));
}

#[test]
fn long_names_stay_valid_host_names_and_labels() {
    let long = format!("{}z", "very-long-".repeat(5));
    let placement = PlacementOf::new(
        JobKind::TrainingJob,
        &long,
        &[("n1", 50_000), ("n2", 50_000)],
    )
    .with(|p| {
        p.spec.attempt = 123_456;
        p.metadata.name = Some(format!("{}-123456", "p".repeat(100)));
    })
    .build();
    let mut job = training(ONE_ALTERNATIVE);
    job.metadata.name = Some(long);
    let objects = build(&job, &placement, &target("nvidia", &placement));
    let name = objects.workload.metadata.name.clone().unwrap();
    assert!(format!("{name}-99999").len() <= 63, "{name}");
    let service = objects.service.unwrap().metadata.name.unwrap();
    assert_eq!(service, format!("{name}-gang"));
    assert!(service.len() <= 63, "{service}");
    assert_eq!(
        objects
            .workload
            .spec
            .unwrap()
            .template
            .spec
            .unwrap()
            .subdomain,
        Some(service)
    );
    let labels = objects.workload.metadata.labels.unwrap();
    assert!(labels.values().all(|value| value.len() <= 63), "{labels:?}");
    assert!(labels[labels::PLACEMENT].starts_with("pppp"));
}

#[test]
fn a_huge_gang_has_small_pods() {
    let names: Vec<String> = (0..10_000)
        .map(|i| format!("node-{i:05}.example.internal"))
        .collect();
    let nodes: Vec<(&str, i32)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    let cases = [
        ("nvidia", "nvidia-h100-sxm5-80gb", "nvidia.com/gpu", 8),
        ("google", "google-tpu-v5p", "google.com/tpu", 4),
        ("aws", "aws-trainium2", "aws.amazon.com/neuron", 16),
    ];
    for (vendor, accelerator, resource, devices) in cases {
        let placement = PlacementOf::training(&nodes)
            .devices(accelerator, resource, devices)
            .build();
        let target = target(vendor, &placement);
        let objects = build(&training(ONE_ALTERNATIVE), &placement, &target);
        let size = serde_json::to_vec(&objects.workload).unwrap().len();
        assert!(size < 40_000, "{vendor}: {size} bytes");
        assert!(objects.gated, "each is pinned to its node");
        assert_eq!(pod(&objects).affinity, None);
    }
}

#[test]
fn a_gang_whose_nodes_cannot_be_named_relies_on_its_gate() {
    let placement = four_nodes().build();
    let mut target = target("nvidia", &placement);
    target.hostnames.remove("n2");
    let objects = build(&training(ONE_ALTERNATIVE), &placement, &target);
    assert!(objects.gated);
    assert_eq!(pod(&objects).affinity, None);
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let placement = four_nodes().build();
    let job = training(ONE_ALTERNATIVE);
    let target = target("nvidia", &placement);
    let text = |objects| serde_json::to_string(&documents(&objects)).unwrap();
    assert_eq!(
        text(build(&job, &placement, &target)),
        text(build(&job, &placement, &target))
    );
}
