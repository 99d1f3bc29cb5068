//! The loop: everything that happens arrives in one inbox, changes the [`World`], and a cycle of the pipeline follows.
//!
//! ```text
//!  watches, links, results of our own calls ──► inbox ──► World ──► stocktake ─► look at changed jobs ─► plan ─► commit
//!                                                                        │                                        │
//!                                                                        └────────► Effects (bounded API calls) ◄─┘
//! ```
//!
//! Decisions are made in one task, on one picture; only API calls run beside it. A call reports by handing back a
//! function over the operator, so what follows from a result stands where the call is made.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ampacity_api::{MemberCluster, Placement};
use jiff::Timestamp;
use kube::{Client, ResourceExt};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::act::Progress;
use crate::clients::Clients;
use crate::config::OperatorConfig;
use crate::effects::Effects;
use crate::events::Recorder;
use crate::hub::{HubChange, Unreadable, watch_hub};
use crate::leader::{Elector, ElectorError, Tenure, Timing};
use crate::member::{LinkEvent, LinkSource, spawn_link};
use crate::metrics::Metrics;
use crate::plan::plan_cycle;
use crate::pods::PodIndex;
use crate::rush::Rush;
use crate::stocktake::{FactIssues, refresh_facts, take_stock};
use crate::watch::WatchFailure;
use crate::world::{JobKey, Member, ObjectKey, World};

/// Most messages taken in before a cycle.
const BATCH: usize = 4096;
/// How long a cycle waits for more messages, so that a burst is planned as one.
const COALESCE: Duration = Duration::from_millis(4);
/// Waiting jobs are tried again after a change, but the tries take at most this share of the time (1 in N).
const RETRY_SHARE: u32 = 4;

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
    #[error("cannot listen on {address}: {source}; choose another --listen address")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// Cause.
        source: std::io::Error,
    },
}

/// What a finished call does with its result.
pub(crate) type Then = Box<dyn FnOnce(&mut Operator) + Send>;

/// What arrives in the inbox.
pub(crate) enum Message {
    /// The hub changed.
    Hub {
        change: Option<HubChange>,
        unreadable: Vec<Unreadable>,
    },
    /// A watch of the hub failed; it is tried again.
    HubWatchFailed { kind: String, failure: WatchFailure },
    /// A member changed.
    Member {
        cluster: String,
        link: u64,
        event: LinkEvent,
    },
    /// A call ended.
    Done { key: String, then: Then },
}

/// The acting operator.
pub(crate) struct Operator {
    pub(crate) config: OperatorConfig,
    pub(crate) hub: Client,
    hub_clients: Clients,
    pub(crate) epoch: i64,
    pub(crate) world: World,
    pub(crate) effects: Effects<Message>,
    pub(crate) metrics: Metrics,
    pub(crate) recorder: Recorder,
    pub(crate) inbox: Sender<Message>,
    /// Jobs to look at again, and when: in the order of time, and the soonest time of each job.
    later: BTreeSet<(Timestamp, JobKey)>,
    later_of: BTreeMap<JobKey, Timestamp>,
    /// Placements whose objects this process has made.
    pub(crate) dispatched: BTreeSet<ObjectKey>,
    /// Placements whose workload this process has seen in its member, and how far they had come.
    pub(crate) seen: BTreeMap<ObjectKey, Progress>,
    /// When a status with a verdict was last written.
    pub(crate) numbers_written: BTreeMap<JobKey, Timestamp>,
    /// Placements whose objects this process has removed.
    pub(crate) cleaned: BTreeSet<ObjectKey>,
    /// UIDs of pods that were forced away from silent nodes, or could not be.
    pub(crate) forced: BTreeSet<String>,
    /// Clients of members whose MemberCluster is gone while placements are still there.
    pub(crate) departed: BTreeMap<String, Client>,
    /// Placements that their member refused, and why.
    pub(crate) refused: BTreeMap<ObjectKey, String>,
    pub(crate) fact_issues: FactIssues,
    pub(crate) rush: Rush,
    links_made: u64,
    plan_not_before: Instant,
    reported_at: Instant,
}

