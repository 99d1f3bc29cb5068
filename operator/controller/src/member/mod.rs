//! The link to one member cluster: credentials, reachability, and watches of what the engine needs to know.

mod credentials;
mod link;
mod slim;

pub use link::{Link, LinkEvent, LinkSource, MemberChange, spawn_link};
pub use slim::{SlimDeployment, SlimJob};
