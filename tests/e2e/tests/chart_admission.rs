//! Who may write what on a hub with the chart in it: users their jobs, the operator its decisions, the control plane what it must.

use std::path::PathBuf;
use std::time::Duration;

use ampacity_api::{Placement, TrainingJob};
use ampacity_controlplane::{ControlPlane, apply_yaml, wait_for, wait_for_object, wait_gone};
use ampacity_e2e::helm::{install, root};
use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

const NAMESPACE: &str = "ampacity-system";
const TIMEOUT: Duration = Duration::from_secs(30);

/// A hub with the chart installed, and namespace `research`.
async fn hub(settings: &[&str]) -> Result<(ControlPlane, Client)> {
    let plane = ControlPlane::builder("admission")
        .kwok(false)
        .scheduler(false)
        .start()
        .await?;
    let kubeconfig = plane.dir().join("chart.kubeconfig");
    plane.write_kubeconfig(&kubeconfig)?;
    let admin = plane.client()?;
    for namespace in [NAMESPACE, "research"] {
        let yaml = format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}");
        apply_yaml(&admin, &yaml).await?;
    }
    install(&kubeconfig, NAMESPACE, settings)?;
    Ok((plane, admin))
}

/// A client of a person who has a ClusterRole in namespace `research`.
async fn person(plane: &ControlPlane, admin: &Client, role: &str) -> Result<Client> {
    let yaml = format!(
        "apiVersion: v1
kind: ServiceAccount
metadata: {{name: {role}, namespace: research}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: {role}, namespace: research}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {role}}}
subjects: [{{kind: ServiceAccount, name: {role}, namespace: research}}]
"
    );
    apply_yaml(admin, &yaml).await?;
    let token = plane.service_account_token("research", role).await?;
    Ok(plane.client_as(&token)?)
}

/// A person to whom RBAC alone would allow everything with our kinds in the namespace.
async fn team_lead(plane: &ControlPlane, admin: &Client) -> Result<Client> {
    apply_yaml(
        admin,
        "apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: team-lead}
rules: [{apiGroups: [ampacity.dev], resources: ['*'], verbs: ['*']}]
",
    )
    .await?;
    person(plane, admin, "team-lead").await
}

/// Waits until a Placement of this client is refused with these words: the API server takes a moment to learn of a policy.
async fn refused_by(client: &Client, words: &str) -> Result<()> {
    let placement: Placement = read("placement.yaml")?;
    let theirs: Api<Placement> = Api::namespaced(client.clone(), "research");
    wait_for(format!("a refusal with {words:?}"), TIMEOUT, || async {
        let message = refusal(theirs.create(&dry_run(), &placement).await)?;
        ensure!(message.contains(words), "{message}");
        Ok::<_, anyhow::Error>(Some(()))
    })
    .await?;
    Ok(())
}

fn manifest(name: &str) -> PathBuf {
    root().join("tests/e2e/fixtures/manifests/good").join(name)
}

fn read<K: serde::de::DeserializeOwned>(name: &str) -> Result<K> {
    let text = std::fs::read_to_string(manifest(name))?;
    serde_saphyr::from_str(&text).with_context(|| format!("{name} cannot be read"))
}

fn dry_run() -> PostParams {
    PostParams {
        dry_run: true,
        ..PostParams::default()
    }
}

/// The message of a refusal.
fn refusal<T: std::fmt::Debug>(result: kube::Result<T>) -> Result<String> {
    match result {
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(status.message.clone()),
        other => bail!("should be forbidden, got {other:?}"),
    }
}

