//! API calls on behalf of decisions: bounded in number, one at a time per object, results back to the operator's inbox.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::sync::mpsc::Sender;

/// Runs effects. An effect is keyed by the object it acts for; a second one for the same key is refused until the first
/// has reported, so that decisions are always made on the outcome of the one before.
pub struct Effects<T> {
    inbox: Sender<T>,
    limits: BTreeMap<String, Arc<Semaphore>>,
    concurrency: usize,
    running: BTreeSet<String>,
}

impl<T: Send + 'static> Effects<T> {
    /// At most `concurrency` calls in flight per API server.
    pub fn new(inbox: Sender<T>, concurrency: usize) -> Self {
        Self {
            inbox,
            limits: BTreeMap::new(),
            concurrency,
            running: BTreeSet::new(),
        }
    }

    /// Whether an effect for this key has not reported yet.
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
        let (limit, inbox) = (Arc::clone(limit), self.inbox.clone());
        tokio::spawn(async move {
            // The semaphore is never closed; should it be, running without a permit beats losing the effect.
            let _permit = limit.acquire_owned().await.ok();
            let result = work.await;
            // The operator is gone when this fails, and with it everybody who could care.
            let _ = inbox.send(result).await;
        });
        true
    }

    /// The effect for `key` has reported.
    pub fn finished(&mut self, key: &str) {
        self.running.remove(key);
    }
}
