//! Making a placement's objects in its member, and what follows from its answer. Every call may be made twice without harm.

use std::time::Instant;

use ampacity_api::member_cluster::NamespacePolicy;
use ampacity_api::{Placement, labels};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, PostParams};
use kube::{Client, Resource, ResourceExt};

use super::member_target::target;
use super::namespace::{NamespaceError, is_missing, make_namespace};
use super::{DispatchError, Objects, Target};
use crate::runtime::{Operator, Then, failpoint, placement_call, wall_clock};
use crate::state::{JobKey, NamespacedObject, ObjectKey, ServiceScope, reserved_namespace};

/// Key of the calls that make a placement's objects, by which their failures are counted.
pub fn dispatch_call(placement: &ObjectKey) -> String {
    format!("dispatch/{placement}")
}

/// Makes the objects of a placement that `build` gives, unless its member has refused them or failed to a moment ago.
pub fn dispatch<W: NamespacedObject>(
    operator: &mut Operator,
    placement: &Placement,
    build: impl FnOnce(&Placement, &Target) -> Result<Objects<W>, DispatchError> + Send + 'static,
) {
    let key = ObjectKey::of(placement);
    if operator.state.placements.refusal(&key).is_some()
        || !operator
            .backoff
            .is_open(&dispatch_call(&key), Instant::now())
    {
        return;
    }
    // The plan decides on no such job; a Placement that somebody else wrote must not get further either.
    let own = operator.state.own_namespace.as_deref();
    if let Some(message) = reserved_namespace(&key.namespace, own) {
        operator.state.placements.refused(&key, message);
        let job = JobKey::of_placement(placement);
        operator.state.dirty.jobs.insert(job);
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
    let cluster = operator.state.hub.clusters.named(&server);
    let namespaces = cluster.map(|c| c.spec.namespaces).unwrap_or_default();
    let (hub, hub_name) = (operator.hub.clone(), operator.config.hub_name.clone());
    operator.start(&server, placement_call(&key.clone()), async move {
        let maker = Maker {
            hub: &hub,
            hub_name: &hub_name,
            member: &member,
            placement: &placement,
            namespaces,
        };
        let made = match build(&placement, &target) {
            Ok(objects) => make_objects(&maker, objects, service).await,
            Err(error) => Err(error.into()),
        };
        Box::new(move |operator: &mut Operator| objects_made(operator, &key, made)) as Then
    });
}

fn objects_made(operator: &mut Operator, key: &ObjectKey, made: Result<(), MakeError>) {
    operator.metrics.called("create workload", made.is_ok());
    let Some(placement) = operator.state.placement(key) else {
        return;
    };
    let (job, cluster) = (
        JobKey::of_placement(placement),
        placement.spec.cluster.clone(),
    );
    match made {
        Ok(()) => {
            operator.backoff.succeeded(&dispatch_call(key));
            operator.state.placements.dispatched(key);
            operator.state.jobs.dispatched(&job, &cluster, None);
        }
        Err(MakeError::Transient { cluster, source }) => {
            tracing::warn!(placement = %key, %cluster, error = %source, "objects not made; trying again");
            let words = format!("its objects cannot be made: {source}");
            let now = Instant::now();
            let pause = operator.backoff.failed(&dispatch_call(key), words, now);
            let seconds = i64::try_from(pause.as_secs()).unwrap_or(i64::MAX);
            operator.requeue_after(&job, wall_clock(), seconds);
        }
        Err(error) => {
            if !matches!(error, MakeError::Build(_)) {
                operator.metrics.refused(&cluster, error.word());
            }
            tracing::warn!(placement = %key, %error, "objects refused");
            let words = error.to_string();
            operator.state.placements.refused(key, words.clone());
            operator.state.jobs.dispatched(&job, &cluster, Some(words));
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
    /// The member lacks the namespace: why, and what to do.
    #[error("{0}")]
    Namespace(String),
    /// One of that name is there and is not ours.
    #[error("cluster {cluster} has a {kind} {name} already, {owner}")]
    Taken {
        /// The cluster.
        cluster: String,
        /// Kind of the object.
        kind: String,
        /// Its namespace and name.
        name: String,
        /// Whose it is, and what to do.
        owner: String,
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
    /// Why, in one word of a few: for counting.
    fn word(&self) -> &'static str {
        match self {
            Self::Build(_) => "NotBuilt",
            // The words of the quota admission plugin.
            Self::Refused { message, .. } if message.contains("exceeded quota") => "QuotaExceeded",
            Self::Refused { .. } => "Refused",
            Self::Namespace(_) => "NamespaceMissing",
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
    maker: &Maker<'_>,
    objects: Objects<W>,
    service: ServiceScope,
) -> Result<(), MakeError> {
    failpoint("dispatch.before");
    if let Some(template) = objects.claim_template {
        maker.create(template).await?;
    }
    match (objects.service, service) {
        (Some(own), ServiceScope::Placement(_)) => maker.create(own).await?,
        (Some(shared), ServiceScope::Job(_)) => maker.create_shared(shared).await?,
        (None, _) => {}
    }
    failpoint("dispatch.service");
    maker.create(objects.workload).await?;
    failpoint("dispatch.done");
    Ok(())
}

struct Maker<'a> {
    /// Where the job's namespace is read.
    hub: &'a Client,
    /// Whose objects are made.
    hub_name: &'a str,
    member: &'a Client,
    placement: &'a Placement,
    /// What to do where the member lacks the namespace.
    namespaces: NamespacePolicy,
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
            Posted::Exists(there) => Err(self.taken(&*there)),
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
            Posted::Exists(there) => Err(self.taken(&*there)),
        }
    }

    async fn post<K: NamespacedObject>(&self, object: &K) -> Result<Posted<K>, MakeError> {
        let namespace = object.namespace().unwrap_or_default();
        let api: Api<K> = Api::namespaced(self.member.clone(), &namespace);
        let mut made_namespace = false;
        loop {
            match api.create(&PostParams::default(), object).await {
                Ok(_) => return Ok(Posted::Made),
                Err(kube::Error::Api(status))
                    if is_missing(&namespace, &status) && !made_namespace =>
                {
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
        let cluster = &self.placement.spec.cluster;
        let made = make_namespace(self.hub, self.member, cluster, name, self.namespaces).await;
        made.map_err(|error| match error {
            NamespaceError::Refused(message) => MakeError::Namespace(message),
            NamespaceError::Transient(source) => self.transient(source),
        })
    }

    /// `there` has the name that an object of ours should have.
    fn taken<K: Resource<DynamicType = ()>>(&self, there: &K) -> MakeError {
        let namespace = there.namespace().unwrap_or_default();
        MakeError::Taken {
            cluster: self.placement.spec.cluster.clone(),
            kind: K::kind(&()).into_owned(),
            name: format!("{namespace}/{}", there.name_any()),
            owner: owner(self.hub_name, there.meta()),
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

/// Whose an object is that has the name of one of ours, and what to do.
fn owner(hub_name: &str, meta: &ObjectMeta) -> String {
    let label = |key: &str| meta.labels.as_ref()?.get(key).map(String::as_str);
    let (Some(hub), Some(job)) = (label(labels::HUB), label(labels::JOB_NAME)) else {
        return "which Ampacity did not make; rename the job, or rename or delete that object"
            .to_owned();
    };
    let kind = label(labels::JOB_KIND).unwrap_or("job");
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    if hub == hub_name {
        return format!(
            "which belongs to another placement of {kind} {namespace}/{job} of this hub; it is removed when that one ends, or delete it"
        );
    }
    format!(
        "which belongs to {kind} {namespace}/{job} of hub {hub}, and is left alone; rename the job, or keep the two hubs to different namespaces of this cluster"
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_name_that_is_taken_says_by_whom() {
        let of = |hub: Option<&str>| ObjectMeta {
            namespace: Some("research".to_owned()),
            labels: hub.map(|hub| {
                let labels = [
                    (labels::HUB, hub),
                    (labels::JOB_KIND, "TrainingJob"),
                    (labels::JOB_NAME, "llama"),
                ];
                let owned = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
                BTreeMap::from(owned)
            }),
            ..ObjectMeta::default()
        };
        for (hub, expected) in [
            (
                Some("hub-b"),
                "belongs to TrainingJob research/llama of hub hub-b, and is left alone; rename",
            ),
            (
                Some("hub-a"),
                "another placement of TrainingJob research/llama of this hub",
            ),
            (None, "which Ampacity did not make"),
        ] {
            let said = owner("hub-a", &of(hub));
            assert!(said.contains(expected), "{said}");
        }
    }
}
