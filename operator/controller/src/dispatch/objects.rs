//! What a placement is made of in its member.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::resource::v1::ResourceClaimTemplate;

/// The objects of a placement whose workload is a `W`. The claim template and the Service are made before the workload.
#[derive(Clone, Debug, PartialEq)]
pub struct Objects<W> {
    /// Claims of the pods; `None` where devices are an extended resource.
    pub claim_template: Option<ResourceClaimTemplate>,
    /// The Service that replicas are reached by, where there is one. The kind of the job says whose it is.
    pub service: Option<Service>,
    /// What makes the pods.
    pub workload: W,
    /// Whether the pods carry [`SCHEDULING_GATE`](ampacity_api::labels::SCHEDULING_GATE) and wait to be pinned.
    pub gated: bool,
}
