//! Values as Python's `str` writes them, where minijinja differs or does not promise to.

use minijinja::Value;
use minijinja::value::ValueKind;

/// The text of a value in the output.
pub(super) fn text(value: &Value) -> String {
    match value.kind() {
        ValueKind::String => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
        _ => repr(value),
    }
}

/// The text of a value within a list or a mapping.
fn repr(value: &Value) -> String {
    match value.kind() {
        ValueKind::None => "None".to_owned(),
        ValueKind::Bool => if value.is_true() { "True" } else { "False" }.to_owned(),
        ValueKind::Number if !value.is_integer() => {
            f64::try_from(value.clone()).map_or_else(|_| value.to_string(), float)
        }
        ValueKind::String => quoted(value.as_str().unwrap_or_default()),
        ValueKind::Seq if !value.is_tuple() => {
            let items: Vec<String> = items(value).iter().map(repr).collect();
            format!("[{}]", items.join(", "))
        }
        ValueKind::Map => {
            let pair = |key: &Value| {
                let item = value.get_item(key).unwrap_or_default();
                format!("{}: {}", repr(key), repr(&item))
            };
            let pairs: Vec<String> = items(value).iter().map(pair).collect();
            format!("{{{}}}", pairs.join(", "))
        }
        _ => value.to_string(),
    }
}

fn items(value: &Value) -> Vec<Value> {
    value.try_iter().map(Iterator::collect).unwrap_or_default()
}

/// A float as `repr` writes it: an exponent has a sign and two digits.
pub(super) fn float(value: f64) -> String {
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

/// A string as `repr` writes it.
fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut quoted = String::from(quote);
    for character in text.chars() {
        match character {
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\\' => quoted.push_str("\\\\"),
            _ if character == quote => quoted.extend(['\\', quote]),
            '\0'..'\u{20}' | '\u{7f}'..'\u{a1}' | '\u{ad}' => {
                quoted.push_str(&format!("\\x{:02x}", u32::from(character)));
            }
            _ => quoted.push(character),
        }
    }
    quoted.push(quote);
    quoted
}

#[cfg(test)]
mod tests {
    use minijinja::value::Serde;
    use serde_json::json;

    use super::*;

    /// Expected texts are those of CPython 3.11's `str`.
    #[test]
    fn writes_what_python_writes() {
        let value = json!([1, 1.0, 1e16, -2.5e-5, null, true, "a", "it's", "'\"", "\n\u{7f}é", {"k": [], "2": {}}]);
        let expected = r#"[1, 1.0, 1e+16, -2.5e-05, None, True, 'a', "it's", '\'"', '\n\x7fé', {'k': [], '2': {}}]"#;
        assert_eq!(text(&Value::from(Serde(&value))), expected);
        assert_eq!(text(&Value::from("it's")), "it's");
        assert_eq!(text(&Value::UNDEFINED), "");
    }
}
