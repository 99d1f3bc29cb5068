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
    /// Node names that are not allowed (`matchFields` with `NotIn`).
    pub except: Vec<String>,
}

impl NodeTerm {
    /// Whether a node of this name may be used, as far as names go.
    pub(crate) fn admits_name(&self, name: &str) -> bool {
        let listed = |names: &[String]| names.iter().any(|n| n == name);
        self.names.as_deref().is_none_or(listed) && !listed(&self.except)
    }
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
                || self
                    .any
                    .iter()
                    .any(|term| term.labels.matches(labels) && term.admits_name(name)))
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

/// How a toleration compares its value with a taint's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TolerationOperator {
    /// The values are the same.
    #[default]
    Equal,
    /// No value is compared.
    Exists,
    /// The taint's value is a greater whole number (KEP-5471).
    Gt,
    /// The taint's value is a smaller whole number (KEP-5471).
    Lt,
}

/// A pod's toleration. `key: None` with `Exists` tolerates everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Toleration {
    /// Key; `None` matches every key.
    pub key: Option<String>,
    /// How values are compared.
    pub operator: TolerationOperator,
    /// Value that is compared, but for `Exists`.
    pub value: String,
    /// Effect; `None` matches every effect.
    pub effect: Option<TaintEffect>,
}

impl Toleration {
    /// Whether this toleration covers `taint`.
    pub fn tolerates(&self, taint: &Taint) -> bool {
        self.effect.is_none_or(|e| e == taint.effect)
            && self.key.as_ref().is_none_or(|k| *k == taint.key)
            && self.admits_value(&taint.value)
    }

    fn admits_value(&self, taint: &str) -> bool {
        let numbers = || Some((whole_number(taint)?, whole_number(&self.value)?));
        match self.operator {
            TolerationOperator::Exists => true,
            TolerationOperator::Equal => self.key.is_some() && self.value == taint,
            TolerationOperator::Gt => numbers().is_some_and(|(taint, own)| taint > own),
            TolerationOperator::Lt => numbers().is_some_and(|(taint, own)| taint < own),
        }
    }
}

/// A whole number as the API server takes it where numbers are compared: no sign but a minus, no leading zeros.
pub fn whole_number(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = digits == "0" && text == "0" || !digits.starts_with(['0', '+']);
    text.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_as_the_scheduler_compares_them() {
        use TolerationOperator::{Equal, Exists, Gt, Lt};
        // Operator, the toleration's value, the taint's, tolerated.
        let cases = [
            (Equal, "950", "950", true),
            (Equal, "950", "951", false),
            (Exists, "", "951", true),
            (Gt, "900", "950", true),
            (Gt, "950", "950", false),
            (Gt, "950", "900", false),
            (Lt, "5", "4", true),
            (Lt, "5", "5", false),
            (Lt, "-1", "-2", true),
            (Gt, "-2", "0", true),
            // What is no plain whole number is never tolerated.
            (Gt, "1", "010", false),
            (Gt, "1", "+7", false),
            (Gt, "1", "many", false),
            (Gt, "1", "", false),
            (Lt, "1", "-0", false),
            (Gt, "1", "99999999999999999999", false),
        ];
        for (operator, value, taint, expected) in cases {
            let toleration = Toleration {
                key: Some("sla".into()),
                operator,
                value: value.into(),
                effect: None,
            };
            let taint = Taint {
                key: "sla".into(),
                value: taint.into(),
                effect: TaintEffect::NoSchedule,
            };
            assert_eq!(
                toleration.tolerates(&taint),
                expected,
                "{toleration:?} {taint:?}"
            );
        }
    }

    #[test]
    fn names_may_be_allowed_or_left_out() {
        let term = |names: Option<&[&str]>, except: &[&str]| NodeTerm {
            labels: LabelSelector::default(),
            names: names.map(|names| names.iter().map(|n| (*n).to_owned()).collect()),
            except: except.iter().map(|n| (*n).to_owned()).collect(),
        };
        let admitted = |term: NodeTerm| -> Vec<&str> {
            let requirement = NodeRequirement {
                all: LabelSelector::default(),
                any: vec![term],
            };
            let names = ["n1", "n2", "n3"].into_iter();
            names
                .filter(|name| requirement.matches(name, &Labels::new()))
                .collect()
        };
        assert_eq!(admitted(term(None, &[])), ["n1", "n2", "n3"]);
        assert_eq!(admitted(term(None, &["n1"])), ["n2", "n3"]);
        assert_eq!(admitted(term(Some(&["n1", "n2"]), &["n1"])), ["n2"]);
        assert!(admitted(term(Some(&[]), &[])).is_empty());
    }
}
