//! Health and metrics over HTTP.

use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::metrics::Metrics;
use super::standing::Standing;

/// Health and metrics cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}; choose another --listen address")]
pub struct ListenError {
    address: SocketAddr,
    source: std::io::Error,
}

/// Serves `/healthz`, `/readyz` and `/metrics` until the returned set is dropped. `/readyz` says who leads.
pub async fn serve(
    address: Option<SocketAddr>,
    metrics: Metrics,
    standing: Standing,
) -> Result<JoinSet<()>, ListenError> {
    let mut set = JoinSet::new();
    let Some(address) = address else {
        return Ok(set);
    };
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| ListenError { address, source })?;
    let router = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(move || async move { standing.text() }))
        .route("/metrics", get(move || async move { metrics.text() }));
    set.spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "health and metrics are not served any more");
        }
    });
    Ok(set)
}
