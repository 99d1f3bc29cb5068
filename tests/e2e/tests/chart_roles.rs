//! What the chart's roles allow on a real API server, and what its pods may be.

use std::time::Duration;

use ampacity_controlplane::{
    ControlPlane, SimulatedNode, apply_yaml, create_nodes, wait_for_object,
};
use ampacity_e2e::helm::install;
use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::{Node, Pod, Secret};
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};

const NAMESPACE: &str = "ampacity-system";
const TIMEOUT: Duration = Duration::from_secs(30);

/// A plane with the chart installed in it.
async fn installed(settings: &[&str]) -> Result<(ControlPlane, Client)> {
    let plane = ControlPlane::builder("chart")
        .kwok(false)
        .scheduler(false)
        .start()
        .await?;
    let kubeconfig = plane.dir().join("chart.kubeconfig");
    plane.write_kubeconfig(&kubeconfig)?;
    let client = plane.client()?;
    // A namespace as a careful administrator makes it: pods that are not confined are refused, and Deployments of them warned of.
    apply_yaml(
        &client,
        &format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: {NAMESPACE}, labels: {{\
             pod-security.kubernetes.io/enforce: restricted, pod-security.kubernetes.io/warn: restricted}}}}}}"
        ),
    )
    .await?;
    install(&kubeconfig, NAMESPACE, settings)?;
    Ok((plane, client))
}

/// Verb, group, resource, namespace (empty: all) and, where it matters, name.
type Question = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

