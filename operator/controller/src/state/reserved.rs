//! What belongs to the clusters themselves, so that no job may have it: a job in such a namespace, or of such a priority, would
//! act as part of the control plane of whichever member it is placed in.

/// Namespaces of Kubernetes' own begin with this (kubernetes.io/docs/concepts/overview/working-with-objects/namespaces).
const NAMESPACE_PREFIX: &str = "kube-";
/// PriorityClasses of Kubernetes' own begin with this (kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption):
/// their pods displace any other, and are displaced by none.
const PRIORITY_CLASS_PREFIX: &str = "system-";

/// Why no job of a namespace is placed, and what to do; `None` where it may be. `own`: the operator's namespace.
pub fn reserved_namespace(namespace: &str, own: Option<&str>) -> Option<String> {
    let whose = if namespace.starts_with(NAMESPACE_PREFIX) {
        "belongs to the clusters themselves"
    } else if own == Some(namespace) {
        "is the operator's own, with the credentials of every member"
    } else {
        return None;
    };
    Some(format!(
        "namespace {namespace} {whose}, so no job of it is placed anywhere; apply the job in a namespace of its users"
    ))
}

/// Why no pod of ours has this PriorityClass, and what to do; `None` where it may.
pub fn reserved_priority_class(name: &str) -> Option<String> {
    name.starts_with(PRIORITY_CLASS_PREFIX).then(|| {
        format!(
            "PriorityClass {name:?} is for the components of a cluster, whose pods displace all others; name one of your own, or none"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_the_clusters_own_is_reserved() {
        let own = Some("ampacity-system");
        for (namespace, is_reserved) in [
            ("kube-system", true),
            ("kube-public", true),
            ("kube-node-lease", true),
            ("ampacity-system", true),
            ("kubeflow", false),
            ("research", false),
            ("default", false),
            ("ampacity-system-2", false),
        ] {
            let found = reserved_namespace(namespace, own);
            assert_eq!(found.is_some(), is_reserved, "{namespace}");
        }
        assert_eq!(reserved_namespace("ampacity-system", None), None);
        for (class, is_reserved) in [
            ("system-cluster-critical", true),
            ("system-node-critical", true),
            ("high", false),
            ("systemic", false),
        ] {
            assert_eq!(reserved_priority_class(class).is_some(), is_reserved);
        }
    }
}
