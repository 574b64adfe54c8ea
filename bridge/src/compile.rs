//! From a cell's code to a function: an expression if it can be one, else statements, with the
//! locals of earlier cells in sight.

use std::collections::BTreeMap;

use mlua::chunk::ChunkMode;
use mlua::{Function, Lua, Table};

use crate::cell::{Cell, Failure};
use crate::locals;
use crate::prelude;

/// The cell's code as a function.
pub(crate) fn code(lua: &Lua, cell: &Cell) -> Result<Function, Failure> {
    let code = script_text(&cell.code);
    match expression(lua, code, cell) {
        Some(chunk) => chunk,
        None => statements(lua, code, cell),
    }
}

/// One of the cell's user expressions as a function.
pub(crate) fn user_expression(lua: &Lua, code: &str, cell: &Cell) -> Result<Function, Failure> {
    match expression(lua, code, cell) {
        Some(chunk) => chunk,
        None => load(lua, &format!("return {code}"), &cell.chunk_name),
    }
}

/// A failure of the interpreter itself, or one that left Lua no room to describe it.
pub(crate) fn internal(error: &mlua::Error) -> Failure {
    Failure { name: "LuaError".to_owned(), message: error.to_string(), ..Failure::default() }
}

/// `None` if the code is no list of expressions.
fn expression(lua: &Lua, code: &str, cell: &Cell) -> Option<Result<Function, Failure>> {
    let returned = format!("return {code}");
    let chunk = load(lua, &returned, &cell.chunk_name).ok()?;
    Some(match locals::wrap_expression(code, &kept_names(lua, cell)) {
        Some(source) => load_wrapped(lua, &source, cell, "results"),
        None => Ok(chunk),
    })
}

fn statements(lua: &Lua, code: &str, cell: &Cell) -> Result<Function, Failure> {
    let chunk = load(lua, code, &cell.chunk_name)?;
    if !cell.keep_locals {
        return Ok(chunk);
    }
    match locals::wrap(code, &kept_names(lua, cell)) {
        Some(source) => load_wrapped(lua, &source, cell, "keep"),
        None => Ok(chunk),
    }
}

/// The function of a cell whose source [`locals`] wrote; `given` is the function of the prelude
/// that it calls.
fn load_wrapped(lua: &Lua, source: &str, cell: &Cell, given: &str) -> Result<Function, Failure> {
    let wrapped = load(lua, source, &cell.chunk_name).map_err(|mut failure| {
        // Lua's own words for a limit on upvalues, locals or registers.
        if failure.message.contains("too many") {
            failure.message.push_str("; the cell names too many locals of earlier cells: make some of them global");
        }
        failure
    })?;
    let join = || {
        let chunk: Function = wrapped.call(prelude::function(lua, given)?)?;
        prelude::function(lua, "join")?.call(chunk)
    };
    join().map_err(|error: mlua::Error| internal(&error))
}

fn load(lua: &Lua, code: &str, chunk_name: &str) -> Result<Function, Failure> {
    lua.load(code).set_name(chunk_name).set_mode(ChunkMode::Text).into_function().map_err(|error| match error {
        mlua::Error::SyntaxError { message, .. } => {
            Failure { name: "SyntaxError".to_owned(), message, ..Failure::default() }
        }
        error => internal(&error),
    })
}

/// The locals of earlier cells that the cell may see, and whether each is constant.
fn kept_names(lua: &Lua, cell: &Cell) -> BTreeMap<String, bool> {
    if !cell.keep_locals {
        return BTreeMap::new();
    }
    let kept = prelude::table(lua).and_then(|table| table.get::<Table>("kept"));
    kept.iter()
        .flat_map(Table::pairs::<String, Table>)
        .filter_map(|pair| {
            let (name, variable) = pair.ok()?;
            Some((name, variable.raw_get(3).ok()?))
        })
        .collect()
}

/// Code without what no compiler reads at the start of a file: a byte order mark and a `#!` line.
/// Lua's own interpreter skips every first line that starts with `#`; in a cell, `#t` is a length.
fn script_text(code: &str) -> &str {
    let code = code.strip_prefix('\u{feff}').unwrap_or(code);
    if !code.starts_with("#!") {
        return code;
    }
    code.find('\n').map_or("", |end| &code[end..])
}
