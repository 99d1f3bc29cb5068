//! Writing a Placement: only then is a decision real.

use std::time::{Duration, Instant};

use ampacity_api::Placement;
use kube::Client;
use kube::api::{Api, PostParams};

use crate::runtime::{HUB, Operator, Then, failpoint, placement_call, wall_clock};
use crate::state::{JobKey, ObjectKey, reservation};

/// Writes a placement. Once it is real, its job is reconciled, and so its objects are made.
pub fn commit(operator: &mut Operator, job: JobKey, placement: Placement) {
    let key = ObjectKey::of(&placement);
    let hub = operator.hub.clone();
    let (done_job, done_key) = (job.clone(), key.clone());
    let started = operator.start(HUB, placement_call(&key), async move {
        let written = create_placement(&hub, &placement).await;
        Box::new(move |operator: &mut Operator| committed(operator, &done_job, &done_key, written))
            as Then
    });
    if !started {
        // The name is still in use by an earlier object that is being removed; the next cycle tries again.
        uncommit(operator, &job, &key);
    }
}

/// What was decided is not written: what it held goes back to what is.
fn uncommit(operator: &mut Operator, job: &JobKey, key: &ObjectKey) {
    operator.state.jobs.commit_ended(job);
    operator.state.fleet.release(&key.to_string());
    if let Some(other) = operator.state.placement(key) {
        let held = reservation(&operator.state, other);
        operator.state.fleet.reserve(held);
    }
    operator.state.capacity_version += 1;
    let pause = operator.state.jobs.commit_failed(job);
    operator.requeue_after(job, wall_clock(), pause);
}

fn committed(
    operator: &mut Operator,
    job: &JobKey,
    key: &ObjectKey,
    written: Result<Placement, CommitError>,
) {
    operator.metrics.called("create placement", written.is_ok());
    match written {
        Ok(placement) => {
            tracing::info!(%job, placement = %key.name, cluster = %placement.spec.cluster, watts = placement.spec.watts, "placed");
            count_wait(operator, job, &placement);
            operator.state.burst.note(key, Instant::now());
            operator.state.jobs.commit_ended(job);
            operator.state.jobs.commit_succeeded(job);
            operator.state.hub.placements.wrote(placement);
            operator.state.placement_changed(key, Some(job));
        }
        Err(error) => {
            match &error {
                CommitError::Exists(_) => {
                    tracing::info!(%job, %error, "decided on an old picture")
                }
                CommitError::Failed { .. } => {
                    tracing::warn!(%job, %error, "not placed; trying again")
                }
            }
            uncommit(operator, job, key);
        }
    }
}

/// Counts how long a job waited for its first placement. Later ones are restarts or more replicas: they waited for other things.
fn count_wait(operator: &Operator, job: &JobKey, placement: &Placement) {
    let object = operator.state.hub.job(job);
    let created = object.and_then(|object| object.metadata().creation_timestamp.as_ref());
    if let Some(created) = created.filter(|_| placement.spec.attempt == 1) {
        let waited = wall_clock().as_second() - created.0.as_second();
        let spec = &placement.spec;
        operator
            .metrics
            .placed(&spec.cluster, &spec.accelerator_type, waited);
    }
}

/// Why a Placement could not be written.
#[derive(Debug, thiserror::Error)]
enum CommitError {
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
async fn create_placement(hub: &Client, placement: &Placement) -> Result<Placement, CommitError> {
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
