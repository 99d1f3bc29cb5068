//! Node and pod lists in the format of the openb trace (github.com/alibaba/clusterdata, cluster-trace-gpu-v2023).

use std::collections::BTreeSet;

use ampacity_packing::{MAX_DEVICES, NodeRow, PodRow, WHOLE};

use crate::input::{BadInput, MAX_QUOTE, Source, shortened};
use crate::simulate::sheet::{Row, Sheet};

/// Most nodes of one fleet: every node is looked at for every task.
const MAX_NODES: usize = 100_000;
/// Most tasks of one list.
const MAX_PODS: usize = 500_000;

/// The fleet.
///
/// # Errors
/// All that is wrong with the file, bounded in number.
pub(super) fn nodes(source: &Source) -> Result<Vec<NodeRow>, Vec<BadInput>> {
    let columns = ["sn", "cpu_milli", "memory_mib", "gpu", "model"];
    let sheet = Sheet::read(source, &columns, MAX_NODES).map_err(|error| vec![error])?;
    let nodes = sheet.each(|row| {
        let devices = small(row, "gpu", MAX_DEVICES as u64)? as u8;
        let model = row.text("model").to_owned();
        if devices > 0 && model.is_empty() {
            return Err(row.bad(
                "model",
                &format!("is empty, but the node has {devices} GPUs; name their model"),
            ));
        }
        Ok(NodeRow {
            name: row.text("sn").to_owned(),
            cpu_milli: small(row, "cpu_milli", u64::from(u32::MAX))?,
            memory_mib: small(row, "memory_mib", u64::from(u32::MAX))?,
            devices,
            model,
        })
    });
    let nodes = all_named(&sheet, "sn", nodes)?;
    if nodes.iter().all(|node| node.devices == 0) {
        return Err(vec![sheet.bad(
            "has no node with a GPU; the experiment counts load in GPUs: give a list whose gpu is above 0",
        )]);
    }
    Ok(nodes)
}

/// The tasks. `gpu_milli` above 1000 counts as 1000, as in the published runs.
///
/// # Errors
/// All that is wrong with the file, bounded in number.
pub(super) fn pods(source: &Source) -> Result<Vec<PodRow>, Vec<BadInput>> {
    let columns = ["name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli"];
    let sheet = Sheet::read(source, &columns, MAX_PODS).map_err(|error| vec![error])?;
    let pods = sheet.each(|row| {
        let devices = small(row, "num_gpu", MAX_DEVICES as u64)? as u8;
        let milli = small(row, "gpu_milli", u64::from(u32::MAX))?;
        Ok(PodRow {
            name: row.text("name").to_owned(),
            cpu_milli: small(row, "cpu_milli", u64::from(u32::MAX))?,
            memory_mib: small(row, "memory_mib", u64::from(u32::MAX))?,
            devices,
            device_milli: match devices {
                0 => 0,
                1 => u16::try_from(milli).unwrap_or(WHOLE).min(WHOLE),
                _ => WHOLE,
            },
            models: row
                .text("gpu_spec")
                .split('|')
                .filter(|model| !model.is_empty())
                .map(str::to_owned)
                .collect(),
        })
    });
    all_named(&sheet, "name", pods)
}

/// What was read, if every row has its own name as well.
fn all_named<T>(
    sheet: &Sheet,
    column: &str,
    read: Result<T, Vec<BadInput>>,
) -> Result<T, Vec<BadInput>> {
    let mut seen = BTreeSet::new();
    let mut errors: Vec<BadInput> = sheet
        .rows()
        .filter_map(|row| {
            let name = row.text(column);
            if name.is_empty() {
                Some(row.bad(column, "is empty; every row needs its own name"))
            } else if seen.insert(name) {
                None
            } else {
                Some(row.bad(
                    column,
                    &format!(
                        "is {:?} a second time; rename or remove one",
                        shortened(name, MAX_QUOTE)
                    ),
                ))
            }
        })
        .collect();
    match read {
        Ok(value) if errors.is_empty() => Ok(value),
        Ok(_) => Err(errors),
        Err(mut more) => {
            more.append(&mut errors);
            Err(more)
        }
    }
}

/// A whole number of at most 32 bits.
fn small(row: Row<'_>, column: &str, most: u64) -> Result<u32, BadInput> {
    row.whole(column, 0..=most.min(u64::from(u32::MAX)))
        .map(|number| number as u32)
}
