//! What the stages act with: the operator that holds the state, the loop that drives them, bounded calls, election, events,
//! health and metrics. Of the stages it knows none: the loop is handed a [`Pipeline`].

mod answer;
mod backoff;
mod clients;
mod clock;
mod config;
mod election;
mod event_loop;
mod executor;
mod failpoint;
mod happening;
mod health;
mod hub_identity;
mod in_flight;
mod metrics;
mod operator;
mod recorder;
mod schema;
mod series;
mod standing;

pub use answer::says_gone;
pub use backoff::{Backoff, Failure};
pub use clients::Clients;
pub use clock::wall_clock;
pub use config::OperatorConfig;
pub use election::ElectorError;
pub use event_loop::{OperatorError, Pipeline, run};
pub use failpoint::failpoint;
pub use happening::{Happening, HappeningType};
pub use hub_identity::{HubIdentityError, hub_identity};
pub use metrics::{
    BudgetLabel, ClusterDevices, ClusterLabel, ClusterReason, DomainLabel, HUB_CLUSTER, Measures,
    QueueDevices, QueueLabel, WaitingDevices,
};
pub use operator::{
    HUB, HUB_PHASES, HUB_STATUS, Message, Operator, RETRY_SECONDS, Then, placement_call,
    status_call,
};
