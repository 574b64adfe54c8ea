//! The global `json`: `encode`, `decode`, `list` and `null`.

use std::rc::Rc;

use mlua::{Lua, LuaString, Table, Value};

use crate::convert::{self, described};
use crate::host::Host;
use crate::operation::immediate;
use crate::prelude;
use crate::script_error::ScriptError;

/// Adds the global.
pub(crate) fn register(lua: &Lua, host: &Rc<Host>) -> mlua::Result<()> {
    convert::register(lua)?;
    let json = lua.create_table()?;
    json.set("null", convert::null())?;
    prelude::table(lua)?.set("null", convert::null())?;
    json.set(
        "encode",
        immediate(lua, host, |lua, (value, options): (Value, Value)| {
            let indent = match options {
                Value::Nil => false,
                Value::Table(options) => indent_of(&options)?,
                other => {
                    return Err(ScriptError::argument(format!(
                        "the options of json.encode are {}; expected a table like {{indent = true}}",
                        described(&other)
                    )));
                }
            };
            let json = convert::to_json(lua, &value, "value")?;
            let text = match indent {
                true => serde_json::to_string_pretty(&json),
                false => serde_json::to_string(&json),
            };
            text.map_err(|error| ScriptError::argument(error.to_string()))
        })?,
    )?;
    json.set(
        "decode",
        immediate(lua, host, |lua, text: Value| {
            let Value::String(text) = text else {
                return Err(ScriptError::argument(format!("json.decode got {}; expected a string", described(&text))));
            };
            decode(lua, &text)
        })?,
    )?;
    json.set(
        "list",
        immediate(lua, host, |lua, table: Value| {
            let table = match table {
                Value::Nil => lua.create_table(),
                Value::Table(table) => Ok(table),
                other => {
                    return Err(ScriptError::argument(format!(
                        "json.list got {}; expected a table, or nothing for an empty list",
                        described(&other)
                    )));
                }
            };
            table
                .and_then(|table| convert::mark_list(lua, &table).map(|()| table))
                .map_err(|error| ScriptError::argument(error.to_string()))
        })?,
    )?;
    // A script may name something else of its own `json`.
    prelude::table(lua)?.set("json", &json)?;
    lua.globals().set("json", json)
}

fn decode(lua: &Lua, text: &LuaString) -> Result<Value, ScriptError> {
    let json = serde_json::from_slice(&text.as_bytes()).map_err(|error| {
        ScriptError::argument(format!(
            "not JSON: {error}; the text starts with {}",
            described(&Value::String(text.clone()))
        ))
    })?;
    convert::to_lua(lua, &json).map_err(|error| ScriptError::argument(error.to_string()))
}

fn indent_of(options: &Table) -> Result<bool, ScriptError> {
    let mut indent = false;
    for pair in options.pairs::<Value, Value>() {
        let (key, value) = pair.map_err(|error| ScriptError::argument(error.to_string()))?;
        match (&key, &value) {
            (Value::String(name), Value::Boolean(on)) if *name == "indent" => indent = *on,
            _ => {
                return Err(ScriptError::argument(format!(
                    "json.encode does not know the option {} = {}; expected indent = true or false",
                    described(&key),
                    described(&value)
                )));
            }
        }
    }
    Ok(indent)
}
