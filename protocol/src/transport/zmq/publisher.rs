//! The iopub socket: an XPUB made of the library's codec and a task per subscriber, because the library's own drops messages of a burst
//! (the more so with CURVE: beyond 64) and says nothing of it.
//!
//! Whoever has room gets a message at once. For whoever has none the publisher waits, as long as that subscriber keeps reading; one that
//! does not is muted until it has caught up with half of its queue, and from then on nobody waits for it.

mod subscriber;

use std::sync::Arc;
use std::time::Duration;

use omq_tokio::Message;
use omq_tokio::proto::connection::ConnectionConfig;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{LINGER, SUBSCRIBER_KIBIBYTES};
use crate::Frames;
use crate::transport::{Closed, Subscription};

/// How long publishing waits for a subscriber that takes nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// How much of that patience a message taken gives back: a subscriber that takes a thousand a second is never muted.
const PATIENCE_PER_MESSAGE: Duration = Duration::from_millis(1);

/// Connections beyond this are turned away.
const MAX_SUBSCRIBERS: usize = 512;

/// Subscriptions that wait for the kernel to welcome them; one beyond gets no welcome.
const MAX_NOTICES: usize = 1024;

/// Pause after the system refused to accept a connection, e.g. for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Publishes to the subscribers.
#[derive(Clone, Debug)]
pub(in crate::transport) struct Publisher(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Locked while a message is published, which may wait: messages of several publishers shall not overtake each other.
    subscribers: Mutex<Vec<Subscriber>>,
    closing: CancellationToken,
}

/// What is on its way to a subscriber, with the room that it takes in the queue.
type Queued = (Message, OwnedSemaphorePermit);

/// The publisher's side of one subscriber.
#[derive(Debug)]
struct Subscriber {
    /// Bounded by `room`, of which every message takes at least a permit.
    queue: mpsc::UnboundedSender<Queued>,
    room: Arc<Semaphore>,
    patience: Duration,
    muted: bool,
}

/// The subscriptions as they come in.
#[derive(Debug)]
pub(in crate::transport) struct Subscriptions(mpsc::Receiver<Subscription>);

/// Ends the task that accepts subscribers; when dropped, in the background.
#[derive(Debug)]
pub(super) struct PublisherCloser {
    closing: DropGuard,
    accepting: tokio::task::JoinHandle<()>,
}

/// Starts to accept subscribers.
pub(super) fn start(listener: TcpListener, config: ConnectionConfig) -> (Publisher, Subscriptions, PublisherCloser) {
    let shared = Arc::new(Shared { subscribers: Mutex::default(), closing: CancellationToken::new() });
    let (notices, subscriptions) = mpsc::channel(MAX_NOTICES);
    let accepting = tokio::spawn(accept(listener, config, shared.clone(), notices));
    let closer = PublisherCloser { closing: shared.closing.clone().drop_guard(), accepting };
    (Publisher(shared), Subscriptions(subscriptions), closer)
}

async fn accept(
    listener: TcpListener,
    config: ConnectionConfig,
    shared: Arc<Shared>,
    notices: mpsc::Sender<Subscription>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = shared.closing.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if connections.len() < MAX_SUBSCRIBERS => {
                    connections.spawn(subscriber::serve(stream, config.clone(), shared.clone(), notices.clone()));
                }
                Ok(_) => tracing::warn!(MAX_SUBSCRIBERS, "a subscriber was turned away"),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a subscriber");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop((listener, notices));
    // Without a sender a queue ends once what is in it is written.
    shared.subscribers.lock().await.clear();
    let _ = timeout(LINGER, async { while connections.join_next().await.is_some() {} }).await;
}

impl Publisher {
    pub(in crate::transport) async fn publish(&self, frames: Frames) -> Result<(), Closed> {
        let message = Message::multipart(frames);
        let room = room_for(&message);
        let mut subscribers = self.0.subscribers.lock().await;
        if self.0.closing.is_cancelled() {
            return Err(Closed);
        }
        subscribers.retain(|subscriber| !subscriber.queue.is_closed());
        let mut full = Vec::new();
        for subscriber in subscribers.iter_mut() {
            if !subscriber.offer(&message, room) {
                full.push(subscriber);
            }
        }
        for subscriber in full {
            tokio::select! {
                () = subscriber.wait_and_offer(&message, room) => {}
                () = self.0.closing.cancelled() => return Err(Closed),
            }
        }
        Ok(())
    }
}

/// In KiB, rounded up so that small messages are counted too; what is larger than the whole queue may have all of it.
fn room_for(message: &Message) -> u32 {
    u32::try_from(1 + message.byte_len() / 1024).unwrap_or(u32::MAX).min(SUBSCRIBER_KIBIBYTES)
}

impl Subscriber {
    fn new(queue: mpsc::UnboundedSender<Queued>) -> Subscriber {
        let room = Arc::new(Semaphore::new(SUBSCRIBER_KIBIBYTES as usize));
        Subscriber { queue, room, patience: PATIENCE, muted: false }
    }

    /// False if there is no room, but should be soon.
    fn offer(&mut self, message: &Message, room: u32) -> bool {
        if self.muted && self.room.available_permits() < SUBSCRIBER_KIBIBYTES as usize / 2 {
            return true;
        }
        self.muted = false;
        match self.room.clone().try_acquire_many_owned(room) {
            Ok(permit) => {
                self.send(message, permit);
                true
            }
            Err(_) => false,
        }
    }

    async fn wait_and_offer(&mut self, message: &Message, room: u32) {
        let began = Instant::now();
        match timeout(self.patience, self.room.clone().acquire_many_owned(room)).await {
            Ok(Ok(permit)) => {
                let left = self.patience.saturating_sub(began.elapsed());
                self.patience = (left + PATIENCE_PER_MESSAGE).min(PATIENCE);
                self.send(message, permit);
            }
            _ => {
                tracing::warn!("a subscriber does not read; it loses messages until it has caught up");
                self.patience = PATIENCE;
                self.muted = true;
            }
        }
    }

    fn send(&self, message: &Message, permit: OwnedSemaphorePermit) {
        // A subscriber that is gone is no error; the next publication forgets it.
        let _ = self.queue.send((message.clone(), permit));
    }
}

impl Subscriptions {
    pub(in crate::transport) async fn recv(&mut self) -> Option<Subscription> {
        self.0.recv().await
    }
}

impl PublisherCloser {
    pub(super) async fn close(self) {
        drop(self.closing);
        // It ends within the time it lingers.
        let _ = self.accepting.await;
    }
}
