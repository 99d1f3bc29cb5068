//! Names, numbers and sentences of the engine's reasons.

use ampacity_placement::{DevicePart, Reason, Refusal};

use super::reason_name::ReasonName;
use super::watts::{closed, watts_clause, watts_facts};
use super::{Fact, Facts, duration};
use crate::state::PartFields;

/// A reason as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReasonText {
    /// Its name.
    pub name: ReasonName,
    /// Its numbers and names; `needed` and `available` first where something is short.
    pub facts: Facts,
    /// What it says in words, without the cluster: a clause that starts in lower case and has no full stop.
    pub clause: String,
}

impl ReasonText {
    /// The clause as a sentence, with cluster and alternative where they are known.
    pub fn sentence(&self, refusal: &Refusal) -> String {
        match (&refusal.cluster, &refusal.alternative) {
            (Some(cluster), Some(alternative)) => {
                format!("{cluster} ({alternative}): {}", self.clause)
            }
            (Some(cluster), None) => format!("{cluster}: {}", self.clause),
            (None, Some(alternative)) => format!("alternative {alternative}: {}", self.clause),
            (None, None) => self.clause.clone(),
        }
    }
}

fn short(needed: u64, available: u64) -> Facts {
    vec![
        ("needed", Fact::count(needed)),
        ("available", Fact::count(available)),
    ]
}

/// `1 node`, `2 nodes`.
pub(super) fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// `1 of 2 replicas fits`, `0 of 2 replicas fit`.
fn fit(fitting: u64, needed: u64) -> String {
    format!(
        "{fitting} of {} {}",
        plural(needed, "replica", "replicas"),
        if fitting == 1 { "fits" } else { "fit" }
    )
}

/// `whole`, `1g.10gb`, `250m`.
pub(super) fn mark(part: &DevicePart) -> String {
    PartFields::of(part)
        .mark()
        .unwrap_or_else(|| "whole".to_owned())
}

/// `28 × MIG 1g.10gb`.
fn units(part: &DevicePart, count: u64) -> String {
    match part {
        DevicePart::Whole => plural(count, "whole device", "whole devices"),
        DevicePart::Mig(_) => format!("{count} × {part}"),
        DevicePart::Milli(_) => format!("{count} {part}"),
    }
}

fn listed(parts: &[(DevicePart, u64)], each: impl Fn(&DevicePart, u64) -> String) -> String {
    let each: Vec<String> = parts.iter().map(|(part, n)| each(part, *n)).collect();
    each.join(", ")
}

