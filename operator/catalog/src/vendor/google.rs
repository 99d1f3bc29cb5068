//! Google TPUs.
//!
//! Sources: GKE's documentation of TPU node pools and labels, the TPU DRA driver, JAX on Cloud TPU.

use ampacity_placement::Labels;

use super::facts::{Fabric, FamilyFacts, Sign};
use crate::evidence::{Clues, DeviceQuery, Found};
use crate::published::Dra;
use crate::rendezvous::{EnvGroup, EnvValue, Processes, Rendezvous};
use crate::resource::Unit;

const TPU: &str = "google.com/tpu";
const ACCELERATOR: &str = "cloud.google.com/gke-tpu-accelerator";
/// Chips of a host where nothing says so.
const CHIPS_PER_HOST: u64 = 4;

pub(super) const TPUS: FamilyFacts = FamilyFacts {
    name: "google-tpu",
    vendor: "google",
    resources: &[(TPU, Unit::Device)],
    device_resources: &[TPU],
    // A TPU VM has 1, 4 or 8 chips, and its runtime takes hold of all of them: GKE asks for requests of all chips of a host.
    most_devices: |_| Some(8),
    whole_nodes: true,
    dra: Dra {
        drivers: &["tpu.google.com"],
        model: |device| device.text("tpuGen"),
        ..Dra::NONE
    },
    taint_keys: &[TPU],
    signs: &[Sign::Label(ACCELERATOR)],
    name_kinds: &["gke-tpu", "tpu-gen"],
    identify,
    fabric: Fabric {
        labels: &[],
        domain: slice,
    },
    rendezvous: Rendezvous {
        processes: Processes::PerReplica,
        environment: &[
            EnvGroup {
                yields_to: None,
                variables: &[("TPU_WORKER_ID", EnvValue::Rank)],
            },
            EnvGroup {
                yields_to: None,
                variables: &[("TPU_WORKER_HOSTNAMES", EnvValue::HostNames)],
            },
        ],
    },
    ..FamilyFacts::NONE
};

fn identify(query: &DeviceQuery<'_>, clues: &mut Clues) -> Found {
    if let Some(generation) = query.model {
        let value = generation.to_ascii_lowercase();
        let found = clues.look_up("tpu-gen", "tpuGen", generation, &value, None);
        if found.is_some() {
            return found;
        }
    }
    let value = query.labels.get(ACCELERATOR)?;
    clues.look_up(
        "gke-tpu",
        ACCELERATOR,
        value,
        &value.to_ascii_lowercase(),
        None,
    )
}

/// A multi-host slice is one node pool; its topology (`4x4`) has more chips than the node.
fn slice(labels: &Labels) -> Option<String> {
    let topology = labels.get("cloud.google.com/gke-tpu-topology")?;
    let mut chips: u64 = 1;
    for side in topology.split('x') {
        chips = chips.checked_mul(side.parse().ok()?)?;
    }
    let per_host: u64 = labels
        .get("cloud.google.com/gke-accelerator-count")
        .and_then(|count| count.parse().ok())
        .unwrap_or(CHIPS_PER_HOST);
    let pool = labels.get("cloud.google.com/gke-nodepool")?;
    (chips > per_host).then(|| pool.clone())
}
