//! A short text of a value for somebody who looks at it in an editor. Reads tables as they are: no
//! metamethod runs, and a huge table costs no more than a small one.

use mlua::{Lua, Table, Value};

use crate::editor::completion::function_signature;
use crate::editor::subject::metatable;

/// Characters of a string that are shown.
const TEXT: usize = 200;
/// Entries of a table that are shown, and that are counted.
const ENTRIES: usize = 20;
const COUNTED: usize = 10_000;

/// The type of a value, as its objects call themselves: `table`, `Agent`, `FILE*`.
pub(crate) fn type_text(lua: &Lua, value: &Value) -> mlua::Result<String> {
    let name = match metatable(lua, value)? {
        Some(metatable) => match metatable.raw_get("__name")? {
            Value::String(name) => Some(name.to_string_lossy()),
            _ => None,
        },
        None => None,
    };
    let kind = match value {
        Value::Integer(_) => "integer",
        Value::LightUserData(_) | Value::UserData(_) | Value::Error(_) => "userdata",
        other => other.type_name(),
    };
    Ok(name.unwrap_or_else(|| kind.to_owned()))
}

/// The value as Lua code where that is short, over several lines for a table.
pub(crate) fn preview(lua: &Lua, value: &Value) -> mlua::Result<String> {
    match value {
        Value::Table(table) => entries(lua, table),
        other => short(lua, "", other),
    }
}

fn entries(lua: &Lua, table: &Table) -> mlua::Result<String> {
    let mut lines = Vec::new();
    let mut count = 0usize;
    for pair in table.pairs::<Value, Value>().take(COUNTED) {
        let (key, value) = pair?;
        count += 1;
        if count > ENTRIES {
            continue;
        }
        let name = match &key {
            Value::String(name) => name.to_string_lossy(),
            other => format!("[{}]", short(lua, "", other)?),
        };
        lines.push(format!("  {name} = {},", short(lua, &name, &value)?));
    }
    if count == 0 {
        return Ok("{}".to_owned());
    }
    if count > ENTRIES {
        let more = if count == COUNTED { "or more" } else { "in all" };
        lines.push(format!("  ... ({count} entries {more})"));
    }
    lines.sort_by_cached_key(|line| line.starts_with("  ..."));
    Ok(format!("{{\n{}\n}}", lines.join("\n")))
}

/// On one line.
fn short(lua: &Lua, name: &str, value: &Value) -> mlua::Result<String> {
    Ok(match value {
        Value::Nil => "nil".to_owned(),
        Value::Boolean(truth) => truth.to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Number(number) if number.fract() == 0.0 && number.abs() < 1e15 => format!("{number:.1}"),
        Value::Number(number) => number.to_string(),
        Value::String(text) => quoted(&text.as_bytes()),
        Value::Function(function) => format!("function {}", function_signature(lua, name, function)?),
        Value::Table(table) if table.metatable().is_none() && table.pairs::<Value, Value>().next().is_none() => {
            "{}".to_owned()
        }
        Value::Table(_) => match type_text(lua, value)?.as_str() {
            "table" => "{...}".to_owned(),
            object => format!("<{object}>"),
        },
        other => format!("<{}>", type_text(lua, other)?),
    })
}

fn quoted(text: &[u8]) -> String {
    // A character has four bytes at most.
    let start = String::from_utf8_lossy(&text[..text.len().min(TEXT * 4)]);
    let shown: String = start.chars().take(TEXT).collect();
    let left = text.len().saturating_sub(shown.len());
    let rest = if left == 0 { String::new() } else { format!("... ({left} more bytes)") };
    let escaped = shown.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let printable: String = escaped.chars().map(|one| if one.is_control() { '\u{FFFD}' } else { one }).collect();
    format!("\"{printable}\"{rest}")
}
