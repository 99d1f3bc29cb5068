//! Making a placement's objects in its member, and what follows from its answer. Every call may be made twice without harm.

use ampacity_api::{Placement, labels};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, PostParams};
use kube::{Client, Resource, ResourceExt};

use super::member_target::target;
use super::{DispatchError, Objects, Target};
use crate::runtime::{Operator, RETRY_SECONDS, Then, failpoint, placement_call};
use crate::state::{JobKey, NamespacedObject, ObjectKey, ServiceScope};

/// Makes the objects of a placement that `build` gives, unless its member has refused them.
pub fn dispatch<W: NamespacedObject>(
    operator: &mut Operator,
    placement: &Placement,
    build: impl FnOnce(&Placement, &Target) -> Result<Objects<W>, DispatchError> + Send + 'static,
) {
    let key = ObjectKey::of(placement);
    if operator.state.placements.refusal(&key).is_some() {
        return;
    }
    let facts = operator.state.kinds.get(placement.spec.job_ref.kind);
    let (Some(service), Some(member)) =
        (facts.map(|f| f.service), operator.member_client(placement))
    else {
        return;
    };
    let (target, server, placement) = (
        target(operator, placement),
        placement.spec.cluster.clone(),
        placement.clone(),
    );
    operator.start(&server, placement_call(&key.clone()), async move {
        let made = match build(&placement, &target) {
            Ok(objects) => make_objects(&member, &placement, objects, service).await,
            Err(error) => Err(error.into()),
        };
        Box::new(move |operator: &mut Operator| objects_made(operator, &key, made)) as Then
    });
}

fn objects_made(operator: &mut Operator, key: &ObjectKey, made: Result<(), MakeError>) {
    operator.metrics.called("create workload", made.is_ok());
    let Some(job) = operator.state.placement(key).map(JobKey::of_placement) else {
        return;
    };
    match made {
        Ok(()) => {
            operator.state.placements.dispatched(key);
        }
        Err(MakeError::Transient { cluster, source }) => {
            tracing::warn!(placement = %key, %cluster, error = %source, "objects not made; trying again");
            operator.requeue_after(&job, Timestamp::now(), RETRY_SECONDS);
        }
        Err(error) => {
            if let Some(cluster) = error.refused_by() {
                operator.metrics.refused(cluster, error.word());
            }
            tracing::warn!(placement = %key, %error, "objects refused");
            operator.state.placements.refused(key, error.to_string());
        }
    }
    operator.state.dirty.jobs.insert(job);
}

/// Why objects could not be made in a member.
#[derive(Debug, thiserror::Error)]
enum MakeError {
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

impl MakeError {
    /// The cluster whose API server said no.
    fn refused_by(&self) -> Option<&str> {
        match self {
            Self::Refused { cluster, .. } | Self::Taken { cluster, .. } => Some(cluster),
            Self::Build(_) | Self::Transient { .. } => None,
        }
    }

    /// Why, in one word of a few: for counting.
    fn word(&self) -> &'static str {
        match self {
            Self::Build(_) => "NotBuilt",
            // The words of the quota admission plugin.
            Self::Refused { message, .. } if message.contains("exceeded quota") => "QuotaExceeded",
            Self::Refused { .. } => "Refused",
            Self::Taken { .. } => "NameTaken",
            Self::Transient { .. } => "Failed",
        }
    }
}

/// Makes a placement's objects: what pods refer to first, the workload last.
///
/// # Errors
/// See [`MakeError`].
async fn make_objects<W: NamespacedObject>(
    member: &Client,
    placement: &Placement,
    objects: Objects<W>,
    service: ServiceScope,
) -> Result<(), MakeError> {
    let maker = Maker { member, placement };
    failpoint("dispatch.before");
    if let Some(template) = objects.claim_template {
        maker.create(template).await?;
    }
    match (objects.service, service) {
        (Some(own), ServiceScope::Placement) => maker.create(own).await?,
        (Some(shared), ServiceScope::Job(_)) => maker.create_shared(shared).await?,
        (None, _) => {}
    }
    failpoint("dispatch.service");
    maker.create(objects.workload).await?;
    failpoint("dispatch.done");
    Ok(())
}

struct Maker<'a> {
    member: &'a Client,
    placement: &'a Placement,
}

impl Maker<'_> {
    /// Creates an object of this placement alone; one that is there must be the same.
    async fn create<K: NamespacedObject>(&self, object: K) -> Result<(), MakeError> {
        let wanted = object.annotations().get(labels::PLACEMENT_UID).cloned();
        match self.post(&object).await? {
            Posted::Made => Ok(()),
            Posted::Exists(there)
                if there.annotations().get(labels::PLACEMENT_UID) == wanted.as_ref() =>
            {
                Ok(())
            }
            Posted::Exists(_) => Err(self.taken(&object)),
        }
    }

    /// Creates an object that all placements of the job in this cluster share.
    async fn create_shared<K: NamespacedObject>(&self, object: K) -> Result<(), MakeError> {
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

    async fn post<K: NamespacedObject>(&self, object: &K) -> Result<Posted<K>, MakeError> {
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
                    return Err(MakeError::Refused {
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

    async fn make_namespace(&self, name: &str) -> Result<(), MakeError> {
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
            Err(kube::Error::Api(status)) if status.code == 403 => Err(MakeError::Refused {
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

    fn taken<K: Resource<DynamicType = ()>>(&self, object: &K) -> MakeError {
        MakeError::Taken {
            cluster: self.placement.spec.cluster.clone(),
            kind: K::kind(&()).into_owned(),
            name: object.name_any(),
        }
    }

    fn transient(&self, source: kube::Error) -> MakeError {
        MakeError::Transient {
            cluster: self.placement.spec.cluster.clone(),
            source: Box::new(source),
        }
    }
}

enum Posted<K> {
    Made,
    Exists(Box<K>),
}
