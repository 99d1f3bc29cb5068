//! Gangs on the scale-up fabrics there are: NVL72 racks, Trainium UltraServers, TPU slices.

mod world;

use std::collections::BTreeMap;

use ampacity_placement::{Fix, Fleet, JobSpec, Level, NodeSpec};
use world::{H100, devices, fleet, gang, node, plan};

/// Name, nodes of a domain, devices of a node. Sources: the vendors' pages on GB200 NVL72 (18 trays of 4), Trn2 and Trn3 UltraServers
/// (4 instances of 16, 36 of 4) and GKE's TPU v5p topologies (4x4x8 is 32 hosts of 4 chips).
const FABRICS: [(&str, u32, u32); 4] = [
    ("NVL72", 18, 4),
    ("trn2u", 4, 16),
    ("trn3u", 36, 4),
    ("v5p-4x4x8", 32, 4),
];

/// Three domains of a fabric, in which so many nodes each are in use.
fn domains(nodes: u32, each: u32, in_use: [u32; 3]) -> Fleet {
    let all = in_use.into_iter().enumerate().flat_map(|(domain, in_use)| {
        (0..nodes).map(move |at| {
            let mut group = devices(H100, each);
            group.held = if at < in_use { each } else { 0 };
            NodeSpec {
                devices: vec![group],
                domains: BTreeMap::from([(Level::NvlinkDomain, format!("d{domain}"))]),
                ..node(&format!("d{domain}-{at:02}"))
            }
        })
    });
    fleet(all)
}

fn within_one(replicas: u32, each: u32) -> JobSpec {
    let mut job = gang("j", replicas, each);
    job.topology.required = Level::NvlinkDomain;
    job
}

#[test]
fn a_gang_as_large_as_a_domain_takes_the_one_that_is_free_in_order() {
    for (name, nodes, each) in FABRICS {
        let plan = plan(
            &mut domains(nodes, each, [1, 0, 2]),
            &[within_one(nodes, each)],
        );
        let held = &plan.placements[0].reservation.nodes;
        let names: Vec<&str> = held.iter().map(|share| share.name.as_str()).collect();
        let expected: Vec<String> = (0..nodes).map(|at| format!("d1-{at:02}")).collect();
        assert_eq!(names, expected, "{name}");
    }
}

#[test]
fn a_part_of_a_domain_is_taken_where_the_least_is_left() {
    for (name, nodes, each) in FABRICS {
        // 1, 2 and all nodes are free; the gang needs 2.
        let in_use = [nodes - 1, nodes - 2, 0];
        let plan = plan(&mut domains(nodes, each, in_use), &[within_one(2, each)]);
        let held = &plan.placements[0].reservation.nodes;
        assert!(
            held.iter().all(|share| share.name.starts_with("d1-")),
            "{name}: {held:?}"
        );
    }
}

#[test]
fn free_nodes_of_several_domains_are_no_domain() {
    for (name, nodes, each) in FABRICS {
        // One node is in use in each: no domain is whole, though three times as many are free.
        let mut fleet = domains(nodes, each, [1, 1, 1]);
        let refused = plan(&mut fleet, &[within_one(nodes, each)]);
        assert!(refused.placements.is_empty(), "{name}");
        let fix = refused.unplaced[0].fix.clone();
        let helps = matches!(
            fix,
            Some(Fix::RelaxTopology { .. } | Fix::FreeDevices { .. } | Fix::AddNodes { .. })
        );
        assert!(helps, "{name}: {fix:?}");
        // Where it would only like to have one, it takes what there is.
        let mut preferring = gang("j", nodes, each);
        preferring.topology.preferred = Some(Level::NvlinkDomain);
        assert_eq!(
            plan(&mut fleet, &[preferring]).placements.len(),
            1,
            "{name}"
        );
    }
}

#[test]
fn a_gang_larger_than_a_domain_cannot_have_one() {
    for (name, nodes, each) in FABRICS {
        let mut fleet = domains(nodes, each, [0, 0, 0]);
        let refused = plan(&mut fleet, &[within_one(nodes + 1, each)]);
        let fix = refused.unplaced[0].fix.clone();
        assert!(
            matches!(fix, Some(Fix::RelaxTopology { .. })),
            "{name}: {fix:?}"
        );
    }
}
