//! Named points between the steps of the pipeline at which a test may end the process, or hold up a call.
//!
//! `AMPACITY_FAILPOINT=commit.written:3` ends the process as abruptly as `kill -9` would when the point is passed the
//! third time. With `AMPACITY_FAILPOINT_UNTIL=FILE` the call waits there instead until the file exists. Release builds contain none of it.

/// Passes the point `name`; ends the process or waits there when a test asked for it.
#[cfg(debug_assertions)]
pub fn failpoint(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicI64, Ordering};

    static TARGET: OnceLock<Option<(String, AtomicI64)>> = OnceLock::new();
    let target = TARGET.get_or_init(|| {
        let text = std::env::var("AMPACITY_FAILPOINT").ok()?;
        let (point, count) = text.rsplit_once(':').unwrap_or((&text, "1"));
        Some((point.to_owned(), AtomicI64::new(count.parse().unwrap_or(1))))
    });
    if let Some((point, left)) = target
        && point == name
        && left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        if let Some(file) = std::env::var_os("AMPACITY_FAILPOINT_UNTIL") {
            while !std::path::Path::new(&file).exists() {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            return;
        }
        // Abrupt on purpose: no destructors, no flushing, as if the machine had lost power.
        std::process::abort();
    }
}

/// Nothing in release builds.
#[cfg(not(debug_assertions))]
#[inline]
pub fn failpoint(_name: &str) {}
