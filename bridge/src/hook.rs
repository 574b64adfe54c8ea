//! The one count hook of every coroutine, set and answered in C's terms because nothing else can do
//! what it must: stop a coroutine with an error, and let one be suspended between two instructions.
//! `debug.sethook`'s own hook cannot yield, since it calls a Lua function and waits for it; mlua's
//! (0.12.2) puts a value of its own at index 1 of a frame that is the interrupted function's, which
//! closures over that function's first local see while other cells run. What the hook decides is in
//! `lua/interrupts.lua` and [`interrupt`](crate::interrupt).
//!
//! Lua counts instructions, and one of them may call a C function that takes milliseconds (`string.gsub`, `json.encode`). So the
//! distance between two hooks follows the clock: a loop of such calls is stopped, or gives up its turn, after one or a few of them.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::time::{Duration, Instant};

use mlua::ffi::{self, lua_Debug, lua_State};
use mlua::{Function, Lua, Thread};

use crate::prelude;

/// The most instructions between two hooks: some microseconds of plain Lua.
const MOST: c_int = 250;
/// The fewest, for code that calls slow functions, and for a coroutine that is being stopped.
const FEWEST: c_int = 1;
/// A coroutine begins with so many, since nobody knows yet what it calls.
const FIRST: c_int = 8;
/// While nothing is slow the distance grows so many times with every hook.
const FASTER: c_int = 2;
/// Hooks further apart than this come sooner from then on, by this distance.
const TOO_FAR: Duration = Duration::from_micros(500);
/// How often the decision is asked for.
const DECIDE_EVERY: Duration = Duration::from_micros(100);
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
    table.set("arm", firing(lua, FIRST, false)?)?;
    table.set("tighten_hook", firing(lua, FEWEST, true)?)
}

/// When hooks of this thread's coroutines came, whichever these were.
#[derive(Clone, Copy)]
struct Pace {
    fired: Instant,
    decided: Instant,
    /// Every hook asks for the decision, until that lets the coroutine go on.
    stopping: bool,
}

thread_local! {
    static PACE: Cell<Option<Pace>> = const { Cell::new(None) };
}

/// How many instructions there are to the next hook, if the last `count` took so long: as many as are over soon.
fn paced(count: c_int, took: Duration) -> c_int {
    if took <= TOO_FAR {
        return count.saturating_mul(FASTER).min(MOST);
    }
    let fitting = f64::from(count) * TOO_FAR.as_secs_f64() / took.as_secs_f64();
    (fitting as c_int).max(FEWEST)
}

/// A function that gives a coroutine its hook.
fn firing(lua: &Lua, count: c_int, stopping: bool) -> mlua::Result<Function> {
    lua.create_function(move |_, coroutine: Thread| {
        if stopping {
            let now = Instant::now();
            PACE.set(Some(Pace { stopping, ..PACE.get().unwrap_or(Pace { fired: now, decided: now, stopping }) }));
        }
        fire(&coroutine, count);
        Ok(())
    })
}

fn fire(coroutine: &Thread, count: c_int) {
    let state = coroutine.to_pointer().cast_mut().cast::<lua_State>();
    // SAFETY: a thread's pointer is its `lua_State`, alive as long as the handle is.
    unsafe { ffi::lua_sethook(state, Some(hook), ffi::LUA_MASKCOUNT, count) }
}

/// Now and then calls the decision with whether this coroutine can be suspended here. It raises what
/// stops the coroutine, or returns whether to suspend it.
unsafe extern "C-unwind" fn hook(state: *mut lua_State, _: *mut lua_Debug) {
    let now = Instant::now();
    // After a pause the time since the last hook is not this coroutine's, which costs it a few hooks.
    let pace = PACE.get().unwrap_or(Pace { fired: now, decided: now - DECIDE_EVERY, stopping: false });
    // SAFETY: Lua calls hooks with room for `LUA_MINSTACK` values. An error of the decision leaves
    // this frame, which owns nothing. A yield without values as the last act is what a hook may do.
    unsafe {
        let count = ffi::lua_gethookcount(state);
        let next = paced(count, now - pace.fired);
        if next != count && !pace.stopping {
            ffi::lua_sethook(state, Some(hook), ffi::LUA_MASKCOUNT, next);
        }
        // Setting a hook goes through every frame of the stack, and is no time of the script's.
        PACE.set(Some(Pace { fired: Instant::now(), ..pace }));
        if !pace.stopping && now - pace.decided < DECIDE_EVERY {
            return;
        }
        ffi::lua_rawgetp(state, ffi::LUA_REGISTRYINDEX, key());
        ffi::lua_pushboolean(state, ffi::lua_isyieldable(state));
        ffi::lua_call(state, 1, 1);
        let suspend = ffi::lua_toboolean(state, -1) != 0;
        ffi::lua_settop(state, -2);
        let now = Instant::now();
        PACE.set(Some(Pace { fired: now, decided: now, stopping: false }));
        if suspend {
            ffi::lua_yield(state, 0);
        }
    }
}

fn key() -> *const c_void {
    (&raw const DECISION).cast()
}
