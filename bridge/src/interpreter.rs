//! The interpreter thread: owns a workspace's Lua state, runs its cells one after another, each as
//! a coroutine, and sleeps while a cell waits.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::mpsc::SyncSender;

use mlua::chunk::ChunkMode;
use mlua::{Function, IntoLua, Lua, LuaOptions, LuaString, MultiValue, StdLib, Table, Thread, Value};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::cell::{Cell, ExpressionResult, Failure, Outcome, Output, Rich};
use crate::display::Shown;
use crate::editor::inspection::{self, Detail};
use crate::host::{Host, Stream};
use crate::interrupt::{self, Stop};
use crate::locals;
use crate::prelude;
use crate::workspace::{Execute, Request, WorkspaceOptions};

/// Runs a workspace until its last handle is gone. Says on `ready` whether it came up.
pub(crate) fn run(
    options: WorkspaceOptions,
    runtime: Handle,
    requests: mpsc::Receiver<Request>,
    ready: &SyncSender<Result<(), String>>,
) {
    let _entered = runtime.enter();
    let host = Rc::new(Host::new(options, requests));
    let interpreter = match Interpreter::new(Rc::clone(&host)) {
        Ok(interpreter) => interpreter,
        Err(error) => {
            let _ = ready.send(Err(error.to_string()));
            return;
        }
    };
    let _ = ready.send(Ok(()));
    loop {
        host.serve(&interpreter.lua);
        match host.next() {
            Some(Execute { cell, io, cancel, reply }) => {
                host.begin(io, cancel);
                let _ = reply.send(interpreter.execute(&cell));
            }
            None if host.closed() => return,
            None => host.park(),
        }
    }
}

struct Interpreter {
    lua: Lua,
    host: Rc<Host>,
    /// name -> { closure, index, constant }: what the prelude keeps of earlier cells.
    kept: Table,
    run_cell: Function,
}

impl Interpreter {
    fn new(host: Rc<Host>) -> mlua::Result<Interpreter> {
        // SAFETY: mlua calls a state unsafe once `debug` or C modules are in it. The prelude takes
        // both away from scripts: it keeps the functions it needs (`getinfo` for tracebacks,
        // `upvaluejoin` for kept locals) and leaves of `debug` what cannot reach mlua's own
        // functions, userdata and registry; there is no searcher for C modules and no `loadlib`.
        let lua = unsafe { Lua::unsafe_new_with(StdLib::ALL, LuaOptions::default()) };
        prelude::register(&lua, &host)?;
        let table = prelude::table(&lua)?;
        let globals = lua.globals();
        if let Some(script) = &host.options.script {
            let arguments = lua.create_sequence_from(host.options.arguments.iter().map(String::as_str))?;
            arguments.raw_set(0, script.as_str())?;
            globals.raw_set("arg", arguments)?;
        }
        Ok(Interpreter { kept: table.get("kept")?, run_cell: table.get("run_cell")?, host, lua })
    }

    fn execute(&self, cell: &Cell) -> Outcome {
        self.host.sources.borrow_mut().remember(&cell.chunk_name, &cell.code);
        if self.host.cancelled() {
            self.host.end();
            return Outcome::Error(interrupted(Vec::new()));
        }
        if cell.keep_locals
            && let Some((name, detail)) = inspection::question(&cell.code)
        {
            return self.answer(name, detail);
        }
        let outcome = self
            .compile(cell)
            .and_then(|chunk| self.run_chunk(chunk))
            .and_then(|result| Ok((result, self.expressions(cell)?)));
        let stopped = self.host.end();
        if stopped.is_some()
            && let Err(error) = interrupt::clear(&self.lua)
        {
            return Outcome::Error(internal(&error));
        }
        match (stopped, outcome) {
            (Some(Stop::Exit(code)), _) => Outcome::Exit(code),
            (Some(Stop::Interrupted { traceback }), _) => Outcome::Error(interrupted(traceback)),
            (None, Ok((result, expressions))) => Outcome::Ok { result, expressions },
            (None, Err(failure)) => Outcome::Error(failure),
        }
    }

