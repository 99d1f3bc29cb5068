//! A decision for replicas that their member's scheduler places, cut into parts within which it can only do what was decided.

use std::collections::BTreeMap;

use ampacity_placement::{MicroUsd, NodeFeeds, NodeShare, PlacementDecision, Watts};

/// Most nodes of one Placement whose replicas the member's scheduler places: each of its pods names all of them.
const MOST_NODES: usize = 64;

/// Cuts a decision so that each part has nodes of the same power domains with as many replicas on each.
///
/// One workload runs each part, requires its nodes and spreads over them evenly: so many on each node is then the only way in which
/// all of them fit, whichever the member's scheduler starts with. Were nodes of two breakers, or of unequal counts, in one part, it
/// could put more on a node than was charged there.
pub(super) fn split(decision: PlacementDecision) -> Vec<PlacementDecision> {
    let reservation = &decision.reservation;
    let mut alike: BTreeMap<(&[String], u32), Vec<NodeShare>> = BTreeMap::new();
    for (share, feeds) in reservation.nodes.iter().zip(reservation.feeds_of_nodes()) {
        let nodes = alike.entry((feeds.unwrap_or_default(), share.replicas));
        nodes.or_default().push(share.clone());
    }
    let parts: Vec<(Vec<String>, Vec<NodeShare>)> = alike
        .into_iter()
        .flat_map(|((feeds, _), nodes)| {
            let chunks: Vec<Vec<NodeShare>> = nodes.chunks(MOST_NODES).map(<[_]>::to_vec).collect();
            chunks.into_iter().map(move |nodes| (feeds.to_vec(), nodes))
        })
        .collect();
    if parts.len() <= 1 {
        return vec![decision];
    }
    let has_feeds = !reservation.feeds.is_empty();
    let all = i64::from(decision.replicas().max(1));
    let (watts, usd) = (reservation.watts.0, decision.usd_per_hour.0);
    let mut before = 0_i64;
    parts
        .into_iter()
        .map(|(feeds, nodes)| {
            let replicas = nodes
                .iter()
                .map(|share| i64::from(share.replicas))
                .sum::<i64>();
            let after = before.saturating_add(replicas);
            // What is left of the part before is in this one, so that the sum is what it was.
            let of = |whole: i64| share_of(whole, after, all) - share_of(whole, before, all);
            let mut part = decision.clone();
            part.reservation.watts = Watts(of(watts));
            part.usd_per_hour = MicroUsd(of(usd));
            part.reservation.feeds = Vec::new();
            if has_feeds {
                part.reservation.feeds = NodeFeeds::runs(nodes.iter().map(|_| feeds.as_slice()));
            }
            part.reservation.nodes = nodes;
            before = after;
            part
        })
        .collect()
}

/// `part` of `all` of a whole.
fn share_of(whole: i64, part: i64, all: i64) -> i64 {
    i64::try_from(i128::from(whole) * i128::from(part) / i128::from(all)).unwrap_or(whole)
}

#[cfg(test)]
mod tests {
    use ampacity_placement::{CapacityType, DevicePart, Reservation};
    use proptest::prelude::*;

    use super::*;

    fn decision(nodes: &[(String, u32, Vec<String>)]) -> PlacementDecision {
        let shares = nodes.iter().map(|(name, replicas, _)| NodeShare {
            name: name.clone(),
            replicas: *replicas,
        });
        PlacementDecision {
            job: "a/b".to_owned(),
            reservation: Reservation {
                key: "a/b/0".to_owned(),
                queue: "default".to_owned(),
                cluster: "oslo".to_owned(),
                accelerator_type: "nvidia-l40s".to_owned(),
                part: DevicePart::Whole,
                devices_per_replica: 1,
                cpu_milli: 0,
                memory_mib: 0,
                other: Default::default(),
                nodes: shares.collect(),
                watts: Watts(1001),
                feeds: NodeFeeds::runs(nodes.iter().map(|(_, _, feeds)| feeds.as_slice())),
                ends_seconds: None,
            },
            alternative: "a".to_owned(),
            resource: "nvidia.com/gpu".to_owned(),
            capacity_type: CapacityType::Owned,
            power_cap_watts: Watts(350),
            usd_per_hour: MicroUsd(700_001),
            usd_total: MicroUsd(0),
            usd_egress: MicroUsd(0),
            start_seconds: 0,
            duration_seconds: None,
            price_sheet: None,
            unpriced: false,
        }
    }

    fn node(number: usize) -> impl Strategy<Value = (String, u32, Vec<String>)> {
        let feeds = prop_oneof![
            Just(vec![]),
            Just(vec!["a".to_owned()]),
            Just(vec!["a".to_owned(), "b".to_owned()])
        ];
        (1..3_u32, feeds).prop_map(move |(replicas, feeds)| (format!("n{number}"), replicas, feeds))
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_each_part_can_only_be_carried_out_as_decided(
            nodes in (1..200_usize).prop_flat_map(|count| (0..count).map(node).collect::<Vec<_>>())
        ) {
            let whole = decision(&nodes);
            let parts = split(whole.clone());
            let mut there: BTreeMap<String, (u32, Vec<String>)> = BTreeMap::new();
            for part in &parts {
                let held = &part.reservation;
                prop_assert!(held.nodes.len() <= MOST_NODES || parts.len() == 1 && nodes.len() <= MOST_NODES);
                let feeds: Vec<Vec<String>> = held.feeds_of_nodes().map(|f| f.unwrap_or_default().to_vec()).collect();
                prop_assert!(feeds.windows(2).all(|two| two[0] == two[1]), "{feeds:?}");
                prop_assert!(held.nodes.windows(2).all(|two| two[0].replicas == two[1].replicas));
                for (share, feeds) in held.nodes.iter().zip(feeds) {
                    there.insert(share.name.clone(), (share.replicas, feeds));
                }
            }
            let expected: BTreeMap<String, (u32, Vec<String>)> =
                nodes.into_iter().map(|(name, replicas, feeds)| (name, (replicas, feeds))).collect();
            prop_assert_eq!(there, expected);
            prop_assert_eq!(parts.iter().map(|p| p.reservation.watts.0).sum::<i64>(), whole.reservation.watts.0);
            prop_assert_eq!(parts.iter().map(|p| p.usd_per_hour.0).sum::<i64>(), whole.usd_per_hour.0);
        }
    }
}
