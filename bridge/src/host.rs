//! What the globals of one workspace share: the cells under way, the requests that wait, and how
//! the interpreter thread sleeps and is woken.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use mlua::Lua;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::cell::{CellIo, Output};
use crate::comm;
use crate::display::Bars;
use crate::editor::completion;
use crate::editor::inspection;
use crate::editor::sources::Sources;
use crate::input::Input;
use crate::interrupt::{self, Stop};
use crate::leftovers::Leftovers;
use crate::parker::Parker;
use crate::run::Run;
use crate::schedule::{self, Schedule};
use crate::workspace::{Complete, Execute, Inspect, REQUEST_QUEUE, Request, WorkspaceOptions};

/// Shared by everything on one interpreter thread.
pub(crate) struct Host {
    pub(crate) options: WorkspaceOptions,
    pub(crate) schedule: Schedule,
    pub(crate) leftovers: Leftovers,
    /// What the cells' functions were compiled from.
    pub(crate) sources: RefCell<Sources>,
    pub(crate) bars: Bars,
    /// Whether slow model calls show how far they are.
    pub(crate) live: Cell<bool>,
    inbox: RefCell<Inbox>,
    parker: Arc<Parker>,
    generations: Cell<u64>,
}

struct Inbox {
    requests: mpsc::Receiver<Request>,
    /// Cells whose shell is busy.
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
        Host {
            options,
            schedule: Schedule::new(),
            leftovers: Leftovers::default(),
            sources: RefCell::default(),
            bars: Bars::default(),
            live: Cell::new(live),
            inbox: RefCell::new(Inbox { requests, waiting: VecDeque::new(), closed: false }),
            parker: Parker::of_this_thread(),
            generations: Cell::new(0),
        }
    }

    /// Whether the running cell is to stop.
    pub(crate) fn is_due(&self) -> bool {
        self.schedule.running().is_some_and(|run| run.is_due())
    }

    /// Cancelled when the running cell is interrupted or ends.
    pub(crate) fn work(&self) -> CancellationToken {
        self.schedule.running().map_or_else(CancellationToken::new, |run| run.work.clone())
    }

    /// Where the running cell's output goes and its input comes from.
    pub(crate) fn io(&self) -> Option<Arc<dyn CellIo>> {
        self.schedule.running().map(|run| Arc::clone(&run.io))
    }

    /// What the running cell has not yet read of its input.
    pub(crate) fn input(&self) -> Rc<RefCell<Input>> {
        self.schedule.running().map_or_else(Rc::default, |run| Rc::clone(&run.input))
    }

    /// Writes to one of the client's streams; blocks while the client has no room.
    pub(crate) fn write(&self, lua: &Lua, stream: Stream, bytes: &[u8]) -> mlua::Result<()> {
        match self.schedule.running().map(|run| run.write(stream, bytes)) {
            Some(Err(_)) => Err(interrupt::stop(lua, self, Stop::interrupted())),
            Some(Ok(())) | None => Ok(()),
        }
    }

    /// Shows something that is no text of the client's two streams; blocks while the client has no room.
    pub(crate) fn show(&self, lua: &Lua, output: Output) -> mlua::Result<()> {
        match self.io().map(|io| io.write(output)) {
            Some(Err(_)) => Err(interrupt::stop(lua, self, Stop::interrupted())),
            Some(Ok(())) | None => Ok(()),
        }
    }

    /// Takes in what was asked meanwhile: an editor's questions and the like are answered, cells join those under way
    /// or wait for their shell.
    pub(crate) fn serve(&self, lua: &Lua) {
        self.bars.show_due();
        let waker = Waker::from(Arc::clone(&self.parker));
        let mut context = Context::from_waker(&waker);
        loop {
            let request = self.inbox.borrow_mut().poll(&mut context);
            let Some(request) = request else { break };
            match request {
                Request::Complete(Complete { code, cursor, models, reply }) => {
                    let _ = reply.send(completion::complete(lua, self, &code, cursor, &models));
                }
                Request::Inspect(Inspect { code, cursor, detail, reply }) => {
                    let _ = reply.send(inspection::inspect(lua, self, &code, cursor, detail));
                }
                Request::Comms(reply) => {
                    let _ = reply.send(comm::open(lua));
                }
                Request::Execute(execute) => self.inbox.borrow_mut().waiting.push_back(execute),
            }
        }
        self.admit();
    }

    /// Begins the cells whose shell is free.
    fn admit(&self) {
        let waiting = &mut self.inbox.borrow_mut().waiting;
        let mut position = 0;
        while let Some(execute) = waiting.get(position) {
            if self.schedule.is_busy(execute.shell) {
                position += 1;
            } else if let Some(execute) = waiting.remove(position) {
                self.schedule.admit(Run::new(execute, &self.parker));
            }
        }
    }

    /// Whether every handle is gone and every cell has ended.
    pub(crate) fn is_done(&self) -> bool {
        let inbox = self.inbox.borrow();
        inbox.closed && inbox.waiting.is_empty() && self.schedule.is_empty()
    }

    /// The waker of what the running cell waits for.
    pub(crate) fn waker(&self) -> Waker {
        match self.schedule.running() {
            Some(run) => run.bell.waker(),
            None => Waker::from(Arc::clone(&self.parker)),
        }
    }

    /// Sleeps until something asks or can go on.
    pub(crate) fn park(&self) {
        self.parker.park();
    }

    /// Waits beneath a call from Lua until the running cell can go on, while the others take turns.
    pub(crate) fn wait_within(&self, lua: &Lua) {
        let Some(run) = self.schedule.running() else { return };
        while !run.bell.has_rung() {
            self.serve(lua);
            if !schedule::turn(lua, self) {
                self.park();
            }
        }
        run.bell.hush();
    }

    /// The number of the workspace's next generation, from 0.
    pub(crate) fn next_generation(&self) -> u64 {
        let number = self.generations.get();
        self.generations.set(number + 1);
        number
    }
}

impl Inbox {
    fn poll(&mut self, context: &mut Context<'_>) -> Option<Request> {
        if self.closed || self.waiting.len() >= REQUEST_QUEUE {
            return None;
        }
        match self.requests.poll_recv(context) {
            Poll::Ready(request) => {
                self.closed = request.is_none();
                request
            }
            Poll::Pending => None,
        }
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
