//! Rust futures as Lua functions. Every future of a workspace is polled on its interpreter thread
//! with that thread's waker; the prelude decides whether a pending one suspends the coroutine or,
//! beneath a C function, the thread. What is pending ends with its cell.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use mlua::{AnyUserData, FromLuaMulti, Function, IntoLua, IntoLuaMulti, Lua, MultiValue, UserData, Value};

use crate::generation::serde;
use crate::host::Host;
use crate::interrupt::{self, Stop};
use crate::leftovers::Leftover;
use crate::prelude;
use crate::schedule;
use crate::script_error::ScriptError;

/// A future that a script waits for; `None` once it is over, and while it is polled.
struct Operation(Rc<Slot>);

type Slot = RefCell<Option<Pin<Box<dyn Pending>>>>;

impl UserData for Operation {}

impl Leftover for Slot {
    fn abandon(&self) {
        drop(self.take());
    }

    fn is_over(&self) -> bool {
        self.borrow().is_none()
    }
}

/// A future whose output becomes Lua values.
trait Pending {
    fn poll_values(
        self: Pin<&mut Self>,
        lua: &Lua,
        context: &mut Context<'_>,
    ) -> Poll<mlua::Result<Result<MultiValue, ScriptError>>>;
}

impl<F, T> Pending for F
where
    F: Future<Output = Result<T, ScriptError>>,
    T: IntoLuaMulti,
{
    fn poll_values(
        self: Pin<&mut Self>,
        lua: &Lua,
        context: &mut Context<'_>,
    ) -> Poll<mlua::Result<Result<MultiValue, ScriptError>>> {
        self.poll(context).map(|output| match output {
            Ok(values) => values.into_lua_multi(lua).map(Ok),
            Err(error) => Ok(Err(error)),
        })
    }
}

/// A value that is made once it can be: on the interpreter thread.
pub(crate) struct Answered<F>(pub(crate) F);

impl<F: FnOnce(&Lua) -> mlua::Result<Value>> IntoLua for Answered<F> {
    fn into_lua(self, lua: &Lua) -> mlua::Result<Value> {
        (self.0)(lua)
    }
}

/// A function of the prelude's inner side that starts a future: it returns `true` and the results,
/// `false`, kind, message and details, or `nil` and what is to be waited for.
pub(crate) fn starter<A, S, F, T>(lua: &Lua, host: &Rc<Host>, start: S) -> mlua::Result<Function>
where
    A: FromLuaMulti,
    S: Fn(&Lua, A) -> Result<F, ScriptError> + 'static,
    F: Future<Output = Result<T, ScriptError>> + 'static,
    T: IntoLuaMulti + 'static,
{
    let host = Rc::clone(host);
    lua.create_function(move |lua, arguments: A| {
        interrupt::check(lua, &host)?;
        match start(lua, arguments) {
            Ok(future) => advance(lua, &host, Box::pin(future)),
            Err(error) => settled(lua, &host, Err(error)),
        }
    })
}

/// The function a script calls for [`starter`].
pub(crate) fn waiting<A, S, F, T>(lua: &Lua, host: &Rc<Host>, start: S) -> mlua::Result<Function>
where
    A: FromLuaMulti,
    S: Fn(&Lua, A) -> Result<F, ScriptError> + 'static,
    F: Future<Output = Result<T, ScriptError>> + 'static,
    T: IntoLuaMulti + 'static,
{
    prelude::function(lua, "waiting")?.call(starter(lua, host, start)?)
}

/// The function a script calls for something that does not take a while but may fail.
pub(crate) fn immediate<A, S, T>(lua: &Lua, host: &Rc<Host>, call: S) -> mlua::Result<Function>
where
    A: FromLuaMulti,
    S: Fn(&Lua, A) -> Result<T, ScriptError> + 'static,
    T: IntoLuaMulti + 'static,
{
    waiting(lua, host, move |lua, arguments: A| call(lua, arguments).map(|value| std::future::ready(Ok(value))))
}

/// What the prelude waits with: `poll`, `block` and `park`.
pub(crate) fn register(lua: &Lua, host: &Rc<Host>) -> mlua::Result<()> {
    let table = prelude::table(lua)?;
    let shared = Rc::clone(host);
    table.set(
        "poll",
        lua.create_function(move |lua, operation: AnyUserData| {
            let Some(pending) = take(&operation)? else {
                return Err(mlua::Error::runtime("the operation is over"));
            };
            interrupt::check(lua, &shared)?;
            resume(lua, &shared, &operation, pending)
        })?,
    )?;
    let shared = Rc::clone(host);
    table.set(
        "block",
        lua.create_function(move |lua, operation: AnyUserData| {
            loop {
                let Some(pending) = take(&operation)? else {
                    return Err(mlua::Error::runtime("the operation is over"));
                };
                interrupt::check(lua, &shared)?;
                let values = resume(lua, &shared, &operation, pending)?;
                if !values.front().is_none_or(Value::is_nil) {
                    return Ok(values);
                }
                park(lua, &shared)?;
            }
        })?,
    )?;
    let shared = Rc::clone(host);
    table.set("park", lua.create_function(move |lua, ()| park(lua, &shared))?)
}

/// Waits beneath a C function, where a coroutine cannot be suspended.
fn park(lua: &Lua, host: &Rc<Host>) -> mlua::Result<()> {
    if !schedule::stay(lua, host) {
        host.wait_within(lua);
    }
    interrupt::check(lua, host)
}

fn take(operation: &AnyUserData) -> mlua::Result<Option<Pin<Box<dyn Pending>>>> {
    Ok(operation.borrow::<Operation>()?.0.take())
}

/// Polls a new future once: many are done at once.
fn advance(lua: &Lua, host: &Rc<Host>, mut pending: Pin<Box<dyn Pending>>) -> mlua::Result<MultiValue> {
    match poll(lua, host, &mut pending) {
        Poll::Ready(output) => settled(lua, host, output?),
        Poll::Pending => {
            let slot = Rc::new(RefCell::new(Some(pending)));
            host.leftovers.add(host.work(), Rc::downgrade(&slot));
            (Value::Nil, Operation(slot)).into_lua_multi(lua)
        }
    }
}

/// Polls a future that was pending before.
fn resume(
    lua: &Lua,
    host: &Rc<Host>,
    operation: &AnyUserData,
    mut pending: Pin<Box<dyn Pending>>,
) -> mlua::Result<MultiValue> {
    match poll(lua, host, &mut pending) {
        Poll::Ready(output) => settled(lua, host, output?),
        Poll::Pending => {
            operation.borrow::<Operation>()?.0.replace(Some(pending));
            (Value::Nil, operation).into_lua_multi(lua)
        }
    }
}

fn poll(
    lua: &Lua,
    host: &Rc<Host>,
    pending: &mut Pin<Box<dyn Pending>>,
) -> Poll<mlua::Result<Result<MultiValue, ScriptError>>> {
    pending.as_mut().poll_values(lua, &mut Context::from_waker(&host.waker()))
}

fn settled(lua: &Lua, host: &Rc<Host>, output: Result<MultiValue, ScriptError>) -> mlua::Result<MultiValue> {
    match output {
        Ok(mut values) => {
            values.push_front(Value::Boolean(true));
            Ok(values)
        }
        Err(error) if error == ScriptError::interrupted() => Err(interrupt::stop(lua, host, Stop::interrupted())),
        Err(error) => {
            // What failed because the cell was cancelled meanwhile is no error of the script's.
            interrupt::check(lua, host)?;
            let details = serde(lua, &error.details)?;
            (false, error.kind, error.message, details).into_lua_multi(lua)
        }
    }
}
