//! A cluster that is registered under two names is used under one: its devices and watts are there once.

use std::collections::BTreeMap;

use ampacity_api::MemberCluster;
use jiff::Timestamp;
use kube::ResourceExt;

use crate::runtime::Operator;
use crate::state::{Cause, Reach};

/// Takes every name but the oldest of each cluster out of use, and back into it once it is the only one.
pub(super) fn use_one_name(operator: &mut Operator, now: Timestamp) {
    let mut names: BTreeMap<String, Vec<(Option<Timestamp>, String)>> = BTreeMap::new();
    for cluster in operator.state.hub.clusters.values() {
        if let Some(uid) = uid_of(operator, cluster) {
            let made = cluster.creation_timestamp().map(|time| time.0);
            names
                .entry(uid)
                .or_default()
                .push((made, cluster.name_any()));
        }
    }
    let mut second: BTreeMap<String, String> = BTreeMap::new();
    for mut same in names.into_values() {
        same.sort();
        let mut same = same.into_iter().map(|(_, name)| name);
        let first = same.next().unwrap_or_default();
        second.extend(same.map(|name| (name, first.clone())));
    }
    let mut turned = Vec::new();
    for (name, member) in &mut operator.state.members {
        let is_out = matches!(&member.reach, Reach::Unreachable { cause, .. } if *cause == Cause::SameCluster);
        match second.get(name) {
            Some(first) if !is_out => {
                let message = format!(
                    "this is the cluster that MemberCluster {first} leads to as well (their kube-system namespaces have one UID), and it is used under that name; delete one of the two, or correct its kubeconfig"
                );
                tracing::warn!(cluster = %name, %message, "member cannot be used");
                member.reach = Reach::Unreachable {
                    since: now,
                    cause: Cause::SameCluster,
                    message,
                };
                turned.push(name.clone());
            }
            None if is_out => {
                member.reach = Reach::Connecting;
                if let Some(link) = &member.link {
                    link.renew();
                }
                turned.push(name.clone());
            }
            _ => {}
        }
    }
    for name in turned {
        operator.state.member_turned(&name);
    }
}

/// The UID of a cluster, as it was seen now or before this process began.
fn uid_of(operator: &Operator, cluster: &MemberCluster) -> Option<String> {
    let member = operator.state.members.get(&cluster.name_any());
    let seen = member.and_then(|member| member.uid.clone());
    seen.or_else(|| cluster.status.as_ref()?.cluster_uid.clone())
}
