//! Keeps the link to one member: connects, watches, probes, and reconnects when the Secret changes.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::runtime::watcher;
use kube::{Api, Client, Resource, ResourceExt};
use tokio::sync::mpsc::Sender;
use tokio::task::JoinSet;

use super::credentials::{CredentialsError, member_config};
use super::slim::{SlimDeployment, SlimJob};
use crate::clients::Clients;
use crate::inventory::{SlimNode, SlimPod, SlimResourceClaim, SlimResourceSlice};
use crate::watch::{Change, watch};
use ampacity_api::labels;

/// Pause between probes of a connected member.
const PROBE_EVERY: Duration = Duration::from_secs(5);
/// A probe that takes longer counts as failed.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// Failed probes in a row until the member counts as unreachable.
const PROBES_UNTIL_UNREACHABLE: u32 = 2;
/// Longest pause between attempts to connect.
const CONNECT_PAUSE_MAX: Duration = Duration::from_secs(15);

/// Where a member's credentials come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkSource {
    /// The hub itself.
    Hub,
    /// A kubeconfig in a Secret of the hub.
    Secret {
        /// Namespace of the Secret.
        namespace: String,
        /// Name of the Secret.
        name: String,
        /// Key in it.
        key: String,
    },
}

/// What a link reports.
pub enum LinkEvent {
    /// Calls may be made with this client; the member runs this version.
    Connected {
        /// Client.
        client: Client,
        /// `gitVersion` of its API server.
        version: String,
    },
    /// A probe succeeded.
    Alive,
    /// It cannot be reached or used.
    Unreachable {
        /// Machine-readable reason: `SecretMissing`, `KubeconfigInvalid`, `Forbidden`, `Unreachable`.
        reason: &'static str,
        /// What happened and what to do.
        message: String,
    },
    /// A watch failed; the rest goes on.
    WatchFailed(String),
    /// Something in it changed.
    Changed(MemberChange),
}

/// A change of one of the watched kinds.
pub enum MemberChange {
    /// Nodes.
    Node(Change<SlimNode>),
    /// Pods.
    Pod(Change<SlimPod>),
    /// DRA devices.
    Slice(Change<SlimResourceSlice>),
    /// DRA allocations.
    Claim(Change<SlimResourceClaim>),
    /// Our Jobs.
    Job(Change<SlimJob>),
    /// Our Deployments.
    Deployment(Change<SlimDeployment>),
}

/// A running link; dropping it ends it.
pub struct Link {
    /// Where the credentials come from.
    pub source: LinkSource,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts a link. `wrap` adds the cluster's name to each event.
pub fn spawn_link<T: Send + 'static>(
    source: LinkSource,
    hub: Clients,
    inbox: Sender<T>,
    wrap: impl Fn(LinkEvent) -> T + Clone + Send + Sync + 'static,
) -> Link {
    let run = Runner {
        source: source.clone(),
        hub,
        inbox,
        wrap,
    };
    Link {
        source,
        task: tokio::spawn(run.run()),
    }
}

struct Runner<T, W> {
    source: LinkSource,
    hub: Clients,
    inbox: Sender<T>,
    wrap: W,
}

/// Clients and what identifies the credentials it was made from.
struct Connection {
    clients: Clients,
    /// Address of the API server, for messages.
    server: String,
    version: String,
    secret_version: String,
}

struct Refusal {
    reason: &'static str,
    message: String,
}

