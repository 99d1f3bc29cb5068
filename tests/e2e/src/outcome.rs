//! Waiting for what jobs become, and looking at what they left.

use ampacity_api::{InferenceJob, TrainingJob, TrainingJobState, labels};
use ampacity_controlplane::{wait_for_object, wait_gone, wait_until};
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::resource::v1::ResourceClaimTemplate;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt};

use crate::world::{PATIENCE, World};

impl World {
    /// Waits for a state of a TrainingJob.
    ///
    /// # Errors
    /// When it is not reached in time.
    pub async fn training_is(&self, name: &str, state: TrainingJobState) -> Result<TrainingJob> {
        self.training_where(name, &format!("TrainingJob {name} {state:?}"), |job| {
            job.status.as_ref().and_then(|s| s.state) == Some(state)
        })
        .await
    }

    /// Waits until something is so of a TrainingJob.
    ///
    /// # Errors
    /// When it is not so in time.
    pub async fn training_where(
        &self,
        name: &str,
        what: &str,
        is_so: impl Fn(&TrainingJob) -> bool,
    ) -> Result<TrainingJob> {
        self.explained(wait_for_object(&self.training(), name, what, PATIENCE, is_so).await)
    }

    /// Waits until something is so of an InferenceJob.
    ///
    /// # Errors
    /// When it is not so in time.
    pub async fn inference_where(
        &self,
        name: &str,
        what: &str,
        is_so: impl Fn(&InferenceJob) -> bool,
    ) -> Result<InferenceJob> {
        self.explained(wait_for_object(&self.inference(), name, what, PATIENCE, is_so).await)
    }

    /// Waits until an Event on a job says something.
    ///
    /// # Errors
    /// When none does in time.
    pub async fn told(&self, job: &str, what: &str) -> Result<()> {
        let events: Api<Event> = Api::namespaced(self.hub.admin.clone(), "default");
        let said = wait_until(format!("an Event that says {what:?}"), PATIENCE, || async {
            let Ok(events) = events.list(&ListParams::default()).await else {
                return false;
            };
            events.items.iter().any(|event| {
                let about = event.regarding.as_ref().and_then(|r| r.name.as_deref());
                about == Some(job) && event.note.as_ref().is_some_and(|n| n.contains(what))
            })
        });
        self.explained(said.await)
    }

    /// Deletes a TrainingJob and waits until it is gone.
    ///
    /// # Errors
    /// When it is still there after a time.
    pub async fn delete_training(&self, name: &str) -> Result<()> {
        self.training()
            .delete(name, &DeleteParams::default())
            .await?;
        let what = format!("TrainingJob {name} to be gone");
        self.explained(wait_gone(&self.training(), name, what, PATIENCE).await)
    }

    /// Pods of a job in a cluster, by name.
    ///
    /// # Errors
    /// The API server's.
    pub async fn pods_of(&self, cluster: &str, job: &str) -> Result<Vec<Pod>> {
        let api: Api<Pod> = Api::all(self.cluster(cluster)?.admin.clone());
        let params = ListParams::default().labels(&format!("{}={job}", labels::JOB_NAME));
        Ok(api.list(&params).await?.items)
    }

    /// Names of everything of ours in a cluster.
    ///
    /// # Errors
    /// The API server's.
    pub async fn left_in(&self, cluster: &str) -> Result<Vec<String>> {
        let client = &self.cluster(cluster)?.admin;
        let ours = ListParams::default().labels(labels::JOB_NAME);
        let mut left = Vec::new();
        for pod in Api::<Pod>::all(client.clone()).list(&ours).await? {
            left.push(format!("{cluster}: Pod {}", pod.name_any()));
        }
        for job in Api::<Job>::all(client.clone()).list(&ours).await? {
            left.push(format!("{cluster}: Job {}", job.name_any()));
        }
        for deployment in Api::<Deployment>::all(client.clone()).list(&ours).await? {
            left.push(format!("{cluster}: Deployment {}", deployment.name_any()));
        }
        for service in Api::<Service>::all(client.clone()).list(&ours).await? {
            left.push(format!("{cluster}: Service {}", service.name_any()));
        }
        for template in Api::<ResourceClaimTemplate>::all(client.clone())
            .list(&ours)
            .await?
        {
            let name = template.name_any();
            left.push(format!("{cluster}: ResourceClaimTemplate {name}"));
        }
        Ok(left)
    }

    /// Waits until nothing of ours is in a cluster.
    ///
    /// # Errors
    /// When something is left after a time.
    pub async fn nothing_left_in(&self, cluster: &str) -> Result<()> {
        let what = format!("nothing to be left in {cluster}");
        let empty = wait_until(what, PATIENCE, || async {
            self.left_in(cluster)
                .await
                .is_ok_and(|left| left.is_empty())
        });
        self.explained(empty.await)
    }

    /// Waits until nothing of ours is in any cluster, and no Placement in the hub.
    ///
    /// # Errors
    /// What is left after a time.
    pub async fn nothing_left(&self) -> Result<()> {
        let empty = wait_until("nothing to be left", PATIENCE, || async {
            self.everything_left()
                .await
                .is_ok_and(|left| left.is_empty())
        });
        if empty.await.is_err() {
            let left = self.everything_left().await?;
            ensure!(
                left.is_empty(),
                "left behind: {left:#?}\n--- end of the operator's log\n{}",
                crate::operator::log_end(&self.log)
            );
        }
        Ok(())
    }

    async fn everything_left(&self) -> Result<Vec<String>> {
        let mut left = Vec::new();
        for (name, _) in self.clusters() {
            left.extend(self.left_in(name).await?);
        }
        for placement in self.placements().list(&ListParams::default()).await? {
            left.push(format!("Placement {}", placement.name_any()));
        }
        Ok(left)
    }
}

/// The node that a pod is bound to.
///
/// # Errors
/// When it is bound to none.
pub fn node_of(pod: &Pod) -> Result<&str> {
    pod.spec
        .as_ref()
        .and_then(|s| s.node_name.as_deref())
        .with_context(|| format!("pod {} is bound to no node", pod.name_any()))
}

/// Reason and message of a condition.
#[must_use]
pub fn condition(job: &TrainingJob, type_: &str) -> Option<(String, String, String)> {
    job.status
        .as_ref()?
        .conditions
        .iter()
        .find(|c| c.type_ == type_)
        .map(|c| (c.status.clone(), c.reason.clone(), c.message.clone()))
}
