//! Table cases: MIG instances and time slices, what they cost and who gets them.

mod world;

use ampacity_placement::{
    DevicePart, Fix, MicroUsd, NodePrice, NodeSpec, PlacementDecision, Plan, Reason, Watts,
};
use world::{H100, devices, fleet, gang, mig, node, parted, plan, price, slices};

fn one_g() -> DevicePart {
    DevicePart::Mig("1g.10gb".into())
}

/// A node at $56 an hour with 8 H100: four whole, four in 28 MIG instances.
fn mixed() -> NodeSpec {
    NodeSpec {
        devices: vec![devices(H100, 4), mig(H100, 28)],
        price: price(56_000_000),
        ..node("mixed")
    }
}

/// The same in slices, so many to a device.
fn sliced(name: &str, of: u32) -> NodeSpec {
    NodeSpec {
        devices: vec![slices(H100, 8 * of, of)],
        price: price(56_000_000),
        ..node(name)
    }
}

fn only(plan: &Plan) -> &PlacementDecision {
    assert_eq!(plan.placements.len(), 1, "{plan:?}");
    &plan.placements[0]
}

#[test]
fn a_part_pays_its_share_in_dollars_and_watts() {
    let owned = NodePrice {
        usd_per_device_hour: Some(MicroUsd(700_000)),
        usd_per_kwh: MicroUsd(100_000),
        pue_micro: 1_000_000,
        ..NodePrice::default()
    };
    let at = |price: NodePrice, node: NodeSpec| NodeSpec { price, ..node };
    let said = |devices: u32| {
        let mut node = mixed();
        node.devices.remove(0);
        node.devices[0].node_devices = devices;
        node
    };
    let milli = DevicePart::Milli(250);
    let mut pair = parted("j", 1, one_g());
    pair.alternatives[0].devices_per_replica = 2;
    // Node, job, micro-dollars per hour, watts of a device's 1275.
    let cases = [
        ("whole", mixed(), gang("j", 1, 1), 7_000_000, 1275),
        (
            "a seventh",
            mixed(),
            parted("j", 1, one_g()),
            1_000_000,
            183,
        ),
        ("two sevenths", mixed(), pair, 2_000_000, 366),
        (
            "a quarter",
            sliced("n", 4),
            parted("j", 1, milli.clone()),
            1_750_000,
            319,
        ),
        (
            "a third, not 333/1000",
            sliced("n", 3),
            parted("j", 3, milli.clone()),
            7_000_000,
            3 * 425,
        ),
        (
            "of the devices that there are",
            said(8),
            parted("j", 1, one_g()),
            1_000_000,
            183,
        ),
        (
            "of those that are seen",
            said(0),
            parted("j", 1, one_g()),
            2_000_000,
            183,
        ),
        // $0.70 / 7 and 0.183 kW at $0.10.
        (
            "owned, with electricity",
            at(owned.clone(), mixed()),
            parted("j", 1, one_g()),
            118_300,
            183,
        ),
        (
            "an owned slice",
            at(owned, sliced("n", 4)),
            parted("j", 1, milli),
            175_000 + 31_900,
            319,
        ),
    ];
    for (name, node, job, usd, watts) in cases {
        let plan = plan(&mut fleet([node]), &[job]);
        let decision = only(&plan);
        assert_eq!(decision.usd_per_hour, MicroUsd(usd), "{name}");
        assert_eq!(decision.reservation.watts, Watts(watts), "{name}");
    }
}

#[test]
fn the_smallest_slice_that_is_large_enough_is_the_cheapest() {
    // Asked for, given, on which node.
    let cases = [
        (100, 250, "quarters"),
        (250, 250, "quarters"),
        (251, 500, "halves"),
        (500, 500, "halves"),
    ];
    for (asked, given, on) in cases {
        let mut fleet = fleet([sliced("halves", 2), sliced("quarters", 4)]);
        let plan = plan(&mut fleet, &[parted("j", 1, DevicePart::Milli(asked))]);
        let held = &only(&plan).reservation;
        assert_eq!(held.part, DevicePart::Milli(given), "{asked}");
        assert_eq!(held.nodes[0].name, on, "{asked}");
    }
}

