//! The acting operator: the state, and the means to call API servers and to tell people.

use std::collections::BTreeMap;

use ampacity_api::Placement;
use jiff::Timestamp;
use kube::Client;
use tokio::sync::mpsc::Sender;

use super::backoff::Backoff;
use super::clients::Clients;
use super::config::OperatorConfig;
use super::election::Tenure;
use super::executor::CallExecutor;
use super::metrics::Metrics;
use super::recorder::Recorder;
use crate::state::{JobKey, Kinds, ObjectKey, State};

/// Name of the hub among the servers whose calls are bounded; no MemberCluster can have it.
pub const HUB: &str = "(hub)";
/// Status writes have a limit of their own, so that they never hold up placements.
pub const HUB_STATUS: &str = "(hub status)";
/// Statuses that are written at once. Few, so that placements go before statuses while many jobs are being placed.
const STATUSES_AT_ONCE: usize = 4;
/// Seconds until a failed call is tried again.
pub const RETRY_SECONDS: i64 = 2;

/// What follows from something that happened, in the loop's own task: from the result of a call, say. So it stands where the
/// call is made.
pub type Then = Box<dyn FnOnce(&mut Operator) + Send>;

/// What arrives in the inbox.
pub enum Message {
    /// A watch or a link tells something.
    Event(Then),
    /// A call ended.
    Done {
        /// Key that it was started with.
        key: String,
        /// What follows.
        then: Then,
    },
}

/// The acting operator.
pub struct Operator {
    /// How it is run.
    pub config: OperatorConfig,
    /// For calls to the hub.
    pub hub: Client,
    /// For calls and watches.
    pub hub_clients: Clients,
    /// Fencing epoch of its term.
    pub epoch: i64,
    /// All that is known.
    pub state: State,
    /// Calls in flight.
    pub calls: CallExecutor<Message>,
    /// Calls that failed, and when they may be made again.
    pub backoff: Backoff,
    /// What is counted.
    pub metrics: Metrics,
    /// Writes Events.
    pub recorder: Recorder,
    /// Where watches and calls report.
    pub inbox: Sender<Message>,
    /// Clients of members whose MemberCluster is gone while placements are still there.
    pub departed: BTreeMap<String, Client>,
    /// How many links were made: each has a number, and events of an earlier one are ignored.
    pub links_made: u64,
}

impl Operator {
    /// An operator that leads in this epoch.
    pub fn new(
        config: OperatorConfig,
        hub: Clients,
        epoch: i64,
        tenure: Tenure,
        metrics: Metrics,
        inbox: Sender<Message>,
        kinds: Kinds,
    ) -> Self {
        let mut calls = CallExecutor::new(inbox.clone(), config.concurrency, tenure);
        calls.limit(HUB_STATUS, STATUSES_AT_ONCE);
        Self {
            calls,
            backoff: Backoff::default(),
            recorder: Recorder::new(hub.calls.clone(), &config.identity),
            state: State {
                own_namespace: Some(config.namespace.clone()),
                ..State::new(kinds)
            },
            config,
            hub: hub.calls.clone(),
            hub_clients: hub,
            epoch,
            metrics,
            inbox,
            departed: BTreeMap::new(),
            links_made: 0,
        }
    }

    /// Takes a message in.
    pub fn take_in(&mut self, message: Message) {
        match message {
            Message::Event(then) => then(self),
            Message::Done { key, then } => {
                self.calls.finished(&key);
                then(self);
            }
        }
    }

    /// Starts a call; see [`CallExecutor::start`].
    pub fn start(
        &mut self,
        server: &str,
        key: String,
        work: impl Future<Output = Then> + Send + 'static,
    ) -> bool {
        let done = key.clone();
        self.calls.start(server, &key, async move {
            Message::Done {
                key: done,
                then: work.await,
            }
        })
    }

    /// Has a job reconciled again after some seconds, or sooner where that was asked for before.
    pub fn requeue_after(&mut self, job: &JobKey, now: Timestamp, seconds: i64) {
        self.state.requeue_after(job, now, seconds);
    }

    /// The client of a placement's member, where new work may go there.
    pub fn member_client(&self, placement: &Placement) -> Option<Client> {
        self.state.usable_member(placement)?.client.clone()
    }

    /// After a call about a placement: counts it, and has its job reconciled again soon if it failed.
    pub fn retry_if_failed(
        &mut self,
        call: &str,
        key: &ObjectKey,
        result: Result<(), kube::Error>,
    ) {
        self.metrics.called(call, result.is_ok());
        if let Err(error) = result {
            tracing::warn!(placement = %key, %error, call, "call failed; trying again");
            if let Some(job) = self.state.placement(key).map(JobKey::of_placement) {
                self.requeue_after(&job, Timestamp::now(), RETRY_SECONDS);
            }
        }
    }
}

/// Key of the call that writes a job's status.
pub fn status_call(job: &JobKey) -> String {
    format!("status/{job}")
}

/// Key of every call on a placement: making, changing, removing; one at a time.
pub fn placement_call(placement: &ObjectKey) -> String {
    format!("placement/{placement}")
}
