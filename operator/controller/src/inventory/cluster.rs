//! What a member cluster is to the engine.

use ampacity_api::MemberCluster;
use ampacity_placement::ClusterSpec;
use kube::ResourceExt;

/// A cluster; one that is being deleted takes nothing new.
pub fn cluster_spec(cluster: &MemberCluster, reachable: bool) -> ClusterSpec {
    ClusterSpec {
        name: cluster.name_any(),
        labels: cluster.labels().clone(),
        provider: cluster.spec.provider.clone(),
        region: cluster.spec.region.clone(),
        reachable: reachable && cluster.metadata.deletion_timestamp.is_none(),
        allowed_namespaces: cluster.spec.allowed_namespaces.clone(),
    }
}
