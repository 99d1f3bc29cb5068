//! Kubernetes Events: what happened to a job, for `kubectl describe` and `kubectl get events`.
//!
//! Events are for people and nothing depends on them. They are written beside everything else, one call at a time and at
//! a measured pace; what does not fit in the queue or is refused is dropped. Not kube's own recorder, because that joins
//! events of one reason whatever they say, keeping the first note, and walks through all recent ones for each new one.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::clock::wall_clock;
use super::happening::Happening;
use super::metrics::HUB_CLUSTER;
use super::series::{Remembered, Told};

/// Name under which the operator reports.
const CONTROLLER: &str = "ampacity.dev/operator";
/// Most events that wait to be written; beyond it the oldest are dropped.
const MAX_QUEUED: usize = 4096;
/// Least time between two calls.
const PACE: Duration = Duration::from_millis(10);
/// The same while jobs are being placed: they go first and are told of afterwards.
const BUSY_PACE: Duration = Duration::from_millis(250);
/// Longest `reportingInstance` that the API server takes, in bytes.
const MAX_INSTANCE_BYTES: usize = 128;
/// Longest object name that an event's name is made from, so that it stays below 253 bytes with its time.
const MAX_NAME_BYTES: usize = 220;

/// Writes Events in the background. They are told no more when it is dropped.
pub struct Recorder {
    shared: Arc<Shared>,
    writer: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    more: Notify,
    busy: AtomicBool,
}

impl Shared {
    /// The queue holds plain values: a panic elsewhere leaves nothing half done in it.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recorder {
    /// Starts a writer that reports as `identity`, the pod's name for instance. Must be called within a tokio runtime.
    pub fn new(client: Client, identity: &str) -> Self {
        let shared = Arc::new(Shared::default());
        let mut writer = Writer {
            client,
            instance: cut(identity, MAX_INSTANCE_BYTES).to_owned(),
            remembered: Remembered::default(),
        };
        let source = Arc::clone(&shared);
        let writer = tokio::spawn(async move {
            loop {
                let next = source.queue().take();
                match next {
                    Some(told) => {
                        writer.write(told).await;
                        let busy = source.busy.load(Ordering::Relaxed);
                        tokio::time::sleep(if busy { BUSY_PACE } else { PACE }).await;
                    }
                    None => source.more.notified().await,
                }
            }
        });
        Self { shared, writer }
    }

    /// Whether there is more important work for the API server than events.
    pub fn set_busy(&self, busy: bool) {
        self.shared.busy.store(busy, Ordering::Relaxed);
    }

    /// Tells what happened to an object. Returns at once; the event is written later, or never.
    pub fn record(&self, reference: ObjectReference, happening: Happening) {
        let told = Told {
            reference,
            happening,
            at: wall_clock(),
        };
        let dropped = self.shared.queue().put(told);
        if dropped.is_some_and(u64::is_power_of_two) {
            tracing::debug!(
                cluster = HUB_CLUSTER,
                ?dropped,
                "events dropped: more happens than can be told"
            );
        }
        self.shared.more.notify_one();
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.writer.abort();
    }
}

/// What waits to be written, oldest first.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<Told>,
    dropped: u64,
}

impl Queue {
    /// Adds an event. Returns how many were dropped in all, if one had to be.
    fn put(&mut self, told: Told) -> Option<u64> {
        let full = self.waiting.len() >= MAX_QUEUED;
        if full {
            self.waiting.pop_front();
            self.dropped = self.dropped.saturating_add(1);
        }
        self.waiting.push_back(told);
        full.then_some(self.dropped)
    }

    fn take(&mut self) -> Option<Told> {
        self.waiting.pop_front()
    }
}

struct Writer {
    client: Client,
    instance: String,
    remembered: Remembered,
}

impl Writer {
    async fn write(&mut self, told: Told) {
        let namespace = namespace(&told.reference).to_owned();
        let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        if let Some((name, series)) = self.remembered.again(&told) {
            let patch = Patch::Merge(json!({ "series": series }));
            match api.patch(&name, &PatchParams::default(), &patch).await {
                Ok(_) => return,
                // It has aged out of the API server: this is news again.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return failed(&told, &error),
            }
        }
        let event = event_object(&told, &self.instance);
        let name = event.metadata.name.clone().unwrap_or_default();
        match api.create(&PostParams::default(), &event).await {
            Ok(_) => self.remembered.wrote(&told, name),
            Err(error) => failed(&told, &error),
        }
    }
}

fn failed(told: &Told, error: &kube::Error) {
    let object = told.reference.name.as_deref().unwrap_or_default();
    tracing::debug!(cluster = HUB_CLUSTER, object, reason = told.happening.reason, %error, "event not written");
}

/// Events of cluster-scoped objects are kept in `default`.
fn namespace(reference: &ObjectReference) -> &str {
    reference.namespace.as_deref().unwrap_or("default")
}

fn event_object(told: &Told, instance: &str) -> Event {
    let happening = &told.happening;
    let object = told.reference.name.as_deref().unwrap_or("object");
    let name = format!(
        "{}.{:x}",
        cut(object, MAX_NAME_BYTES),
        told.at.as_nanosecond()
    );
    Event {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(namespace(&told.reference).to_owned()),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(told.at)),
        type_: Some(happening.type_.as_str().to_owned()),
        reason: Some(happening.reason.to_owned()),
        action: Some(happening.action.to_owned()),
        note: Some(happening.note.clone()),
        regarding: Some(told.reference.clone()),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        ..Event::default()
    }
}

