//! The namespace of a job in its member, where it is missing: made only where the MemberCluster says so, and as well confined as
//! the hub's own.

use std::collections::BTreeMap;

use ampacity_api::labels;
use ampacity_api::member_cluster::NamespacePolicy;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, PostParams};
use kube::core::Status;
use kube::{Client, ResourceExt};

/// Labels that say how pods of a namespace are confined begin with this
/// (kubernetes.io/docs/concepts/security/pod-security-admission).
const POD_SECURITY: &str = "pod-security.kubernetes.io/";

/// Why a member does not have the namespace of a job.
#[derive(Debug)]
pub(super) enum NamespaceError {
    /// It will not have it: why, and what to do.
    Refused(String),
    /// It could not be asked.
    Transient(kube::Error),
}

/// Whether the API server refused an object because its namespace is missing. What else is missing, the object's kind say, no
/// namespace helps.
pub(super) fn is_missing(namespace: &str, status: &Status) -> bool {
    let details = status.details.as_ref();
    status.code == 404 && details.is_some_and(|d| d.kind == "namespaces" && d.name == namespace)
}

/// Makes a namespace in `cluster` as its policy says, with the Pod Security labels of the hub's namespace of this name.
///
/// # Errors
/// When the policy or an API server will not have it, or does not answer.
pub(super) async fn make_namespace(
    hub: &Client,
    member: &Client,
    cluster: &str,
    name: &str,
    policy: NamespacePolicy,
) -> Result<(), NamespaceError> {
    if !policy.create {
        return Err(NamespaceError::Refused(format!(
            "cluster {cluster} has no namespace {name}, and the operator is not to make any there: run `kubectl create namespace {name}` in that cluster, or set spec.namespaces.create: true on MemberCluster {cluster}"
        )));
    }
    let own = match Api::<Namespace>::all(hub.clone())
        .get_metadata_opt(name)
        .await
    {
        Ok(found) => found.map(|namespace| namespace.labels().clone()),
        Err(kube::Error::Api(status)) if status.code == 403 => {
            return Err(NamespaceError::Refused(format!(
                "cluster {cluster} has no namespace {name}, and how the hub confines pods in its own is not known ({}): grant the operator get on namespaces in the hub, or create the namespace in that cluster",
                status.message
            )));
        }
        Err(error) => return Err(NamespaceError::Transient(error)),
    };
    let namespace = Namespace {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(labels_of(own.unwrap_or_default(), policy)),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    };
    match Api::<Namespace>::all(member.clone())
        .create(&PostParams::default(), &namespace)
        .await
    {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 422) => {
            Err(NamespaceError::Refused(format!(
                "cluster {cluster} has no namespace {name} and does not let the operator make it ({}): run `kubectl create namespace {name}` in that cluster, or install the chart there with member.createNamespaces=true",
                status.message
            )))
        }
        Err(error) => Err(NamespaceError::Transient(error)),
    }
}

/// Labels of a namespace that is made: what the hub's own says of pods, or else what the policy does.
fn labels_of(hub: BTreeMap<String, String>, policy: NamespacePolicy) -> BTreeMap<String, String> {
    let mut labels: BTreeMap<String, String> = hub
        .into_iter()
        .filter(|(key, _)| key.starts_with(POD_SECURITY))
        .collect();
    if labels.is_empty() {
        labels.insert(
            format!("{POD_SECURITY}enforce"),
            policy.pod_security.as_str().to_ascii_lowercase(),
        );
    }
    labels.insert(
        labels::MANAGED_BY.to_owned(),
        labels::MANAGED_BY_VALUE.to_owned(),
    );
    labels
}

#[cfg(test)]
mod tests {
    use ampacity_api::member_cluster::PodSecurityLevel;
    use axum::Router;
    use axum::body::Bytes;
    use axum::http::{Method, StatusCode};
    use serde_json::{Value, json};

    use super::*;

    fn policy(create: bool) -> NamespacePolicy {
        NamespacePolicy {
            create,
            ..NamespacePolicy::default()
        }
    }

