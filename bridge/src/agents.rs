//! The global `Agent`: a model with instructions, options and a conversation that it keeps.
//!
//! A turn joins the conversation once its answer is whole. One that failed, was interrupted, or
//! whose stream was left early leaves the conversation as it was.

use std::cell::RefCell;
use std::rc::Rc;

use mlua::{Lua, UserData, UserDataRef, Value};
use perilune_providers::ChatMessage;

use crate::convert::described;
use crate::generation::{self, Answer, Planned, Reading, serde};
use crate::host::Host;
use crate::operation::{immediate, starter};
use crate::options::{self, Accepted, Options};
use crate::prelude;
use crate::script_error::ScriptError;

const CREATE: Accepted = Accepted { function: "Agent.create" };
const EXECUTE: Accepted = Accepted { function: "agent:execute" };

#[derive(Clone)]
struct Agent(Rc<State>);

struct State {
    options: Options,
    conversation: RefCell<Vec<ChatMessage>>,
}

impl UserData for Agent {}

/// Adds the global.
pub(crate) fn register(lua: &Lua, host: &Rc<Host>) -> mlua::Result<()> {
    let table = prelude::table(lua)?;
    table.set(
        "create_agent",
        immediate(lua, host, |_, options: Value| {
            let options = CREATE.read(&options, Options::default())?;
            Ok(Agent(Rc::new(State { options, conversation: RefCell::default() })))
        })?,
    )?;
    let shared = Rc::clone(host);
    table.set(
        "execute_agent",
        starter(lua, host, move |_, (agent, request): (UserDataRef<Agent>, Value)| {
            let (planned, prompt) = agent.turn(&shared, &request)?;
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
        immediate(lua, host, move |_, (agent, request): (UserDataRef<Agent>, Value)| {
            let (planned, prompt) = agent.turn(&shared, &request)?;
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
    let shared = Rc::clone(host);
    table.set(
        "agent_model",
        lua.create_function(move |_, agent: UserDataRef<Agent>| {
            let options = &shared.options;
            let model = agent.0.options.model.clone().or_else(|| options.model.get());
            Ok(model.as_ref().unwrap_or(options.registry.default_model()).to_string())
        })?,
    )?;
    prelude::load(lua, include_str!("lua/agents.lua"))
}

impl Agent {
    /// Plans the next turn: a prompt, or a table of it and options of this turn alone.
    fn turn(&self, host: &Host, request: &Value) -> Result<(Planned, String), ScriptError> {
        let mut options = self.0.options.clone();
        let prompt = match request {
            Value::Table(_) => {
                options = EXECUTE.read(request, options)?;
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
