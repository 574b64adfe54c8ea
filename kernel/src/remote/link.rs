//! The handles to one instance's connection, which all of its requests share; the task behind them is in `line`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use perilune_protocol::{ModelEvent, ModelReply, ModelRequest};
use perilune_providers::{Error, ErrorKind, KernelConfig};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::line::Line;
use super::peer::Instance;

/// Requests that may be under way to one kernel; one more is refused.
const REQUESTS: usize = 256;
/// Events that may wait for whoever reads an answer. Those beyond are left out: the reply holds the whole answer.
const EVENTS_AHEAD: usize = 1024;

/// Every connection of this kernel to others.
#[derive(Clone)]
pub(crate) struct Links {
    /// By which this kernel knows itself when a connection leads back to it.
    session: String,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Links {
    /// None yet. `session` is what this kernel's own messages bear.
    pub(crate) fn new(session: &str) -> Links {
        Links { session: session.to_owned(), tasks: TaskTracker::new(), stop: CancellationToken::new() }
    }

    /// A connection that opens with its first request.
    pub(super) fn link(&self, name: &str, options: &KernelConfig) -> Link {
        let instance = Instance { name: name.to_owned(), address: options.connection_file.clone() };
        Link(Arc::new(Shared {
            instance,
            links: self.clone(),
            places: Arc::new(Semaphore::new(REQUESTS)),
            next: AtomicU64::new(0),
            commands: OnceLock::new(),
        }))
    }

    /// Ends them all, after the other kernels were told which requests are of no more use.
    pub(crate) async fn close(&self, patience: Duration) {
        self.stop.cancel();
        self.tasks.close();
        if timeout(patience, self.tasks.wait()).await.is_err() {
            tracing::warn!("a connection to another kernel did not close in time");
        }
    }
}

/// A connection to another kernel, open or not.
#[derive(Clone)]
pub(super) struct Link(Arc<Shared>);

struct Shared {
    instance: Instance,
    links: Links,
    places: Arc<Semaphore>,
    next: AtomicU64,
    /// To the task, once there is one. Bounded by `places`: each of them sends one request and takes it back once.
    commands: OnceLock<mpsc::UnboundedSender<Command>>,
}

/// What the task is told.
pub(super) enum Command {
    Ask(Box<Ask>),
    /// Nobody waits any more for the request of this number.
    Forget(u64),
}

/// A request on its way.
pub(super) struct Ask {
    pub(super) number: u64,
    pub(super) request: ModelRequest,
    pub(super) events: mpsc::Sender<ModelEvent>,
    pub(super) reply: oneshot::Sender<Result<Answer, Error>>,
}

/// What another kernel answered.
pub(super) struct Answer<R = ModelReply> {
    pub(super) reply: R,
    /// Where it is.
    pub(super) address: String,
    /// It is this kernel itself.
    pub(super) is_myself: bool,
}

impl<R> Answer<R> {
    /// The same with what `take` finds in the reply.
    pub(super) fn take<T>(self, take: impl FnOnce(R) -> Result<T, Error>) -> Result<Answer<T>, Error> {
        let Answer { reply, address, is_myself } = self;
        Ok(Answer { reply: take(reply)?, address, is_myself })
    }
}

impl Link {
    /// Asks and waits for the answer. Dropping the future takes the request back.
    pub(super) async fn ask(&self, request: ModelRequest) -> Result<Answer, Error> {
        self.start(request)?.reply().await
    }

    /// Asks.
    pub(super) fn start(&self, request: ModelRequest) -> Result<Asked, Error> {
        let Shared { instance, places, next, .. } = &*self.0;
        let Ok(place) = places.clone().try_acquire_owned() else {
            let problem = format!("{REQUESTS} requests are under way to it; ask again when some have ended");
            return Err(instance.error(ErrorKind::Overloaded, problem));
        };
        let commands = self.commands();
        let (events, happening) = mpsc::channel(EVENTS_AHEAD);
        let (reply, answer) = oneshot::channel();
        let number = next.fetch_add(1, Ordering::Relaxed);
        let ask = Ask { number, request, events, reply };
        // A task that is gone drops the request, and with it the reply.
        let _ = commands.send(Command::Ask(Box::new(ask)));
        Ok(Asked { link: self.clone(), number, events: happening, answer, _place: place })
    }

    pub(super) fn error(&self, kind: ErrorKind, problem: &str) -> Error {
        self.0.instance.error(kind, problem)
    }

    /// The way to the task, which starts with the first request.
    fn commands(&self) -> &mpsc::UnboundedSender<Command> {
        let Shared { instance, links, commands, .. } = &*self.0;
        commands.get_or_init(|| {
            let (sender, receiver) = mpsc::unbounded_channel();
            let line = Line::new(instance.clone(), links.session.clone(), receiver, links.stop.clone());
            links.tasks.spawn(line.run());
            sender
        })
    }
}

/// A request under way; dropping it takes it back.
pub(super) struct Asked {
    link: Link,
    number: u64,
    events: mpsc::Receiver<ModelEvent>,
    answer: oneshot::Receiver<Result<Answer, Error>>,
    _place: OwnedSemaphorePermit,
}

impl Asked {
    /// The next event; `None` when there are no more, or none that were not left out.
    pub(super) async fn event(&mut self) -> Option<ModelEvent> {
        self.events.recv().await
    }

    /// The reply.
    pub(super) async fn reply(&mut self) -> Result<Answer, Error> {
        match (&mut self.answer).await {
            Ok(answer) => answer,
            Err(_) => Err(self.error(ErrorKind::Cancelled, "this kernel is ending, and its connections with it")),
        }
    }

    pub(super) fn error(&self, kind: ErrorKind, problem: &str) -> Error {
        self.link.error(kind, problem)
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let _ = self.link.commands().send(Command::Forget(self.number));
    }
}
