//! The `ampacity` command.
fn main() {}
