//! Builders of nodes, jobs and fleets.

use ampacity_placement::{
    AcceleratorFacts, AcceleratorRequirement, Alternative, Amount, CapacityType, ClusterSpec,
    DeviceGroup, DevicePart, DeviceShare, DollarBudget, Fleet, JobSpec, Kind, LabelSelector,
    MicroUsd, NodePrice, NodeSpec, Objective, Plan, PlanOptions, PodShape, Topology, Watts, Work,
};

/// 700 W of the device and 575 W of its share of the host.
pub const H100: &str = "nvidia-h100-sxm5-80gb";
/// A second type.
pub const L4: &str = "nvidia-l4";

pub fn h100_facts() -> AcceleratorFacts {
    AcceleratorFacts {
        name: H100.into(),
        vendor: "nvidia".into(),
        memory_gib: 80,
        bf16_tflops: 989,
        default_watts: Watts(700),
        host_overhead_watts: Watts(575),
    }
}

pub fn l4_facts() -> AcceleratorFacts {
    AcceleratorFacts {
        name: L4.into(),
        vendor: "nvidia".into(),
        memory_gib: 24,
        bf16_tflops: 121,
        default_watts: Watts(72),
        host_overhead_watts: Watts(60),
    }
}

pub fn cluster(name: &str) -> ClusterSpec {
    ClusterSpec {
        name: name.into(),
        reachable: true,
        ..ClusterSpec::default()
    }
}

/// A healthy node with 8 H100 at $80 an hour on demand, in cluster `a`.
pub fn node(name: &str) -> NodeSpec {
    NodeSpec {
        cluster: "a".into(),
        name: name.into(),
        capacity_type: Some(CapacityType::OnDemand),
        devices: vec![devices(H100, 8)],
        cpu_milli: Amount {
            total: 192_000,
            held: 0,
        },
        memory_mib: Amount {
            total: 2_000_000,
            held: 0,
        },
        pod_slots: Amount {
            total: 110,
            held: 0,
        },
        price: price(80_000_000),
        ..NodeSpec::default()
    }
}

pub fn devices(accelerator_type: &str, devices: u32) -> DeviceGroup {
    DeviceGroup {
        accelerator_type: accelerator_type.into(),
        resource: "nvidia.com/gpu".into(),
        devices,
        ..DeviceGroup::default()
    }
}

/// Units of MIG `1g.10gb`, seven to a device.
pub fn mig(accelerator_type: &str, units: u32) -> DeviceGroup {
    DeviceGroup {
        resource: "nvidia.com/mig-1g.10gb".into(),
        part: DevicePart::Mig("1g.10gb".into()),
        share: DeviceShare::new(1, 7),
        ..devices(accelerator_type, units)
    }
}

/// Time slices, so many to a device.
pub fn slices(accelerator_type: &str, units: u32, of: u32) -> DeviceGroup {
    DeviceGroup {
        resource: "nvidia.com/gpu.shared".into(),
        part: DevicePart::Milli(1000 / of),
        share: DeviceShare::new(1, of),
        ..devices(accelerator_type, units)
    }
}

pub fn price(micro_usd_per_node_hour: i64) -> NodePrice {
    NodePrice {
        usd_per_node_hour: Some(MicroUsd(micro_usd_per_node_hour)),
        sheet: Some("list".into()),
        ..NodePrice::default()
    }
}

/// A gang of `replicas` × `devices` H100 for an hour, in queue `q`, that may use every capacity type.
pub fn gang(key: &str, replicas: u32, devices: u32) -> JobSpec {
    JobSpec {
        key: key.into(),
        namespace: "team".into(),
        queue: "q".into(),
        priority: 0,
        submitted_seconds: 0,
        kind: Kind::Training {
            work: Work::DurationSeconds(3600),
            deadline_seconds: None,
            checkpoint_interval_seconds: 0,
            checkpoint_restore_seconds: 0,
            restores: false,
        },
        objective: Objective::Cost,
        budget: DollarBudget::default(),
        capacity_types: CapacityType::ALL.to_vec(),
        clusters: LabelSelector::default(),
        excluded_clusters: Vec::new(),
        topology: Topology::default(),
        egress: Vec::new(),
        alternatives: vec![alternative("h100", H100, replicas, devices)],
    }
}

pub fn alternative(name: &str, accelerator: &str, replicas: u32, devices: u32) -> Alternative {
    Alternative {
        name: name.into(),
        accelerator: AcceleratorRequirement::Named(accelerator.into()),
        part: DevicePart::Whole,
        devices_per_replica: devices,
        replicas,
        throughput_micro: Some(1_000_000),
        pod: PodShape::default(),
    }
}

/// A gang of `replicas` pods that each ask for one unit of a part of an H100.
pub fn parted(key: &str, replicas: u32, part: DevicePart) -> JobSpec {
    let mut job = gang(key, replicas, 1);
    job.alternatives[0].part = part;
    job
}

/// A fleet with both accelerator types, cluster `a` and these nodes.
pub fn fleet(nodes: impl IntoIterator<Item = NodeSpec>) -> Fleet {
    let mut fleet = Fleet::new();
    fleet.set_accelerator(h100_facts());
    fleet.set_accelerator(l4_facts());
    fleet.set_cluster(cluster("a"));
    for node in nodes {
        fleet.set_node(node);
    }
    fleet
}

pub fn plan(fleet: &mut Fleet, jobs: &[JobSpec]) -> Plan {
    fleet.plan(jobs, &PlanOptions::default())
}
