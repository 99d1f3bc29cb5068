//! Table cases: what a placement costs, where a gang goes, and what a verdict says.

mod world;

use std::collections::BTreeMap;

use ampacity_placement::{
    Amount, CapacityType, EgressCost, Fix, Kind, Level, MicroUsd, NodeFault, NodePrice, NodeSpec,
    PlacedReplicas, PlacementDecision, Plan, PowerDomainSpec, PowerSpec, Reason, Taint,
    TaintEffect, Topology, Watts,
};
use world::{fleet, gang, node, plan, price};

fn only(plan: &Plan) -> &PlacementDecision {
    assert_eq!(plan.placements.len(), 1, "{plan:?}");
    &plan.placements[0]
}

fn nodes(plan: &Plan) -> Vec<(&str, u32)> {
    only(plan)
        .reservation
        .nodes
        .iter()
        .map(|share| (share.name.as_str(), share.replicas))
        .collect()
}

#[test]
fn thirty_two_h100_draw_40800_watts_and_cost_four_nodes() {
    let mut fleet = fleet((0..4).map(|at| node(&format!("n{at}"))));
    let plan = plan(&mut fleet, &[gang("j", 4, 8)]);
    let decision = only(&plan);
    assert_eq!(decision.reservation.watts, Watts(32 * (700 + 575)));
    assert_eq!(decision.reservation.watts, Watts(40_800));
    assert_eq!(decision.usd_per_hour, MicroUsd(4 * 80_000_000));
}

#[test]
fn money_is_the_share_of_the_node_the_devices_the_risk_and_the_way() {
    let owned = NodePrice {
        usd_per_device_hour: Some(MicroUsd(500_000)),
        usd_per_kwh: MicroUsd(100_000),
        pue_micro: 1_200_000,
        ..NodePrice::default()
    };
    let spot = NodePrice {
        interruptions_per_hour_micro: 100_000,
        ..price(80_000_000)
    };
    // Price, checkpoint interval and restore in seconds, egress; dollars per hour and for one hour of 2 × 2 H100 on one node.
    let cases = [
        (
            "a share of the node",
            price(80_000_000),
            (0, 0),
            0,
            40_000_000,
            40_000_000,
        ),
        // 4 × $0.50 + 5.1 kW × 1.2 × $0.10.
        (
            "owned, with electricity",
            owned,
            (0, 0),
            0,
            2_612_000,
            2_612_000,
        ),
        // Half the run is lost in one of ten hours.
        (
            "spot without checkpoints",
            spot.clone(),
            (0, 0),
            0,
            40_000_000,
            42_000_000,
        ),
        // Half of ten minutes and five minutes of restoring: a tenth of 600 s at $40 an hour.
        (
            "spot with checkpoints",
            spot,
            (600, 300),
            0,
            40_000_000,
            40_666_667,
        ),
        (
            "egress",
            price(80_000_000),
            (0, 0),
            7_000_000,
            40_000_000,
            47_000_000,
        ),
    ];
    for (name, price, (interval, restore), egress, per_hour, total) in cases {
        let mut job = gang("j", 2, 2);
        job.egress = vec![EgressCost {
            cluster: "a".into(),
            usd: MicroUsd(egress),
        }];
        if let Kind::Training {
            checkpoint_interval_seconds,
            checkpoint_restore_seconds,
            ..
        } = &mut job.kind
        {
            (*checkpoint_interval_seconds, *checkpoint_restore_seconds) = (interval, restore);
        }
        let plan = plan(&mut fleet([NodeSpec { price, ..node("n") }]), &[job]);
        let decision = only(&plan);
        assert_eq!(
            (decision.usd_per_hour, decision.usd_total),
            (MicroUsd(per_hour), MicroUsd(total)),
            "{name}"
        );
        assert_eq!(decision.usd_egress, MicroUsd(egress), "{name}");
    }
}

