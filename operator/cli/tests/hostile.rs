//! Input that means harm: an error or a verdict, in bounded time and memory. Never a panic, a signal or a hang.

// A test that cannot go on is to fail.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::File;
use std::io::Write;
use std::process::Command;
use std::time::Instant;

/// Most seconds of one run, in a debug build on a busy machine.
const MOST_SECONDS: u64 = 120;
/// Most KiB of address space of one run.
const MOST_KIB: u64 = 4 << 20;

/// What a file of the input is to hold.
enum Content {
    Text(String),
    /// A beginning, a middle that is repeated to about so many MB, and an end.
    Long(&'static str, &'static str, &'static str, usize),
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

struct Ran {
    code: i32,
    out: String,
    err: String,
}

/// Writes the files and runs the command within the limits.
fn run(what: &str, files: &[(&str, Content)], args: &[&str]) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let mut file = File::create(folder.path().join(name)).unwrap();
        match content {
            Content::Text(text) => file.write_all(text.as_bytes()).unwrap(),
            Content::Long(begin, middle, end, megabytes) => {
                file.write_all(begin.as_bytes()).unwrap();
                let part = middle.repeat(1_000_000 / middle.len());
                for _ in 0..*megabytes {
                    file.write_all(part.as_bytes()).unwrap();
                }
                file.write_all(end.as_bytes()).unwrap();
            }
        }
    }
    let started = Instant::now();
    let limited = format!("ulimit -v {MOST_KIB}; exec timeout {MOST_SECONDS} \"$0\" \"$@\"");
    let output = Command::new("sh")
        .args(["-c", &limited, env!("CARGO_BIN_EXE_ampacity")])
        .args(args)
        .current_dir(folder.path())
        .output()
        .unwrap();
    eprintln!("{what}: {:.1} s", started.elapsed().as_secs_f64());
    let ran = Ran {
        code: output.status.code().expect("no signal"),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    };
    // 124 is the time limit, 101 a panic, 134 and the like a failed allocation.
    assert!(
        (0..=2).contains(&ran.code),
        "{what}: exit code {}: {:.2000}",
        ran.code,
        ran.err
    );
    assert!(
        ran.err.len() < 100_000,
        "{what}: {} bytes of errors",
        ran.err.len()
    );
    ran
}

/// The error that ends a plan of one file.
fn refused(what: &str, name: &str, content: impl Into<Content>) -> String {
    let ran = run(what, &[(name, content.into())], &["plan", "-f", name]);
    assert_eq!(ran.code, 1, "{what}: {:.2000}", ran.err);
    ran.err
}

fn node(name: &str, gpus: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Node\nmetadata: {{name: {name}, labels: {{nvidia.com/gpu.product: NVIDIA-L4}}}}\nstatus: {{allocatable: {{cpu: 64, memory: 256Gi, pods: 110, nvidia.com/gpu: {gpus}}}}}\n"
    )
}

fn job(name: &str, devices: &str, replicas: &str) -> String {
    format!(
        "---\napiVersion: ampacity.dev/v1alpha1\nkind: TrainingJob\nmetadata: {{name: {name}}}\nspec:\n  estimatedDurationSeconds: 60\n  template: {{spec: {{containers: [{{name: main, image: i}}]}}}}\n  alternatives:\n  - {{name: a, acceleratorType: nvidia-l4, devicesPerReplica: {devices}, replicas: {replicas}}}\n"
    )
}

#[test]
fn amounts_of_a_node_that_cannot_be_are_nothing_or_a_lot_and_no_more() {
    for gpus in [
        "0",
        "-5",
        "9223372036854775807",
        "18446744073709551616",
        "1e300",
        "1.5",
        "0.000001",
        "-0",
        "4294967296",
        "100Ei",
        "\"\"",
        "nan",
        "[]",
    ] {
        let text = node("n", gpus) + &job("j", "1", "2");
        let ran = run(gpus, &[("a.yaml", text.into())], &["plan", "-f", "."]);
        assert_ne!(ran.code, 1, "{gpus}: {}", ran.err);
        assert!(ran.out.contains("default/j"), "{gpus}: {}", ran.out);
    }
}

