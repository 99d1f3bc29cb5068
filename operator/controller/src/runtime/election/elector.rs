//! Carries out what [`decide`](super::decide) says against the API server.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, PostParams};
use kube::{Client, ResourceExt};

use super::decide::{Decision, Observation, Timing, decide};
use super::tenure::Tenure;
use crate::runtime::HUB_CLUSTER;
use crate::runtime::standing::{Role, Standing};

/// What can go wrong for good. Transient API errors are retried until the renew deadline.
#[derive(Debug, thiserror::Error)]
pub enum ElectorError {
    /// The Lease may not be read or written.
    #[error(
        "may not use Lease {namespace}/{name}: {source}; grant get, create and update on leases in that namespace, or name another with --lease-namespace, the same for every operator of this hub"
    )]
    Forbidden {
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
        /// Cause.
        source: Box<kube::Error>,
    },
    /// Leadership was lost. The process must stop: another may be acting already.
    #[error("leadership lost: {0}")]
    Lost(String),
}

/// Takes part in the election of one Lease.
pub struct Elector {
    api: Api<Lease>,
    namespace: String,
    name: String,
    me: String,
    timing: Timing,
    started: Instant,
    lease: Option<Lease>,
    seen: Option<Observation>,
    renewed_at: Option<Instant>,
    tenure: Tenure,
    standing: Standing,
}

