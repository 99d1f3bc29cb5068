//! From what hub and members show to the engine's fleet: [`refresh_facts`] for catalogue, prices and power, [`refresh()`] for
//! clusters and nodes that changed, [`node_spec`] for one node.
//!
//! ```text
//!  Node ───────────┐
//!  ResourceSlices ─┼─ node_spec ──▶ NodeSpec   what can be placed there
//!  HeldOnNode ─────┤                notes      what was odd, and what to do about it
//!  MemberContext ──┘                unsupported  devices that are there and cannot be asked for
//!
//!  Pod ── pod_usage ──▶ PodUsage ──▶ HeldOnNode ◀── ResourceClaims
//! ```
//!
//! No clock, no I/O: [`refresh()`] and [`refresh_facts`] change the state they are given, all else is a pure function of its
//! arguments (`pod_usage` is the state's: it reads one pod alone). Objects are read leniently, because files and old
//! clusters leave things out: what is missing is absent, what cannot be read becomes a note, and the rest goes on.
//!
//! Rules worth knowing:
//!
//! * `allocatable` decides what can be used; where it is absent, `capacity` stands for it, as in the API server's own defaulting.
//! * MIG instances and time slices of NVIDIA devices are groups of their own, never whole devices. AMD partitions, vGPU profiles
//!   and the shares of HAMi and Volcano cannot be asked for: they are listed in [`NodeInventory::unsupported`].
//! * Devices that are there and that no pod can be given (not allocatable, tainted, their driver down) are counted apart, so that
//!   the verdict can say so.
//! * Silicon counts once: a whole device that could be cut up, and the instances that could be cut from it, are one device.
//! * A device that is shown in several ways (device plugin and DRA; `neuron`, `neurondevice` and `neuroncore`) counts once.
//! * A device whose model nothing tells is unsupported too, with a note that says how to name it.
//! * Windows nodes offer nothing: their notes say so. CPU architecture is no filter here, since only the job knows what its image
//!   runs on: templates select `kubernetes.io/arch`, which stays among the node's labels.

mod capacity_type;
mod cluster;
mod devices;
mod dra;
mod dra_facts;
mod extended;
mod facts;
mod feeds;
mod health;
mod held;
mod node;
mod note;
mod parts;
mod platform;
mod power;
mod refresh;
mod resources;
mod signs;
mod topology;

pub use dra_facts::DraFacts;
pub use facts::refresh_facts;
pub use feeds::FeedRules;
pub use health::failing;
pub use held::{DeviceId, HeldOnNode};
pub use node::{MemberContext, NodeInventory, node_spec};
pub use note::{InventoryNote, NoteReason, Unsupported, UnsupportedReason};
pub use refresh::refresh;

pub use crate::state::{
    PodUsage, SlimCondition, SlimDeviceTaintRule, SlimNode, SlimPod, SlimResourceClaim,
    SlimResourceSlice, SlimTaint, pod_usage,
};
