//! The harness itself, on real control planes: needs the programs (`make binaries`), fails clearly without them.

// Everything here is a test or set-up for one: a failed set-up should say so at once.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use ampacity_controlplane::{
    Component, ControlPlane, FaultMode, FaultProxy, SimulatedNode, User, apply_yaml, create_nodes,
    install_crds, wait_for_object, wait_gone,
};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod};
use kube::api::{DeleteParams, ListParams};
use kube::{Api, Client};

const TIMEOUT: Duration = Duration::from_secs(60);

/// A whole plane with one node of eight GPUs.
async fn plane_with_node(name: &str) -> (ControlPlane, Client) {
    let plane = ControlPlane::builder(name).start().await.unwrap();
    let client = plane.client().unwrap();
    let node = SimulatedNode::new("gpu-a")
        .resource("nvidia.com/gpu", "8")
        .label("zone", "z1");
    create_nodes(&client, [node]).await.unwrap();
    (plane, client)
}

/// A pod that asks for `gpus`, with annotations as YAML.
fn pod(name: &str, gpus: u32, annotations: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  namespace: default
  annotations: {{{annotations}}}
spec:
  restartPolicy: Never
  containers:
  - name: main
    image: example.com/train
    resources:
      limits: {{nvidia.com/gpu: {gpus}}}
"
    )
}

fn phase(pod: &Pod) -> &str {
    pod.status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        .unwrap_or_default()
}