/// `nodes` nodes of 8 devices, two to a block; `per_spine` blocks to a spine, which is a zone here. Busy ones are full.
/// After the topology cases T1 to T4 of github.com/NVIDIA/knavigator and its fork MSSkowron/knavigator (Apache-2.0).
fn spines(count: usize, per_block: usize, per_spine: usize, busy: &[usize]) -> Vec<NodeSpec> {
    (1..=count)
        .map(|at| {
            let block = (at - 1) / per_block;
            let mut node = node(&format!("n{at:02}"));
            node.zone = format!("s{}", block / per_spine);
            node.domains = BTreeMap::from([(Level::Block, format!("b{block}"))]);
            node.devices[0].held = if busy.contains(&at) { 8 } else { 0 };
            node
        })
        .collect()
}

fn within(
    replicas: u32,
    devices: u32,
    required: Level,
    preferred: Option<Level>,
) -> ampacity_placement::JobSpec {
    let mut job = gang("j", replicas, devices);
    job.topology = Topology {
        required,
        preferred,
    };
    job
}

#[test]
fn t1_a_gang_goes_to_the_only_spine_with_room_whether_it_must_or_would_like_to() {
    for (required, preferred) in [(Level::Zone, None), (Level::Cluster, Some(Level::Zone))] {
        let mut fleet = fleet(spines(16, 2, 2, &[1, 3, 6, 11, 12, 14, 16]));
        let plan = plan(&mut fleet, &[within(3, 8, required, preferred)]);
        assert_eq!(nodes(&plan), [("n05", 1), ("n07", 1), ("n08", 1)]);
    }
}

#[test]
fn t2_a_gang_goes_to_the_only_block_with_room() {
    let mut fleet = fleet(spines(21, 3, 2, &[5, 6, 8, 11, 12, 15, 16, 20]));
    let plan = plan(&mut fleet, &[within(3, 8, Level::Block, None)]);
    assert_eq!(nodes(&plan), [("n01", 1), ("n02", 1), ("n03", 1)]);
}

#[test]
fn t3_a_gang_shares_the_one_large_host_and_spreads_in_a_spine_without_it() {
    let mut all = spines(16, 2, 2, &[2, 3, 6, 11, 12, 14, 16]);
    all[0].devices[0].devices = 24;
    let job = within(3, 6, Level::Node, None);
    assert_eq!(
        nodes(&plan(&mut fleet(all.clone()), std::slice::from_ref(&job))),
        [("n01", 3)]
    );
    all.remove(0);
    assert!(plan(&mut fleet(all.clone()), &[job]).placements.is_empty());
    let wider = within(3, 6, Level::Cluster, Some(Level::Zone));
    assert_eq!(
        nodes(&plan(&mut fleet(all), &[wider])),
        [("n05", 1), ("n07", 1), ("n08", 1)]
    );
}

#[test]
fn t4_twice_what_there_is_fills_every_device_that_fits() {
    let mut jobs: Vec<_> = (0..8)
        .map(|at| (at, within(1, 4, Level::Cluster, None)))
        .collect();
    jobs.extend((8..20).map(|at| (at, within(4, 2, Level::Cluster, None))));
    jobs.extend((20..28).map(|at| (at, within(8, 5, Level::Zone, None))));
    jobs.extend((28..32).map(|at| (at, within(4, 3, Level::Cluster, Some(Level::Block)))));
    let jobs: Vec<_> = jobs
        .into_iter()
        .map(|(at, mut job)| {
            job.key = format!("j{at:02}");
            job.submitted_seconds = at;
            job
        })
        .collect();
    let plan = plan(&mut fleet(spines(32, 4, 4, &[])), &jobs);
    let devices: u32 = plan
        .placements
        .iter()
        .map(|d| d.replicas() * d.reservation.devices_per_replica)
        .sum();
    // 128 of the background, then gangs of 40 within a spine and of 12: at most three devices a node are left over.
    assert!(
        plan.placements
            .iter()
            .filter(|d| d.job.as_str() < "j20")
            .count()
            == 20,
        "the background is placed"
    );
    assert!(devices >= 232, "{devices} of 256 devices in use");
}

