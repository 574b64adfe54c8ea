//! The iopub channel: one queue that every request publishes into, and the one task that owns the socket.
//!
//! Text of one request and one stream is merged while it waits, and leaves at most 20 times a second or at 64 KiB; anything
//! else leaves at once, after what was published before it. The queue is bounded in bytes: whoever prints faster than the
//! socket takes waits, and the wait ends when its request is cancelled.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use perilune_protocol::{
    Codec, Content, Header, IopubWelcome, Message, ModelEvent, Publication, PublishSender, Subscriptions,
};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::kernel::Context;

/// Merged text leaves at most this often.
const FLUSH_INTERVAL: Duration = Duration::from_millis(50);
/// One message carries at most about this much merged text, in bytes, and as much pending text leaves at once.
const FLUSH_BYTES: usize = 64 * 1024;
/// Text waiting for the socket, in bytes, beyond which a printing request waits.
const QUEUE_BYTES: usize = 1024 * 1024;
/// How often a thread that waits for room looks whether its request was cancelled.
const CANCEL_POLL: Duration = Duration::from_millis(10);

/// The queue's end for publishers; the task's end is [`Iopub::run`].
pub(crate) struct Iopub {
    codec: Arc<Codec>,
    /// The kernel's own session id, in the header of everything it publishes.
    session: String,
    queue: Mutex<Queue>,
    room: Condvar,
    filled: Notify,
    drained: Notify,
}

#[derive(Default)]
struct Queue {
    items: VecDeque<Item>,
    bytes: usize,
    /// Something waits that is not mergeable text.
    urgent: bool,
    closed: bool,
}

struct Item {
    parent: Option<Arc<Header>>,
    publication: Publication,
}

/// The request was cancelled, or the kernel is ending, while a publication waited for room.
#[derive(Debug)]
pub(crate) struct Closed;

impl Iopub {
    pub(crate) fn new(codec: Arc<Codec>, session: String) -> Arc<Self> {
        Arc::new(Self {
            codec,
            session,
            queue: Mutex::default(),
            room: Condvar::new(),
            filled: Notify::new(),
            drained: Notify::new(),
        })
    }

    /// Publishes without waiting: for status, results and errors, of which a request has few.
    pub(crate) fn publish(&self, parent: Option<&Arc<Header>>, publication: Publication) {
        self.push(&mut self.lock(), parent, publication);
    }

    /// Publishes from an interpreter thread, blocking it while the queue is full.
    pub(crate) fn write(
        &self,
        parent: &Arc<Header>,
        publication: Publication,
        cancel: &CancellationToken,
    ) -> Result<(), Closed> {
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
        self.push(&mut queue, Some(parent), publication);
        Ok(())
    }

    /// Publishes from a task, waiting while the queue is full.
    pub(crate) async fn send(&self, parent: &Arc<Header>, publication: Publication) -> Result<(), Closed> {
        loop {
            let drained = self.drained.notified();
            {
                let mut queue = self.lock();
                if queue.closed {
                    return Err(Closed);
                }
                if queue.bytes < QUEUE_BYTES {
                    self.push(&mut queue, Some(parent), publication);
                    return Ok(());
                }
            }
            drained.await;
        }
    }

    fn push(&self, queue: &mut Queue, parent: Option<&Arc<Header>>, publication: Publication) {
        if queue.closed {
            return;
        }
        let text = text_of(&publication).map(str::len);
        queue.bytes += text.unwrap_or(0);
        let Some(publication) = merge(queue.items.back_mut(), parent, publication) else {
            if queue.bytes >= FLUSH_BYTES {
                self.filled.notify_one();
            }
            return;
        };
        queue.items.push_back(Item { parent: parent.cloned(), publication });
        queue.urgent |= text.is_none();
        self.filled.notify_one();
    }

    /// Sends what is published until [`Iopub::close`] was called and the queue is empty.
    pub(crate) async fn run(&self, publisher: PublishSender) {
        let mut flushed = Instant::now() - FLUSH_INTERVAL;
        loop {
            let filled = self.filled.notified();
            let due = flushed + FLUSH_INTERVAL;
            match self.pending(due) {
                Pending::Nothing => filled.await,
                Pending::Later => tokio::select! {
                    () = sleep_until(due) => {}
                    () = filled => {}
                },
                Pending::Now(items) => {
                    for item in items {
                        // Only text delays the next text, so that the first of an answer leaves at once.
                        if text_of(&item.publication).is_some() {
                            flushed = Instant::now();
                        }
                        self.send_item(&publisher, item).await;
                    }
                }
                Pending::Closed => return,
            }
        }
    }

    fn pending(&self, due: Instant) -> Pending {
        let mut queue = self.lock();
        if queue.items.is_empty() {
            return if queue.closed { Pending::Closed } else { Pending::Nothing };
        }
        if queue.urgent || queue.closed || queue.bytes >= FLUSH_BYTES || Instant::now() >= due {
            queue.urgent = false;
            return Pending::Now(mem::take(&mut queue.items));
        }
        Pending::Later
    }

    async fn send_item(&self, publisher: &PublishSender, item: Item) {
        let text = text_of(&item.publication).map_or(0, str::len);
        let topic = Bytes::copy_from_slice(item.publication.msg_type().as_bytes());
        let mut message = Message::new(&self.session, item.publication);
        message.identities = vec![topic];
        message.parent_header = item.parent.map(Arc::unwrap_or_clone);
        match self.codec.encode(&message) {
            Ok(frames) => {
                if publisher.publish(frames).await.is_err() {
                    tracing::warn!("the iopub socket is closed; a publication was lost");
                }
            }
            Err(error) => tracing::error!(%error, "a publication could not be encoded"),
        }
        if text > 0 {
            self.lock().bytes -= text;
            self.room.notify_all();
            self.drained.notify_waiters();
        }
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

/// Tells each new subscriber that it is heard from now on (JEP 65).
pub(crate) async fn welcome(context: Arc<Context>, mut subscriptions: Subscriptions) {
    loop {
        let subscription = tokio::select! {
            subscription = subscriptions.recv() => subscription,
            () = context.stop.cancelled() => return,
        };
        let Some(subscription) = subscription else { return };
        let subscription = String::from_utf8_lossy(&subscription.topic).into_owned();
        context.iopub.publish(None, Publication::IopubWelcome(IopubWelcome { subscription }));
    }
}

enum Pending {
    Nothing,
    Later,
    Now(VecDeque<Item>),
    Closed,
}

/// The text by which a publication counts against the queue's bound.
fn text_of(publication: &Publication) -> Option<&str> {
    match publication {
        Publication::Stream(stream) => Some(&stream.text),
        Publication::ModelEvent(ModelEvent::Text { text }) => Some(text),
        _ => None,
    }
}

/// Appends text to the last item when it continues it; else gives the publication back.
fn merge(last: Option<&mut Item>, parent: Option<&Arc<Header>>, publication: Publication) -> Option<Publication> {
    let Some(last) = last else { return Some(publication) };
    let same_request = match (&last.parent, parent) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        _ => false,
    };
    if !same_request {
        return Some(publication);
    }
    match (&mut last.publication, publication) {
        (Publication::Stream(before), Publication::Stream(next))
            if before.name == next.name && before.text.len() < FLUSH_BYTES =>
        {
            before.text.push_str(&next.text);
            None
        }
        (
            Publication::ModelEvent(ModelEvent::Text { text }),
            Publication::ModelEvent(ModelEvent::Text { text: next }),
        ) if text.len() < FLUSH_BYTES => {
            text.push_str(&next);
            None
        }
        (_, publication) => Some(publication),
    }
}
