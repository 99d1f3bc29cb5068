//! Table cases: what nodes have beside devices, nodes that are one unit, and devices that cannot be used.

mod world;

use std::collections::BTreeMap;

use ampacity_placement::{
    Amount, DeviceCount, Fix, Fleet, JobSpec, Kind, Level, MicroUsd, NodeSpec, Objective, Plan,
    Reason,
};
use world::{H100, L4, NICS, PAGES, alternative, devices, fleet, gang, node, plan, price};

fn with(name: &str, other: &[(&str, u64)]) -> NodeSpec {
    NodeSpec {
        other: other
            .iter()
            .map(|(name, total)| {
                let amount = Amount {
                    total: *total,
                    held: 0,
                };
                ((*name).to_owned(), amount)
            })
            .collect(),
        ..node(name)
    }
}

fn asks(mut job: JobSpec, other: &[(&str, u64)]) -> JobSpec {
    for alternative in &mut job.alternatives {
        alternative.pod.other = other.iter().map(|(n, e)| ((*n).to_owned(), *e)).collect();
    }
    job
}

fn whole(mut node: NodeSpec) -> NodeSpec {
    node.devices[0].whole_node = true;
    node
}

fn on(plan: &Plan) -> Vec<(&str, Vec<(&str, u32)>)> {
    let mut on: Vec<_> = plan
        .placements
        .iter()
        .map(|p| {
            let shares = p.reservation.nodes.iter();
            let nodes = shares.map(|share| (share.name.as_str(), share.replicas));
            (p.job.as_str(), nodes.collect())
        })
        .collect();
    on.sort();
    on
}

fn why(plan: &Plan) -> (&Reason, Option<&Fix>) {
    assert_eq!(plan.unplaced.len(), 1, "{plan:?}");
    let unplaced = &plan.unplaced[0];
    (&unplaced.reasons[0].reason, unplaced.fix.as_ref())
}

#[test]
fn other_resources_are_taken_and_given_back() {
    let mut fleet = fleet([
        with("n0", &[(NICS, 8)]),
        with("n1", &[(NICS, 16), (PAGES, 100)]),
        node("n2"),
    ]);
    let first = asks(gang("first", 3, 2), &[(NICS, 8)]);
    let placed = plan(&mut fleet, std::slice::from_ref(&first));
    assert_eq!(on(&placed), [("first", vec![("n0", 1), ("n1", 2)])]);
    let second = asks(gang("second", 1, 1), &[(NICS, 1)]);
    let none = plan(&mut fleet, std::slice::from_ref(&second));
    let expected = Reason::InsufficientResource {
        resource: NICS.into(),
        needed: 1,
        fitting: 0,
        each: 1,
    };
    assert_eq!(why(&none).0, &expected);
    for decision in &placed.placements {
        assert!(fleet.release(&decision.reservation.key));
    }
    assert_eq!(
        on(&plan(&mut fleet, &[second])),
        [("second", vec![("n0", 1)])]
    );
    let both = asks(gang("both", 1, 1), &[(NICS, 16), (PAGES, 100)]);
    assert!(
        plan(&mut fleet.clone(), std::slice::from_ref(&both))
            .unplaced
            .is_empty()
    );
    let mut held = with("n1", &[(NICS, 16), (PAGES, 100)]);
    held.other.get_mut(PAGES).unwrap().held = 1;
    fleet.set_node(held);
    assert_eq!(plan(&mut fleet, &[both]).unplaced.len(), 1);
}

#[test]
fn a_gang_on_one_node_has_room_for_all_that_it_asks_for() {
    let mut job = asks(gang("j", 2, 1), &[(PAGES, 60)]);
    job.topology.required = Level::Node;
    let small = with("n0", &[(PAGES, 100)]);
    let large = with("n1", &[(PAGES, 120)]);
    let mut both = fleet([small.clone(), large]);
    assert_eq!(
        on(&plan(&mut both, std::slice::from_ref(&job))),
        [("j", vec![("n1", 2)])]
    );
    assert_eq!(plan(&mut fleet([small]), &[job]).unplaced.len(), 1);
}

#[test]
fn a_dearer_node_that_has_what_is_asked_for_is_taken() {
    let cheap = NodeSpec {
        price: price(10_000_000),
        ..with("cheap", &[(NICS, 4)])
    };
    let mut fleet = fleet([cheap, with("dear", &[(NICS, 32)])]);
    let jobs = [
        asks(gang("a", 1, 8), &[(NICS, 32)]),
        asks(gang("b", 1, 8), &[(NICS, 4)]),
    ];
    assert_eq!(
        on(&plan(&mut fleet, &jobs)),
        [("a", vec![("dear", 1)]), ("b", vec![("cheap", 1)])]
    );
}

