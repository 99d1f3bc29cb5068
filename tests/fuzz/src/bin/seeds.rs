//! Writes seeds, regressions and the dictionary of every target into a folder: `fuzz-seeds FOLDER`.

use std::fs;
use std::path::PathBuf;

use ampacity_fuzz::{seeds, targets};
use anyhow::Context;

fn main() -> anyhow::Result<()> {
    let folder = std::env::args_os()
        .nth(1)
        .context("usage: fuzz-seeds FOLDER")?;
    let folder = PathBuf::from(folder);
    for (target, _) in targets::ALL {
        let into = folder.join(target);
        fs::create_dir_all(&into)
            .with_context(|| format!("cannot make the folder {}", into.display()))?;
        let found = seeds::regressions(target)?.into_iter();
        let all = seeds::of(target)?.into_iter();
        for (at, seed) in all.chain(found.map(|(_, seed)| seed)).enumerate() {
            fs::write(into.join(format!("seed-{at:03}")), seed)?;
        }
    }
    fs::write(folder.join("words.dict"), seeds::dictionary()?)?;
    Ok(())
}
