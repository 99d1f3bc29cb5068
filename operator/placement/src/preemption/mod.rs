//! Preemption: who runs makes way for who comes before.
//!
//! ```text
//!   in order of priority, each job once; its candidates, best first
//!
//!   job ──► room is free ───────────────────────────► takes it (who runs already: only if that is worth a restart)
//!    │
//!    └────► room that later jobs have is better ────► takes that; the fewest of them stop, the last ones first,
//!                                                     and each has its own turn still to come
//! ```
//!
//! First the jobs that wait are placed in what is free, as in any cycle. A job never makes way for one of the
//! same priority, so jobs cannot drive each other out in turn.
//!
//! Uses `schedule` and `search` for what is free, `nodes` and `candidates` for what is not, `explain` for what is short.

mod replan;
mod state;
mod turns;
mod victims;
