//! A cell under way: who sent it, where its output goes, whether it is to stop, and how far it is.
//! Several may be under way at once, one for each shell; [`schedule`](crate::schedule) says whose
//! turn it is.

use std::cell::{Cell as Slot, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;

use mlua::{Lua, Table};
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::cell::{CellIo, Interrupted, Outcome};
use crate::host::Stream;
use crate::input::Input;
use crate::interrupt::Stop;
use crate::parker::{Bell, Parker};
use crate::prelude;
use crate::progress::Progress;
use crate::text::Decoder;
use crate::workspace::Execute;

/// A cell from its first turn to its reply.
pub(crate) struct Run {
    /// The shell that it came by.
    pub(crate) shell: u64,
    /// Where its output goes and its input comes from.
    pub(crate) io: Arc<dyn CellIo>,
    /// What has come of its input and was not read yet.
    pub(crate) input: Rc<RefCell<Input>>,
    /// Cancelled when it is interrupted or ends: whatever it started ends with it.
    pub(crate) work: CancellationToken,
    /// Why it is to stop, once that is known.
    pub(crate) stop: RefCell<Option<Stop>>,
    /// Rings when something it waits for can go on, and when it is interrupted.
    pub(crate) bell: Arc<Bell>,
    /// Its turn was over before it had to wait.
    pub(crate) sliced: Slot<bool>,
    pub(crate) progress: RefCell<Progress>,
    cancel: CancellationToken,
    cancelled: RefCell<Pin<Box<WaitForCancellationFutureOwned>>>,
    stdout: RefCell<Decoder>,
    stderr: RefCell<Decoder>,
    reply: RefCell<Option<oneshot::Sender<Outcome>>>,
}

impl Run {
    pub(crate) fn new(execute: Execute, parker: &Arc<Parker>) -> Rc<Run> {
        let Execute { shell, task, io, cancel, reply } = execute;
        let run = Run {
            shell,
            io,
            input: Rc::default(),
            work: cancel.child_token(),
            stop: RefCell::default(),
            bell: Bell::new(parker),
            sliced: Slot::new(false),
            progress: RefCell::new(Progress::new(task)),
            cancelled: RefCell::new(Box::pin(cancel.clone().cancelled_owned())),
            cancel,
            stdout: RefCell::default(),
            stderr: RefCell::default(),
            reply: RefCell::new(Some(reply)),
        };
        let _ = run.cancelled.borrow_mut().as_mut().poll(&mut Context::from_waker(&run.bell.waker()));
        Rc::new(run)
    }

    /// Whether a turn would get it any further.
    pub(crate) fn is_ready(&self) -> bool {
        self.sliced.get() || self.bell.has_rung()
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// Whether it may not go on.
    pub(crate) fn is_due(&self) -> bool {
        self.stop.borrow().is_some() || self.is_cancelled()
    }

    /// Writes to one of the client's streams; blocks while the client has no room.
    pub(crate) fn write(&self, stream: Stream, bytes: &[u8]) -> Result<(), Interrupted> {
        let text = self.decoder(stream).borrow_mut().decode(bytes);
        if text.is_empty() { Ok(()) } else { self.io.write(stream.output(text)) }
    }

    fn decoder(&self, stream: Stream) -> &RefCell<Decoder> {
        match stream {
            Stream::Stdout => &self.stdout,
            Stream::Stderr => &self.stderr,
        }
    }

    /// Hands over the rest of its output and answers.
    pub(crate) fn end(&self, outcome: Outcome) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let rest = self.decoder(stream).borrow_mut().finish();
            if !rest.is_empty() {
                let _ = self.io.write(stream.output(rest));
            }
        }
        if let Some(reply) = self.reply.take() {
            let _ = reply.send(outcome);
        }
    }
}

/// Tells the prelude whose turn it is: whether that cell is being stopped, and its coroutine.
pub(crate) fn announce(lua: &Lua, run: &Run) -> mlua::Result<()> {
    let signals: Table = prelude::table(lua)?.raw_get("signals")?;
    let stopped = run.stop.borrow().is_some();
    signals.raw_set("stopped", stopped)?;
    signals.raw_set("attention", stopped)?;
    signals.raw_set("sliced", false)?;
    let coroutine = run.progress.borrow().coroutine();
    signals.raw_set("cell", coroutine)
}
