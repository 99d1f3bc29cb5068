//! From the API servers into the state: watches of the hub, a link to each member, and what their changes mark for the cycle.
//!
//! Objects are decoded leniently: one that is not of its kind's form is set aside and told of, and stops no other.

mod credentials;
mod decode;
mod hub;
mod link;
mod links;
mod member;
mod refusal;
mod same_cluster;
mod watch;

pub use hub::{watch_hub, watch_jobs};
pub use link::MemberChange;
pub use links::keep_links;
pub use member::take_in_change;
