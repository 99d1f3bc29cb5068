//! A naive model that judges a plan node by node.
#![allow(clippy::unwrap_used, clippy::panic)] // A judge stops at the first fault.

use std::collections::{BTreeMap, BTreeSet};

use ampacity_placement::{
    BudgetScope, DeviceGroup, DevicePart, Fleet, Kind, Level, NodeSpec, Plan, PowerDomainSpec,
    Reservation,
};

use super::builders::{H100, gang, parted, plan};
use super::random::{NICS, PAGES, World};

/// Position of the group of a node that a reservation holds units of: its type in its part.
pub fn group_of(node: &NodeSpec, held: &Reservation) -> Option<usize> {
    let mut groups = node.devices.iter();
    groups.position(|g| (&g.accelerator_type, &g.part) == (&held.accelerator_type, &held.part))
}

/// Watts of a unit: its share of the device and of the host, rounded up.
fn watts_each(group: &DeviceGroup) -> i64 {
    let device = if group.accelerator_type == H100 {
        1275
    } else {
        132
    };
    let (parts, of) = match &group.part {
        DevicePart::Whole => (1, 1),
        DevicePart::Mig(_) => (1, 7),
        DevicePart::Milli(unit) => (1, i64::from(1000 / unit)),
    };
    (device * parts + of - 1) / of
}

/// What can be seen of a fleet, and what it would do with two more jobs.
pub fn seen(fleet: &Fleet) -> impl PartialEq + std::fmt::Debug + use<> {
    let mut probed = fleet.clone();
    let mut tight = gang("probe-rack", 2, 1);
    tight.topology.required = Level::Rack;
    let mig = parted("probe-mig", 2, DevicePart::Mig("1g.10gb".into()));
    let slices = parted("probe-slices", 2, DevicePart::Milli(100));
    let mut networked = gang("probe-nics", 2, 1);
    networked.alternatives[0].pod.other =
        BTreeMap::from([(NICS.to_owned(), 3), (PAGES.to_owned(), 2)]);
    let jobs = [gang("probe", 3, 2), tight, mig, slices, networked];
    let probes = plan(&mut probed, &jobs);
    (
        fleet.domain_usage(),
        fleet.budget_usage(),
        fleet.devices("a"),
        fleet.devices("b"),
        probes,
    )
}

pub fn release_all(fleet: &mut Fleet, plan: &Plan) {
    for decision in &plan.placements {
        assert!(fleet.release(&decision.reservation.key));
    }
}

/// Judges what is reserved: no node, breaker or budget holds more than it may.
pub fn assert_within_limits(world: &World, reservations: &[&Reservation]) {
    let mut watts_at: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    for node in &world.nodes {
        let (mut cpu, mut memory, mut pods) = (0_u64, 0_u64, 0_u64);
        let mut other: BTreeMap<&str, u64> = BTreeMap::new();
        let mut units = vec![0_u64; node.devices.len()];
        for reservation in reservations.iter().filter(|r| r.cluster == node.cluster) {
            for share in reservation.nodes.iter().filter(|s| s.name == node.name) {
                let replicas = u64::from(share.replicas);
                assert!(replicas > 0, "an empty share");
                assert_eq!(node.fault, None, "{} is out of service", node.name);
                let group = group_of(node, reservation).unwrap();
                units[group] += replicas * u64::from(reservation.devices_per_replica);
                cpu += replicas * reservation.cpu_milli;
                memory += replicas * reservation.memory_mib;
                pods += replicas;
                for (name, each) in &reservation.other {
                    *other.entry(name).or_default() += replicas * each;
                }
                let whole = &node.devices[group];
                if whole.whole_node {
                    let asked = reservation.devices_per_replica;
                    assert_eq!(
                        (replicas, asked),
                        (1, whole.devices),
                        "{} is one unit",
                        node.name
                    );
                    assert_eq!(whole.held, 0, "{} has another tenant", node.name);
                }
            }
        }
        assert!(cpu <= node.cpu_milli.total, "CPU of {}", node.name);
        assert!(memory <= node.memory_mib.total, "memory of {}", node.name);
        assert!(pods <= node.pod_slots.total, "pods of {}", node.name);
        for (name, amount) in other {
            let there = node.other.get(name).copied().unwrap_or_default();
            assert!(
                amount <= there.total.saturating_sub(there.held),
                "{name} of {}: {amount} of {there:?}",
                node.name
            );
        }
        let mut watts = 0;
        for (group, units) in node.devices.iter().zip(units) {
            assert!(
                units <= u64::from(group.devices - group.held),
                "{} of {}",
                group.part,
                node.name
            );
            watts += watts_each(group) * (i64::try_from(units).unwrap() + i64::from(group.held));
        }
        watts_at.insert((&node.cluster, &node.name), watts);
    }
    // Devices that others hold may exceed a limit by themselves: then nothing may have been added.
    let domains: BTreeMap<&str, &PowerDomainSpec> = world
        .power
        .domains
        .iter()
        .map(|d| (d.name.as_str(), d))
        .collect();
    let load = |domain: &str, of: &dyn Fn(&NodeSpec) -> i64| -> f64 {
        world
            .nodes
            .iter()
            .map(|node| {
                let most = node
                    .feeds
                    .iter()
                    .filter_map(|feed| factor(&domains, feed, domain))
                    .fold(0.0, f64::max);
                most * of(node) as f64
            })
            .sum()
    };
    let all = |node: &NodeSpec| watts_at[&(node.cluster.as_str(), node.name.as_str())];
    let held = |node: &NodeSpec| -> i64 {
        let groups = node.devices.iter();
        groups.map(|g| watts_each(g) * i64::from(g.held)).sum()
    };
    for domain in &world.power.domains {
        let (now, before) = (load(&domain.name, &all), load(&domain.name, &held));
        let limits = world
            .power
            .budgets
            .iter()
            .filter(|b| b.scope == BudgetScope::Domain(domain.name.clone()));
        for limit in limits.map(|b| b.limit_watts).chain([domain.usable_watts]) {
            assert!(
                now <= limit.0 as f64 + 1e-3 || now <= before + 1e-3,
                "{}: {now} W above {limit}",
                domain.name
            );
        }
    }
    for budget in &world.power.budgets {
        if let BudgetScope::Queue(queue) = &budget.scope {
            let sum: i64 = reservations
                .iter()
                .filter(|r| r.queue == *queue)
                .map(|r| r.watts.0)
                .sum();
            assert!(
                sum <= budget.limit_watts.0,
                "queue {queue}: {sum} W above {}",
                budget.limit_watts
            );
        }
    }
}

