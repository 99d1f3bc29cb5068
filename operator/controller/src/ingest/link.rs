//! Keeps the link to one member: connects, watches, probes, and reconnects when the Secret changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ampacity_api::{JobKind, labels};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::runtime::watcher;
use kube::{Api, Client, Resource, ResourceExt};
use tokio::sync::Notify;
use tokio::sync::mpsc::Sender;
use tokio::task::JoinSet;
use tracing::Instrument;

use super::credentials::{CredentialsError, member_config};
use super::refusal::{Refusal, explain, supported, unreachable};
use super::watch::watch;
use crate::runtime::Clients;
use crate::state::{
    Cause, Change, KindFacts, Kinds, Link, LinkSource, SlimDeviceTaintRule, SlimNode, SlimPod,
    SlimResourceClaim, SlimResourceSlice, WatchFailure, Workload,
};

/// A kind that members have since Kubernetes 1.37 (resource.k8s.io/v1).
const DEVICE_TAINT_RULE: &str = "DeviceTaintRule";
/// Pause between probes of a connected member.
const PROBE_EVERY: Duration = Duration::from_secs(5);
/// A probe that takes longer counts as failed.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// Failed probes in a row until the member counts as unreachable.
const PROBES_UNTIL_UNREACHABLE: u32 = 2;
/// Pause between looks at the Secret of a member that cannot be reached.
const SECRET_READ_EVERY: Duration = Duration::from_secs(5);
/// Longest pause between attempts to connect.
const CONNECT_PAUSE_MAX: Duration = Duration::from_secs(15);

/// What a link reports.
pub enum LinkEvent {
    /// Calls may be made with this client; the member runs this version.
    Connected {
        /// Client.
        client: Client,
        /// `gitVersion` of its API server.
        version: String,
        /// UID of its `kube-system` namespace, where it may be read.
        uid: Option<String>,
    },
    /// A probe succeeded.
    Alive,
    /// It cannot be reached or used.
    Unreachable {
        /// Why.
        cause: Cause,
        /// What happened and what to do.
        message: String,
    },
    /// A watch failed; the rest goes on.
    WatchFailed(WatchFailure),
    /// Something in it changed.
    Changed(MemberChange),
}

/// A change of one of the watched kinds.
#[derive(Debug)]
pub enum MemberChange {
    /// Nodes.
    Node(Change<SlimNode>),
    /// Pods.
    Pod(Change<SlimPod>),
    /// DRA devices.
    Slice(Change<SlimResourceSlice>),
    /// DRA allocations.
    Claim(Change<SlimResourceClaim>),
    /// DRA devices that are taken out of service.
    TaintRule(Change<SlimDeviceTaintRule>),
    /// What runs our placements, of this kind of job.
    Workload(JobKind, Change<Workload>),
}

impl MemberChange {
    /// Kind of the objects, as in [`WatchFailure`]; of what runs placements the kind of their job.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Node(_) => "Node",
            Self::Pod(_) => "Pod",
            Self::Slice(_) => "ResourceSlice",
            Self::Claim(_) => "ResourceClaim",
            Self::TaintRule(_) => DEVICE_TAINT_RULE,
            Self::Workload(kind, _) => kind.as_str(),
        }
    }
}

/// Starts a link. `wrap` adds the cluster's name to each event. `uid`: which cluster it was before, where that is known.
pub fn spawn_link<T: Send + 'static>(
    source: LinkSource,
    hub: Clients,
    inbox: Sender<T>,
    kinds: Kinds,
    uid: Option<String>,
    wrap: impl Fn(LinkEvent) -> T + Clone + Send + Sync + 'static,
) -> Link {
    let renew = Arc::new(Notify::new());
    let run = Runner {
        source: source.clone(),
        hub,
        inbox,
        kinds,
        uid,
        wrap,
        renew: Arc::clone(&renew),
    };
    Link::new(source, tokio::spawn(run.run().in_current_span()), renew)
}

struct Runner<T, W> {
    source: LinkSource,
    hub: Clients,
    inbox: Sender<T>,
    kinds: Kinds,
    /// Which cluster it is, once that is known.
    uid: Option<String>,
    wrap: W,
    renew: Arc<Notify>,
}

/// Clients and what identifies the credentials it was made from.
struct Connection {
    clients: Clients,
    /// Address of the API server, for messages.
    server: String,
    version: String,
    uid: Option<String>,
    secret_version: String,
}

