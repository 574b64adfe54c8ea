//! Where `require` finds modules before it looks along `package.path`: among those that travelled
//! with the script, then in the script's folder.

use std::path::PathBuf;
use std::rc::Rc;

use mlua::{IntoLuaMulti, Lua, MultiValue};

use crate::host::Host;
use crate::prelude;

/// Adds `travelled_module` and `folder_module` to the prelude: source and chunk name of a module,
/// or nil and where it was looked for.
pub(crate) fn register(lua: &Lua, host: &Rc<Host>) -> mlua::Result<()> {
    let table = prelude::table(lua)?;
    let shared = Rc::clone(host);
    let travelled = lua.create_function(move |lua, name: String| {
        let modules = &shared.options.modules;
        match modules.get(&name) {
            Some(source) => (source.as_str(), file_name(&name)).into_lua_multi(lua),
            None if modules.is_empty() => missing(lua, None),
            None => missing(lua, Some(format!("no module '{name}' among those that travelled with the script"))),
        }
    })?;
    table.set("travelled_module", travelled)?;
    let shared = Rc::clone(host);
    let folder = lua.create_function(move |lua, name: String| {
        let Some(folder) = &shared.options.module_directory else {
            return missing(lua, None);
        };
        let relative: PathBuf = name.split('.').collect();
        let candidates = [relative.with_extension("lua"), relative.join("init.lua")];
        let mut places = Vec::new();
        for candidate in candidates {
            let path = folder.join(&candidate);
            match std::fs::read(&path) {
                Ok(source) => {
                    let place = candidate.display().to_string();
                    return (lua.create_string(source)?, place).into_lua_multi(lua);
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    places.push(format!("no file '{}'", path.display()));
                }
                Err(error) => places.push(format!("cannot read '{}': {error}", path.display())),
            }
        }
        missing(lua, Some(places.join("\n\t")))
    })?;
    table.set("folder_module", folder)
}

fn missing(lua: &Lua, place: Option<String>) -> mlua::Result<MultiValue> {
    (mlua::Nil, place).into_lua_multi(lua)
}

/// The name that messages show for a module: the same wherever it came from.
fn file_name(name: &str) -> String {
    format!("{}.lua", name.replace('.', "/"))
}
