//! The state of an InferenceJob: how many replicas have a place and serve, and which placements are too many.

use ampacity_api::conditions::{ConditionStatus, NewCondition, find_condition};
use ampacity_api::inference_job::ReplicaPlacement;
use ampacity_api::{
    ConditionReason, ConditionType, Decimal, InferenceJob, InferenceJobState, InferenceJobStatus,
    Verdict, labels, set_condition,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::observe::{
    ACCRUE_EVERY_SECONDS, MemberView, Meter, PlacementView, accrue, reason_column,
};
use crate::state::{ClockSteps, Job as _, ObjectKey};

/// One placement of an inference job with what its member shows.
pub type ReplicaView<'a> = PlacementView<'a>;

/// What a status is worked out from, beside the job itself.
pub struct InferenceFacts<'a> {
    /// Live placements of the job, by name.
    pub placements: Vec<ReplicaView<'a>>,
    /// What is wrong with the job, if anything.
    pub issue: Option<(ConditionReason, String)>,
    /// Why replicas wait, if the engine has said so.
    pub waiting: Option<(Verdict, String)>,
    /// Jumps of the clock until now.
    pub steps: &'a ClockSteps,
    /// Now.
    pub now: Timestamp,
}

/// Which placements to make smaller, and to how many replicas (0: remove), so that `surplus` replicas go and replicas that
/// are lost are given back. The dearest per replica go first, the newest among equals.
pub fn resize(placements: &[ReplicaView<'_>], mut surplus: i64) -> Vec<(ObjectKey, i32)> {
    let mut order: Vec<&ReplicaView<'_>> = placements.iter().collect();
    order.sort_by_key(|view| {
        let spec = &view.placement.spec;
        let per_replica = spec.usd_per_hour.micros() / i64::from(spec.replicas.max(1));
        (
            std::cmp::Reverse(per_replica),
            std::cmp::Reverse(spec.attempt),
        )
    });
    let kept = |view: &ReplicaView<'_>| match view.member {
        MemberView::GivenUp | MemberView::Removed => 0,
        // What serves stays; what was lost with its node is placed again by the engine, perhaps elsewhere.
        MemberView::Current if view.lost() > 0 => {
            let replicas = view.placement.spec.replicas;
            (replicas - view.lost())
                .max(view.ready())
                .clamp(0, replicas)
        }
        MemberView::Current | MemberView::Silent | MemberView::NotRead => {
            view.placement.spec.replicas
        }
    };
    let lost = |view: &ReplicaView<'_>| i64::from(view.placement.spec.replicas - kept(view));
    // What is lost anyway is the first to go: only what is left beyond that is taken from what serves.
    surplus -= order.iter().map(|view| lost(view)).sum::<i64>();
    let mut changes = Vec::new();
    for view in order {
        let mut replicas = kept(view);
        if surplus > 0 {
            let fewer = i32::try_from(surplus.min(i64::from(replicas))).unwrap_or(replicas);
            replicas -= fewer;
            surplus -= i64::from(fewer);
        }
        if replicas != view.placement.spec.replicas {
            changes.push((ObjectKey::of(view.placement), replicas));
        }
    }
    changes
}