impl<T: Send + 'static, W: Fn(LinkEvent) -> T + Clone + Send + Sync + 'static> Runner<T, W> {
    async fn run(mut self) {
        let mut pause = Duration::from_millis(500);
        let mut said = String::new();
        loop {
            let tried = self.secret_version().await;
            match self.connect().await {
                Ok(connection) => {
                    pause = Duration::from_millis(500);
                    said.clear();
                    let event = LinkEvent::Connected {
                        client: connection.clients.calls.clone(),
                        version: connection.version.clone(),
                        uid: connection.uid.clone(),
                    };
                    self.uid = connection.uid.clone().or(self.uid);
                    if !self.send(event).await {
                        return;
                    }
                    let watches = self.watches(&connection);
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
                            cause: refusal.cause,
                            message: refusal.message,
                        };
                        if !self.send(event).await {
                            return;
                        }
                    }
                    if self.rest(pause, &tried).await {
                        pause = Duration::from_millis(500);
                    } else {
                        pause = (pause * 2).min(CONNECT_PAUSE_MAX);
                    }
                }
            }
        }
    }

    /// Waits before another try, or until there is another reason for one (`true`): credentials that are new may be right.
    async fn rest(&self, pause: Duration, tried: &Option<String>) -> bool {
        let end = Instant::now() + pause;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            tokio::select! {
                () = tokio::time::sleep(left.min(SECRET_READ_EVERY)) => {}
                () = self.renew.notified() => return true,
            }
            if self.secret_version().await != *tried {
                return true;
            }
        }
    }

    /// The version of the Secret with the credentials; `None` where there is none, or it cannot be read.
    async fn secret_version(&self) -> Option<String> {
        let LinkSource::Secret {
            namespace, name, ..
        } = &self.source
        else {
            return None;
        };
        let secret = self.read_secret(namespace, name).await.ok()?;
        secret.resource_version()
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
                insecure_skip_tls_verify: insecure,
            } => {
                self.client_from_secret(namespace, name, key, *insecure)
                    .await?
            }
        };
        let version = tokio::time::timeout(PROBE_TIMEOUT, clients.calls.apiserver_version())
            .await
            .map_err(|_| unreachable(&server, &format!("no answer within {PROBE_TIMEOUT:?}")))?
            .map_err(|error| explain(&server, &error))?;
        supported(&version.major, &version.minor).map_err(|message| Refusal {
            cause: Cause::UnsupportedVersion,
            message,
        })?;
        let uid = self.same_cluster(&clients.calls).await?;
        Ok(Connection {
            clients,
            server,
            version: version.git_version,
            uid,
            secret_version,
        })
    }

    /// The cluster's UID; refused where it is another cluster than before: what ran in that one is not seen in this one, and would be
    /// taken for gone. A member whose role is of an older chart does not tell.
    async fn same_cluster(&self, client: &Client) -> Result<Option<String>, Refusal> {
        let api: Api<Namespace> = Api::all(client.clone());
        let found = api.get_metadata_opt("kube-system").await.ok().flatten();
        let uid = found.and_then(|namespace| namespace.metadata.uid);
        match (&self.uid, &uid) {
            (Some(before), Some(now)) if before != now => Err(Refusal {
                cause: Cause::OtherCluster,
                message: format!(
                    "the credentials lead to another cluster than before (its kube-system namespace has UID {now}, not {before}): put the right ones back; if the cluster was built anew, delete the MemberCluster and create it again"
                ),
            }),
            _ => Ok(uid),
        }
    }

    async fn client_from_secret(
        &self,
        namespace: &str,
        name: &str,
        key: &str,
        insecure_skip_tls_verify: bool,
    ) -> Result<(Clients, String, String), Refusal> {
        let secret = self.read_secret(namespace, name).await?;
        let version = secret.resource_version().unwrap_or_default();
        let data = secret.data.unwrap_or_default();
        let invalid = |error: CredentialsError| Refusal {
            cause: Cause::KubeconfigInvalid,
            message: format!("Secret {namespace}/{name}: {error}"),
        };
        let text = data.get(key).ok_or_else(|| {
            let found = data.keys().cloned().collect::<Vec<_>>().join(", ");
            invalid(CredentialsError::NoKey {
                key: key.to_owned(),
                found,
            })
        })?;
        let config = member_config(&text.0, insecure_skip_tls_verify)
            .await
            .map_err(invalid)?;
        let server = config.cluster_url.to_string();
        // The cause may repeat parts of the kubeconfig, so it is not shown.
        let clients = Clients::new(config).map_err(|_| Refusal {
            cause: Cause::KubeconfigInvalid,
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
                cause: Cause::SecretMissing,
                message: format!(
                    "Secret {namespace}/{name} does not exist; create it with the member's kubeconfig"
                ),
            }),
            Err(kube::Error::Api(status)) if status.code == 403 => Err(Refusal {
                cause: Cause::SecretForbidden,
                message: format!(
                    "the operator may not read Secret {namespace}/{name}; put it into the operator's namespace or grant get on it"
                ),
            }),
            Err(error) => Err(Refusal {
                cause: Cause::HubError,
                message: format!("cannot read Secret {namespace}/{name}: {error}"),
            }),
        }
    }

    fn watches(&self, to: &Connection) -> JoinSet<()> {
        let all = watcher::Config::default();
        let mut set = JoinSet::new();
        self.watch_kind(&mut set, to, all.clone(), MemberChange::Node);
        self.watch_kind(&mut set, to, all.clone(), MemberChange::Pod);
        self.watch_kind(&mut set, to, all.clone(), MemberChange::Slice);
        self.watch_kind(&mut set, to, all.clone(), MemberChange::Claim);
        self.watch_kind(&mut set, to, all.clone(), MemberChange::TaintRule);
        for facts in self.kinds.iter() {
            // Kinds may be run by the same resource: each follows its own objects.
            let kind = facts.kind.as_str();
            let ours = format!("{},{}={kind}", labels::PLACEMENT, labels::JOB_KIND);
            let config = all.clone().labels(&ours);
            self.watch_workloads(&mut set, to, config, facts);
        }
        set
    }

    fn watch_kind<K>(
        &self,
        set: &mut JoinSet<()>,
        to: &Connection,
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
        // Members without DRA have no such kinds: that is no failure, there just are none.
        let name = K::kind(&()).into_owned();
        let may_be_absent = name.starts_with("Resource") || name == DEVICE_TAINT_RULE;
        let api = Api::<K>::all(to.clients.watches.clone());
        let what = format!("{name} objects of {}", to.server);
        self.watch_api(set, api, config, what, may_be_absent, change);
    }

    fn watch_workloads(
        &self,
        set: &mut JoinSet<()>,
        to: &Connection,
        config: watcher::Config,
        facts: &KindFacts,
    ) {
        let (kind, name) = (facts.kind, facts.workload.kind.clone());
        let api = Api::<Workload>::all_with(to.clients.watches.clone(), &facts.workload);
        let change = move |change| MemberChange::Workload(kind, change);
        let what = format!("{name} objects of {}", to.server);
        self.watch_api(set, api, config, what, true, change);
    }

    fn watch_api<K>(
        &self,
        set: &mut JoinSet<()>,
        api: Api<K>,
        config: watcher::Config,
        what: String,
        may_be_absent: bool,
        change: impl Fn(Change<K>) -> MemberChange + Clone + Send + 'static,
    ) where
        K: Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + 'static,
    {
        let (wrap, failed) = (self.wrap.clone(), self.wrap.clone());
        let of_all = change.clone();
        let kind = change(Change::All(Vec::new())).kind();
        // A role of an earlier version does not name the kind, and an API server that has no such kind refuses it all the same.
        let may_be_refused = kind == DEVICE_TAINT_RULE;
        let refused = AtomicBool::new(false);
        let watch = watch(
            api,
            config,
            self.inbox.clone(),
            move |event| match event {
                // Nothing of a member is known from anywhere but its watches.
                Change::Listing => None,
                event => Some(wrap(LinkEvent::Changed(change(event)))),
            },
            move |failure| {
                let is_absent = may_be_absent && failure.code == Some(404);
                let is_refused = may_be_refused && failure.code == Some(403);
                if is_refused && !refused.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        "a member's role may not watch {kind} objects, so devices that they take out of service count as usable; install the member role of this version of the chart"
                    );
                }
                let event = if is_absent || is_refused {
                    LinkEvent::Changed(of_all(Change::All(Vec::new())))
                } else {
                    LinkEvent::WatchFailed(WatchFailure {
                        kind: kind.to_owned(),
                        message: format!("cannot watch {what}: {}", failure.message),
                        ..failure
                    })
                };
                Some(failed(event))
            },
        );
        set.spawn(watch.in_current_span());
    }

    /// Probes until the connection must be made anew (`true`) or nobody listens any more (`false`).
    async fn probe(&self, connection: &Connection) -> bool {
        let mut failures = 0;
        loop {
            tokio::select! {
                () = tokio::time::sleep(PROBE_EVERY) => {}
                () = self.renew.notified() => return true,
            }
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
                        if !refusal.cause.is_silence() && failures > PROBES_UNTIL_UNREACHABLE {
                            return true;
                        }
                        continue;
                    }
                    LinkEvent::Unreachable {
                        cause: refusal.cause,
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
                matches!(refusal.cause, Cause::SecretMissing | Cause::SecretForbidden)
            }
        }
    }
}