#[test]
fn a_job_that_asks_for_everything_gets_a_verdict_and_one_for_nothing_an_error() {
    let most = run(
        "everything",
        &[(
            "a.yaml",
            (node("n", "8") + &job("j", "1024", "100000")).into(),
        )],
        &["plan", "-f", "."],
    );
    assert!(
        most.code == 2 || most.err.contains("at most"),
        "{}",
        most.err
    );
    for (devices, replicas) in [("0", "1"), ("1", "0"), ("-1", "1"), ("1e18", "1")] {
        let said = refused("nothing", "a.yaml", job("j", devices, replicas));
        assert!(said.contains("alternatives[0]."), "{said}");
    }
}

#[test]
fn breakers_that_feed_each_other_are_told_and_still_limit() {
    let domain = |name: &str, parent: &str, watts: &str| {
        format!(
            "---\napiVersion: ampacity.dev/v1alpha1\nkind: PowerDomain\nmetadata: {{name: {name}}}\nspec: {{ratedWatts: {watts}, parents: [{{name: {parent}}}], members: [{{cluster: default}}]}}\n"
        )
    };
    let text = [
        node("n", "8"),
        job("j", "8", "1"),
        domain("a", "b", "100"),
        domain("b", "c", "9223372036854775807"),
        domain("c", "a", "100000"),
        domain("d", "d", "100000"),
    ]
    .concat();
    let ran = run("cycle", &[("a.yaml", text.into())], &["plan", "-f", "."]);
    assert!(
        ran.code == 1 || ran.code == 2,
        "placed under a breaker of 100 W: {}",
        ran.out
    );
}

#[test]
fn more_alternatives_than_allowed_are_counted_and_no_more() {
    let mut text = job("j", "1", "1");
    for at in 0..10_000 {
        text.push_str(&format!(
            "  - {{name: a{at}, acceleratorType: nvidia-l4, devicesPerReplica: 1}}\n"
        ));
    }
    let said = refused("10,000 alternatives", "a.yaml", text);
    assert!(
        said.contains("must have at most 16 items, not 10001"),
        "{said}"
    );
}

