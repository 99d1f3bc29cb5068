//! Prices from PriceSheet objects.
//!
//! A row is in force from its sheet's `effectiveFrom` on; of the rows in force for the same thing the latest wins, and of two
//! sheets with the same time the one whose name sorts last. A sheet speaks only for its own provider, egress apart: its rows name
//! both ends.

mod issue;
mod lookup;
mod read;

pub use issue::PriceIssue;
pub use lookup::Prices;
