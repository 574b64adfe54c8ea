//! What the global `display` and the results of cells are made of: [`bundle`] checks the
//! representations a script gives, [`table`] and [`chart`] draw, [`progress`] counts, [`html`] escapes
//! and reads HTML, [`image`] looks into pictures. Which representations a value has is decided in `lua/bundle.lua`,
//! what scripts call is in
//! `lua/display.lua`, `lua/kinds.lua` and `lua/progress.lua`.

pub(crate) mod base64;
mod bundle;
mod chart;
pub(crate) mod html;
mod image;
mod progress;
mod table;

use std::rc::Rc;

use mlua::{FromLuaMulti, Function, IntoLuaMulti, Lua, LuaString, MultiValue, Table, UserData, UserDataRef, Value};
use uuid::Uuid;

use crate::cell::{Output, Rich};
use crate::host::Host;
use crate::prelude;

pub(crate) use progress::Bars;

/// A value in all its representations, on the Lua side of the prelude; scripts never hold one.
#[derive(Clone, Debug)]
pub(crate) struct Shown(pub(crate) Rich);

impl UserData for Shown {}

/// Adds to the prelude what `lua/bundle.lua` and `lua/display.lua` call.
pub(crate) fn register(lua: &Lua, host: &Rc<Host>) -> mlua::Result<()> {
    let table = prelude::table(lua)?;
    progress::register(lua, host)?;
    table.set(
        "rich",
        fallible(lua, |lua, (data, metadata): (Table, Option<Table>)| {
            bundle::rich(lua, &data, metadata.as_ref()).map(Shown)
        })?,
    )?;
    table.set("grid", lua.create_function(|_, grid: table::Grid| Ok((grid.html(), grid.text())))?)?;
    table.set("chart", fallible(lua, |_, chart: Table| chart::draw(&chart))?)?;
    table.set("readable", lua.create_function(|_, text: LuaString| Ok(text.to_string_lossy()))?)?;
    table.set("html_text", lua.create_function(|_, html: LuaString| Ok(html::to_text(&html.to_string_lossy())))?)?;
    table.set("describe_png", fallible(lua, |_, bytes: LuaString| image::describe_png(&bytes.as_bytes()))?)?;
    table.set("describe_svg", fallible(lua, |_, text: LuaString| image::describe_svg(&text.as_bytes()))?)?;
    table.set("new_display_id", lua.create_function(|_, ()| Ok(Uuid::new_v4().to_string()))?)?;
    let shared = Rc::clone(host);
    table.set(
        "show",
        lua.create_function(move |lua, (value, id, update): (UserDataRef<Shown>, Option<String>, bool)| {
            let value = value.0.clone();
            shared.show(lua, Output::Display { value, display_id: id, update, live: false })
        })?,
    )?;
    let shared = Rc::clone(host);
    table.set(
        "set_live",
        lua.create_function(move |_, live: bool| {
            shared.live.set(live);
            Ok(())
        })?,
    )?;
    let shared = Rc::clone(host);
    table.set(
        "clear_output",
        lua.create_function(move |lua, wait: bool| shared.show(lua, Output::ClearOutput { wait }))?,
    )
}

/// A function of the prelude's inner side that returns what it made, or nil and what is wrong.
fn fallible<A, T>(lua: &Lua, call: impl Fn(&Lua, A) -> Result<T, String> + 'static) -> mlua::Result<Function>
where
    A: FromLuaMulti,
    T: IntoLuaMulti,
{
    lua.create_function(move |lua, arguments: A| match call(lua, arguments) {
        Ok(values) => values.into_lua_multi(lua),
        Err(problem) => (Value::Nil, problem).into_lua_multi(lua) as mlua::Result<MultiValue>,
    })
}
