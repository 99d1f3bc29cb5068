//! The breaker tree and the limits on it.

use super::Watts;

/// One node of the breaker tree. The tree is a DAG: two parents are A/B feeds, and each must carry the whole load.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PowerDomainSpec {
    /// Name.
    pub name: String,
    /// Domains that feed this one.
    pub parents: Vec<String>,
    /// Most that may be drawn here: rating × continuous share − reserve.
    pub usable_watts: Watts,
    /// Loss between here and the parents, in percent: a watt drawn here is `1 + loss/100` watts there.
    pub loss_percent: u32,
    /// Whether it is being taken away: what it carries stays charged to it and to its parents, and nothing new comes.
    pub is_terminating: bool,
}

/// Why a domain that exists carries nothing new.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PowerClosure {
    /// It feeds itself, by way of this parent.
    Cycle {
        /// The parent by which it reaches itself; its own name where it names itself.
        parent: String,
    },
    /// It is being taken away.
    Terminating,
}

/// What a budget limits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BudgetScope {
    /// Everything drawn at or below a power domain.
    Domain(String),
    /// Everything that jobs of a queue have reserved, wherever they run.
    Queue(String),
}

/// A limit in watts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PowerBudgetSpec {
    /// Name.
    pub name: String,
    /// What it limits.
    pub scope: BudgetScope,
    /// The limit.
    pub limit_watts: Watts,
}

/// The whole power picture; replaces the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PowerSpec {
    /// Domains.
    pub domains: Vec<PowerDomainSpec>,
    /// Budgets.
    pub budgets: Vec<PowerBudgetSpec>,
}

/// Something wrong with a [`PowerSpec`]. The domain stays in force as far as it can, so that a mistake never lifts a limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PowerIssue {
    /// A parent does not exist.
    #[error(
        "power domain {domain:?} names parent {parent:?}, which does not exist; create it or correct spec.parents"
    )]
    UnknownParent {
        /// The domain.
        domain: String,
        /// The missing parent.
        parent: String,
    },
    /// The domain feeds itself.
    #[error(
        "power domain {domain:?} is its own ancestor by way of {parent:?}: nothing new is placed under it until the cycle in spec.parents is broken"
    )]
    Cycle {
        /// The domain.
        domain: String,
        /// The parent by which it reaches itself.
        parent: String,
    },
    /// A budget's domain does not exist.
    #[error("power budget {budget:?} limits power domain {domain:?}, which does not exist")]
    UnknownDomain {
        /// The budget.
        budget: String,
        /// The missing domain.
        domain: String,
    },
}

/// What is reserved in one power domain or under one budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PowerUsage {
    /// Name of the domain or budget.
    pub name: String,
    /// The limit.
    pub limit_watts: Watts,
    /// What is reserved, losses below included. May exceed the limit after the limit was lowered.
    pub reserved_watts: Watts,
}

impl PowerUsage {
    /// What may still be reserved; negative when over the limit.
    pub fn headroom_watts(&self) -> Watts {
        self.limit_watts - self.reserved_watts
    }
}
