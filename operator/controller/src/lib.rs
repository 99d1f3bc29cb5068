//! The controller: Kubernetes on one side, the placement engine on the other.
//!
//! The folders are the way a job takes, stage by stage. A turn of [`cycle`] runs ingest, inventory, `kinds::reconcile`, plan and
//! commit; `reconcile` asks queue, dispatch, bind and observe for each job that changed. So a job takes several turns.
//!
//! ```text
//!  ingest ──► inventory ──► kinds::reconcile ──► queue ──► plan ──► commit ──► dispatch ──► bind ──► observe
//!  watches     what there    what becomes of      who may   which    Placement   objects in   gang     status, cost,
//!  to state    is and free   each changed job     be tried  where    is written  the member   pinned   events
//! ```
//!
//! Each stage owns its decision, its objects, its calls and what follows from the answers, and touches [`state`], [`runtime`] and
//! the stages before it in the import order. Who may import whom, from the bottom up:
//!
//! ```text
//!  state ◄── runtime ◄── ingest, inventory, queue, plan ◄── commit, dispatch, bind, observe ◄── kinds ◄── cycle
//! ```
//!
//! All truth is in the API servers: a restart rebuilds everything.

mod bind;
mod commit;
mod cycle;
mod dispatch;
mod ingest;
pub mod inventory;
pub mod kinds;
mod observe;
pub mod plan;
mod queue;
pub mod runtime;
pub mod state;
#[cfg(test)]
mod testing;

pub use cycle::run;
pub use runtime::{HubIdentityError, OperatorConfig, OperatorError, hub_identity};
