//! What holds for every plan, on random small worlds against a naive model.

mod world;

use ampacity_placement::numerics::SplitMix64;
use ampacity_placement::{
    CapacityType, DevicePart, Effort, Fix, JobSpec, Kind, MicroUsd, NodeFault, PlacedReplicas,
    Plan, PlanOptions, RunningJob, Watts,
};
use proptest::prelude::*;
use world::{World, assert_gangs_whole, assert_within_limits, plan, release_all, seen, worlds};

/// Applies a fix to a copy of the world with the plan's reservations in force, and returns what becomes of the job.
fn apply(world: &World, first: &Plan, job: &JobSpec, fix: &Fix) -> Option<Plan> {
    let mut world = world.clone();
    let mut job = job.clone();
    if let Kind::Inference {
        replicas, placed, ..
    } = &mut job.kind
    {
        for decision in first.placements.iter().filter(|d| d.job == job.key) {
            *replicas -= decision.replicas();
            placed.extend(
                decision
                    .reservation
                    .nodes
                    .iter()
                    .map(|share| PlacedReplicas {
                        cluster: decision.reservation.cluster.clone(),
                        node: share.name.clone(),
                        replicas: share.replicas,
                        usd_per_hour: MicroUsd(
                            decision.usd_per_hour.0 / i64::from(decision.replicas())
                                * i64::from(share.replicas),
                        ),
                    }),
            );
        }
    }
    match fix {
        Fix::RelaxTopology { to } => job.topology.required = *to,
        Fix::AllowCapacityType { capacity_type } => job.capacity_types.push(*capacity_type),
        Fix::RaiseMaxUsd { to } => job.budget.max_usd = Some(*to),
        Fix::RaiseMaxUsdPerHour { to } => job.budget.max_usd_per_hour = Some(*to),
        Fix::RaisePowerDomain { domain, by_watts } => {
            world
                .power
                .domains
                .iter_mut()
                .filter(|d| d.name == *domain)
                .for_each(|d| d.usable_watts += *by_watts);
        }
        Fix::RaisePowerBudget { budget, by_watts } => {
            world
                .power
                .budgets
                .iter_mut()
                .filter(|b| b.name == *budget)
                .for_each(|b| b.limit_watts += *by_watts);
        }
        Fix::RaisePowerLimits { limits } => {
            assert!(limits.len() > 1);
            for limit in limits {
                match limit {
                    Fix::RaisePowerDomain { domain, by_watts } => {
                        let domains = world.power.domains.iter_mut();
                        for named in domains.filter(|d| d.name == *domain) {
                            named.usable_watts += *by_watts;
                        }
                    }
                    Fix::RaisePowerBudget { budget, by_watts } => {
                        let budgets = world.power.budgets.iter_mut();
                        for named in budgets.filter(|b| b.name == *budget) {
                            named.limit_watts += *by_watts;
                        }
                    }
                    _ => return None,
                }
            }
        }
        Fix::RestoreNodes { cluster, nodes, .. } => {
            let out = world
                .nodes
                .iter_mut()
                .filter(|n| n.cluster == *cluster && n.fault.is_some());
            // The fix counts nodes; which ones is the operator's choice, so all are returned here.
            assert!(out.map(|n| n.fault = None::<NodeFault>).count() as u64 >= *nodes);
        }
        Fix::FreeDevices { cluster, .. } => {
            for node in world.nodes.iter_mut().filter(|n| n.cluster == *cluster) {
                node.devices.iter_mut().for_each(|group| group.held = 0);
            }
        }
        Fix::ChangePart { alternative, part } => {
            let named = job.alternatives.iter_mut();
            for named in named.filter(|a| a.name == *alternative) {
                named.part = part.clone();
            }
        }
        Fix::AddNodes {
            cluster,
            pool,
            nodes,
            ..
        } => {
            let alike = |n: &&ampacity_placement::NodeSpec| {
                n.cluster == *cluster && n.devices[0].accelerator_type == *pool
            };
            let clones: Vec<_> = world.nodes.iter().filter(alike).cloned().collect();
            // "Like those of the pool": one kind of them must do, in its own domain or in a new one of its own.
            return clones
                .into_iter()
                .flat_map(|n| [(n.clone(), false), (n, true)])
                .find_map(|(template, apart)| {
                    let mut grown = world.clone();
                    for at in 0..*nodes {
                        let mut more = template.clone();
                        more.name = format!("more{at}");
                        more.fault = None;
                        more.devices.iter_mut().for_each(|group| group.held = 0);
                        if apart {
                            more.domains
                                .values_mut()
                                .for_each(|name| *name = "fresh".into());
                        }
                        grown.nodes.push(more);
                    }
                    let outcome = replan(&grown, first, &job);
                    outcome.unplaced.is_empty().then_some(outcome)
                });
        }
        Fix::WaitUntil { start_seconds } => {
            // What has ended by then is given back.
            let mut later = first.clone();
            later
                .placements
                .retain(|d| d.duration_seconds.is_none_or(|end| end > *start_seconds));
            return Some(replan(&world, &later, &job));
        }
        _ => return None,
    }
    Some(replan(&world, first, &job))
}

