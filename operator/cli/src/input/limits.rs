//! Limits of what is read.

/// Deepest nesting. Real objects stay below 40; CustomResourceDefinitions of other operators come near 100.
pub(crate) const MAX_DEPTH: usize = 120;
/// Most values in one file (of YAML: in one document), aliases counted as often as they are used. A dump of real objects as
/// large as a file may be has a million or two.
pub(super) const MAX_NODES: usize = 16_000_000;

/// Limits that hold for every document, so that no input can take the machine down.
pub(super) fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        // An unquoted commit hash such as 320e1851414 reads as a number beyond all bounds; one label must not cost a file.
        non_finite_float_policy: serde_saphyr::options::NonFiniteFloatPolicy::AsString,
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_events: MAX_NODES * 2,
            max_nodes: MAX_NODES,
            max_documents: 1_000_000,
            max_recorded_anchor_events: 100_000,
            max_total_scalar_bytes: 512 << 20,
            max_reader_input_bytes: Some(usize::MAX),
        },
    }
}
