//! Counters that are forgotten at zero.

use std::collections::BTreeMap;

/// Takes one from a counter and forgets it at zero.
pub(super) fn count_down<K: Ord + Clone>(counts: &mut BTreeMap<K, u64>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}
