//! What a cycle has assigned so far: its jobs in order, what each has, and moves that can be taken back. Uses `nodes` and
//! `candidates`; knows neither how to better it nor when what waits can start.

mod construct;
mod entry;
mod order;
mod start;
mod state;

pub(crate) use entry::{Assignment, Entry, PendingJob};
pub(crate) use order::turn;
pub(crate) use start::{FutureStart, StartCost};
pub(crate) use state::Schedule;
