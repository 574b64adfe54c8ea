//! The one converter between Lua values and JSON ones.
//!
//! A list is a table with the keys 1 to n; an empty table is an object unless it carries the list
//! mark, which decoded lists have. Integers and floats stay apart. `null` is a light userdata, since
//! nil would vanish from a table. What JSON cannot hold is an error that names its place.

use mlua::{LightUserData, Lua, Table, Value};
use serde_json::{Map, Number, Value as Json};

use crate::script_error::ScriptError;

/// Where the registry holds the metatable that marks lists.
const LIST_MARK: &str = "perilune.list";
/// Nested deeper than this, a value is refused: as deep as serde_json reads.
const DEPTH: usize = 127;

/// Adds the list mark to a new state.
pub(crate) fn register(lua: &Lua) -> mlua::Result<()> {
    let mark = lua.create_table()?;
    mark.raw_set("__name", "list")?;
    lua.set_named_registry_value(LIST_MARK, mark)
}

/// What stands for JSON's null.
pub(crate) fn null() -> Value {
    Value::LightUserData(LightUserData(std::ptr::null_mut()))
}

/// Marks a table as a list, so that it is one even when it is empty.
pub(crate) fn mark_list(lua: &Lua, table: &Table) -> mlua::Result<()> {
    table.set_metatable(Some(lua.named_registry_value(LIST_MARK)?))
}

