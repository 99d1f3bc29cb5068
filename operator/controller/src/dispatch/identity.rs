//! Labels and annotations that say whose an object is.

use std::collections::BTreeMap;

use ampacity_api::placement::JobRef;
use ampacity_api::{JobKind, Placement, labels};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use super::names::{bounded, is_shortened};
use super::{DispatchError, Target};

/// Longest label value.
const MAX_VALUE: usize = 63;

/// `name` as a label value: itself where it fits into 63 characters, else shortened with a hash. Names of placements and jobs are
/// looked up by this.
pub fn label_value(name: &str) -> String {
    if name.len() <= MAX_VALUE && !is_shortened(name) {
        return name.to_owned();
    }
    bounded(name, MAX_VALUE)
}

/// A placement with what identifies it, checked against its job.
pub struct Identity<'a> {
    pub namespace: String,
    pub placement: String,
    pub job: &'a JobRef,
    uid: String,
    attempt: i32,
    epoch: i64,
    hub: &'a str,
}

impl<'a> Identity<'a> {
    /// Fails when `placement` is not one of the job with `kind` and `meta`, or one of both was never stored.
    pub fn of(
        kind: JobKind,
        meta: &ObjectMeta,
        placement: &'a Placement,
        target: &'a Target,
    ) -> Result<Self, DispatchError> {
        let missing = |object, field| DispatchError::Incomplete { object, field };
        let name = placement.name_any();
        if name.is_empty() {
            return Err(missing("Placement", "name"));
        }
        let namespace = placement
            .namespace()
            .ok_or(missing("Placement", "namespace"))?;
        let uid = placement.uid().ok_or(missing("Placement", "uid"))?;
        let job = &placement.spec.job_ref;
        let own_uid = meta.uid.as_deref().ok_or(missing(kind.as_str(), "uid"))?;
        let own_name = meta.name.as_deref().unwrap_or_default();
        let own_namespace = meta.namespace.as_deref().unwrap_or_default();
        let same = job.kind == kind
            && job.name == own_name
            && job.uid == own_uid
            && namespace == own_namespace;
        if !same {
            return Err(DispatchError::OtherJob {
                wanted: format!("{} {namespace}/{} ({})", job.kind, job.name, job.uid),
                given: format!("{kind} {own_namespace}/{own_name} ({own_uid})"),
                placement: name,
            });
        }
        Ok(Self {
            namespace,
            placement: name,
            job,
            uid,
            attempt: placement.spec.attempt,
            epoch: placement.spec.epoch,
            hub: &target.hub,
        })
    }

    /// Labels of everything that belongs to the job, whichever placement made it.
    pub fn job_labels(&self) -> BTreeMap<String, String> {
        [
            (labels::HUB, self.hub.to_owned()),
            (labels::JOB_NAME, label_value(&self.job.name)),
            (labels::JOB_KIND, self.job.kind.to_string()),
            (labels::JOB_UID, self.job.uid.clone()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }

    /// Labels of everything that belongs to the placement.
    pub fn placement_labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.job_labels();
        labels.insert(labels::PLACEMENT.to_owned(), label_value(&self.placement));
        labels.insert(labels::ATTEMPT.to_owned(), self.attempt.to_string());
        labels
    }

    /// What selects the placement's pods.
    pub fn pod_selector(&self) -> BTreeMap<String, String> {
        [
            (labels::HUB, self.hub.to_owned()),
            (labels::PLACEMENT, label_value(&self.placement)),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }

    /// Metadata of an object of the placement.
    pub fn meta(&self, name: &str) -> ObjectMeta {
        let annotations = [
            (labels::EPOCH, self.epoch.to_string()),
            (labels::PLACEMENT_UID, self.uid.clone()),
        ];
        ObjectMeta {
            annotations: Some(
                annotations
                    .map(|(key, value)| (key.to_owned(), value))
                    .into(),
            ),
            ..self.bare_meta(name, self.placement_labels())
        }
    }

    /// Metadata of an object that the job's placements in a cluster share: nothing of one placement is on it.
    pub fn shared_meta(&self, name: &str) -> ObjectMeta {
        self.bare_meta(name, self.job_labels())
    }

    /// What identifies a pod, and no more: pods are written, watched and stored more often than anything else. The epoch
    /// is left out because it changes with the leader, and a pod template must not.
    pub fn label_pod(&self, meta: &mut ObjectMeta) {
        let own = meta.labels.get_or_insert_default();
        own.extend(self.pod_selector());
        own.extend(
            [
                (labels::JOB_NAME, label_value(&self.job.name)),
                (labels::JOB_KIND, self.job.kind.to_string()),
            ]
            .map(|(key, value)| (key.to_owned(), value)),
        );
        own.entry(labels::MANAGED_BY.to_owned())
            .or_insert_with(|| labels::MANAGED_BY_VALUE.to_owned());
        meta.annotations
            .get_or_insert_default()
            .insert(labels::PLACEMENT_UID.to_owned(), self.uid.clone());
    }

    fn bare_meta(&self, name: &str, mut labels: BTreeMap<String, String>) -> ObjectMeta {
        labels.insert(
            labels::MANAGED_BY.to_owned(),
            labels::MANAGED_BY_VALUE.to_owned(),
        );
        ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(self.namespace.clone()),
            labels: Some(labels),
            ..ObjectMeta::default()
        }
    }
}