/// The status that follows. Equal to the present one when nothing is to be written.
pub fn inference_status(job: &InferenceJob, facts: &InferenceFacts<'_>) -> InferenceJobStatus {
    let old = job.status.clone().unwrap_or_default();
    if facts
        .placements
        .iter()
        .any(|view| view.member == MemberView::NotRead)
    {
        return old;
    }
    let mut next = old.clone();
    let now = Time(facts.now);
    let name = job.metadata.name.as_deref().unwrap_or_default();
    next.observed_generation = job.metadata.generation;
    next.selector = Some(format!(
        "{}={name},{}=InferenceJob",
        labels::JOB_NAME,
        labels::JOB_KIND
    ));
    let sum = |of: &dyn Fn(&ReplicaView<'_>) -> i32| {
        facts
            .placements
            .iter()
            .map(of)
            .fold(0_i32, i32::saturating_add)
    };
    let newest = facts.placements.iter().map(|v| v.placement.spec.attempt);
    next.attempts = newest.fold(next.attempts, i32::max);
    next.placed_replicas = sum(&|v| v.placement.spec.replicas);
    next.ready_replicas = sum(&|v| v.ready());
    next.replicas = next.placed_replicas;
    next.set_placements(facts.placements.iter().map(listed).collect());
    let meter = Meter {
        usd_micro_per_hour: facts
            .placements
            .iter()
            .map(|v| v.placement.spec.usd_per_hour.micros())
            .fold(0, i64::saturating_add),
        watts: facts
            .placements
            .iter()
            .map(|v| v.placement.spec.watts)
            .fold(0, i64::saturating_add),
    };
    let usd_per_hour = Decimal::from_micros(meter.usd_micro_per_hour);
    next.usd_per_hour = (!usd_per_hour.is_zero()).then_some(usd_per_hour);
    next.watts = Some(meter.watts);
    conditions(job, facts, &mut next, &now);
    next.reason = reason_column(&next.conditions, next.verdict.as_ref());

    let counted_to = next.accrued_time.as_ref().map(|t| t.0.as_second());
    let stale = counted_to.is_some_and(|t| facts.now.as_second() - t >= ACCRUE_EVERY_SECONDS);
    let holds = !facts.placements.is_empty();
    if next != old || stale || holds != old.accrued_time.is_some() {
        // Up to now the rates of the last status held.
        let before = Meter {
            usd_micro_per_hour: old.usd_per_hour.map_or(0, |d| d.micros()),
            watts: old.watts.unwrap_or(0),
        };
        accrue(
            &mut next.usd_accrued,
            &mut next.watt_hours,
            &mut next.accrued_time,
            before,
            facts.steps,
            facts.now,
        );
        next.accrued_time = holds.then(|| next.accrued_time.clone().unwrap_or(now));
    }
    next
}

fn listed(view: &ReplicaView<'_>) -> ReplicaPlacement {
    let spec = &view.placement.spec;
    ReplicaPlacement {
        name: view.placement.metadata.name.clone().unwrap_or_default(),
        cluster: spec.cluster.clone(),
        accelerator_type: spec.accelerator_type.clone(),
        capacity_type: Some(spec.capacity_type),
        alternative: spec.alternative.clone(),
        mig_profile: spec.mig_profile.clone(),
        millidevices: spec.millidevices,
        replicas: spec.replicas,
        ready_replicas: view.ready(),
        usd_per_hour: spec.usd_per_hour,
        watts: spec.watts,
    }
}

/// What of the last word on a job still holds where nothing was heard since, as after a restart: or every restart would
/// call the job fine, or queued, for a moment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stands {
    /// Nothing.
    Nothing,
    /// This very spec was found wrong.
    Invalid,
    /// As many replicas as now found no place.
    Verdict,
}

impl Stands {
    fn of(
        job: &InferenceJob,
        facts: &InferenceFacts<'_>,
        status: &InferenceJobStatus,
        counts: &str,
    ) -> Self {
        let short = status.placed_replicas < job.spec.replicas && !job.spec.suspend;
        if !short || facts.issue.is_some() || facts.waiting.is_some() {
            return Self::Nothing;
        }
        let last = |type_| find_condition(&status.conditions, type_);
        let invalid = last(ConditionType::Valid).is_some_and(|c| {
            c.status == "False" && c.observed_generation == job.metadata.generation
        });
        let waits = last(ConditionType::Placed).is_some_and(|c| {
            let word = c.reason.as_str();
            (word == ConditionReason::NoCandidate.as_str()
                || word == ConditionReason::PartlyPlaced.as_str())
                && c.message
                    .strip_prefix(counts)
                    .is_some_and(|rest| rest.starts_with("; "))
        });
        match (invalid, waits) {
            (true, _) => Self::Invalid,
            (false, true) => Self::Verdict,
            (false, false) => Self::Nothing,
        }
    }
}

