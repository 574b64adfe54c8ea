//! Comms: messages between an object in a frontend and one in Lua, both ways, opened and closed by
//! either side. `lua/comm.lua` holds the global `Comm`, its targets and what is open; here messages
//! become Lua values and the other way round.

use std::collections::BTreeMap;
use std::rc::Rc;

use mlua::{FromLuaMulti, Function, IntoLua, Lua, MultiValue, Table, Value};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use crate::cell::Output;
use crate::convert::{self, described};
use crate::host::Host;
use crate::operation::immediate;
use crate::prelude;
use crate::script_error::ScriptError;

/// Comms that may be open at once.
const MOST: usize = 1024;

/// A message from one side of a comm to the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CommMessage {
    /// Which comm.
    pub id: String,
    /// What happens to it.
    pub event: CommEvent,
    /// What is said: as a rule an object.
    pub data: Json,
    /// What is said about the message.
    pub metadata: Map<String, Json>,
    /// Binary data beside it.
    pub buffers: Vec<Vec<u8>>,
}

/// What a message does to its comm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommEvent {
    /// It begins, with the name of what it is to reach on the other side.
    Open {
        /// That name.
        target: String,
    },
    /// It carries something.
    Message,
    /// It ends.
    Close,
}

/// Adds to the prelude what `lua/comm.lua` calls.
pub(crate) fn register(lua: &Lua, host: &Rc<Host>) -> mlua::Result<()> {
    let table = prelude::table(lua)?;
    let shared = Rc::clone(host);
    let post = immediate(lua, host, move |lua, (event, id, rest): (String, String, Payload)| {
        let message = CommMessage {
            id,
            event: match event.as_str() {
                "open" => CommEvent::Open { target: rest.target },
                "close" => CommEvent::Close,
                _ => CommEvent::Message,
            },
            data: or_empty(convert::to_json(lua, &rest.data, "data")?),
            metadata: metadata(lua, &rest.metadata)?,
            buffers: buffers(&rest.buffers)?,
        };
        let io = shared.io().ok_or_else(ScriptError::interrupted)?;
        io.write(Output::Comm(message)).map_err(|_| ScriptError::interrupted())
    })?;
    table.set("post_comm", post)?;
    table.set("new_comm_id", lua.create_function(|_, ()| Ok(Uuid::new_v4().simple().to_string()))?)?;
    table.set("most_comms", MOST)?;
    prelude::load(lua, include_str!("lua/comm.lua"))
}

/// What a script says in a message.
struct Payload {
    data: Value,
    metadata: Value,
    buffers: Value,
    target: String,
}

impl FromLuaMulti for Payload {
    fn from_lua_multi(values: MultiValue, lua: &Lua) -> mlua::Result<Payload> {
        let (data, metadata, buffers, target) = FromLuaMulti::from_lua_multi(values, lua)?;
        Ok(Payload { data, metadata, buffers, target: Option::unwrap_or_default(target) })
    }
}

fn or_empty(json: Json) -> Json {
    if json.is_null() { Json::Object(Map::new()) } else { json }
}

fn metadata(lua: &Lua, value: &Value) -> Result<Map<String, Json>, ScriptError> {
    match or_empty(convert::to_json(lua, value, "metadata")?) {
        Json::Object(metadata) => Ok(metadata),
        _ => Err(ScriptError::argument(format!(
            "the metadata of a comm's message is {}; expected a table with string keys",
            described(value)
        ))),
    }
}

fn buffers(value: &Value) -> Result<Vec<Vec<u8>>, ScriptError> {
    let wrong = |value: &Value| {
        let found = described(value);
        ScriptError::argument(format!("the buffers of a comm's message are {found}; expected a list of strings"))
    };
    let list = match value {
        Value::Nil => return Ok(Vec::new()),
        Value::Table(list) => list,
        other => return Err(wrong(other)),
    };
    list.sequence_values::<Value>()
        .map(|item| match item {
            Ok(Value::String(bytes)) => Ok(bytes.as_bytes().to_vec()),
            Ok(other) => Err(wrong(&other)),
            Err(error) => Err(ScriptError::argument(error.to_string())),
        })
        .collect()
}

/// What delivers a message, and what it is called with.
pub(crate) fn delivery(lua: &Lua, message: &CommMessage) -> mlua::Result<(Function, MultiValue)> {
    let (event, target) = match &message.event {
        CommEvent::Open { target } => ("open", Some(target.as_str())),
        CommEvent::Message => ("message", None),
        CommEvent::Close => ("close", None),
    };
    let metadata = lua.create_table()?;
    for (name, value) in &message.metadata {
        metadata.raw_set(name.as_str(), convert::to_lua(lua, value)?)?;
    }
    let buffers = lua.create_table_with_capacity(message.buffers.len(), 0)?;
    for bytes in &message.buffers {
        buffers.raw_push(lua.create_string(bytes)?)?;
    }
    let arguments = [
        event.into_lua(lua)?,
        message.id.as_str().into_lua(lua)?,
        target.into_lua(lua)?,
        convert::to_lua(lua, &message.data)?,
        Value::Table(metadata),
        Value::Table(buffers),
    ];
    Ok((prelude::function(lua, "deliver_comm")?, MultiValue::from_iter(arguments)))
}

/// The open comms: id to target.
pub(crate) fn open(lua: &Lua) -> BTreeMap<String, String> {
    let comms = prelude::table(lua).and_then(|table| table.raw_get::<Table>("comms"));
    comms.iter().flat_map(Table::pairs::<String, String>).filter_map(Result::ok).collect()
}
