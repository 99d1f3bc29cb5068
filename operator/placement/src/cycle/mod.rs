//! The cycle itself: construct, improve, look ahead, finish; and how good the plan is known to be. Uses all others.

mod plan;
mod proof;