async fn may(client: &Client, (verb, group, resource, namespace, name): Question) -> Result<bool> {
    let (resource, subresource) = match resource.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (resource, None),
    };
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                verb: Some(verb.to_owned()),
                group: Some(group.to_owned()),
                resource: Some(resource.to_owned()),
                subresource,
                namespace: Some(namespace.to_owned()),
                name: Some(name.to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let answer = Api::<SelfSubjectAccessReview>::all(client.clone())
        .create(&PostParams::default(), &review)
        .await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

/// Asks every question as `client` and fails with all those that are not answered as `wanted`.
async fn all(client: &Client, wanted: bool, questions: &[Question]) -> Result<()> {
    let mut wrong = Vec::new();
    for question in questions {
        if may(client, *question).await? != wanted {
            wrong.push(question);
        }
    }
    ensure!(
        wrong.is_empty(),
        "should be {}: {wrong:#?}",
        if wanted { "allowed" } else { "refused" }
    );
    Ok(())
}

fn forbidden<T: std::fmt::Debug>(result: kube::Result<T>, what: &str) -> Result<()> {
    match result {
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(()),
        other => bail!("{what} should be forbidden, got {other:?}"),
    }
}

const MEMBER_ALLOWED: &[Question] = &[
    ("watch", "", "nodes", "", ""),
    ("watch", "", "pods", "", ""),
    ("patch", "", "pods", "research", ""),
    ("delete", "", "pods", "research", ""),
    ("watch", "resource.k8s.io", "resourceslices", "", ""),
    ("watch", "resource.k8s.io", "resourceclaims", "", ""),
    ("watch", "resource.k8s.io", "devicetaintrules", "", ""),
    (
        "create",
        "resource.k8s.io",
        "resourceclaimtemplates",
        "research",
        "",
    ),
    ("create", "batch", "jobs", "research", ""),
    ("delete", "batch", "jobs", "research", ""),
    ("patch", "batch", "jobs", "research", ""),
    ("patch", "apps", "deployments", "research", ""),
    ("create", "", "services", "research", ""),
    ("list", "", "events", "research", ""),
];

/// Reads that the hub's own role has too.
const MEMBER_READS: &[Question] = &[("get", "", "namespaces", "", "kube-system")];

/// What a member refuses and a hub allows.
const MEMBER_ALONE_REFUSED: &[Question] = &[
    ("get", "", "namespaces", "", "default"),
    ("create", "", "events", "research", ""),
];

const MEMBER_REFUSED: &[Question] = &[
    ("delete", "", "nodes", "", ""),
    ("patch", "", "nodes", "", ""),
    ("patch", "", "nodes/status", "", ""),
    ("create", "", "pods", "research", ""),
    ("deletecollection", "", "pods", "research", ""),
    ("create", "", "pods/exec", "research", ""),
    ("create", "", "pods/binding", "research", ""),
    ("create", "", "pods/eviction", "research", ""),
    ("get", "", "secrets", "research", ""),
    ("get", "", "secrets", "kube-system", ""),
    ("get", "", "configmaps", "kube-system", ""),
    ("create", "", "namespaces", "", ""),
    ("patch", "", "namespaces", "", ""),
    ("delete", "", "namespaces", "", ""),
    ("update", "batch", "jobs", "research", ""),
    ("patch", "batch", "jobs/status", "research", ""),
    ("patch", "", "services", "research", ""),
    ("list", "", "namespaces", "", ""),
    ("watch", "", "events", "research", ""),
    (
        "create",
        "",
        "serviceaccounts/token",
        "kube-system",
        "default",
    ),
    ("create", "apps", "daemonsets", "research", ""),
    (
        "create",
        "rbac.authorization.k8s.io",
        "clusterroles",
        "",
        "",
    ),
    (
        "create",
        "rbac.authorization.k8s.io",
        "clusterrolebindings",
        "",
        "",
    ),
    (
        "bind",
        "rbac.authorization.k8s.io",
        "clusterroles",
        "",
        "cluster-admin",
    ),
    (
        "escalate",
        "rbac.authorization.k8s.io",
        "clusterroles",
        "",
        "",
    ),
    ("impersonate", "", "users", "", ""),
    ("*", "*", "*", "", ""),
];

#[tokio::test]
async fn the_hub_role_allows_the_pipeline_and_nothing_else() -> Result<()> {
    let (plane, admin) = installed(&["replicas=2"]).await?;
    let token = plane.service_account_token(NAMESPACE, "ampacity").await?;
    let operator = plane.client_as(&token)?;

    all(&operator, true, MEMBER_ALLOWED).await?;
    all(
        &operator,
        true,
        &[
            ("watch", "ampacity.dev", "trainingjobs", "", ""),
            ("watch", "ampacity.dev", "inferencejobs", "", ""),
            ("watch", "ampacity.dev", "memberclusters", "", ""),
            ("patch", "ampacity.dev", "memberclusters", "", ""),
            ("watch", "ampacity.dev", "acceleratortypes", "", ""),
            ("watch", "ampacity.dev", "pricesheets", "", ""),
            ("watch", "ampacity.dev", "powerdomains", "", ""),
            ("watch", "ampacity.dev", "powerbudgets", "", ""),
            (
                "patch",
                "ampacity.dev",
                "trainingjobs/status",
                "research",
                "",
            ),
            ("create", "ampacity.dev", "placements", "research", ""),
            ("update", "ampacity.dev", "placements", "research", ""),
            ("delete", "ampacity.dev", "placements", "research", ""),
            ("delete", "ampacity.dev", "trainingjobs", "research", ""),
            ("watch", "scheduling.k8s.io", "priorityclasses", "", ""),
            ("watch", "", "resourcequotas", "", ""),
            (
                "get",
                "apiextensions.k8s.io",
                "customresourcedefinitions",
                "",
                "trainingjobs.ampacity.dev",
            ),
            ("create", "events.k8s.io", "events", "research", ""),
            ("get", "", "secrets", NAMESPACE, "aws-east"),
            ("create", "coordination.k8s.io", "leases", "kube-system", ""),
            (
                "update",
                "coordination.k8s.io",
                "leases",
                "kube-system",
                "ampacity-operator",
            ),
            ("get", "", "namespaces", "", "kube-system"),
            ("get", "", "namespaces", "", "research"),
        ],
    )
    .await?;

    all(&operator, false, MEMBER_REFUSED).await?;
    all(
        &operator,
        false,
        &[
            ("list", "", "secrets", NAMESPACE, ""),
            ("patch", "", "resourcequotas", "research", ""),
            ("create", "", "secrets", NAMESPACE, ""),
            (
                "update",
                "coordination.k8s.io",
                "leases",
                "kube-system",
                "kube-controller-manager",
            ),
            (
                "delete",
                "coordination.k8s.io",
                "leases",
                "kube-system",
                "ampacity-operator",
            ),
            ("create", "coordination.k8s.io", "leases", NAMESPACE, ""),
            (
                "update",
                "coordination.k8s.io",
                "leases",
                NAMESPACE,
                "ampacity-operator",
            ),
            ("get", "", "secrets", "kube-system", ""),
            ("create", "ampacity.dev", "trainingjobs", "research", ""),
            ("patch", "ampacity.dev", "trainingjobs", "research", ""),
            ("delete", "ampacity.dev", "inferencejobs", "research", ""),
            ("create", "ampacity.dev", "memberclusters", "", ""),
            ("delete", "ampacity.dev", "memberclusters", "", ""),
            ("create", "ampacity.dev", "pricesheets", "", ""),
            ("patch", "ampacity.dev", "powerbudgets", "", ""),
            (
                "delete",
                "apiextensions.k8s.io",
                "customresourcedefinitions",
                "",
                "",
            ),
        ],
    )
    .await?;

    // The same with real calls: an access review answers from the roles, a call also passes admission.
    create_nodes(&admin, [SimulatedNode::new("precious")]).await?;
    apply_yaml(
        &admin,
        "{apiVersion: v1, kind: Secret, metadata: {name: secret, namespace: default}, stringData: {key: value}}",
    )
    .await?;
    let nodes: Api<Node> = Api::all(operator.clone());
    nodes.get("precious").await?;
    forbidden(
        nodes.delete("precious", &DeleteParams::default()).await,
        "deleting a node",
    )?;
    let secrets: Api<Secret> = Api::namespaced(operator.clone(), "default");
    forbidden(secrets.get("secret").await, "reading a Secret elsewhere")?;
    let roles: Api<ClusterRole> = Api::all(operator.clone());
    let role = ClusterRole {
        metadata: kube::core::ObjectMeta {
            name: Some("more".to_owned()),
            ..Default::default()
        },
        ..ClusterRole::default()
    };
    forbidden(
        roles.create(&PostParams::default(), &role).await,
        "creating a ClusterRole",
    )?;
    Ok(())
}

#[tokio::test]
async fn the_operators_pod_passes_the_restricted_pod_security_standard() -> Result<()> {
    let (_plane, client) = installed(&[]).await?;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), NAMESPACE);
    let deployment = deployments.get("ampacity").await?;
    let template = deployment.spec.template;
    let pod = Pod {
        metadata: kube::core::ObjectMeta {
            name: Some("ampacity-try".to_owned()),
            ..template.metadata.unwrap_or_default()
        },
        spec: template.spec,
        ..Pod::default()
    };
    let pods: Api<Pod> = Api::namespaced(client, NAMESPACE);
    let try_only = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    pods.create(&try_only, &pod).await?;

    // The namespace does enforce it.
    let mut privileged = pod;
    let container = privileged
        .spec
        .as_mut()
        .and_then(|spec| spec.containers.first_mut());
    container
        .and_then(|container| container.security_context.as_mut())
        .context("no container")?
        .allow_privilege_escalation = Some(true);
    forbidden(
        pods.create(&try_only, &privileged).await,
        "a pod that may escalate",
    )
}

