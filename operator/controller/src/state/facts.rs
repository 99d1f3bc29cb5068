//! What is wrong with the facts of the platform team.

use ampacity_placement::PowerIssue;
use jiff::Timestamp;

/// An object of the platform team that has no status: what is wrong with it is told by events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FactObject {
    /// The AcceleratorType of this name.
    AcceleratorType(String),
    /// The PriceSheet of this name.
    PriceSheet(String),
}

/// Something wrong with such an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactNote {
    /// The object, where it has a name.
    pub object: Option<FactObject>,
    /// What is wrong and what to do.
    pub text: String,
}

/// What the facts of the platform team had wrong, for the status and events of the objects concerned.
#[derive(Debug, Default)]
pub struct FactIssues {
    /// Power domains and budgets.
    pub power: Vec<PowerIssue>,
    /// Catalogue and prices.
    pub notes: Vec<FactNote>,
    /// When the next price sheet comes into force: the facts are to be taken in again then.
    pub next_prices: Option<Timestamp>,
}
