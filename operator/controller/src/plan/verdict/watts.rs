//! Words and facts about watts that do not fit.

use ampacity_placement::{PowerClosure, Watts};

use super::reason_name::ReasonName;
use super::{Fact, Facts};

/// Why a domain carries nothing new, and what to do about it.
pub(super) fn closed(domain: &str, why: &PowerClosure) -> (ReasonName, String) {
    match why {
        PowerClosure::Cycle { parent } if parent == domain => (
            ReasonName::PowerDomainCycle,
            format!(
                "power domain {domain} names itself in spec.parents, so nobody knows what it hangs on; take it out there"
            ),
        ),
        PowerClosure::Cycle { parent } => (
            ReasonName::PowerDomainCycle,
            format!(
                "power domain {domain} feeds itself by way of its parent {parent}, so nobody knows what it hangs on; take one of them out of spec.parents"
            ),
        ),
        PowerClosure::Terminating => (
            ReasonName::PowerDomainTerminating,
            format!(
                "power domain {domain} is being deleted and carries nothing new; put its nodes under another one (spec.powerDomainRef of a MemberCluster, spec.members of a PowerDomain)"
            ),
        ),
    }
}

pub(super) fn watts_clause(limit: &str, needed: Watts, headroom: Watts) -> String {
    if headroom < Watts::ZERO {
        let over = -headroom;
        return format!(
            "{limit} has nothing left: {over} more are reserved or promised than it allows; {needed} needed"
        );
    }
    format!("{limit} has {headroom} left, {needed} needed")
}

/// What a limit on watts has left is never told as less than nothing: how far it is exceeded is a fact of its own.
pub(super) fn watts_facts(limit: (&'static str, &str), needed: Watts, headroom: Watts) -> Facts {
    let mut facts = vec![
        (limit.0, Fact::text(limit.1)),
        ("neededWatts", Fact::Watts(needed)),
        ("headroomWatts", Fact::Watts(headroom.max(Watts::ZERO))),
    ];
    if headroom < Watts::ZERO {
        facts.push(("exceededByWatts", Fact::Watts(-headroom)));
    }
    facts
}
