//! Label selectors, node requirements, taints and tolerations, with Kubernetes' meaning.

use std::collections::BTreeMap;

/// Labels of a node or a cluster.
pub type Labels = BTreeMap<String, String>;

/// How a requirement compares a label with its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operator {
    /// The label exists and has one of the values.
    In,
    /// The label is absent or has none of the values.
    NotIn,
    /// The label exists.
    Exists,
    /// The label is absent.
    DoesNotExist,
    /// The label is an integer greater than the only value.
    Gt,
    /// The label is an integer less than the only value.
    Lt,
}

/// One condition on labels (`matchExpressions` of Kubernetes).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirement {
    /// Label key.
    pub key: String,
    /// Comparison.
    pub operator: Operator,
    /// Values compared with.
    pub values: Vec<String>,
}

impl Requirement {
    /// Whether `labels` satisfy this requirement.
    pub fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match self.operator {
            Operator::In => value.is_some_and(|v| self.values.contains(v)),
            Operator::NotIn => value.is_none_or(|v| !self.values.contains(v)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::Gt => self
                .compare(value)
                .is_some_and(|(label, bound)| label > bound),
            Operator::Lt => self
                .compare(value)
                .is_some_and(|(label, bound)| label < bound),
        }
    }

    fn compare(&self, value: Option<&String>) -> Option<(i64, i64)> {
        Some((value?.parse().ok()?, self.values.first()?.parse().ok()?))
    }
}

/// Requirements that must all hold. Empty matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelSelector(pub Vec<Requirement>);

impl LabelSelector {
    /// Whether `labels` satisfy every requirement.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|r| r.matches(labels))
    }
}

/// One alternative of a required node affinity: labels and node names, both must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeTerm {
    /// Conditions on the node's labels.
    pub labels: LabelSelector,
    /// Allowed node names (`matchFields` on `metadata.name`); `None` allows any.
    pub names: Option<Vec<String>>,
}

/// A pod's `nodeSelector` and required node affinity together.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeRequirement {
    /// Must hold on every node (`nodeSelector`).
    pub all: LabelSelector,
    /// At least one must hold (`nodeSelectorTerms`). Empty: no condition.
    pub any: Vec<NodeTerm>,
}

impl NodeRequirement {
    /// Whether a node of this name and labels may be used.
    pub fn matches(&self, name: &str, labels: &Labels) -> bool {
        self.all.matches(labels)
            && (self.any.is_empty()
                || self.any.iter().any(|term| {
                    term.labels.matches(labels)
                        && term
                            .names
                            .as_ref()
                            .is_none_or(|names| names.iter().any(|n| n == name))
                }))
    }
}

/// What a taint does to pods that do not tolerate it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TaintEffect {
    /// Keeps new pods away.
    NoSchedule,
    /// Makes the scheduler prefer other nodes; never a hard constraint here.
    PreferNoSchedule,
    /// Keeps new pods away and evicts running ones.
    NoExecute,
}

/// A node taint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Taint {
    /// Key.
    pub key: String,
    /// Value; empty where there is none.
    pub value: String,
    /// Effect.
    pub effect: TaintEffect,
}

/// A pod's toleration. `key: None` with `exists` tolerates everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Toleration {
    /// Key; `None` matches every key.
    pub key: Option<String>,
    /// `operator: Exists`: the value is not compared.
    pub exists: bool,
    /// Value compared when `exists` is false.
    pub value: String,
    /// Effect; `None` matches every effect.
    pub effect: Option<TaintEffect>,
}

impl Toleration {
    /// Whether this toleration covers `taint`.
    pub fn tolerates(&self, taint: &Taint) -> bool {
        self.effect.is_none_or(|e| e == taint.effect)
            && self.key.as_ref().is_none_or(|k| *k == taint.key)
            && (self.exists || (self.key.is_some() && self.value == taint.value))
    }
}
