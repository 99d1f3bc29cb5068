//! Whether ResourceQuotas of the hub leave room for what the engine decides. They count what Placements of their namespace hold, in
//! whichever cluster it is: the quotas of a member know only the member.

mod rounds;

use std::collections::{BTreeMap, HashMap};

use ampacity_api::placement::DeviceResource;
use ampacity_api::{JobKind, Placement};
use ampacity_placement::{
    AcceleratorRequirement, Alternative, DevicePart, JobSpec, Kind, PlacementDecision,
};
use k8s_openapi::api::core::v1::ResourceQuota;

pub(super) use self::rounds::plan_within_quotas;
use super::placement::device_resource;
use crate::state::{
    ObjectKey, QuotaResource, QuotaShortage, QuotaUnit, State, parse_bytes, parse_milli,
};

/// What pods ask for together.
type Amounts = BTreeMap<QuotaResource, u64>;

/// What the namespaces with quotas may hold, and what they hold.
#[derive(Debug, Default)]
pub(super) struct QuotaLedger {
    limits: BTreeMap<String, Vec<Limit>>,
    used: BTreeMap<String, Amounts>,
}

#[derive(Debug)]
struct Limit {
    quota: String,
    resource: QuotaResource,
    hard: u64,
}

impl QuotaLedger {
    /// As the hub has it now, with what was decided and is not seen there yet.
    pub(super) fn of(state: &mut State) -> Self {
        let mut ledger = Self::default();
        for quota in state.hub.resource_quotas.values() {
            ledger.limit(quota);
        }
        // What is written is among the Placements, and what could not be holds nothing any more.
        let (written, fleet) = (&state.hub.placements, &state.fleet);
        state.being_written.retain(|key, _| {
            written.get(key).is_none() && fleet.reservation(&key.to_string()).is_some()
        });
        if ledger.limits.is_empty() {
            return ledger;
        }
        let placements = state.hub.placements.values();
        for placement in placements.chain(state.being_written.values()) {
            let key = ObjectKey::of(placement);
            if !ledger.limits.contains_key(&key.namespace) {
                continue;
            }
            let held = state.fleet.reservation(&key.to_string());
            let (cpu_milli, memory_mib) = held.map_or((0, 0), |r| (r.cpu_milli, r.memory_mib));
            ledger.take(&key.namespace, &amounts(placement, cpu_milli, memory_mib));
        }
        ledger
    }

    /// Takes in what a quota says. One with scopes is about some of the pods only, and is left to the members.
    fn limit(&mut self, quota: &ResourceQuota) {
        let Some(spec) = &quota.spec else { return };
        if spec.scopes.iter().any(|scopes| !scopes.is_empty()) || spec.scope_selector.is_some() {
            return;
        }
        let namespace = quota.metadata.namespace.clone().unwrap_or_default();
        for (name, hard) in spec.hard.iter().flatten() {
            let resource = QuotaResource::new(name);
            let hard = match resource.unit() {
                QuotaUnit::Millicores => parse_milli(&hard.0),
                QuotaUnit::Bytes | QuotaUnit::Count => parse_bytes(&hard.0),
            };
            // The API server takes no quota whose amount is none.
            if let Ok(hard) = hard {
                self.limits
                    .entry(namespace.clone())
                    .or_default()
                    .push(Limit {
                        quota: quota.metadata.name.clone().unwrap_or_default(),
                        resource,
                        hard,
                    });
            }
        }
    }

    /// Whether no namespace has a quota.
    fn is_empty(&self) -> bool {
        self.limits.is_empty()
    }

    /// Whether a namespace has a quota.
    pub(super) fn limits(&self, namespace: &str) -> bool {
        self.limits.contains_key(namespace)
    }

