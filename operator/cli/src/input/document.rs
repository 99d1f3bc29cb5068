//! Documents of a source: YAML streams, JSON, and `List` objects taken apart.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;

use serde_json::Value;
use serde_saphyr::MessageFormatter;

use super::limits::{MAX_DEPTH, MAX_NODES, options};
use super::lines::Lines;
use super::{BadInput, FieldPath, Segment, Source, json, printable};

/// Most bytes of a file that is read once more to tell lines: in a very large file the field alone has to do.
const MAX_LINE_BYTES: usize = 64 << 20;

/// Some editors begin UTF-8 with it.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Where an object came from.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    source: Rc<SourceText>,
    /// Document of the stream, from 1; documents without content are not counted.
    document: usize,
    /// Position within the document, where the object was an item of a `List`.
    item: FieldPath,
}

#[derive(Debug)]
struct SourceText {
    name: String,
    text: String,
    documents: Cell<usize>,
    /// Read when the first line is asked for.
    lines: OnceCell<Lines>,
}

impl SourceText {
    fn new(name: String, text: String) -> Self {
        Self {
            name,
            text,
            documents: Cell::new(0),
            lines: OnceCell::new(),
        }
    }

    /// The line of a field, if that can be told.
    fn line_of(&self, document: usize, steps: &[Segment]) -> Option<u64> {
        if self.text.len() > MAX_LINE_BYTES {
            return None;
        }
        let lines = self.lines.get_or_init(|| Lines::of(&self.text));
        lines.line_of(document, steps)
    }
}

impl Origin {
    /// `file, document 2`; the document only where there are several.
    pub(crate) fn name(&self) -> String {
        let mut name = printable(&self.source.name);
        if self.source.documents.get() > 1 {
            name.push_str(&format!(", document {}", self.document));
        }
        if !self.item.0.is_empty() {
            name.push_str(&format!(", {}", self.item));
        }
        name
    }

    /// A short word for objects without a name: `nodes-2` for the second document of `nodes.yaml`.
    pub(crate) fn stem(&self) -> String {
        let file = std::path::Path::new(&self.source.name)
            .file_stem()
            .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        let mut stem: String = file
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() {
                    c.to_ascii_lowercase()
                } else {
                    '-'
                }
            })
            .collect();
        stem.push_str(&format!("-{}", self.document));
        for step in &self.item.0 {
            if let Segment::Index(index) = step {
                stem.push_str(&format!("-{}", index + 1));
            }
        }
        stem
    }

    /// The error that `message` is, at `field` of this object. The first line of a source that
    /// is asked for costs a reading of it: for what is printed, and not for errors that nobody sees.
    pub(crate) fn bad(&self, field: &FieldPath, message: &str) -> BadInput {
        let mut steps = self.item.0.clone();
        steps.extend(field.0.iter().cloned());
        let line = self.source.line_of(self.document, &steps);
        self.bad_at(line, field, message)
    }

    /// As [`Self::bad`], without the line.
    pub(crate) fn bad_without_line(&self, field: &FieldPath, message: &str) -> BadInput {
        self.bad_at(None, field, message)
    }

    fn bad_at(&self, line: Option<u64>, field: &FieldPath, message: &str) -> BadInput {
        let mut place = self.name();
        if let Some(line) = line {
            place.push_str(&format!(", line {line}"));
        }
        if !field.0.is_empty() {
            place.push_str(&format!(", {field}"));
        }
        BadInput::new(place, message)
    }
}

/// One object.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    /// Where it came from.
    pub(crate) origin: Origin,
    /// The object: always a mapping.
    pub(crate) value: Value,
}

/// The objects of a source in order, `List`s taken apart. The error is the first one: after a syntax error nothing can be
/// trusted to be what it seems.
pub(crate) fn read_documents(source: &Source) -> Result<Vec<Document>, BadInput> {
    let mut text = source.read("YAML or JSON in UTF-8")?;
    if text.contains('\0') {
        return Err(BadInput::new(
            source.name(),
            "is not text (it contains a zero byte); give YAML or JSON in UTF-8",
        ));
    }
    if text.starts_with(BYTE_ORDER_MARK) {
        text.drain(..BYTE_ORDER_MARK.len_utf8());
    }
    let shared = Rc::new(SourceText::new(source.name(), text));
    let mut documents = Vec::new();
    let values = parse(&shared)?;
    shared.documents.set(values.len());
    for (index, value) in values.into_iter().enumerate() {
        let origin = Origin {
            source: Rc::clone(&shared),
            document: index + 1,
            item: FieldPath::default(),
        };
        take_apart(value, origin, &mut documents)?;
    }
    Ok(documents)
}

