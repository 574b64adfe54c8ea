//! One generation for a script: which model, with which seed, and its answer as a whole or in
//! pieces. It ends with the cell that started it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt;
use mlua::{Lua, Table, Variadic};
use perilune_providers::{
    BudgetWarning, ChatMessage, Event, EventStream, FinishReason, ModelSpecifier, Prompt, Registry, RouteAction,
    RouteDecision, RoutedRequest, TokenLogprobs, ToolCall, Usage,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::cell::{CellIo, Output};
use crate::convert;
use crate::host::Host;
use crate::leftovers::Leftover;
use crate::live::Live;
use crate::options::Options;
use crate::script_error::ScriptError;

/// A generation that has yet to start.
pub(crate) struct Planned {
    registry: Arc<Registry>,
    request: RoutedRequest,
    cancel: CancellationToken,
    io: Option<Arc<dyn CellIo>>,
    live: Live,
}

/// A generation under way; dropping it cancels it.
pub(crate) struct Generation {
    // Dropped before the line says that the call ended.
    events: EventStream,
    io: Option<Arc<dyn CellIo>>,
    live: Live,
    answer: Answer,
    started: Instant,
    cancel: CancellationToken,
    _cancel_on_drop: DropGuard,
}

/// What a stream says next.
enum Piece {
    Text(String),
    Thinking(String),
}

/// What a model answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) text: String,
    thinking: String,
    pub(crate) tool_calls: Vec<ToolCall>,
    logprobs: Vec<TokenLogprobs>,
    usage: Usage,
    finish_reason: FinishReason,
    model: String,
    route: Vec<RouteDecision>,
    duration_ms: u64,
}

/// Plans a generation of the running cell and gives it its seed.
pub(crate) fn plan(host: &Host, prompt: Prompt, options: Options) -> Planned {
    let mut generate = options.generate;
    if generate.sampling.seed.is_none() {
        let number = host.next_generation();
        generate.sampling.seed = host.options.seed.map(|seed| seed.wrapping_add(number));
    }
    let request = RoutedRequest {
        models: options.model.or_else(|| host.options.model.get()),
        session: host.options.session.clone(),
        prompt,
        options: generate,
        fallback_after_text: options.fallback_after_text,
        tally: Some(Arc::clone(&host.options.tally)),
        lent: false,
    };
    Planned {
        registry: Arc::clone(&host.options.registry),
        request,
        cancel: host.work().child_token(),
        io: host.io(),
        live: Live::new(host),
    }
}

/// The prompt of a conversation with the instructions of `options` in front.
pub(crate) fn conversation(mut messages: Vec<ChatMessage>, options: &Options) -> Result<Prompt, ScriptError> {
    if let Some(system) = &options.system {
        if messages.first().is_some_and(|first| first.role == perilune_providers::Role::System) {
            return Err(ScriptError::argument(
                "the option `system` is given and the messages start with a system message; give one of them",
            ));
        }
        messages.insert(0, ChatMessage::system(system.as_str()));
    }
    Ok(Prompt::Chat { messages, tools: options.tools.clone() })
}

impl Planned {
    /// Starts; the model is asked for with the first piece.
    pub(crate) fn start(self) -> Generation {
        let cancel_on_drop = self.cancel.clone().drop_guard();
        Generation {
            events: self.registry.generate(self.request, self.cancel.clone()),
            io: self.io,
            live: self.live,
            answer: Answer::default(),
            started: Instant::now(),
            cancel: self.cancel,
            _cancel_on_drop: cancel_on_drop,
        }
    }

    /// The whole answer.
    pub(crate) async fn answer(self) -> Result<Answer, ScriptError> {
        let mut generation = self.start();
        while generation.next().await?.is_some() {}
        Ok(generation.answer)
    }
}

