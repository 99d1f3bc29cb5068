//! The names by which nodes and drivers call devices: `data/names.csv`, parsed once.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde::Deserialize;

/// The rows; the column `kind` says which vendor's file looks the name up.
pub(crate) const NAMES: &str = include_str!("../data/names.csv");

/// Memory sizes in MiB that tell devices of one name apart.
const SIZES_MIB: [u64; 4] = [16_384, 32_768, 40_960, 81_920];

/// One row.
#[derive(Deserialize)]
pub(crate) struct NameRow {
    pub(crate) kind: String,
    pub(crate) value: String,
    pub(crate) accelerator: String,
}

/// The rows that can be read; a test holds the file to having no others.
pub(crate) fn rows() -> impl Iterator<Item = NameRow> {
    csv::Reader::from_reader(NAMES.as_bytes())
        .into_deserialize()
        .flatten()
}

/// The accelerator type that `kind` calls `value`, which is written as in the file. Where one name covers several memory sizes
/// (`a100:40960`), the one within 10 % of `memory_mib`.
pub(crate) fn named(kind: &str, value: &str, memory_mib: Option<u64>) -> Option<&'static str> {
    static DATA: LazyLock<HashMap<String, HashMap<String, String>>> = LazyLock::new(|| {
        let mut names: HashMap<String, HashMap<String, String>> = HashMap::new();
        for row in rows() {
            let of_kind = names.entry(row.kind).or_default();
            of_kind.insert(row.value, row.accelerator);
        }
        names
    });
    let of_kind = DATA.get(kind)?;
    if let Some(plain) = of_kind.get(value) {
        return Some(plain);
    }
    let wanted = memory_mib?;
    SIZES_MIB
        .into_iter()
        .filter(|size| wanted.abs_diff(*size) <= *size / 10)
        .find_map(|size| of_kind.get(&format!("{value}:{size}")))
        .map(String::as_str)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::vendor::Family;

    #[test]
    fn memory_tells_sizes_apart_whatever_number_stands_there() {
        let table = [
            (Some(40_960), Some("nvidia-a100-sxm4-40gb")),
            (Some(40_960 - 4096), Some("nvidia-a100-sxm4-40gb")),
            (Some(40_960 - 4097), None),
            (Some(81_920 + 8192), Some("nvidia-a100-sxm4-80gb")),
            (Some(u64::MAX), None),
            (Some(0), None),
            (None, None),
        ];
        for (mib, expected) in table {
            assert_eq!(named("aws", "a100", mib), expected, "{mib:?}");
        }
    }

    #[test]
    fn an_ambiguous_name_needs_the_memory() {
        let a100 = |memory| named("aws", "a100", memory);
        assert_eq!(a100(Some(40_960)), Some("nvidia-a100-sxm4-40gb"));
        assert_eq!(a100(Some(81_920)), Some("nvidia-a100-sxm4-80gb"));
        assert_eq!(a100(None), None);
        assert_eq!(a100(Some(12)), None);
    }

    #[test]
    fn every_row_is_read_and_looked_up_by_a_vendor() {
        let seen: BTreeSet<(String, String)> = rows().map(|row| (row.kind, row.value)).collect();
        assert_eq!(
            seen.len(),
            NAMES.lines().count() - 1,
            "no spelling stands twice"
        );
        let known: BTreeSet<&str> = Family::all()
            .flat_map(|family| family.name_kinds.iter().copied())
            .collect();
        let there: BTreeSet<&str> = seen.iter().map(|(kind, _)| kind.as_str()).collect();
        assert_eq!(there, known);
    }
}
