//! API objects to the engine's plain data, and the engine's verdicts back.
//!
//! ```text
//!  TrainingJob, InferenceJob ──► job ──► placement::JobSpec      (pod: what a replica needs, part: of a device, selector: where it may run)
//!  PowerDomain, PowerBudget  ──► power ──► placement::PowerSpec
//!  MemberCluster, Placement  ──► held ──► placement::ClusterSpec, placement::Reservation
//!  placement::Unplaced ──► verdict ──► status.verdict, `ampacity plan`   (reason, fix: names, numbers and sentences)
//! ```
//!
//! Pure: no I/O and no clock. What cannot be translated is a [`JobIssue`] that names the field and what to do.

mod fact;
mod fix;
mod held;
mod issue;
mod job;
mod part;
mod pod;
mod power;
mod quantity;
mod reason;
mod selector;
mod verdict;

pub use fact::{Fact, Facts, usd_number};
pub use fix::{FixAction, FixText, fix_text};
pub use held::{Charge, actual_shares, cluster_spec, placed_replicas, planned_shares, reservation};
pub use issue::JobIssue;
pub use job::{ClusterSite, JobContext, inference_spec, priority, training_spec};
pub use part::{PartFields, device_name, device_part};
pub use pod::pod_shape;
pub use power::power_spec;
pub use quantity::{QuantityError, parse_bytes, parse_milli};
pub use reason::{ReasonName, ReasonText, reason_text};
pub use selector::{label_selector, node_requirement, tolerations};
pub use verdict::verdict;
