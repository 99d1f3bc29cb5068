//! The controller: Kubernetes on one side, the placement engine on the other.
//!
//! The way a job takes, stage by stage:
//!
//! ```text
//!  inventory ──► queue ──► plan ──► commit ──► dispatch ──► bind ──► observe
//!  what there is  who may   which    Placement   objects in   gang     status, cost,
//!  and is free    be tried  where    is written  the member   pinned   what failed goes back to plan
//! ```
//!
//! Decisions are pure functions over the [`world`]; the [`operator`] loop feeds it from watches and carries decisions
//! out through bounded effects. All truth is in the API servers: a restart rebuilds everything.

mod act;
mod admin;
mod apply;
pub mod bind;
mod clients;
mod commit;
pub mod config;
pub mod dispatch;
mod effects;
mod events;
mod failpoint;
mod guarded;
mod holding;
mod hub;
mod intake;
pub mod inventory;
pub mod leader;
mod look;
mod member;
mod metrics;
pub mod observe;
pub mod operator;
mod plan;
mod pods;
mod queue;
mod report;
mod rush;
mod stocktake;
pub mod translate;
mod watch;
mod world;

pub use config::OperatorConfig;
pub use operator::{OperatorError, run};
