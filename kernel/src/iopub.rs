//! The iopub channel: one queue that every request publishes into, and the one task that owns the socket.
//!
//! Text of one request and one stream is merged while it waits, and leaves at most 20 times a second and request, or at 64 KiB. Anything
//! else leaves within some two milliseconds, after what was published before it, and with `idle` at once: what a short cell publishes
//! travels together, and its client is woken once. The queue is bounded in bytes: whoever prints faster than the socket takes
//! waits, and the wait ends when its request is cancelled.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use perilune_protocol::{
    Codec, Content, ExecutionState, Frames, Header, IopubWelcome, Message, ModelEvent, PeerCounts, Publication,
    PublishSender, Status, Stream, StreamName, Subscriptions,
};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::dispatch::Attached;
use crate::kernel::Context;

/// Merged text leaves at most this often.
const FLUSH_INTERVAL: Duration = Duration::from_millis(50);
/// What is no text waits at most about this long for company (timers tick once a millisecond).
const GATHER_INTERVAL: Duration = Duration::from_millis(1);
/// One message carries at most about this much merged text, in bytes, and as much pending text leaves at once.
const FLUSH_BYTES: usize = 64 * 1024;
/// Pieces of text that wait; beyond so many, those of two streams that take turns are put together.
const FLOOD: usize = 16;
/// What a frame takes beside its bytes.
const FRAME_BYTES: usize = 64;
/// Text waiting for the socket, in bytes, beyond which a printing request waits.
const QUEUE_BYTES: usize = 1024 * 1024;
/// How often a thread that waits for room looks whether its request was cancelled.
const CANCEL_POLL: Duration = Duration::from_millis(10);

/// The topic of the events of one session's model requests: a client that asks for nothing else can leave out those of others.
pub(crate) fn model_events_of(session: &str) -> Bytes {
    Bytes::from(format!("model_event.{session}"))
}

/// The queue's end for publishers; the task's end is [`Iopub::run`].
pub(crate) struct Iopub {
    codec: Arc<Codec>,
    /// The kernel's own session id, in the header of everything it publishes.
    session: String,
    publisher: PublishSender,
    queue: Mutex<Queue>,
    room: Condvar,
    filled: Notify,
    drained: Notify,
}

#[derive(Default)]
struct Queue {
    items: VecDeque<Item>,
    /// What waits or is being sent.
    bytes: usize,
    /// Items queued since the start, and items sent since then.
    queued: u64,
    sent: u64,
    /// When what waits shall leave at the latest, if it is not text alone.
    due: Option<Instant>,
    closed: bool,
}

enum Item {
    /// Text that grows while it waits.
    Text { parent: Option<Arc<Header>>, kind: TextKind, text: String },
    /// Anything else, and whether it is the last of its request.
    Frames { frames: Frames, last: bool },
}

/// Text of one kind and one request goes out together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TextKind {
    Stream(StreamName),
    Model,
}

/// The request was cancelled, or the kernel is ending, while a publication waited for room.
#[derive(Debug)]
pub(crate) struct Closed;

impl Iopub {
    pub(crate) fn new(codec: Arc<Codec>, session: String, publisher: PublishSender) -> Arc<Self> {
        Arc::new(Self {
            codec,
            session,
            publisher,
            queue: Mutex::default(),
            room: Condvar::new(),
            filled: Notify::new(),
            drained: Notify::new(),
        })
    }

    /// Who listens, and who was sent away.
    pub(crate) fn peers(&self) -> PeerCounts {
        self.publisher.counts()
    }

    /// Publishes without waiting: for status, results and errors, of which a request has few.
    pub(crate) fn publish(&self, parent: Option<&Arc<Header>>, publication: Publication) {
        let Some(item) = self.item(parent, publication) else { return };
        self.push(&mut self.lock(), item);
    }

    /// Publishes from an interpreter thread, blocking it while the queue is full.
    pub(crate) fn write(
        &self,
        parent: &Arc<Header>,
        publication: Publication,
        cancel: &CancellationToken,
    ) -> Result<(), Closed> {
        self.write_item(self.item(Some(parent), publication), cancel)
    }

    /// As [`Iopub::write`], with metadata and buffers.
    pub(crate) fn write_with(
        &self,
        parent: &Arc<Header>,
        publication: Publication,
        attached: Attached,
        cancel: &CancellationToken,
    ) -> Result<(), Closed> {
        let frames = self.encode(Some(parent.clone()), publication, attached);
        self.write_item(frames.map(|frames| Item::Frames { frames, last: false }), cancel)
    }

    fn write_item(&self, item: Option<Item>, cancel: &CancellationToken) -> Result<(), Closed> {
        let Some(item) = item else { return Ok(()) };
        let mut queue = self.lock();
        while queue.bytes >= QUEUE_BYTES && !queue.closed {
            if cancel.is_cancelled() {
                return Err(Closed);
            }
            queue = self.room.wait_timeout(queue, CANCEL_POLL).unwrap_or_else(PoisonError::into_inner).0;
        }
        if cancel.is_cancelled() || queue.closed {
            return Err(Closed);
        }
        self.push(&mut queue, item);
        Ok(())
    }

