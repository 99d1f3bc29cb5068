//! One link per member.

use std::collections::BTreeMap;

use ampacity_api::MemberCluster;
use jiff::Timestamp;
use kube::ResourceExt;

use super::link::spawn_link;
use super::member::take_in;
use super::same_cluster::use_one_name;
use crate::runtime::{Message, Operator};
use crate::state::{LinkSource, Member};

/// One link per member, made anew when its credentials are elsewhere.
pub fn keep_links(operator: &mut Operator, now: Timestamp) {
    let wanted: BTreeMap<String, LinkSource> = operator
        .state
        .hub
        .clusters
        .values()
        .map(|c| (c.name_any(), link_source(c)))
        .collect();
    let gone: Vec<String> = operator
        .state
        .members
        .keys()
        .filter(|name| !wanted.contains_key(*name))
        .cloned()
        .collect();
    for name in gone {
        let left = operator.state.members.remove(&name);
        operator
            .departed
            .extend(left.and_then(|m| m.client).map(|c| (name.clone(), c)));
        operator.state.dirty.clusters.insert(name.clone());
        operator.state.member_turned(&name);
    }
    use_one_name(operator, now);
    let turned: Vec<String> = operator
        .state
        .members
        .iter_mut()
        .filter_map(|(name, member)| turned_stale(member, now).then(|| name.clone()))
        .collect();
    for name in turned {
        operator.state.member_turned(&name);
    }
    for (name, source) in wanted {
        let same = operator
            .state
            .members
            .get(&name)
            .and_then(|m| m.link.as_ref())
            .is_some_and(|l| *l.source() == source);
        if same {
            continue;
        }
        operator.links_made += 1;
        let (cluster, number) = (name.clone(), operator.links_made);
        let wrap = move |event| {
            let cluster = cluster.clone();
            Message::event(move |operator: &mut Operator| {
                take_in(operator, &cluster, number, event);
            })
        };
        let (hub, inbox) = (operator.hub_clients.clone(), operator.inbox.clone());
        let kinds = operator.state.kinds.clone();
        let cluster = operator.state.hub.clusters.named(&name);
        let uid = cluster.and_then(|c| c.status.as_ref()?.cluster_uid.clone());
        // The client's own log lines name the cluster, too.
        let _span = tracing::error_span!("link", cluster = %name).entered();
        let member = Member {
            link: Some(spawn_link(source, hub, inbox, kinds, uid, wrap)),
            link_number: number,
            linked_at: Some(now),
            ..Member::new(&operator.config.hub_name, &operator.state.kinds)
        };
        operator.departed.remove(&name);
        operator.state.link_member(&name, member);
    }
}

/// Whether watches of a member began to fail for good, or do so no longer. What lasted while they did was seen by nobody.
fn turned_stale(member: &mut Member, now: Timestamp) -> bool {
    let is_stale = member.watches.failure(now).is_some();
    if is_stale == member.is_stale {
        return false;
    }
    member.is_stale = is_stale;
    if !is_stale {
        member.count_anew(now);
    }
    true
}

fn link_source(cluster: &MemberCluster) -> LinkSource {
    match &cluster.spec.kubeconfig_secret_ref {
        None => LinkSource::Hub,
        Some(secret) => LinkSource::Secret {
            namespace: secret.namespace.clone(),
            name: secret.name.clone(),
            key: secret.key.clone(),
            insecure_skip_tls_verify: cluster.spec.insecure_skip_tls_verify,
        },
    }
}
