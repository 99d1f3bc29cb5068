//! Makes a decision real: the Placement is written, and only then anything is made in a member.

use std::time::Duration;

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
    /// The hub refused, or did not answer and does not have it.
    #[error("cannot write placement {key}: {source}")]
    Failed {
        /// The placement.
        key: ObjectKey,
        /// Cause.
        source: Box<kube::Error>,
    },
}

/// Pause between questions to a hub that does not answer.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Writes a new Placement. Its name carries the attempt, so that two decisions for one attempt cannot both be written.
///
/// A call whose answer was lost may have been carried out. What it holds must not be given to others meanwhile, so the
/// hub is asked until it is known.
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
        Err(source) => {
            let exists = matches!(&source, kube::Error::Api(status) if status.code == 409);
            if matches!(&source, kube::Error::Api(status) if (400..500).contains(&status.code) && !exists)
            {
                return Err(CommitError::Failed {
                    key,
                    source: Box::new(source),
                });
            }
            match ask(&api, &key).await {
                // The client repeats a call whose connection broke: the one that is there may be our own.
                Some(there) if there.spec == placement.spec => Ok(there),
                Some(_) => Err(CommitError::Exists(key)),
                None if exists => Err(CommitError::Exists(key)),
                None => Err(CommitError::Failed {
                    key,
                    source: Box::new(source),
                }),
            }
        }
    }
}

/// What the hub has of this name, asked until it answers.
async fn ask(api: &Api<Placement>, key: &ObjectKey) -> Option<Placement> {
    loop {
        match api.get_opt(&key.name).await {
            Ok(there) => return there,
            Err(error) => {
                tracing::warn!(placement = %key, %error, "cannot tell whether it was written; asking again");
                tokio::time::sleep(ASK_AGAIN).await;
            }
        }
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
    failpoint("shrink.before");
    let replaced = api
        .replace(&placement.name_any(), &PostParams::default(), placement)
        .await?;
    failpoint("shrink.written");
    Ok(replaced)
}

/// Takes a decision back. The finalizer keeps it until nothing is left in the member; `None`: it is gone already.
///
/// # Errors
/// The API server's.
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
