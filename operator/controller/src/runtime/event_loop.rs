//! The loop: everything that happens arrives in one inbox, changes the state, and a cycle of the pipeline follows.
//!
//! ```text
//!  watches, links, results of our own calls ──► inbox ──► State ──► Pipeline::cycle: the stages in their order
//!                                                ▲                          │
//!                                                └── CallExecutor (bounded) ◄┘
//! ```
//!
//! Decisions are made in one task, on one picture; only API calls run beside it.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::mpsc::{Receiver, channel};
use tokio::task::JoinSet;

use super::clients::Clients;
use super::clock::{ClockStep, ClockWatch, wall_clock};
use super::config::OperatorConfig;
use super::election::{Elector, ElectorError, Timing};
use super::health::{self, Health};
use super::in_flight::InFlight;
use super::metrics::Metrics;
use super::operator::{Message, Operator};
use super::schema::await_schemas;
use super::standing::Standing;
use crate::state::{ClockSteps, Kinds};

/// Most messages taken in before a cycle.
const BATCH: usize = 4096;
/// How long a cycle waits for more messages, so that a burst is planned as one.
const COALESCE: Duration = Duration::from_millis(4);
/// A cycle runs at least this often, whether anything happened or not: some things are told by the clock alone.
const TICK: Duration = Duration::from_millis(500);

/// How long a process that is asked to stop waits for the calls that it has made. Kubernetes kills it after 30 s.
const LAST_CALLS_WITHIN: Duration = Duration::from_secs(20);

/// What the loop drives.
pub trait Pipeline: Send + 'static {
    /// Starts what feeds the inbox, until the set is dropped.
    fn watch(&self, operator: &Operator) -> JoinSet<()>;

    /// Decides and acts on what has changed. `now`: the time by a clock that has not jumped since the operator was made.
    fn cycle(&mut self, operator: &mut Operator, now: Timestamp);
}

