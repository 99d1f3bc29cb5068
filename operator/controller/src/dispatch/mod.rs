//! What a placement is made of in its member cluster. Pure: a job, its placement and what is known of the member go in,
//! Kubernetes objects come out, the same for the same input. Nothing here talks to a cluster.
//!
//! ```text
//! TrainingJob  + Placement + Target ─▶ training_objects  ─▶ [ResourceClaimTemplate] [headless Service] Job
//! InferenceJob + Placement + Target ─▶ inference_objects ─▶ [ResourceClaimTemplate] [Service] Deployment
//!
//! template ─ alternative ─ devices ─ rendezvous ─ tolerations ─ node affinity ─ gate ─▶ pod template
//!            (pod)         (devices) (rendezvous)  (pod)         (affinity)
//! ```
//!
//! The objects are named after the job and its attempt, so that applying them again changes nothing, and they carry labels
//! that say whose they are (`identity`). The required node affinity names what was placed: the node of a pod whose node
//! is known, the node set of a gang over several nodes, the pool of an inference replica. Only the pods of a gang over several
//! nodes carry a scheduling gate; [`crate::bind`] pins each to its own node and lifts the gate.
//!
//! Apply in the order claim template, Service, workload: a pod is never there before what it refers to.

mod affinity;
mod devices;
mod error;
mod identity;
mod inference;
mod names;
mod pod;
mod rendezvous;
mod target;
mod training;

pub use affinity::MAX_HOSTNAMES;
pub use devices::{RemovedRequest, is_accelerator_resource};
pub use error::DispatchError;
pub use identity::{EPOCH, HUB, PLACEMENT_UID, label_value};
pub use inference::{InferenceObjects, inference_objects};
pub use names::{inference_name, service_name, training_name};
pub use rendezvous::{JAX_COORDINATOR_PORT, MASTER_PORT, NEURON_ROOT_COMM_PORT};
pub use target::Target;
pub use training::{TrainingObjects, training_objects};

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
