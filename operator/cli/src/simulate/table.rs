//! Plain tables of numbers for people.

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};

use crate::input::printable;

/// A table whose first column is text and whose others are numbers, set apart by two spaces as kubectl does.
pub(super) fn render(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_preset(NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .force_no_tty();
    table.set_header(header);
    for row in rows {
        table.add_row(row.into_iter().enumerate().map(|(column, text)| {
            let cell = Cell::new(printable(&text));
            if column == 0 {
                cell
            } else {
                cell.set_alignment(CellAlignment::Right)
            }
        }));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut out = String::new();
    for line in table.to_string().lines() {
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_to_the_right() {
        let rows = [
            vec!["jobs".to_owned(), "7".to_owned()],
            vec!["kWh\u{7}".to_owned(), "12.5".to_owned()],
        ];
        assert_eq!(
            render(&["WHAT", "VALUE"], rows),
            "WHAT      VALUE\njobs          7\nkWh\\u{7}   12.5\n"
        );
    }
}
