//! From what the members show to conditions, states and accrued cost: pure, facts and a time in, a status out. And the writing
//! of it: statuses of jobs, placements and what the platform team wrote, and events.

mod accrual;
mod ask;
mod cluster_status;
mod event;
mod facts;
mod measure;
mod outcome;
mod pace;
mod patch;
mod phase;
mod platform;
mod power_status;
mod reachability;
mod reason;
mod start;
mod status;
mod view;

pub use accrual::{ACCRUE_EVERY_SECONDS, Meter, accrue};
pub use ask::{ToConfirm, ask_for_missing_pods, confirm};
#[cfg(test)]
pub use event::MAX_NOTE_BYTES;
pub use event::{Change, Story, price_text, reason_of, way};
pub use facts::tell_facts;
pub use measure::measure;
pub use outcome::{Outcome, outcome};
pub use pace::{News, may_wait_seconds};
pub use phase::write_phase;
pub use platform::write_platform_statuses;
pub use reason::reason_column;
pub use start::{FailingCall, Patience};
#[cfg(test)]
pub use start::{Late, Start};
pub use status::{StatusChange, delete_job, tell_unreadable, write_status};
pub use view::{Known, MemberView, PlacementView};
