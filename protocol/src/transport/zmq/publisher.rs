//! The iopub socket: an XPUB made of the library's codec and a task per subscriber, because the library's own drops messages of a burst
//! (the more so with CURVE: beyond 64) and says nothing of it.
//!
//! Whoever has room gets a message at once. Nobody waits for a subscriber that does not read: once its queue is full it is cut off and
//! counted, and may come back. The publisher does wait for one that reads but is slow, within limits that [`subscriber`] owns. A message
//! is one allocation however many queues it lies in, and every queue ends with the newest message: so all of them together hold
//! no more than the longest of them may.

mod connection;
mod greeting;
mod subscriber;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use omq_tokio::Message;
use omq_tokio::options::KeepAlive;
use omq_tokio::proto::connection::ConnectionConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::subscriber::{Outgoing, Subscriber};
use super::LINGER;
use super::turned_away::TurnedAway;
use crate::Frames;
use crate::transport::{Closed, PeerCounts, Subscription};

/// Subscribers beyond this are turned away.
const MAX_SUBSCRIBERS: usize = 512;

/// Peers that may be about to greet at once; one more, and the one that has taken longest is turned away.
const MAX_GREETING: usize = 256;

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
    connected: AtomicUsize,
    cut_off: AtomicU64,
    turned_away: TurnedAway,
    closing: CancellationToken,
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
pub(super) fn start(
    listener: TcpListener,
    config: ConnectionConfig,
    keepalive: KeepAlive,
    turned_away: TurnedAway,
) -> (Publisher, Subscriptions, PublisherCloser) {
    let shared = Arc::new(Shared {
        subscribers: Mutex::default(),
        connected: AtomicUsize::new(0),
        cut_off: AtomicU64::new(0),
        turned_away,
        closing: CancellationToken::new(),
    });
    let (notices, subscriptions) = mpsc::channel(MAX_NOTICES);
    let door = Door { config, keepalive, greeting: JoinSet::new(), order: VecDeque::new() };
    let accepting = tokio::spawn(accept(listener, door, shared.clone(), notices));
    let closer = PublisherCloser { closing: shared.closing.clone().drop_guard(), accepting };
    (Publisher(shared), Subscriptions(subscriptions), closer)
}

async fn accept(listener: TcpListener, mut door: Door, shared: Arc<Shared>, notices: mpsc::Sender<Subscription>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = shared.closing.cancelled() => break,
            Some(_) = connections.join_next() => {}
            Some(greeted) = door.greeting.join_next() => match greeted {
                Ok(Some(greeted)) if connections.len() < MAX_SUBSCRIBERS => {
                    connections.spawn(connection::serve(greeted, shared.clone(), notices.clone()));
                }
                Ok(Some(_)) => shared.turned_away.add("iopub", "there are too many subscribers"),
                Ok(None) => shared.turned_away.add("iopub", "it did not greet as it should, or without the right keys"),
                Err(_) => shared.turned_away.add("iopub", "it took its time to greet while others waited"),
            },
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => door.open(stream),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a subscriber");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
        shared.connected.store(connections.len(), Ordering::Relaxed);
    }
    drop((listener, notices, door));
    // Without a sender a queue ends once what is in it is written.
    shared.subscribers.lock().await.clear();
    let _ = timeout(LINGER, async { while connections.join_next().await.is_some() {} }).await;
}

/// Peers on their way in.
struct Door {
    config: ConnectionConfig,
    keepalive: KeepAlive,
    greeting: JoinSet<Option<greeting::Greeted>>,
    /// In order of arrival.
    order: VecDeque<AbortHandle>,
}

impl Door {
    fn open(&mut self, stream: TcpStream) {
        self.order.retain(|greeting| !greeting.is_finished());
        if self.order.len() >= MAX_GREETING
            && let Some(oldest) = self.order.pop_front()
        {
            oldest.abort();
        }
        // Without these small messages might wait for each other and a lost peer might stay longer; neither is wrong.
        let _ = stream.set_nodelay(true);
        let _ = self.keepalive.apply(&stream);
        self.order.push_back(self.greeting.spawn(greeting::greet(stream, self.config.clone())));
    }
}

impl Publisher {
    pub(in crate::transport) async fn publish(&self, frames: Frames) -> Result<(), Closed> {
        let outgoing = Outgoing::new(Message::multipart(frames));
        let mut subscribers = self.0.subscribers.lock().await;
        if self.0.closing.is_cancelled() {
            return Err(Closed);
        }
        subscribers.retain(|subscriber| !subscriber.is_gone());
        let mut full = Vec::new();
        let alone = subscribers.len() == 1;
        for subscriber in subscribers.iter_mut() {
            if !subscriber.offer(&outgoing) {
                full.push(subscriber);
            }
        }
        if !full.is_empty() {
            let waiting = full.into_iter().map(|subscriber| subscriber.wait_and_offer(&outgoing, alone));
            let taken = tokio::select! {
                taken = join_all(waiting) => taken,
                () = self.0.closing.cancelled() => return Err(Closed),
            };
            for _ in taken.into_iter().filter(|taken| !taken) {
                let count = self.0.cut_off.fetch_add(1, Ordering::Relaxed) + 1;
                tracing::warn!(count, "a subscriber that does not read was cut off");
            }
            subscribers.retain(|subscriber| !subscriber.is_gone());
        }
        Ok(())
    }

    pub(in crate::transport) fn counts(&self) -> PeerCounts {
        PeerCounts {
            connected: self.0.connected.load(Ordering::Relaxed),
            cut_off: self.0.cut_off.load(Ordering::Relaxed),
            turned_away: self.0.turned_away.count(),
        }
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
