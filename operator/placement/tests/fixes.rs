//! Verdicts and fixes of whole situations.
#![allow(clippy::unwrap_used)]

mod world;

use ampacity_placement::{
    CapacityType, Fix, Level, NodeSpec, PowerDomainSpec, PowerSpec, Reason, Taint, TaintEffect,
    Watts,
};
use world::{H100, cluster, devices, fleet, gang, node, plan};

fn domain(name: &str, watts: i64) -> PowerDomainSpec {
    PowerDomainSpec {
        name: name.into(),
        usable_watts: Watts(watts),
        ..PowerDomainSpec::default()
    }
}

// Each of two feeds must carry the whole load: raising one of them helps nobody.
#[test]
fn two_equal_feeds_are_both_named_and_both_raised() {
    let mut fleet = fleet([NodeSpec {
        feeds: vec!["feed-a".into(), "feed-b".into()],
        ..node("n1")
    }]);
    let mut power = PowerSpec {
        domains: vec![domain("feed-a", 8000), domain("feed-b", 8000)],
        budgets: Vec::new(),
    };
    assert_eq!(fleet.set_power(power.clone()), []);
    let job = gang("j", 1, 8);
    let refused = plan(&mut fleet, std::slice::from_ref(&job));
    let short = |name: &str| Reason::PowerDomainExceeded {
        domain: name.into(),
        needed_watts: Watts(10_200),
        headroom_watts: Watts(8000),
    };
    let reasons: Vec<_> = refused.unplaced[0]
        .reasons
        .iter()
        .map(|r| &r.reason)
        .collect();
    assert_eq!(reasons, [&short("feed-a"), &short("feed-b")]);
    let raise = |name: &str| Fix::RaisePowerDomain {
        domain: name.into(),
        by_watts: Watts(2200),
    };
    assert_eq!(
        refused.unplaced[0].fix,
        Some(Fix::RaisePowerLimits {
            limits: vec![raise("feed-a"), raise("feed-b")]
        })
    );
    for domain in &mut power.domains {
        domain.usable_watts += Watts(2200);
    }
    assert_eq!(fleet.set_power(power), []);
    assert_eq!(plan(&mut fleet, &[job]).placements.len(), 1);
}

// Seven clusters whose nearest nodes are all tainted: they cannot be tried, so they use up no tries.
#[test]
fn nodes_that_cannot_be_used_leave_the_tries_to_others() {
    let mut fleet = fleet([]);
    for at in 0..7 {
        let name = format!("c{at}");
        fleet.set_cluster(cluster(&name));
        for (capacity_type, count, tainted) in [
            (CapacityType::OnDemand, 3, true),
            (CapacityType::Spot, 2, false),
        ] {
            for number in 0..count {
                let mut spec = NodeSpec {
                    cluster: name.clone(),
                    capacity_type: Some(capacity_type),
                    devices: vec![devices(H100, 8)],
                    ..node(&format!("{}-{number}", capacity_type.as_str()))
                };
                if tainted {
                    spec.taints.push(Taint {
                        key: "team".into(),
                        value: "x".into(),
                        effect: TaintEffect::NoSchedule,
                    });
                }
                fleet.set_node(spec);
            }
        }
    }
    let refused = plan(&mut fleet, &[gang("j", 10, 8)]);
    assert_eq!(
        refused.unplaced[0].fix,
        Some(Fix::AddNodes {
            cluster: "c0".into(),
            pool: H100.into(),
            nodes: 8,
            accelerator_type: H100.into(),
            devices_per_node: 8,
            capacity_type: CapacityType::Spot,
        })
    );
}

fn within(name: &str, domains: &[(Level, &str)]) -> NodeSpec {
    let domains = domains.iter();
    NodeSpec {
        domains: domains
            .map(|(level, name)| (*level, (*name).into()))
            .collect(),
        ..node(name)
    }
}

// A rack is the nodes that name it, whatever block they name or leave out.
#[test]
fn a_domain_is_what_its_own_label_says() {
    use Level::{Block, NvlinkDomain, Rack, Zone};
    type Labels = &'static [(Level, &'static str)];
    let cases: &[(&str, Level, Labels, Labels, bool)] = &[
        (
            "the same",
            Rack,
            &[(Block, "b"), (Rack, "r")],
            &[(Block, "b"), (Rack, "r")],
            true,
        ),
        (
            "one names no block",
            Rack,
            &[(Block, "b"), (Rack, "r")],
            &[(Rack, "r")],
            true,
        ),
        (
            "one names another block",
            Rack,
            &[(Block, "b"), (Rack, "r")],
            &[(Block, "c"), (Rack, "r")],
            true,
        ),
        (
            "another rack",
            NvlinkDomain,
            &[(Rack, "r"), (NvlinkDomain, "v")],
            &[(Rack, "s"), (NvlinkDomain, "v")],
            true,
        ),
        (
            "no zone",
            NvlinkDomain,
            &[(Zone, "z"), (NvlinkDomain, "v")],
            &[(Zone, ""), (NvlinkDomain, "v")],
            true,
        ),
        (
            "a rack in two blocks joins no blocks",
            Block,
            &[(Block, "b"), (Rack, "r")],
            &[(Block, "c"), (Rack, "r")],
            false,
        ),
        (
            "other racks",
            Rack,
            &[(Block, "b"), (Rack, "r")],
            &[(Block, "b"), (Rack, "s")],
            false,
        ),
        (
            "a zone that is not known",
            Zone,
            &[(Zone, "")],
            &[(Zone, "")],
            false,
        ),
    ];
    for (name, required, first, second, fits) in cases {
        let mut job = gang("j", 2, 8);
        job.topology.required = *required;
        let nodes = || {
            [within("n1", first), within("n2", second)].map(|node| NodeSpec {
                zone: "z".into(),
                ..node
            })
        };
        for order in [nodes(), {
            let [a, b] = nodes();
            [b, a]
        }] {
            let mut fleet = fleet(order);
            let before = plan(&mut fleet.clone(), std::slice::from_ref(&job));
            assert_eq!(before.placements.len() == 1, *fits, "{name}");
            // A third node that makes one more part and goes again leaves nothing behind.
            fleet.set_node(within(
                "n3",
                &[(Block, "x"), (Rack, "r"), (NvlinkDomain, "v")],
            ));
            plan(&mut fleet.clone(), std::slice::from_ref(&job));
            fleet.remove_node("a", "n3");
            assert_eq!(
                plan(&mut fleet, std::slice::from_ref(&job)),
                before,
                "{name}"
            );
        }
    }
}