    /// The quota that leaves the least room for this much more, if one does not leave enough.
    fn shortage(&self, namespace: &str, more: &Amounts) -> Option<QuotaShortage> {
        let limits = self.limits.get(namespace)?.iter();
        let short = limits.filter_map(|limit| {
            let needed = more.get(&limit.resource).copied().filter(|n| *n > 0)?;
            let used = self.used(namespace, &limit.resource);
            let lacks = needed.saturating_add(used).saturating_sub(limit.hard);
            (lacks > 0).then(|| QuotaShortage {
                namespace: namespace.to_owned(),
                quota: limit.quota.clone(),
                resource: limit.resource.clone(),
                needed,
                used,
                hard: limit.hard,
            })
        });
        // The share that is left, not the amount: bytes and devices cannot be compared.
        short.min_by_key(|s| {
            let left = u128::from(s.hard.saturating_sub(s.used));
            left.saturating_mul(1_000_000) / u128::from(s.needed)
        })
    }

    /// How many of so many equal replicas the quotas of a namespace leave room for.
    fn fitting(&self, namespace: &str, all: &Amounts, replicas: u32) -> u32 {
        let limits = self.limits.get(namespace).into_iter().flatten();
        let fits = limits.filter_map(|limit| {
            let needed = all.get(&limit.resource).copied().filter(|n| *n > 0)?;
            let each = needed.div_ceil(u64::from(replicas.max(1)));
            let left = limit
                .hard
                .saturating_sub(self.used(namespace, &limit.resource));
            Some(u32::try_from(left / each).unwrap_or(u32::MAX))
        });
        fits.min().unwrap_or(replicas).min(replicas)
    }

    fn used(&self, namespace: &str, resource: &QuotaResource) -> u64 {
        let used = self.used.get(namespace);
        used.and_then(|used| used.get(resource))
            .copied()
            .unwrap_or(0)
    }

    /// So much more is held.
    fn take(&mut self, namespace: &str, more: &Amounts) {
        let used = self.used.entry(namespace.to_owned()).or_default();
        add(used, more);
    }

    /// A job without the alternatives that quotas forbid in any case, as far as is known how their devices are asked for; of
    /// replicas that stand alone, one must fit.
    ///
    /// # Errors
    /// What is short, where no alternative is left.
    fn narrowed(
        &self,
        mut spec: JobSpec,
        kind: JobKind,
        resources: &Resources,
    ) -> Result<JobSpec, QuotaShortage> {
        let stand_alone = matches!(spec.kind, Kind::Inference { .. });
        let mut short = None;
        let namespace = &spec.namespace;
        spec.alternatives.retain(|alternative| {
            let ask = Ask {
                kind,
                replicas: if stand_alone {
                    1
                } else {
                    u64::from(alternative.replicas)
                },
                devices_per_replica: u64::from(alternative.devices_per_replica),
                resource: resources.get(alternative),
                cpu_milli: alternative.pod.cpu_milli,
                memory_mib: alternative.pod.memory_mib,
            };
            let found = self.shortage(namespace, &ask.amounts());
            let fits = found.is_none();
            short = short.take().or(found);
            fits
        });
        match short {
            Some(short) if spec.alternatives.is_empty() => Err(short),
            _ => Ok(spec),
        }
    }

    /// A job with less in it, for another try: fewer replicas where each stands alone, or without the alternatives that were
    /// chosen. `None` where nothing is left of it.
    fn reduced(
        &self,
        mut spec: JobSpec,
        decisions: &[PlacementDecision],
        all: &Amounts,
    ) -> Option<JobSpec> {
        if let Kind::Inference { replicas, .. } = &mut spec.kind {
            let decided = decisions.iter().map(PlacementDecision::replicas);
            let decided = decided.fold(0_u32, u32::saturating_add);
            let fitting = self.fitting(&spec.namespace, all, decided);
            if fitting > 0 && fitting < decided {
                *replicas = fitting;
                return Some(spec);
            }
        }
        let chosen = |name: &String| decisions.iter().any(|d| d.alternative == *name);
        spec.alternatives.retain(|a| !chosen(&a.name));
        (!spec.alternatives.is_empty()).then_some(spec)
    }
}

