//! The global `Agent`: a model with instructions, options and a conversation that it keeps.
//!
//! A turn joins the conversation once its answer is whole. One that failed, was interrupted, or
//! whose stream was left early leaves the conversation as it was.

mod saved;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use mlua::{Lua, Table, UserData, UserDataRef, Value};
use perilune_providers::{ChatMessage, ModelSpecifier, Prompt, Registry, Resolved, Role};

use crate::convert::described;
use crate::generation::{self, Answer, Planned, Reading, serde};
use crate::host::Host;
use crate::live::Live;
use crate::operation::{immediate, starter, waiting};
use crate::options::{self, Accepted, Options};
use crate::prelude;
use crate::script_error::ScriptError;

const CREATE: Accepted = Accepted { function: "Agent.create" };
const LOAD: Accepted = Accepted { function: "Agent.load" };
const SAVE: Accepted = Accepted { function: "agent:save" };
const EXECUTE: Accepted = Accepted { function: "agent:execute" };

#[derive(Clone)]
struct Agent(Rc<State>);

struct State {
    options: Options,
    conversation: RefCell<Conversation>,
}

/// What was said, without the instructions, which are an option.
type Conversation = Vec<ChatMessage>;

impl UserData for Agent {}

/// Adds the global.
pub(crate) fn register(lua: &Lua, host: &Rc<Host>) -> mlua::Result<()> {
    let table = prelude::table(lua)?;
    table.set(
        "create_agent",
        immediate(lua, host, |lua, options: Value| {
            let options = CREATE.read(lua, &options, Options::default())?;
            Ok(Agent::new(options, Conversation::new()))
        })?,
    )?;
    let shared = Rc::clone(host);
    table.set(
        "execute_agent",
        starter(lua, host, move |lua, (agent, request): (UserDataRef<Agent>, Value)| {
            let (planned, prompt) = agent.turn(lua, &shared, &request)?;
            let agent = agent.clone();
            Ok(async move {
                let answer = planned.answer().await?;
                agent.commit(prompt, &answer);
                Ok(answer)
            })
        })?,
    )?;
    let shared = Rc::clone(host);
    table.set(
        "open_agent_stream",
        immediate(lua, host, move |lua, (agent, request): (UserDataRef<Agent>, Value)| {
            let (planned, prompt) = agent.turn(lua, &shared, &request)?;
            let agent = agent.clone();
            Ok(Reading::new(&shared, planned, move |answer| agent.commit(prompt, answer)))
        })?,
    )?;
    table.set(
        "agent_messages",
        lua.create_function(|lua, agent: UserDataRef<Agent>| {
            let mut messages = agent.0.conversation.borrow().clone();
            if let Some(system) = &agent.0.options.system {
                messages.insert(0, ChatMessage::system(system.as_str()));
            }
            serde(lua, &messages)
        })?,
    )?;
    table.set(
        "reset_agent",
        lua.create_function(|_, agent: UserDataRef<Agent>| {
            agent.0.conversation.borrow_mut().clear();
            Ok(())
        })?,
    )?;
    register_copies(lua, host, &table)?;
    let shared = Rc::clone(host);
    table.set(
        "agent_model",
        lua.create_function(move |_, agent: UserDataRef<Agent>| {
            let options = &shared.options;
            let model = agent.0.options.model.clone().or_else(|| options.model.get());
            Ok(model.as_ref().unwrap_or(options.registry.default_models()).to_string())
        })?,
    )?;
    prelude::load(lua, include_str!("lua/agents.lua"))
}

/// What makes agents of agents, and undoes turns.
fn register_copies(lua: &Lua, host: &Rc<Host>, table: &Table) -> mlua::Result<()> {
    table.set(
        "fork_agent",
        lua.create_function(|_, agent: UserDataRef<Agent>| {
            Ok(Agent::new(agent.0.options.clone(), agent.0.conversation.borrow().clone()))
        })?,
    )?;
    table.set(
        "rewind_agent",
        immediate(lua, host, |_, (agent, turns): (UserDataRef<Agent>, Value)| agent.rewind(&turns))?,
    )?;
    let shared = Rc::clone(host);
    table.set(
        "save_agent",
        waiting(lua, host, move |lua, (agent, path, options): (UserDataRef<Agent>, Value, Value)| {
            let path = options::path(&path, SAVE.function)?;
            let with_state = SAVE.read(lua, &options, Options::default())?.state.unwrap_or(false);
            let state = with_state.then(|| agent.state(&shared)).transpose()?;
            let agent = agent.clone();
            Ok(async move { saved::save(&agent, &path, state).await })
        })?,
    )?;
    let shared = Rc::clone(host);
    table.set(
        "load_agent",
        waiting(lua, host, move |lua, (path, options): (Value, Value)| {
            let path = options::path(&path, LOAD.function)?;
            let saved::Loaded { options: saved, conversation, has_state } = saved::load(&path)?;
            let options = LOAD.read(lua, &options, saved)?;
            let wanted = has_state && options.state.unwrap_or(true);
            let agent = Agent::new(Options { state: None, ..options }, conversation);
            let mut kept = Kept::of(&agent, &shared);
            Ok(async move {
                if wanted {
                    saved::restore(&path, &mut kept).await?;
                }
                Ok(agent)
            })
        })?,
    )
}

