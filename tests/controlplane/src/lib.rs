//! Real Kubernetes control planes on loopback, for tests, benchmarks and the demo.
//!
//! A [`ControlPlane`] is etcd and kube-apiserver, with kube-controller-manager, kube-scheduler and kwok where wanted, as
//! processes on free ports. Nothing is faked but the nodes, which kwok plays. Planes are cheap (2 to 3 s to start, about
//! 0.5 GiB), independent of each other, and gone when dropped or when the test process dies.
//!
//! ```text
//!  test ──▶ FaultProxy ──▶ kube-apiserver ──▶ etcd
//!   │                        ▲   ▲   ▲
//!   └── kill, pause, ──▶ scheduler │ kwok (nodes and pods)
//!       measure            controller-manager
//! ```
//!
//! ```no_run
//! # async fn example() -> ampacity_controlplane::Result<()> {
//! use ampacity_controlplane::{ControlPlane, SimulatedNode, apply_yaml, create_nodes};
//!
//! let hub = ControlPlane::builder("hub").start().await?;
//! let client = hub.client()?;
//! create_nodes(&client, [SimulatedNode::new("a").resource("nvidia.com/gpu", "8")]).await?;
//! apply_yaml(&client, "{apiVersion: v1, kind: Namespace, metadata: {name: research}}").await?;
//! # Ok(())
//! # }
//! ```

mod apply;
mod binaries;
mod error;
mod fault_proxy;
mod plane;
mod ports;
mod process;
mod simulated_node;
mod wait;

pub use apply::{FIELD_MANAGER, apply_file, apply_yaml, install_crds};
pub use binaries::Binaries;
pub use error::{Error, Result};
pub use fault_proxy::{FaultMode, FaultProxy};
pub use plane::audit::AuditEvent;
pub use plane::component::Component;
pub use plane::credentials::User;
pub use plane::requests::{RequestCounts, RequestKind};
pub use plane::{ADMIN, ControlPlane, ControlPlaneBuilder};
pub use ports::PortLease;
pub use process::Memory;
pub use simulated_node::{SimulatedNode, create_nodes};
pub use wait::{wait_for, wait_for_object, wait_gone, wait_until};