/// How devices are asked for, as decisions have shown: an alternative names a device type, a quota a resource.
#[derive(Debug, Default)]
struct Resources(HashMap<(AcceleratorRequirement, DevicePart), DeviceResource>);

impl Resources {
    /// Learns from decisions for a job.
    fn learn(&mut self, spec: &JobSpec, decisions: &[PlacementDecision]) {
        for decision in decisions {
            let mut alternatives = spec.alternatives.iter();
            if let Some(chosen) = alternatives.find(|a| a.name == decision.alternative) {
                let asked = (chosen.accelerator.clone(), chosen.part.clone());
                self.0.insert(asked, device_resource(&decision.resource));
            }
        }
    }

    fn get(&self, alternative: &Alternative) -> Option<&DeviceResource> {
        let asked = (alternative.accelerator.clone(), alternative.part.clone());
        self.0.get(&asked)
    }
}

/// Adds amounts to others.
fn add(to: &mut Amounts, more: &Amounts) {
    for (resource, amount) in more {
        let sum = to.entry(resource.clone()).or_default();
        *sum = sum.saturating_add(*amount);
    }
}

/// What a placement's objects ask for, by the names of quotas. Replicas ask for so much processor and memory each.
fn amounts(placement: &Placement, cpu_milli: u64, memory_mib: u64) -> Amounts {
    let spec = &placement.spec;
    let count = |n: i32| u64::from(n.unsigned_abs());
    Ask {
        kind: spec.job_ref.kind,
        replicas: count(spec.replicas),
        devices_per_replica: count(spec.devices_per_replica),
        resource: Some(&spec.resource),
        cpu_milli,
        memory_mib,
    }
    .amounts()
}

/// What decisions for a job of this kind ask for together.
fn decided(kind: JobKind, decisions: &[PlacementDecision]) -> Amounts {
    let mut all = Amounts::new();
    for decision in decisions {
        let reservation = &decision.reservation;
        let ask = Ask {
            kind,
            replicas: u64::from(decision.replicas()),
            devices_per_replica: u64::from(reservation.devices_per_replica),
            resource: Some(&device_resource(&decision.resource)),
            cpu_milli: reservation.cpu_milli,
            memory_mib: reservation.memory_mib,
        };
        add(&mut all, &ask.amounts());
    }
    all
}

/// What one placement's objects ask for.
struct Ask<'a> {
    kind: JobKind,
    replicas: u64,
    devices_per_replica: u64,
    /// How its devices are asked for, where that is known.
    resource: Option<&'a DeviceResource>,
    cpu_milli: u64,
    memory_mib: u64,
}

impl Ask<'_> {
    /// By the names of quotas.
    fn amounts(&self) -> Amounts {
        let pods = self.replicas;
        let cpu = self.cpu_milli.saturating_mul(pods);
        let memory = self.memory_mib.saturating_mul(1 << 20).saturating_mul(pods);
        let devices = self.devices_per_replica.saturating_mul(pods);
        let workload = match self.kind {
            JobKind::TrainingJob => "count/jobs.batch",
            JobKind::InferenceJob => "count/deployments.apps",
        };
        let mut amounts: Amounts = [
            ("pods", pods),
            ("count/pods", pods),
            ("cpu", cpu),
            ("requests.cpu", cpu),
            ("memory", memory),
            ("requests.memory", memory),
            (workload, 1),
        ]
        .map(|(name, amount)| (QuotaResource::new(name), amount))
        .into();
        let resource = self.resource.and_then(|r| r.resource_name.as_ref());
        let class = self.resource.and_then(|r| r.device_class_name.as_ref());
        let names = resource
            .iter()
            .map(|name| format!("requests.{name}"))
            .chain(
                class
                    .iter()
                    .map(|class| format!("{class}.deviceclass.resource.k8s.io/devices")),
            );
        amounts.extend(names.map(|name| (QuotaResource::new(name), devices)));
        amounts
    }
}

#[cfg(test)]
mod tests;
