//! How far a cell is: its code, or a comm's handler, then its user expressions, each a coroutine of its own that is
//! resumed until it ends.

use std::collections::BTreeMap;
use std::mem;
use std::vec;

use mlua::{Function, IntoLua, Lua, LuaString, MultiValue, Table, Thread, Value};

use crate::cell::{ExpressionResult, Failure, Outcome, Output, Rich};
use crate::comm;
use crate::compile::{self, internal};
use crate::convert;
use crate::display::Shown;
use crate::editor::inspection;
use crate::host::{Host, Stream};
use crate::interrupt::Stop;
use crate::prelude;
use crate::run::{self, Run};
use crate::workspace::Task;

/// A cell's code, or a comm's message, and what came of it so far.
pub(crate) struct Progress {
    task: Task,
    /// The user expressions that have not been evaluated yet: name and code.
    left: vec::IntoIter<(String, String)>,
    /// The one that is being evaluated; `None`: the task itself is.
    expression: Option<(String, String)>,
    result: Option<Rich>,
    expressions: BTreeMap<String, ExpressionResult>,
    coroutine: Option<Coroutine>,
}

/// What runs now, and what it is given when it is resumed for the first time.
struct Coroutine {
    thread: Thread,
    arguments: MultiValue,
}

impl Progress {
    pub(crate) fn new(mut task: Task) -> Progress {
        let expressions = match &mut task {
            Task::Cell(cell) => mem::take(&mut cell.user_expressions),
            Task::Comm(_) => BTreeMap::new(),
        };
        let left = expressions.into_iter().collect::<Vec<_>>().into_iter();
        Progress { task, left, expression: None, result: None, expressions: BTreeMap::new(), coroutine: None }
    }

    /// What runs now.
    pub(crate) fn coroutine(&self) -> Option<Thread> {
        self.coroutine.as_ref().map(|coroutine| coroutine.thread.clone())
    }
}

/// Gives a cell its turn: until it ends, which yields its outcome, or has to wait, or the hook ends
/// the turn.
pub(crate) fn advance(lua: &Lua, host: &Host, run: &Run) -> Option<Outcome> {
    if run.progress.borrow().coroutine.is_none() {
        if run.is_cancelled() {
            return Some(Outcome::Error(interrupted(Vec::new())));
        }
        if let Some(outcome) = begin(lua, host, run) {
            return Some(outcome);
        }
    }
    loop {
        let ended = match resume(lua, host, run) {
            Ok(None) => return None,
            Ok(Some(results)) => ended(lua, results),
            Err(failure) => Err(failure),
        };
        match run.stop.take() {
            Some(Stop::Exit(code)) => return Some(Outcome::Exit(code)),
            Some(Stop::Interrupted { traceback }) => return Some(Outcome::Error(interrupted(traceback))),
            // It was in one call of a C function the whole time, and nobody shall believe that the interrupt was not heard.
            None if ended.is_ok() && run.is_cancelled() => return Some(Outcome::Error(interrupted(Vec::new()))),
            None => {}
        }
        let progress = &mut *run.progress.borrow_mut();
        progress.coroutine = None;
        match (progress.expression.take(), ended) {
            (None, Ok(result)) => progress.result = result,
            (None, Err(failure)) => return Some(Outcome::Error(failure)),
            (Some((name, _)), value) => {
                let value = value.map(|value| value.unwrap_or_else(|| Rich::plain("nil")));
                let result = value.map_or_else(ExpressionResult::Error, ExpressionResult::Ok);
                progress.expressions.insert(name, result);
            }
        }
        progress.expression = progress.left.next();
        if progress.expression.is_none() {
            let expressions = mem::take(&mut progress.expressions);
            return Some(Outcome::Ok { result: progress.result.take(), expressions });
        }
    }
}

/// Takes note of a cell that begins; its outcome if it is a question, which needs no Lua.
fn begin(lua: &Lua, host: &Host, run: &Run) -> Option<Outcome> {
    let progress = run.progress.borrow();
    let Task::Cell(cell) = &progress.task else { return None };
    host.sources.borrow_mut().remember(&cell.chunk_name, &cell.code);
    let (name, detail) = if cell.keep_locals { inspection::question(&cell.code)? } else { return None };
    let told = match inspection::page_of(lua, host, name, detail) {
        Some(page) => run.io.write(Output::Page(page)),
        None => run.write(Stream::Stderr, format!("{}\n", inspection::unknown(name)).as_bytes()),
    };
    Some(match told {
        Ok(()) => Outcome::Ok { result: None, expressions: BTreeMap::new() },
        Err(_) => Outcome::Error(interrupted(Vec::new())),
    })
}