impl Elector {
    /// An elector that is no leader yet. `me` must differ between processes. It keeps `standing` up to date.
    pub fn new(
        client: Client,
        namespace: &str,
        name: &str,
        me: String,
        timing: Timing,
        standing: Standing,
    ) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            me,
            timing,
            started: Instant::now(),
            lease: None,
            seen: None,
            renewed_at: None,
            tenure: Tenure::default(),
            standing,
        }
    }

    /// Until when this process leads: moved on by every renewal.
    pub fn tenure(&self) -> Tenure {
        self.tenure.clone()
    }

    /// Waits until this process leads; returns the fencing epoch.
    ///
    /// # Errors
    /// [`ElectorError::Forbidden`] when the Lease may not be used at all.
    pub async fn acquire(&mut self) -> Result<i64, ElectorError> {
        loop {
            match self.step(None).await {
                Ok(Step::Held(epoch)) => return Ok(epoch),
                Ok(Step::Wait(pause)) => {
                    self.stand_by();
                    tokio::time::sleep(pause).await;
                }
                Ok(Step::Stop) => tokio::time::sleep(self.timing.retry).await,
                Err(source) if is_forbidden(&source) => {
                    return Err(ElectorError::Forbidden {
                        namespace: self.namespace.clone(),
                        name: self.name.clone(),
                        source: Box::new(source),
                    });
                }
                Err(error) => {
                    tracing::warn!(cluster = HUB_CLUSTER, %error, "cannot reach the lease; trying again");
                    tokio::time::sleep(self.timing.retry).await;
                }
            }
        }
    }

    /// Takes the Lease at once, whoever holds it: for a single replica that was told there is no other.
    ///
    /// # Errors
    /// As [`Elector::acquire`]; a conflict is retried.
    pub async fn seize(&mut self) -> Result<i64, ElectorError> {
        loop {
            let taken = match self.observe().await {
                Ok(()) => self.write(true).await,
                Err(error) => Err(error),
            };
            match taken {
                Ok(epoch) => return Ok(epoch),
                Err(source) if is_forbidden(&source) => {
                    return Err(ElectorError::Forbidden {
                        namespace: self.namespace.clone(),
                        name: self.name.clone(),
                        source: Box::new(source),
                    });
                }
                Err(error) => {
                    tracing::warn!(cluster = HUB_CLUSTER, %error, "cannot take the lease; trying again");
                    tokio::time::sleep(self.timing.retry).await;
                }
            }
        }
    }

    /// Renews until leadership is lost; never returns otherwise.
    pub async fn keep(&mut self) -> ElectorError {
        loop {
            tokio::time::sleep(self.timing.retry).await;
            let silent = self.renewed_at.map(|at| at.elapsed()).unwrap_or_default();
            let left = self.timing.renew_deadline.saturating_sub(silent);
            let step = tokio::time::timeout(left, self.step(Some(silent))).await;
            match step {
                // Wait: the Lease changed since it was read and is still ours, as when the answer to a renewal was lost.
                Ok(Ok(Step::Held(_) | Step::Wait(_))) => {}
                Ok(Ok(Step::Stop)) => {
                    let holder = self
                        .seen
                        .as_ref()
                        .and_then(|s| s.holder.clone())
                        .unwrap_or_default();
                    return ElectorError::Lost(format!(
                        "lease {}/{} is held by {holder:?}",
                        self.namespace, self.name
                    ));
                }
                Ok(Err(error)) if silent < self.timing.renew_deadline => {
                    tracing::warn!(cluster = HUB_CLUSTER, %error, "cannot renew the lease; trying again");
                }
                Ok(Err(_)) | Err(_) => {
                    return ElectorError::Lost(format!(
                        "could not renew within {:?}",
                        self.timing.renew_deadline
                    ));
                }
            }
        }
    }

    /// Gives the Lease back so that a standby need not wait for it to expire. Best effort.
    pub async fn release(&mut self) {
        let Some(mut lease) = self.lease.take() else {
            return;
        };
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = None;
            spec.lease_duration_seconds = Some(1);
        }
        if let Err(error) = self
            .api
            .replace(&self.name, &PostParams::default(), &lease)
            .await
        {
            tracing::debug!(cluster = HUB_CLUSTER, %error, "lease not given back; it will expire");
        }
    }

    async fn step(&mut self, leading: Option<Duration>) -> Result<Step, kube::Error> {
        if leading.is_none() || self.lease.is_none() {
            self.observe().await?;
        }
        match decide(
            &self.me,
            self.seen.as_ref(),
            self.started.elapsed(),
            leading,
            &self.timing,
        ) {
            Decision::Wait(pause) => Ok(Step::Wait(pause)),
            Decision::Stop => Ok(Step::Stop),
            decision @ (Decision::Acquire | Decision::Renew) => {
                match self.write(decision == Decision::Acquire).await {
                    Ok(epoch) => Ok(Step::Held(epoch)),
                    Err(kube::Error::Api(status)) if status.code == 409 => {
                        self.observe().await?;
                        Ok(if leading.is_some() && !self.is_ours() {
                            Step::Stop
                        } else {
                            Step::Wait(self.timing.retry)
                        })
                    }
                    Err(error) => Err(error),
                }
            }
        }
    }

    /// Another leads: says who, once for each leader.
    fn stand_by(&self) {
        let Some(holder) = self.seen.as_ref().and_then(|seen| seen.holder.clone()) else {
            return;
        };
        let lease = format!("{}/{}", self.namespace, self.name);
        let role = Role::StandsBy {
            lease: lease.clone(),
            holder: holder.clone(),
        };
        if self.standing.set(role) {
            tracing::info!(%lease, %holder, "standing by: another operator leads this hub");
        }
    }

    fn is_ours(&self) -> bool {
        self.seen
            .as_ref()
            .is_some_and(|s| s.holder.as_deref() == Some(&self.me))
    }

    async fn observe(&mut self) -> Result<(), kube::Error> {
        let lease = self.api.get_opt(&self.name).await?;
        let changed = lease.as_ref().map(ResourceExt::resource_version)
            != self.lease.as_ref().map(ResourceExt::resource_version);
        if changed || self.seen.is_none() {
            self.remember(lease);
        }
        Ok(())
    }

    fn remember(&mut self, lease: Option<Lease>) {
        self.seen = lease.as_ref().map(|lease| {
            let spec = lease.spec.clone().unwrap_or_default();
            Observation {
                holder: spec.holder_identity.filter(|h| !h.is_empty()),
                lease: Duration::from_secs(
                    spec.lease_duration_seconds
                        .unwrap_or(15)
                        .max(1)
                        .unsigned_abs()
                        .into(),
                ),
                changed_at: self.started.elapsed(),
            }
        });
        self.lease = lease;
    }

    async fn write(&mut self, acquire: bool) -> Result<i64, kube::Error> {
        let now = MicroTime(k8s_openapi::jiff::Timestamp::now());
        let old = self
            .lease
            .as_ref()
            .and_then(|l| l.spec.clone())
            .unwrap_or_default();
        // The epoch grows at every acquisition, also by the same name: a restarted process is a new leader.
        let epoch = old
            .lease_transitions
            .unwrap_or(0)
            .saturating_add(i32::from(acquire));
        let spec = LeaseSpec {
            holder_identity: Some(self.me.clone()),
            lease_duration_seconds: Some(
                i32::try_from(self.timing.lease.as_secs().max(1)).unwrap_or(i32::MAX),
            ),
            acquire_time: if acquire {
                Some(now.clone())
            } else {
                old.acquire_time
            },
            renew_time: Some(now),
            lease_transitions: Some(epoch),
            ..LeaseSpec::default()
        };
        let sent_at = Instant::now();
        let written = match &self.lease {
            Some(lease) => {
                let lease = Lease {
                    metadata: lease.metadata.clone(),
                    spec: Some(spec),
                };
                self.api
                    .replace(&self.name, &PostParams::default(), &lease)
                    .await?
            }
            None => {
                let metadata = ObjectMeta {
                    name: Some(self.name.clone()),
                    ..ObjectMeta::default()
                };
                self.api
                    .create(
                        &PostParams::default(),
                        &Lease {
                            metadata,
                            spec: Some(spec),
                        },
                    )
                    .await?
            }
        };
        self.remember(Some(written));
        self.renewed_at = Some(Instant::now());
        self.tenure.renew(sent_at, self.timing.renew_deadline);
        self.standing.set(Role::Leads);
        Ok(i64::from(epoch))
    }
}

enum Step {
    Held(i64),
    Wait(Duration),
    Stop,
}

fn is_forbidden(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 403 || status.code == 401)
}