#[test]
fn ten_thousand_documents_are_read_once_however_many_are_wrong() {
    let many =
        |document: &dyn Fn(usize) -> String| -> String { (0..10_000).map(document).collect() };
    // Passed over, each with a note.
    let nodes = many(&|at| {
        format!("---\n{{apiVersion: v1, kind: Node, metadata: {{name: n{at}}}, status: 7}}\n")
    });
    let ran = run("nodes", &[("a.yaml", nodes.into())], &["plan", "-f", "."]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("more notes"), "{}", ran.out);
    // Unknown kinds, all of them different.
    let kinds = many(&|at| format!("---\n{{apiVersion: v1, kind: K{at}}}\n"));
    let ran = run("kinds", &[("a.yaml", kinds.into())], &["plan", "-f", "."]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    // Pods on nodes of several clusters.
    let clusters = many(&|at| {
        format!(
            "---\n{{apiVersion: v1, kind: Node, metadata: {{name: n{at}, labels: {{ampacity.dev/cluster: c{}}}}}}}\n---\n{{apiVersion: v1, kind: Pod, metadata: {{name: p{at}}}, spec: {{nodeName: n{}, containers: []}}}}\n",
            at % 50,
            at * 7 % 12_000
        )
    });
    let ran = run("pods", &[("a.yaml", clusters.into())], &["plan", "-f", "."]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    // Our own, each wrong.
    let jobs = many(&|at| job(&format!("j{at}"), "0", "1"));
    let said = refused("jobs", "a.yaml", jobs);
    assert!(
        said.ends_with("error: there is more; correct these first\n"),
        "{said}"
    );
}

#[test]
fn aliases_do_not_multiply() {
    let maps: String = (1..30)
        .map(|at| {
            format!(
                "m{at}: &m{at} {{<<: [*m{0}, *m{0}], a{at}: *m{0}, b{at}: *m{0}}}\n",
                at - 1
            )
        })
        .fold("m0: &m0 {x: y}\n".to_owned(), |all, line| all + &line);
    let said = refused("merge keys", "a.yaml", maps);
    assert!(said.contains("too deep or too large"), "{said}");
    let long = format!(
        "a: &a {}\nb: [{}]\n",
        "x".repeat(100_000),
        "*a,".repeat(20_000)
    );
    let said = refused("a long one, often", "a.yaml", long);
    assert!(said.contains("too deep or too large"), "{said}");
}

#[test]
fn what_is_said_of_a_line_of_100_megabytes_is_short() {
    // YAML is slow to read in a debug build, so its lines are shorter.
    for (what, name, content) in [
        ("word", "a.yaml", Content::Long("kind: ", "x", "\n", 20)),
        ("key", "a.yaml", Content::Long("", "x", ": 1\n", 20)),
        ("comment", "a.yaml", Content::Long("# ", "x", "\na\n", 20)),
        ("spaces", "a.yaml", Content::Long("a: ", " ", "[", 20)),
        (
            "text",
            "a.json",
            Content::Long("{\"kind\": [\"", "x", "\"]}", 100),
        ),
        (
            "values",
            "a.json",
            Content::Long("{\"kind\": [", "1,", "1]}", 100),
        ),
        (
            "fields",
            "a.json",
            Content::Long("{\"kind\": [{", "\"a\":1,", "\"b\":1}]}", 100),
        ),
        (
            "kind",
            "a.json",
            Content::Long("{\"kind\": \"", "x", "\"}", 100),
        ),
        (
            "apiVersion",
            "a.json",
            Content::Long(
                "{\"kind\": \"Node\", \"apiVersion\": \"ampacity.dev/",
                "x",
                "\"}",
                100,
            ),
        ),
    ] {
        let ran = run(what, &[(name, content)], &["plan", "-f", name]);
        assert!(ran.code < 2, "{what}: {}", ran.code);
        assert!(
            ran.out.len() + ran.err.len() < 6_000,
            "{what}: {:.2000}",
            ran.out + &ran.err
        );
    }
}

#[test]
fn a_file_beyond_the_limit_is_refused_with_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let file = File::create(folder.path().join("a.yaml")).unwrap();
    file.set_len((256 << 20) + 1).unwrap();
    for args in [
        &["plan", "-f", "a.yaml"][..],
        &["simulate", "gavel", "--throughputs", "a.yaml"],
        &["simulate", "openb", "--nodes", "a.yaml", "--pods", "a.yaml"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_ampacity"))
            .args(args)
            .current_dir(folder.path())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains("is larger than the 256 MiB that one file may have"),
            "{said}"
        );
    }
}

#[test]
fn tables_of_too_much_are_refused() {
    let pods = "name,cpu_milli,memory_mib,num_gpu,gpu_milli\np1,1000,10,1,500\n";
    let header = "sn,cpu_milli,memory_mib,gpu,model\n";
    for (what, nodes, said) in [
        (
            "rows",
            Content::Long(
                "sn,cpu_milli,memory_mib,gpu,model\n",
                "n,1,1,1,T4\n",
                "",
                40,
            ),
            "has more than 100000 rows",
        ),
        (
            "empty fields",
            Content::Long("sn,cpu_milli,memory_mib,gpu,model\n", ",", "\n", 20),
            "fields where the header has 5",
        ),
        (
            "columns",
            Content::Long("sn,cpu_milli,memory_mib,gpu,model", ",", "\n", 20),
            "columns, of at most 1000",
        ),
        (
            "a number of 100 MB",
            Content::Long(
                "sn,cpu_milli,memory_mib,gpu,model\nn,",
                "9",
                ",1,1,T4\n",
                100,
            ),
            "give a whole number",
        ),
        (
            "GPUs",
            Content::Text(format!("{header}n,1,1,4294967296,T4\n")),
            "give a whole number from 0 to 8",
        ),
    ] {
        let files = [("n.csv", nodes), ("p.csv", pods.into())];
        let args = ["simulate", "openb", "--nodes", "n.csv", "--pods", "p.csv"];
        let ran = run(what, &files, &args);
        assert_eq!(ran.code, 1, "{what}: {}", ran.err);
        assert!(ran.err.contains(said), "{what}: {}", ran.err);
    }
    let files = [("t.json", Content::Long("{\"v100\": [", "1,", "1]}", 100))];
    let ran = run(
        "values",
        &files,
        &["simulate", "gavel", "--throughputs", "t.json"],
    );
    assert!(
        ran.err.contains("has more than 2000000 values"),
        "{}",
        ran.err
    );
}

#[test]
fn the_limit_on_memory_is_in_force() {
    // A shell that ignores it would make every test above pass for nothing.
    let output = Command::new("sh")
        .args(["-c", &format!("ulimit -v {MOST_KIB}; ulimit -v")])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap().trim(),
        MOST_KIB.to_string()
    );
}
