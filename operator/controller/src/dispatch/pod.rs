//! The user's pod template with the chosen alternative put into it.

use std::collections::BTreeMap;

use ampacity_api::{Alternative, Placement};
use k8s_openapi::api::core::v1::{
    Container, EnvVar, PodSpec, PodTemplateSpec, ResourceRequirements, Toleration,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::DispatchError;
use crate::state::reserved_priority_class;

/// Name of the container of a job whose template has none.
const DEFAULT_CONTAINER: &str = "main";

/// The alternative that the placement chose.
pub fn chosen<'a>(
    alternatives: &'a [Alternative],
    placement: &Placement,
) -> Result<&'a Alternative, DispatchError> {
    alternatives
        .iter()
        .find(|alternative| alternative.name == placement.spec.alternative)
        .ok_or_else(|| DispatchError::NoSuchAlternative {
            alternative: placement.spec.alternative.clone(),
        })
}

/// The template's pod with the alternative's image, environment, arguments, resources and runtime class.
pub fn patched(
    template: &PodTemplateSpec,
    alternative: &Alternative,
) -> Result<PodSpec, DispatchError> {
    let mut pod = template.spec.clone().unwrap_or_default();
    if pod
        .node_name
        .as_deref()
        .is_some_and(|name| !name.is_empty())
    {
        return Err(DispatchError::NodeNameSet);
    }
    // The plan refuses it; this is for a template that was changed since.
    let class = pod.priority_class_name.as_deref();
    if let Some(message) = class.and_then(reserved_priority_class) {
        return Err(DispatchError::ReservedPriorityClass(message));
    }
    if pod.containers.is_empty() {
        pod.containers.push(Container {
            name: DEFAULT_CONTAINER.to_owned(),
            ..Container::default()
        });
    }
    if let Some(class) = &alternative.runtime_class_name {
        pod.runtime_class_name = Some(class.clone());
    }
    if let Some(first) = pod.containers.first_mut() {
        if let Some(image) = &alternative.image {
            first.image = Some(image.clone());
        }
        if !alternative.args.is_empty() {
            first.args = Some(alternative.args.clone());
        }
        if !alternative.env.is_empty() {
            merge_env(first.env.get_or_insert_default(), &alternative.env);
        }
        if let Some(patch) = &alternative.resources {
            merge_resources(first.resources.get_or_insert_default(), patch);
        }
    }
    Ok(pod)
}

/// Puts `ours` before what the container has, leaving out what it sets itself. Before, so that the user's own values and
/// arguments may refer to them as `$(NAME)`: Kubernetes expands only what was defined earlier.
pub fn provide_env(container: &mut Container, mut ours: Vec<EnvVar>) {
    let theirs = container.env.take().unwrap_or_default();
    ours.retain(|variable| theirs.iter().all(|own| own.name != variable.name));
    ours.extend(theirs);
    container.env = (!ours.is_empty()).then_some(ours);
}

/// Tolerates every taint with one of `keys`, unless the template does already.
pub fn tolerate(pod: &mut PodSpec, keys: &[String]) {
    let tolerations = pod.tolerations.get_or_insert_default();
    let mut keys = keys.to_vec();
    keys.sort();
    keys.dedup();
    for key in keys {
        let known = tolerations.iter().any(|own| {
            own.operator.as_deref() == Some("Exists")
                && own.effect.as_deref().is_none_or(str::is_empty)
                && own.toleration_seconds.is_none()
                && own.key.as_deref().is_none_or(|k| k.is_empty() || k == key)
        });
        if !known {
            tolerations.push(Toleration {
                key: Some(key),
                operator: Some("Exists".to_owned()),
                ..Toleration::default()
            });
        }
    }
    if tolerations.is_empty() {
        pod.tolerations = None;
    }
}

/// By name: a variable of the same name is replaced where it stands, another is added at the end.
fn merge_env(base: &mut Vec<EnvVar>, patch: &[EnvVar]) {
    for variable in patch {
        match base.iter_mut().find(|own| own.name == variable.name) {
            Some(own) => *own = variable.clone(),
            None => base.push(variable.clone()),
        }
    }
}

fn merge_resources(base: &mut ResourceRequirements, patch: &ResourceRequirements) {
    type Amounts = Option<BTreeMap<String, Quantity>>;
    let merge = |base: &mut Amounts, patch: &Amounts| {
        if let Some(patch) = patch {
            base.get_or_insert_default().extend(patch.clone());
        }
    };
    merge(&mut base.requests, &patch.requests);
    merge(&mut base.limits, &patch.limits);
    for claim in patch.claims.iter().flatten() {
        let claims = base.claims.get_or_insert_default();
        if !claims.contains(claim) {
            claims.push(claim.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::yaml;
    use super::*;

    #[test]
    fn a_taint_is_tolerated_once_and_for_every_effect() {
        let cases = [
            ("nothing is there", "null", "[{key: gpu, operator: Exists}]"),
            (
                "it is there",
                "[{key: gpu, operator: Exists}]",
                "[{key: gpu, operator: Exists}]",
            ),
            (
                "everything is tolerated",
                "[{operator: Exists}]",
                "[{operator: Exists}]",
            ),
            (
                "only one effect is",
                "[{key: gpu, operator: Exists, effect: NoSchedule}]",
                "[{key: gpu, operator: Exists, effect: NoSchedule}, {key: gpu, operator: Exists}]",
            ),
            (
                "only one value is",
                "[{key: gpu, value: a}]",
                "[{key: gpu, value: a}, {key: gpu, operator: Exists}]",
            ),
            (
                "only for a while",
                "[{key: gpu, operator: Exists, tolerationSeconds: 5}]",
                "[{key: gpu, operator: Exists, tolerationSeconds: 5}, {key: gpu, operator: Exists}]",
            ),
        ];
        for (what, own, expected) in cases {
            let mut pod = PodSpec {
                tolerations: yaml(own),
                ..PodSpec::default()
            };
            tolerate(&mut pod, &["gpu".to_owned(), "gpu".to_owned()]);
            assert_eq!(pod.tolerations, yaml(expected), "{what}");
        }
        let mut pod = PodSpec::default();
        tolerate(&mut pod, &[]);
        assert_eq!(pod.tolerations, None);
    }
}
