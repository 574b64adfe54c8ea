//! `LocalLLM.pull`: brings a model into the store, and tells the script how far it is, or shows it.

use std::cell::RefCell;
use std::rc::Rc;

use futures::StreamExt;
use mlua::{IntoLuaMulti, Lua, MultiValue, Table, UserData, UserDataRef, Value};
use perilune_providers::{PullEvent, PullProgress, PullRequest, PullStream, Pulled};
use tokio_util::sync::CancellationToken;

use crate::convert::described;
use crate::generation::serde;
use crate::host::Host;
use crate::leftovers::Leftover;
use crate::live::Live;
use crate::operation::{immediate, starter};
use crate::options::Accepted;
use crate::prelude;
use crate::script_error::ScriptError;

const PULL: Accepted = Accepted { function: "LocalLLM.pull" };

/// A pull on the Lua side of the prelude.
#[derive(Clone)]
struct Pulling(Rc<RefCell<State>>);

enum State {
    Running(Box<Running>),
    /// Its next event is waited for.
    Taken,
    /// It is done, or the cell that started it ended: then what came is kept for the next.
    Over,
}

struct Running {
    events: PullStream,
    live: Live,
}

impl UserData for Pulling {}

impl Leftover for RefCell<State> {
    fn abandon(&self) {
        drop(self.replace(State::Over));
    }

    fn is_over(&self) -> bool {
        matches!(*self.borrow(), State::Over)
    }
}

/// Adds `LocalLLM.pull`.
pub(crate) fn register(lua: &Lua, host: &Rc<Host>, models: &Table) -> mlua::Result<()> {
    let table = prelude::table(lua)?;
    let shared = Rc::clone(host);
    table.set(
        "open_pull",
        immediate(lua, host, move |_, (spec, options): (Value, Value)| {
            let (request, hears) = request(&spec, &options)?;
            let mut live = Live::new(&shared);
            live.model(&request.spec);
            if hears {
                live.delivers();
            }
            let events = shared.options.registry.pull(request, CancellationToken::new())?;
            let running = Running { events, live };
            let state = Rc::new(RefCell::new(State::Running(Box::new(running))));
            shared.leftovers.add(shared.work(), Rc::downgrade(&state));
            Ok(Pulling(state))
        })?,
    )?;
    table.set("next_pull", starter(lua, host, |_, pulling: UserDataRef<Pulling>| Ok(pulling.clone().next()))?)?;
    prelude::load(lua, include_str!("lua/pulls.lua"))?;
    models.set("pull", prelude::function(lua, "pull")?)
}

/// What next comes of a pull.
enum Told {
    Progress(PullProgress),
    Done(Box<Pulled>),
}

impl Pulling {
    async fn next(self) -> Result<Told, ScriptError> {
        let State::Running(mut running) = self.0.replace(State::Taken) else {
            self.0.replace(State::Over);
            return Err(ScriptError::new("cancelled", "this pull is over"));
        };
        let next = running.live.during(running.events.next()).await;
        match next.transpose() {
            Ok(Some(PullEvent::Progress(progress))) => {
                running.live.pulling(&progress);
                self.0.replace(State::Running(running));
                Ok(Told::Progress(progress))
            }
            Ok(Some(PullEvent::Done(pulled))) => {
                self.0.replace(State::Over);
                running.live.pulled();
                Ok(Told::Done(pulled))
            }
            Ok(None) => {
                self.0.replace(State::Over);
                Err(ScriptError::new("cancelled", "this pull is over"))
            }
            Err(error) => {
                self.0.replace(State::Over);
                running.live.failed();
                Err(error.into())
            }
        }
    }
}

impl IntoLuaMulti for Told {
    fn into_lua_multi(self, lua: &Lua) -> mlua::Result<MultiValue> {
        match self {
            Told::Progress(progress) => (false, serde(lua, &progress)?).into_lua_multi(lua),
            Told::Done(pulled) => {
                let Pulled { name, specifier, size_bytes, stored, was_there } = *pulled;
                let table = lua.create_table()?;
                table.raw_set("name", name)?;
                table.raw_set("specifier", specifier.map(|specifier| specifier.to_string()))?;
                table.raw_set("size_bytes", size_bytes)?;
                table.raw_set("was_there", was_there)?;
                if let Some(stored) = stored {
                    table.raw_set("location", stored.path.display().to_string())?;
                    table.raw_set("sha256", stored.digest.to_string())?;
                    table.raw_set("source", stored.source)?;
                    table.raw_set("revision", stored.revision)?;
                    table.raw_set("quantization", stored.quantization)?;
                    table.raw_set("license", stored.license)?;
                }
                (true, table).into_lua_multi(lua)
            }
        }
    }
}

/// What a script asks for, and whether it wants to hear how far it is.
fn request(spec: &Value, options: &Value) -> Result<(PullRequest, bool), ScriptError> {
    let Value::String(spec) = spec else {
        let found = described(spec);
        let problem = format!("the model of LocalLLM.pull is {found}; expected a text like \"tinyllama:Q4_K_M\"");
        return Err(ScriptError::argument(problem));
    };
    let mut request = PullRequest { spec: spec.to_string_lossy(), ..PullRequest::default() };
    let mut hears = false;
    PULL.each(options, "{quantization = \"Q8_0\"}", |option| {
        let text = || match option.value {
            Value::String(text) => Ok(Some(text.to_string_lossy())),
            _ => Err(option.wrong("a text")),
        };
        match option.name {
            "quantization" => request.quantization = text()?,
            "name" => request.name = text()?,
            "force" => request.force = option.truth()?,
            "on_progress" => {
                hears = matches!(option.value, Value::Function(_));
                if !hears {
                    return Err(option.wrong("a function"));
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok((request, hears))
}
