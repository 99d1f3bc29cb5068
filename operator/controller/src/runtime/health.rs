//! Whether the process is alive and ready, and its metrics, over HTTP.
//!
//! | Path | Says no when |
//! |---|---|
//! | `/healthz` | it leads and its loop has not turned for a minute: only a new process helps |
//! | `/readyz` | the hub's CRDs are older than it; it leads and has not read all of the hub yet, or is stuck |
//!
//! A standby is alive and ready: it is there to take over, and says that it waits.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::metrics::Metrics;
use super::standing::Standing;

/// A loop that has not turned for so long is stuck. It turns twice a second when nothing happens, and the largest plans take
/// seconds.
const STUCK_AFTER: Duration = Duration::from_secs(60);
/// Media type of the OpenMetrics text format, version 1.0.0.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Health and metrics cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}; choose another --listen address")]
pub struct ListenError {
    address: SocketAddr,
    source: std::io::Error,
}

/// How far the process has come.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// It waits for something in the hub to be put right.
    Waiting(String),
    /// Another operator leads.
    Standby,
    /// It leads.
    Leading {
        /// When its loop last turned; before the first turn, when it began to lead.
        turned: Instant,
        /// Kinds of the hub that have not been read yet; `None` before the first turn.
        unread: Option<Vec<String>>,
    },
}

/// What is known of the process's health; clones share it.
#[derive(Clone, Debug)]
pub struct Health {
    stage: Arc<Mutex<Stage>>,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            stage: Arc::new(Mutex::new(Stage::Standby)),
        }
    }
}

/// Yes or no, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    ok: bool,
    text: String,
}

impl Answer {
    fn yes(text: &str) -> Self {
        Self {
            ok: true,
            text: text.to_owned(),
        }
    }

    fn no(text: String) -> Self {
        Self { ok: false, text }
    }

    fn response(self) -> (StatusCode, String) {
        let code = if self.ok {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        (code, self.text + "\n")
    }
}

impl Health {
    /// A plain value: a panic elsewhere leaves nothing half done in it.
    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before it may lead something is to be put right, or is now.
    pub fn waits_for(&self, what: Option<String>) {
        *self.stage() = what.map_or(Stage::Standby, Stage::Waiting);
    }

    /// Leadership was won.
    pub fn leads(&self, now: Instant) {
        *self.stage() = Stage::Leading {
            turned: now,
            unread: None,
        };
    }

    /// The loop turned; these kinds of the hub have not been read yet.
    pub fn turned(&self, now: Instant, unread_kinds: Vec<String>) {
        *self.stage() = Stage::Leading {
            turned: now,
            unread: Some(unread_kinds),
        };
    }

    fn alive(&self, now: Instant) -> Answer {
        match &*self.stage() {
            Stage::Waiting(_) => Answer::yes("ok: it waits to be ready"),
            Stage::Standby => Answer::yes("ok: standby, it waits for the Lease"),
            Stage::Leading { turned, .. } => {
                let silent = now.saturating_duration_since(*turned);
                if silent > STUCK_AFTER {
                    Answer::no(format!(
                        "stuck: the loop has not turned for {} s; this is a bug, please report it with the log",
                        silent.as_secs()
                    ))
                } else {
                    Answer::yes("ok: leading")
                }
            }
        }
    }

    /// Whether it can do its work; `None` where it can, else why not.
    #[cfg(test)]
    pub(super) fn not_ready(&self, now: Instant) -> Option<String> {
        let answer = self.ready(now);
        (!answer.ok).then_some(answer.text)
    }