    /// Shows what is known of a name in the frontend's pager.
    fn answer(&self, name: &str, detail: Detail) -> Outcome {
        let told = match inspection::page_of(&self.lua, &self.host, name, detail) {
            Some(page) => self.host.show(&self.lua, Output::Page(page)),
            None => {
                let unknown = format!("{}\n", inspection::unknown(name));
                self.host.write(&self.lua, Stream::Stderr, unknown.as_bytes())
            }
        };
        match (self.host.end(), told) {
            (None, Ok(())) => Outcome::Ok { result: None, expressions: BTreeMap::new() },
            _ => Outcome::Error(interrupted(Vec::new())),
        }
    }

    /// The values of the cell's user expressions. A stop ends them all.
    fn expressions(&self, cell: &Cell) -> Result<BTreeMap<String, ExpressionResult>, Failure> {
        let mut results = BTreeMap::new();
        for (name, code) in &cell.user_expressions {
            let chunk = match self.compile_expression(code, cell) {
                Some(chunk) => chunk,
                None => self.load(&format!("return {code}"), &cell.chunk_name),
            };
            let text = chunk.and_then(|chunk| self.run_chunk(chunk));
            let result = match text {
                Ok(text) => ExpressionResult::Ok(text.unwrap_or_else(|| Rich::plain("nil"))),
                Err(failure) if self.host.stop.borrow().is_some() => return Err(failure),
                Err(failure) => ExpressionResult::Error(failure),
            };
            results.insert(name.clone(), result);
        }
        Ok(results)
    }

    /// The cell's code as a function: an expression if it can be one, else statements.
    fn compile(&self, cell: &Cell) -> Result<Function, Failure> {
        let code = script_text(&cell.code);
        match self.compile_expression(code, cell) {
            Some(chunk) => chunk,
            None => self.compile_statements(code, cell),
        }
    }

    /// `None` if the code is no list of expressions.
    fn compile_expression(&self, code: &str, cell: &Cell) -> Option<Result<Function, Failure>> {
        let returned = format!("return {code}");
        let chunk = self.load(&returned, &cell.chunk_name).ok()?;
        Some(match locals::wrap_expression(code, &self.kept_names(cell)) {
            Some(source) => self.load_wrapped(&source, cell, "results"),
            None => Ok(chunk),
        })
    }

    fn compile_statements(&self, code: &str, cell: &Cell) -> Result<Function, Failure> {
        let chunk = self.load(code, &cell.chunk_name)?;
        if !cell.keep_locals {
            return Ok(chunk);
        }
        match locals::wrap(code, &self.kept_names(cell)) {
            Some(source) => self.load_wrapped(&source, cell, "keep"),
            None => Ok(chunk),
        }
    }

    /// The function of a cell whose source [`locals`] wrote; `given` is the function of the
    /// prelude that it calls.
    fn load_wrapped(&self, source: &str, cell: &Cell, given: &str) -> Result<Function, Failure> {
        let wrapped = self.load(source, &cell.chunk_name).map_err(|mut failure| {
            // Lua's own words for a limit on upvalues, locals or registers.
            if failure.message.contains("too many") {
                failure.message.push_str("; the cell names too many locals of earlier cells: make some of them global");
            }
            failure
        })?;
        let join = || {
            let chunk: Function = wrapped.call(prelude::function(&self.lua, given)?)?;
            prelude::function(&self.lua, "join")?.call(chunk)
        };
        join().map_err(|error: mlua::Error| internal(&error))
    }

    fn load(&self, code: &str, chunk_name: &str) -> Result<Function, Failure> {
        self.lua.load(code).set_name(chunk_name).set_mode(ChunkMode::Text).into_function().map_err(
            |error| match error {
                mlua::Error::SyntaxError { message, .. } => {
                    Failure { name: "SyntaxError".to_owned(), message, traceback: Vec::new(), kind: None }
                }
                error => internal(&error),
            },
        )
    }