impl<T: Send + 'static, W: Fn(LinkEvent) -> T + Clone + Send + Sync + 'static> Runner<T, W> {
    async fn run(self) {
        let mut pause = Duration::from_millis(500);
        let mut said = String::new();
        loop {
            match self.connect().await {
                Ok(connection) => {
                    pause = Duration::from_millis(500);
                    said.clear();
                    let event = LinkEvent::Connected {
                        client: connection.clients.calls.clone(),
                        version: connection.version.clone(),
                    };
                    if !self.send(event).await {
                        return;
                    }
                    let watches = self.watches(&connection.clients.watches);
                    let go_on = self.probe(&connection).await;
                    drop(watches);
                    if !go_on {
                        return;
                    }
                }
                Err(refusal) => {
                    if said != refusal.message {
                        said.clone_from(&refusal.message);
                        let event = LinkEvent::Unreachable {
                            reason: refusal.reason,
                            message: refusal.message,
                        };
                        if !self.send(event).await {
                            return;
                        }
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(CONNECT_PAUSE_MAX);
                }
            }
        }
    }

    async fn send(&self, event: LinkEvent) -> bool {
        self.inbox.send((self.wrap)(event)).await.is_ok()
    }

    async fn connect(&self) -> Result<Connection, Refusal> {
        let (clients, server, secret_version) = match &self.source {
            LinkSource::Hub => (
                self.hub.clone(),
                "of the hub itself".to_owned(),
                String::new(),
            ),
            LinkSource::Secret {
                namespace,
                name,
                key,
            } => self.client_from_secret(namespace, name, key).await?,
        };
        let version = tokio::time::timeout(PROBE_TIMEOUT, clients.calls.apiserver_version())
            .await
            .map_err(|_| unreachable(&server, &format!("no answer within {PROBE_TIMEOUT:?}")))?
            .map_err(|error| explain(&server, &error))?;
        Ok(Connection {
            clients,
            server,
            version: version.git_version,
            secret_version,
        })
    }

    async fn client_from_secret(
        &self,
        namespace: &str,
        name: &str,
        key: &str,
    ) -> Result<(Clients, String, String), Refusal> {
        let secret = self.read_secret(namespace, name).await?;
        let version = secret.resource_version().unwrap_or_default();
        let data = secret.data.unwrap_or_default();
        let invalid = |error: CredentialsError| Refusal {
            reason: "KubeconfigInvalid",
            message: format!("Secret {namespace}/{name}: {error}"),
        };
        let text = data.get(key).ok_or_else(|| {
            let found = data.keys().cloned().collect::<Vec<_>>().join(", ");
            invalid(CredentialsError::NoKey {
                key: key.to_owned(),
                found,
            })
        })?;
        let config = member_config(&text.0).await.map_err(invalid)?;
        let server = config.cluster_url.to_string();
        // The cause may repeat parts of the kubeconfig, so it is not shown.
        let clients = Clients::new(config).map_err(|_| Refusal {
            reason: "KubeconfigInvalid",
            message: format!(
                "Secret {namespace}/{name}: its certificates or server address cannot be used"
            ),
        })?;
        Ok((clients, server, version))
    }

    async fn read_secret(&self, namespace: &str, name: &str) -> Result<Secret, Refusal> {
        let api: Api<Secret> = Api::namespaced(self.hub.calls.clone(), namespace);
        match api.get_opt(name).await {
            Ok(Some(secret)) => Ok(secret),
            Ok(None) => Err(Refusal {
                reason: "SecretMissing",
                message: format!(
                    "Secret {namespace}/{name} does not exist; create it with the member's kubeconfig"
                ),
            }),
            Err(kube::Error::Api(status)) if status.code == 403 => Err(Refusal {
                reason: "SecretForbidden",
                message: format!(
                    "the operator may not read Secret {namespace}/{name}; put it into the operator's namespace or grant get on it"
                ),
            }),
            Err(error) => Err(Refusal {
                reason: "HubError",
                message: format!("cannot read Secret {namespace}/{name}: {error}"),
            }),
        }
    }

    fn watches(&self, client: &Client) -> JoinSet<()> {
        let ours = watcher::Config::default().labels(labels::PLACEMENT);
        let all = watcher::Config::default();
        let mut set = JoinSet::new();
        self.watch_kind(&mut set, client, all.clone(), MemberChange::Node);
        self.watch_kind(&mut set, client, all.clone(), MemberChange::Pod);
        self.watch_kind(&mut set, client, all.clone(), MemberChange::Slice);
        self.watch_kind(&mut set, client, all, MemberChange::Claim);
        self.watch_kind(&mut set, client, ours.clone(), MemberChange::Job);
        self.watch_kind(&mut set, client, ours, MemberChange::Deployment);
        set
    }

    fn watch_kind<K>(
        &self,
        set: &mut JoinSet<()>,
        client: &Client,
        config: watcher::Config,
        change: fn(Change<K>) -> MemberChange,
    ) where
        K: Resource<DynamicType = ()>
            + Clone
            + serde::de::DeserializeOwned
            + std::fmt::Debug
            + Send
            + 'static,
    {
        let (wrap, failed) = (self.wrap.clone(), self.wrap.clone());
        let kind = K::kind(&()).into_owned();
        set.spawn(watch(
            Api::<K>::all(client.clone()),
            config,
            self.inbox.clone(),
            move |event| wrap(LinkEvent::Changed(change(event))),
            // Members without DRA have no such kinds: that is no failure, there just are none.
            move |error| {
                let absent = kind.starts_with("Resource")
                    && (error.contains("404") || error.contains("could not find"));
                let event = if absent {
                    LinkEvent::Changed(change(Change::All(Vec::new())))
                } else {
                    LinkEvent::WatchFailed(format!("watch of {kind}: {error}"))
                };
                Some(failed(event))
            },
        ));
    }

    /// Probes until the connection must be made anew (`true`) or nobody listens any more (`false`).
    async fn probe(&self, connection: &Connection) -> bool {
        let mut failures = 0;
        loop {
            tokio::time::sleep(PROBE_EVERY).await;
            let answer =
                tokio::time::timeout(PROBE_TIMEOUT, connection.clients.calls.apiserver_version())
                    .await;
            let problem = match answer {
                Ok(Ok(_)) => None,
                Ok(Err(error)) => Some(explain(&connection.server, &error)),
                Err(_) => Some(unreachable(
                    &connection.server,
                    &format!("no answer within {PROBE_TIMEOUT:?}"),
                )),
            };
            let event = match problem {
                None => {
                    let was_out = failures >= PROBES_UNTIL_UNREACHABLE;
                    failures = 0;
                    if was_out || self.secret_changed(&connection.secret_version).await {
                        return true;
                    }
                    LinkEvent::Alive
                }
                Some(refusal) => {
                    failures += 1;
                    if failures != PROBES_UNTIL_UNREACHABLE {
                        if refusal.reason != "Unreachable" && failures > PROBES_UNTIL_UNREACHABLE {
                            return true;
                        }
                        continue;
                    }
                    LinkEvent::Unreachable {
                        reason: refusal.reason,
                        message: refusal.message,
                    }
                }
            };
            if !self.send(event).await {
                return false;
            }
        }
    }

    async fn secret_changed(&self, known: &str) -> bool {
        let LinkSource::Secret {
            namespace, name, ..
        } = &self.source
        else {
            return false;
        };
        match self.read_secret(namespace, name).await {
            Ok(secret) => secret.resource_version().as_deref() != Some(known),
            Err(refusal) => {
                refusal.reason == "SecretMissing" || refusal.reason == "SecretForbidden"
            }
        }
    }
}

fn unreachable(server: &str, problem: &str) -> Refusal {
    Refusal {
        reason: "Unreachable",
        message: format!(
            "cannot reach the API server {server}: {problem}; check that it runs, that its address is right and that the hub's network reaches it"
        ),
    }
}

fn explain(server: &str, error: &kube::Error) -> Refusal {
    match error {
        kube::Error::Api(status) if status.code == 401 => Refusal {
            reason: "Unauthorized",
            message: "the member does not accept the credentials; renew the token or certificate in the Secret".to_owned(),
        },
        kube::Error::Api(status) if status.code == 403 => Refusal {
            reason: "Forbidden",
            message: format!("the member denies access ({}); install the member role of the chart", status.message),
        },
        other => {
            let mut text = other.to_string();
            let mut source = std::error::Error::source(other);
            while let Some(cause) = source {
                text = cause.to_string();
                source = cause.source();
            }
            unreachable(server, &text)
        }
    }
}
