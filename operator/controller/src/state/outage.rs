//! Nodes that are out of order.

use jiff::Timestamp;

/// How a node fails what runs on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failing {
    /// Its kubelet is not ready or not heard of: nobody there starts or ends pods.
    Silent,
    /// It is on its way out, or its devices are broken. Its kubelet still ends pods in good order.
    Broken,
}

/// A node that is out of order. What runs on it is lost once that has lasted for the grace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// Since when, as far as this process has seen.
    pub since: Timestamp,
    /// Since when nobody there starts or ends pods: it is gone, or its kubelet is not ready.
    pub silent_since: Option<Timestamp>,
}

impl Outage {
    /// The outage that follows when the node is seen like this now.
    pub fn next(known: Option<Self>, failing: Option<Failing>, now: Timestamp) -> Option<Self> {
        let silent = failing? == Failing::Silent;
        Some(Self {
            since: known.map_or(now, |k| k.since),
            silent_since: silent.then(|| known.and_then(|k| k.silent_since).unwrap_or(now)),
        })
    }
}
