//! No two objects of a kind of object are called the same, whatever jobs they are of.

use std::collections::BTreeSet;

use ampacity_api::{InferenceJob, JobKind, Placement, TrainingJob};
use proptest::prelude::*;
use serde_json::json;

use crate::kinds::Kind;
use crate::state::{KindFacts, ServiceScope};
use crate::testing::object;

/// One attempt of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Attempt {
    kind: JobKind,
    job: String,
    attempt: i32,
    replicas: i32,
}

/// What an object is, and how it is called.
type Named = (String, String);

impl Attempt {
    fn facts(&self) -> KindFacts {
        match self.kind {
            JobKind::TrainingJob => TrainingJob::facts(),
            JobKind::InferenceJob => InferenceJob::facts(),
        }
    }

    fn placement(&self) -> Placement {
        let name = (self.facts().placement_name)(&self.job, self.attempt);
        object(json!({
            "apiVersion": "ampacity.dev/v1alpha1", "kind": "Placement",
            "metadata": {"name": name, "namespace": "research"},
            "spec": {
                "jobRef": {"kind": self.kind.as_str(), "name": self.job, "uid": "u"},
                "attempt": self.attempt, "epoch": 1, "cluster": "oslo", "alternative": "a",
                "acceleratorType": "nvidia-h100-sxm5-80gb", "capacityType": "Owned",
                "devicesPerReplica": 8, "replicas": self.replicas, "nodes": [],
                "resource": {"resourceName": "nvidia.com/gpu"}, "watts": 1, "usdPerHour": "1",
            }
        }))
    }

    /// Objects of the attempt alone, and the Service that is the job's.
    fn objects(&self) -> (BTreeSet<Named>, Option<Named>) {
        let (facts, placement) = (self.facts(), self.placement());
        let workload = (facts.workload_name)(&placement);
        let named = |kind: &str, name: &str| (kind.to_owned(), name.to_owned());
        let mut own = BTreeSet::from([
            named("Placement", placement.metadata.name.as_deref().unwrap()),
            named(&facts.workload.kind, &workload),
            named("ResourceClaimTemplate", &workload),
        ]);
        match facts.service {
            ServiceScope::Placement(service) => {
                own.insert(named("Service", &service(&workload)));
                (own, None)
            }
            ServiceScope::Job(service) => (own, Some(named("Service", &service(&self.job)))),
        }
    }

    fn all_names(&self) -> Vec<String> {
        let (own, shared) = self.objects();
        own.into_iter()
            .chain(shared)
            .map(|(_, name)| name)
            .collect()
    }
}

fn kind() -> impl Strategy<Value = JobKind> {
    prop::sample::select(vec![JobKind::TrainingJob, JobKind::InferenceJob])
}

/// Names of jobs of every length that the API server knows; short alphabets make them meet.
fn job_name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[ai1]([ai1-]{0,6}[ai1])?",
        2 => "[a-z0-9]([a-z0-9-]{0,60}[a-z0-9])?(\\.[a-z0-9]{1,10})?",
        1 => "[ab]{1,20}(-gang|-x[0-9a-f]{12}|-i?[0-9]{1,3}){0,3}",
        1 => "[a-z0-9]([a-z0-9.-]{38,251}[a-z0-9])",
    ]
}

fn attempt() -> impl Strategy<Value = Attempt> {
    let number = prop_oneof![1..4_i32, 1..i32::MAX];
    let replicas = prop_oneof![1..4_i32, 1..100_000_i32];
    (kind(), job_name(), number, replicas).prop_map(|(kind, job, attempt, replicas)| Attempt {
        kind,
        job,
        attempt,
        replicas,
    })
}

/// Two attempts, the second often of a job that is called as something of the first, or nearly so.
fn attempts() -> impl Strategy<Value = (Attempt, Attempt)> {
    (
        attempt(),
        attempt(),
        0..6_usize,
        any::<prop::sample::Index>(),
        "[ai1-]{0,3}",
    )
        .prop_map(|(one, mut other, how, which, more)| {
            let names = one.all_names();
            match how {
                0 => other.job.clone_from(which.get(&names)),
                1 => other.job = format!("{}-{}", one.job, one.attempt),
                2 => other.job = format!("{}{more}", one.job),
                3 => {
                    other.job.clone_from(&one.job);
                    other.attempt = one.attempt;
                }
                4 => other.job.clone_from(&one.job),
                _ => {}
            }
            other.job.truncate(253);
            (one, other)
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]
    #[test]
    fn different_attempts_never_share_a_name((one, other) in attempts()) {
        let same = |a: &Attempt, b: &Attempt| a.kind == b.kind && a.job == b.job && a.attempt == b.attempt;
        prop_assume!(!same(&one, &other));
        let ((mine, my_service), (theirs, their_service)) = (one.objects(), other.objects());
        let both: Vec<_> = mine.intersection(&theirs).collect();
        prop_assert!(both.is_empty(), "{both:?}");
        let is_same_job = one.kind == other.kind && one.job == other.job;
        for (service, others) in [(&my_service, &theirs), (&their_service, &mine)] {
            prop_assert!(service.as_ref().is_none_or(|s| !others.contains(s)), "{service:?}");
        }
        if !is_same_job && my_service.is_some() {
            prop_assert_ne!(my_service, their_service);
        }
    }

    #[test]
    fn the_api_server_takes_every_name(attempt in attempt()) {
        for name in attempt.all_names() {
            prop_assert!(name.len() <= 253, "{name}");
            prop_assert!(!name.ends_with(['-', '.']), "{name}");
        }
    }
}

#[test]
fn a_gang_and_an_inference_job_of_its_name_have_services_of_their_own() {
    let attempt = |kind, job: &str| Attempt {
        kind,
        job: job.to_owned(),
        attempt: 1,
        replicas: 4,
    };
    let (gang, _) = attempt(JobKind::TrainingJob, "llama").objects();
    let (_, service) = attempt(JobKind::InferenceJob, "llama-1").objects();
    let service = service.unwrap();
    assert_eq!(service.1, "llama-1", "users know it by the job's name");
    assert!(!gang.contains(&service));
}
