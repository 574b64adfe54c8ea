//! The publisher's side of one subscriber: its queue, how far it may lie behind, and how long the publisher waits for it.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use omq_tokio::Message;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::super::SUBSCRIBER_KIBIBYTES;

/// A subscriber whose connection has taken no byte for this long, although some waited, does not read.
const STALLED: Duration = Duration::from_millis(100);

/// The same for the only subscriber, for which nobody but the cell that prints would wait.
const STALLED_ALONE: Duration = Duration::from_secs(1);

/// How long others wait for a slow one in a row.
const PATIENCE: Duration = Duration::from_millis(250);

/// Who takes this much a second, in bytes, is waited for without an end: the patience comes back as fast as it is used up.
const WORTH_WAITING_FOR: u64 = 16 << 20;

/// A queue's room is counted in so many bytes.
const UNIT: usize = 256;
const ROOM: u32 = SUBSCRIBER_KIBIBYTES * (1024 / UNIT as u32);

/// What a message and each of its frames take beside their bytes, places in queues included. Seen were 100 and 50.
const MESSAGE_BYTES: usize = 128;
const FRAME_BYTES: usize = 64;

/// A message on its way to the subscribers, which share it.
#[derive(Clone)]
pub(super) struct Outgoing {
    message: Arc<Message>,
    /// What it takes of a queue, in [`UNIT`]s.
    room: u32,
}

impl Outgoing {
    pub(super) fn new(message: Message) -> Outgoing {
        let bytes = message.byte_len() + MESSAGE_BYTES + FRAME_BYTES * message.len();
        // What is larger than a whole queue may have all of it.
        let room = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).min(ROOM);
        Outgoing { message: Arc::new(message), room }
    }
}

/// What is on its way to one subscriber, with the room that it takes until the system has all of it.
pub(super) struct Queued {
    pub(super) message: Arc<Message>,
    pub(super) room: OwnedSemaphorePermit,
}

/// The publisher's side of one subscriber.
#[derive(Debug)]
pub(super) struct Subscriber {
    /// Bounded by `room`, of which every message takes at least a permit.
    queue: mpsc::UnboundedSender<Queued>,
    room: Arc<Semaphore>,
    progress: Arc<Progress>,
    cut: CancellationToken,
    patience: Duration,
    /// The bytes it had taken when the patience was last reckoned.
    reckoned: u64,
}

/// The connection's side of one subscriber.
pub(super) struct Receiver {
    pub(super) queue: mpsc::UnboundedReceiver<Queued>,
    pub(super) progress: Arc<Progress>,
    /// Cancelled when the subscriber is cut off.
    pub(super) cut: CancellationToken,
}

pub(super) fn subscriber() -> (Subscriber, Receiver) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let (progress, cut) = (Arc::new(Progress::new()), CancellationToken::new());
    let subscriber = Subscriber {
        queue: sender,
        room: Arc::new(Semaphore::new(ROOM as usize)),
        progress: progress.clone(),
        cut: cut.clone(),
        patience: PATIENCE,
        reckoned: 0,
    };
    (subscriber, Receiver { queue: receiver, progress, cut })
}

impl Subscriber {
    pub(super) fn is_gone(&self) -> bool {
        self.cut.is_cancelled() || self.queue.is_closed()
    }

    /// False if there is no room.
    pub(super) fn offer(&self, outgoing: &Outgoing) -> bool {
        let room = self.room.clone().try_acquire_many_owned(outgoing.room);
        room.map(|room| self.send(outgoing, room)).is_ok()
    }

    /// Waits for room while that is worth it. False if the subscriber was cut off instead.
    ///
    /// One that does not read is waited for until [`STALLED`] has passed since it last took something, which is long past unless its
    /// queue filled within that time. One that reads is waited for as long as it is `alone`, else as its patience allows.
    pub(super) async fn wait_and_offer(&mut self, outgoing: &Outgoing, alone: bool) -> bool {
        let taken = self.progress.taken();
        let earned = Duration::from_secs_f64((taken - self.reckoned) as f64 / WORTH_WAITING_FOR as f64);
        let patience = (self.patience + earned).min(PATIENCE);
        let began = Instant::now();
        let mut acquiring = pin!(self.room.clone().acquire_many_owned(outgoing.room));
        let limit = if alone { STALLED_ALONE } else { STALLED };
        loop {
            let stalled = self.progress.last() + limit;
            let deadline = if alone { stalled } else { stalled.min(began + patience) };
            match timeout_at(deadline, &mut acquiring).await {
                Ok(Ok(room)) => {
                    self.reckoned = taken;
                    self.patience = patience.saturating_sub(began.elapsed());
                    self.send(outgoing, room);
                    return true;
                }
                // It took something in the meantime, and so has more time.
                Err(_) if deadline == stalled && self.progress.last() + limit > stalled => {}
                _ => {
                    self.cut.cancel();
                    return false;
                }
            }
        }
    }

    fn send(&self, outgoing: &Outgoing, room: OwnedSemaphorePermit) {
        if self.room.available_permits() + outgoing.room as usize == ROOM as usize {
            // Nothing waited before, so it could take nothing.
            self.progress.advance(0);
        }
        // A subscriber that is gone is no error; the next publication forgets it.
        let _ = self.queue.send(Queued { message: outgoing.message.clone(), room });
    }
}

/// How far a connection has come.
#[derive(Debug)]
pub(super) struct Progress {
    began: Instant,
    taken: AtomicU64,
    /// In ms since it began.
    last: AtomicU64,
}

impl Progress {
    fn new() -> Progress {
        Progress { began: Instant::now(), taken: AtomicU64::new(0), last: AtomicU64::new(0) }
    }

    /// The system took this many bytes, or with none could have taken some only from now on.
    pub(super) fn advance(&self, bytes: usize) {
        self.taken.fetch_add(bytes as u64, Ordering::Relaxed);
        let elapsed = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(elapsed, Ordering::Relaxed);
    }

    fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    fn last(&self) -> Instant {
        self.began + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }
}

/// The room of messages that are framed but not yet the system's.
#[derive(Default)]
pub(super) struct Held {
    written: u64,
    ends: VecDeque<(u64, OwnedSemaphorePermit)>,
}

impl Held {
    /// A message was framed, after which `pending` bytes wait for the system.
    pub(super) fn framed(&mut self, pending: usize, room: OwnedSemaphorePermit) {
        self.ends.push_back((self.written + pending as u64, room));
    }

    /// The system took this many bytes, and what ends with them has left.
    pub(super) fn written(&mut self, bytes: usize) {
        self.written += bytes as u64;
        while self.ends.front().is_some_and(|(end, _)| *end <= self.written) {
            self.ends.pop_front();
        }
    }
}
