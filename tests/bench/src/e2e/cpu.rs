//! Processor time of every process under this one: what bounds a run on a small machine.

use std::collections::BTreeMap;
use std::fs;

/// Kernel clock ticks a second as shown in /proc (`USER_HZ`, 100 on every Linux architecture that Rust supports).
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor seconds by program, of this process and all its descendants.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cpu {
    seconds: BTreeMap<String, f64>,
}

impl Cpu {
    /// Reads /proc; empty where there is none.
    pub(crate) fn now() -> Self {
        let mut processes = BTreeMap::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let pid = entry.file_name().to_string_lossy().parse::<u32>().ok();
            let stat = fs::read_to_string(entry.path().join("stat")).ok();
            if let (Some(pid), Some(process)) = (pid, stat.as_deref().and_then(Process::parse)) {
                processes.insert(pid, process);
            }
        }
        let own = std::process::id();
        let mut seconds = BTreeMap::new();
        for (&pid, process) in &processes {
            if descends(&processes, pid, own) {
                *seconds.entry(process.program.clone()).or_insert(0.0) += process.seconds;
            }
        }
        Self { seconds }
    }

    /// Seconds used since an earlier reading.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let used = |(program, now): (&String, &f64)| {
            let before = earlier.seconds.get(program).copied().unwrap_or(0.0);
            (program.clone(), (now - before).max(0.0))
        };
        Self {
            seconds: self.seconds.iter().map(used).collect(),
        }
    }

    /// Of one program. The kernel keeps 15 bytes of a program's name.
    pub(crate) fn of(&self, program: &str) -> f64 {
        let kept = program.get(..15).unwrap_or(program);
        self.seconds.get(kept).copied().unwrap_or(0.0)
    }

    /// Of all programs together.
    pub(crate) fn total(&self) -> f64 {
        self.seconds.values().sum()
    }
}

/// What /proc says of a process.
struct Process {
    program: String,
    parent: u32,
    seconds: f64,
}

impl Process {
    /// Of a line of /proc/PID/stat (proc_pid_stat(5)); the program's name may hold spaces and brackets.
    fn parse(stat: &str) -> Option<Self> {
        let (head, tail) = stat.rsplit_once(')')?;
        let (_, program) = head.split_once('(')?;
        let fields: Vec<&str> = tail.split_whitespace().collect();
        let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
        Some(Self {
            program: program.to_owned(),
            parent: fields.get(1)?.parse().ok()?,
            seconds: (ticks(11)? + ticks(12)?) / TICKS_PER_SECOND,
        })
    }
}

fn descends(processes: &BTreeMap<u32, Process>, pid: u32, ancestor: u32) -> bool {
    let mut at = pid;
    // A process may end and its number be used again while we read: never more steps than processes.
    for _ in 0..=processes.len() {
        if at == ancestor {
            return true;
        }
        match processes.get(&at) {
            Some(process) => at = process.parent,
            None => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_proc_is_read() {
        let line = "12 (a (b) c) S 7 12 12 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 1 0 100 0 0";
        let process = Process::parse(line).expect("reads");
        assert_eq!((process.program.as_str(), process.parent), ("a (b) c", 7));
        assert!((process.seconds - 2.0).abs() < f64::EPSILON);
        assert!(Process::parse("nonsense").is_none());
    }
}
