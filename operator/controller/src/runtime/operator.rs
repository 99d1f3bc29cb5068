//! The acting operator: the state, and the means to call API servers and to tell people.

use std::collections::BTreeMap;
use std::time::Instant;

use ampacity_api::Placement;
use jiff::Timestamp;
use kube::Client;
use tokio::sync::mpsc::Sender;

use super::backoff::Backoff;
use super::clients::Clients;
use super::clock::wall_clock;
use super::config::OperatorConfig;
use super::election::Tenure;
use super::executor::{CallExecutor, call_span, called_cluster};
use super::metrics::{HUB_CLUSTER, Metrics};
use super::recorder::Recorder;
use crate::state::{JobKey, Kinds, ObjectKey, State};

/// Name of the hub among the servers whose calls are bounded; no MemberCluster can have it.
pub const HUB: &str = "(hub)";
/// Status writes have a limit of their own, so that they never hold up placements.
pub const HUB_STATUS: &str = "(hub status)";
/// Phases of Placements have another: a job's status says more, and goes first.
pub const HUB_PHASES: &str = "(hub phases)";
/// Statuses that are written at once. Few, so that placements go before statuses while many jobs are being placed.
const STATUSES_AT_ONCE: usize = 4;
/// Phases that are written at once.
const PHASES_AT_ONCE: usize = 2;
/// Seconds until a failed call is tried again.
pub const RETRY_SECONDS: i64 = 2;

/// What follows from something that happened, in the loop's own task: from the result of a call, say. So it stands where the
/// call is made.
pub type Then = Box<dyn FnOnce(&mut Operator) + Send>;

/// What arrives in the inbox.
pub struct Message {
    /// When it was made: what is not taken in at once waits.
    since: Instant,
    what: What,
}

enum What {
    /// A watch or a link tells something.
    Event(Then),
    /// A call ended.
    Done {
        /// Key that it was started with.
        key: String,
        /// The cluster that was called.
        cluster: String,
        /// What follows.
        then: Then,
    },
}

impl Message {
    /// A watch or a link tells something.
    pub fn event(then: impl FnOnce(&mut Operator) + Send + 'static) -> Self {
        Self {
            since: Instant::now(),
            what: What::Event(Box::new(then)),
        }
    }

    /// The call to `cluster` that was started with `key` ended.
    fn done(key: String, cluster: String, then: Then) -> Self {
        Self {
            since: Instant::now(),
            what: What::Done { key, cluster, then },
        }
    }
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
    /// The cluster whose answer to a call is being taken in.
    called: Option<String>,
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
        calls.limit(HUB_PHASES, PHASES_AT_ONCE);
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
            called: None,
        }
    }

    /// Takes a message in.
    pub fn take_in(&mut self, message: Message) {
        self.metrics.waited(message.since.elapsed());
        match message.what {
            What::Event(then) => then(self),
            What::Done { key, cluster, then } => {
                self.calls.finished(&key);
                let _span = call_span(&cluster).entered();
                self.called = Some(cluster);
                then(self);
                self.called = None;
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
        let (done, cluster) = (key.clone(), called_cluster(server).to_owned());
        self.calls.start(server, &key, async move {
            let then = work.await;
            Message::done(done, cluster, then)
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
            let cluster = self.called.as_deref().unwrap_or(HUB_CLUSTER);
            let is_conflict = matches!(&error, kube::Error::Api(status) if status.code == 409);
            if is_conflict {
                // Another write came first, our own perhaps: the watch brings it, and what follows is worked out again.
                tracing::debug!(cluster, placement = %key, %error, call, "decided on an old picture");
            } else {
                tracing::warn!(cluster, placement = %key, %error, call, "call failed; trying again");
            }
            if let Some(job) = self.state.placement(key).map(JobKey::of_placement) {
                let seconds = if is_conflict { 1 } else { RETRY_SECONDS };
                self.requeue_after(&job, wall_clock(), seconds);
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

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use tokio::sync::mpsc::{Receiver, channel};

    use super::*;

    /// What was logged.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Log {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    /// An operator whose hub answers nothing, and its inbox.
    pub fn operator() -> (Operator, Receiver<Message>) {
        let config = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
        let (inbox, messages) = channel(8);
        let operator = Operator::new(
            OperatorConfig::default(),
            Clients::new(config).unwrap(),
            1,
            Tenure::default(),
            Metrics::default(),
            inbox,
            Kinds::default(),
        );
        (operator, messages)
    }

    /// Calls a server in vain, and takes the answer in.
    async fn call_in_vain(server: &str) -> String {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        let _logged = tracing::subscriber::set_default(subscriber);
        let (mut operator, mut messages) = operator();
        // Who does not lead makes no call.
        operator.calls = CallExecutor::new(operator.inbox.clone(), 1, leading());
        operator.start(server, "key".to_owned(), async {
            Box::new(|operator: &mut Operator| {
                tracing::warn!("whatever follows");
                let lost = Err(kube::Error::LinesCodecMaxLineLengthExceeded);
                let key = ObjectKey::new("research", "llama-1");
                operator.retry_if_failed("bind pod", &key, lost);
            }) as Then
        });
        let answer = messages.recv().await.unwrap();
        operator.take_in(answer);
        log.text()
    }

    fn leading() -> Tenure {
        let tenure = Tenure::default();
        tenure.renew(Instant::now(), std::time::Duration::from_secs(60));
        tenure
    }

    #[tokio::test]
    async fn every_line_on_a_failed_call_names_the_cluster() {
        for (server, cluster) in [
            ("oslo", "cluster=\"oslo\""),
            (HUB, "cluster=\"hub\""),
            (HUB_STATUS, "cluster=\"hub\""),
        ] {
            let text = call_in_vain(server).await;
            let about = |what: &str| {
                text.lines()
                    .any(|l| l.contains(what) && l.contains(cluster))
            };
            assert!(about("whatever follows"), "{text}");
            assert!(about("call failed; trying again"), "{text}");
        }
    }
}
