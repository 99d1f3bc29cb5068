//! A better plan: gangs that may be moved on a board where a move costs nanoseconds, its linear relaxation, branch and bound,
//! annealing, and the carrying out on the fleet. Uses `schedule`, `nodes` and `candidates`.

mod annealing;
mod board;
mod branch_and_bound;
mod cutting_stock;
mod improve;
mod incumbent;
mod layout;
mod model;
mod optimise;
mod prices;
mod relaxation;
mod rounding;
mod simplex;
mod state;

pub(crate) use incumbent::Bound;
