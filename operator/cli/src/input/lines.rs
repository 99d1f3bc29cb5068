//! The line of a field. Positions cost memory and time, so they are worked out only when something is wrong.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::Segment;
use super::limits::options;

#[cfg(test)]
thread_local! {
    /// How often this thread has read a source for its lines.
    pub(crate) static READINGS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Where the values of a text stand, by document; built by one reading.
#[derive(Debug)]
pub(super) struct Lines {
    documents: Vec<Placed>,
}

/// A line, from 1, and what begins there.
type Placed = (u64, Tree);

impl Lines {
    /// Of a text; nothing is known from the first document on that cannot be read as YAML.
    pub(super) fn of(text: &str) -> Self {
        #[cfg(test)]
        READINGS.set(READINGS.get() + 1);
        let mut reader = std::io::Cursor::new(text.as_bytes());
        let documents = serde_saphyr::read_with_options::<_, Spanned<Tree>>(&mut reader, options())
            .map_while(Result::ok)
            .map(placed)
            .collect();
        Self { documents }
    }

    /// The line, from 1, of the value at `path` in the `document`-th document (from 1); of the nearest value around it where
    /// there is none. `None` where the document could not be read as YAML.
    pub(super) fn line_of(&self, document: usize, path: &[Segment]) -> Option<u64> {
        let (line, here) = self.documents.get(document.checked_sub(1)?)?;
        let (mut line, mut here) = (*line, here);
        for step in path {
            let next = match (here, step) {
                (Tree::Map(entries), Segment::Key(key)) => entries
                    .iter()
                    .find(|(known, ..)| **known == **key)
                    .map(|(_, line, value)| (*line, value)),
                (Tree::List(items), Segment::Index(index)) => {
                    items.get(*index).map(|(line, value)| (*line, value))
                }
                _ => None,
            };
            let Some((at, next)) = next else {
                break;
            };
            line = at;
            here = next;
        }
        (line > 0).then_some(line)
    }
}

fn placed(value: Spanned<Tree>) -> Placed {
    (value.referenced.line(), value.value)
}

/// Structure with lines and without content.
#[derive(Debug)]
enum Tree {
    Scalar,
    List(Vec<Placed>),
    /// Keys with the lines on which they stand.
    Map(Vec<(Box<str>, u64, Tree)>),
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TreeVisitor;

        impl<'de> Visitor<'de> for TreeVisitor {
            type Value = Tree;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
                Ok(Tree::Scalar)
            }
            fn visit_i64<E>(self, _: i64) -> Result<Tree, E> {
                Ok(Tree::Scalar)
            }
            fn visit_u64<E>(self, _: u64) -> Result<Tree, E> {
                Ok(Tree::Scalar)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
                Ok(Tree::Scalar)
            }
            fn visit_str<E>(self, _: &str) -> Result<Tree, E> {
                Ok(Tree::Scalar)
            }
            fn visit_unit<E>(self) -> Result<Tree, E> {
                Ok(Tree::Scalar)
            }
            fn visit_none<E>(self) -> Result<Tree, E> {
                Ok(Tree::Scalar)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(placed(item));
                }
                Ok(Tree::List(items))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
                let mut entries = Vec::new();
                while let Some(key) = map.next_key::<Spanned<String>>()? {
                    let line = key.referenced.line();
                    entries.push((key.value.into_boxed_str(), line, map.next_value()?));
                }
                Ok(Tree::Map(entries))
            }
            fn visit_newtype_struct<D: Deserializer<'de>>(self, d: D) -> Result<Tree, D::Error> {
                d.deserialize_any(IgnoredAny).map(|_| Tree::Scalar)
            }
        }

        deserializer.deserialize_any(TreeVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::super::FieldPath;
    use super::*;

    #[test]
    fn the_line_of_a_field_is_found() {
        let text = "# comment\na: 1\n---\nkind: X\nspec:\n  list:\n  - name: p\n  - name: q\n    count: 5\n  flow: {x: 1,\n    y: 2}\n";
        for (path, line) in [
            ("kind", 4),
            ("spec", 5),
            ("spec.list[1].name", 8),
            ("spec.list[1].count", 9),
            ("spec.flow.y", 11),
            ("spec.list[1].missing.below", 8),
        ] {
            assert_eq!(
                Lines::of(text).line_of(2, &FieldPath::parse(path).0),
                Some(line),
                "{path}"
            );
        }
        assert_eq!(Lines::of(text).line_of(3, &[]), None);
        assert_eq!(
            Lines::of("{\"a\":\n {\"b\": 1}}").line_of(1, &FieldPath::parse("a.b").0),
            Some(2)
        );
    }
}