fn refused(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

#[tokio::test]
async fn a_pod_is_bound_runs_and_ends_as_its_annotations_say() {
    let (_plane, client) = plane_with_node("pods").await;
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let text = [
        pod("ends", 4, "ampacity.dev/sim-duration: 1s"),
        pod("stays", 4, ""),
        pod(
            "waits",
            4,
            "ampacity.dev/sim-fail: 'true', ampacity.dev/sim-exit-code: '17'",
        ),
    ]
    .join("---");
    apply_yaml(&client, &text).await.unwrap();

    let ended = wait_for_object(&pods, "ends", "pod to end", TIMEOUT, |p| {
        phase(p) == "Succeeded"
    })
    .await
    .unwrap();
    assert_eq!(ended.spec.unwrap().node_name.as_deref(), Some("gpu-a"));
    // Its four GPUs are free now, so the third pod gets them, and fails as it was told to.
    let failed = wait_for_object(&pods, "waits", "pod to fail", TIMEOUT, |p| {
        phase(p) == "Failed"
    })
    .await
    .unwrap();
    let containers = failed.status.unwrap().container_statuses.unwrap();
    let state = containers[0]
        .state
        .as_ref()
        .unwrap()
        .terminated
        .as_ref()
        .unwrap();
    assert_eq!(state.exit_code, 17);
    assert_eq!(phase(&pods.get("stays").await.unwrap()), "Running");

    pods.delete("stays", &DeleteParams::default())
        .await
        .unwrap();
    wait_gone(&pods, "stays", "deleted pod to go", TIMEOUT)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_node_keeps_the_capacity_it_was_given_and_can_be_made_unready() {
    let (_plane, client) = plane_with_node("nodes").await;
    let nodes: Api<Node> = Api::all(client.clone());
    let ready = |node: &Node, wanted: &str| {
        node.status
            .iter()
            .flat_map(|s| s.conditions.iter().flatten())
            .any(|c| c.type_ == "Ready" && c.status == wanted)
    };
    let node = wait_for_object(&nodes, "gpu-a", "node to be ready", TIMEOUT, |n| {
        ready(n, "True")
    })
    .await
    .unwrap();
    let allocatable = node.status.unwrap().allocatable.unwrap();
    let quantity = |name: &str| allocatable.get(name).map(|q| q.0.as_str());
    assert_eq!(quantity("nvidia.com/gpu"), Some("8"));
    assert_eq!(quantity("pods"), Some("110"));

    let annotated = "{apiVersion: v1, kind: Node, metadata: {name: gpu-a, annotations: {ampacity.dev/sim-not-ready: 'true'}}}";
    apply_yaml(&client, annotated).await.unwrap();
    wait_for_object(&nodes, "gpu-a", "node to be unready", TIMEOUT, |n| {
        ready(n, "False")
    })
    .await
    .unwrap();
    apply_yaml(
        &client,
        "{apiVersion: v1, kind: Node, metadata: {name: gpu-a}}",
    )
    .await
    .unwrap();
    let node = wait_for_object(&nodes, "gpu-a", "node to recover", TIMEOUT, |n| {
        ready(n, "True")
    })
    .await
    .unwrap();
    assert_eq!(node.status.unwrap().allocatable.unwrap(), allocatable);
}

#[tokio::test]
async fn a_job_of_two_pods_completes_and_a_deleted_one_leaves_nothing() {
    let (plane, client) = plane_with_node("jobs").await;
    let jobs: Api<Job> = Api::default_namespaced(client.clone());
    let job = |name: &str, annotations: &str| {
        format!(
            "
apiVersion: batch/v1
kind: Job
metadata: {{name: {name}, namespace: default}}
spec:
  parallelism: 2
  completions: 2
  template:
    metadata: {{annotations: {{{annotations}}}}}
    spec:
      restartPolicy: Never
      containers: [{{name: main, image: example.com/train, resources: {{limits: {{nvidia.com/gpu: 2}}}}}}]
"
        )
    };
    let before = plane.request_counts().await.unwrap();
    apply_yaml(&client, &job("short", "ampacity.dev/sim-duration: 100ms"))
        .await
        .unwrap();
    wait_for_object(&jobs, "short", "job to succeed", TIMEOUT, |j| {
        j.status.as_ref().and_then(|s| s.succeeded) == Some(2)
            && j.status.as_ref().unwrap().completion_time.is_some()
    })
    .await
    .unwrap();
    let counts = plane.request_counts().await.unwrap().since(&before);
    let created = counts.total(|k| {
        k.verb == "POST" && k.resource == "pods" && k.subresource.is_empty() && k.code == 201
    });
    assert_eq!(created, 2);
    let bound =
        counts.total(|k| k.resource == "pods" && k.subresource == "binding" && k.code == 201);
    assert_eq!(bound, 2);

    apply_yaml(&client, &job("long", "")).await.unwrap();
    wait_for_object(&jobs, "long", "job to run", TIMEOUT, |j| {
        j.status.as_ref().and_then(|s| s.ready) == Some(2)
    })
    .await
    .unwrap();
    let pods: Api<Pod> = Api::default_namespaced(client);
    let running = pods
        .list(&ListParams::default().labels("job-name=long"))
        .await
        .unwrap();
    jobs.delete("long", &DeleteParams::background())
        .await
        .unwrap();
    for pod in running {
        let name = pod.metadata.name.unwrap();
        wait_gone(&pods, &name, "the deleted job's pod to go", TIMEOUT)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn rbac_decides_what_users_and_service_accounts_may_do() {
    let plane = ControlPlane::builder("rbac")
        .scheduler(false)
        .kwok(false)
        .controller_manager(false)
        .audit_log(true)
        .user(User::new("alice", &["research"]).unwrap())
        .start()
        .await
        .unwrap();
    let admin = plane.client().unwrap();
    apply_yaml(
        &admin,
        "
{apiVersion: v1, kind: ServiceAccount, metadata: {name: operator, namespace: default}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: stranger, namespace: default}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: pod-reader}
rules: [{apiGroups: [''], resources: [pods], verbs: [get, list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: pod-readers}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: pod-reader}
subjects:
- {kind: ServiceAccount, name: operator, namespace: default}
- {kind: Group, apiGroup: rbac.authorization.k8s.io, name: research}
",
    )
    .await
    .unwrap();
    let pods_as = |token: &str| Api::<Pod>::default_namespaced(plane.client_as(token).unwrap());
    let list = ListParams::default();

    let operator = plane
        .service_account_token("default", "operator")
        .await
        .unwrap();
    pods_as(&operator).list(&list).await.unwrap();
    let error = Api::<ConfigMap>::default_namespaced(plane.client_as(&operator).unwrap())
        .list(&list)
        .await
        .unwrap_err();
    assert_eq!(refused(&error), Some(403));
    pods_as(plane.token("alice").unwrap())
        .list(&list)
        .await
        .unwrap();

    let stranger = plane
        .service_account_token("default", "stranger")
        .await
        .unwrap();
    assert_eq!(
        refused(&pods_as(&stranger).list(&list).await.unwrap_err()),
        Some(403)
    );
    assert_eq!(
        refused(&pods_as("not-a-token").list(&list).await.unwrap_err()),
        Some(401)
    );

    let writes = plane.audited_writes().unwrap();
    let role = writes
        .iter()
        .find(|write| write.resource == "clusterroles" && write.name == "pod-reader")
        .unwrap();
    assert_eq!(
        (role.user.as_str(), role.verb.as_str(), role.code),
        ("admin", "patch", 201)
    );
}

#[tokio::test]
async fn data_outlives_the_api_server_and_a_paused_one_stays_silent() {
    let plane = bare("restart").await;
    let client = plane.client().unwrap();
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    apply_yaml(
        &client,
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: kept}, data: {a: b}}",
    )
    .await
    .unwrap();
    let url = plane.url();

    plane.stop_apiserver().unwrap();
    assert!(maps.get("kept").await.is_err());
    assert!(plane.memory(Component::ApiServer).is_err());
    plane.start_apiserver().await.unwrap();
    assert_eq!(plane.url(), url);
    assert_eq!(maps.get("kept").await.unwrap().data.unwrap()["a"], "b");

    plane.pause(Component::ApiServer).unwrap();
    let silence = tokio::time::timeout(Duration::from_millis(200), maps.get("kept")).await;
    assert!(silence.is_err(), "a paused server answered");
    plane.resume(Component::ApiServer).unwrap();
    maps.get("kept").await.unwrap();
}

#[tokio::test]
async fn clients_reach_a_plane_through_a_proxy_and_lose_it_when_told() {
    let plane = bare("proxy").await;
    let proxy = FaultProxy::start(plane.socket_address()).await.unwrap();
    let client = plane
        .client_at(&proxy.url(), plane.admin_token().unwrap())
        .unwrap();
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    maps.list(&ListParams::default()).await.unwrap();

    proxy.set_mode(FaultMode::DropNew);
    proxy.cut_connections();
    assert!(maps.list(&ListParams::default()).await.is_err());
    proxy.set_mode(FaultMode::BlackHole);
    let silence = tokio::time::timeout(
        Duration::from_millis(200),
        maps.list(&ListParams::default()),
    )
    .await;
    assert!(silence.is_err(), "a black hole answered");
    proxy.set_mode(FaultMode::Pass);
    maps.list(&ListParams::default()).await.unwrap();
}

#[tokio::test]
async fn definitions_can_be_used_as_soon_as_they_are_installed() {
    let plane = bare("crds").await;
    let client = plane.client().unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("widgets.yaml"),
        "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  names: {kind: Widget, plural: widgets, singular: widget}
  scope: Cluster
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
",
    )
    .unwrap();
    install_crds(&client, folder.path()).await.unwrap();
    let widget = "{apiVersion: example.com/v1, kind: Widget, metadata: {name: w}, spec: {size: 3}, status: {made: true}}";
    let stored = apply_yaml(&client, widget).await.unwrap();
    assert_eq!(stored[0].data["status"]["made"], true);

    let empty = tempfile::tempdir().unwrap();
    assert!(install_crds(&client, empty.path()).await.is_err());
}

#[tokio::test]
async fn a_plane_started_again_in_its_folder_is_the_same_plane() {
    let folder = tempfile::tempdir().unwrap();
    let start = || async {
        ControlPlane::builder("kept")
            .dir(folder.path())
            .scheduler(false)
            .controller_manager(false)
            .kwok(false)
            .start()
            .await
    };
    let plane = start().await.unwrap();
    let (url, kubeconfig) = (plane.url(), plane.kubeconfig("admin").unwrap());
    let map = "{apiVersion: v1, kind: ConfigMap, metadata: {name: kept}}";
    apply_yaml(&plane.client().unwrap(), map).await.unwrap();
    let second = start().await.unwrap_err().to_string();
    assert!(
        second.contains("is in use by another running control plane"),
        "{second}"
    );
    drop(plane);

    let plane = start().await.unwrap();
    assert_eq!(
        (plane.url(), plane.kubeconfig("admin").unwrap()),
        (url, kubeconfig)
    );
    Api::<ConfigMap>::default_namespaced(plane.client().unwrap())
        .get("kept")
        .await
        .unwrap();
}

/// Store and API server alone, for what needs no pods.
async fn bare(name: &str) -> ControlPlane {
    ControlPlane::builder(name)
        .scheduler(false)
        .controller_manager(false)
        .kwok(false)
        .start()
        .await
        .unwrap()
}
