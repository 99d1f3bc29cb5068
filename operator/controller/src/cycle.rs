//! One turn of the loop: ingest, inventory, the reconciliation of what changed, plan, commit.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::ResourceExt;
use tokio::task::JoinSet;

use crate::commit::{collect_orphans, commit, drain_clusters, keep_power_domains};
use crate::ingest::{keep_links, watch_hub};
use crate::inventory::{refresh, refresh_facts};
use crate::kinds;
use crate::observe::{measure, tell_facts, write_platform_statuses};
use crate::plan::plan_cycle;
use crate::runtime::{self, Operator, OperatorConfig, OperatorError, Pipeline};

/// Waiting jobs are tried again after a change, but the tries take at most this share of the time (1 in N).
const RETRY_SHARE: u32 = 4;
/// The state is measured, and statuses of clusters, power domains and budgets are looked at, this often.
const PLATFORM_EVERY: Duration = Duration::from_secs(2);

/// Runs the operator until shutdown or until leadership is lost.
///
/// # Errors
/// See [`OperatorError`]. Once leadership is lost the process must end: another may be acting.
pub async fn run(
    config: OperatorConfig,
    hub: kube::Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), OperatorError> {
    let stages = Stages {
        plan_not_before: Instant::now(),
        platform_written: Instant::now(),
    };
    runtime::run(config, hub, kinds::kinds(), stages, shutdown).await
}

/// The stages, and when those are due that do not take part in every turn.
struct Stages {
    plan_not_before: Instant,
    platform_written: Instant,
}

impl Pipeline for Stages {
    fn watch(&self, operator: &Operator) -> JoinSet<()> {
        let mut set = JoinSet::new();
        kinds::watch(&mut set, operator);
        watch_hub(&mut set, operator);
        set
    }

    fn cycle(&mut self, operator: &mut Operator, now: Timestamp) {
        if !operator.state.hub.is_synced() {
            return;
        }
        keep_links(operator, now);
        drain_clusters(operator, now);
        bring_up_to_date(operator, now);
        keep_power_domains(operator);
        while let Some(job) = operator.state.timers.pop_due(now) {
            operator.state.dirty.jobs.insert(job);
        }
        while let Some(job) = operator.state.dirty.jobs.pop_first() {
            kinds::reconcile(operator, &job, now);
        }
        collect_orphans(operator, now);
        self.plan(operator, now);
        let busy = operator.state.burst.is_on(Instant::now());
        operator.recorder.set_busy(busy);
        if self.platform_written.elapsed() >= PLATFORM_EVERY {
            self.platform_written = Instant::now();
            measure(operator, now);
            write_platform_statuses(operator, now);
        }
    }
}

impl Stages {
    fn plan(&mut self, operator: &mut Operator, now: Timestamp) {
        if Instant::now() < self.plan_not_before || !members_known(operator, now) {
            return;
        }
        let started = Instant::now();
        let cycle = plan_cycle(&mut operator.state, operator.epoch, now);
        if cycle.considered == 0 {
            return;
        }
        let took = started.elapsed();
        let decided = cycle.commits.len();
        operator.metrics.planned(cycle.considered, decided, took);
        if decided < cycle.considered {
            self.plan_not_before = Instant::now() + took * (RETRY_SHARE - 1);
        }
        for (job, placement) in cycle.commits {
            commit(operator, job, placement);
        }
        for job in cycle.waiting {
            kinds::reconcile(operator, &job, now);
        }
    }
}

/// Brings the engine's fleet up to date.
fn bring_up_to_date(operator: &mut Operator, now: Timestamp) {
    let state = &mut operator.state;
    // A price sheet comes into force by the clock.
    let due = state.fact_issues.next_prices.is_some_and(|at| at <= now);
    if std::mem::take(&mut state.dirty.facts) || due {
        let before = std::mem::take(&mut state.fact_issues);
        refresh_facts(state, now);
        tell_facts(operator, &before.notes);
    }
    refresh(&mut operator.state, now);
}

/// A short wait lets a restarted operator see all of its members before it chooses among them. One that cannot be
/// read whole, for want of a permission perhaps, holds the others up no longer than that.
fn members_known(operator: &Operator, now: Timestamp) -> bool {
    let state = &operator.state;
    state.hub.clusters.values().all(|cluster| {
        let member = state.members.get(&cluster.name_any());
        member.is_some_and(|member| !member.is_being_read(now))
    })
}