impl Generation {
    /// The next piece; `None` once the answer is whole.
    async fn next(&mut self) -> Result<Option<Piece>, ScriptError> {
        // Pieces may still be on their way from before it was cancelled.
        while !self.cancel.is_cancelled()
            && let Some(event) = self.live.during(self.events.next()).await
        {
            let event = event.inspect_err(|_| self.live.failed())?;
            self.live.heard(&event);
            match event {
                Event::Loading | Event::Dropped(_) | Event::Queued { .. } | Event::Prefill(_) => {}
                Event::Route(decision) => self.decided(decision),
                Event::Budget(warning) => warn(self.io.as_ref(), &warning),
                Event::Text(text) => {
                    self.answer.text.push_str(&text);
                    return Ok(Some(Piece::Text(text)));
                }
                Event::Thinking(text) => {
                    self.answer.thinking.push_str(&text);
                    return Ok(Some(Piece::Thinking(text)));
                }
                Event::Logprobs(logprobs) => self.answer.logprobs.push(logprobs),
                Event::ToolCall(call) => self.answer.tool_calls.push(call),
                Event::Usage(usage) => self.answer.usage = usage,
                Event::Done(FinishReason::Cancelled) => return Err(cancelled()),
                Event::Done(reason) => {
                    self.live.answered(self.answer.usage);
                    self.answer.finish_reason = reason;
                    self.answer.duration_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
                    return Ok(None);
                }
            }
        }
        Err(cancelled())
    }

    /// Takes note of what was decided; an answer that was begun elsewhere is no part of this one.
    fn decided(&mut self, decision: RouteDecision) {
        if is_choice(&decision) {
            let route = std::mem::take(&mut self.answer.route);
            self.answer = Answer { model: decision.model.clone(), route, ..Answer::default() };
        }
        tell_decision(self.io.as_ref(), &mut self.live, decision.clone());
        self.answer.route.push(decision);
    }
}

/// Whether a decision of this kernel's says which model answers.
fn is_choice(decision: &RouteDecision) -> bool {
    decision.action == RouteAction::Chosen && decision.by.is_none()
}

/// Shows a decision to whoever follows them, and the model on the live line.
pub(crate) fn tell_decision(io: Option<&Arc<dyn CellIo>>, live: &mut Live, decision: RouteDecision) {
    if is_choice(&decision) {
        let model = decision.model.parse::<ModelSpecifier>();
        live.model(model.as_ref().map_or(decision.model.as_str(), ModelSpecifier::model));
    }
    show(io, Output::Route(decision));
}

/// Warns that a budget is nearly spent.
pub(crate) fn warn(io: Option<&Arc<dyn CellIo>>, warning: &BudgetWarning) {
    show(io, Output::Stderr(format!("warning: {}\n", warning.message)));
}

fn show(io: Option<&Arc<dyn CellIo>>, output: Output) {
    // A cell that is to stop learns of it where it waits; here nothing can be done about it.
    let _ = io.map(|io| io.write(output));
}

pub(crate) fn cancelled() -> ScriptError {
    let message = "the request was cancelled; a stream ends with the cell that started it";
    ScriptError::new(perilune_providers::ErrorKind::Cancelled.as_str(), message)
}

impl Default for Answer {
    /// Nothing was said yet.
    fn default() -> Answer {
        Answer {
            text: String::new(),
            thinking: String::new(),
            tool_calls: Vec::new(),
            logprobs: Vec::new(),
            usage: Usage::default(),
            finish_reason: FinishReason::Stop,
            model: String::new(),
            route: Vec::new(),
            duration_ms: 0,
        }
    }
}

