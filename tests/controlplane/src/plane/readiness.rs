//! When a program is ready to be used: each is asked, none is given time.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};

use super::ControlPlane;
use super::component::Component;
use crate::error::{Error, Result};

/// Between two looks: the programs answer from memory, but there may be many planes starting on few cores.
const POLL: Duration = Duration::from_millis(50);

/// For one look, which must not hang on a program that accepts and does not answer.
const LOOK: Duration = Duration::from_secs(5);

/// GETs a path of a server as text.
pub(super) async fn get_text(client: &Client, path: &str) -> kube::Result<String> {
    let request = http::Request::get(path)
        .body(Vec::new())
        .map_err(kube::Error::HttpError)?;
    client.request_text(request).await
}

/// Waits until `component` of `plane` says it is ready.
pub(super) async fn wait_ready(plane: &ControlPlane, component: Component) -> Result<()> {
    let ports = plane.ports;
    let (url, path) = match component {
        Component::Etcd => (format!("http://127.0.0.1:{}", ports.etcd_client), "/health"),
        Component::ApiServer => (plane.url(), "/readyz"),
        Component::ControllerManager => (
            format!("https://127.0.0.1:{}", ports.controller_manager),
            "/healthz",
        ),
        Component::Scheduler => (format!("https://127.0.0.1:{}", ports.scheduler), "/readyz"),
        Component::Kwok => (format!("http://127.0.0.1:{}", ports.kwok), "/healthz"),
    };
    let client = plane.client_at(&url, plane.admin_token()?)?;
    let mut last = None;
    let ready = tokio::time::timeout(plane.ready_timeout, async {
        loop {
            match plane.processes().get_mut(&component) {
                Some(process) => process.check_running()?,
                None => return Err(plane.not_running(component)),
            }
            match tokio::time::timeout(LOOK, look(&client, component, path)).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => last = Some(error.to_string()),
                Err(_) => last = Some(format!("no answer within {LOOK:?}")),
            }
            tokio::time::sleep(POLL).await;
        }
    })
    .await;
    ready.unwrap_or_else(|_| {
        Err(Error::Timeout {
            what: format!(
                "{component} of control plane {} to become ready",
                plane.name
            ),
            timeout: plane.ready_timeout,
            last,
        })
    })
}

async fn look(client: &Client, component: Component, path: &str) -> kube::Result<()> {
    get_text(client, path).await?;
    if component == Component::ApiServer {
        // Made by a controller of the API server shortly after it reports ready.
        Api::<Namespace>::all(client.clone()).get("default").await?;
    }
    Ok(())
}
