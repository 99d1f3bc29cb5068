//! What `kubectl get` shows of a job: the word that says what is the matter, and prices only where there are some.

use ampacity_api::{ConditionReason, Decimal, InferenceJobStatus, TrainingJobStatus};

use crate::kinds::testing::{InferenceScene, TrainingScene, verdict};
use crate::observe::MemberView;

#[test]
fn a_training_job_says_in_a_word_what_is_the_matter() {
    let mut scene = TrainingScene::gang();
    let reason = |scene: &mut TrainingScene| scene.step(10).reason;
    let message = "no such type".to_owned();
    scene.issue = Some((ConditionReason::UnknownAcceleratorType, message));
    assert_eq!(
        reason(&mut scene).as_deref(),
        Some("UnknownAcceleratorType")
    );
    scene.issue = None;
    scene.waiting = Some(verdict("InsufficientDevices", 32));
    assert_eq!(reason(&mut scene).as_deref(), Some("InsufficientDevices"));
    scene.place();
    scene.stage().pods(4);
    assert_eq!(reason(&mut scene), None, "it runs");
    scene.stage().member = MemberView::Silent;
    assert_eq!(reason(&mut scene).as_deref(), Some("ClusterUnreachable"));
    scene.stage().member = MemberView::Current;
    assert_eq!(reason(&mut scene), None, "it is back");
    scene.suspend(true);
    assert_eq!(reason(&mut scene), None, "the state says so");
}

#[test]
fn an_inference_job_says_in_a_word_what_is_the_matter() {
    let mut scene = InferenceScene::new(2);
    let reason = |scene: &mut InferenceScene| scene.step(10).reason;
    let message = "no such class".to_owned();
    scene.issue = Some((ConditionReason::UnknownPriorityClass, message));
    assert_eq!(reason(&mut scene).as_deref(), Some("UnknownPriorityClass"));
    scene.issue = None;
    scene.place("oslo", 2).pods(2);
    assert_eq!(reason(&mut scene), None, "it serves");
    scene.stages[0].member = MemberView::Silent;
    assert_eq!(reason(&mut scene).as_deref(), Some("ClusterUnreachable"));
}

#[test]
fn what_has_no_price_shows_none() {
    let mut training = TrainingScene::gang();
    training.place();
    training.stage().placement.spec.usd_per_hour = Decimal::ZERO;
    training.stage().pods(4);
    training.step(0);
    let status = training.step(3600);
    let stored = serde_json::to_value(&status).unwrap();
    assert_eq!(stored.pointer("/placement/usdPerHour"), None, "{stored}");
    assert_eq!(stored.get("usdAccrued"), None, "{stored}");
    assert_eq!(status.watt_hours, Some(36_000));
    // What is read back is what was written: it is not written for ever.
    let read: TrainingJobStatus = serde_json::from_value(stored).unwrap();
    assert_eq!(read, status);
    let placed = "attempt 1 placed in cluster oslo: 32 × nvidia-h100-sxm5-80gb (Owned, alternative h100), no price, 36000 W";
    assert!(training.news()[0].ends_with(placed));

    let mut inference = InferenceScene::new(2);
    let stage = inference.place("oslo", 2);
    stage.placement.spec.usd_per_hour = Decimal::ZERO;
    stage.pods(2);
    inference.step(0);
    let status = inference.step(3600);
    let stored = serde_json::to_value(&status).unwrap();
    for path in ["/usdPerHour", "/usdAccrued", "/placements/0/usdPerHour"] {
        assert_eq!(stored.pointer(path), None, "{stored}");
    }
    let read: InferenceJobStatus = serde_json::from_value(stored).unwrap();
    assert_eq!(read, status);
}
