//! Whole lives of jobs: what members show, in the order in which it happens, and the status that is written.

mod amounts;
mod event;
mod inference;
mod lives;
mod outcome;
mod training;
