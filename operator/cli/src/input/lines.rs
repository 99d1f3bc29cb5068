//! The line of a field. Positions cost memory and time, so they are worked out only when something is wrong.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::Segment;
use super::limits::options;

#[cfg(test)]
thread_local! {
    /// How often this thread has looked a line up: each time costs a reading of the source.
    pub(crate) static LOOKUPS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// The line, from 1, of the value at `path` in the `document`-th document (from 1) of `text`; of the nearest value around
/// it where there is none. `None` where the text cannot be read as YAML.
pub(super) fn line_of(text: &str, document: usize, path: &[Segment]) -> Option<u64> {
    #[cfg(test)]
    LOOKUPS.set(LOOKUPS.get() + 1);
    let mut reader = std::io::Cursor::new(text.as_bytes());
    let root = serde_saphyr::read_with_options::<_, Spanned<Tree>>(&mut reader, options())
        .nth(document.checked_sub(1)?)?
        .ok()?;
    let mut line = root.referenced.line();
    let mut here = &root.value;
    for step in path {
        let (at, next) = match (here, step) {
            (Tree::Map(entries), Segment::Key(key)) => entries
                .iter()
                .find(|(k, _)| k.value == *key)
                .map(|(k, v)| (k.referenced.line(), &v.value)),
            (Tree::List(items), Segment::Index(index)) => items
                .get(*index)
                .map(|item| (item.referenced.line(), &item.value)),
            _ => None,
        }
        .unzip();
        let (Some(at), Some(next)) = (at, next) else {
            break;
        };
        line = at;
        here = next;
    }
    (line > 0).then_some(line)
}

/// Structure with positions and without content.
enum Tree {
    Scalar,
    List(Vec<Spanned<Tree>>),
    Map(Vec<(Spanned<String>, Spanned<Tree>)>),
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
                    items.push(item);
                }
                Ok(Tree::List(items))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
                let mut entries = Vec::new();
                while let Some(key) = map.next_key::<Spanned<String>>()? {
                    entries.push((key, map.next_value()?));
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
                line_of(text, 2, &FieldPath::parse(path).0),
                Some(line),
                "{path}"
            );
        }
        assert_eq!(line_of(text, 3, &[]), None);
        assert_eq!(
            line_of("{\"a\":\n {\"b\": 1}}", 1, &FieldPath::parse("a.b").0),
            Some(2)
        );
    }
}
