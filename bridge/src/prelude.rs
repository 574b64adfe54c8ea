//! The part of the interpreter that is written in Lua, because only Lua code can be suspended, can
//! rethrow another's error value as it is, and can be interrupted. Its files share one table with
//! the Rust functions they call; no script can reach it.

use std::rc::Rc;

use mlua::{Function, Lua, Table};

use crate::host::Host;
use crate::{agents, comm, console, display, hook, interrupt, json, models, modules, operation, process, usage};

/// Where the registry holds the shared table.
const TABLE: &str = "perilune";
/// The chunk name by which tracebacks leave the prelude's frames out.
const CHUNK: &str = "=[perilune]";

/// In the order in which they build upon each other.
const FILES: [&str; 16] = [
    include_str!("lua/interrupts.lua"),
    include_str!("lua/errors.lua"),
    include_str!("lua/operations.lua"),
    include_str!("lua/coroutines.lua"),
    include_str!("lua/console.lua"),
    include_str!("lua/chunks.lua"),
    include_str!("lua/modules.lua"),
    include_str!("lua/locals.lua"),
    include_str!("lua/render.lua"),
    include_str!("lua/tree.lua"),
    include_str!("lua/bundle.lua"),
    include_str!("lua/cells.lua"),
    include_str!("lua/inspection.lua"),
    include_str!("lua/display.lua"),
    include_str!("lua/kinds.lua"),
    include_str!("lua/progress.lua"),
];

/// Loads the prelude and every global into a new state. `system.lua` comes after those
/// that use what it takes from `debug`; `names.lua` names what is there in the end.
pub(crate) fn register(lua: &Lua, host: &Rc<Host>) -> mlua::Result<()> {
    let table = lua.create_table()?;
    lua.set_named_registry_value(TABLE, &table)?;
    hook::register(lua)?;
    interrupt::register(lua, host)?;
    operation::register(lua, host)?;
    console::register(lua, host)?;
    process::register(lua, host)?;
    modules::register(lua, host)?;
    display::register(lua, host)?;
    for file in FILES {
        load(lua, file)?;
    }
    json::register(lua, host)?;
    models::register(lua, host)?;
    agents::register(lua, host)?;
    usage::register(lua, host)?;
    comm::register(lua, host)?;
    load(lua, include_str!("lua/ilua.lua"))?;
    load(lua, include_str!("lua/system.lua"))?;
    load(lua, include_str!("lua/names.lua"))
}

/// Runs one more file of the prelude.
pub(crate) fn load(lua: &Lua, source: &str) -> mlua::Result<()> {
    lua.load(source).set_name(CHUNK).call(table(lua)?)
}

/// The table that the prelude's files share.
pub(crate) fn table(lua: &Lua) -> mlua::Result<Table> {
    lua.named_registry_value(TABLE)
}

/// One of its functions.
pub(crate) fn function(lua: &Lua, name: &str) -> mlua::Result<Function> {
    table(lua)?.get(name)
}
