//! libFuzzer on the target `gavel`.

#![no_main]

use ampacity_fuzz::{mutate, targets};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_target!(|bytes: &[u8]| targets::gavel(bytes));

fuzz_mutator!(|data: &mut [u8], size: usize, most: usize, seed: u32| {
    if !seed.is_multiple_of(4)
        && let Some(size) = mutate::change(data, size, most, seed / 4)
    {
        return size;
    }
    fuzzer_mutate(data, size, most)
});
