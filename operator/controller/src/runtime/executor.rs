//! API calls on behalf of decisions: at most so many in flight per server, one at a time per object, results back to the
//! operator's inbox, and none once another may lead.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Semaphore;
use tokio::sync::mpsc::Sender;
use tracing::Instrument;

use super::election::Tenure;
use super::in_flight::InFlight;
use super::metrics::HUB_CLUSTER;

/// The cluster that a server is in the log: the hub has several limits on calls, with names in brackets.
pub(super) fn called_cluster(server: &str) -> &str {
    if server.starts_with('(') {
        HUB_CLUSTER
    } else {
        server
    }
}

/// In front of every log line on a call and on what follows from its answer, whatever the level of the line.
pub(super) fn call_span(cluster: &str) -> tracing::Span {
    tracing::error_span!("call", cluster)
}

/// Runs calls. A call is keyed by the object that it acts for; a second one for the same key is refused until the first
/// has reported, so that decisions are always made on the outcome of the one before.
pub struct CallExecutor<T> {
    inbox: Sender<T>,
    limits: BTreeMap<String, Arc<Semaphore>>,
    concurrency: usize,
    running: BTreeSet<String>,
    tenure: Tenure,
    in_flight: InFlight,
}

impl<T: Send + 'static> CallExecutor<T> {
    /// At most `concurrency` calls in flight per API server, or as many as [`Self::limit`] says, as long as the tenure holds.
    pub fn new(inbox: Sender<T>, concurrency: usize, tenure: Tenure) -> Self {
        Self {
            inbox,
            limits: BTreeMap::new(),
            concurrency,
            running: BTreeSet::new(),
            tenure,
            in_flight: InFlight::default(),
        }
    }

    /// The calls that are on their way.
    pub fn in_flight(&self) -> InFlight {
        self.in_flight.clone()
    }

    /// At most so many calls in flight against a server.
    pub fn limit(&mut self, server: &str, concurrency: usize) {
        let limit = Arc::new(Semaphore::new(concurrency));
        self.limits.insert(server.to_owned(), limit);
    }

    /// Whether a call for this key has not reported yet.
    pub fn is_running(&self, key: &str) -> bool {
        self.running.contains(key)
    }

    /// Starts `work` for `key` against `server`, unless one is running for that key. Its result is sent to the inbox.
    pub fn start(
        &mut self,
        server: &str,
        key: &str,
        work: impl Future<Output = T> + Send + 'static,
    ) -> bool {
        if !self.running.insert(key.to_owned()) {
            return false;
        }
        let limit = self
            .limits
            .entry(server.to_owned())
            .or_insert_with(|| Arc::new(Semaphore::new(self.concurrency)));
        let (limit, inbox, tenure) = (Arc::clone(limit), self.inbox.clone(), self.tenure.clone());
        let flight = self.in_flight.begin();
        let call = async move {
            let _flight = flight;
            // The semaphore is never closed; should it be, running without a permit beats losing the call.
            let _permit = limit.acquire_owned().await.ok();
            if !tenure.holds_at(Instant::now()) {
                // The election is about to end this process; what was decided here is decided anew by whoever leads.
                tracing::warn!("leadership is over: a call is not made any more");
                return;
            }
            let result = work.await;
            // The operator is gone when this fails, and with it everybody who could care.
            let _ = inbox.send(result).await;
        };
        tokio::spawn(call.instrument(call_span(called_cluster(server))));
        true
    }

    /// The call for `key` has reported.
    pub fn finished(&mut self, key: &str) {
        self.running.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::mpsc::channel;

    use super::*;

    #[tokio::test]
    async fn who_steps_down_makes_no_more_calls_and_waits_for_those_on_their_way() {
        let tenure = Tenure::default();
        tenure.renew(Instant::now(), Duration::from_secs(3600));
        let (inbox, mut results) = channel(8);
        let mut calls = CallExecutor::new(inbox, 1, tenure.clone());
        let (go_on, waits) = tokio::sync::oneshot::channel();
        let (begins, begun) = tokio::sync::oneshot::channel();
        calls.start("a", "first", async move {
            let _ = begins.send(());
            let _ = waits.await;
            1
        });
        calls.start("a", "second", async { 2 });
        begun.await.unwrap();
        let in_flight = calls.in_flight();
        drop(calls);
        tenure.end();
        let mut none = std::pin::pin!(in_flight.none());
        let early = tokio::time::timeout(Duration::from_millis(20), &mut none).await;
        assert!(early.is_err(), "the first is on its way still");
        go_on.send(()).unwrap();
        none.await;
        assert_eq!(results.recv().await, Some(1));
        assert_eq!(results.recv().await, None, "the second is not made");
    }

    #[tokio::test]
    async fn one_at_a_time_per_key_and_none_after_the_tenure() {
        let tenure = Tenure::default();
        let (inbox, mut results) = channel(8);
        let mut calls = CallExecutor::new(inbox, 4, tenure.clone());
        tenure.renew(Instant::now(), Duration::from_secs(3600));
        assert!(calls.start("a", "one", async { 1 }));
        assert!(!calls.start("a", "one", async { 2 }), "it still runs");
        assert_eq!(results.recv().await, Some(1));
        calls.finished("one");
        let (inbox, mut results) = channel(8);
        let mut calls = CallExecutor::new(inbox, 4, Tenure::default());
        assert!(calls.start("a", "two", async { 2 }));
        drop(calls);
        assert_eq!(results.recv().await, None, "never made");
    }
}
