//! AWS Trainium and Inferentia, and the labels by which AWS names the devices of any vendor.
//!
//! Sources: the Neuron device plugin and DRA driver, Karpenter's AWS provider (reference/instance-types.md), EKS Auto Mode, AWS
//! Neuron documentation (hardware architecture, logical NeuronCore configuration, torch-neuronx).

use super::facts::{Fabric, FamilyFacts, Sign};
use crate::evidence::{Clues, DeviceQuery, Found};
use crate::part::NotAskable;
use crate::published::{Dra, PublishedDevice, PublishedKind};
use crate::rendezvous::{Cores, EnvGroup, EnvValue, Processes, Rendezvous, TypeCores};
use crate::resource::Unit;

const NEURON: &str = "aws.amazon.com/neuron";
const NEURON_CORE: &str = "aws.amazon.com/neuroncore";
/// The chip under its older name.
const NEURON_DEVICE: &str = "aws.amazon.com/neurondevice";

/// Port of Neuron's root communicator, the default of torch-neuronx. It must differ from torch's own rendezvous port.
pub const NEURON_ROOT_COMM_PORT: u16 = 62_182;

/// Kind of row in `data/names.csv`: GPU and accelerator names of AWS; `name:MiB` where one name covers several sizes.
pub(super) const NAMES: &str = "aws";
/// Karpenter's label with the GPU's name; it is written for the cards of all makers.
pub(super) const KARPENTER_GPU: Sign = Sign::LabelOfMaker(
    "karpenter.k8s.aws/instance-gpu-name",
    "karpenter.k8s.aws/instance-gpu-manufacturer",
);
/// As [`KARPENTER_GPU`], of EKS Auto Mode.
pub(super) const EKS_GPU: Sign = Sign::LabelOfMaker(
    "eks.amazonaws.com/instance-gpu-name",
    "eks.amazonaws.com/instance-gpu-manufacturer",
);

pub(super) const NEURONS: FamilyFacts = FamilyFacts {
    name: "aws-neuron",
    vendor: "aws",
    resources: &[
        (NEURON, Unit::Device),
        (NEURON_DEVICE, Unit::DeviceAlias),
        (NEURON_CORE, Unit::Core),
        ("aws.amazon.com/neuron*", Unit::Unlisted),
    ],
    device_resources: &[NEURON, NEURON_DEVICE],
    cores_per_device: Some(2),
    most_devices: |_| Some(16),
    dra: Dra {
        drivers: &["neuron.aws.com"],
        pods: &["*neuron-dra-driver*-kubelet-plugin-*"],
        instance_type: Some("instanceType"),
        kind: published_kind,
        ..Dra::NONE
    },
    taint_keys: &[NEURON, NEURON_CORE, NEURON_DEVICE],
    name_kinds: &[NAMES],
    identify: by_instance_labels,
    fabric: Fabric {
        // Four Trn2 instances are one UltraServer.
        labels: &["neuron.amazonaws.com/ultraserver-server-id-4"],
        ..FamilyFacts::NONE.fabric
    },
    rendezvous: Rendezvous {
        processes: Processes::PerCore(CORES),
        environment: &[
            EnvGroup {
                yields_to: None,
                variables: &[(
                    "NEURON_RT_ROOT_COMM_ID",
                    EnvValue::MasterAt(NEURON_ROOT_COMM_PORT),
                )],
            },
            // One process per replica, as JAX and SPMD programs want it. torchrun makes one process per core and torch-xla works
            // these out for each itself, unless it finds them set: then it would use the wrong ones.
            EnvGroup {
                yields_to: Some("NEURON_PJRT_"),
                variables: &[
                    (
                        "NEURON_PJRT_PROCESSES_NUM_DEVICES",
                        EnvValue::CoresOfEachReplica,
                    ),
                    ("NEURON_PJRT_PROCESS_INDEX", EnvValue::Rank),
                ],
            },
        ],
    },
    ..FamilyFacts::NONE
};

/// Two physical cores make a logical one on Trainium2 and later, unless the program says otherwise.
const CORES: Cores = Cores {
    of_types: &[
        cores("aws-inferentia1", 4, 1),
        cores("aws-inferentia2", 2, 1),
        cores("aws-trainium1", 2, 1),
        cores("aws-trainium2", 8, 2),
        cores("aws-trainium3", 8, 2),
    ],
    size_variables: &["NEURON_LOGICAL_NC_CONFIG", "NEURON_RT_VIRTUAL_CORE_SIZE"],
};

const fn cores(accelerator_type: &'static str, physical: i32, per_logical: i32) -> TypeCores {
    TypeCores {
        accelerator_type,
        physical,
        per_logical,
    }
}

/// The type by the labels of Karpenter and EKS Auto Mode, for devices of any vendor.
pub(super) fn by_instance_labels(query: &DeviceQuery<'_>, clues: &mut Clues) -> Found {
    for prefix in ["karpenter.k8s.aws", "eks.amazonaws.com"] {
        let memory = query
            .labels
            .get(&format!("{prefix}/instance-gpu-memory"))
            .and_then(|m| m.parse().ok());
        for what in ["instance-gpu-name", "instance-accelerator-name"] {
            let key = format!("{prefix}/{what}");
            if let Some(value) = query.labels.get(&key)
                && let Some(found) =
                    clues.look_up(NAMES, &key, value, &value.to_ascii_lowercase(), memory)
            {
                return Some(found);
            }
        }
    }
    None
}

fn published_kind(device: &dyn PublishedDevice) -> PublishedKind {
    match device.text("resourceType").unwrap_or_default() {
        "" | "neuron_device" => PublishedKind::Whole,
        "neuron_core" => PublishedKind::Split(NotAskable::Cores),
        _ => PublishedKind::Other,
    }
}