impl Answer {
    /// `{text, usage, finish_reason, model, route, duration_ms, tool_calls}`, with `thinking` and `logprobs` where there are any.
    pub(crate) fn into_table(self, lua: &Lua) -> mlua::Result<Table> {
        let table = lua.create_table()?;
        table.raw_set("text", self.text)?;
        if !self.thinking.is_empty() {
            table.raw_set("thinking", self.thinking)?;
        }
        if !self.logprobs.is_empty() {
            table.raw_set("logprobs", serde(lua, &self.logprobs)?)?;
        }
        let usage = serde(lua, &self.usage)?;
        if let mlua::Value::Table(usage) = &usage {
            usage.raw_set("total_tokens", self.usage.prompt_tokens.saturating_add(self.usage.completion_tokens))?;
        }
        table.raw_set("usage", usage)?;
        table.raw_set("finish_reason", serde(lua, &self.finish_reason)?)?;
        table.raw_set("model", self.model)?;
        table.raw_set("route", serde(lua, &self.route)?)?;
        table.raw_set("duration_ms", self.duration_ms)?;
        table.raw_set("tool_calls", serde(lua, &self.tool_calls)?)?;
        Ok(table)
    }
}

impl mlua::IntoLua for Answer {
    fn into_lua(self, lua: &Lua) -> mlua::Result<mlua::Value> {
        self.into_table(lua).map(mlua::Value::Table)
    }
}

/// A serialisable value as a Lua value.
pub(crate) fn serde(lua: &Lua, value: &impl serde::Serialize) -> mlua::Result<mlua::Value> {
    convert::to_lua(lua, &serde_json::to_value(value).map_err(mlua::Error::external)?)
}

/// An answer that a script reads piece by piece.
#[derive(Clone)]
pub(crate) struct Reading {
    state: Rc<RefCell<State>>,
    /// Told the whole answer.
    whole: Rc<RefCell<Option<Listener>>>,
}

type Listener = Box<dyn FnOnce(&Answer)>;

enum State {
    Planned(Planned),
    Running(Generation),
    /// Another coroutine waits for its next piece, or the wait was cut short.
    Taken,
    Ended,
    /// The cell that started it ended before the answer did.
    Left,
}

impl mlua::UserData for Reading {}

impl Leftover for RefCell<State> {
    fn abandon(&self) {
        if !matches!(*self.borrow(), State::Ended) {
            drop(self.replace(State::Left));
        }
    }

    fn is_over(&self) -> bool {
        matches!(*self.borrow(), State::Ended | State::Left)
    }
}

impl Reading {
    /// Nothing happens until the first piece is asked for. `whole` is told the answer if all of it
    /// is read.
    pub(crate) fn new(host: &Host, planned: Planned, whole: impl FnOnce(&Answer) + 'static) -> Reading {
        let state = Rc::new(RefCell::new(State::Planned(planned)));
        host.leftovers.add(host.work(), Rc::downgrade(&state));
        Reading { state, whole: Rc::new(RefCell::new(Some(Box::new(whole)))) }
    }

    /// The next piece: text, or no text and then what the model thinks; no value at the end.
    pub(crate) async fn next(self) -> Result<Variadic<String>, ScriptError> {
        let mut generation = match self.state.replace(State::Taken) {
            State::Planned(planned) => planned.start(),
            State::Running(generation) => generation,
            State::Ended => {
                self.state.replace(State::Ended);
                return Ok(Variadic::new());
            }
            State::Left => {
                self.state.replace(State::Left);
                return Err(cancelled());
            }
            State::Taken => {
                return Err(ScriptError::argument(
                    "this stream is over: reading it failed, or another coroutine reads it",
                ));
            }
        };
        let piece = generation.next().await?;
        generation.live.delivers();
        if let Some(piece) = piece {
            self.state.replace(State::Running(generation));
            return Ok(match piece {
                Piece::Text(text) => Variadic::from_iter([text]),
                Piece::Thinking(thinking) => Variadic::from_iter([String::new(), thinking]),
            });
        }
        self.state.replace(State::Ended);
        if let Some(whole) = self.whole.take() {
            whole(&generation.answer);
        }
        Ok(Variadic::new())
    }

    /// Ends it at once; what was not read is not generated.
    pub(crate) fn close(&self) {
        self.state.replace(State::Ended);
    }
}
