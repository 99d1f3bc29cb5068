//! Laying out a board: which nodes, which gangs, which candidates.

mod candidates;
mod lay_out;
mod nodes;

pub(crate) use lay_out::Layout;
