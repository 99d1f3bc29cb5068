//! What jobs are translated with, in tests.

use std::collections::BTreeMap;

use ampacity_catalog::{Catalog, Prices};

use crate::state::{ClusterSite, JobContext};

/// Owns what a context refers to.
pub struct TestContext {
    priority_classes: BTreeMap<String, i32>,
    catalog: Catalog,
    prices: Prices,
    clusters: Vec<ClusterSite>,
}

impl TestContext {
    /// Two clusters, of which one is far from the data.
    pub fn two_clusters() -> Self {
        let sheets: Vec<ampacity_api::PriceSheet> = serde_saphyr::from_str(
            "
- metadata: {name: s}
  spec:
    provider: aws
    source: test
    effectiveFrom: '2026-01-01T00:00:00Z'
    egress: [{from: aws/us-east-1, to: gcp/us-central1, usdPerGib: '0.09'}]
",
        )
        .unwrap();
        let now = "2026-07-01T00:00:00Z".parse().unwrap();
        let site = |name: &str, provider: &str, region: &str| ClusterSite {
            name: name.into(),
            provider: provider.into(),
            region: region.into(),
        };
        Self {
            priority_classes: BTreeMap::new(),
            catalog: Catalog::builtin(),
            prices: Prices::from_sheets(&sheets, now).0,
            clusters: vec![
                site("near", "aws", "us-east-1"),
                site("far", "gcp", "us-central1"),
            ],
        }
    }

    /// The context.
    pub fn context(&self) -> JobContext<'_> {
        JobContext {
            catalog: &self.catalog,
            prices: &self.prices,
            clusters: &self.clusters,
            priority_classes: &self.priority_classes,
        }
    }
}