#[test]
fn a_node_that_is_one_unit_goes_to_one_replica_that_asks_for_all_of_it() {
    let nodes = || (0..3).map(|n| whole(node(&format!("n{n}"))));
    let pair = plan(
        &mut fleet(nodes()),
        &[gang("pair", 2, 8), gang("one", 1, 8)],
    );
    assert!(pair.unplaced.is_empty());
    let half = plan(&mut fleet(nodes()), &[gang("half", 1, 4)]);
    let expected = Reason::NodeIsOneUnit {
        devices_per_replica: 4,
        node_devices: 8,
        nodes: 3,
    };
    assert_eq!(why(&half), (&expected, Some(&Fix::ChangeJob)));
    let taken = |held: u32| {
        let mut taken = whole(node("n"));
        taken.devices[0].held = held;
        taken
    };
    let expected = Reason::InsufficientDevices {
        needed: 8,
        available: 0,
    };
    let refused = plan(&mut fleet([taken(1)]), &[gang("j", 1, 8)]);
    assert_eq!(why(&refused).0, &expected);
    assert!(
        plan(&mut fleet([taken(0)]), &[gang("j", 1, 8)])
            .unplaced
            .is_empty()
    );
    // A part of the gang elsewhere is no reason to share.
    let mixed = [whole(node("n0")), node("n1")];
    let plan = plan(&mut fleet(mixed), &[gang("j", 2, 4)]);
    assert_eq!(on(&plan), [("j", vec![("n1", 2)])]);
}

#[test]
fn devices_that_cannot_be_used_are_told_apart_from_those_that_are_not_there() {
    let broken = |name: &str, usable: u32, unusable: u32| {
        let mut broken = node(name);
        broken.devices[0].devices = usable;
        broken.devices[0].unusable = unusable;
        broken.devices[0].unusable_why = "the plugin says so".into();
        broken
    };
    let unavailable = |nodes| Reason::NodesUnavailable {
        nodes,
        fault: "the plugin says so".into(),
    };
    let cases = [
        (vec![broken("a", 0, 8)], gang("j", 1, 1), unavailable(1)),
        (vec![broken("a", 7, 1)], gang("j", 1, 8), unavailable(1)),
        (
            vec![broken("a", 0, 8), broken("b", 4, 4), node("c")],
            gang("j", 3, 8),
            unavailable(2),
        ),
        // With them there would be too few all the same.
        (
            vec![broken("a", 7, 1)],
            gang("j", 2, 8),
            Reason::InsufficientCapacity {
                needed: 16,
                total: 8,
            },
        ),
    ];
    for (nodes, job, reason) in cases {
        let plan = plan(&mut fleet(nodes), &[job]);
        assert_eq!(why(&plan).0, &reason);
    }
    let mut fleet = fleet([broken("a", 0, 8), broken("b", 7, 1)]);
    let seven = plan(&mut fleet, &[gang("j", 1, 7)]);
    assert_eq!(on(&seven), [("j", vec![("b", 1)])]);
    // Repaired and broken again, nothing is left over.
    for usable in [8, 0, 3, 8] {
        fleet.set_node(broken("a", usable, 8 - usable));
    }
    fleet.release(&seven.placements[0].reservation.key);
    fleet.set_node(broken("b", 8, 0));
    let count = DeviceCount {
        total: 16,
        free: 16,
    };
    assert_eq!(fleet.devices("a"), BTreeMap::from([(H100.into(), count)]));
    assert!(plan(&mut fleet, &[gang("j", 2, 8)]).unplaced.is_empty());
}

#[test]
fn a_verdict_is_told_in_the_unit_that_is_short() {
    let nodes = |sizes: &[u32]| -> Fleet {
        fleet(sizes.iter().enumerate().map(|(n, size)| NodeSpec {
            devices: vec![devices(H100, *size)],
            ..node(&format!("n{n}"))
        }))
    };
    let sizes = [1, 1, 2, 2, 2, 2];
    let cases = [
        (
            gang("j", 5, 2),
            Reason::NodesTooSmall {
                needed: 5,
                fitting: 4,
                devices_per_replica: 2,
                total: 10,
            },
        ),
        (
            gang("j", 1, 8),
            Reason::NodesTooSmall {
                needed: 1,
                fitting: 0,
                devices_per_replica: 8,
                total: 10,
            },
        ),
        (
            gang("j", 6, 2),
            Reason::InsufficientCapacity {
                needed: 12,
                total: 10,
            },
        ),
    ];
    for (job, reason) in cases {
        let plan = plan(&mut nodes(&sizes), &[job]);
        assert_eq!(why(&plan).0, &reason);
    }
}

#[test]
fn replicas_cost_the_fewest_dollars_an_hour_whatever_one_of_them_does() {
    let nodes = || {
        [
            node("h"),
            NodeSpec {
                devices: vec![devices(L4, 8)],
                price: price(48_000_000),
                ..node("l")
            },
        ]
    };
    let chat = |objective| {
        let mut chat = gang("chat", 3, 1);
        chat.objective = objective;
        chat.kind = Kind::Inference {
            replicas: 3,
            placed: Vec::new(),
            spread: None,
        };
        let mut slow = alternative("l4", L4, 3, 1);
        slow.throughput_micro = Some(1_000_000);
        chat.alternatives[0].throughput_micro = Some(2_000_000);
        chat.alternatives.push(slow);
        chat
    };
    // $10 an hour each with twice the throughput, or $6; 1275 W or 132 W.
    for (objective, node, usd) in [
        (Objective::Cost, "l", 18_000_000),
        (Objective::Energy, "l", 18_000_000),
        (Objective::Time, "h", 30_000_000),
    ] {
        let plan = plan(&mut fleet(nodes()), &[chat(objective)]);
        assert_eq!(on(&plan), [("chat", vec![(node, 3)])], "{objective:?}");
        assert_eq!(plan.placements[0].usd_per_hour, MicroUsd(usd));
    }
}