/// Runs until shutdown or until leadership is lost.
///
/// # Errors
/// See [`OperatorError`]. After [`ElectorError::Lost`] the process must end: another may be acting.
pub async fn run(
    config: OperatorConfig,
    hub: kube::Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), OperatorError> {
    let hub = Clients::new(hub).map_err(OperatorError::Hub)?;
    let metrics = Metrics::default();
    let server = crate::admin::serve(config.listen, metrics.clone()).await?;
    let timing = Timing::from_lease(config.lease_duration.unwrap_or(Duration::from_secs(15)));
    let mut elector = Elector::new(
        hub.calls.clone(),
        &config.namespace,
        &config.lease_name,
        config.identity.clone(),
        timing,
    );
    tokio::pin!(shutdown);
    let elected = async {
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
    tracing::info!(epoch, identity = %config.identity, "leading");
    metrics.set_leading(epoch);
    let (inbox, messages) = channel(BATCH);
    let operator = Operator::new(config, hub, epoch, elector.tenure(), metrics, inbox);
    // Dropping the set ends the loop, the links and the watches with it.
    let mut acting = tokio::task::JoinSet::new();
    acting.spawn(operator.act(messages));
    let result = tokio::select! {
        lost = elector.keep() => Err(OperatorError::Leader(lost)),
        // The Lease must not be kept for a loop that acts no more.
        ended = acting.join_next() => Err(OperatorError::Stopped(match ended {
            Some(Err(error)) => error.to_string(),
            _ => "its inbox was closed".to_owned(),
        })),
        () = &mut shutdown => {
            acting.shutdown().await;
            elector.release().await;
            Ok(())
        }
    };
    drop(server);
    result
}

impl Operator {
    fn new(
        config: OperatorConfig,
        hub: Clients,
        epoch: i64,
        tenure: Tenure,
        metrics: Metrics,
        inbox: Sender<Message>,
    ) -> Self {
        Self {
            effects: Effects::new(inbox.clone(), config.concurrency, tenure),
            recorder: Recorder::new(hub.calls.clone(), &config.identity),
            config,
            hub: hub.calls.clone(),
            hub_clients: hub,
            epoch,
            world: World::default(),
            metrics,
            inbox,
            later: BTreeSet::new(),
            later_of: BTreeMap::new(),
            dispatched: BTreeSet::new(),
            seen: BTreeMap::new(),
            numbers_written: BTreeMap::new(),
            cleaned: BTreeSet::new(),
            forced: BTreeSet::new(),
            departed: BTreeMap::new(),
            refused: BTreeMap::new(),
            fact_issues: FactIssues::default(),
            rush: Rush::default(),
            links_made: 0,
            plan_not_before: Instant::now(),
            reported_at: Instant::now(),
        }
    }

    async fn act(mut self, mut messages: Receiver<Message>) {
        let _watches = watch_hub(&self.hub_clients.watches, &self.inbox);
        let mut tick = tokio::time::interval(Duration::from_millis(500));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                received = messages.recv_many(&mut batch, BATCH) => {
                    if received == 0 {
                        return;
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
            for message in batch.drain(..) {
                self.take_in(message);
            }
            self.cycle();
        }
    }

    fn take_in(&mut self, message: Message) {
        match message {
            Message::Hub { change, unreadable } => {
                for object in unreadable {
                    self.set_aside(object);
                }
                if let Some(change) = change {
                    self.take_in_hub(change);
                }
            }
            Message::HubWatchFailed { kind, failure } => self.hub_watch_failed(kind, &failure),
            Message::Member {
                cluster,
                link,
                event,
            } => self.take_in_member(&cluster, link, event),
            Message::Done { key, then } => {
                self.effects.finished(&key);
                then(self);
            }
        }
    }

    fn cycle(&mut self) {
        if !self.world.hub.is_synced() {
            return;
        }
        let now = Timestamp::now();
        self.keep_links(now);
        // A price sheet comes into force by the clock.
        let due = self.fact_issues.next_prices.is_some_and(|at| at <= now);
        if std::mem::take(&mut self.world.dirty.facts) || due {
            let issues = refresh_facts(&mut self.world, now);
            let before = std::mem::replace(&mut self.fact_issues, issues);
            self.tell_facts(&before.notes);
        }
        take_stock(&mut self.world, now);
        while let Some((at, _)) = self.later.first() {
            if *at > now {
                break;
            }
            if let Some((_, job)) = self.later.pop_first() {
                self.later_of.remove(&job);
                self.world.dirty.jobs.insert(job);
            }
        }
        while let Some(job) = self.world.dirty.jobs.pop_first() {
            self.look_at(&job, now);
        }
        self.collect_orphans(now);
        self.plan(now);
        self.recorder.set_busy(self.rush.is_on(Instant::now()));
        if self.reported_at.elapsed() >= Duration::from_secs(2) {
            self.reported_at = Instant::now();
            self.report(now);
        }
    }

    /// A short wait lets a restarted operator see all of its members before it chooses among them. One that cannot be
    /// read whole, for want of a permission perhaps, holds the others up no longer than that.
    fn members_known(&self, now: Timestamp) -> bool {
        self.world.hub.clusters.values().all(|cluster| {
            self.world
                .members
                .get(&cluster.name_any())
                .is_some_and(|member| !member.is_being_read(now))
        })
    }

    fn plan(&mut self, now: Timestamp) {
        if Instant::now() < self.plan_not_before || !self.members_known(now) {
            return;
        }
        let started = Instant::now();
        let cycle = plan_cycle(&mut self.world, self.epoch, now);
        if cycle.considered == 0 {
            return;
        }
        let took = started.elapsed();
        self.metrics
            .planned(cycle.considered, cycle.commits.len(), took);
        if cycle.commits.len() < cycle.considered {
            self.plan_not_before = Instant::now() + took * (RETRY_SHARE - 1);
        }
        for (job, placement) in cycle.commits {
            self.commit(job, placement);
        }
        for job in cycle.waiting {
            self.look_at(&job, now);
        }
    }

    /// One link per member, made anew when its credentials are elsewhere.
    fn keep_links(&mut self, now: Timestamp) {
        let wanted: BTreeMap<String, LinkSource> = self
            .world
            .hub
            .clusters
            .values()
            .map(|c| (c.name_any(), link_source(c)))
            .collect();
        let gone: Vec<String> = self
            .world
            .members
            .keys()
            .filter(|name| !wanted.contains_key(*name))
            .cloned()
            .collect();
        for name in gone {
            let left = self.world.members.remove(&name);
            self.departed
                .extend(left.and_then(|m| m.client).map(|c| (name.clone(), c)));
            self.world.dirty.clusters.insert(name.clone());
            self.member_turned(&name);
        }
        for (name, source) in wanted {
            let same = self
                .world
                .members
                .get(&name)
                .and_then(|m| m.link.as_ref())
                .is_some_and(|l| l.source == source);
            if same {
                continue;
            }
            self.links_made += 1;
            let (cluster, number) = (name.clone(), self.links_made);
            let wrap = move |event| Message::Member {
                cluster: cluster.clone(),
                link: number,
                event,
            };
            let link = spawn_link(source, self.hub_clients.clone(), self.inbox.clone(), wrap);
            let pods = PodIndex::new(&self.config.hub_name);
            let member = Member {
                link: Some(link),
                link_number: number,
                linked_at: Some(now),
                pods,
                ..Member::default()
            };
            self.departed.remove(&name);
            self.world.link_member(&name, member);
        }
    }

    /// Looks at a job again after some seconds, or sooner where that was asked for before.
    pub(crate) fn look_later(&mut self, job: &JobKey, now: Timestamp, seconds: i64) {
        let Ok(at) =
            Timestamp::from_second(now.as_second().saturating_add(seconds.clamp(0, 31_536_000)))
        else {
            return;
        };
        match self.later_of.get(job) {
            Some(known) if *known <= at => return,
            Some(known) => {
                self.later.remove(&(*known, job.clone()));
            }
            None => {}
        }
        self.later_of.insert(job.clone(), at);
        self.later.insert((at, job.clone()));
    }

    /// Starts a call; see [`Effects::start`].
    pub(crate) fn start(
        &mut self,
        server: &str,
        key: String,
        work: impl Future<Output = Then> + Send + 'static,
    ) -> bool {
        let done = key.clone();
        self.effects.start(server, &key, async move {
            Message::Done {
                key: done,
                then: work.await,
            }
        })
    }

    /// The placement of this key, while it exists.
    pub(crate) fn placement(&self, key: &ObjectKey) -> Option<&Placement> {
        self.world.hub.placements.get(key)
    }
}

fn link_source(cluster: &MemberCluster) -> LinkSource {
    match &cluster.spec.kubeconfig_secret_ref {
        None => LinkSource::Hub,
        Some(secret) => LinkSource::Secret {
            namespace: secret.namespace.clone(),
            name: secret.name.clone(),
            key: secret.key.clone(),
        },
    }
}