/// A JSON value as a Lua value.
pub(crate) fn to_lua(lua: &Lua, json: &Json) -> mlua::Result<Value> {
    Ok(match json {
        Json::Null => null(),
        Json::Bool(truth) => Value::Boolean(*truth),
        Json::Number(number) => match number.as_i64() {
            Some(integer) => Value::Integer(integer),
            None => Value::Number(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::String(lua.create_string(text)?),
        Json::Array(items) => {
            let table = lua.create_table_with_capacity(items.len(), 0)?;
            for (index, item) in items.iter().enumerate() {
                table.raw_set(index + 1, to_lua(lua, item)?)?;
            }
            mark_list(lua, &table)?;
            Value::Table(table)
        }
        Json::Object(members) => {
            let table = lua.create_table_with_capacity(0, members.len())?;
            for (name, member) in members {
                table.raw_set(name.as_str(), to_lua(lua, member)?)?;
            }
            Value::Table(table)
        }
    })
}

/// A Lua value as a JSON value; `name` is what errors call it.
pub(crate) fn to_json(lua: &Lua, value: &Value, name: &str) -> Result<Json, ScriptError> {
    let mark = lua.named_registry_value(LIST_MARK).map_err(|error| ScriptError::argument(error.to_string()))?;
    let mut encoder = Encoder { mark, path: name.to_owned(), above: Vec::new() };
    encoder.value(value)
}

struct Encoder {
    mark: Table,
    /// How a script would write the place that is being converted.
    path: String,
    /// The tables that contain it.
    above: Vec<*const std::ffi::c_void>,
}

impl Encoder {
    fn value(&mut self, value: &Value) -> Result<Json, ScriptError> {
        match value {
            Value::Nil => Ok(Json::Null),
            Value::LightUserData(LightUserData(pointer)) if pointer.is_null() => Ok(Json::Null),
            Value::Boolean(truth) => Ok(Json::Bool(*truth)),
            Value::Integer(integer) => Ok(Json::from(*integer)),
            Value::Number(number) => {
                match Number::from_f64(*number) {
                    Some(number) => Ok(Json::Number(number)),
                    None => Err(self
                        .refuse(format!("is {number}, which JSON cannot hold; use a finite number, a string or nil"))),
                }
            }
            Value::String(text) => self.text(&text.as_bytes()).map(Json::String),
            Value::Table(table) => self.table(table),
            other => Err(self.refuse(format!(
                "is a {}, which JSON cannot hold; use a table, string, number, boolean or nil",
                other.type_name()
            ))),
        }
    }

    fn text(&self, bytes: &[u8]) -> Result<String, ScriptError> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => Err(self.refuse(format!(
                "is a string that is no UTF-8 text: byte {} is 0x{:02x}",
                error.valid_up_to() + 1,
                bytes[error.valid_up_to()]
            ))),
        }
    }

    fn table(&mut self, table: &Table) -> Result<Json, ScriptError> {
        let pointer = table.to_pointer();
        if self.above.contains(&pointer) {
            return Err(self.refuse("contains itself, and JSON has no cycles".to_owned()));
        }
        if self.above.len() >= DEPTH {
            let mut short: String = self.path.chars().take(60).collect();
            short.push_str("...");
            self.path = short;
            return Err(self.refuse(format!("is nested deeper than {DEPTH} tables")));
        }
        self.above.push(pointer);
        let converted = match self.is_list(table) {
            true => self.list(table),
            false => self.object(table),
        };
        self.above.pop();
        converted
    }

    fn is_list(&self, table: &Table) -> bool {
        table.raw_len() > 0 || table.metatable().is_some_and(|metatable| metatable == self.mark)
    }

    fn list(&mut self, table: &Table) -> Result<Json, ScriptError> {
        let length = table.raw_len();
        let mut entries = 0usize;
        for pair in table.pairs::<Value, Value>() {
            let (key, _) = pair.map_err(|error| self.refuse(error.to_string()))?;
            match key {
                Value::Integer(index) if index >= 1 && index as usize <= length => entries += 1,
                key => {
                    return Err(self.refuse(format!(
                        "is a list of {length} that also has the key {}; use a list or a table \
                         with string keys, not both",
                        described(&key)
                    )));
                }
            }
        }
        let mut items = Vec::with_capacity(length);
        for index in 1..=length {
            let item: Value = table.raw_get(index).map_err(|error| self.refuse(error.to_string()))?;
            if item.is_nil() && entries < length {
                return Err(
                    self.refuse(format!("is a list with a hole: [{index}] is nil; use json.null or close the gap"))
                );
            }
            items.push(self.within(&format!("[{index}]"), &item)?);
        }
        Ok(Json::Array(items))
    }

    fn object(&mut self, table: &Table) -> Result<Json, ScriptError> {
        let mut names = Vec::new();
        for pair in table.pairs::<Value, Value>() {
            let (key, value) = pair.map_err(|error| self.refuse(error.to_string()))?;
            match key {
                Value::String(name) => names.push((self.text(&name.as_bytes())?, value)),
                Value::Integer(index) => {
                    return Err(self.refuse(format!(
                        "has the key {index} without those from 1 on; use a list without holes or string keys"
                    )));
                }
                key => {
                    return Err(self.refuse(format!("has the key {}; use string keys", described(&key))));
                }
            }
        }
        // A table has no order: the same one is to give the same text every time.
        names.sort_by(|(left, _), (right, _)| left.cmp(right));
        let mut members = Map::with_capacity(names.len());
        for (name, value) in names {
            let step = match is_identifier(&name) {
                true => format!(".{name}"),
                false => format!("[{name:?}]"),
            };
            let member = self.within(&step, &value)?;
            members.insert(name, member);
        }
        Ok(Json::Object(members))
    }

    fn within(&mut self, step: &str, value: &Value) -> Result<Json, ScriptError> {
        let length = self.path.len();
        self.path.push_str(step);
        let converted = self.value(value)?;
        self.path.truncate(length);
        Ok(converted)
    }

    fn refuse(&self, problem: String) -> ScriptError {
        ScriptError::argument(format!("`{}` {problem}", self.path))
    }
}

/// A short text of a value for an error message.
pub(crate) fn described(value: &Value) -> String {
    match value {
        Value::String(text) => {
            let text = text.to_string_lossy();
            let short: String = text.chars().take(60).collect();
            match short.len() < text.len() {
                true => format!("{short:?}..."),
                false => format!("{short:?}"),
            }
        }
        Value::Integer(integer) => integer.to_string(),
        Value::Number(number) => format!("{number:?}"),
        Value::Boolean(truth) => truth.to_string(),
        Value::Nil => "nil".to_owned(),
        other => format!("a {}", other.type_name()),
    }
}

fn is_identifier(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_')
}