/// The largest product of losses from a feed up to a domain.
fn factor(domains: &BTreeMap<&str, &PowerDomainSpec>, from: &str, to: &str) -> Option<f64> {
    if from == to {
        return Some(1.0);
    }
    let domain = domains.get(from)?;
    let loss = 1.0 + f64::from(domain.loss_percent) / 100.0;
    domain
        .parents
        .iter()
        .filter_map(|parent| factor(domains, parent, to))
        .map(|above| above * loss)
        .reduce(f64::max)
}

/// Judges every placed job: whole gangs, in one required domain, within the job's own limits.
pub fn assert_gangs_whole(world: &World, plan: &Plan) {
    let mut seen = BTreeSet::new();
    for decision in &plan.placements {
        let job = world.jobs.iter().find(|j| j.key == decision.job).unwrap();
        let alternative = job
            .alternatives
            .iter()
            .find(|a| a.name == decision.alternative)
            .unwrap();
        assert!(job.capacity_types.contains(&decision.capacity_type));
        match (&alternative.part, &decision.reservation.part) {
            (DevicePart::Milli(asked), DevicePart::Milli(unit)) => assert!(unit >= asked),
            (asked, given) => assert_eq!(asked, given),
        }
        let Kind::Training { .. } = job.kind else {
            continue;
        };
        assert!(seen.insert(&decision.job), "{} placed twice", decision.job);
        assert_eq!(
            decision.replicas(),
            alternative.replicas,
            "{} is not whole",
            decision.job
        );
        assert!(
            job.budget
                .max_usd
                .is_none_or(|most| decision.usd_total <= most)
        );
        assert!(
            job.budget
                .max_usd_per_hour
                .is_none_or(|most| decision.usd_per_hour <= most)
        );
        if decision.reservation.nodes.len() == 1 {
            continue; // One node lies in one domain of every level.
        }
        let level = job.topology.required;
        let domains: BTreeSet<String> = decision
            .reservation
            .nodes
            .iter()
            .map(|share| {
                let node = world.nodes.iter().find(|n| n.name == share.name).unwrap();
                match level {
                    Level::Node => node.name.clone(),
                    Level::Cluster => node.cluster.clone(),
                    Level::Zone => node.zone.clone(),
                    // No such level here: a gang that requires it has no place.
                    Level::NvlinkDomain => panic!("placed without the domain it requires"),
                    _ => format!(
                        "{}/{}/{:?}",
                        node.cluster,
                        node.zone,
                        node.domains.get(&level)
                    ),
                }
            })
            .collect();
        assert_eq!(domains.len(), 1, "{} spans {domains:?}", decision.job);
    }
    for job in &world.jobs {
        let placed = plan.placements.iter().any(|d| d.job == job.key);
        let unplaced = plan.unplaced.iter().find(|u| u.job == job.key);
        assert!(
            placed || unplaced.is_some_and(|u| !u.reasons.is_empty()),
            "{} is forgotten",
            job.key
        );
        if matches!(job.kind, Kind::Training { .. }) {
            assert!(!(placed && unplaced.is_some()), "{} is both", job.key);
        }
    }
}