    /// Publishes from a task, waiting while the queue is full.
    pub(crate) async fn send(&self, parent: &Arc<Header>, publication: Publication) -> Result<(), Closed> {
        self.until(|queue| queue.bytes < QUEUE_BYTES).await?;
        self.publish(Some(parent), publication);
        Ok(())
    }

    /// Waits while the queue is full: for those who publish on behalf of a client that does not wait.
    pub(crate) async fn has_room(&self) {
        // One that is closed takes nothing, so nobody has to wait for it.
        let _ = self.until(|queue| queue.bytes < QUEUE_BYTES).await;
    }

    /// Waits until what is published so far has left.
    pub(crate) async fn flush(&self) {
        let published = {
            let mut queue = self.lock();
            queue.due = (!queue.items.is_empty()).then(Instant::now);
            queue.queued
        };
        self.filled.notify_one();
        let _ = self.until(|queue| queue.sent >= published).await;
    }

    async fn until(&self, condition: impl Fn(&Queue) -> bool) -> Result<(), Closed> {
        loop {
            let drained = self.drained.notified();
            {
                let queue = self.lock();
                if condition(&queue) {
                    return Ok(());
                }
                if queue.closed {
                    return Err(Closed);
                }
            }
            drained.await;
        }
    }

    fn item(&self, parent: Option<&Arc<Header>>, publication: Publication) -> Option<Item> {
        let parent = parent.cloned();
        match publication {
            Publication::Stream(Stream { name, text }) => {
                Some(Item::Text { parent, kind: TextKind::Stream(name), text })
            }
            Publication::ModelEvent(ModelEvent::Text { text }) => {
                Some(Item::Text { parent, kind: TextKind::Model, text })
            }
            publication => {
                let last = matches!(publication, Publication::Status(Status { execution_state: ExecutionState::Idle }));
                self.encode(parent, publication, Attached::default()).map(|frames| Item::Frames { frames, last })
            }
        }
    }

    fn push(&self, queue: &mut Queue, item: Item) {
        if queue.closed {
            return;
        }
        queue.bytes += item.bytes();
        let mut sooner = false;
        if let Some(item) = queue.merge(item) {
            sooner = queue.hasten(&item);
            queue.items.push_back(item);
            queue.queued += 1;
        }
        if sooner || queue.bytes >= FLUSH_BYTES {
            self.filled.notify_one();
        }
    }

    /// Sends what is published until [`Iopub::close`] was called and the queue is empty.
    pub(crate) async fn run(&self) {
        let mut flushed = Flushed::default();
        loop {
            let filled = self.filled.notified();
            match self.pending(&mut flushed) {
                Pending::Nothing => filled.await,
                Pending::Later(due) => tokio::select! {
                    () = sleep_until(due) => {}
                    () = filled => {}
                },
                Pending::Now(items) => {
                    for item in items {
                        if let Item::Text { parent, .. } = &item {
                            flushed.note(parent);
                        }
                        self.send_item(item).await;
                    }
                }
                Pending::Closed => return,
            }
        }
    }

    fn pending(&self, flushed: &mut Flushed) -> Pending {
        let mut queue = self.lock();
        if queue.items.is_empty() {
            return if queue.closed { Pending::Closed } else { Pending::Nothing };
        }
        let now = Instant::now();
        flushed.forget(now);
        let text = queue.items.iter().filter_map(|item| match item {
            Item::Text { parent, .. } => Some(flushed.due(parent).unwrap_or(now)),
            Item::Frames { .. } => None,
        });
        let due = text.chain(queue.due).min().unwrap_or(now);
        if queue.closed || queue.bytes >= FLUSH_BYTES || now >= due {
            queue.due = None;
            return Pending::Now(mem::take(&mut queue.items));
        }
        Pending::Later(due)
    }

    async fn send_item(&self, item: Item) {
        let bytes = item.bytes();
        let frames = match item {
            Item::Text { parent, kind, text } => self.encode(parent, kind.publication(text), Attached::default()),
            Item::Frames { frames, .. } => Some(frames),
        };
        if let Some(frames) = frames
            && self.publisher.publish(frames).await.is_err()
        {
            tracing::warn!("the iopub socket is closed; a publication was lost");
        }
        {
            let mut queue = self.lock();
            queue.bytes -= bytes;
            queue.sent += 1;
        }
        self.room.notify_all();
        self.drained.notify_waiters();
    }