/// Name, numbers and words of a reason.
pub fn reason_text(reason: &Reason) -> ReasonText {
    use ReasonName as Name;
    let (name, facts, clause): (ReasonName, Facts, String) = match reason {
        Reason::ClusterNotSelected => (
            Name::ClusterNotSelected,
            vec![],
            "spec.clusterSelector does not select this cluster".to_owned(),
        ),
        Reason::NamespaceNotAllowed => (
            Name::NamespaceNotAllowed,
            vec![],
            "the cluster's allowedNamespaces does not list the job's namespace".to_owned(),
        ),
        Reason::ClusterUnreachable => (
            Name::ClusterUnreachable,
            vec![],
            "the cluster cannot be reached".to_owned(),
        ),
        Reason::ClusterAvoided => (
            Name::ClusterAvoided,
            vec![],
            "the cluster refused the job's objects, or its scheduler found no node for a pod, a short while ago".to_owned(),
        ),
        Reason::NoSuchAccelerator { wanted } => (
            Name::NoSuchAccelerator,
            vec![("wanted", Fact::text(wanted))],
            format!("no node has {wanted}"),
        ),
        Reason::NoSuchPart {
            wanted,
            part,
            exists,
        } => (
            Name::NoSuchPart,
            vec![
                ("wanted", Fact::text(wanted)),
                ("part", Fact::text(mark(part))),
                ("exists", Fact::text(listed(exists, |part, n| format!("{} {n}", mark(part))))),
            ],
            format!(
                "nodes have {wanted}, but not as {part}: there {} only {}",
                if matches!(exists.as_slice(), [(_, 1)]) { "is" } else { "are" },
                listed(exists, units)
            ),
        ),
        Reason::CapacityTypeNotAllowed { capacity_type } => (
            Name::CapacityTypeNotAllowed,
            vec![("capacityType", Fact::text(capacity_type.as_str()))],
            format!(
                "nodes are {}, which spec.capacityTypes does not allow",
                capacity_type.as_str()
            ),
        ),
        Reason::InsufficientCapacity { needed, total } => (
            Name::InsufficientCapacity,
            short(*needed, *total),
            format!(
                "{} needed, only {}",
                plural(*needed, "device is", "devices are"),
                plural(*total, "exists", "exist")
            ),
        ),
        Reason::NodesTooSmall {
            needed,
            fitting,
            devices_per_replica,
            total,
        } => (
            Name::NodesTooSmall,
            vec![
                ("neededReplicas", Fact::count(*needed)),
                ("fittingReplicas", Fact::count(*fitting)),
                ("devicesPerReplica", Fact::count(u64::from(*devices_per_replica))),
                ("totalDevices", Fact::count(*total)),
            ],
            {
                let each = plural(u64::from(*devices_per_replica), "device", "devices");
                let all = plural(*total, "device exists", "devices exist");
                if *fitting == 0 {
                    format!("no node has the {each} that a replica asks for; {all} in all")
                } else {
                    format!(
                        "nodes with {each} for a replica hold {fitting} of {}, even when nothing else runs; {all} in all",
                        plural(*needed, "replica", "replicas")
                    )
                }
            },
        ),
        Reason::InsufficientDevices { needed, available } => (
            Name::InsufficientDevices,
            short(*needed, *available),
            format!(
                "{} needed, {available} free",
                plural(*needed, "device is", "devices are")
            ),
        ),
        Reason::Fragmented {
            needed,
            fitting,
            available,
        } => (
            Name::Fragmented,
            vec![
                ("neededReplicas", Fact::count(*needed)),
                ("fittingReplicas", Fact::count(*fitting)),
                ("freeDevices", Fact::count(*available)),
            ],
            format!(
                "{} free but spread over nodes: {}",
                plural(*available, "device is", "devices are"),
                fit(*fitting, *needed)
            ),
        ),
        Reason::InsufficientCpu {
            needed,
            fitting,
            cpu_milli,
        } => (
            Name::InsufficientCpu,
            vec![
                ("neededReplicas", Fact::count(*needed)),
                ("fittingReplicas", Fact::count(*fitting)),
                ("cpuMilliPerReplica", Fact::count(*cpu_milli)),
            ],
            format!(
                "nodes have CPU for {fitting} of {} ({cpu_milli} millicores each)",
                plural(*needed, "replica", "replicas")
            ),
        ),
        Reason::InsufficientMemory {
            needed,
            fitting,
            memory_mib,
        } => (
            Name::InsufficientMemory,
            vec![
                ("neededReplicas", Fact::count(*needed)),
                ("fittingReplicas", Fact::count(*fitting)),
                ("memoryMibPerReplica", Fact::count(*memory_mib)),
            ],
            format!(
                "nodes have memory for {fitting} of {} ({memory_mib} MiB each)",
                plural(*needed, "replica", "replicas")
            ),
        ),
        Reason::InsufficientResource {
            resource,
            needed,
            fitting,
            each,
        } => (
            Name::InsufficientResource,
            vec![
                ("resource", Fact::text(resource)),
                ("neededReplicas", Fact::count(*needed)),
                ("fittingReplicas", Fact::count(*fitting)),
                ("perReplica", Fact::count(*each)),
            ],
            format!(
                "nodes have {resource} for {fitting} of {} ({each} each, by spec.template)",
                plural(*needed, "replica", "replicas")
            ),
        ),
        Reason::NodeIsOneUnit {
            devices_per_replica,
            node_devices,
            nodes,
        } => (
            Name::NodeIsOneUnit,
            vec![
                ("devicesPerReplica", Fact::count(u64::from(*devices_per_replica))),
                ("nodeDevices", Fact::count(u64::from(*node_devices))),
                ("nodes", Fact::count(*nodes)),
            ],
            format!(
                "{} {node_devices} devices that only one replica can use, all of them, and the alternative asks for {devices_per_replica}; ask for {node_devices}",
                plural(*nodes, "node has", "nodes have each")
            ),
        ),
        Reason::InsufficientPodSlots { needed, fitting } => (
            Name::InsufficientPodSlots,
            vec![
                ("neededReplicas", Fact::count(*needed)),
                ("fittingReplicas", Fact::count(*fitting)),
            ],
            format!(
                "nodes have pod slots for {fitting} of {}",
                plural(*needed, "replica", "replicas")
            ),
        ),
        Reason::TaintNotTolerated { taint, nodes } => (
            Name::TaintNotTolerated,
            vec![("taint", Fact::text(taint)), ("nodes", Fact::count(*nodes))],
            format!(
                "taint {taint} keeps the job off {}; add a toleration to spec.template to use them",
                plural(*nodes, "node", "nodes")
            ),
        ),
        Reason::NodeSelectorMismatch { nodes } => (
            Name::NodeSelectorMismatch,
            vec![("nodes", Fact::count(*nodes))],
            format!(
                "the template's node selector or affinity leaves out {}",
                plural(*nodes, "node", "nodes")
            ),
        ),
        Reason::NodesUnavailable { nodes, fault } => (
            Name::NodesUnavailable,
            vec![("nodes", Fact::count(*nodes)), ("fault", Fact::text(fault))],
            format!(
                "{} cannot be used ({fault})",
                plural(*nodes, "node", "nodes")
            ),
        ),
        Reason::TopologyTooSmall {
            level,
            needed,
            fitting,
        } => (
            Name::TopologyTooSmall,
            vec![
                ("level", Fact::text(level.as_str())),
                ("neededReplicas", Fact::count(*needed)),
                ("fittingReplicas", Fact::count(*fitting)),
            ],
            format!(
                "no single {} holds the gang: at most {}",
                level.as_str(),
                fit(*fitting, *needed)
            ),
        ),
        Reason::TopologyUnknown { level } => (
            Name::TopologyUnknown,
            vec![("level", Fact::text(level.as_str()))],
            format!(
                "nodes carry no label for topology level {0}; label them or name the label in the MemberCluster's topologyLevels",
                level.as_str()
            ),
        ),
        Reason::PowerDomainExceeded {
            domain,
            needed_watts,
            headroom_watts,
        } => (
            Name::PowerDomainExceeded,
            watts_facts(("domain", domain), *needed_watts, *headroom_watts),
            watts_clause(&format!("power domain {domain}"), *needed_watts, *headroom_watts),
        ),
        Reason::UnknownPowerDomain {
            domain,
            needed_watts,
        } => (
            Name::UnknownPowerDomain,
            vec![
                ("domain", Fact::text(domain)),
                ("neededWatts", Fact::Watts(*needed_watts)),
            ],
            format!(
                "nodes hang on power domain {domain}, which does not exist, so nobody knows what it can carry; {needed_watts} needed"
            ),
        ),
        Reason::PowerDomainClosed {
            domain,
            why,
            needed_watts,
        } => {
            let (name, text) = closed(domain, why);
            (
                name,
                vec![
                    ("domain", Fact::text(domain)),
                    ("neededWatts", Fact::Watts(*needed_watts)),
                ],
                text,
            )
        }
        Reason::PowerBudgetExceeded {
            budget,
            needed_watts,
            headroom_watts,
        } => (
            Name::PowerBudgetExceeded,
            watts_facts(("budget", budget), *needed_watts, *headroom_watts),
            watts_clause(&format!("power budget {budget}"), *needed_watts, *headroom_watts),
        ),
        Reason::DollarBudgetExceeded {
            needed_usd,
            limit_usd,
        } => (
            Name::DollarBudgetExceeded,
            vec![
                ("neededUsd", Fact::Usd(*needed_usd)),
                ("limitUsd", Fact::Usd(*limit_usd)),
            ],
            format!("the run would cost {needed_usd}, spec.budget.maxUsd leaves {limit_usd}"),
        ),
        Reason::HourlyBudgetExceeded {
            needed_usd_per_hour,
            limit_usd_per_hour,
        } => (
            Name::HourlyBudgetExceeded,
            vec![
                ("neededUsdPerHour", Fact::Usd(*needed_usd_per_hour)),
                ("limitUsdPerHour", Fact::Usd(*limit_usd_per_hour)),
            ],
            format!(
                "an hour would cost {needed_usd_per_hour}, spec.budget.maxUsdPerHour allows {limit_usd_per_hour}"
            ),
        ),
        Reason::Unpriced => (
            Name::Unpriced,
            vec![],
            "nodes have no price and the job has a budget; add a PriceSheet row for them".to_owned(),
        ),
        Reason::DeadlineMissed { late_seconds } => (
            Name::DeadlineMissed,
            vec![("lateSeconds", Fact::Count(*late_seconds))],
            format!(
                "the work would end {} after spec.deadline",
                duration(*late_seconds)
            ),
        ),
        Reason::NoThroughput => (
            Name::NoThroughput,
            vec![],
            "the alternative has no throughput, so the work would never end; give it one or give spec.estimatedDurationSeconds".to_owned(),
        ),
        Reason::SpreadExceeded { level, max_skew } => (
            Name::SpreadExceeded,
            vec![
                ("level", Fact::text(level.as_str())),
                ("maxSkew", Fact::count(u64::from(*max_skew))),
            ],
            format!(
                "one more replica anywhere would break spec.spread (by {}, maxSkew {max_skew})",
                level.as_str()
            ),
        ),
        Reason::Promised { gangs } => (
            Name::Promised,
            vec![("gangs", Fact::count(*gangs))],
            format!(
                "there is room, but it is kept for {} that {} first, and the job would not be over by then",
                plural(*gangs, "gang", "gangs"),
                if *gangs == 1 { "comes" } else { "come" }
            ),
        ),
        Reason::Invalid { message } => {
            (Name::Invalid, vec![("message", Fact::text(message))], message.clone())
        }
    };
    ReasonText {
        name,
        facts,
        clause,
    }
}

#[cfg(test)]
mod tests;
