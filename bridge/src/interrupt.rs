//! The one count hook. It runs on the interpreter thread every few thousand instructions of
//! whatever Lua code is computing, in any coroutine: it stops a cell that is to stop and takes in
//! requests that came meanwhile.
//!
//! A cell is stopped by an error that no `pcall` can hold: from the first one on the hook fires at
//! every instruction and raises again, until the cell's own coroutine has unwound. Code that runs
//! inside one call of a C function (`string.rep`, pattern matching) and finalizers (`__gc`) is
//! beyond any hook's reach.

use std::fmt;
use std::rc::Rc;

use mlua::{HookTriggers, Lua, Table, VmState};

use crate::host::Host;
use crate::prelude;

/// Instructions between two hooks: a fraction of a millisecond.
const EVERY: u32 = 10_000;

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
        Stop::Interrupted {
            traceback: Vec::new(),
        }
    }
}

/// Sets the hook of a new state, and again after a cell was stopped.
pub(crate) fn install(lua: &Lua, host: &Rc<Host>) -> mlua::Result<()> {
    prelude::table(lua)?.get::<Table>("signals")?.raw_set("stopped", false)?;
    set_hook(lua, host, EVERY)
}

fn set_hook(lua: &Lua, host: &Rc<Host>, every: u32) -> mlua::Result<()> {
    let host = Rc::clone(host);
    lua.set_global_hook(
        HookTriggers::new().every_nth_instruction(every),
        move |lua, _| {
            check(lua, &host)?;
            host.serve(lua);
            Ok(VmState::Continue)
        },
    )
}

/// An error that unwinds the cell if it is to stop.
pub(crate) fn check(lua: &Lua, host: &Rc<Host>) -> mlua::Result<()> {
    if host.stop.borrow().is_none() && !host.cancelled() {
        return Ok(());
    }
    Err(stop(lua, host, Stop::interrupted()))
}

/// The error that unwinds the cell; the first reason to stop is the one that counts.
pub(crate) fn stop(lua: &Lua, host: &Rc<Host>, reason: Stop) -> mlua::Error {
    let first = host.stop.borrow().is_none();
    if first {
        let reason = match reason {
            Stop::Interrupted { .. } => Stop::Interrupted {
                traceback: traceback(lua),
            },
            exit @ Stop::Exit(_) => exit,
        };
        *host.stop.borrow_mut() = Some(reason);
    }
    let tightened = prelude::table(lua)
        .and_then(|table| table.get::<Table>("signals"))
        .and_then(|signals| signals.raw_set("stopped", true))
        .and_then(|()| set_hook(lua, host, 1));
    match tightened {
        Ok(()) => mlua::Error::external(Stopping),
        Err(error) => error,
    }
}

/// The script frames of the running coroutine, innermost first.
fn traceback(lua: &Lua) -> Vec<String> {
    prelude::function(lua, "frames")
        .and_then(|frames| frames.call::<Vec<String>>(()))
        .unwrap_or_default()
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
