//! The same work for every system: jobs that run until deleted, each pod with one device.

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Service;
use kube::Client;
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::json;

use crate::scenario::{System, Work};

/// Creates in flight at once: enough that the submitter is not what is measured.
const IN_FLIGHT: usize = 16;

/// Creates jobs.
#[derive(Clone)]
pub(crate) struct Submitter {
    pub(crate) client: Client,
    pub(crate) system: System,
    pub(crate) work: Work,
    /// Pods of each job.
    pub(crate) pods: usize,
}

impl Submitter {
    /// Creates `count` jobs, as fast as the API server takes them.
    pub(crate) async fn submit(&self, count: usize) -> anyhow::Result<()> {
        stream::iter(0..count)
            .map(|i| self.create(i))
            .buffer_unordered(IN_FLIGHT)
            .try_for_each(|()| async { Ok(()) })
            .await
    }

    /// Deletes the jobs again, as `kubectl delete` does: what was made from them goes in the background.
    pub(crate) async fn delete(&self, count: usize) -> anyhow::Result<()> {
        stream::iter(0..count)
            .map(|i| self.delete_one(i))
            .buffer_unordered(IN_FLIGHT)
            .try_for_each(|()| async { Ok(()) })
            .await
    }

    async fn delete_one(&self, number: usize) -> anyhow::Result<()> {
        let (name, params) = (job_name(number), DeleteParams::background());
        let client = self.client.clone();
        if self.system == System::Ampacity {
            let api: Api<ampacity_api::TrainingJob> = Api::namespaced(client, "default");
            api.delete(&name, &params).await?;
            return Ok(());
        }
        let api: Api<Job> = Api::namespaced(client.clone(), "default");
        api.delete(&name, &params).await?;
        if self.work == Work::Rendezvous {
            let api: Api<Service> = Api::namespaced(client, "default");
            api.delete(&name, &params).await?;
        }
        Ok(())
    }

    async fn create(&self, number: usize) -> anyhow::Result<()> {
        let name = job_name(number);
        let pods = self.pods;
        if self.system == System::Ampacity {
            let job = json!({
                "apiVersion": "ampacity.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": name},
                "spec": {
                    "estimatedDurationSeconds": 3600,
                    "template": {"spec": {"restartPolicy": "Never", "containers": [container(false)]}},
                    "alternatives": [{"name": "h100", "acceleratorType": "nvidia-h100-sxm5-80gb", "devicesPerReplica": 1, "replicas": pods}],
                },
            });
            let api: Api<ampacity_api::TrainingJob> =
                Api::namespaced(self.client.clone(), "default");
            api.create(&PostParams::default(), &serde_json::from_value(job)?)
                .await?;
            return Ok(());
        }
        let kueue = self.system == System::Kueue;
        let labels = if kueue {
            json!({"kueue.x-k8s.io/queue-name": "bench"})
        } else {
            json!({})
        };
        let mut pod = json!({"restartPolicy": "Never", "containers": [container(true)]});
        if self.work == Work::Rendezvous {
            pod["subdomain"] = name.as_str().into();
            let service = json!({
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
                "spec": {
                    "clusterIP": "None", "publishNotReadyAddresses": true,
                    "selector": {"batch.kubernetes.io/job-name": name},
                },
            });
            let api: Api<Service> = Api::namespaced(self.client.clone(), "default");
            api.create(&PostParams::default(), &serde_json::from_value(service)?)
                .await?;
        }
        let job = json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "labels": labels},
            "spec": {
                "parallelism": pods, "completions": pods, "completionMode": "Indexed", "suspend": kueue,
                "template": {"spec": pod},
            },
        });
        let api: Api<Job> = Api::namespaced(self.client.clone(), "default");
        api.create(&PostParams::default(), &serde_json::from_value(job)?)
            .await?;
        Ok(())
    }
}

fn job_name(number: usize) -> String {
    format!("job-{number:05}")
}

fn container(with_device: bool) -> serde_json::Value {
    let mut requests = json!({"cpu": "1", "memory": "1Gi"});
    let mut limits = json!({});
    if with_device {
        requests["nvidia.com/gpu"] = "1".into();
        limits["nvidia.com/gpu"] = "1".into();
    }
    json!({"name": "main", "image": "registry.example/train:cuda", "resources": {"requests": requests, "limits": limits}})
}
