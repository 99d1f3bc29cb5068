//! Names, numbers and sentences of the engine's fixes.

use ampacity_placement::{DevicePart, Fix};

use super::reason::{mark, plural};
use super::reason_name::names;
use super::{Fact, Facts, duration};

names! {
    /// What would place a job. Programs may rely on these words; they are never renamed.
    pub enum FixAction {
        /// Add nodes.
        AddNodes,
        /// Raise the limit of a power domain.
        RaisePowerDomain,
        /// Create a power domain that nodes are said to hang on.
        CreatePowerDomain,
        /// Raise a power budget.
        RaisePowerBudget,
        /// Raise several limits on watts.
        RaisePowerLimits,
        /// Raise `budget.maxUsd`.
        RaiseMaxUsd,
        /// Raise `budget.maxUsdPerHour`.
        RaiseMaxUsdPerHour,
        /// Require a wider topology level.
        RelaxTopology,
        /// Allow another capacity type.
        AllowCapacityType,
        /// Wait.
        Wait,
        /// Move the deadline.
        ExtendDeadline,
        /// Ask for another part of the device, or for a whole one.
        ChangePart,
        /// Free devices that others hold.
        FreeDevices,
        /// Raise a ResourceQuota of the job's namespace in the hub.
        RaiseResourceQuota,
        /// Return nodes to service.
        RestoreNodes,
        /// Correct the job.
        ChangeJob,
    }
}

/// A fix as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixText {
    /// What to do.
    pub action: FixAction,
    /// How much and where.
    pub details: Facts,
    /// The same as an imperative sentence with a full stop.
    pub sentence: String,
}

/// What a job does that waits until a time, rather than for some seconds from now.
pub(super) fn wait_text(starts: jiff::Timestamp) -> FixText {
    FixText {
        action: FixAction::Wait,
        details: vec![("startTime", Fact::text(starts.to_string()))],
        sentence: format!("Wait until {starts}: by then what holds the room should have ended."),
    }
}

/// What a job does that keeps out of a cluster until a time.
pub(super) fn try_again_text(cluster: &str, until: jiff::Timestamp) -> FixText {
    FixText {
        action: FixAction::Wait,
        details: vec![
            ("cluster", Fact::text(cluster)),
            ("startTime", Fact::text(until.to_string())),
        ],
        sentence: format!("Wait until {until}: cluster {cluster} is tried again then."),
    }
}

/// `, on n1, n2 and 3 more`; nothing where none is named.
fn named(before: &str, names: &[String], all: u64) -> String {
    if names.is_empty() {
        return String::new();
    }
    let named = u64::try_from(names.len()).unwrap_or(u64::MAX);
    let more = match all.saturating_sub(named) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{before} {}{more}", names.join(", "))
}

