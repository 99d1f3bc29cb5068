//! A job as the stages see it, whatever its kind.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ampacity_api::{Alternative, Placement};
use ampacity_catalog::{Catalog, Prices};
use ampacity_placement::JobSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::issue::JobIssue;
use super::key::HasMeta;
use super::reservations::Charge;

/// A job of the hub. Its kind says the rest: see the crate's `kinds`.
pub trait Job: fmt::Debug + Send + Sync {
    /// Metadata.
    fn metadata(&self) -> &ObjectMeta;

    /// A reference that makes an object belong to the job; `None` for one that was never stored.
    fn owner_ref(&self) -> Option<OwnerReference>;

    /// The highest attempt that its status knows of.
    fn last_attempt(&self) -> i32;

    /// The highest attempt that is over: what its placement held is free.
    fn ended_attempts(&self) -> i32;

    /// Why it wants no place beside what `placements` hold, in words; `None` where it wants one.
    fn not_planned(&self, placements: &[&Placement]) -> Option<String>;

    /// What of its spec is taken otherwise than it may be meant, in words.
    fn remark(&self) -> Option<String>;

    /// The engine's job for what has no place yet, beside what `placements` hold.
    ///
    /// # Errors
    /// When a field cannot be used; the issue names it.
    fn engine_job(
        &self,
        key: &str,
        placements: &[&Placement],
        context: &JobContext<'_>,
    ) -> Result<JobSpec, JobIssue>;

    /// What a replica of one of its placements holds beside devices, and who is charged for it.
    fn charge(&self, placement: &Placement) -> Charge;

    /// The devices that it asks for beside what `placements` hold.
    fn demand(&self, placements: &[&Placement]) -> Demand;

    /// The object itself, for its own kind.
    fn as_any(&self) -> &dyn Any;
}

/// Devices that a job asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Queue that the job waits in.
    pub queue: String,
    /// Whole devices by what each alternative may use; parts of devices are left out.
    pub alternatives: Vec<DeviceDemand>,
}

/// Whole devices that one alternative of a job asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceDemand {
    /// The device type; `None` where a selector chooses it.
    pub accelerator_type: Option<String>,
    /// How many.
    pub devices: u64,
}

impl Demand {
    /// Of alternatives with so many replicas each.
    pub fn of(
        queue: &str,
        alternatives: &[Alternative],
        replicas: impl Fn(&Alternative) -> i32,
    ) -> Self {
        let whole = alternatives
            .iter()
            .filter(|a| a.mig_profile.is_none() && a.millidevices.is_none());
        let count = |n: i32| u64::try_from(n).unwrap_or(0);
        let demand = |alternative: &Alternative| DeviceDemand {
            accelerator_type: alternative.accelerator_type.clone(),
            devices: count(alternative.devices_per_replica)
                .saturating_mul(count(replicas(alternative))),
        };
        Self {
            queue: queue.to_owned(),
            alternatives: whole.map(demand).collect(),
        }
    }
}

/// A job in a cache. Clones share it.
#[derive(Clone, Debug)]
pub struct StoredJob(Arc<dyn Job>);

impl StoredJob {
    /// Keeps a job.
    pub fn new(job: impl Job + 'static) -> Self {
        Self(Arc::new(job))
    }

    /// The job.
    pub fn job(&self) -> &dyn Job {
        &*self.0
    }
}

impl HasMeta for StoredJob {
    fn meta(&self) -> &ObjectMeta {
        self.0.metadata()
    }
}

/// Where a cluster is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSite {
    /// Name of the MemberCluster.
    pub name: String,
    /// Provider, such as `aws`.
    pub provider: String,
    /// Region in the provider's words.
    pub region: String,
}

/// What jobs are translated with.
#[derive(Clone, Copy)]
pub struct JobContext<'a> {
    /// Known accelerator types.
    pub catalog: &'a Catalog,
    /// Prices, for egress.
    pub prices: &'a Prices,
    /// Every cluster that a job may be placed in.
    pub clusters: &'a [ClusterSite],
    /// Values of the PriorityClasses, by name.
    pub priority_classes: &'a BTreeMap<String, i32>,
}
