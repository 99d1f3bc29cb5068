//! Ampacity's custom resources: group `ampacity.dev`, version `v1alpha1`.
//!
//! ```text
//!  written by users                 written by the operator
//!  ────────────────                 ───────────────────────
//!  TrainingJob  ─┐
//!                ├── planned ──▶ Placement ──▶ objects in one member cluster
//!  InferenceJob ─┘
//!
//!  written by platform teams (cluster-scoped), what the plan is made from
//!  ────────────────────────────────────────────────────────────────────
//!  MemberCluster     a cluster that jobs may be placed in
//!  AcceleratorType   a device model: memory, speed, watts, how nodes show it
//!  PriceSheet        what an hour, a kilowatt-hour and a gibibyte cost
//!  PowerDomain       a breaker; domains form a DAG
//!  PowerBudget       a limit in watts on a domain or a queue
//! ```
//!
//! Each kind is a module. [`crds`] returns the definitions as they are installed; `crds/manifests`
//! holds the same as YAML. Whatever CEL can say is checked by the API server: the rules stand beside
//! the types, as `validation` attributes.
//!
//! Conventions: money, rates and throughput are decimal strings ([`Decimal`], up to six places);
//! whole numbers are integers; times are RFC 3339; durations are integers named `…Seconds`.

// `KubeSchema` repeats each struct, as `pub`, inside a function.
#![allow(unreachable_pub)]
// Two printer columns may well be of one type.
#![allow(clippy::duplicated_attributes)]

pub mod accelerator_type;
pub mod conditions;
pub mod decimal;
pub mod inference_job;
pub mod job;
pub mod labels;
pub mod manifests;
pub mod member_cluster;
pub mod placement;
pub mod power_budget;
pub mod power_domain;
pub mod price_sheet;
pub mod schema;
mod string_enum;
pub mod training_job;
pub mod verdict;

pub use accelerator_type::{AcceleratorType, AcceleratorTypeSpec};
pub use conditions::{ConditionReason, ConditionType, set_condition};
pub use decimal::{Decimal, DecimalError};
pub use inference_job::{InferenceJob, InferenceJobSpec, InferenceJobState, InferenceJobStatus};
pub use job::{
    AcceleratorSelector, Alternative, Budget, CapacityType, DataSource, JobKind, Objective,
    TopologyLevel, TopologyRequest,
};
pub use manifests::{GROUP, ManifestError, VERSION, crds, to_yaml};
pub use member_cluster::{MemberCluster, MemberClusterSpec, MemberClusterStatus};
pub use placement::{Placement, PlacementPhase, PlacementSpec, PlacementStatus};
pub use power_budget::{PowerBudget, PowerBudgetSpec, PowerBudgetStatus};
pub use power_domain::{PowerDomain, PowerDomainSpec, PowerDomainStatus};
pub use price_sheet::{PriceSheet, PriceSheetSpec};
pub use string_enum::UnknownWord;
pub use training_job::{TrainingJob, TrainingJobSpec, TrainingJobState, TrainingJobStatus};
pub use verdict::{Fix, Verdict, VerdictReason};
