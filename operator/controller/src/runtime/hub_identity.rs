//! Which hub this is: what tells its workloads apart from those of other hubs in a member that they share.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::Api;

use super::clients::Clients;

/// The namespace whose UID names a cluster: every cluster has it from its first start to its end, and nobody can make it anew.
const CLUSTER_NAMESPACE: &str = "kube-system";
/// How much of the UID is taken: 48 random bits (RFC 9562), so that hubs that share a member do not meet by chance, in a
/// label that every pod carries.
const UID_DIGITS: usize = 12;
/// Pause between questions to a hub that does not answer.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// Why the identity of a hub cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum HubIdentityError {
    /// The hub cannot be called.
    #[error("cannot use the hub's configuration: {0}")]
    Hub(#[source] Box<kube::Error>),
    /// The namespace may not be read.
    #[error(
        "may not read Namespace {CLUSTER_NAMESPACE}, whose UID tells this hub from others: {0}; grant get on it, or name the hub with --hub-name"
    )]
    Forbidden(#[source] Box<kube::Error>),
    /// The namespace has no UID to go by.
    #[error(
        "Namespace {CLUSTER_NAMESPACE} does not exist or has no UID; name the hub with --hub-name"
    )]
    NoUid,
}

/// The identity of a hub that was given no name, from its cluster's UID. A hub that does not answer is asked until it does.
///
/// # Errors
/// See [`HubIdentityError`].
pub async fn hub_identity(hub: kube::Config) -> Result<String, HubIdentityError> {
    let clients = Clients::new(hub).map_err(|error| HubIdentityError::Hub(Box::new(error)))?;
    let api: Api<Namespace> = Api::all(clients.calls);
    loop {
        match api.get_metadata_opt(CLUSTER_NAMESPACE).await {
            Ok(found) => {
                let uid = found.and_then(|namespace| namespace.metadata.uid);
                return uid
                    .and_then(|uid| of_uid(&uid))
                    .ok_or(HubIdentityError::NoUid);
            }
            Err(kube::Error::Api(status)) if status.code == 401 || status.code == 403 => {
                let error = Box::new(kube::Error::Api(status));
                return Err(HubIdentityError::Forbidden(error));
            }
            Err(kube::Error::Api(status)) if status.code == 404 => {
                return Err(HubIdentityError::NoUid);
            }
            Err(error) => {
                tracing::warn!(%error, "cannot read Namespace {CLUSTER_NAMESPACE}, which tells this hub from others; trying again");
                tokio::time::sleep(ASK_AGAIN).await;
            }
        }
    }
}

/// `hub-` and the first digits of a UID; `None` where it has too few to tell clusters apart.
fn of_uid(uid: &str) -> Option<String> {
    let digits = uid.chars().filter(char::is_ascii_alphanumeric);
    let digits: String = digits.take(UID_DIGITS).collect();
    (digits.len() == UID_DIGITS).then(|| format!("hub-{}", digits.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::{StatusCode, Uri};
    use serde_json::json;

    use super::*;

    #[test]
    fn an_identity_is_a_label_value_and_differs_with_the_cluster() {
        for (uid, expected) in [
            (
                "3e1f6c0a-9b7d-4c1e-8f00-1234567890ab",
                Some("hub-3e1f6c0a9b7d"),
            ),
            (
                "3e1f6c0a-9b7e-4c1e-8f00-1234567890ab",
                Some("hub-3e1f6c0a9b7e"),
            ),
            ("3e1f6c0a", None),
            ("", None),
            ("::::::::::::::::", None),
        ] {
            assert_eq!(of_uid(uid).as_deref(), expected, "{uid:?}");
        }
    }

    /// The identity of a hub that answers the question for the namespace so.
    async fn answered(code: u16, uid: Option<&'static str>) -> Result<String, HubIdentityError> {
        let handler = move |uri: Uri| async move {
            assert_eq!(uri.path(), "/api/v1/namespaces/kube-system");
            let body = if code == 200 {
                json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                    "metadata": {"name": "kube-system", "uid": uid}})
            } else {
                json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
                    "reason": if code == 404 { "NotFound" } else { "Told" }, "message": "as the test says"})
            };
            (StatusCode::from_u16(code).unwrap(), body.to_string())
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving =
            tokio::spawn(axum::serve(listener, Router::new().fallback(handler)).into_future());
        let identity = hub_identity(kube::Config::new(url.parse().unwrap())).await;
        serving.abort();
        identity
    }

    #[tokio::test]
    async fn it_is_read_from_the_hub_and_a_refusal_says_what_to_do() {
        let uid = Some("3e1f6c0a-9b7d-4c1e-8f00-1234567890ab");
        assert_eq!(answered(200, uid).await.unwrap(), "hub-3e1f6c0a9b7d");
        for (code, uid) in [(200, None), (403, None), (404, None)] {
            let error = answered(code, uid).await.unwrap_err().to_string();
            assert!(error.contains("--hub-name"), "{code}: {error}");
        }
    }
}
