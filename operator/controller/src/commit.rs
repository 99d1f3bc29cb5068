//! Makes a decision real: the Placement is written, and only then anything is made in a member.

use ampacity_api::{Placement, labels};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::json;

use crate::failpoint::failpoint;
use crate::world::ObjectKey;

/// Why a Placement could not be written.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// One of that name exists: this decision was made on an old picture. Nothing is wrong; the next cycle knows more.
    #[error("placement {0} exists already; another decision came first")]
    Exists(ObjectKey),
    /// The hub refused or did not answer.
    #[error("cannot write placement {key}: {source}")]
    Failed {
        /// The placement.
        key: ObjectKey,
        /// Cause.
        source: Box<kube::Error>,
    },
}

/// Writes a new Placement. Its name carries the attempt, so that two decisions for one attempt cannot both be written.
///
/// # Errors
/// See [`CommitError`].
pub async fn create_placement(
    hub: &Client,
    placement: &Placement,
) -> Result<Placement, CommitError> {
    let key = ObjectKey::of(placement);
    failpoint("commit.before");
    let api: Api<Placement> = Api::namespaced(hub.clone(), &key.namespace);
    match api.create(&PostParams::default(), placement).await {
        Ok(written) => {
            failpoint("commit.written");
            Ok(written)
        }
        Err(kube::Error::Api(status)) if status.code == 409 => Err(CommitError::Exists(key)),
        Err(source) => Err(CommitError::Failed {
            key,
            source: Box::new(source),
        }),
    }
}

/// Changes how many replicas a Placement of an inference job holds, if it is still the one that was decided on.
///
/// # Errors
/// The API server's, a conflict among them.
pub async fn replace_placement(
    hub: &Client,
    placement: &Placement,
) -> Result<Placement, kube::Error> {
    let api: Api<Placement> =
        Api::namespaced(hub.clone(), &placement.namespace().unwrap_or_default());
    api.replace(&placement.name_any(), &PostParams::default(), placement)
        .await
}

/// Takes a decision back. The finalizer keeps it until nothing is left in the member.
///
/// # Errors
/// The API server's; that it is gone already is none.
pub async fn delete_placement(
    hub: &Client,
    placement: &Placement,
) -> Result<Option<Placement>, kube::Error> {
    let api: Api<Placement> =
        Api::namespaced(hub.clone(), &placement.namespace().unwrap_or_default());
    failpoint("release.before-delete");
    let params = DeleteParams {
        preconditions: uid_precondition(placement),
        ..DeleteParams::default()
    };
    match api.delete(&placement.name_any(), &params).await {
        Ok(left_or_done) => Ok(left_or_done.left()),
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(None),
        Err(error) => Err(error),
    }
}

fn uid_precondition(placement: &Placement) -> Option<kube::api::Preconditions> {
    placement.uid().map(|uid| kube::api::Preconditions {
        uid: Some(uid),
        resource_version: None,
    })
}

/// Whether a Placement is gone for good, as the API server itself says now: a watch may be behind, and a Placement is always
/// written before anything is made from it. One of the same name made later has another UID.
///
/// # Errors
/// The API server's.
pub async fn is_gone(hub: &Client, key: &ObjectKey, uid: &str) -> Result<bool, kube::Error> {
    let api: Api<Placement> = Api::namespaced(hub.clone(), &key.namespace);
    let there = api.get_metadata_opt(&key.name).await?;
    Ok(there.is_none_or(|there| there.metadata.uid.as_deref() != Some(uid)))
}

/// Nothing is left in the member: lets the API server remove the Placement.
///
/// # Errors
/// The API server's; that it is gone already is none.
pub async fn drop_finalizer(hub: &Client, placement: &Placement) -> Result<(), kube::Error> {
    let api: Api<Placement> =
        Api::namespaced(hub.clone(), &placement.namespace().unwrap_or_default());
    failpoint("release.before-finalizer");
    let left: Vec<&String> = placement
        .finalizers()
        .iter()
        .filter(|f| *f != labels::PLACEMENT_FINALIZER)
        .collect();
    let patch =
        json!({"metadata": {"finalizers": left, "resourceVersion": placement.resource_version()}});
    match api
        .patch(
            &placement.name_any(),
            &PatchParams::default(),
            &Patch::Merge(&patch),
        )
        .await
    {
        Ok(_) => {
            failpoint("release.done");
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error),
    }
}
