//! The one count hook of every coroutine, set and answered in C's terms because nothing else can do
//! what it must: stop a coroutine with an error, and let one be suspended between two instructions.
//! `debug.sethook`'s own hook cannot yield, since it calls a Lua function and waits for it; mlua's
//! (0.12.2) puts a value of its own at index 1 of a frame that is the interrupted function's, which
//! closures over that function's first local see while other cells run. What the hook decides is in
//! `lua/interrupts.lua` and [`interrupt`](crate::interrupt).

use std::ffi::{c_int, c_void};

use mlua::ffi::{self, lua_Debug, lua_State};
use mlua::{Function, Lua, Thread};

use crate::prelude;

/// Instructions between two hooks: a fraction of a millisecond.
const EVERY: c_int = 10_000;
/// In a coroutine that is being stopped.
const AT_ONCE: c_int = 1;
/// Its address is the registry's key of the Lua function that decides.
static DECISION: u8 = 0;

/// Adds to the prelude `set_hook`, which makes its argument the function that decides; `arm` and
/// `tighten_hook`, which give a coroutine its hook, firing now and then or at every instruction.
/// A coroutine that a script creates inherits its creator's.
pub(crate) fn register(lua: &Lua) -> mlua::Result<()> {
    let table = prelude::table(lua)?;
    let set = lua.create_function(|lua, decision: Function| {
        // SAFETY: `rawsetp` takes the value that it finds on the stack, which is `decision`.
        unsafe { lua.exec_raw::<()>(decision, |state| ffi::lua_rawsetp(state, ffi::LUA_REGISTRYINDEX, key())) }
    })?;
    table.set("set_hook", set)?;
    table.set("arm", firing(lua, EVERY)?)?;
    table.set("tighten_hook", firing(lua, AT_ONCE)?)
}

/// A function that gives a coroutine its hook.
fn firing(lua: &Lua, count: c_int) -> mlua::Result<Function> {
    lua.create_function(move |_, coroutine: Thread| {
        fire(&coroutine, count);
        Ok(())
    })
}

fn fire(coroutine: &Thread, count: c_int) {
    let state = coroutine.to_pointer().cast_mut().cast::<lua_State>();
    // SAFETY: a thread's pointer is its `lua_State`, alive as long as the handle is.
    unsafe { ffi::lua_sethook(state, Some(hook), ffi::LUA_MASKCOUNT, count) }
}

/// Calls the decision with whether this coroutine can be suspended here. It raises what stops the
/// coroutine, or returns whether to suspend it.
unsafe extern "C-unwind" fn hook(state: *mut lua_State, _: *mut lua_Debug) {
    // SAFETY: Lua calls hooks with room for `LUA_MINSTACK` values. An error of the decision leaves
    // this frame, which owns nothing. A yield without values as the last act is what a hook may do.
    unsafe {
        ffi::lua_rawgetp(state, ffi::LUA_REGISTRYINDEX, key());
        ffi::lua_pushboolean(state, ffi::lua_isyieldable(state));
        ffi::lua_call(state, 1, 1);
        let suspend = ffi::lua_toboolean(state, -1) != 0;
        ffi::lua_settop(state, -2);
        if ffi::lua_gethookcount(state) != EVERY {
            ffi::lua_sethook(state, Some(hook), ffi::LUA_MASKCOUNT, EVERY);
        }
        if suspend {
            ffi::lua_yield(state, 0);
        }
    }
}

fn key() -> *const c_void {
    (&raw const DECISION).cast()
}