/// Name, numbers and words of a fix.
pub fn fix_text(fix: &Fix) -> FixText {
    use FixAction as Action;
    let (action, details, sentence): (FixAction, Facts, String) = match fix {
        Fix::AddNodes {
            cluster,
            pool,
            nodes,
            accelerator_type,
            devices_per_node,
            capacity_type,
        } => (
            Action::AddNodes,
            vec![
                ("cluster", Fact::text(cluster)),
                ("pool", Fact::text(pool)),
                ("nodes", Fact::count(*nodes)),
                ("acceleratorType", Fact::text(accelerator_type)),
                ("devicesPerNode", Fact::count(u64::from(*devices_per_node))),
                ("capacityType", Fact::text(capacity_type.as_str())),
            ],
            format!(
                "Add {} like {pool} ({devices_per_node} × {accelerator_type}{}, {}) to cluster {cluster}.",
                plural(*nodes, "node", "nodes"),
                if *nodes == 1 { "" } else { " each" },
                capacity_type.as_str()
            ),
        ),
        Fix::RaisePowerDomain { domain, by_watts } => (
            Action::RaisePowerDomain,
            vec![
                ("domain", Fact::text(domain)),
                ("byWatts", Fact::Watts(*by_watts)),
            ],
            format!("Raise what power domain {domain} can carry by {by_watts}, or free as much."),
        ),
        Fix::CreatePowerDomain {
            domain,
            usable_watts,
        } => (
            Action::CreatePowerDomain,
            vec![
                ("domain", Fact::text(domain)),
                ("usableWatts", Fact::Watts(*usable_watts)),
            ],
            format!(
                "Create PowerDomain {domain} with at least {usable_watts} usable, or correct the name where a MemberCluster or PowerDomain refers to it."
            ),
        ),
        Fix::RaisePowerBudget { budget, by_watts } => (
            Action::RaisePowerBudget,
            vec![
                ("budget", Fact::text(budget)),
                ("byWatts", Fact::Watts(*by_watts)),
            ],
            format!("Raise limitWatts of power budget {budget} by {by_watts}, or free as much."),
        ),
        Fix::RaisePowerLimits { limits } => {
            let texts: Vec<FixText> = limits.iter().map(fix_text).collect();
            let sentences: Vec<&str> = texts.iter().map(|text| text.sentence.as_str()).collect();
            let sentence = sentences.join(" ");
            let limits = texts.into_iter().map(|text| text.details).collect();
            (
                Action::RaisePowerLimits,
                vec![("limits", Fact::List(limits))],
                sentence,
            )
        }
        Fix::RaiseMaxUsd { to } => (
            Action::RaiseMaxUsd,
            vec![("toUsd", Fact::Usd(*to))],
            format!("Raise spec.budget.maxUsd so that {to} are left."),
        ),
        Fix::RaiseMaxUsdPerHour { to } => (
            Action::RaiseMaxUsdPerHour,
            vec![("toUsdPerHour", Fact::Usd(*to))],
            format!("Raise spec.budget.maxUsdPerHour to {to}."),
        ),
        Fix::RelaxTopology { to } => (
            Action::RelaxTopology,
            vec![("to", Fact::text(to.as_str()))],
            format!("Set spec.topology.required to {}.", to.as_str()),
        ),
        Fix::AllowCapacityType { capacity_type } => (
            Action::AllowCapacityType,
            vec![("capacityType", Fact::text(capacity_type.as_str()))],
            format!("Add {} to spec.capacityTypes.", capacity_type.as_str()),
        ),
        Fix::WaitUntil { start_seconds } => (
            Action::Wait,
            vec![("startSeconds", Fact::Count(*start_seconds))],
            format!(
                "Wait {}: by then what holds the room should have ended.",
                duration(*start_seconds)
            ),
        ),
        Fix::ExtendDeadline { by_seconds } => (
            Action::ExtendDeadline,
            vec![("bySeconds", Fact::Count(*by_seconds))],
            format!("Move spec.deadline by {}.", duration(*by_seconds)),
        ),
        Fix::ChangePart { alternative, part } => (
            Action::ChangePart,
            vec![
                ("alternative", Fact::text(alternative)),
                ("part", Fact::text(mark(part))),
            ],
            match part {
                DevicePart::Whole => format!(
                    "Ask for whole devices in alternative {alternative}: leave out migProfile and millidevices."
                ),
                DevicePart::Mig(profile) => {
                    format!("Set migProfile of alternative {alternative} to {profile}.")
                }
                DevicePart::Milli(unit) => {
                    format!("Set millidevices of alternative {alternative} to {unit} or less.")
                }
            },
        ),
        Fix::FreeDevices {
            cluster,
            devices,
            accelerator_type,
            nodes,
            on,
        } => (
            Action::FreeDevices,
            vec![
                ("cluster", Fact::text(cluster)),
                ("devices", Fact::count(*devices)),
                ("acceleratorType", Fact::text(accelerator_type)),
                ("on", Fact::text(on.join(", "))),
            ],
            format!(
                "Free {} of {accelerator_type} that other pods hold in cluster {cluster}{}.",
                plural(*devices, "device", "devices"),
                named(", on", on, *nodes)
            ),
        ),
        Fix::RestoreNodes {
            cluster,
            nodes,
            names,
        } => (
            Action::RestoreNodes,
            vec![
                ("cluster", Fact::text(cluster)),
                ("nodes", Fact::count(*nodes)),
                ("names", Fact::text(names.join(", "))),
            ],
            format!(
                "Return {} of cluster {cluster} to service{}.",
                plural(*nodes, "node", "nodes"),
                named(":", names, *nodes)
            ),
        ),
        Fix::ChangeJob => (
            Action::ChangeJob,
            vec![],
            "Correct the job as the reasons say.".to_owned(),
        ),
    };
    FixText {
        action,
        details,
        sentence,
    }
}