fn conditions(
    job: &InferenceJob,
    facts: &InferenceFacts<'_>,
    next: &mut InferenceJobStatus,
    now: &Time,
) {
    let wanted = job.spec.replicas;
    let (placed, ready) = (next.placed_replicas, next.ready_replicas);
    let (have, are) = if wanted == 1 {
        ("replica has", "replica is")
    } else {
        ("replicas have", "replicas are")
    };
    let counts = format!("{placed} of {wanted} {have} a place");
    let stands = Stands::of(job, facts, next, &counts);
    let mut set = |type_, status: ConditionStatus, reason, message: &str| {
        let condition = NewCondition::new(type_, status, reason)
            .message(message)
            .observed_generation(job.metadata.generation);
        set_condition(&mut next.conditions, condition, now);
    };
    match &facts.issue {
        Some((reason, message)) => set(ConditionType::Valid, false.into(), *reason, message),
        None if stands == Stands::Invalid => {}
        None => set(
            ConditionType::Valid,
            true.into(),
            ConditionReason::Accepted,
            &job.remark().unwrap_or_default(),
        ),
    }
    let refused = facts.placements.iter().find_map(|v| v.known.refused);
    let trouble = facts
        .placements
        .iter()
        .find_map(|v| v.start.trouble.as_deref());
    let silent = facts
        .placements
        .iter()
        .any(|v| v.member == MemberView::Silent);
    let mut verdict = None;
    if job.spec.suspend {
        set(
            ConditionType::Placed,
            false.into(),
            ConditionReason::Suspended,
            "spec.suspend is true",
        );
    } else if wanted == 0 {
        set(
            ConditionType::Placed,
            true.into(),
            ConditionReason::ScaledToZero,
            "",
        );
    } else if placed >= wanted {
        set(
            ConditionType::Placed,
            true.into(),
            ConditionReason::Placed,
            "",
        );
    } else {
        let said = match (&facts.issue, &facts.waiting) {
            (Some((reason, message)), _) => Some((*reason, message.clone())),
            (None, Some((why, message))) => {
                verdict = Some(why.clone());
                let reason = if placed > 0 {
                    ConditionReason::PartlyPlaced
                } else {
                    ConditionReason::NoCandidate
                };
                Some((reason, format!("{counts}; {message}")))
            }
            (None, None) if stands == Stands::Nothing => Some((ConditionReason::Queued, counts)),
            (None, None) => {
                verdict = job.status.as_ref().and_then(|s| s.verdict.clone());
                None
            }
        };
        if let Some((reason, message)) = said {
            set(ConditionType::Placed, false.into(), reason, &message);
        }
    }
    let (state, running): (_, (ConditionStatus, _, String)) = if job.spec.suspend {
        (
            InferenceJobState::Suspended,
            (false.into(), ConditionReason::Suspended, String::new()),
        )
    } else if placed == 0 && wanted > 0 {
        (
            InferenceJobState::Pending,
            (false.into(), ConditionReason::NotPlaced, String::new()),
        )
    } else if let Some(refused) = refused {
        (
            if ready > 0 {
                InferenceJobState::Running
            } else {
                InferenceJobState::Starting
            },
            (
                false.into(),
                ConditionReason::DispatchRefused,
                refused.to_owned(),
            ),
        )
    } else if silent {
        let message = "a cluster that serves replicas cannot be reached".to_owned();
        let ran = job.status.as_ref().and_then(|s| s.state) == Some(InferenceJobState::Running);
        let state = if ran || ready > 0 {
            InferenceJobState::Running
        } else {
            InferenceJobState::Starting
        };
        (
            state,
            (
                ConditionStatus::Unknown,
                ConditionReason::ClusterUnreachable,
                message,
            ),
        )
    } else if ready >= wanted {
        (
            InferenceJobState::Running,
            (
                true.into(),
                ConditionReason::AllReplicasRunning,
                String::new(),
            ),
        )
    } else {
        let state = if ready > 0 {
            InferenceJobState::Running
        } else {
            InferenceJobState::Starting
        };
        (
            state,
            (
                false.into(),
                ConditionReason::ReplicasNotReady,
                match trouble {
                    Some(trouble) => format!("{ready} of {wanted} {are} ready; {trouble}"),
                    None => format!("{ready} of {wanted} {are} ready"),
                },
            ),
        )
    };
    set(ConditionType::Running, running.0, running.1, &running.2);
    next.state = Some(state);
    next.verdict = verdict;
}
