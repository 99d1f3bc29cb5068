//! Bytes that the engine holds per node, as the allocator counts them: a program of its own, since counting takes time.

use std::alloc::System;

use ampacity_bench::figure::{Figure, Goal};
use ampacity_bench::fleet::Shape;
use ampacity_bench::load::Load;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Bytes that are allocated now.
fn held() -> usize {
    let stats = ALLOCATOR.stats();
    stats
        .bytes_allocated
        .saturating_sub(stats.bytes_deallocated)
}

fn main() {
    let before = held();
    let each = || held().saturating_sub(before) as f64 / Shape::MILLION.nodes as f64;
    let mut load = Load::new(Shape::MILLION, 64);
    Figure::one(
        "memory, 1M accelerators, empty",
        "bytes a node",
        each(),
        "allocated and not freed",
    )
    .goal(Goal::Below(2048.0))
    .print();
    load.fill();
    Figure::one(
        "memory, 1M accelerators, 80 % full, reservations and orders included",
        "bytes a node",
        each(),
        "allocated and not freed",
    )
    .goal(Goal::Below(2048.0))
    .print();
}
