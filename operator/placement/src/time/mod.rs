//! When: promised starts of those that wait, backfill before them, start windows within a horizon. Uses `schedule`, and
//! `explain` for what is short.

mod backfill;
mod bounds;
mod earliest;
mod future_candidates;
mod horizon;
mod lookahead;
mod pending;
mod promises;
mod window;

pub(crate) use bounds::gap_to_least;
pub(crate) use lookahead::Lookahead;
