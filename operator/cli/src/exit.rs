//! Exit codes.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All went well; for a plan: all jobs are placed.
    Success,
    /// The input cannot be used.
    BadInput,
    /// The plan leaves jobs without a place.
    NotAllPlaced,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Success => 0,
            Exit::BadInput => 1,
            Exit::NotAllPlaced => 2,
        })
    }
}
