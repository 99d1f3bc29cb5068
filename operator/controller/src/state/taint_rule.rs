//! The few fields of DeviceTaintRules that matter here, read as those of other objects ([`super::slim`]).

use k8s_openapi::api::resource::v1::DeviceTaintRule;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

use super::slim::SlimTaint;
use super::text::{metadata, or_default, some_text};

/// A DeviceTaintRule of `resource.k8s.io`: devices that it selects are out of service.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, kube::Resource)]
#[resource(inherit = DeviceTaintRule)]
#[serde(default)]
pub struct SlimDeviceTaintRule {
    /// Metadata.
    #[serde(deserialize_with = "metadata")]
    pub metadata: ObjectMeta,
    /// Contents.
    #[serde(deserialize_with = "or_default")]
    pub spec: SlimTaintRuleSpec,
}

/// Contents of a DeviceTaintRule.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SlimTaintRuleSpec {
    /// Devices that it selects; `None` selects none. Selectors of earlier versions, by class or CEL, are not read: such a rule
    /// selects more, to be safe.
    pub device_selector: Option<SlimDeviceSelector>,
    /// The taint.
    #[serde(deserialize_with = "or_default")]
    pub taint: SlimTaint,
}

/// Which devices a DeviceTaintRule selects: all that agree with what is given.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct SlimDeviceSelector {
    /// Driver.
    #[serde(deserialize_with = "some_text")]
    pub driver: Option<String>,
    /// Pool.
    #[serde(deserialize_with = "some_text")]
    pub pool: Option<String>,
    /// Device.
    #[serde(deserialize_with = "some_text")]
    pub device: Option<String>,
}

impl SlimDeviceTaintRule {
    /// Whether the rule keeps new claims off a device.
    pub fn keeps_off(&self, driver: &str, pool: &str, device: &str) -> bool {
        let agrees =
            |wanted: &Option<String>, has: &str| wanted.as_deref().is_none_or(|w| w == has);
        self.spec.taint.keeps_claims_off()
            && self.spec.device_selector.as_ref().is_some_and(|wanted| {
                agrees(&wanted.driver, driver)
                    && agrees(&wanted.pool, pool)
                    && agrees(&wanted.device, device)
            })
    }
}
