//! A control plane: its programs, its folder, and the ways to reach, break and measure it.

pub(crate) mod audit;
mod builder;
pub(crate) mod component;
pub(crate) mod credentials;
mod kubeconfig;
mod readiness;
pub(crate) mod requests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::{Api, Client, Config};
use rustix::process::Signal;

pub use builder::ControlPlaneBuilder;

use self::audit::AuditEvent;
use self::component::{Component, Layout, Ports};
use self::credentials::User;
use self::requests::RequestCounts;
use crate::binaries::Binaries;
use crate::error::{Error, Result};
use crate::ports::PortLease;
use crate::process::{Memory, Process};

/// Name of the user that may do everything.
pub const ADMIN: &str = "admin";

/// A running control plane on loopback. Dropping it ends its processes and, unless the builder was given a folder,
/// removes its data; should this process be killed, watchdogs do the same.
#[derive(Debug)]
pub struct ControlPlane {
    name: String,
    binaries: Binaries,
    // Before the folder, so that processes end before their files go.
    processes: Mutex<BTreeMap<Component, Process>>,
    layout: Layout,
    ca_certificate_pem: Vec<u8>,
    users: Vec<User>,
    ports: Ports,
    audit_log: bool,
    extra_arguments: BTreeMap<Component, Vec<String>>,
    ready_timeout: Duration,
    _leases: Vec<PortLease>,
    _folder_lock: Option<std::fs::File>,
    /// Present when the folder is ours to remove.
    scratch: Option<tempfile::TempDir>,
}

impl ControlPlane {
    /// Describes a plane to be started. `name` appears in kubeconfig files and errors.
    pub fn builder(name: impl Into<String>) -> ControlPlaneBuilder {
        ControlPlaneBuilder::new(name.into())
    }

