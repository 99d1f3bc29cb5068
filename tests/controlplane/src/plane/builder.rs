//! What a plane shall consist of, and how it is started.

use std::collections::BTreeMap;
use std::fs::TryLockError;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use super::component::{self, AUDIT_POLICY, Component, Layout, Ports};
use super::credentials::{CredentialFiles, User, write_private};
use super::{ADMIN, ControlPlane};
use crate::binaries::Binaries;
use crate::error::{Error, Result};
use crate::ports::PortLease;

/// How kwok plays nodes and pods; see the comments in the files.
const STAGES: [&str; 3] = [
    include_str!("../../kwok/config.yaml"),
    include_str!("../../kwok/node.yaml"),
    include_str!("../../kwok/pod.yaml"),
];

/// Describes a control plane; [`start`](Self::start) starts it. Everything but the audit log is on unless turned off.
#[derive(Debug, Clone)]
#[must_use]
pub struct ControlPlaneBuilder {
    name: String,
    scheduler: bool,
    controller_manager: bool,
    kwok: bool,
    audit_log: bool,
    users: Vec<User>,
    dir: Option<PathBuf>,
    api_server_port: Option<u16>,
    binaries: Option<Binaries>,
    extra_arguments: BTreeMap<Component, Vec<String>>,
    extra_stages: Vec<String>,
    ready_timeout: Duration,
}

impl ControlPlaneBuilder {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            scheduler: true,
            controller_manager: true,
            kwok: true,
            audit_log: false,
            users: Vec::new(),
            dir: None,
            api_server_port: None,
            binaries: None,
            extra_arguments: BTreeMap::new(),
            extra_stages: Vec::new(),
            // Ready takes 2 to 3 s on an idle machine; tests share theirs with compilers.
            ready_timeout: Duration::from_secs(120),
        }
    }

    /// Whether kube-scheduler runs. Without it pods stay unbound: a useful broken member.
    pub fn scheduler(mut self, wanted: bool) -> Self {
        self.scheduler = wanted;
        self
    }

    /// Whether kube-controller-manager runs. Without it Jobs make no pods and nothing is garbage-collected.
    pub fn controller_manager(mut self, wanted: bool) -> Self {
        self.controller_manager = wanted;
        self
    }

    /// Whether kwok runs. Without it nodes are never ready and bound pods never start.
    pub fn kwok(mut self, wanted: bool) -> Self {
        self.kwok = wanted;
        self
    }

    /// Whether the API server writes an audit log of every write (see [`ControlPlane::audited_writes`]).
    pub fn audit_log(mut self, wanted: bool) -> Self {
        self.audit_log = wanted;
        self
    }

    /// One more user the API server knows by token. With no groups, RBAC alone says what it may do.
    pub fn user(mut self, user: User) -> Self {
        self.users.push(user);
        self
    }

    /// Keeps everything in `dir`, which stays: a plane started there again has its data, tokens and ports. Without it
    /// the plane lives in a temporary folder that goes with it.
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// The API server's port, where it matters; any free one otherwise.
    pub fn api_server_port(mut self, port: u16) -> Self {
        self.api_server_port = Some(port);
        self
    }

    /// The programs to run; [`Binaries::locate`] otherwise.
    pub fn binaries(mut self, binaries: Binaries) -> Self {
        self.binaries = Some(binaries);
        self
    }

    /// One more argument for a program, such as `--node-monitor-grace-period=10s`; the last of two equal flags wins.
    pub fn argument(mut self, component: Component, argument: impl Into<String>) -> Self {
        self.extra_arguments
            .entry(component)
            .or_default()
            .push(argument.into());
        self
    }

    /// One more kwok Stage (YAML), beside those of this crate.
    pub fn kwok_stage(mut self, yaml: impl Into<String>) -> Self {
        self.extra_stages.push(yaml.into());
        self
    }

    /// How long each program may take to become ready (default 120 s).
    pub fn ready_timeout(mut self, timeout: Duration) -> Self {
        self.ready_timeout = timeout;
        self
    }

    /// Starts the plane and waits until every program is ready and the `default` namespace is there.
    ///
    /// # Errors
    /// When programs are missing, files or ports cannot be had, or a program ends or is not ready in time.
    pub async fn start(self) -> Result<ControlPlane> {
        let wanted = self.components();
        let plane = self.prepare()?;
        for component in [Component::Etcd, Component::ApiServer] {
            plane.spawn(component)?;
        }
        plane.wait_ready(Component::ApiServer).await?;
        // The rest give up when they find no API server, so they come after it, all at once.
        for &component in &wanted {
            plane.spawn(component)?;
        }
        futures::future::try_join_all(wanted.iter().map(|&component| plane.wait_ready(component)))
            .await?;
        tracing::debug!(plane = plane.name, url = plane.url(), "control plane ready");
        Ok(plane)
    }

    /// The components beyond store and API server.
    fn components(&self) -> Vec<Component> {
        [
            (self.controller_manager, Component::ControllerManager),
            (self.scheduler, Component::Scheduler),
            (self.kwok, Component::Kwok),
        ]
        .into_iter()
        .filter_map(|(wanted, component)| wanted.then_some(component))
        .collect()
    }

    /// Everything but the processes.
    fn prepare(self) -> Result<ControlPlane> {
        let binaries = match self.binaries {
            Some(binaries) => binaries,
            None => Binaries::locate()?,
        };
        let (dir, scratch, folder_lock) = match self.dir {
            Some(dir) => {
                std::fs::create_dir_all(&dir).map_err(Error::file("create", &dir))?;
                // Programs run in the folder, so their arguments need its full path.
                let dir = dir.canonicalize().map_err(Error::file("find", &dir))?;
                let lock = lock_folder(&dir)?;
                (dir, None, Some(lock))
            }
            None => {
                let scratch = tempfile::Builder::new()
                    .prefix(&format!("ampacity-{}-", self.name))
                    .tempdir()
                    .map_err(Error::file("create a folder in", std::env::temp_dir()))?;
                (scratch.path().to_owned(), Some(scratch), None)
            }
        };
        let (ports, leases) = take_ports(&dir, self.api_server_port)?;
        let mut users = vec![User::new(ADMIN, &["system:masters"])?];
        for component in [
            Component::ControllerManager,
            Component::Scheduler,
            Component::Kwok,
        ] {
            users.push(User::new(component.user_name(), &["system:masters"])?);
        }
        users.extend(self.users);
        let (credentials, users) = CredentialFiles::prepare(&dir.join("credentials"), users)?;
        let ca_certificate_pem = std::fs::read(&credentials.ca_certificate)
            .map_err(Error::file("read", &credentials.ca_certificate))?;
        let plane = ControlPlane {
            name: self.name,
            binaries,
            processes: Mutex::default(),
            layout: Layout { dir, credentials },
            ca_certificate_pem,
            users,
            ports,
            audit_log: self.audit_log,
            extra_arguments: self.extra_arguments,
            ready_timeout: self.ready_timeout,
            _leases: leases,
            _folder_lock: folder_lock,
            scratch,
        };
        write_configs(&plane, &self.extra_stages)?;
        Ok(plane)
    }
}