/// The first `bytes` bytes of a text, cut between characters.
fn cut(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use axum::Router;
    use axum::body::Bytes;
    use axum::http::{Method, StatusCode, Uri};
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::*;
    use crate::runtime::series::tests::told;

    #[test]
    fn an_event_has_what_the_api_server_asks_for() {
        let event = event_object(
            &told("llama", "node a is gone", 1_750_000_000),
            "operator-0",
        );
        insta::assert_json_snapshot!(event);
    }

    #[test]
    fn names_stay_within_their_bounds() {
        let event = event_object(
            &told(&"é".repeat(300), "", 4_000_000_000),
            cut(&"x".repeat(500), MAX_INSTANCE_BYTES),
        );
        assert!(event.metadata.name.unwrap().len() <= 253);
        assert_eq!(event.reporting_instance.unwrap().len(), 128);
    }

    #[test]
    fn a_full_queue_drops_the_oldest_and_counts() {
        let mut queue = Queue::default();
        for n in 0..MAX_QUEUED {
            assert_eq!(queue.put(told(&n.to_string(), "", 0)), None);
        }
        assert_eq!(queue.put(told("last", "", 0)), Some(1));
        assert_eq!(queue.put(told("very last", "", 0)), Some(2));
        assert_eq!(queue.waiting.len(), MAX_QUEUED);
        assert_eq!(queue.take().unwrap().reference.name.unwrap(), "2");
    }

    /// One request as an API server saw it.
    #[derive(Debug, PartialEq)]
    struct Seen {
        method: Method,
        path: String,
        body: serde_json::Value,
        in_flight: usize,
    }

    /// An API server that answers each request with the next of `answers`, then 201.
    async fn api_server(answers: &'static [u16]) -> (Client, UnboundedReceiver<Seen>) {
        let (sender, receiver) = unbounded_channel();
        let in_flight = Arc::new(AtomicUsize::new(0));
        let answered = Arc::new(AtomicUsize::new(0));
        let handler = move |method: Method, uri: Uri, body: Bytes| {
            let (sender, in_flight) = (sender.clone(), Arc::clone(&in_flight));
            let answered = Arc::clone(&answered);
            async move {
                let now = in_flight.fetch_add(1, Ordering::SeqCst) + 1;
                tokio::task::yield_now().await;
                let seen = Seen {
                    method,
                    path: uri.path().to_owned(),
                    body: serde_json::from_slice(&body).unwrap(),
                    in_flight: now,
                };
                let code = answers
                    .get(answered.fetch_add(1, Ordering::SeqCst))
                    .copied()
                    .unwrap_or(201);
                let answer = if code < 300 {
                    body
                } else {
                    let status = json!({
                        "kind": "Status", "apiVersion": "v1", "status": "Failure",
                        "code": code, "reason": "Told", "message": "as the test says"
                    });
                    Bytes::from(status.to_string())
                };
                in_flight.fetch_sub(1, Ordering::SeqCst);
                sender.send(seen).unwrap();
                (StatusCode::from_u16(code).unwrap(), answer)
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, Router::new().fallback(handler)).into_future());
        let config = kube::Config::new(uri.parse().unwrap());
        (Client::try_from(config).unwrap(), receiver)
    }

    fn happened(note: &str) -> (ObjectReference, Happening) {
        let told = told("llama", note, 0);
        (told.reference, told.happening)
    }

    #[tokio::test]
    async fn events_are_written_one_at_a_time_and_repeats_are_counted_up() {
        let (client, mut seen) = api_server(&[]).await;
        let recorder = Recorder::new(client, "operator-0");
        for note in ["gone", "gone", "late"] {
            let (reference, happening) = happened(note);
            recorder.record(reference, happening);
        }
        let path = "/apis/events.k8s.io/v1/namespaces/research/events";
        let first = seen.recv().await.unwrap();
        assert_eq!((first.method, first.path.as_str()), (Method::POST, path));
        assert_eq!(first.body["note"], "gone");
        let name = first.body["metadata"]["name"].as_str().unwrap().to_owned();
        let second = seen.recv().await.unwrap();
        assert_eq!(
            (second.method, second.path),
            (Method::PATCH, format!("{path}/{name}"))
        );
        assert_eq!(second.body["series"]["count"], 2);
        let third = seen.recv().await.unwrap();
        assert_eq!((third.method, third.path.as_str()), (Method::POST, path));
        assert_eq!(third.body["note"], "late");
        assert_eq!([first.in_flight, second.in_flight, third.in_flight], [1; 3]);
        assert_eq!(recorder.shared.queue().dropped, 0);
    }

    #[tokio::test]
    async fn a_refused_event_is_dropped_and_the_next_is_written() {
        let (client, mut seen) = api_server(&[403, 201, 404]).await;
        let recorder = Recorder::new(client, "operator-0");
        // Refused; written; counted up in vain, because it is gone there; written again.
        for note in ["refused", "gone", "gone"] {
            let (reference, happening) = happened(note);
            recorder.record(reference, happening);
        }
        let mut methods = Vec::new();
        for _ in 0..4 {
            let seen = seen.recv().await.unwrap();
            methods.push((seen.method, seen.body["note"].as_str().map(str::to_owned)));
        }
        let gone = Some("gone".to_owned());
        assert_eq!(
            methods,
            [
                (Method::POST, Some("refused".to_owned())),
                (Method::POST, gone.clone()),
                (Method::PATCH, None),
                (Method::POST, gone),
            ]
        );
    }
}