#[test]
fn what_is_left_of_a_node_is_what_the_jobs_that_usually_come_can_use() {
    let free = |name: &str, free: u32| {
        let mut node = node(name);
        node.devices[0].held = 8 - free;
        node
    };
    let mut fleet = fleet([free("four", 4), free("seven", 7), free("whole", 8)]);
    let one = |fleet: &mut _| {
        let plan = plan(fleet, &[gang("one", 1, 1)]);
        only(&plan).reservation.nodes[0].name.clone()
    };
    // Nothing runs: least is left over of the node with four.
    assert_eq!(one(&mut fleet), "four");
    fleet.release("one/0");
    // With fours about, it holds one as it is; of seven, three are of no use to them.
    plan(&mut fleet, &[gang("fours", 2, 4)]);
    assert_eq!(one(&mut fleet), "seven");
    // Once they have gone, as before.
    fleet.release("one/0");
    fleet.release("fours/0");
    assert_eq!(one(&mut fleet), "four");
}

#[test]
fn a_verdict_names_the_binding_constraint_with_its_numbers_and_what_helps() {
    let one = || vec![node("n")];
    let changed = |change: &dyn Fn(&mut NodeSpec)| {
        let mut all = one();
        change(&mut all[0]);
        all
    };
    let taint = Taint {
        key: "team".into(),
        value: "x".into(),
        effect: TaintEffect::NoSchedule,
    };
    let mut spot_only = gang("j", 1, 8);
    spot_only.capacity_types = vec![CapacityType::Spot];
    let mut poor = gang("j", 1, 8);
    poor.budget.max_usd = Some(MicroUsd(79_999_999));
    let mut late = gang("j", 1, 8);
    if let Kind::Training {
        deadline_seconds, ..
    } = &mut late.kind
    {
        *deadline_seconds = Some(3000);
    }
    let mut thirsty = gang("j", 2, 4);
    thirsty.alternatives[0].pod.cpu_milli = 100_000;
    let add = |nodes| {
        Some(Fix::AddNodes {
            cluster: "a".into(),
            pool: world::H100.into(),
            nodes,
            accelerator_type: world::H100.into(),
            devices_per_node: 8,
            capacity_type: CapacityType::OnDemand,
        })
    };
    let cases = [
        (
            one(),
            gang("j", 3, 8),
            Reason::InsufficientCapacity {
                needed: 24,
                total: 8,
            },
            add(2),
        ),
        (
            changed(&|n| n.devices[0].held = 4),
            gang("j", 1, 8),
            Reason::InsufficientDevices {
                needed: 8,
                available: 4,
            },
            add(1),
        ),
        (
            changed(&|n| n.fault = Some(NodeFault::Cordoned)),
            gang("j", 1, 8),
            Reason::NodesUnavailable {
                nodes: 1,
                fault: "cordoned".into(),
            },
            Some(Fix::RestoreNodes {
                cluster: "a".into(),
                nodes: 1,
                names: vec!["n".into()],
            }),
        ),
        (
            changed(&|n| n.taints.push(taint.clone())),
            gang("j", 1, 8),
            Reason::TaintNotTolerated {
                taint: "team=x:NoSchedule".into(),
                nodes: 1,
            },
            Some(Fix::ChangeJob),
        ),
        (
            one(),
            spot_only,
            Reason::CapacityTypeNotAllowed {
                capacity_type: CapacityType::OnDemand,
            },
            Some(Fix::AllowCapacityType {
                capacity_type: CapacityType::OnDemand,
            }),
        ),
        (
            one(),
            poor,
            Reason::DollarBudgetExceeded {
                needed_usd: MicroUsd(80_000_000),
                limit_usd: MicroUsd(79_999_999),
            },
            Some(Fix::RaiseMaxUsd {
                to: MicroUsd(80_000_000),
            }),
        ),
        (
            one(),
            late,
            Reason::DeadlineMissed { late_seconds: 600 },
            Some(Fix::ExtendDeadline { by_seconds: 600 }),
        ),
        (
            changed(&|n| {
                n.cpu_milli = Amount {
                    total: 192_000,
                    held: 0,
                }
            }),
            thirsty,
            Reason::InsufficientCpu {
                needed: 2,
                fitting: 1,
                cpu_milli: 100_000,
            },
            add(1),
        ),
        (
            spines(4, 2, 1, &[1]),
            within(3, 8, Level::Block, None),
            Reason::TopologyTooSmall {
                level: Level::Block,
                needed: 3,
                fitting: 2,
            },
            Some(Fix::RelaxTopology { to: Level::Cluster }),
        ),
    ];
    for (nodes, job, reason, fix) in cases {
        let plan = plan(&mut fleet(nodes), &[job]);
        assert_eq!(plan.unplaced.len(), 1, "{reason:?}");
        assert_eq!(
            (&plan.unplaced[0].reasons[0].reason, &plan.unplaced[0].fix),
            (&reason, &fix)
        );
    }
}