/// The files that the programs' arguments name.
fn write_configs(plane: &ControlPlane, extra_stages: &[String]) -> Result<()> {
    let layout = &plane.layout;
    for component in [
        Component::ControllerManager,
        Component::Scheduler,
        Component::Kwok,
    ] {
        write_private(
            &layout.kubeconfig(component),
            &plane.kubeconfig(component.user_name())?,
        )?;
    }
    write_private(
        &layout.scheduler_config(),
        &component::scheduler_config(&layout.kubeconfig(Component::Scheduler)),
    )?;
    let stages: Vec<&str> = STAGES
        .into_iter()
        .chain(extra_stages.iter().map(String::as_str))
        .collect();
    write_private(&layout.kwok_stages(), &stages.join("\n---\n"))?;
    write_private(&layout.audit_policy(), AUDIT_POLICY)
}

/// Keeps a second plane out of a folder for as long as the file lives.
fn lock_folder(dir: &Path) -> Result<std::fs::File> {
    let path = dir.join("lock");
    let file = std::fs::File::create(&path).map_err(Error::file("create", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::FolderInUse {
            dir: dir.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(Error::File {
            action: "lock",
            path,
            source,
        }),
    }
}

/// The ports an earlier run in the folder used, or free ones, written down for a later run: etcd's data and everybody's
/// kubeconfig name them.
fn take_ports(dir: &Path, api_server_port: Option<u16>) -> Result<(Ports, Vec<PortLease>)> {
    let path = dir.join("ports.json");
    let earlier: Option<Ports> = std::fs::read(&path)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let mut leases = Vec::new();
    let mut take = |wanted: Option<u16>| -> Result<u16> {
        let lease = match wanted {
            Some(port) => PortLease::exactly(port)?,
            None => PortLease::any()?,
        };
        let port = lease.port();
        leases.push(lease);
        Ok(port)
    };
    let ports = Ports {
        etcd_client: take(earlier.map(|p| p.etcd_client))?,
        etcd_peer: take(earlier.map(|p| p.etcd_peer))?,
        api_server: take(api_server_port.or(earlier.map(|p| p.api_server)))?,
        controller_manager: take(earlier.map(|p| p.controller_manager))?,
        scheduler: take(earlier.map(|p| p.scheduler))?,
        kwok: take(earlier.map(|p| p.kwok))?,
    };
    let json = serde_json::to_string(&ports).map_err(|error| Error::Unreadable {
        what: "the plane's ports".to_owned(),
        reason: error.to_string(),
    })?;
    write_private(&path, &json)?;
    Ok((ports, leases))
}
