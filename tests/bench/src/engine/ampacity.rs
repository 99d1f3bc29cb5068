//! `ampacity simulate`, as a user runs it: several runs at once, one on each core.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, bail};
use serde_json::Value;

/// The released program: what `cargo build --release` put beside this one.
pub(crate) fn program() -> anyhow::Result<PathBuf> {
    let here = std::env::current_exe().context("cannot tell where this program is")?;
    let program = here.with_file_name("ampacity");
    if !program.is_file() {
        bail!(
            "there is no {}; build it: cargo build --release --package ampacity",
            program.display()
        );
    }
    Ok(program)
}

/// Runs `ampacity simulate` with each of the lists of arguments; the results in the same order.
///
/// # Errors
/// The first run that failed, with what it said.
pub(crate) fn simulate(runs: &[Vec<String>]) -> anyhow::Result<Vec<Value>> {
    let program = program()?;
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, anyhow::Result<Value>)>> = Mutex::new(Vec::new());
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let at = next.fetch_add(1, Ordering::Relaxed)
                    && let Some(arguments) = runs.get(at)
                {
                    let result = one(&program, arguments);
                    if let Ok(mut results) = results.lock() {
                        results.push((at, result));
                    }
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_default();
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}

fn one(program: &Path, arguments: &[String]) -> anyhow::Result<Value> {
    let output = Command::new(program)
        .arg("simulate")
        .args(arguments)
        .args(["-o", "json"])
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    // 2: some jobs never ran.
    if !matches!(output.status.code(), Some(0 | 2)) {
        bail!(
            "ampacity simulate {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    serde_json::from_slice(&output.stdout).context("cannot read what ampacity simulate printed")
}

/// A number of a result.
pub(crate) fn number(value: &Value, field: &str) -> f64 {
    value.get(field).and_then(Value::as_f64).unwrap_or(f64::NAN)
}
