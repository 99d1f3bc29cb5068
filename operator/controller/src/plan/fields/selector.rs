//! Label selectors, node affinity and tolerations.

use ampacity_api::ConditionReason;
use ampacity_placement as engine;
use ampacity_placement::{
    NodeRequirement, NodeTerm, Operator, Requirement, TaintEffect, TolerationOperator,
};
use k8s_openapi::api::core::v1::{NodeSelectorRequirement, PodSpec, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::state::JobIssue;

/// A Kubernetes label selector; `None` and an empty one select everything.
///
/// # Errors
/// When an expression's operator is unknown or does not go with its values. `field` is the selector's path.
pub fn label_selector(
    selector: Option<&LabelSelector>,
    field: &str,
) -> Result<engine::LabelSelector, JobIssue> {
    let mut requirements = Vec::new();
    let Some(selector) = selector else {
        return Ok(engine::LabelSelector::default());
    };
    for (key, value) in selector.match_labels.iter().flatten() {
        requirements.push(equal(key, value));
    }
    for (index, expression) in selector.match_expressions.iter().flatten().enumerate() {
        requirements.push(requirement(
            &expression.key,
            &expression.operator,
            expression.values.as_deref().unwrap_or_default(),
            false,
            &format!("{field}.matchExpressions[{index}]"),
        )?);
    }
    Ok(engine::LabelSelector(requirements))
}

/// A pod's `nodeSelector` and required node affinity.
///
/// # Errors
/// When an expression cannot be used, or a field is selected that is not the node's name. `field` is the pod spec's path.
pub fn node_requirement(pod: &PodSpec, field: &str) -> Result<NodeRequirement, JobIssue> {
    let all = pod
        .node_selector
        .iter()
        .flatten()
        .map(|(key, value)| equal(key, value))
        .collect();
    let mut any = Vec::new();
    let required = pod
        .affinity
        .as_ref()
        .and_then(|affinity| affinity.node_affinity.as_ref())
        .and_then(|node| {
            node.required_during_scheduling_ignored_during_execution
                .as_ref()
        });
    for (index, term) in required
        .iter()
        .flat_map(|selector| selector.node_selector_terms.iter())
        .enumerate()
    {
        let field = format!(
            "{field}.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[{index}]"
        );
        any.push(node_term(
            term.match_expressions.as_deref().unwrap_or_default(),
            term.match_fields.as_deref().unwrap_or_default(),
            &field,
        )?);
    }
    Ok(NodeRequirement {
        all: engine::LabelSelector(all),
        any,
    })
}

fn node_term(
    expressions: &[NodeSelectorRequirement],
    fields: &[NodeSelectorRequirement],
    path: &str,
) -> Result<NodeTerm, JobIssue> {
    // Kubernetes: an empty term selects nothing.
    if expressions.is_empty() && fields.is_empty() {
        return Ok(NodeTerm {
            names: Some(Vec::new()),
            ..NodeTerm::default()
        });
    }
    let mut labels = Vec::new();
    for (index, expression) in expressions.iter().enumerate() {
        labels.push(requirement(
            &expression.key,
            &expression.operator,
            expression.values.as_deref().unwrap_or_default(),
            true,
            &format!("{path}.matchExpressions[{index}]"),
        )?);
    }
    let mut names: Option<Vec<String>> = None;
    let mut except = Vec::new();
    for (index, expression) in fields.iter().enumerate() {
        let values = expression.values.as_deref().unwrap_or_default();
        let issue = |name: &str, message: String| {
            JobIssue::new(
                format!("{path}.matchFields[{index}].{name}"),
                ConditionReason::InvalidTemplate,
                message,
            )
        };
        if expression.key != "metadata.name" {
            return Err(issue(
                "key",
                format!(
                    "{:?} is no field that nodes can be selected by; use metadata.name, or matchExpressions on a label",
                    expression.key
                ),
            ));
        }
        // As the API server has it: fields are compared with one value.
        if values.len() != 1 {
            return Err(issue("values", "give exactly one node name".to_owned()));
        }
        match expression.operator.as_str() {
            "In" => {
                names = Some(match names {
                    None => values.to_vec(),
                    Some(before) => before.into_iter().filter(|n| values.contains(n)).collect(),
                });
            }
            "NotIn" => except.extend(values.iter().cloned()),
            other => {
                return Err(issue(
                    "operator",
                    format!("{other:?} is unknown for a field; use In or NotIn"),
                ));
            }
        }
    }
    Ok(NodeTerm {
        labels: engine::LabelSelector(labels),
        names,
        except,
    })
}

/// A pod's tolerations.
///
/// # Errors
/// When an operator or effect is unknown. `field` is the pod spec's path.
pub fn tolerations(pod: &PodSpec, field: &str) -> Result<Vec<engine::Toleration>, JobIssue> {
    pod.tolerations
        .iter()
        .flatten()
        .enumerate()
        .map(|(index, t)| toleration(t, &format!("{field}.tolerations[{index}]")))
        .collect()
}

fn toleration(toleration: &Toleration, field: &str) -> Result<engine::Toleration, JobIssue> {
    let issue = |name: &str, message: String| {
        JobIssue::new(
            format!("{field}.{name}"),
            ConditionReason::InvalidTemplate,
            message,
        )
    };
    let key = toleration.key.clone().filter(|key| !key.is_empty());
    let operator = match toleration.operator.as_deref() {
        Some("Exists") => TolerationOperator::Exists,
        None | Some("" | "Equal") => TolerationOperator::Equal,
        Some("Gt") => TolerationOperator::Gt,
        Some("Lt") => TolerationOperator::Lt,
        Some(other) => {
            return Err(issue(
                "operator",
                format!("{other:?} is unknown; use Exists, Equal, Gt or Lt"),
            ));
        }
    };
    let value = toleration.value.clone().unwrap_or_default();
    let is_compared = matches!(operator, TolerationOperator::Gt | TolerationOperator::Lt);
    if is_compared && engine::whole_number(&value).is_none() {
        return Err(issue(
            "value",
            format!(
                "{value:?} is no whole number of 64 bits without leading zeros, which Gt and Lt compare with"
            ),
        ));
    }
    if key.is_none() && operator != TolerationOperator::Exists {
        return Err(issue(
            "key",
            "a toleration without a key must have operator Exists".to_owned(),
        ));
    }
    let effect = match toleration.effect.as_deref() {
        None | Some("") => None,
        Some("NoSchedule") => Some(TaintEffect::NoSchedule),
        Some("PreferNoSchedule") => Some(TaintEffect::PreferNoSchedule),
        Some("NoExecute") => Some(TaintEffect::NoExecute),
        Some(other) => {
            return Err(issue(
                "effect",
                format!(
                    "{other:?} is not an effect; use NoSchedule, PreferNoSchedule or NoExecute"
                ),
            ));
        }
    };
    Ok(engine::Toleration {
        key,
        operator,
        value,
        effect,
    })
}

fn equal(key: &str, value: &str) -> Requirement {
    Requirement {
        key: key.to_owned(),
        operator: Operator::In,
        values: vec![value.to_owned()],
    }
}

fn requirement(
    key: &str,
    operator: &str,
    values: &[String],
    on_nodes: bool,
    field: &str,
) -> Result<Requirement, JobIssue> {
    let issue = |name: &str, message: String| {
        JobIssue::new(
            format!("{field}.{name}"),
            ConditionReason::InvalidSelector,
            message,
        )
    };
    let operator = match operator {
        "In" => Operator::In,
        "NotIn" => Operator::NotIn,
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        "Gt" if on_nodes => Operator::Gt,
        "Lt" if on_nodes => Operator::Lt,
        other => {
            let known = if on_nodes {
                "In, NotIn, Exists, DoesNotExist, Gt or Lt"
            } else {
                "In, NotIn, Exists or DoesNotExist"
            };
            return Err(issue(
                "operator",
                format!("{other:?} is unknown; use {known}"),
            ));
        }
    };
    let wrong = match operator {
        Operator::In | Operator::NotIn => values
            .is_empty()
            .then_some("In and NotIn need at least one value"),
        Operator::Exists | Operator::DoesNotExist => {
            (!values.is_empty()).then_some("Exists and DoesNotExist take no values; leave them out")
        }
        Operator::Gt | Operator::Lt => (!matches!(values, [one] if one.parse::<i64>().is_ok()))
            .then_some("Gt and Lt need exactly one whole number"),
    };
    if let Some(wrong) = wrong {
        return Err(issue("values", wrong.to_owned()));
    }
    Ok(Requirement {
        key: key.to_owned(),
        operator,
        values: values.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn pod(yaml: &str) -> PodSpec {
        serde_saphyr::from_str(yaml).unwrap()
    }

    #[test]
    fn node_selector_and_every_term_of_the_affinity_are_kept() {
        let pod = pod("
containers: []
nodeSelector: {pool: train}
affinity:
  nodeAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      nodeSelectorTerms:
      - matchExpressions: [{key: gen, operator: Gt, values: ['4']}]
      - matchFields: [{key: metadata.name, operator: In, values: [n1]}]
      - {}
");
        let requirement = node_requirement(&pod, "spec").unwrap();
        let labels = |generation: &str| -> BTreeMap<String, String> {
            [("pool", "train"), ("gen", generation)]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .into()
        };
        assert!(requirement.matches("n9", &labels("5")));
        assert!(!requirement.matches("n9", &labels("4")));
        assert!(requirement.matches("n1", &labels("4")));
        assert!(!requirement.matches("n1", &BTreeMap::new()));
    }

    #[test]
    fn nodes_are_selected_by_name_as_the_scheduler_does() {
        let terms = |fields: &str| {
            let pod = pod(&format!(
                "{{containers: [], affinity: {{nodeAffinity: {{requiredDuringSchedulingIgnoredDuringExecution: {{nodeSelectorTerms: [{{matchFields: {fields}}}]}}}}}}}}"
            ));
            node_requirement(&pod, "spec").map_err(|issue| issue.to_string())
        };
        let admitted = |fields: &str| -> Vec<&str> {
            let wanted = terms(fields).unwrap();
            let names = ["n1", "n2", "n3"].into_iter();
            names
                .filter(|name| wanted.matches(name, &BTreeMap::new()))
                .collect()
        };
        let field = |operator: &str, value: &str| {
            format!("{{key: metadata.name, operator: {operator}, values: [{value}]}}")
        };
        assert_eq!(
            admitted(&format!("[{}]", field("NotIn", "n1"))),
            ["n2", "n3"]
        );
        let both = format!("[{}, {}]", field("NotIn", "n1"), field("NotIn", "n3"));
        assert_eq!(admitted(&both), ["n2"]);
        assert_eq!(admitted(&format!("[{}]", field("In", "n1"))), ["n1"]);
        let never = format!("[{}, {}]", field("In", "n1"), field("NotIn", "n1"));
        assert!(admitted(&never).is_empty());
        for (fields, ending) in [
            (
                field("Exists", "n1"),
                "matchFields[0].operator: \"Exists\" is unknown for a field; use In or NotIn",
            ),
            (
                field("In", "n1, n2"),
                "matchFields[0].values: give exactly one node name",
            ),
            (
                "{key: spec.unschedulable, operator: In, values: ['true']}".to_owned(),
                "matchFields[0].key: \"spec.unschedulable\" is no field that nodes can be selected by; use metadata.name, or matchExpressions on a label",
            ),
        ] {
            let message = terms(&format!("[{fields}]")).unwrap_err();
            assert!(message.ends_with(ending), "{message}");
        }
    }

    #[test]
    fn tolerations_that_compare_numbers_are_read() {
        let read = tolerations(
            &pod(
                "{containers: [], tolerations: [{key: sla, operator: Gt, value: '900', effect: NoExecute}]}",
            ),
            "spec",
        );
        let expected = engine::Toleration {
            key: Some("sla".into()),
            operator: TolerationOperator::Gt,
            value: "900".into(),
            effect: Some(TaintEffect::NoExecute),
        };
        assert_eq!(read.unwrap(), [expected]);
    }

    #[test]
    fn an_affinity_of_empty_terms_selects_nothing() {
        let pod = pod("
containers: []
affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{}]}}}
");
        let requirement = node_requirement(&pod, "spec").unwrap();
        assert!(!requirement.matches("n1", &BTreeMap::new()));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let cases = [
            (
                "{containers: [], tolerations: [{operator: Equal}]}",
                "spec.tolerations[0].key: a toleration without a key must have operator Exists",
            ),
            (
                "{containers: [], tolerations: [{key: a, effect: Never}]}",
                "spec.tolerations[0].effect: \"Never\" is not an effect; use NoSchedule, PreferNoSchedule or NoExecute",
            ),
            (
                "{containers: [], tolerations: [{key: a, operator: Like}]}",
                "spec.tolerations[0].operator: \"Like\" is unknown; use Exists, Equal, Gt or Lt",
            ),
            (
                "{containers: [], tolerations: [{key: a, operator: Gt, value: '0950'}]}",
                "spec.tolerations[0].value: \"0950\" is no whole number of 64 bits without leading zeros, which Gt and Lt compare with",
            ),
            (
                "{containers: [], tolerations: [{operator: Lt, value: '5'}]}",
                "spec.tolerations[0].key: a toleration without a key must have operator Exists",
            ),
        ];
        for (yaml, message) in cases {
            assert_eq!(
                tolerations(&pod(yaml), "spec").unwrap_err().to_string(),
                message
            );
        }
        let selector: LabelSelector =
            serde_saphyr::from_str("matchExpressions: [{key: a, operator: Gt, values: ['1']}]")
                .unwrap();
        assert_eq!(
            label_selector(Some(&selector), "spec.clusterSelector")
                .unwrap_err()
                .to_string(),
            "spec.clusterSelector.matchExpressions[0].operator: \"Gt\" is unknown; use In, NotIn, Exists or DoesNotExist"
        );
    }
}