/// Why the operator ended.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The election failed or leadership was lost.
    #[error(transparent)]
    Leader(#[from] ElectorError),
    /// The loop ended by itself. The process must end, so that another takes over or it starts afresh.
    #[error("the operator's loop ended: {0}; this is a bug, please report it")]
    Stopped(String),
    /// The hub cannot be called.
    #[error("cannot use the hub's configuration: {0}")]
    Hub(#[source] kube::Error),
    /// Health and metrics cannot be served.
    #[error(transparent)]
    Listen(#[from] health::ListenError),
}

/// Runs until shutdown or until leadership is lost.
///
/// # Errors
/// See [`OperatorError`]. After [`ElectorError::Lost`] the process must end: another may be acting.
pub async fn run(
    config: OperatorConfig,
    hub: kube::Config,
    kinds: Kinds,
    mut pipeline: impl Pipeline,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), OperatorError> {
    let hub = Clients::new(hub).map_err(OperatorError::Hub)?;
    let metrics = Metrics::default();
    let (health, standing) = (Health::default(), Standing::default());
    let server = health::serve(
        config.listen,
        health.clone(),
        standing.clone(),
        metrics.clone(),
    )
    .await?;
    let timing = Timing::from_lease(config.lease_duration.unwrap_or(Duration::from_secs(15)));
    let mut elector = Elector::new(
        hub.calls.clone(),
        &config.lease_namespace,
        &config.lease_name,
        config.identity.clone(),
        timing,
        standing,
    );
    tokio::pin!(shutdown);
    let elected = async {
        await_schemas(&hub.calls, &health).await;
        if config.lease_duration.is_some() {
            elector.acquire().await
        } else {
            elector.seize().await
        }
    };
    let epoch = tokio::select! {
        epoch = elected => epoch?,
        () = &mut shutdown => return Ok(()),
    };
    tracing::info!(epoch, identity = %config.identity, hub = %config.hub_name, "leading");
    metrics.set_leading(epoch);
    health.leads(Instant::now());
    let tenure = elector.tenure();
    let (mut clock_steps, mut earlier) = (ClockSteps::default(), None::<InFlight>);
    let result = loop {
        let (inbox, messages) = channel(BATCH);
        let mut operator = Operator::new(
            config.clone(),
            hub.clone(),
            epoch,
            tenure.clone(),
            metrics.clone(),
            inbox,
            kinds.clone(),
        );
        operator.state.clock_steps.clone_from(&clock_steps);
        let in_flight = operator.calls.in_flight();
        // Dropping the set ends the loop, the links and the watches with it.
        let mut acting = JoinSet::new();
        let health = health.clone();
        acting.spawn(async move {
            if let Some(earlier) = earlier {
                // Nothing waits for their answers any more, and each may be made twice.
                let _ = tokio::time::timeout(LAST_CALLS_WITHIN, earlier.none()).await;
            }
            act(operator, messages, pipeline, health).await
        });
        tokio::select! {
            lost = elector.keep() => break Err(OperatorError::Leader(lost)),
            ended = acting.join_next() => match ended {
                Some(Ok((stages, End::ClockStepped(step)))) => {
                    tracing::warn!(
                        before = %step.before,
                        by_seconds = step.by_seconds,
                        "the clock of this machine jumped: what has lasted since when is counted anew"
                    );
                    clock_steps.stepped(step.before, step.by_seconds);
                    (pipeline, earlier) = (stages, Some(in_flight));
                }
                // The Lease must not be kept for a loop that acts no more.
                Some(Err(error)) => break Err(OperatorError::Stopped(error.to_string())),
                _ => break Err(OperatorError::Stopped("its inbox was closed".to_owned())),
            },
            () = &mut shutdown => {
                tenure.end();
                acting.shutdown().await;
                // Whoever takes the Lease must not find a write of ours after its own.
                if tokio::time::timeout(LAST_CALLS_WITHIN, in_flight.none()).await.is_ok() {
                    elector.release().await;
                } else {
                    tracing::warn!("calls are still on their way: the Lease is left to expire");
                }
                break Ok(());
            }
        }
    };
    drop(server);
    result
}

/// Why the loop ended by itself.
enum End {
    /// Nobody can tell it anything any more.
    InboxClosed,
    /// The clock jumped: nothing that it knows since when may be believed.
    ClockStepped(ClockStep),
}

/// Acts until the clock jumps; returns the pipeline for another turn.
async fn act<P: Pipeline>(
    mut operator: Operator,
    mut messages: Receiver<Message>,
    mut pipeline: P,
    health: Health,
) -> (P, End) {
    let _watches = pipeline.watch(&operator);
    let mut clock = ClockWatch::begin(wall_clock(), Instant::now());
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        tokio::select! {
            received = messages.recv_many(&mut batch, BATCH) => {
                if received == 0 {
                    return (pipeline, End::InboxClosed);
                }
                // A burst arrives in pieces; a moment's patience lets it be planned as one.
                let until = tokio::time::Instant::now() + COALESCE;
                while batch.len() < BATCH {
                    match tokio::time::timeout_at(until, messages.recv()).await {
                        Ok(Some(message)) => batch.push(message),
                        _ => break,
                    }
                }
            }
            _ = tick.tick() => {}
        }
        let begun = Instant::now();
        let now = wall_clock();
        if let Some(step) = clock.look(now, begun) {
            return (pipeline, End::ClockStepped(step));
        }
        for message in batch.drain(..) {
            operator.take_in(message);
        }
        pipeline.cycle(&mut operator, now);
        let ended = Instant::now();
        operator.metrics.turned(ended - begun);
        health.turned(ended, operator.state.hub.unread_kinds());
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

    use super::*;
    use crate::runtime::operator::tests::operator;

    /// Tells of every cycle.
    struct Told(UnboundedSender<()>);

    impl Pipeline for Told {
        fn watch(&self, _operator: &Operator) -> JoinSet<()> {
            JoinSet::new()
        }

        fn cycle(&mut self, _operator: &mut Operator, _now: Timestamp) {
            let _ = self.0.send(());
        }
    }

    #[tokio::test]
    async fn every_turn_is_a_sign_of_life_and_is_measured() {
        let (operator, messages) = operator();
        let (metrics, inbox) = (operator.metrics.clone(), operator.inbox.clone());
        let health = Health::default();
        health.leads(Instant::now());
        let (told, mut cycles) = unbounded_channel();
        let acting = tokio::spawn(act(operator, messages, Told(told), health.clone()));
        // When the third cycle is told, two turns are over, of which one took something in.
        for _ in 0..3 {
            inbox.send(Message::event(|_| {})).await.ok();
            cycles.recv().await;
        }
        acting.abort();
        let unread = health.not_ready(Instant::now()).unwrap_or_default();
        assert!(unread.contains("MemberCluster"), "{unread}");
        let text = metrics.text();
        assert!(!text.contains("ampacity_turn_seconds_count 0"), "{text}");
        assert!(
            !text.contains("ampacity_inbox_wait_seconds_count 0"),
            "{text}"
        );
    }
}
