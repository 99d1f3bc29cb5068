//! Watts of nodes that cannot be seen stay charged, exactly, and a power domain that does not exist carries nothing.

mod world;

use ampacity_placement::{
    Fix, Fleet, NodeFeeds, NodeShare, NodeSpec, PowerClosure, PowerDomainSpec, PowerSpec, Reason,
    Reservation, Watts,
};
use proptest::prelude::*;
use world::{fleet, gang, node, plan};

fn breakers(names: &[&str]) -> PowerSpec {
    let domain = |name: &&str| PowerDomainSpec {
        name: (*name).to_owned(),
        parents: Vec::new(),
        usable_watts: Watts(30_000),
        loss_percent: 0,
        is_terminating: false,
    };
    PowerSpec {
        domains: names.iter().map(domain).collect(),
        budgets: Vec::new(),
    }
}

fn on(feed: &str, name: &str) -> NodeSpec {
    NodeSpec {
        feeds: vec![feed.to_owned()],
        ..node(name)
    }
}

fn load(fleet: &Fleet, name: &str) -> i64 {
    let usage = fleet.domain_usage();
    let domain = usage.iter().find(|domain| domain.name == name);
    domain.map_or(0, |domain| domain.reserved_watts.0)
}

/// Two nodes of `a`, 10,200 W each; `said` says on which breaker they hang.
fn held(said: bool) -> Reservation {
    let share = |name: &str| NodeShare {
        name: name.to_owned(),
        replicas: 1,
    };
    let feeds = vec![NodeFeeds {
        nodes: 2,
        domains: vec!["pdu".to_owned()],
    }];
    Reservation {
        key: "there".to_owned(),
        cluster: "a".to_owned(),
        accelerator_type: world::H100.to_owned(),
        devices_per_replica: 8,
        nodes: vec![share("n0"), share("n1")],
        watts: Watts(20_400),
        feeds: if said { feeds } else { Vec::new() },
        ..plan(&mut fleet([node("n0")]), &[gang("j", 1, 8)]).placements[0]
            .reservation
            .clone()
    }
}

#[test]
fn a_decision_says_which_breakers_it_charges() {
    let mut fleet = fleet([on("pdu", "n0"), on("pdu", "n1"), node("n2")]);
    fleet.set_power(breakers(&["pdu"]));
    let plan = plan(&mut fleet, &[gang("j", 3, 8)]);
    let runs: Vec<(u32, usize)> = plan.placements[0]
        .reservation
        .feeds
        .iter()
        .map(|run| (run.nodes, run.domains.len()))
        .collect();
    assert_eq!(runs.iter().map(|(nodes, _)| nodes).sum::<u32>(), 3);
    assert_eq!(
        runs.iter()
            .map(|(nodes, domains)| *nodes as usize * domains)
            .sum::<usize>(),
        2
    );
}

#[test]
fn nodes_that_nobody_has_seen_are_charged_where_the_reservation_says() {
    let mut fleet = fleet([on("pdu", "other")]);
    fleet.set_power(breakers(&["pdu"]));
    fleet.reserve(held(true));
    assert_eq!(load(&fleet, "pdu"), 20_400);
    // The breaker has 9,600 W left, and a node of eight needs 10,200.
    let plan = plan(&mut fleet, &[gang("j", 1, 8)]);
    assert!(
        matches!(
            plan.unplaced[0].reasons[0].reason,
            Reason::PowerDomainExceeded { .. }
        ),
        "{plan:?}"
    );
    fleet.set_node(on("pdu", "n0"));
    assert_eq!(load(&fleet, "pdu"), 20_400, "seen, and charged once");
    fleet.set_node(on("pdu", "n1"));
    assert_eq!(load(&fleet, "pdu"), 20_400);
    fleet.remove_cluster("a");
    assert_eq!(load(&fleet, "pdu"), 20_400, "out of sight again");
    fleet.set_power(breakers(&["pdu", "hall"]));
    assert_eq!(load(&fleet, "pdu"), 20_400, "the tree is read anew");
    assert!(fleet.release("there"));
    assert_eq!(load(&fleet, "pdu"), 0);
}

#[test]
fn what_was_seen_once_stays_charged_where_it_was() {
    let mut fleet = fleet([on("pdu", "n0"), on("pdu", "n1")]);
    fleet.set_power(breakers(&["pdu"]));
    fleet.reserve(held(false));
    fleet.remove_node("a", "n0");
    fleet.remove_node("a", "n1");
    assert_eq!(load(&fleet, "pdu"), 20_400);
    // A plan counts reservations out and in to look ahead: the charge outlives that.
    plan(&mut fleet, &[gang("j", 1, 8)]);
    assert_eq!(load(&fleet, "pdu"), 20_400);
    assert!(fleet.release("there"));
    assert_eq!(load(&fleet, "pdu"), 0);
}

