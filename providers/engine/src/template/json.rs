//! JSON as Python's `json.dumps` writes it, which is what templates were trained on.

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use super::python::float;

/// The options of `json.dumps` that templates use; the defaults are those of `transformers`.
#[derive(Debug)]
pub(super) struct Style {
    /// Spaces of each level, each value on a line of its own; `None` for a single line.
    pub(super) indent: Option<usize>,
    /// Whether characters beyond ASCII become `\uXXXX`.
    pub(super) ascii: bool,
    pub(super) sort_keys: bool,
    /// What stands between two items, and between a key and its value.
    pub(super) separators: Option<(String, String)>,
}

/// The JSON of a value.
pub(super) fn dumps(value: &impl Serialize, style: Style) -> Result<String, serde_json::Error> {
    let mut value = serde_json::to_value(value)?;
    if style.sort_keys {
        value.sort_all_objects();
    }
    let comma = if style.indent.is_some() { "," } else { ", " };
    let (between_items, after_key) = style.separators.unwrap_or_else(|| (comma.to_owned(), ": ".to_owned()));
    // A width of thousands has no use but to fill memory.
    let indent = style.indent.map(|width| " ".repeat(width.min(16)));
    let formatter = PythonFormatter { between_items, after_key, indent, ascii: style.ascii, level: 0, empty: true };
    let mut bytes = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut bytes, formatter))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

struct PythonFormatter {
    between_items: String,
    after_key: String,
    indent: Option<String>,
    ascii: bool,
    level: usize,
    /// Whether nothing has been written into the innermost array or object.
    empty: bool,
}

impl PythonFormatter {
    fn open<W: ?Sized + io::Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.level += 1;
        self.empty = true;
        writer.write_all(bracket)
    }

    fn close<W: ?Sized + io::Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.level -= 1;
        if !self.empty {
            self.new_line(writer)?;
        }
        self.empty = false;
        writer.write_all(bracket)
    }

    fn item<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if !first {
            writer.write_all(self.between_items.as_bytes())?;
        }
        self.empty = false;
        self.new_line(writer)
    }

    fn new_line<W: ?Sized + io::Write>(&self, writer: &mut W) -> io::Result<()> {
        let Some(indent) = &self.indent else {
            return Ok(());
        };
        writer.write_all(b"\n")?;
        (0..self.level).try_for_each(|_| writer.write_all(indent.as_bytes()))
    }
}

impl Formatter for PythonFormatter {
    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open(writer, b"[")
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.close(writer, b"]")
    }

    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.item(writer, first)
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open(writer, b"{")
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.close(writer, b"}")
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.item(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(self.after_key.as_bytes())
    }

    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(float(value).as_bytes())
    }

    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        if !self.ascii {
            return writer.write_all(fragment.as_bytes());
        }
        for character in fragment.chars() {
            if character.is_ascii() {
                writer.write_all(&[character as u8])?;
                continue;
            }
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn style() -> Style {
        Style { indent: None, ascii: false, sort_keys: false, separators: None }
    }

    /// Expected texts are those of CPython 3.11's `json.dumps`.
    #[test]
    fn writes_what_python_writes() {
        let value =
            json!({"a": [1, -2.0, 1e20, 1e-7, 0.1], "é\n\"": "<&'\u{7f}", "empty": [{}, []], "n": null, "t": true});
        let expected = "{\"a\": [1, -2.0, 1e+20, 1e-07, 0.1], \"é\\n\\\"\": \"<&'\u{7f}\", \"empty\": [{}, []], \"n\": null, \"t\": true}";
        assert_eq!(dumps(&value, style()).expect("it is JSON"), expected);
        let value = json!({"b": [1, []], "a": {}, "é🌙": {"z": 1, "y": 2}});
        let indented = Style { indent: Some(2), ..style() };
        assert_eq!(
            dumps(&value, indented).expect("it is JSON"),
            "{\n  \"b\": [\n    1,\n    []\n  ],\n  \"a\": {},\n  \"é🌙\": {\n    \"z\": 1,\n    \"y\": 2\n  }\n}"
        );
        let separators = Some((",".to_owned(), ":".to_owned()));
        let compact = Style { ascii: true, sort_keys: true, separators, ..style() };
        assert_eq!(
            dumps(&value, compact).expect("it is JSON"),
            r#"{"a":{},"b":[1,[]],"\u00e9\ud83c\udf19":{"y":2,"z":1}}"#
        );
    }
}
