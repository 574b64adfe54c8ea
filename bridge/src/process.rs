//! os.execute and os.exit. A command's output reaches the client as it comes; an interrupt ends
//! the command and everything it started.

use std::process::{ExitStatus, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use mlua::{Lua, Value, Variadic};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use crate::cell::CellIo;
use crate::host::{Host, Stream};
use crate::interrupt::{self, Stop};
use crate::operation;
use crate::prelude;
use crate::script_error::ScriptError;
use crate::text::Decoder;

/// How long an interrupted command may take to end by itself before it is killed.
const GRACE: Duration = Duration::from_millis(500);
/// How long output may stay away, once the shell has ended, before what it left running in the
/// background is no longer waited for.
const QUIET: Duration = Duration::from_millis(50);
/// Pieces of output on their way.
const PIECES: usize = 16;
/// Bytes of one piece.
const PIECE: usize = 8 * 1024;

/// Adds `execute` and `exit` to the prelude.
pub(crate) fn register(lua: &Lua, host: &Rc<Host>) -> mlua::Result<()> {
    let table = prelude::table(lua)?;
    let shared = Rc::clone(host);
    let execute = operation::starter(lua, host, move |_, command: mlua::LuaString| {
        let io = shared.io().ok_or_else(ScriptError::interrupted)?;
        let command = command.as_bytes().to_vec();
        Ok(async move { Ok(ended(execute(command, io).await?)) })
    })?;
    table.set("execute", execute)?;
    let shared = Rc::clone(host);
    let exit = lua.create_function(move |lua, code: i64| -> mlua::Result<()> {
        // As the operating system does: the low 32 bits.
        Err(interrupt::stop(lua, &shared, Stop::Exit(code as i32)))
    })?;
    table.set("exit", exit)
}

/// Runs a command with `sh`, as Lua's `os.execute` does.
async fn execute(command: Vec<u8>, io: Arc<dyn CellIo>) -> Result<Option<ExitStatus>, ScriptError> {
    let command = <std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(command);
    let spawned = Command::new("sh")
        .arg("-c")
        .arg(command)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn();
    let mut child = spawned.map_err(|error| ScriptError::new("internal", format!("cannot run `sh`: {error}")))?;
    let (pieces, mut received) = mpsc::channel(PIECES);
    if let Some(stdout) = child.stdout.take() {
        tokio::spawn(forward(stdout, Stream::Stdout, pieces.clone()));
    }
    if let Some(stderr) = child.stderr.take() {
        tokio::spawn(forward(stderr, Stream::Stderr, pieces.clone()));
    }
    drop(pieces);
    let mut group = Group(Some(child));
    let mut decoders = [Decoder::default(), Decoder::default()];
    let mut write = |(stream, bytes): (Stream, Vec<u8>)| {
        let text = decoders[stream as usize].decode(&bytes);
        match text.is_empty() {
            true => Ok(()),
            false => io.write(stream.output(text)).map_err(|_| ScriptError::interrupted()),
        }
    };
    let status = loop {
        tokio::select! {
            biased;
            Some(piece) = received.recv() => write(piece)?,
            status = group.wait() => break status,
        }
    };
    while let Ok(Some(piece)) = tokio::time::timeout(QUIET, received.recv()).await {
        write(piece)?;
    }
    Ok(status)
}

/// Sends on what a pipe brings. Goes on reading when nobody listens any more, so that what runs in
/// the background is not ended by a broken pipe.
async fn forward(mut pipe: impl AsyncRead + Unpin, stream: Stream, pieces: mpsc::Sender<(Stream, Vec<u8>)>) {
    let mut buffer = vec![0; PIECE];
    while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
        let _ = pieces.send((stream, buffer[..count].to_vec())).await;
    }
}

/// The processes of a command; those still running when it is dropped are ended.
struct Group(Option<Child>);

impl Group {
    async fn wait(&mut self) -> Option<ExitStatus> {
        let status = match &mut self.0 {
            Some(child) => child.wait().await.ok(),
            None => None,
        };
        self.0 = None;
        status
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let Some(mut child) = self.0.take() else {
            return;
        };
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let Some(group) = group else { return };
        let _ = kill_process_group(group, Signal::TERM);
        tokio::spawn(async move {
            let _ = tokio::time::timeout(GRACE, child.wait()).await;
            let _ = kill_process_group(group, Signal::KILL);
            let _ = child.wait().await;
        });
    }
}

/// What `os.execute` returns: true or nil, how it ended, and the code.
fn ended(status: Option<ExitStatus>) -> Variadic<Ended> {
    use std::os::unix::process::ExitStatusExt;
    let (how, code) = match status.map(|status| (status.code(), status.signal())) {
        Some((Some(code), _)) => ("exit", code),
        Some((None, Some(signal))) => ("signal", signal),
        _ => ("exit", -1),
    };
    Variadic::from_iter([Ended::Success(how == "exit" && code == 0), Ended::How(how), Ended::Code(code)])
}

enum Ended {
    Success(bool),
    How(&'static str),
    Code(i32),
}

impl mlua::IntoLua for Ended {
    fn into_lua(self, lua: &Lua) -> mlua::Result<Value> {
        match self {
            Ended::Success(true) => Ok(Value::Boolean(true)),
            Ended::Success(false) => Ok(Value::Nil),
            Ended::How(how) => how.into_lua(lua),
            Ended::Code(code) => code.into_lua(lua),
        }
    }
}
