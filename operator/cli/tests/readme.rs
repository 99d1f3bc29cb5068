//! What the README tells a newcomer to do.

// A test that cannot go on is to fail.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).unwrap()
}

/// The blocks of code in a language.
fn blocks(language: &str) -> Vec<String> {
    let text = readme();
    let fence = format!("```{language}\n");
    text.split(&fence)
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn the_first_job_is_the_example_that_the_demo_runs() {
    let example = fs::read_to_string(root().join("docs/examples/first-job.yaml")).unwrap();
    assert_eq!(blocks("yaml"), [example]);
}

#[test]
fn the_plan_places_every_example_but_the_one_that_must_wait() {
    let command = blocks("sh")
        .into_iter()
        .find_map(|block| Some(block.split_once("-- plan ")?.1.to_owned()))
        .unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_ampacity"))
        .args(["plan", "-o", "json", "--at", "2026-09-01T00:00:00Z"])
        .args(command.split_whitespace())
        .current_dir(root())
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &*err), (Some(2), ""));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let waiting: Vec<_> = report["unplaced"].as_array().unwrap().iter().collect();
    assert_eq!(waiting.len(), 1, "{waiting:#?}");
    assert_eq!(waiting[0]["job"], "research/nightly-sweep");
    assert!(report["totals"]["placed"].as_u64() >= Some(5), "{report:#}");
}

#[test]
fn every_file_that_it_and_the_book_link_to_is_there() {
    let mut pages = vec![root().join("README.md"), root().join("CONTRIBUTING.md")];
    for folder in ["docs/src", "docs/src/operations"] {
        let entries = fs::read_dir(root().join(folder)).unwrap();
        pages.extend(
            entries
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.extension().is_some_and(|e| e == "md")),
        );
    }
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for target in text.split("](").skip(1) {
            let target = target.split([')', '#']).next().unwrap_or_default();
            if target.is_empty() || target.starts_with("http") {
                continue;
            }
            let file = page.parent().unwrap().join(target);
            assert!(file.exists(), "{} links to {target}", page.display());
        }
    }
}
