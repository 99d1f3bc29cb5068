//! Finalizers on cluster-wide objects of the platform team: what is in use is not gone before the operator says so.

use std::fmt::Debug;
use std::time::Duration;

use ampacity_api::{MemberCluster, PowerDomain};
use k8s_openapi::ClusterResourceScope;
use kube::api::{Api, Patch, PatchParams};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::runtime::{HUB_STATUS, Operator, RETRY_SECONDS, Then};

/// Pause between two writes of one object's finalizers.
const PAUSE: Duration = Duration::from_secs(RETRY_SECONDS.unsigned_abs());

/// A kind of cluster-wide objects that finalizers of ours are on.
pub(super) trait ClusterWide:
    Resource<DynamicType = (), Scope = ClusterResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + 'static
{
}

impl ClusterWide for MemberCluster {}
impl ClusterWide for PowerDomain {}

/// Puts a finalizer on an object, so that it cannot go unnoticed.
pub(super) fn hold<K: ClusterWide>(operator: &mut Operator, object: &K, finalizer: &str) {
    let mut finalizers = object.finalizers().to_vec();
    finalizers.push(finalizer.to_owned());
    set(operator, object, finalizers);
}

/// Takes a finalizer off an object: as far as we are concerned it may go.
pub(super) fn let_go<K: ClusterWide>(operator: &mut Operator, object: &K, finalizer: &str) {
    let others = object.finalizers().iter().filter(|f| *f != finalizer);
    let others = others.cloned().collect();
    set(operator, object, others);
}

/// Whether a finalizer is on an object.
pub(super) fn is_held(object: &impl ResourceExt, finalizer: &str) -> bool {
    object.finalizers().iter().any(|f| f == finalizer)
}

fn set<K: ClusterWide>(operator: &mut Operator, object: &K, finalizers: Vec<String>) {
    let (hub, kind, name) = (operator.hub.clone(), K::kind(&()), object.name_any());
    let patch = json!({"metadata": {
        "finalizers": finalizers,
        "resourceVersion": object.resource_version(),
    }});
    let plural = K::plural(&());
    let call = format!("finalizers/{kind}/{name}");
    operator.start(HUB_STATUS, call, async move {
        let api: Api<K> = Api::all(hub);
        let patched = api
            .patch(&name, &PatchParams::default(), &Patch::Merge(&patch))
            .await;
        let failed = match patched {
            Ok(_) => None,
            // It is gone, or has changed since: what is to be done is seen anew.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => None,
            Err(error) => Some(error),
        };
        if let Some(error) = &failed {
            tracing::warn!(%kind, %name, %error, "the finalizer is not written; trying again: the operator needs patch on {plural}");
        }
        // The watch has yet to tell of what was written, and what failed need not be asked for at every turn.
        tokio::time::sleep(PAUSE).await;
        Box::new(move |operator: &mut Operator| {
            operator.metrics.called("write finalizer", failed.is_none());
        }) as Then
    });
}
