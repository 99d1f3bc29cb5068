//! Inference replicas with a spread cost the least, held against every way to spread them.
#![allow(clippy::unwrap_used)]

mod world;

use ampacity_placement::{Fleet, JobSpec, Kind, Level, MicroUsd, NodeSpec, Plan, Spread};
use proptest::prelude::*;

use world::{H100, L4, alternative, cluster, devices, fleet, gang, node, plan, price};

/// A node of one type in one cluster and zone.
#[derive(Clone, Debug)]
struct Host {
    cluster: usize,
    zone: usize,
    h100: bool,
    devices: u32,
    held: u32,
    usd_per_device: i64,
}

#[derive(Clone, Debug)]
struct Instance {
    hosts: Vec<Host>,
    by: Level,
    max_skew: u32,
    replicas: u32,
    /// Devices of a replica on an H100 and on an L4.
    each: (u32, u32),
}

fn host() -> impl Strategy<Value = Host> {
    let size = prop_oneof![Just(1_u32), Just(2), Just(4), Just(8)];
    (
        0..3_usize,
        0..2_usize,
        any::<bool>(),
        size,
        0..3_u32,
        1..12_i64,
    )
        .prop_map(|(cluster, zone, h100, devices, held, usd)| Host {
            cluster,
            zone,
            h100,
            devices,
            held: held.min(devices),
            usd_per_device: usd,
        })
}

fn instance() -> impl Strategy<Value = Instance> {
    let by = prop_oneof![Just(Level::Cluster), Just(Level::Zone), Just(Level::Node)];
    let each = prop_oneof![Just(1_u32), Just(2), Just(4)];
    (
        proptest::collection::vec(host(), 1..7),
        by,
        1..4_u32,
        1..9_u32,
        (each.clone(), each),
    )
        .prop_map(|(hosts, by, max_skew, replicas, each)| Instance {
            hosts,
            by,
            max_skew,
            replicas,
            each,
        })
}

impl Instance {
    fn each(&self, host: &Host) -> u32 {
        if host.h100 { self.each.0 } else { self.each.1 }
    }

    fn domain(&self, at: usize) -> (usize, usize) {
        let host = &self.hosts[at];
        match self.by {
            Level::Cluster => (host.cluster, 0),
            Level::Zone => (host.cluster, host.zone),
            _ => (at, 0),
        }
    }

    fn fleet(&self) -> Fleet {
        let mut fleet = fleet([]);
        for at in 0..3 {
            fleet.set_cluster(cluster(&format!("c{at}")));
        }
        for (at, host) in self.hosts.iter().enumerate() {
            let mut group = devices(if host.h100 { H100 } else { L4 }, host.devices);
            group.held = host.held;
            fleet.set_node(NodeSpec {
                cluster: format!("c{}", host.cluster),
                zone: format!("z{}", host.zone),
                devices: vec![group],
                price: price(host.usd_per_device * i64::from(host.devices) * 1_000_000),
                ..node(&format!("n{at}"))
            });
        }
        fleet
    }

    fn job(&self) -> JobSpec {
        let mut job = gang("serve", 1, 1);
        job.kind = Kind::Inference {
            replicas: self.replicas,
            placed: Vec::new(),
            spread: Some(Spread {
                by: self.by,
                max_skew: self.max_skew,
            }),
        };
        job.alternatives = vec![
            alternative("h100", H100, 0, self.each.0),
            alternative("l4", L4, 0, self.each.1),
        ];
        job
    }

    /// Most replicas and what they cost at least, over every number of replicas in every domain.
    fn exact(&self) -> (u32, i64) {
        let mut slots: std::collections::BTreeMap<(usize, usize), Vec<i64>> = Default::default();
        for (at, host) in self.hosts.iter().enumerate() {
            let each = self.each(host);
            // Nodes that are too small even when nothing runs make no domain; those that are full do.
            let room = (host.devices - host.held) / each;
            let usd = host.usd_per_device * i64::from(each);
            if host.devices < each {
                continue;
            }
            let of_domain = slots.entry(self.domain(at)).or_default();
            of_domain.extend((0..room).map(|_| usd));
        }
        let domains: Vec<Vec<i64>> = slots
            .into_values()
            .map(|mut slots| {
                slots.sort_unstable();
                slots
            })
            .collect();
        let mut best = (0, 0);
        if domains.is_empty() {
            return best;
        }
        let mut counts = vec![0_usize; domains.len()];
        loop {
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            let total = u32::try_from(counts.iter().sum::<usize>()).unwrap();
            if total <= self.replicas
                && (domains.len() == 1 || most - least <= self.max_skew as usize)
            {
                let usd: i64 = domains
                    .iter()
                    .zip(&counts)
                    .map(|(slots, count)| slots[..*count].iter().sum::<i64>())
                    .sum();
                if total > best.0 || (total == best.0 && usd < best.1) {
                    best = (total, usd);
                }
            }
            let Some(at) = (0..counts.len())
                .find(|&at| counts[at] < domains[at].len() && counts[at] < self.replicas as usize)
            else {
                return best;
            };
            counts[at] += 1;
            counts[..at].fill(0);
        }
    }
}

fn outcome(plan: &Plan) -> (u32, i64) {
    let replicas = plan.placements.iter().map(|p| p.replicas()).sum();
    let usd = plan
        .placements
        .iter()
        .map(|p| p.usd_per_hour)
        .sum::<MicroUsd>();
    (replicas, usd.0 / 1_000_000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_spread_costs_less(instance in instance()) {
        let found = outcome(&plan(&mut instance.fleet(), &[instance.job()]));
        prop_assert_eq!(found, instance.exact());
    }
}

// The cheap node has room for both: a spread over the one cluster there is asks for nothing else.
#[test]
fn one_cluster_is_filled_from_the_cheapest() {
    let instance = Instance {
        hosts: vec![
            Host {
                cluster: 0,
                zone: 0,
                h100: false,
                devices: 8,
                held: 0,
                usd_per_device: 1,
            },
            Host {
                cluster: 0,
                zone: 0,
                h100: true,
                devices: 8,
                held: 0,
                usd_per_device: 8,
            },
        ],
        by: Level::Cluster,
        max_skew: 1,
        replicas: 2,
        each: (8, 1),
    };
    let found = outcome(&plan(&mut instance.fleet(), &[instance.job()]));
    assert_eq!(found, (2, 2));
}

// $108 with one replica in each dear domain and the rest in the cheap one; $112 where domains are filled as they come.
#[test]
fn a_dear_domain_gets_one_so_that_the_cheap_one_may_have_three() {
    let host = |cluster, usd_per_device| Host {
        cluster,
        zone: 0,
        h100: true,
        devices: 8,
        held: 0,
        usd_per_device,
    };
    let instance = Instance {
        hosts: vec![host(0, 1), host(1, 5), host(2, 100)],
        by: Level::Cluster,
        max_skew: 2,
        replicas: 5,
        each: (1, 1),
    };
    let found = outcome(&plan(&mut instance.fleet(), &[instance.job()]));
    assert_eq!(found, (5, 108));
}
