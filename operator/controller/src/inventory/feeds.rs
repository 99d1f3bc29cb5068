//! Which power domains feed a node.

use ampacity_api::{MemberCluster, PowerDomain};
use ampacity_placement::{LabelSelector, Labels, Operator, Requirement};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as ApiSelector;

/// Power domains of one cluster's nodes: `members` of PowerDomains, else the cluster's `powerDomainRef`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeedRules {
    /// Domain and the nodes that it feeds.
    rules: Vec<(String, LabelSelector)>,
    /// Domain of nodes that no rule names.
    fallback: Option<String>,
}

impl FeedRules {
    /// The rules for the nodes of `cluster`.
    ///
    /// An expression that cannot be used (unknown operator, values missing) is passed over, so that the domain feeds more nodes
    /// rather than fewer: a mistake must not lift a limit.
    pub fn for_cluster<'a>(
        cluster: &MemberCluster,
        domains: impl IntoIterator<Item = &'a PowerDomain>,
    ) -> Self {
        let name = cluster.metadata.name.as_deref().unwrap_or_default();
        let mut rules = Vec::new();
        for domain in domains {
            let Some(domain_name) = &domain.metadata.name else {
                continue;
            };
            for member in domain.spec.members.iter().filter(|m| m.cluster == name) {
                rules.push((domain_name.clone(), selector(member.node_selector.as_ref())));
            }
        }
        let fallback = cluster.spec.power_domain_ref.as_ref();
        Self::new(rules, fallback.map(|domain| domain.name.clone()))
    }

    /// Rules given outright: a domain with the nodes that it feeds, and the domain of all other nodes.
    pub fn new(
        rules: impl IntoIterator<Item = (String, LabelSelector)>,
        fallback: Option<String>,
    ) -> Self {
        Self {
            rules: rules.into_iter().collect(),
            fallback,
        }
    }

    /// The domains that feed a node with these labels, sorted. Several are A/B feeds.
    pub fn feeds(&self, labels: &Labels) -> Vec<String> {
        let mut feeds: Vec<String> = self
            .rules
            .iter()
            .filter(|(_, selector)| selector.matches(labels))
            .map(|(domain, _)| domain.clone())
            .collect();
        feeds.sort();
        feeds.dedup();
        if feeds.is_empty() {
            feeds.extend(self.fallback.clone());
        }
        feeds
    }
}

fn selector(selector: Option<&ApiSelector>) -> LabelSelector {
    let Some(selector) = selector else {
        return LabelSelector::default();
    };
    let equal = selector
        .match_labels
        .iter()
        .flatten()
        .map(|(key, value)| Requirement {
            key: key.clone(),
            operator: Operator::In,
            values: vec![value.clone()],
        });
    let expressions = selector
        .match_expressions
        .iter()
        .flatten()
        .filter_map(|expression| {
            let values = expression.values.clone().unwrap_or_default();
            let operator = match (expression.operator.as_str(), values.is_empty()) {
                ("In", false) => Operator::In,
                ("NotIn", false) => Operator::NotIn,
                ("Exists", _) => Operator::Exists,
                ("DoesNotExist", _) => Operator::DoesNotExist,
                _ => return None,
            };
            Some(Requirement {
                key: expression.key.clone(),
                operator,
                values,
            })
        });
    LabelSelector(equal.chain(expressions).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(row: &str) -> Labels {
        Labels::from([("row".to_owned(), row.to_owned())])
    }

    #[test]
    fn members_win_over_the_clusters_domain_and_two_are_both_feeds() {
        let row = |value: &str| {
            LabelSelector(vec![Requirement {
                key: "row".into(),
                operator: Operator::In,
                values: vec![value.into()],
            }])
        };
        let rules = FeedRules::new(
            [
                ("pdu-b".into(), row("r12")),
                ("pdu-a".into(), row("r12")),
                ("pdu-c".into(), row("r13")),
            ],
            Some("hall-7".into()),
        );
        assert_eq!(rules.feeds(&labels("r12")), ["pdu-a", "pdu-b"]);
        assert_eq!(rules.feeds(&labels("r13")), ["pdu-c"]);
        assert_eq!(rules.feeds(&labels("r14")), ["hall-7"]);
        assert!(FeedRules::default().feeds(&labels("r12")).is_empty());
    }
}