#[test]
fn a_breaker_that_is_short_is_named_with_its_losses() {
    let domain = |name: &str, parents: &[&str], watts| PowerDomainSpec {
        name: name.into(),
        parents: parents.iter().map(|p| (*p).to_owned()).collect(),
        usable_watts: Watts(watts),
        loss_percent: 10,
        is_terminating: false,
    };
    let mut fleet = fleet([NodeSpec {
        feeds: vec!["pdu".into()],
        ..node("n")
    }]);
    let issues = fleet.set_power(PowerSpec {
        domains: vec![
            domain("pdu", &["hall"], 20_000),
            domain("hall", &[], 10_000),
        ],
        budgets: Vec::new(),
    });
    assert_eq!(issues, []);
    let plan = plan(&mut fleet, &[gang("j", 1, 8)]);
    let reason = Reason::PowerDomainExceeded {
        domain: "hall".into(),
        needed_watts: Watts(11_220),
        headroom_watts: Watts(10_000),
    };
    assert_eq!(plan.unplaced[0].reasons[0].reason, reason);
    assert_eq!(
        plan.unplaced[0].fix,
        Some(Fix::RaisePowerDomain {
            domain: "hall".into(),
            by_watts: Watts(1_220)
        })
    );
}

#[test]
fn the_hourly_budget_is_for_the_replicas_that_serve_already_too() {
    let mut chat = gang("chat", 1, 8);
    let placed = PlacedReplicas {
        cluster: "a".into(),
        node: "n0".into(),
        replicas: 2,
        usd_per_hour: MicroUsd(160_000_000),
    };
    chat.kind = Kind::Inference {
        replicas: 3,
        placed: vec![placed],
        spread: None,
    };
    chat.budget.max_usd_per_hour = Some(MicroUsd(250_000_000));
    let mut fleet = fleet((0..4).map(|at| node(&format!("n{at}"))));
    let plan = plan(&mut fleet, &[chat]);
    assert_eq!(only(&plan).replicas(), 1, "80 USD/h each, and 160 spent");
    let rest = &plan.unplaced[0];
    assert_eq!(rest.replicas, 2);
    let needed_usd_per_hour = MicroUsd(400_000_000);
    assert_eq!(
        rest.reasons[0].reason,
        Reason::HourlyBudgetExceeded {
            needed_usd_per_hour,
            limit_usd_per_hour: MicroUsd(250_000_000)
        }
    );
    let Some(Fix::RaiseMaxUsdPerHour { to }) = rest.fix else {
        panic!("{:?}", rest.fix);
    };
    assert!((0..10).contains(&(to - needed_usd_per_hour).0), "{to}");
}

#[test]
fn ten_thousand_alternatives_and_empty_names_are_judged() {
    let mut job = gang("", 2, 8);
    job.alternatives = (0..10_000)
        .map(|at| world::alternative("", if at % 2 == 0 { "" } else { world::H100 }, 2, 8))
        .collect();
    let mut fleet = fleet([
        NodeSpec {
            cluster: String::new(),
            ..node("")
        },
        node(""),
    ]);
    let plan = plan(&mut fleet, &[job]);
    assert!(plan.placements.is_empty());
    assert!(plan.unplaced[0].reasons.len() <= 33);
}