    fn ready(&self, now: Instant) -> Answer {
        let alive = self.alive(now);
        if !alive.ok {
            return alive;
        }
        match &*self.stage() {
            Stage::Waiting(what) => Answer::no(format!("not ready: {what}")),
            Stage::Leading { unread: None, .. } => {
                Answer::no("not ready: it has just begun to lead".to_owned())
            }
            Stage::Leading {
                unread: Some(kinds),
                ..
            } if !kinds.is_empty() => Answer::no(format!(
                "not ready: the hub's objects of kind {} have not been read yet; the log says which watch fails, and why",
                kinds.join(", ")
            )),
            Stage::Standby | Stage::Leading { .. } => alive,
        }
    }
}

/// Serves `/healthz`, `/readyz` and `/metrics` until the returned set is dropped. `/readyz` says who leads.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(
    address: Option<SocketAddr>,
    health: Health,
    standing: Standing,
    metrics: Metrics,
) -> Result<JoinSet<()>, ListenError> {
    let mut set = JoinSet::new();
    let Some(address) = address else {
        return Ok(set);
    };
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| ListenError { address, source })?;
    set.spawn(answer(listener, health, standing, metrics));
    Ok(set)
}

async fn answer(listener: TcpListener, health: Health, standing: Standing, metrics: Metrics) {
    let ready = health.clone();
    let router = Router::new()
        .route(
            "/healthz",
            get(move || async move { health.alive(Instant::now()).response() }),
        )
        .route(
            "/readyz",
            get(move || async move {
                match ready.ready(Instant::now()) {
                    answer if answer.ok => (StatusCode::OK, standing.text()),
                    answer => answer.response(),
                }
            }),
        )
        .route(
            "/metrics",
            get(move || async move { ([(header::CONTENT_TYPE, OPEN_METRICS)], metrics.text()) }),
        );
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "health and metrics are not served any more");
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    /// Alive, ready, and what the second says.
    fn said(health: &Health, now: Instant) -> (bool, bool, String) {
        let ready = health.ready(now);
        (health.alive(now).ok, ready.ok, ready.text)
    }

    #[test]
    fn a_standby_is_ready_and_says_that_it_waits() {
        let (alive, ready, text) = said(&Health::default(), Instant::now());
        assert!(alive && ready);
        assert!(text.contains("standby"), "{text}");
    }

    #[test]
    fn a_leader_is_ready_once_it_has_read_the_hub() {
        let health = Health::default();
        let start = Instant::now();
        health.leads(start);
        let (alive, ready, text) = said(&health, start);
        assert!(alive && !ready, "{text}");
        health.turned(start, vec!["PowerDomain".into(), "PriceSheet".into()]);
        let (alive, ready, text) = said(&health, start);
        assert!(alive && !ready);
        assert!(text.contains("PowerDomain, PriceSheet"), "{text}");
        health.turned(start, Vec::new());
        assert_eq!(said(&health, start), (true, true, "ok: leading".to_owned()));
    }

    #[test]
    fn a_loop_that_turns_no_more_is_neither_alive_nor_ready() {
        let health = Health::default();
        let start = Instant::now();
        health.leads(start);
        let late = start + STUCK_AFTER + Duration::from_secs(1);
        let (alive, ready, text) = said(&health, late);
        assert!(!alive && !ready, "it never turned: {text}");
        health.turned(start, Vec::new());
        assert!(health.alive(start + STUCK_AFTER).ok);
        let (alive, ready, text) = said(&health, late);
        assert!(!alive && !ready);
        assert!(text.contains("has not turned for 61 s"), "{text}");
        health.turned(late, Vec::new());
        assert!(said(&health, late).0, "it turns again");
    }

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: operator\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn both_answers_are_given_over_http() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let health = Health::default();
        let served = tokio::spawn(answer(
            listener,
            health.clone(),
            Standing::default(),
            Metrics::default(),
        ));
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        health.leads(Instant::now());
        let answer = get(address, "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.contains("not ready"), "{answer}");
        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        let long_ago = Instant::now().checked_sub(2 * STUCK_AFTER);
        if let Some(long_ago) = long_ago {
            health.turned(long_ago, Vec::new());
            assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 503"));
        }
        let metrics = get(address, "/metrics").await;
        assert!(metrics.contains(OPEN_METRICS), "{metrics}");
        assert!(metrics.contains("ampacity_leader_epoch 0"), "{metrics}");
        served.abort();
    }
}
