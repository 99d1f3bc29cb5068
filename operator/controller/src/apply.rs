//! Calls to a member: making, removing, scaling and binding. Every call may be made twice without harm.

use std::fmt::Debug;

use ampacity_api::{InferenceJob, JobKind, Placement, TrainingJob, labels};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use k8s_openapi::api::resource::v1::ResourceClaimTemplate;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::dispatch::{
    DispatchError, HUB, PLACEMENT_UID, Target, inference_name, inference_objects, service_name,
    training_name, training_objects,
};
use crate::failpoint::failpoint;

/// Why objects could not be made in a member.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// They cannot be built.
    #[error(transparent)]
    Build(#[from] DispatchError),
    /// The member's API server will not have them, now or later.
    #[error("cluster {cluster} refused {kind} {name}: {message}")]
    Refused {
        /// The cluster.
        cluster: String,
        /// Kind of the object.
        kind: String,
        /// Its name.
        name: String,
        /// The API server's words.
        message: String,
    },
    /// One of that name is there and is not ours.
    #[error(
        "cluster {cluster} has a {kind} {name} that does not belong to this placement; delete or rename it"
    )]
    Taken {
        /// The cluster.
        cluster: String,
        /// Kind of the object.
        kind: String,
        /// Its name.
        name: String,
    },
    /// It did not work now; it may work later.
    #[error("cluster {cluster}: {source}")]
    Transient {
        /// The cluster.
        cluster: String,
        /// Cause.
        source: Box<kube::Error>,
    },
}

/// The job of a placement, of either kind.
#[derive(Clone, Debug)]
pub enum Workload {
    /// A gang.
    Training(Box<TrainingJob>),
    /// Replicas.
    Inference(Box<InferenceJob>),
}

/// Makes a placement's objects: what pods refer to first, the workload last.
///
/// # Errors
/// See [`ApplyError`].
pub async fn make_objects(
    member: &Client,
    workload: &Workload,
    placement: &Placement,
    target: &Target,
) -> Result<(), ApplyError> {
    let maker = Maker { member, placement };
    match workload {
        Workload::Training(job) => {
            let objects = training_objects(job, placement, target)?;
            failpoint("dispatch.before");
            maker.create_opt(objects.claim_template).await?;
            maker.create_opt(objects.service).await?;
            failpoint("dispatch.service");
            maker.create(objects.job).await?;
        }
        Workload::Inference(job) => {
            let objects = inference_objects(job, placement, target)?;
            failpoint("dispatch.before");
            maker.create_opt(objects.claim_template).await?;
            if let Some(service) = objects.service {
                maker.create_shared(service).await?;
            }
            failpoint("dispatch.service");
            maker.create(objects.deployment).await?;
        }
    }
    failpoint("dispatch.done");
    Ok(())
}

struct Maker<'a> {
    member: &'a Client,
    placement: &'a Placement,
}

