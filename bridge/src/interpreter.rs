//! The interpreter thread: owns a workspace's Lua state, gives its cells their turns, and sleeps
//! while all of them wait.

use std::rc::Rc;
use std::sync::mpsc::SyncSender;

use mlua::{Lua, LuaOptions, StdLib};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::host::Host;
use crate::prelude;
use crate::schedule;
use crate::workspace::{Request, WorkspaceOptions};

/// Runs a workspace until its last handle is gone. Says on `ready` whether it came up.
pub(crate) fn run(
    options: WorkspaceOptions,
    runtime: Handle,
    requests: mpsc::Receiver<Request>,
    ready: &SyncSender<Result<(), String>>,
) {
    let _entered = runtime.enter();
    let host = Rc::new(Host::new(options, requests));
    let lua = match state(&host) {
        Ok(lua) => lua,
        Err(error) => {
            let _ = ready.send(Err(error.to_string()));
            return;
        }
    };
    let _ = ready.send(Ok(()));
    loop {
        host.serve(&lua);
        if schedule::turn(&lua, &host) {
            continue;
        }
        if host.is_done() {
            return;
        }
        host.park();
    }
}

/// A Lua state with its globals.
fn state(host: &Rc<Host>) -> mlua::Result<Lua> {
    // SAFETY: mlua calls a state unsafe once `debug` or C modules are in it. The prelude takes
    // both away from scripts: it keeps the functions it needs (`getinfo` for tracebacks,
    // `upvaluejoin` for kept locals) and leaves of `debug` what cannot reach mlua's own
    // functions, userdata and registry; there is no searcher for C modules and no `loadlib`.
    let lua = unsafe { Lua::unsafe_new_with(StdLib::ALL, LuaOptions::default()) };
    prelude::register(&lua, host)?;
    if let Some(script) = &host.options.script {
        let arguments = lua.create_sequence_from(host.options.arguments.iter().map(String::as_str))?;
        arguments.raw_set(0, script.as_str())?;
        lua.globals().raw_set("arg", arguments)?;
    }
    Ok(lua)
}
