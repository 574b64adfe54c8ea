//! What the globals of one workspace share: the cell that is running, whether it is to stop, the
//! requests that wait, and how the interpreter thread sleeps and is woken.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use mlua::Lua;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::cell::{CellIo, Output};
use crate::display::Bars;
use crate::editor::completion;
use crate::editor::inspection;
use crate::editor::sources::Sources;
use crate::input::Input;
use crate::interrupt::{self, Stop};
use crate::leftovers::Leftovers;
use crate::text::Decoder;
use crate::workspace::{Complete, Execute, Inspect, REQUEST_QUEUE, Request, WorkspaceOptions};

/// Shared by everything on one interpreter thread.
pub(crate) struct Host {
    pub(crate) options: WorkspaceOptions,
    pub(crate) stop: RefCell<Option<Stop>>,
    pub(crate) leftovers: Leftovers,
    /// What the cells' functions were compiled from.
    pub(crate) sources: RefCell<Sources>,
    pub(crate) bars: Bars,
    /// Whether slow model calls show how far they are.
    pub(crate) live: Cell<bool>,
    running: RefCell<Option<Running>>,
    inbox: RefCell<Inbox>,
    parker: Arc<Parker>,
    waker: Waker,
    wake_owed: Cell<bool>,
    generations: Cell<u64>,
}

/// The cell whose code runs now.
struct Running {
    io: Arc<dyn CellIo>,
    cancel: CancellationToken,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Ends what the cell started and left behind.
    work: CancellationToken,
    stdout: Decoder,
    stderr: Decoder,
    input: Rc<RefCell<Input>>,
}

struct Inbox {
    requests: mpsc::Receiver<Request>,
    waiting: VecDeque<Execute>,
    closed: bool,
}

/// Which of the client's two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

impl Host {
    /// The host of the calling thread.
    pub(crate) fn new(options: WorkspaceOptions, requests: mpsc::Receiver<Request>) -> Host {
        // A script's output is its own.
        let live = options.script.is_none();
        let parker = Arc::new(Parker { thread: std::thread::current(), woken: AtomicBool::new(false) });
        Host {
            options,
            stop: RefCell::new(None),
            leftovers: Leftovers::default(),
            sources: RefCell::default(),
            bars: Bars::default(),
            live: Cell::new(live),
            running: RefCell::new(None),
            inbox: RefCell::new(Inbox { requests, waiting: VecDeque::new(), closed: false }),
            waker: Waker::from(Arc::clone(&parker)),
            parker,
            wake_owed: Cell::new(false),
            generations: Cell::new(0),
        }
    }

    /// Makes a cell the running one.
    pub(crate) fn begin(&self, io: Arc<dyn CellIo>, cancel: CancellationToken) {
        *self.stop.borrow_mut() = None;
        *self.running.borrow_mut() = Some(Running {
            io,
            cancelled: Box::pin(cancel.clone().cancelled_owned()),
            work: cancel.child_token(),
            cancel,
            stdout: Decoder::default(),
            stderr: Decoder::default(),
            input: Rc::default(),
        });
        self.watch();
    }

    /// Ends the running cell and what it started; says whether it was stopped.
    pub(crate) fn end(&self) -> Option<Stop> {
        self.work().cancel();
        self.leftovers.sweep();
        if let Some(mut running) = self.running.borrow_mut().take() {
            let rest = [Output::Stdout(running.stdout.finish()), Output::Stderr(running.stderr.finish())];
            for output in rest {
                if !matches!(&output, Output::Stdout(text) | Output::Stderr(text) if text.is_empty()) {
                    let _ = running.io.write(output);
                }
            }
        }
        self.stop.borrow_mut().take()
    }

    /// Has this thread woken once the running cell is cancelled.
    fn watch(&self) {
        if let Some(running) = self.running.borrow_mut().as_mut() {
            let _ = running.cancelled.as_mut().poll(&mut Context::from_waker(&self.waker));
        }
    }

    /// Whether the running cell was cancelled.
    pub(crate) fn cancelled(&self) -> bool {
        self.running.borrow().as_ref().is_some_and(|running| running.cancel.is_cancelled())
    }

    /// Cancelled when the running cell is interrupted or ends.
    pub(crate) fn work(&self) -> CancellationToken {
        match self.running.borrow().as_ref() {
            Some(running) => running.work.clone(),
            None => CancellationToken::new(),
        }
    }

