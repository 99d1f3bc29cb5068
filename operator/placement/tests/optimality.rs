//! Plans beside the exact integer optimum on random instances. The example of the same name runs larger ones.

mod oracle;

use oracle::compare;
use oracle::instance::{Instance, Size};
use oracle::program::Limits;

#[test]
fn no_plan_is_better_than_the_oracle_says_is_possible() {
    let limits = Limits {
        nodes: Some(200),
        time: None,
    };
    for seed in 1..=60 {
        let instance = Instance::random(seed, Size { jobs: 12, pools: 4 });
        let result = compare(&instance, limits);
        assert!(!result.beats_the_oracle(), "seed {seed}: {result:?}");
    }
}