impl Maker<'_> {
    async fn create_opt<K>(&self, object: Option<K>) -> Result<(), ApplyError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + Serialize
            + DeserializeOwned,
    {
        match object {
            Some(object) => self.create(object).await,
            None => Ok(()),
        }
    }

    /// Creates an object of this placement alone; one that is there must be the same.
    async fn create<K>(&self, object: K) -> Result<(), ApplyError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + Serialize
            + DeserializeOwned,
    {
        let wanted = object.annotations().get(PLACEMENT_UID).cloned();
        match self.post(&object).await? {
            Posted::Made => Ok(()),
            Posted::Exists(there) if there.annotations().get(PLACEMENT_UID) == wanted.as_ref() => {
                Ok(())
            }
            Posted::Exists(_) => Err(self.taken(&object)),
        }
    }

    /// Creates an object that all placements of the job in this cluster share.
    async fn create_shared<K>(&self, object: K) -> Result<(), ApplyError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + Serialize
            + DeserializeOwned,
    {
        match self.post(&object).await? {
            Posted::Made => Ok(()),
            Posted::Exists(there)
                if there.labels().get(labels::JOB_UID) == object.labels().get(labels::JOB_UID) =>
            {
                Ok(())
            }
            Posted::Exists(_) => Err(self.taken(&object)),
        }
    }

    async fn post<K>(&self, object: &K) -> Result<Posted<K>, ApplyError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + Serialize
            + DeserializeOwned,
    {
        let namespace = object.namespace().unwrap_or_default();
        let api: Api<K> = Api::namespaced(self.member.clone(), &namespace);
        let mut made_namespace = false;
        loop {
            match api.create(&PostParams::default(), object).await {
                Ok(_) => return Ok(Posted::Made),
                Err(kube::Error::Api(status)) if status.code == 404 && !made_namespace => {
                    // Namespaces are made when they turn out to be missing: asking first would cost a call per job.
                    self.make_namespace(&namespace).await?;
                    made_namespace = true;
                }
                Err(kube::Error::Api(status)) if status.code == 409 => {
                    match api.get_opt(&object.name_any()).await {
                        Ok(Some(there)) => return Ok(Posted::Exists(Box::new(there))),
                        Ok(None) => {
                            return Err(self.transient(kube::Error::Api(status)));
                        }
                        Err(error) => return Err(self.transient(error)),
                    }
                }
                Err(kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 422) => {
                    return Err(ApplyError::Refused {
                        cluster: self.placement.spec.cluster.clone(),
                        kind: K::kind(&()).into_owned(),
                        name: object.name_any(),
                        message: status.message.clone(),
                    });
                }
                Err(error) => return Err(self.transient(error)),
            }
        }
    }

    async fn make_namespace(&self, name: &str) -> Result<(), ApplyError> {
        let metadata = ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(
                [(
                    labels::MANAGED_BY.to_owned(),
                    labels::MANAGED_BY_VALUE.to_owned(),
                )]
                .into(),
            ),
            ..ObjectMeta::default()
        };
        let namespace = Namespace {
            metadata,
            ..Namespace::default()
        };
        match Api::<Namespace>::all(self.member.clone())
            .create(&PostParams::default(), &namespace)
            .await
        {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 403 => Err(ApplyError::Refused {
                cluster: self.placement.spec.cluster.clone(),
                kind: "Namespace".to_owned(),
                name: name.to_owned(),
                message: format!(
                    "{}; create the namespace there or allow the operator to",
                    status.message
                ),
            }),
            Err(error) => Err(self.transient(error)),
        }
    }

    fn taken<K: Resource<DynamicType = ()>>(&self, object: &K) -> ApplyError {
        ApplyError::Taken {
            cluster: self.placement.spec.cluster.clone(),
            kind: K::kind(&()).into_owned(),
            name: object.name_any(),
        }
    }

    fn transient(&self, source: kube::Error) -> ApplyError {
        ApplyError::Transient {
            cluster: self.placement.spec.cluster.clone(),
            source: Box::new(source),
        }
    }
}

/// The workload of a placement that is gone, as a member shows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Orphan {
    /// Namespace.
    pub namespace: String,
    /// Name of the workload.
    pub name: String,
    /// Kind of the job.
    pub kind: JobKind,
    /// Name of the job.
    pub job: String,
    /// UID of the job.
    pub job_uid: String,
    /// Name of the placement.
    pub placement: String,
    /// UID of the placement.
    pub placement_uid: String,
}

/// Removes the workload of a placement that is gone, and what belongs to it alone. `last` says that the job has nothing else in
/// this cluster.
///
/// # Errors
/// The member's; that an object is gone already is none.
pub async fn remove_orphan(
    member: &Client,
    hub_name: &str,
    orphan: &Orphan,
    last: bool,
) -> Result<(), kube::Error> {
    let (namespace, name) = (&orphan.namespace, &orphan.name);
    let ours = |meta: &ObjectMeta| {
        let annotations = meta.annotations.as_ref();
        annotations.and_then(|a| a.get(PLACEMENT_UID)) == Some(&orphan.placement_uid)
    };
    match orphan.kind {
        JobKind::TrainingJob => {
            remove::<Job>(member, namespace, name, &ours).await?;
            remove::<Service>(member, namespace, name, &ours).await?;
        }
        JobKind::InferenceJob => {
            remove::<Deployment>(member, namespace, name, &ours).await?;
            if last {
                let shared = service_name(&orphan.job);
                let of_job = of_job(&orphan.job_uid, hub_name);
                remove::<Service>(member, namespace, &shared, &of_job).await?;
            }
        }
    }
    match remove::<ResourceClaimTemplate>(member, namespace, name, &ours).await {
        // A member without DRA has no such kind.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        result => result,
    }
}

