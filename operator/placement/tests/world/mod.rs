//! Small worlds for tests: builders, random ones, and a naive model that judges what is planned on them.
#![allow(dead_code, unused_imports)] // Each test file uses its own part.

mod builders;
mod judge;
mod random;

pub use builders::*;
pub use judge::*;
pub use random::*;
