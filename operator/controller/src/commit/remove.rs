//! Removing what placements are made of from a member. Every call may be made twice without harm.

use ampacity_api::{JobKind, Placement, labels};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::resource::v1::ResourceClaimTemplate;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, DeleteParams, DynamicObject, Preconditions};
use kube::core::ApiResource;
use kube::{Client, ResourceExt};

use crate::runtime::failpoint;
use crate::state::{KindFacts, ServiceScope};

/// Removes a placement's objects, pods with them. `seen`: the UID of its workload, as a watch told it, which need not be asked for
/// then; `last` says that no other placement of the job is in this cluster.
///
/// # Errors
/// The member's; that an object is gone already is none.
pub(super) async fn remove_objects(
    member: &Client,
    facts: &KindFacts,
    hub_name: &str,
    placement: &Placement,
    seen: Option<String>,
    last: bool,
) -> Result<(), kube::Error> {
    let spec = &placement.spec;
    let (namespace, name) = (
        placement.namespace().unwrap_or_default(),
        (facts.workload_name)(placement),
    );
    let remover = Remover {
        member,
        namespace: &namespace,
    };
    let uid = placement.uid().unwrap_or_default();
    let ours = made_from(&uid);
    failpoint("release.before-remove");
    match seen {
        Some(uid) => remover.delete(&facts.workload, &name, Some(uid)).await?,
        None => remover.remove(&facts.workload, &name, &ours).await?,
    }
    failpoint("release.job-removed");
    match facts.service {
        ServiceScope::Placement(own) if spec.replicas > 1 => {
            remover.remove(&service(), &own(&name), &ours).await?;
        }
        ServiceScope::Job(shared) if last => {
            let of_job = of_job(&spec.job_ref.uid, hub_name);
            let shared = shared(&spec.job_ref.name);
            remover.remove(&service(), &shared, &of_job).await?;
        }
        ServiceScope::Placement(_) | ServiceScope::Job(_) => {}
    }
    if spec.resource.device_class_name.is_some() {
        remover.remove(&claim_template(), &name, &ours).await?;
    }
    Ok(())
}

/// The workload of a placement that is gone, as a member shows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Orphan {
    /// Namespace.
    pub(super) namespace: String,
    /// Name of the workload.
    pub(super) name: String,
    /// Kind of the job.
    pub(super) kind: JobKind,
    /// Name of the job.
    pub(super) job: String,
    /// UID of the job.
    pub(super) job_uid: String,
    /// Name of the placement.
    pub(super) placement: String,
    /// UID of the placement.
    pub(super) placement_uid: String,
}

/// Removes the workload of a placement that is gone, and what belongs to it alone. `last` says that the job has nothing else in
/// this cluster.
///
/// # Errors
/// The member's; that an object is gone already is none.
pub(super) async fn remove_orphan(
    member: &Client,
    facts: &KindFacts,
    hub_name: &str,
    orphan: &Orphan,
    last: bool,
) -> Result<(), kube::Error> {
    let name = &orphan.name;
    let remover = Remover {
        member,
        namespace: &orphan.namespace,
    };
    let ours = made_from(&orphan.placement_uid);
    remover.remove(&facts.workload, name, &ours).await?;
    match facts.service {
        ServiceScope::Placement(own) => {
            remover.remove(&service(), &own(name), &ours).await?;
        }
        ServiceScope::Job(shared) if last => {
            let of_job = of_job(&orphan.job_uid, hub_name);
            let shared = shared(&orphan.job);
            remover.remove(&service(), &shared, &of_job).await?;
        }
        ServiceScope::Job(_) => {}
    }
    match remover.remove(&claim_template(), name, &ours).await {
        // A member without DRA has no such kind.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        result => result,
    }
}

fn service() -> ApiResource {
    ApiResource::erase::<Service>(&())
}

fn claim_template() -> ApiResource {
    ApiResource::erase::<ResourceClaimTemplate>(&())
}

/// Whether an object was made from the placement with this UID.
fn made_from(placement_uid: &str) -> impl Fn(&ObjectMeta) -> bool {
    move |meta| {
        let annotations = meta.annotations.as_ref();
        let uid = annotations.and_then(|a| a.get(labels::PLACEMENT_UID));
        uid.is_some_and(|uid| uid == placement_uid)
    }
}

/// Whether an object is of this job of this hub, whichever placement made it.
fn of_job<'a>(job_uid: &'a str, hub_name: &'a str) -> impl Fn(&ObjectMeta) -> bool + 'a {
    move |meta| {
        let has = |key: &str, value: &str| {
            let found = meta.labels.as_ref().and_then(|l| l.get(key));
            found.is_some_and(|v| v == value)
        };
        has(labels::JOB_UID, job_uid) && has(labels::HUB, hub_name)
    }
}

struct Remover<'a> {
    member: &'a Client,
    namespace: &'a str,
}

impl Remover<'_> {
    /// Removes an object if it is `ours`.
    async fn remove(
        &self,
        resource: &ApiResource,
        name: &str,
        ours: &impl Fn(&ObjectMeta) -> bool,
    ) -> Result<(), kube::Error> {
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.member.clone(), self.namespace, resource);
        let Some(there) = api.get_metadata_opt(name).await? else {
            return Ok(());
        };
        if !ours(&there.metadata) || there.metadata.deletion_timestamp.is_some() {
            return Ok(());
        }
        self.delete(resource, name, there.metadata.uid).await
    }

    /// Deletes the object of this UID; that it is gone, or that another has its name now, is no error.
    async fn delete(
        &self,
        resource: &ApiResource,
        name: &str,
        uid: Option<String>,
    ) -> Result<(), kube::Error> {
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.member.clone(), self.namespace, resource);
        let preconditions = Preconditions {
            uid,
            resource_version: None,
        };
        let params = DeleteParams {
            preconditions: Some(preconditions),
            ..DeleteParams::background()
        };
        match api.delete(name, &params).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
