//! What things cost.
//!
//! ```text
//!  price_sheet ─┐
//!  …            ├─ PriceSource ──▶ rows ── in_force ──▶ Prices ── lookup ──▶ a node's price, egress
//! ```
//!
//! A row is in force from its list's `effectiveFrom` on; of the rows in force for the same thing the latest wins, and of two
//! lists with the same time the one whose name sorts last. A list speaks only for its own provider, egress apart: its rows name
//! both ends.

mod in_force;
mod issue;
mod lookup;
mod price_sheet;
mod source;

pub use issue::PriceIssue;
pub use lookup::Prices;
pub use source::{PriceRow, PriceSource};
