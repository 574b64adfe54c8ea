//! JSON as Python's `json.dumps(..., ensure_ascii=False)` writes it, which is what templates were trained on.

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

/// The JSON of a value, on one line or indented by `indent` spaces.
pub(super) fn dumps(value: &impl Serialize, indent: Option<usize>) -> Result<String, serde_json::Error> {
    let mut bytes = Vec::new();
    match indent {
        None => value.serialize(&mut Serializer::with_formatter(&mut bytes, PythonFormatter))?,
        Some(width) => {
            // A width of thousands has no use but to fill memory.
            let indent = " ".repeat(width.min(16));
            value.serialize(&mut Serializer::with_formatter(
                &mut bytes,
                PrettyFormatter::with_indent(indent.as_bytes()),
            ))?;
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

struct PythonFormatter;

impl Formatter for PythonFormatter {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(python_float(value).as_bytes())
    }
}

/// A float as Python's `repr` writes it: an exponent has a sign and two digits.
fn python_float(value: f64) -> String {
    let magnitude = value.abs();
    if value == 0.0 || (1e-4..1e16).contains(&magnitude) {
        return format!("{value:?}");
    }
    let text = format!("{value:e}");
    let Some((mantissa, exponent)) = text.split_once('e') else {
        return text;
    };
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn writes_what_python_writes() {
        // Expected texts from CPython 3.11's json.dumps(value, ensure_ascii=False).
        let value =
            json!({"a": [1, -2.0, 1e20, 1e-7, 0.1], "é\n\"": "<&'\u{7f}", "empty": [{}, []], "n": null, "t": true});
        let expected = "{\"a\": [1, -2.0, 1e+20, 1e-07, 0.1], \"é\\n\\\"\": \"<&'\u{7f}\", \"empty\": [{}, []], \"n\": null, \"t\": true}";
        assert_eq!(dumps(&value, None).expect("it is JSON"), expected);
        assert_eq!(
            dumps(&json!({"a": [1], "b": {}}), Some(2)).expect("it is JSON"),
            "{\n  \"a\": [\n    1\n  ],\n  \"b\": {}\n}"
        );
    }
}
