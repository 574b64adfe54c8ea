//! What the one count hook decides. It runs on the interpreter thread now and then in
//! whatever Lua code is computing, in any coroutine: it stops a cell that is to stop, takes in
//! requests that came meanwhile, and ends the running cell's turn when others wait for theirs.
//! `lua/interrupts.lua` is its Lua side, [`hook`](crate::hook) its C side.
//!
//! A cell is stopped by an error that no `pcall` can hold: from the first one on the hook fires at
//! every instruction and raises again, until the cell's own coroutine has unwound. Code that runs
//! inside one call of a C function (`string.rep`, pattern matching, reading from `io.popen`) and
//! finalizers (`__gc`) is beyond any hook's reach.
//!
//! What the hook costs does not depend on how often it fires: with any count hook set, Lua's
//! interpreter takes its slow path at every instruction. Measured on two cores: an empty arithmetic
//! loop 2.3x, recursive calls 2.2x, code that makes tables 1.1x, strings not at all.

use std::fmt;
use std::rc::Rc;

use mlua::Lua;

use crate::host::Host;
use crate::prelude;
use crate::schedule;

/// Why a cell is to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It was cancelled; where it was then.
    Interrupted { traceback: Vec<String> },
    /// It called `os.exit` with this code.
    Exit(i32),
}

impl Stop {
    /// A stop that has yet to learn where the cell is.
    pub(crate) fn interrupted() -> Stop {
        Stop::Interrupted { traceback: Vec::new() }
    }
}

/// Adds to the prelude `tick`, which the hook asks, and `check`: an error if the cell is to stop.
pub(crate) fn register(lua: &Lua, host: &Rc<Host>) -> mlua::Result<()> {
    let table = prelude::table(lua)?;
    let shared = Rc::clone(host);
    // Two answers: whether the cell is to stop, and whether it is to be suspended.
    let tick = lua.create_function(move |lua, can_be_suspended: bool| {
        if shared.is_due() {
            note(lua, &shared, Stop::interrupted());
            return Ok((true, false));
        }
        shared.serve(lua);
        Ok((false, schedule::slice(lua, &shared, can_be_suspended)))
    })?;
    table.set("tick", tick)?;
    let shared = Rc::clone(host);
    let check = lua.create_function(move |lua, ()| check(lua, &shared))?;
    table.set("check", check)
}

/// An error that unwinds the cell if it is to stop.
pub(crate) fn check(lua: &Lua, host: &Host) -> mlua::Result<()> {
    match host.is_due() {
        true => Err(stop(lua, host, Stop::interrupted())),
        false => Ok(()),
    }
}

/// The error that unwinds the cell; the first reason to stop is the one that counts.
pub(crate) fn stop(lua: &Lua, host: &Host, reason: Stop) -> mlua::Error {
    note(lua, host, reason);
    match prelude::function(lua, "tighten").and_then(|tighten| tighten.call(())) {
        Ok(()) => mlua::Error::external(Stopping),
        Err(error) => error,
    }
}

fn note(lua: &Lua, host: &Host, reason: Stop) {
    let Some(run) = host.schedule.running() else { return };
    if run.stop.borrow().is_some() {
        return;
    }
    let reason = match reason {
        Stop::Interrupted { .. } => Stop::Interrupted { traceback: traceback(lua) },
        exit @ Stop::Exit(_) => exit,
    };
    *run.stop.borrow_mut() = Some(reason);
}

/// The script frames of the running coroutine, innermost first.
fn traceback(lua: &Lua) -> Vec<String> {
    prelude::function(lua, "frames").and_then(|frames| frames.call::<Vec<String>>(())).unwrap_or_default()
}

/// What unwinds a cell.
#[derive(Debug)]
struct Stopping;

impl fmt::Display for Stopping {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the cell is being stopped")
    }
}

impl std::error::Error for Stopping {}