    /// The locals of earlier cells that the cell may see, and whether each is constant.
    fn kept_names(&self, cell: &Cell) -> BTreeMap<String, bool> {
        if !cell.keep_locals {
            return BTreeMap::new();
        }
        self.kept
            .pairs::<String, Table>()
            .filter_map(|pair| {
                let (name, variable) = pair.ok()?;
                Some((name, variable.raw_get(3).ok()?))
            })
            .collect()
    }

    /// Runs a chunk as a coroutine to its end; what it returned.
    fn run_chunk(&self, chunk: Function) -> Result<Option<Rich>, Failure> {
        let results = self.drive(chunk).map_err(|error| internal(&error))?;
        let mut results = results.into_iter();
        match (results.next(), results.next()) {
            (Some(Value::Boolean(true)), Some(Value::UserData(value))) => match value.borrow::<Shown>() {
                Ok(shown) => Ok(Some(shown.0.clone())),
                Err(error) => Err(internal(&error)),
            },
            (Some(Value::Boolean(true)), _) => Ok(None),
            (_, Some(Value::Table(failure))) => Err(described(&failure).unwrap_or_else(|error| internal(&error))),
            (_, problem) => Err(Failure {
                name: "LuaError".to_owned(),
                message: match problem {
                    Some(Value::String(text)) => text.to_string_lossy(),
                    _ => "error in error handling".to_owned(),
                },
                traceback: Vec::new(),
                kind: None,
            }),
        }
    }

    /// Resumes a chunk's coroutine until it is done, sleeping while it waits.
    fn drive(&self, chunk: Function) -> mlua::Result<MultiValue> {
        let coroutine = self.lua.create_thread(self.run_cell.clone())?;
        let coroutine: Thread = prelude::function(&self.lua, "arm")?.call(coroutine)?;
        let arguments = &self.host.options.arguments;
        let mut values = MultiValue::with_capacity(arguments.len() + 1);
        values.push_back(Value::Function(chunk));
        for argument in arguments {
            values.push_back(argument.as_str().into_lua(&self.lua)?);
        }
        loop {
            let results: MultiValue = coroutine.resume(std::mem::take(&mut values))?;
            if !coroutine.is_resumable() {
                return Ok(results);
            }
            self.host.park();
            self.host.serve(&self.lua);
        }
    }
}

/// Code without what no compiler reads at the start of a file: a byte order mark and a `#!` line.
/// Lua's own interpreter skips every first line that starts with `#`; in a cell, `#t` is a length.
fn script_text(code: &str) -> &str {
    let code = code.strip_prefix('\u{feff}').unwrap_or(code);
    if !code.starts_with("#!") {
        return code;
    }
    code.find('\n').map_or("", |end| &code[end..])
}

fn described(failure: &Table) -> mlua::Result<Failure> {
    Ok(Failure {
        name: failure.raw_get("name")?,
        message: failure.raw_get::<LuaString>("message")?.to_string_lossy(),
        traceback: failure.raw_get::<Vec<LuaString>>("frames")?.iter().map(LuaString::to_string_lossy).collect(),
        kind: failure.raw_get::<Option<LuaString>>("kind")?.map(|kind| kind.to_string_lossy()),
    })
}

fn interrupted(traceback: Vec<String>) -> Failure {
    Failure {
        name: "Interrupted".to_owned(),
        message: "interrupted".to_owned(),
        traceback,
        kind: Some("interrupted".to_owned()),
    }
}

/// A failure of the interpreter itself, or one that left Lua no room to describe it.
fn internal(error: &mlua::Error) -> Failure {
    Failure { name: "LuaError".to_owned(), message: error.to_string(), traceback: Vec::new(), kind: None }
}
