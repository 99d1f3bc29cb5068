//! Every seed and every input that once broke something, through its target.

// A test that cannot go on is to fail.
#![allow(clippy::unwrap_used)]

use ampacity_fuzz::{mutate, seeds, targets};

#[test]
fn seeds_and_what_was_found_break_nothing() {
    for (name, target) in targets::ALL {
        for seed in seeds::of(name).unwrap() {
            target(&seed);
        }
        for (path, bytes) in seeds::regressions(name).unwrap() {
            eprintln!("{}", path.display());
            target(&bytes);
        }
    }
}

/// A short search without coverage, the same every time.
#[test]
fn changed_seeds_break_nothing() {
    for (name, target) in targets::ALL {
        for (at, seed) in (0_u32..).zip(seeds::of(name).unwrap()) {
            let mut bytes = seed;
            for step in 0..4 {
                bytes = mutate::changed(&bytes, at * 1000 + step).unwrap();
                target(&bytes);
            }
        }
    }
}

#[test]
fn the_dictionary_is_libfuzzers() {
    let text = seeds::dictionary().unwrap();
    assert!(text.lines().count() > 200, "{text}");
    for line in text.lines() {
        let inner = line.strip_prefix('"').and_then(|l| l.strip_suffix('"'));
        assert!(
            inner.is_some_and(|inner| !inner.is_empty() && !inner.contains(['"', '\\'])),
            "{line}"
        );
    }
}