/// Whether an object is of this job of this hub, whichever placement made it.
fn of_job<'a>(job_uid: &'a str, hub_name: &'a str) -> impl Fn(&ObjectMeta) -> bool + 'a {
    move |meta| {
        let has = |key: &str, value: &str| {
            let found = meta.labels.as_ref().and_then(|l| l.get(key));
            found.is_some_and(|v| v == value)
        };
        has(labels::JOB_UID, job_uid) && has(HUB, hub_name)
    }
}

enum Posted<K> {
    Made,
    Exists(Box<K>),
}

/// Removes a placement's objects, pods with them. `last` says that no other placement of the job is in this cluster.
///
/// # Errors
/// The member's; that an object is gone already is none.
pub async fn remove_objects(
    member: &Client,
    hub_name: &str,
    placement: &Placement,
    last: bool,
) -> Result<(), kube::Error> {
    let namespace = placement.namespace().unwrap_or_default();
    let spec = &placement.spec;
    let uid = placement.uid().unwrap_or_default();
    let ours = |meta: &ObjectMeta| {
        meta.annotations.as_ref().and_then(|a| a.get(PLACEMENT_UID)) == Some(&uid)
    };
    failpoint("release.before-remove");
    match spec.job_ref.kind {
        JobKind::TrainingJob => {
            let name = training_name(&spec.job_ref.name, spec.attempt, spec.replicas);
            remove::<Job>(member, &namespace, &name, &ours).await?;
            failpoint("release.job-removed");
            if spec.replicas > 1 {
                remove::<Service>(member, &namespace, &name, &ours).await?;
            }
            if spec.resource.device_class_name.is_some() {
                remove::<ResourceClaimTemplate>(member, &namespace, &name, &ours).await?;
            }
        }
        JobKind::InferenceJob => {
            let name = inference_name(&placement.name_any());
            remove::<Deployment>(member, &namespace, &name, &ours).await?;
            failpoint("release.job-removed");
            if spec.resource.device_class_name.is_some() {
                remove::<ResourceClaimTemplate>(member, &namespace, &name, &ours).await?;
            }
            if last {
                let of_job = of_job(&spec.job_ref.uid, hub_name);
                remove::<Service>(
                    member,
                    &namespace,
                    &service_name(&spec.job_ref.name),
                    &of_job,
                )
                .await?;
            }
        }
    }
    Ok(())
}

async fn remove<K>(
    member: &Client,
    namespace: &str,
    name: &str,
    ours: &impl Fn(&ObjectMeta) -> bool,
) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(member.clone(), namespace);
    let Some(there) = api.get_metadata_opt(name).await? else {
        return Ok(());
    };
    if !ours(&there.metadata) || there.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    let preconditions = kube::api::Preconditions {
        uid: there.metadata.uid,
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

/// Pins a pod to its node and lifts its gate, in one write.
///
/// # Errors
/// The member's; that the pod is gone or another has its name now is none.
pub async fn bind_pod(
    member: &Client,
    namespace: &str,
    pod: &str,
    patch: &Value,
) -> Result<(), kube::Error> {
    let api: Api<Pod> = Api::namespaced(member.clone(), namespace);
    failpoint("bind.before");
    match api
        .patch(pod, &PatchParams::default(), &Patch::Strategic(patch))
        .await
    {
        Ok(_) => {
            failpoint("bind.done");
            Ok(())
        }
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Takes a pod out of the API server without waiting for its kubelet.
///
/// # Errors
/// The member's; that the pod is gone or another has its name now is none.
pub async fn force_pod(
    member: &Client,
    namespace: &str,
    pod: &str,
    uid: &str,
) -> Result<(), kube::Error> {
    let api: Api<Pod> = Api::namespaced(member.clone(), namespace);
    let params = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(kube::api::Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: None,
        }),
        ..DeleteParams::background()
    };
    match api.delete(pod, &params).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Sets how many replicas a placement's Deployment has.
///
/// # Errors
/// The member's.
pub async fn scale_deployment(member: &Client, placement: &Placement) -> Result<(), kube::Error> {
    let api: Api<Deployment> =
        Api::namespaced(member.clone(), &placement.namespace().unwrap_or_default());
    let patch = json!({"spec": {"replicas": placement.spec.replicas}});
    failpoint("scale.before");
    match api
        .patch(
            &inference_name(&placement.name_any()),
            &PatchParams::default(),
            &Patch::Merge(&patch),
        )
        .await
    {
        Ok(_) => {
            failpoint("scale.done");
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error),
    }
}