    /// The plane's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The API server's address, `https://127.0.0.1:PORT`. It stays the same when the server is stopped and started.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.ports.api_server)
    }

    /// The API server's socket address, for a [`FaultProxy`](crate::FaultProxy).
    #[must_use]
    pub fn socket_address(&self) -> std::net::SocketAddr {
        (std::net::Ipv4Addr::LOCALHOST, self.ports.api_server).into()
    }

    /// The authority that signed the serving certificate, PEM. The certificate holds for 127.0.0.1 on any port, so a
    /// client checks it through a proxy too.
    #[must_use]
    pub fn ca_certificate_pem(&self) -> &[u8] {
        &self.ca_certificate_pem
    }

    /// The folder with data, credentials and one log for each program.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.layout.dir
    }

    /// The log of one program.
    #[must_use]
    pub fn log_path(&self, component: Component) -> PathBuf {
        self.layout.log(component)
    }

    /// The programs this plane was started with.
    #[must_use]
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    // ---- who may ask ----

    /// Bearer token of the user that may do everything.
    ///
    /// # Errors
    /// Never for a started plane.
    pub fn admin_token(&self) -> Result<&str> {
        self.token(ADMIN)
    }

    /// Bearer token of a user given to the builder.
    ///
    /// # Errors
    /// [`Error::UnknownUser`].
    pub fn token(&self, user: &str) -> Result<&str> {
        self.users
            .iter()
            .find(|known| known.name == user)
            .map(|known| known.token.as_str())
            .ok_or_else(|| Error::UnknownUser {
                plane: self.name.clone(),
                user: user.to_owned(),
            })
    }

    /// A client that may do everything. Must be called within a Tokio runtime, and used within the same one.
    ///
    /// # Errors
    /// When the client's TLS cannot be set up.
    pub fn client(&self) -> Result<Client> {
        self.client_as(self.admin_token()?)
    }

    /// A client with a bearer token of a user or ServiceAccount.
    ///
    /// # Errors
    /// When the client's TLS cannot be set up.
    pub fn client_as(&self, token: &str) -> Result<Client> {
        self.client_at(&self.url(), token)
    }

    /// A client with a bearer token that reaches the plane at another address, such as a proxy's.
    ///
    /// # Errors
    /// When `url` is no URL or the client's TLS cannot be set up.
    pub fn client_at(&self, url: &str, token: &str) -> Result<Client> {
        let uri = url
            .parse()
            .map_err(|error: http::uri::InvalidUri| Error::Unreadable {
                what: format!("the address {url}"),
                reason: error.to_string(),
            })?;
        let mut config = Config::new(uri);
        config.root_cert_file = Some(self.layout.credentials.ca_certificate.clone());
        config.auth_info.token = Some(token.to_owned().into());
        Client::try_from(config).map_err(Error::api(format!("make a client for {url}")))
    }

    /// A kubeconfig for a user given to the builder, or [`ADMIN`]. It refers to no files.
    ///
    /// # Errors
    /// [`Error::UnknownUser`].
    pub fn kubeconfig(&self, user: &str) -> Result<String> {
        Ok(self.kubeconfig_at(&self.url(), user, self.token(user)?))
    }

    /// A kubeconfig for any token at any address: a ServiceAccount's, or through a proxy.
    #[must_use]
    pub fn kubeconfig_at(&self, url: &str, user: &str, token: &str) -> String {
        kubeconfig::kubeconfig(&self.name, url, &self.ca_certificate_pem, user, token)
    }

    /// Writes the admin's kubeconfig to `path`, readable by its owner alone.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_kubeconfig(&self, path: &Path) -> Result<()> {
        credentials::write_private(path, &self.kubeconfig(ADMIN)?)
    }

    /// A token of a ServiceAccount, valid for an hour, from the TokenRequest API: what a pod of that account would hold.
    ///
    /// # Errors
    /// When the account does not exist or the API server does not answer.
    pub async fn service_account_token(&self, namespace: &str, name: &str) -> Result<String> {
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                expiration_seconds: Some(3600),
                ..TokenRequestSpec::default()
            }),
            ..TokenRequest::default()
        };
        let action = format!("request a token for ServiceAccount {namespace}/{name}");
        let issued = Api::<ServiceAccount>::namespaced(self.client()?, namespace)
            .create_token_request(name, &PostParams::default(), &request)
            .await
            .map_err(Error::api(action.clone()))?;
        issued
            .status
            .and_then(|status| status.token)
            .ok_or_else(|| Error::Unreadable {
                what: action,
                reason: "the answer has no token".to_owned(),
            })
    }

    // ---- what may break ----

    /// Kills one program at once, as a crash would. The others keep running.
    ///
    /// # Errors
    /// [`Error::NotRunning`].
    pub fn kill(&self, component: Component) -> Result<()> {
        match self.processes().remove(&component) {
            Some(mut process) => {
                process.kill();
                Ok(())
            }
            None => Err(self.not_running(component)),
        }
    }

    /// Starts a program again with its data and ports, and waits until it is ready. Does nothing when it runs.
    ///
    /// # Errors
    /// When it ends or is not ready in time.
    pub async fn start(&self, component: Component) -> Result<()> {
        if let Some(process) = self.processes().get_mut(&component)
            && process.exit_status()?.is_none()
        {
            return Ok(());
        }
        self.spawn(component)?;
        self.wait_ready(component).await
    }

    /// Kills the API server; the store keeps the data and other components keep trying.
    ///
    /// # Errors
    /// [`Error::NotRunning`].
    pub fn stop_apiserver(&self) -> Result<()> {
        self.kill(Component::ApiServer)
    }

    /// Starts the API server again on the same port and waits until it is ready.
    ///
    /// # Errors
    /// When it ends or is not ready in time.
    pub async fn start_apiserver(&self) -> Result<()> {
        self.start(Component::ApiServer).await
    }

    /// Stops a program in its tracks (SIGSTOP): connections stay open and nothing answers.
    ///
    /// # Errors
    /// [`Error::NotRunning`], or when the signal cannot be sent.
    pub fn pause(&self, component: Component) -> Result<()> {
        self.with_process(component, |process| process.signal(Signal::STOP))
    }

    /// Lets a paused program go on (SIGCONT).
    ///
    /// # Errors
    /// [`Error::NotRunning`], or when the signal cannot be sent.
    pub fn resume(&self, component: Component) -> Result<()> {
        self.with_process(component, |process| process.signal(Signal::CONT))
    }

    /// Fails with the end of a log when a program that should run has ended by itself.
    ///
    /// # Errors
    /// [`Error::Exited`].
    pub fn check_running(&self) -> Result<()> {
        self.processes()
            .values_mut()
            .try_for_each(Process::check_running)
    }

    // ---- what is measured ----

    /// Resident memory of one program, in bytes, now and at its peak. Linux only.
    ///
    /// # Errors
    /// [`Error::NotRunning`], or when the kernel does not say.
    pub fn memory(&self, component: Component) -> Result<Memory> {
        self.with_process(component, |process| process.memory())
    }

    /// Process id of one program.
    ///
    /// # Errors
    /// [`Error::NotRunning`].
    pub fn process_id(&self, component: Component) -> Result<u32> {
        self.with_process(component, |process| Ok(process.id()))
    }

    /// Requests the API server has answered since it started, by verb, resource, subresource and code.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn request_counts(&self) -> Result<RequestCounts> {
        let text = readiness::get_text(&self.client()?, "/metrics")
            .await
            .map_err(Error::api("read the API server's metrics"))?;
        Ok(RequestCounts::parse(&text))
    }

    /// Bytes of watch events that the API server has sent about objects of a group since it started.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn watch_event_bytes(&self, group: &str) -> Result<f64> {
        let text = readiness::get_text(&self.client()?, "/metrics")
            .await
            .map_err(Error::api("read the API server's metrics"))?;
        let of_group = format!("group=\"{group}\"");
        let lines = text
            .lines()
            .filter(|line| line.starts_with("apiserver_watch_events_sizes_sum{"))
            .filter(|line| line.contains(&of_group));
        let bytes = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
        Ok(bytes.sum())
    }

    /// Every write in the audit log, oldest first: who wrote what. Needs
    /// [`audit_log(true)`](ControlPlaneBuilder::audit_log).
    ///
    /// # Errors
    /// When there is no audit log, or a line of it cannot be read.
    pub fn audited_writes(&self) -> Result<Vec<AuditEvent>> {
        audit::read(&self.layout.audit_log())
    }

    // ---- inside ----

    fn processes(&self) -> MutexGuard<'_, BTreeMap<Component, Process>> {
        self.processes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn not_running(&self, component: Component) -> Error {
        Error::NotRunning {
            program: component.program(),
            plane: self.name.clone(),
        }
    }

    fn with_process<T>(
        &self,
        component: Component,
        act: impl FnOnce(&Process) -> Result<T>,
    ) -> Result<T> {
        self.processes()
            .get(&component)
            .ok_or_else(|| self.not_running(component))
            .and_then(act)
    }

    fn spawn(&self, component: Component) -> Result<()> {
        let mut arguments =
            component::arguments(component, &self.layout, &self.ports, self.audit_log);
        let extra = self.extra_arguments.get(&component);
        arguments.extend(extra.into_iter().flatten().map(Into::into));
        let process = Process::spawn(
            component.program(),
            &self.binaries.path(component.program())?,
            &arguments,
            &self.layout.dir,
            self.layout.log(component),
            self.scratch.as_ref().map(tempfile::TempDir::path),
        )?;
        self.processes().insert(component, process);
        Ok(())
    }

    async fn wait_ready(&self, component: Component) -> Result<()> {
        readiness::wait_ready(self, component).await
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        let processes = self
            .processes
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        // Clients of the API server first, the store last, so that logs do not end in connection errors.
        while let Some((_, mut process)) = processes.pop_last() {
            process.kill();
        }
    }
}