/// The model that computed an agent's conversation, and in whose session.
struct Kept {
    registry: Arc<Registry>,
    model: Option<ModelSpecifier>,
    session: String,
    live: Live,
}

impl Kept {
    fn of(agent: &Agent, host: &Host) -> Kept {
        let models = agent.0.options.model.clone().or_else(|| host.options.model.get());
        let model = models.map(|models| models.first().clone());
        let session = host.options.session.clone();
        Kept { registry: Arc::clone(&host.options.registry), model, session, live: Live::new(host) }
    }

    async fn resolve(&mut self) -> Result<Resolved, ScriptError> {
        let resolved = self.live.during(self.registry.resolve_or_default(self.model.as_ref())).await?;
        self.live.model(&resolved.model);
        Ok(resolved)
    }
}

impl Agent {
    fn new(options: Options, conversation: Conversation) -> Agent {
        Agent(Rc::new(State { options, conversation: RefCell::new(conversation) }))
    }

    /// Forgets the last turns, one if nobody says how many: what the user said, and everything after it.
    fn rewind(&self, turns: &Value) -> Result<(), ScriptError> {
        let mut conversation = self.0.conversation.borrow_mut();
        let starts = (0..conversation.len()).rev().filter(|index| conversation[*index].role == Role::User);
        let starts: Vec<usize> = starts.collect();
        let wanted = match turns {
            Value::Nil => Some(1),
            turns => options::whole(turns).and_then(|turns| usize::try_from(turns).ok()),
        };
        let first = wanted.filter(|turns| *turns > 0).and_then(|turns| starts.get(turns - 1));
        let first = first.ok_or_else(|| {
            let given = if turns.is_nil() { "1".to_owned() } else { described(turns) };
            let expected = match starts.len() {
                0 => "there is nothing to forget".to_owned(),
                turns => format!("expected a whole number from 1 to {turns}, the turns of the conversation"),
            };
            ScriptError::argument(format!("the turns of agent:rewind are {given}; {expected}"))
        })?;
        conversation.truncate(*first);
        Ok(())
    }

    /// What a state of the conversation is made of: the model, and the prompt that it computes.
    fn state(&self, host: &Host) -> Result<(Kept, Prompt), ScriptError> {
        let (options, messages) = (&self.0.options, self.0.conversation.borrow().clone());
        if messages.is_empty() && options.system.is_none() {
            return Err(ScriptError::argument(
                "agent:save got the option `state`, and there is nothing to compute: the agent has neither instructions \
                 nor a conversation",
            ));
        }
        Ok((Kept::of(self, host), generation::conversation(messages, options)?))
    }

    /// Plans the next turn: a prompt, or a table of it and options of this turn alone.
    fn turn(&self, lua: &Lua, host: &Host, request: &Value) -> Result<(Planned, String), ScriptError> {
        let mut options = self.0.options.clone();
        let prompt = match request {
            Value::Table(_) => {
                options = EXECUTE.read(lua, request, options)?;
                options.prompt.take().ok_or_else(|| {
                    ScriptError::argument("agent:execute got no `prompt`; expected {prompt = \"...\"}")
                })?
            }
            Value::String(_) => options::prompt(request, "the agent")?,
            other => {
                return Err(ScriptError::argument(format!(
                    "the agent's prompt is {}; expected a string or {{prompt = \"...\"}}",
                    described(other)
                )));
            }
        };
        let mut messages = self.0.conversation.borrow().clone();
        messages.push(ChatMessage::user(prompt.as_str()));
        let conversation = generation::conversation(messages, &options)?;
        Ok((generation::plan(host, conversation, options), prompt))
    }

    fn commit(&self, prompt: String, answer: &Answer) {
        let mut conversation = self.0.conversation.borrow_mut();
        conversation.push(ChatMessage::user(prompt));
        let mut said = ChatMessage::assistant(answer.text.as_str());
        said.tool_calls.clone_from(&answer.tool_calls);
        conversation.push(said);
    }
}