/// Starts or resumes what is to run now; `None` if it has not ended.
fn resume(lua: &Lua, host: &Host, run: &Run) -> Result<Option<MultiValue>, Failure> {
    let under_way = run.progress.borrow_mut().coroutine.take();
    let Coroutine { thread, arguments } = match under_way {
        Some(coroutine) => coroutine,
        None => start(lua, host, &run.progress.borrow())?,
    };
    let begun = Coroutine { thread: thread.clone(), arguments: MultiValue::new() };
    run.progress.borrow_mut().coroutine = Some(begun);
    run::announce(lua, run).map_err(|error| internal(&error))?;
    match thread.resume::<MultiValue>(arguments.clone()) {
        Ok(_) if thread.is_resumable() => Ok(None),
        Ok(results) => Ok(Some(results)),
        // Beneath another cell's calls of C functions there may be no room left on Lua's C stack,
        // and nothing has happened: it is tried again at the next turn.
        Err(_) if thread.is_resumable() => {
            run.progress.borrow_mut().coroutine = Some(Coroutine { thread, arguments });
            run.bell.waker().wake();
            Ok(None)
        }
        Err(error) => Err(internal(&error)),
    }
}

fn start(lua: &Lua, host: &Host, progress: &Progress) -> Result<Coroutine, Failure> {
    let (chunk, arguments) = match (&progress.task, &progress.expression) {
        (Task::Cell(cell), None) => (compile::code(lua, cell)?, arguments(lua, host)),
        (Task::Cell(cell), Some((_, code))) => (compile::user_expression(lua, code, cell)?, arguments(lua, host)),
        (Task::Comm(message), _) => {
            let (handler, values) = comm::delivery(lua, message).map_err(|error| internal(&error))?;
            (handler, Ok(values))
        }
    };
    arguments.and_then(|arguments| coroutine(lua, chunk, arguments)).map_err(|error| internal(&error))
}

/// The `...` of a cell.
fn arguments(lua: &Lua, host: &Host) -> mlua::Result<MultiValue> {
    host.options.arguments.iter().map(|argument| argument.as_str().into_lua(lua)).collect()
}

fn coroutine(lua: &Lua, chunk: Function, mut arguments: MultiValue) -> mlua::Result<Coroutine> {
    let thread = lua.create_thread(prelude::function(lua, "run_cell")?)?;
    prelude::function(lua, "arm")?.call::<()>(&thread)?;
    arguments.push_front(Value::Function(chunk));
    Ok(Coroutine { thread, arguments })
}

/// What `run_cell` returned: true and the value in its representations, or false and a description of the failure.
fn ended(lua: &Lua, results: MultiValue) -> Result<Option<Rich>, Failure> {
    let mut results = results.into_iter();
    match (results.next(), results.next()) {
        (Some(Value::Boolean(true)), Some(Value::UserData(value))) => match value.borrow::<Shown>() {
            Ok(shown) => Ok(Some(shown.0.clone())),
            Err(error) => Err(internal(&error)),
        },
        (Some(Value::Boolean(true)), _) => Ok(None),
        (_, Some(Value::Table(failure))) => Err(described(lua, &failure).unwrap_or_else(|error| internal(&error))),
        (_, problem) => Err(Failure {
            name: "LuaError".to_owned(),
            message: match problem {
                Some(Value::String(text)) => text.to_string_lossy(),
                _ => "error in error handling".to_owned(),
            },
            ..Failure::default()
        }),
    }
}

fn described(lua: &Lua, failure: &Table) -> mlua::Result<Failure> {
    let details = convert::to_json(lua, &failure.raw_get("details")?, "details").unwrap_or_default();
    Ok(Failure {
        name: failure.raw_get("name")?,
        message: failure.raw_get::<LuaString>("message")?.to_string_lossy(),
        traceback: failure.raw_get::<Vec<LuaString>>("frames")?.iter().map(LuaString::to_string_lossy).collect(),
        kind: failure.raw_get::<Option<LuaString>>("kind")?.map(|kind| kind.to_string_lossy()),
        // A script may have changed what is in it.
        details: serde_json::from_value(details).unwrap_or_default(),
    })
}

fn interrupted(traceback: Vec<String>) -> Failure {
    Failure {
        name: "Interrupted".to_owned(),
        message: "interrupted".to_owned(),
        traceback,
        kind: Some("interrupted".to_owned()),
        ..Failure::default()
    }
}