fn replan(world: &World, first: &Plan, job: &JobSpec) -> Plan {
    let mut fleet = world.fleet();
    for decision in &first.placements {
        fleet.reserve(decision.reservation.clone());
    }
    plan(&mut fleet, std::slice::from_ref(job))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn limits_hold_and_gangs_are_whole(world in worlds()) {
        let mut fleet = world.fleet();
        let plan = plan(&mut fleet, &world.jobs);
        let held: Vec<_> = fleet.reservations().collect();
        prop_assert_eq!(held.len(), plan.placements.len());
        assert_within_limits(&world, &held);
        assert_gangs_whole(&world, &plan);
    }

    #[test]
    fn usage_is_what_the_naive_model_counts(world in worlds()) {
        let mut fleet = world.fleet();
        let plan = plan(&mut fleet, &world.jobs);
        for cluster in ["a", "b"] {
            for (accelerator_type, count) in fleet.devices(cluster) {
                let (mut total, mut free) = (0, 0);
                for node in world.nodes.iter().filter(|n| n.cluster == cluster) {
                    let whole = node.devices.iter().find(|g| g.accelerator_type == accelerator_type && g.part == DevicePart::Whole);
                    let Some(group) = whole else { continue };
                    let taken: u32 = plan.placements.iter().map(|d| &d.reservation).filter(|r| r.cluster == cluster && r.part == DevicePart::Whole)
                        .flat_map(|r| r.nodes.iter().filter(|s| s.name == node.name).map(|s| s.replicas * r.devices_per_replica)).sum();
                    total += u64::from(group.devices);
                    // Of a node that is one unit nothing is free beside a tenant.
                    let has_tenant = group.whole_node && group.held + taken > 0;
                    if node.fault.is_none() && !has_tenant {
                        free += u64::from(group.devices - group.held - taken);
                    }
                }
                prop_assert_eq!((count.total, count.free), (total, free));
            }
        }
        for usage in fleet.budget_usage().into_iter().filter(|usage| usage.name != "budget0") {
            let queue = if usage.name == "budget1" { "q0" } else { "q1" };
            let watts: Watts = plan.placements.iter().filter(|d| d.reservation.queue == queue).map(|d| d.reservation.watts).sum();
            prop_assert_eq!(usage.reserved_watts, watts);
        }
    }

    #[test]
    fn release_restores_exactly(world in worlds()) {
        let mut fleet = world.fleet();
        let before = seen(&fleet);
        let first = plan(&mut fleet, &world.jobs);
        release_all(&mut fleet, &first);
        prop_assert_eq!(&seen(&fleet), &before);
        // Nodes that come and go in between leave nothing behind either.
        let again = plan(&mut fleet, &world.jobs);
        prop_assert_eq!(&again, &first);
        for node in &world.nodes {
            fleet.remove_node(&node.cluster, &node.name);
        }
        release_all(&mut fleet, &again);
        for node in world.nodes.iter().rev() {
            fleet.set_node(node.clone());
        }
        prop_assert_eq!(&seen(&fleet), &before);
    }

    #[test]
    fn order_of_input_does_not_matter(world in worlds(), seed in any::<u64>()) {
        let mut other = world.clone();
        let mut random = SplitMix64::new(seed);
        let mut key = |_: &_| random.next_u64();
        other.nodes.sort_by_cached_key(|n| key(&n.name));
        other.jobs.sort_by_cached_key(|j| key(&j.key));
        other.clusters.reverse();
        other.power.domains.reverse();
        other.power.budgets.reverse();
        let (mut one, mut two) = (world.fleet(), other.fleet());
        prop_assert_eq!(plan(&mut one, &world.jobs), plan(&mut two, &other.jobs));
        prop_assert_eq!(one.domain_usage(), two.domain_usage());
    }

    #[test]
    fn what_stays_out_would_not_fit(world in worlds()) {
        let mut fleet = world.fleet();
        let first = plan(&mut fleet, &world.jobs);
        for unplaced in &first.unplaced {
            let job = world.jobs.iter().find(|j| j.key == unplaced.job).unwrap();
            if !matches!(job.kind, Kind::Training { .. }) {
                continue;
            }
            // Not even with everything of lower priority given back.
            let mut fleet = fleet.clone();
            for decision in &first.placements {
                let other = world.jobs.iter().find(|j| j.key == decision.job).unwrap();
                if other.priority < job.priority {
                    fleet.release(&decision.reservation.key);
                }
            }
            let again = plan(&mut fleet, std::slice::from_ref(job));
            prop_assert!(again.placements.is_empty(), "{} would fit", job.key);
        }
    }

    #[test]
    fn effort_never_places_fewer_nor_costs_more(world in worlds(), trials in 0..3_000_u64) {
        let (mut once, mut again) = (world.fleet(), world.fleet());
        let options = PlanOptions::default();
        let made = once.plan_with(&world.jobs, &options, Effort { trials: 0 });
        let bettered = again.plan_with(&world.jobs, &options, Effort { trials });
        // Gangs placed by priority, highest first, and then dollars, the other way round.
        let jobs = &world.jobs;
        let worth = |plan: &Plan| {
            let gangs = |priority: i32| plan.placements.iter().filter(move |d| jobs.iter().any(|j| {
                j.key == d.job && j.priority == priority && matches!(j.kind, Kind::Training { .. })
            }));
            let usd: i64 = (0..3).flat_map(gangs).map(|d| d.usd_total.0).sum();
            ([2, 1, 0].map(|priority| gangs(priority).count()), -usd)
        };
        prop_assert!(worth(&bettered) >= worth(&made), "{:?} became {:?}", worth(&made), worth(&bettered));
        assert_within_limits(&world, &again.reservations().collect::<Vec<_>>());
    }

    #[test]
    fn a_fix_places_the_job(world in worlds()) {
        let mut fleet = world.fleet();
        let first = plan(&mut fleet, &world.jobs);
        for unplaced in &first.unplaced {
            let Some(fix) = unplaced.fix.as_ref().filter(|fix| **fix != Fix::ChangeJob) else { continue };
            let job = world.jobs.iter().find(|j| j.key == unplaced.job).unwrap();
            let after = apply(&world, &first, job, fix);
            prop_assert!(after.as_ref().is_some_and(|plan| plan.unplaced.is_empty()), "{fix:?} does not place {job:?}: {:?}", after.map(|p| p.unplaced));
        }
        // Trying fixes leaves no trace.
        release_all(&mut fleet, &first);
        prop_assert_eq!(&seen(&fleet), &seen(&world.fleet()));
    }

    #[test]
    fn absurd_numbers_never_panic(world in worlds(), big in prop::sample::select(vec![i64::MIN, -1, 0, 1, i64::MAX]), count in prop::sample::select(vec![0_u32, 1, u32::MAX]), wide in prop::sample::select(vec![0_u64, 1, u64::MAX])) {
        let mut world = world;
        for node in &mut world.nodes {
            node.price.usd_per_node_hour = Some(ampacity_placement::MicroUsd(big));
            node.price.usd_per_device_hour = Some(ampacity_placement::MicroUsd(big));
            node.price.pue_micro = big;
            node.price.usd_per_kwh = ampacity_placement::MicroUsd(big);
            node.price.interruptions_per_hour_micro = big;
            node.devices[0].devices = count;
            node.cpu_milli.held = wide;
            node.memory_mib.total = wide;
            node.feeds.push(String::new());
        }
        for job in &mut world.jobs {
            job.submitted_seconds = big;
            job.alternatives[0].replicas = count;
            job.alternatives[0].throughput_micro = Some(big);
            job.alternatives[0].pod.cpu_milli = wide;
            job.capacity_types = CapacityType::ALL.to_vec();
            if let Kind::Training { work, deadline_seconds, checkpoint_interval_seconds, checkpoint_restore_seconds, restores } = &mut job.kind {
                *work = ampacity_placement::Work::UnitsMicro(big);
                *deadline_seconds = Some(big);
                *checkpoint_interval_seconds = big;
                *checkpoint_restore_seconds = big;
                *restores = true;
            }
        }
        for domain in &mut world.power.domains {
            domain.usable_watts = Watts(big);
            domain.loss_percent = count;
            domain.parents = vec!["root".into(), "p0".into(), domain.name.clone()];
        }
        let mut fleet = world::fleet(world.nodes.clone());
        fleet.set_accelerator(ampacity_placement::AcceleratorFacts { default_watts: Watts(big), host_overhead_watts: Watts(big), ..world::h100_facts() });
        prop_assert!(!fleet.set_power(world.power.clone()).is_empty());
        let options = PlanOptions { now_seconds: big, horizon_seconds: big };
        let first = fleet.plan(&world.jobs, &options);
        let running: Vec<RunningJob> = first.placements.iter().filter_map(|decision| {
            let job = world.jobs.iter().find(|job| job.key == decision.job)?.clone();
            Some(RunningJob { job, decision: decision.clone(), left_seconds: big })
        }).collect();
        fleet.clone().replan(&world.jobs, &running, &options);
        release_all(&mut fleet, &first);
    }
}