#[test]
fn a_breaker_that_does_not_exist_carries_nothing_until_it_does() {
    let mut fleet = fleet([on("pdu", "n0")]);
    let job = gang("j", 1, 8);
    let refused = plan(&mut fleet, std::slice::from_ref(&job));
    assert_eq!(
        refused.unplaced[0].reasons[0].reason,
        Reason::UnknownPowerDomain {
            domain: "pdu".to_owned(),
            needed_watts: Watts(10_200),
        }
    );
    assert_eq!(
        refused.unplaced[0].fix,
        Some(Fix::CreatePowerDomain {
            domain: "pdu".to_owned(),
            usable_watts: Watts(10_200),
        })
    );
    assert_eq!(load(&fleet, "pdu"), 0, "it is no domain that is shown");
    fleet.set_power(breakers(&["pdu"]));
    assert_eq!(
        plan(&mut fleet, std::slice::from_ref(&job))
            .placements
            .len(),
        1
    );
    // It is deleted while in use: nothing more is placed there.
    fleet.set_power(breakers(&[]));
    fleet.set_node(on("pdu", "n1"));
    let next = gang("k", 1, 8);
    assert!(plan(&mut fleet, &[next]).placements.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Whatever comes and goes in whatever order, a breaker carries what reservations on it hold, to the watt.
    #[test]
    fn loads_are_the_sum_of_what_is_held(steps in proptest::collection::vec((0..6_u8, 0..3_usize), 1..40)) {
        let mut fleet = fleet([]);
        fleet.set_power(breakers(&["x", "y"]));
        let feeds = ["x", "y", "x"];
        let mut there = [false; 3];
        for (step, at) in steps {
            let (node, key) = (format!("n{at}"), format!("r{at}"));
            match step {
                0 => fleet.set_node(on(feeds[at], &node)),
                1 => fleet.remove_node("a", &node),
                2 => {
                    there[at] = true;
                    fleet.reserve(Reservation {
                        key,
                        nodes: vec![NodeShare { name: node, replicas: 1 }],
                        watts: Watts(1_000 + at as i64),
                        feeds: vec![NodeFeeds { nodes: 1, domains: vec![feeds[at].to_owned()] }],
                        ..held(true)
                    });
                }
                3 => {
                    there[at] = false;
                    fleet.release(&key);
                }
                4 => fleet.remove_cluster("a"),
                _ => drop(fleet.set_power(breakers(&["x", "y"]))),
            }
            for name in ["x", "y"] {
                let expected: i64 = (0..3)
                    .filter(|at| there[*at] && feeds[*at] == name)
                    .map(|at| 1_000 + at as i64)
                    .sum();
                prop_assert_eq!(load(&fleet, name), expected);
            }
        }
    }
}

#[test]
fn a_cycle_of_breakers_carries_nothing_new_and_keeps_what_it_carries() {
    // The hall hangs on the site, the pdu on the hall.
    let tree = |site_on: &[&str]| {
        let mut power = breakers(&["hall", "pdu", "site"]);
        let parents = [vec!["site"], vec!["hall"], site_on.to_vec()];
        for (domain, parents) in power.domains.iter_mut().zip(parents) {
            domain.parents = parents.into_iter().map(str::to_owned).collect();
        }
        power
    };
    let mut fleet = fleet([
        on("pdu", "n0"),
        on("pdu", "n1"),
        on("hall", "n2"),
        on("site", "n3"),
    ]);
    assert!(fleet.set_power(tree(&[])).is_empty());
    fleet.reserve(held(true));
    for (site_on, in_cycle) in [(["pdu"], 3), (["hall"], 2), (["site"], 1)] {
        let issues = fleet.set_power(tree(&site_on));
        assert_eq!(issues.len(), in_cycle, "{issues:?}");
        for domain in ["hall", "pdu", "site"] {
            assert_eq!(
                load(&fleet, domain),
                20_400,
                "{domain} under a site on {site_on:?}"
            );
        }
        let plan = plan(&mut fleet, &[gang("j", 1, 8)]);
        assert!(plan.placements.is_empty(), "{site_on:?}: {plan:?}");
        let told = plan.unplaced[0].reasons.iter().any(|refusal| {
            let why = &refusal.reason;
            matches!(
                why,
                Reason::PowerDomainClosed {
                    why: PowerClosure::Cycle { .. },
                    ..
                }
            )
        });
        assert!(told, "{site_on:?}: {plan:?}");
    }
    assert!(fleet.set_power(tree(&[])).is_empty());
    assert_eq!(load(&fleet, "site"), 20_400);
}

#[test]
fn a_breaker_that_is_taken_away_carries_nothing_new_and_keeps_what_it_carries() {
    let tree = |is_terminating: bool| {
        let mut power = breakers(&["hall", "pdu"]);
        for domain in &mut power.domains {
            if domain.name == "pdu" {
                domain.parents = vec!["hall".to_owned()];
                domain.is_terminating = is_terminating;
            }
        }
        power
    };
    let mut fleet = fleet([on("pdu", "n0"), on("pdu", "n1")]);
    fleet.set_power(tree(false));
    fleet.reserve(Reservation {
        nodes: vec![NodeShare {
            name: "n0".into(),
            replicas: 1,
        }],
        watts: Watts(5_000),
        ..held(true)
    });
    assert!(fleet.set_power(tree(true)).is_empty(), "that is no mistake");
    for domain in ["pdu", "hall"] {
        assert_eq!(load(&fleet, domain), 5_000, "{domain}");
    }
    let refused = plan(&mut fleet, &[gang("j", 1, 1)]);
    let why = &refused.unplaced[0].reasons[0].reason;
    assert!(
        matches!(why, Reason::PowerDomainClosed { domain, why: PowerClosure::Terminating, .. } if domain == "pdu"),
        "{why:?}"
    );
    fleet.set_power(tree(false));
    assert_eq!(plan(&mut fleet, &[gang("j", 1, 1)]).placements.len(), 1);
}