    fn encode(&self, parent: Option<Arc<Header>>, publication: Publication, attached: Attached) -> Option<Frames> {
        let encode = |publication: Publication, attached: Attached| {
            let topic = match (&publication, &parent) {
                (Publication::ModelEvent(_), Some(parent)) => model_events_of(&parent.session),
                _ => Bytes::copy_from_slice(publication.msg_type().as_bytes()),
            };
            let mut message = Message::new(&self.session, publication).with_identities(vec![topic]);
            message.parent_header = parent.as_deref().cloned();
            message.metadata = attached.metadata;
            message.buffers = attached.buffers;
            self.codec.encode(&message)
        };
        // What cannot be shown is at least told of.
        encode(publication, attached)
            .or_else(|error| {
                tracing::warn!(%error, "a publication could not be encoded");
                encode(
                    TextKind::Stream(StreamName::Stderr).publication(format!("not shown: {error}\n")),
                    Attached::default(),
                )
            })
            .ok()
    }

    /// Lets the task end once all is sent; what is published afterwards is dropped.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.room.notify_all();
        self.drained.notify_waiters();
        self.filled.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Appends text to what it continues; else gives the item back. Between two streams order is kept, unless there is much of it:
    /// then each is told in long pieces.
    fn merge(&mut self, item: Item) -> Option<Item> {
        let reach = if self.items.len() > FLOOD { 2 } else { 1 };
        let mut item = Some(item);
        for waiting in self.items.iter_mut().rev().take(reach) {
            item = merge(waiting, item?);
            if !matches!(waiting, Item::Text { kind: TextKind::Stream(_), .. }) {
                break;
            }
        }
        item
    }

    /// Lets what waits leave in time for a new item; says whether the task that sends has to be woken for that.
    fn hasten(&mut self, item: &Item) -> bool {
        let due = match item {
            Item::Text { .. } => return self.items.is_empty(),
            Item::Frames { last: true, .. } => Instant::now(),
            Item::Frames { last: false, .. } => Instant::now() + GATHER_INTERVAL,
        };
        let sooner = self.due.is_none_or(|earlier| due < earlier);
        if sooner {
            self.due = Some(due);
        }
        sooner
    }
}

impl Item {
    /// By which it counts against the queue's bound.
    fn bytes(&self) -> usize {
        match self {
            Item::Text { text, .. } => text.len(),
            Item::Frames { frames, .. } => frames.iter().map(|frame| frame.len() + FRAME_BYTES).sum(),
        }
    }
}

/// Whose text left lately. Only text of the same request delays the next, so that the first of an answer leaves at once.
#[derive(Default)]
struct Flushed(Vec<(Option<Arc<Header>>, Instant)>);

impl Flushed {
    fn place(&mut self, of: &Option<Arc<Header>>) -> Option<&mut (Option<Arc<Header>>, Instant)> {
        self.0.iter_mut().find(|(parent, _)| match (parent, of) {
            (Some(parent), Some(of)) => Arc::ptr_eq(parent, of),
            (parent, of) => parent.is_none() && of.is_none(),
        })
    }

    fn note(&mut self, parent: &Option<Arc<Header>>) {
        let now = Instant::now();
        match self.place(parent) {
            Some((_, at)) => *at = now,
            None => self.0.push((parent.clone(), now)),
        }
    }

    /// When more of its text may leave; `None`: at once.
    fn due(&mut self, parent: &Option<Arc<Header>>) -> Option<Instant> {
        self.place(parent).map(|(_, at)| *at + FLUSH_INTERVAL)
    }

    fn forget(&mut self, now: Instant) {
        self.0.retain(|(_, at)| now < *at + FLUSH_INTERVAL);
    }
}

/// Tells each new subscriber that it is heard from now on (JEP 65), and the first one then that the kernel has started: a status
/// that came before a welcome would not be expected.
pub(crate) async fn welcome(context: Arc<Context>, mut subscriptions: Subscriptions) {
    let mut started = false;
    loop {
        let subscription = tokio::select! {
            subscription = subscriptions.recv() => subscription,
            () = context.stop.cancelled() => return,
        };
        let Some(subscription) = subscription else { return };
        let subscription = String::from_utf8_lossy(&subscription.topic).into_owned();
        context.iopub.publish(None, Publication::IopubWelcome(IopubWelcome { subscription }));
        if !mem::replace(&mut started, true) {
            context.iopub.publish(None, Publication::Status(Status { execution_state: ExecutionState::Starting }));
        }
    }
}

enum Pending {
    Nothing,
    Later(Instant),
    Now(VecDeque<Item>),
    Closed,
}

impl TextKind {
    fn publication(self, text: String) -> Publication {
        match self {
            TextKind::Stream(name) => Publication::Stream(Stream { name, text }),
            TextKind::Model => Publication::ModelEvent(ModelEvent::Text { text }),
        }
    }
}

/// Appends text to an item that it continues; else gives it back.
fn merge(waiting: &mut Item, item: Item) -> Option<Item> {
    match (waiting, &item) {
        (
            Item::Text { parent: Some(last_parent), kind: last_kind, text: last },
            Item::Text { parent: Some(parent), kind, text },
        ) if Arc::ptr_eq(last_parent, parent) && last_kind == kind && last.len() < FLUSH_BYTES => {
            last.push_str(text);
            None
        }
        _ => Some(item),
    }
}
