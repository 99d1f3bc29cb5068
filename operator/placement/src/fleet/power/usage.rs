//! What is drawn and reserved, for those who ask.

use super::charges::up;
use super::tree::PowerLedger;
use crate::model::{BudgetScope, PowerUsage, Watts, saturated};

impl PowerLedger {
    /// Every domain with its load, by name.
    pub(crate) fn domain_usage(&self) -> Vec<PowerUsage> {
        self.by_name
            .values()
            .filter_map(|&at| self.domains.get(at))
            .filter(|domain| !domain.is_missing)
            .map(|domain| PowerUsage {
                name: domain.name.clone(),
                limit_watts: Watts(domain.usable),
                reserved_watts: Watts(up(domain.load_nano)),
            })
            .collect()
    }

    /// Every budget with what is reserved under it, by name.
    pub(crate) fn budget_usage(&self) -> Vec<PowerUsage> {
        self.budgets
            .iter()
            .map(|(name, scope, limit)| PowerUsage {
                name: name.clone(),
                limit_watts: Watts(*limit),
                reserved_watts: match scope {
                    BudgetScope::Queue(queue) => {
                        Watts(saturated(self.queue_watts.get(queue).copied().unwrap_or(0)))
                    }
                    BudgetScope::Domain(domain) => Watts(
                        self.by_name
                            .get(domain)
                            .and_then(|&at| self.domains.get(at))
                            .map_or(0, |d| up(d.load_nano)),
                    ),
                },
            })
            .collect()
    }
}
