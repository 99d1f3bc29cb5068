//! How many calls are on their way, so that a process that steps down does so after its last one.

use tokio::sync::watch;

/// Counts calls in flight; clones share the count.
#[derive(Clone, Debug)]
pub struct InFlight(watch::Sender<usize>);

/// One call in flight, until dropped.
#[derive(Debug)]
pub struct Flight(watch::Sender<usize>);

impl Default for InFlight {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl InFlight {
    /// One more.
    pub fn begin(&self) -> Flight {
        self.0.send_modify(|count| *count += 1);
        Flight(self.0.clone())
    }

    /// Returns once there are none.
    pub async fn none(&self) {
        // The sender is held by `self`, so that the channel cannot be closed.
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}