#[test]
fn whole_devices_and_parts_are_counted_apart() {
    let mut fleet = fleet([mixed()]);
    let first = |mut job: ampacity_placement::JobSpec| {
        job.priority = 1;
        job
    };
    let jobs = [
        first(gang("whole", 4, 1)),
        first(parted("parts", 28, one_g())),
        gang("more", 1, 1),
        parted("more-parts", 1, one_g()),
    ];
    let first = plan(&mut fleet, &jobs);
    let placed: Vec<&str> = first.placements.iter().map(|d| d.job.as_str()).collect();
    assert_eq!(placed, ["parts", "whole"]);
    assert_eq!(only_total(&fleet), (4, 0));
    let usd: MicroUsd = first.placements.iter().map(|d| d.usd_per_hour).sum();
    assert_eq!(usd, MicroUsd(56_000_000), "the node, once");
    for decision in &first.placements {
        assert!(fleet.release(&decision.reservation.key));
    }
    assert_eq!(only_total(&fleet), (4, 4));
}

/// Whole H100 in cluster `a`: all and free.
fn only_total(fleet: &ampacity_placement::Fleet) -> (u64, u64) {
    let count = fleet.devices("a")[H100];
    (count.total, count.free)
}

#[test]
fn what_a_slice_held_stays_held_when_its_node_is_cut_anew() {
    let mut fleet = fleet([sliced("n", 4)]);
    let first = plan(&mut fleet, &[parted("j", 8, DevicePart::Milli(250))]);
    assert_eq!(only(&first).reservation.part, DevicePart::Milli(250));
    fleet.set_node(sliced("n", 2));
    let rest = plan(&mut fleet, &[parted("k", 9, DevicePart::Milli(500))]);
    assert!(rest.placements.is_empty(), "8 of 16 halves are held");
    let fits = plan(&mut fleet, &[parted("k", 8, DevicePart::Milli(500))]);
    assert_eq!(fits.placements.len(), 1);
}

#[test]
fn a_verdict_says_what_parts_there_are_and_which_would_do() {
    let mig_of = |profile: &str| DevicePart::Mig(profile.into());
    let with = |profile: &str, parts: u32, units: u32| {
        let mut group = mig(H100, units);
        group.resource = format!("nvidia.com/mig-{profile}");
        group.part = mig_of(profile);
        group.share = ampacity_placement::DeviceShare::new(parts, 7);
        group
    };
    let node_with = |groups| NodeSpec {
        devices: groups,
        ..node("n")
    };
    let change = |part: DevicePart| {
        Some(Fix::ChangePart {
            alternative: "h100".into(),
            part,
        })
    };
    let whole = DevicePart::Whole;
    let cases = [
        (
            "parts are asked for and there are none",
            node("n"),
            parted("j", 2, one_g()),
            one_g(),
            vec![(whole.clone(), 8)],
            change(whole.clone()),
        ),
        (
            "the next larger profile",
            node_with(vec![
                with("1g.5gb", 1, 7),
                with("3g.40gb", 3, 2),
                with("2g.20gb", 2, 3),
                devices(H100, 1),
            ]),
            parted("j", 1, one_g()),
            one_g(),
            vec![
                (whole.clone(), 1),
                (mig_of("3g.40gb"), 2),
                (mig_of("2g.20gb"), 3),
                (mig_of("1g.5gb"), 7),
            ],
            change(mig_of("2g.20gb")),
        ),
        (
            "slices are too small",
            sliced("n", 4),
            parted("j", 1, DevicePart::Milli(300)),
            DevicePart::Milli(300),
            vec![(DevicePart::Milli(250), 32)],
            Some(Fix::ChangeJob),
        ),
        (
            "a part is no whole device",
            node_with(vec![with("7g.80gb", 7, 8)]),
            gang("j", 1, 1),
            whole,
            vec![(mig_of("7g.80gb"), 8)],
            Some(Fix::ChangeJob),
        ),
    ];
    for (name, node, job, part, exists, fix) in cases {
        let plan = plan(&mut fleet([node]), &[job]);
        let reason = Reason::NoSuchPart {
            wanted: H100.into(),
            part,
            exists,
        };
        let unplaced = &plan.unplaced[0];
        assert_eq!(unplaced.reasons[0].reason, reason, "{name}");
        assert_eq!(unplaced.fix, fix, "{name}");
    }
}

#[test]
fn parts_that_are_full_are_short_like_devices() {
    let mut node = mixed();
    node.devices[1].held = 26;
    let plan = plan(&mut fleet([node]), &[parted("j", 3, one_g())]);
    assert_eq!(
        plan.unplaced[0].reasons[0].reason,
        Reason::InsufficientDevices {
            needed: 3,
            available: 2
        }
    );
}
