//! State to engine to decisions. The engine decides; this stage only translates.
//!
//! ```text
//!  State ──► input, fields ─► placement::JobSpec ──► engine ──┬─► cycle ──► Placements to commit
//!                                                            └─► verdict ──► why a job waits, and what would help
//! ```
//!
//! What cannot be translated is a [`JobIssue`](crate::state::JobIssue) that names the field and what to do.

mod cycle;
pub mod fields;
mod input;
mod placement;
mod quota;
mod split;
pub mod verdict;

pub use cycle::{Cycle, plan_cycle};
pub use input::{EngineJob, engine_jobs};