fn take_apart(value: Value, origin: Origin, documents: &mut Vec<Document>) -> Result<(), BadInput> {
    let Value::Object(mut object) = value else {
        let what = kind_of(&value);
        return Err(origin.bad(
            &FieldPath::default(),
            &format!("is {what}, not an object; an object starts with apiVersion: and kind:"),
        ));
    };
    let is_list = object
        .get("kind")
        .and_then(Value::as_str)
        .is_some_and(|kind| kind.ends_with("List"));
    match object.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) if is_list => {
            // Items of a typed list (`NodeList`) leave out what the list says for all of them.
            let text = |name: &str| object.get(name).and_then(Value::as_str).map(str::to_owned);
            let api_version = text("apiVersion");
            let kind = text("kind")
                .and_then(|kind| kind.strip_suffix("List").map(str::to_owned))
                .filter(|kind| !kind.is_empty());
            for (index, mut item) in items.into_iter().enumerate() {
                let mut origin = origin.clone();
                origin.item = origin.item.key("items").index(index);
                if let (Some(item), Some(kind)) = (item.as_object_mut(), &kind) {
                    item.entry("kind")
                        .or_insert_with(|| Value::from(kind.as_str()));
                    if let Some(api_version) = &api_version {
                        item.entry("apiVersion")
                            .or_insert_with(|| Value::from(api_version.as_str()));
                    }
                }
                take_apart(item, origin, documents)?;
            }
        }
        items => {
            if let Some(items) = items {
                object.insert("items".to_owned(), items);
            }
            documents.push(Document {
                origin,
                value: Value::Object(object),
            });
        }
    }
    Ok(())
}

/// What a value is, in words.
pub(crate) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn parse(source: &SourceText) -> Result<Vec<Value>, BadInput> {
    let start = source.text.trim_start();
    if start.starts_with('{') {
        match json::read(&source.text, MAX_NODES) {
            Ok(values) => return Ok(values),
            Err(error) if json::is_too_many(&error) => {
                return Err(BadInput::new(&source.name, too_many()));
            }
            Err(error) if source.name.to_ascii_lowercase().ends_with(".json") => {
                return Err(BadInput::new(
                    format!("{}, line {}", source.name, error.line()),
                    format!("is not valid JSON: {}", without_position(&error)),
                ));
            }
            // A YAML flow mapping starts like JSON.
            Err(_) => {}
        }
    }
    let mut reader = std::io::Cursor::new(source.text.as_bytes());
    let mut values = Vec::new();
    for (index, value) in
        serde_saphyr::read_with_options::<_, Value>(&mut reader, options()).enumerate()
    {
        values.push(value.map_err(|error| syntax_error(source, index + 1, &error))?);
    }
    Ok(values)
}

fn too_many() -> String {
    format!("has more than {MAX_NODES} values; split it into several files")
}

fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text.get(..end).unwrap_or_default().to_owned(),
        None => text,
    }
}

fn syntax_error(source: &SourceText, document: usize, error: &serde_saphyr::Error) -> BadInput {
    let error = error.without_snippet();
    let mut place = source.name.clone();
    if document > 1 {
        place.push_str(&format!(", document {document}"));
    }
    let mut tab = false;
    if let Some(location) = error.location().filter(|location| location.line() > 0) {
        place.push_str(&format!(
            ", line {}, column {}",
            location.line(),
            location.column()
        ));
        let line = usize::try_from(location.line())
            .ok()
            .and_then(|line| source.text.lines().nth(line.saturating_sub(1)));
        tab = line.is_some_and(|line| {
            line.chars()
                .take_while(|c| c.is_whitespace())
                .any(|c| c == '\t')
        });
    }
    let what = serde_saphyr::DefaultMessageFormatter.format_message(error);
    let message = match error {
        serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("{key} is given twice; remove one")
        }
        // Several kinds of error stand for a limit, some of them wrapped in others; their texts are what they share.
        _ if ["budget breached", "recursion limit"]
            .iter()
            .any(|limit| what.contains(limit)) =>
        {
            format!(
                "is too deep or too large for a manifest (at most {MAX_DEPTH} levels and {MAX_NODES} values, aliases counted as often as they are used); simplify or split it"
            )
        }
        _ if tab => format!(
            "is not valid YAML: {what}; the line is indented with a tab, and YAML takes only spaces"
        ),
        _ => format!("is not valid YAML: {what}; correct it there or on the line before"),
    };
    BadInput::new(place, message)
}