#[tokio::test]
async fn a_hub_that_is_no_member_has_no_rights_on_workloads() -> Result<()> {
    let (plane, _admin) = installed(&["hubIsMember=false"]).await?;
    let token = plane.service_account_token(NAMESPACE, "ampacity").await?;
    let operator = plane.client_as(&token)?;
    all(&operator, false, MEMBER_ALLOWED).await?;
    all(
        &operator,
        true,
        &[("watch", "ampacity.dev", "trainingjobs", "", "")],
    )
    .await
}

#[tokio::test]
async fn a_member_that_names_namespaces_lets_jobs_be_made_in_those_only() -> Result<()> {
    let (plane, _admin) = installed(&[
        "memberOnly=true",
        "fullnameOverride=ampacity",
        "member.namespaces={default}",
        // They must exist: to make any other would be of no use.
        "member.createNamespaces=true",
    ])
    .await?;
    let token = plane.service_account_token(NAMESPACE, "ampacity").await?;
    let hub = plane.client_as(&token)?;
    let writes: Vec<Question> = MEMBER_ALLOWED
        .iter()
        .filter(|question| question.3 == "research")
        .copied()
        .collect();
    all(&hub, false, &writes).await?;
    let there: Vec<Question> = writes
        .iter()
        .map(|(verb, group, resource, _, name)| (*verb, *group, *resource, "default", *name))
        .collect();
    all(&hub, true, &there).await?;
    let reads: Vec<Question> = MEMBER_ALLOWED
        .iter()
        .filter(|question| question.0 == "watch")
        .copied()
        .collect();
    all(&hub, true, &reads).await?;
    all(&hub, false, MEMBER_REFUSED).await
}

#[tokio::test]
async fn a_member_lets_namespaces_be_made_where_it_says_so() -> Result<()> {
    let (plane, _admin) = installed(&["memberOnly=true", "member.createNamespaces=true"]).await?;
    let token = plane.service_account_token(NAMESPACE, "ampacity").await?;
    let hub = plane.client_as(&token)?;
    all(&hub, true, &[("create", "", "namespaces", "", "")]).await?;
    all(
        &hub,
        false,
        &[
            ("get", "", "namespaces", "", "research"),
            ("patch", "", "namespaces", "", "research"),
            ("delete", "", "namespaces", "", "research"),
        ],
    )
    .await
}

#[tokio::test]
async fn a_member_gives_the_hub_a_token_with_the_members_role_only() -> Result<()> {
    let (plane, admin) = installed(&["memberOnly=true"]).await?;
    let secrets: Api<Secret> = Api::namespaced(admin.clone(), NAMESPACE);
    let secret = wait_for_object(
        &secrets,
        "ampacity-token",
        "the token",
        TIMEOUT,
        |secret: &Secret| {
            secret
                .data
                .as_ref()
                .is_some_and(|data| data.contains_key("token"))
        },
    )
    .await?;
    let data = secret.data.context("no data")?;
    let token = String::from_utf8(data.get("token").context("no token")?.0.clone())?;
    let hub = plane.client_as(&token)?;

    all(&hub, true, MEMBER_ALLOWED).await?;
    all(&hub, true, MEMBER_READS).await?;
    all(&hub, false, MEMBER_REFUSED).await?;
    all(&hub, false, MEMBER_ALONE_REFUSED).await?;
    all(
        &hub,
        false,
        &[
            ("watch", "ampacity.dev", "trainingjobs", "", ""),
            ("create", "ampacity.dev", "placements", "research", ""),
            ("get", "", "secrets", NAMESPACE, "ampacity-token"),
            ("create", "coordination.k8s.io", "leases", NAMESPACE, ""),
        ],
    )
    .await?;
    let deployments: Api<Deployment> = Api::all(admin);
    ensure!(
        deployments
            .list(&Default::default())
            .await?
            .items
            .is_empty(),
        "a member runs no operator"
    );
    Ok(())
}
