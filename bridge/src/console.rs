//! The Rust side of print, io and input: what a cell writes goes to the client that sent it, what it
//! reads comes from there.

use std::rc::Rc;

use mlua::{Lua, LuaString, MultiValue, Value, Variadic};

use crate::host::{Host, Stream};
use crate::input::{self, Format};
use crate::operation;
use crate::prelude;
use crate::script_error::ScriptError;

/// Adds `write_stdout`, `write_stderr`, `read`, `ask` and `describe_userdata` to the prelude.
pub(crate) fn register(lua: &Lua, host: &Rc<Host>) -> mlua::Result<()> {
    let table = prelude::table(lua)?;
    for (name, stream) in [("write_stdout", Stream::Stdout), ("write_stderr", Stream::Stderr)] {
        let host = Rc::clone(host);
        let write = lua.create_function(move |lua, text: LuaString| host.write(lua, stream, &text.as_bytes()))?;
        table.set(name, write)?;
    }
    let shared = Rc::clone(host);
    let read = operation::starter(lua, host, move |_, formats: MultiValue| {
        let mut formats: Vec<Format> = formats.iter().filter_map(Format::parse).collect();
        if formats.is_empty() {
            formats.push(Format::Line { newline: false });
        }
        let io = shared.io().ok_or_else(ScriptError::interrupted)?;
        let input = shared.input();
        Ok(async move { input::read(io, input, formats).await.map(Variadic::from_iter) })
    })?;
    table.set("read", read)?;
    let shared = Rc::clone(host);
    let ask = operation::starter(lua, host, move |_, (prompt, password): (LuaString, bool)| {
        let io = shared.io().ok_or_else(ScriptError::interrupted)?;
        let prompt = prompt.to_string_lossy();
        Ok(async move { input::ask(io, prompt, password).await })
    })?;
    table.set("ask", ask)?;
    table.set("describe_userdata", lua.create_function(describe)?)
}

/// The message of an error that Rust raised, without the traceback that comes with it.
fn describe(_: &Lua, value: Value) -> mlua::Result<Option<String>> {
    Ok(match value {
        Value::Error(error) => {
            let mut error = &*error;
            while let mlua::Error::CallbackError { cause, .. } = error {
                error = cause;
            }
            Some(error.to_string())
        }
        _ => None,
    })
}