    /// Where the running cell's output goes and its input comes from.
    pub(crate) fn io(&self) -> Option<Arc<dyn CellIo>> {
        self.running.borrow().as_ref().map(|running| Arc::clone(&running.io))
    }

    /// What the running cell has not yet read of its input.
    pub(crate) fn input(&self) -> Rc<RefCell<Input>> {
        match self.running.borrow().as_ref() {
            Some(running) => Rc::clone(&running.input),
            None => Rc::default(),
        }
    }

    /// Writes to one of the client's streams; blocks while the client has no room.
    pub(crate) fn write(&self, lua: &Lua, stream: Stream, bytes: &[u8]) -> mlua::Result<()> {
        let Some((io, text)) = self.running.borrow_mut().as_mut().map(|running| {
            let decoder = match stream {
                Stream::Stdout => &mut running.stdout,
                Stream::Stderr => &mut running.stderr,
            };
            (Arc::clone(&running.io), decoder.decode(bytes))
        }) else {
            return Ok(());
        };
        if text.is_empty() {
            return Ok(());
        }
        match io.write(stream.output(text)) {
            Ok(()) => Ok(()),
            Err(_) => Err(interrupt::stop(lua, self, Stop::interrupted())),
        }
    }

    /// Shows something that is no text of the client's two streams; blocks while the client has no room.
    pub(crate) fn show(&self, lua: &Lua, output: Output) -> mlua::Result<()> {
        match self.io().map(|io| io.write(output)) {
            Some(Err(_)) => Err(interrupt::stop(lua, self, Stop::interrupted())),
            Some(Ok(())) | None => Ok(()),
        }
    }

    /// Takes in what was asked meanwhile: an editor's questions are answered, cells wait for their turn.
    pub(crate) fn serve(&self, lua: &Lua) {
        self.bars.show_due();
        let mut context = Context::from_waker(&self.waker);
        loop {
            let request = {
                let mut inbox = self.inbox.borrow_mut();
                if inbox.closed || inbox.waiting.len() >= REQUEST_QUEUE {
                    return;
                }
                match inbox.requests.poll_recv(&mut context) {
                    Poll::Ready(Some(request)) => request,
                    Poll::Ready(None) => {
                        inbox.closed = true;
                        return;
                    }
                    Poll::Pending => return,
                }
            };
            match request {
                Request::Complete(Complete { code, cursor, models, reply }) => {
                    let _ = reply.send(completion::complete(lua, self, &code, cursor, &models));
                }
                Request::Inspect(Inspect { code, cursor, detail, reply }) => {
                    let _ = reply.send(inspection::inspect(lua, self, &code, cursor, detail));
                }
                Request::Execute(execute) => self.inbox.borrow_mut().waiting.push_back(execute),
            }
        }
    }

    /// The next cell to run.
    pub(crate) fn next(&self) -> Option<Execute> {
        self.inbox.borrow_mut().waiting.pop_front()
    }

    /// Whether every handle is gone.
    pub(crate) fn closed(&self) -> bool {
        self.inbox.borrow().closed
    }

    /// The waker that ends [`Host::park`].
    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Sleeps until something this thread polled can go on, or the running cell is cancelled.
    pub(crate) fn park(&self) {
        if !self.wake_owed.take() {
            self.parker.park();
        }
    }

    /// As [`Host::park`], beneath a call from Lua. The wake may have been meant for the
    /// interpreter's loop, which therefore looks around once before it sleeps.
    pub(crate) fn park_within(&self) {
        self.parker.park();
        self.wake_owed.set(true);
    }

    /// The number of the workspace's next generation, from 0.
    pub(crate) fn next_generation(&self) -> u64 {
        let number = self.generations.get();
        self.generations.set(number + 1);
        number
    }
}

impl Stream {
    /// `text` as output to this stream.
    pub(crate) fn output(self, text: String) -> Output {
        match self {
            Stream::Stdout => Output::Stdout(text),
            Stream::Stderr => Output::Stderr(text),
        }
    }
}

struct Parker {
    thread: Thread,
    woken: AtomicBool,
}

impl Parker {
    fn park(&self) {
        while !self.woken.swap(false, Ordering::AcqRel) {
            std::thread::park();
        }
    }
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}