    #[test]
    fn pods_are_confined_as_in_the_hub_or_as_the_cluster_says() {
        let own = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            let pairs = pairs.iter();
            pairs
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect()
        };
        let managed = ("app.kubernetes.io/managed-by", "ampacity");
        let enforce = "pod-security.kubernetes.io/enforce";
        let warn = "pod-security.kubernetes.io/warn";
        for (hub, level, expected) in [
            (
                &[][..],
                PodSecurityLevel::Baseline,
                &[managed, (enforce, "baseline")][..],
            ),
            (
                &[("team", "a")],
                PodSecurityLevel::Restricted,
                &[managed, (enforce, "restricted")],
            ),
            (
                &[("team", "a"), (enforce, "privileged"), (warn, "baseline")],
                PodSecurityLevel::Restricted,
                &[managed, (enforce, "privileged"), (warn, "baseline")],
            ),
            // What is only warned of in the hub is not enforced in the member either.
            (
                &[(warn, "baseline")],
                PodSecurityLevel::Baseline,
                &[managed, (warn, "baseline")],
            ),
        ] {
            let policy = NamespacePolicy {
                create: true,
                pod_security: level,
            };
            assert_eq!(labels_of(own(hub), policy), own(expected));
        }
        assert_eq!(
            NamespacePolicy::default(),
            policy(false),
            "opt-in, baseline"
        );
        assert_eq!(policy(true).pod_security, PodSecurityLevel::Baseline);
    }

    #[test]
    fn only_a_missing_namespace_is_made() {
        let status = |code: u16, kind: &str, name: &str| -> Status {
            let details = json!({"kind": kind, "name": name});
            serde_json::from_value(json!({"code": code, "details": details})).unwrap()
        };
        for (status, expected) in [
            (status(404, "namespaces", "research"), true),
            (status(404, "namespaces", "other"), false),
            (status(404, "resourceclaimtemplates", ""), false),
            (status(403, "namespaces", "research"), false),
            (
                Status {
                    code: 404,
                    ..Status::default()
                },
                false,
            ),
        ] {
            assert_eq!(is_missing("research", &status), expected, "{status:?}");
        }
    }

    /// An API server that answers reads with these labels and writes with this code; and what was written to it.
    async fn api_server(
        labels: Value,
        code: u16,
    ) -> (Client, tokio::sync::mpsc::UnboundedReceiver<Value>) {
        let (sender, written) = tokio::sync::mpsc::unbounded_channel();
        let handler = move |method: Method, body: Bytes| {
            let (sender, labels) = (sender.clone(), labels.clone());
            async move {
                if method == Method::GET {
                    let found = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                        "metadata": {"name": "research", "labels": labels}});
                    return (StatusCode::OK, found.to_string());
                }
                let body: Value = serde_json::from_slice(&body).unwrap();
                sender.send(body.clone()).unwrap();
                let answer = if code < 300 {
                    body
                } else {
                    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
                        "reason": "Told", "message": "as the test says"})
                };
                (StatusCode::from_u16(code).unwrap(), answer.to_string())
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, Router::new().fallback(handler)).into_future());
        let config = kube::Config::new(url.parse().unwrap());
        (Client::try_from(config).unwrap(), written)
    }

    #[tokio::test]
    async fn a_namespace_is_made_only_where_the_cluster_says_so() {
        let (hub, _) = api_server(
            json!({"pod-security.kubernetes.io/enforce": "restricted"}),
            500,
        )
        .await;
        let (member, mut written) = api_server(json!({}), 201).await;
        let refused = make_namespace(&hub, &member, "oslo", "research", policy(false)).await;
        let Err(NamespaceError::Refused(message)) = refused else {
            panic!("{refused:?}");
        };
        for part in [
            "oslo",
            "kubectl create namespace research",
            "spec.namespaces.create: true",
        ] {
            assert!(message.contains(part), "{message}");
        }
        assert!(
            written.try_recv().is_err(),
            "nothing is asked of the member"
        );
        make_namespace(&hub, &member, "oslo", "research", policy(true))
            .await
            .unwrap();
        let made = written.try_recv().unwrap();
        assert_eq!(
            made["metadata"]["labels"]["pod-security.kubernetes.io/enforce"],
            "restricted"
        );
    }

    #[tokio::test]
    async fn what_the_member_answers_is_told_apart() {
        for (code, expected) in [
            (201, "made"),
            (409, "made"),
            (403, "refused"),
            (500, "transient"),
        ] {
            let (hub, _) = api_server(json!({}), 500).await;
            let (member, _written) = api_server(json!({}), code).await;
            let made = match make_namespace(&hub, &member, "oslo", "research", policy(true)).await {
                Ok(()) => "made",
                Err(NamespaceError::Refused(_)) => "refused",
                Err(NamespaceError::Transient(_)) => "transient",
            };
            assert_eq!(made, expected, "{code}");
        }
    }
}
