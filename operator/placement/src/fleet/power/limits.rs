//! The limits on watts, and what breaking one looks like.

use crate::model::{PowerClosure, Watts};

/// What stands in the way of a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PowerLimit {
    /// The breaker's own limit.
    Domain(String),
    /// A domain of this name does not exist.
    Missing(String),
    /// The domain carries nothing new.
    Closed(String, PowerClosure),
    /// A budget.
    Budget(String),
}

/// A limit that a load would break.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PowerShortage {
    /// Which.
    pub(crate) limit: PowerLimit,
    /// Watts the load adds there.
    pub(crate) needed: Watts,
    /// Watts left there.
    pub(crate) headroom: Watts,
}
