//! Comma-separated files with a header, whose errors name file, line and field.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use csv::StringRecord;

use crate::input::{BadInput, MAX_QUOTE, Source, shortened};

/// Most columns of one file.
const MAX_COLUMNS: usize = 1000;

/// A file in memory. Columns are found by name, so their order does not matter and more of them do no harm.
#[derive(Debug)]
pub(super) struct Sheet {
    name: String,
    columns: BTreeMap<String, usize>,
    width: usize,
    records: Vec<StringRecord>,
}

/// One line of a sheet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a> {
    sheet: &'a Sheet,
    record: &'a StringRecord,
}

impl Sheet {
    /// Reads a file of at most `most` rows.
    ///
    /// # Errors
    /// When it cannot be read, a required column or every row is missing, a line has another number of fields than the header, or
    /// there are too many rows.
    pub(super) fn read(source: &Source, required: &[&str], most: usize) -> Result<Self, BadInput> {
        let text = source.read("a CSV file")?;
        Self::parse(source.name(), &text, required, most)
    }

    fn parse(name: String, text: &str, required: &[&str], most: usize) -> Result<Self, BadInput> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut reader = csv::ReaderBuilder::new()
            .flexible(true)
            .trim(csv::Trim::All)
            .comment(Some(b'#'))
            .from_reader(text.as_bytes());
        let syntax = |error: csv::Error| {
            let line = error.position().map_or(1, csv::Position::line);
            BadInput::new(
                format!("{name}, line {line}"),
                format!("is not valid CSV: {error}; correct it"),
            )
        };
        let header = reader.headers().map_err(syntax)?.clone();
        if header.len() > MAX_COLUMNS {
            return Err(BadInput::new(
                format!("{name}, line 1"),
                format!(
                    "has {} columns, of at most {MAX_COLUMNS}; leave out those that are not needed",
                    header.len()
                ),
            ));
        }
        let mut columns = BTreeMap::new();
        for (at, column) in header.iter().enumerate() {
            if columns.insert(column.to_owned(), at).is_some() {
                return Err(BadInput::new(
                    format!("{name}, line 1, {column}"),
                    "is given twice; remove one",
                ));
            }
        }
        let missing: Vec<&str> = required
            .iter()
            .copied()
            .filter(|column| !columns.contains_key(*column))
            .collect();
        if !missing.is_empty() {
            return Err(BadInput::new(
                format!("{name}, line 1"),
                format!(
                    "has no column {}; the first line names the columns, and {} are needed",
                    missing.join(", "),
                    required.join(", ")
                ),
            ));
        }
        // In memory a row takes many times the two bytes that it may have in the file: what is too much is not read.
        let records: Vec<StringRecord> = reader
            .records()
            .take(most.saturating_add(1))
            .collect::<Result<_, _>>()
            .map_err(syntax)?;
        if records.len() > most {
            return Err(BadInput::new(
                name,
                format!("has more than {most} rows; give a part of it"),
            ));
        }
        let sheet = Self {
            name,
            columns,
            width: header.len(),
            records,
        };
        if sheet.records.is_empty() {
            return Err(BadInput::new(
                &sheet.name,
                "has no rows below its header; add some",
            ));
        }
        for row in sheet.rows() {
            if row.record.len() != sheet.width {
                return Err(BadInput::new(
                    row.place(None),
                    format!(
                        "has {} fields where the header has {}; correct the line",
                        row.record.len(),
                        sheet.width
                    ),
                ));
            }
        }
        Ok(sheet)
    }

    /// Its lines, the header left out.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.records.iter().map(|record| Row {
            sheet: self,
            record,
        })
    }

    /// How many lines there are.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// An error of the whole file.
    pub(super) fn bad(&self, message: &str) -> BadInput {
        BadInput::new(&self.name, message)
    }

    /// Reads every line; all errors are found before giving up.
    pub(super) fn each<T>(
        &self,
        read: impl Fn(Row<'_>) -> Result<T, BadInput>,
    ) -> Result<Vec<T>, Vec<BadInput>> {
        let mut values = Vec::with_capacity(self.len());
        let mut errors = Vec::new();
        for row in self.rows() {
            match read(row) {
                Ok(value) => values.push(value),
                Err(error) => errors.push(error),
            }
            if errors.len() > super::MAX_ERRORS {
                break;
            }
        }
        if errors.is_empty() {
            Ok(values)
        } else {
            Err(errors)
        }
    }
}

impl<'a> Row<'a> {
    /// The text of a column; empty where the sheet has no such column.
    pub(super) fn text(self, column: &str) -> &'a str {
        let at = self.sheet.columns.get(column);
        at.and_then(|&at| self.record.get(at)).unwrap_or_default()
    }

    /// A whole number within `range`.
    pub(super) fn whole(self, column: &str, range: RangeInclusive<u64>) -> Result<u64, BadInput> {
        let text = self.text(column);
        text.parse()
            .ok()
            .filter(|number| range.contains(number))
            .ok_or_else(|| {
                self.bad(
                    column,
                    &format!(
                        "is {:?}; give a whole number from {} to {}",
                        shortened(text, MAX_QUOTE),
                        range.start(),
                        range.end()
                    ),
                )
            })
    }

    /// An error at a field of this line.
    pub(super) fn bad(self, column: &str, message: &str) -> BadInput {
        BadInput::new(self.place(Some(column)), message)
    }

    fn place(self, column: Option<&str>) -> String {
        let mut place = self.sheet.name.clone();
        if let Some(position) = self.record.position() {
            place.push_str(&format!(", line {}", position.line()));
        }
        if let Some(column) = column {
            place.push_str(&format!(", {column}"));
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<(String, u64)>, String> {
        let sheet =
            Sheet::parse("f.csv".into(), text, &["name", "count"], 3).map_err(|e| e.to_string())?;
        let read = |row: Row<'_>| Ok((row.text("name").to_owned(), row.whole("count", 1..=9)?));
        sheet.each(read).map_err(|errors| {
            let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
            lines.join("\n")
        })
    }

    #[test]
    fn columns_are_found_by_name() {
        let expected = Ok(vec![("a".to_owned(), 1), ("b".to_owned(), 9)]);
        for text in [
            "name,count\na,1\nb,9\n",
            "\u{feff}count,more,name\r\n1,x,a\r\n9,,b",
            "# source\nname, count\n a , 1\n\"b\",9\n",
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn every_mistake_names_its_place() {
        for (text, error) in [
            (
                "",
                "f.csv, line 1: has no column name, count; the first line names the columns, and name, count are needed",
            ),
            (
                "name\na\n",
                "f.csv, line 1: has no column count; the first line names the columns, and name, count are needed",
            ),
            (
                "name,count,name\n",
                "f.csv, line 1, name: is given twice; remove one",
            ),
            (
                "name,count\n",
                "f.csv: has no rows below its header; add some",
            ),
            (
                "name,count\na,1\nb\n",
                "f.csv, line 3: has 1 fields where the header has 2; correct the line",
            ),
            (
                "name,count\na,0\nb,-1\n",
                "f.csv, line 2, count: is \"0\"; give a whole number from 1 to 9\nf.csv, line 3, count: is \"-1\"; give a whole number from 1 to 9",
            ),
        ] {
            assert_eq!(parse(text), Err(error.to_owned()), "{text}");
        }
    }
}