#[tokio::test]
async fn only_the_operator_writes_placements_and_statuses() -> Result<()> {
    let (plane, admin) = hub(&["replicas=0"]).await?;
    let lead = team_lead(&plane, &admin).await?;
    let placement: Placement = read("placement.yaml")?;
    refused_by(
        &lead,
        "Placements are written by the Ampacity operator alone",
    )
    .await?;

    // Their own jobs are theirs, the status is not.
    let job: TrainingJob = read("training_job_small.yaml")?;
    let name = job.metadata.name.clone().context("no name")?;
    let jobs: Api<TrainingJob> = Api::namespaced(lead, "research");
    let made = jobs.create(&PostParams::default(), &job).await?;
    let status = Patch::Merge(json!({"status": {"state": "Succeeded"}}));
    let said = refusal(
        jobs.patch_status(&name, &PatchParams::default(), &status)
            .await,
    )?;
    ensure!(
        said.contains("the status of trainingjobs is written by the Ampacity operator alone"),
        "{said}"
    );

    // The operator and the administrator pass.
    let token = plane.service_account_token(NAMESPACE, "ampacity").await?;
    let operator = plane.client_as(&token)?;
    let decisions: Api<Placement> = Api::namespaced(operator.clone(), "research");
    let owned = Placement {
        metadata: kube::core::ObjectMeta {
            owner_references: kube::Resource::controller_owner_ref(&made, &())
                .map(|owner| vec![owner]),
            ..placement.metadata.clone()
        },
        ..placement.clone()
    };
    let owned = decisions.create(&PostParams::default(), &owned).await?;
    Api::<TrainingJob>::namespaced(operator, "research")
        .patch_status(&name, &PatchParams::default(), &status)
        .await?;
    let others = Placement {
        metadata: kube::core::ObjectMeta {
            name: Some("by-the-admin".to_owned()),
            ..placement.metadata.clone()
        },
        ..placement
    };
    Api::<Placement>::namespaced(admin.clone(), "research")
        .create(&dry_run(), &others)
        .await?;

    // The garbage collector takes away what belonged to a job that was deleted, in the foreground too.
    let owned_name = owned.metadata.name.context("no name")?;
    let foreground = DeleteParams::foreground();
    jobs.delete(&name, &foreground).await?;
    wait_gone(&decisions, &owned_name, "the Placement", TIMEOUT).await?;
    wait_gone(&jobs, &name, "the job", TIMEOUT).await?;
    Ok(())
}

#[tokio::test]
async fn a_second_installation_locks_nobody_out() -> Result<()> {
    let (plane, admin) = hub(&["replicas=0"]).await?;
    apply_yaml(
        &admin,
        "{apiVersion: v1, kind: Namespace, metadata: {name: second}}",
    )
    .await?;
    let kubeconfig = plane.dir().join("chart.kubeconfig");
    install(
        &kubeconfig,
        "second",
        &["replicas=0", "fullnameOverride=second"],
    )?;
    // With the first one's policy out of the way, the second one's is seen to be in force.
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(admin.clone());
    bindings
        .delete("ampacity-decisions", &DeleteParams::default())
        .await?;
    let lead = team_lead(&plane, &admin).await?;
    refused_by(&lead, "second-decisions").await?;
    let placement: Placement = read("placement.yaml")?;
    for (namespace, name) in [(NAMESPACE, "ampacity"), ("second", "second")] {
        let token = plane.service_account_token(namespace, name).await?;
        let decisions: Api<Placement> = Api::namespaced(plane.client_as(&token)?, "research");
        decisions.create(&dry_run(), &placement).await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_clusters_own_roles_read_and_write_jobs_and_never_placements() -> Result<()> {
    let (plane, admin) = hub(&["replicas=0"]).await?;
    let roles: Api<ClusterRole> = Api::all(admin.clone());
    let has_ours = |role: &ClusterRole| {
        let mut groups = role.rules.iter().flatten().flat_map(|r| &r.api_groups);
        groups.any(|groups| groups.iter().any(|group| group == "ampacity.dev"))
    };
    let job: TrainingJob = read("training_job_small.yaml")?;
    let placement: Placement = read("placement.yaml")?;
    for (role, may_write) in [("view", false), ("edit", true), ("admin", true)] {
        wait_for_object(&roles, role, "our rules in it", TIMEOUT, has_ours).await?;
        let client = person(&plane, &admin, role).await?;
        let jobs: Api<TrainingJob> = Api::namespaced(client.clone(), "research");
        let placements: Api<Placement> = Api::namespaced(client, "research");
        jobs.list(&Default::default()).await?;
        placements.list(&Default::default()).await?;
        let written = jobs.create(&dry_run(), &job).await;
        if may_write {
            written?;
        } else {
            refusal(written)?;
        }
        refusal(placements.create(&dry_run(), &placement).await)?;
        refusal(placements.delete("any", &DeleteParams::default()).await)?;
    }
    Ok(())
}
