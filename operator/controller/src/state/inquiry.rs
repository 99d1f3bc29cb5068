//! What a member was asked about a placement beside its watches: before an attempt is ended for something that merely lasts, and
//! where pods are missing and no object says why.

use std::collections::BTreeSet;

use jiff::Timestamp;

/// How long an answer holds. What follows from it follows at once.
const HOLDS_SECONDS: i64 = 10;

/// Nodes and pods as they were read, by calls made for that.
#[derive(Clone, Debug)]
pub struct Confirmation {
    /// When.
    pub at: Timestamp,
    /// Nodes that were read.
    pub nodes: BTreeSet<String>,
    /// Whether the placement's pods were read.
    pub pods: bool,
}

/// What is known of one placement in that way.
#[derive(Clone, Debug, Default)]
pub struct Inquiry {
    /// Since when it has had fewer pods than replicas, as far as this process has seen.
    pub short_since: Option<Timestamp>,
    /// Why its member makes no more pods, in the member's words.
    pub words: Option<String>,
    /// What was last read afresh.
    pub confirmation: Option<Confirmation>,
}

impl Inquiry {
    /// What was read afresh, while it holds.
    pub fn confirmation(&self, now: Timestamp) -> Option<&Confirmation> {
        self.confirmation
            .as_ref()
            .filter(|read| now.as_second() - read.at.as_second() < HOLDS_SECONDS)
    }

    /// It has fewer pods than replicas now, or has not.
    pub fn is_short(&mut self, short: bool, now: Timestamp) {
        if short {
            self.short_since.get_or_insert(now);
        } else {
            *self = Self {
                confirmation: self.confirmation.take(),
                ..Self::default()
            };
        }
    }
}
