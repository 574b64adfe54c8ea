//! What the history's thread is told and asked, in order, and when it wakes for it: at once for a question, and for cells after a
//! pause in which more of them may come.

use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use perilune_protocol::{HistoryReply, HistoryRequest};
use tokio::sync::oneshot;

/// Cells and questions that may wait for the thread, and bytes of their text; a cell more is not kept.
const MOST: usize = 4096;
const MOST_BYTES: usize = 64 * 1024 * 1024;
/// So many are not waited with any longer.
const MANY: usize = 64;
/// How long a cell waits for others to be written with it: what a kernel that is killed may lose.
const PAUSE: Duration = Duration::from_millis(10);

/// What the thread is told or asked.
pub(super) enum Order {
    Input { shell: u32, line: i64, source: String },
    Output { shell: u32, line: i64, text: String },
    Find { shell: u32, request: HistoryRequest, reply: oneshot::Sender<Result<HistoryReply, String>> },
}

impl Order {
    fn bytes(&self) -> usize {
        match self {
            Order::Input { source: text, .. } | Order::Output { text, .. } => text.len(),
            Order::Find { .. } => 0,
        }
    }
}

/// The queue between those who tell and the thread that obeys.
#[derive(Default)]
pub(super) struct Orders {
    queue: Mutex<Queue>,
    news: Condvar,
}

#[derive(Default)]
struct Queue {
    orders: Vec<Order>,
    bytes: usize,
    /// Somebody waits for an answer.
    asked: bool,
    closed: bool,
}

impl Orders {
    /// Adds an order; false if there is no room for it. The thread is woken only where it has to be: it sleeps through its pause.
    pub(super) fn push(&self, order: Order) -> bool {
        let mut queue = self.lock();
        let bytes = queue.bytes + order.bytes();
        if queue.orders.len() >= MOST || bytes > MOST_BYTES {
            return false;
        }
        let asks = matches!(order, Order::Find { .. });
        queue.asked |= asks;
        // After the end nobody obeys, and whoever asked hears that from its reply's end.
        if !queue.closed {
            queue.orders.push(order);
            queue.bytes = bytes;
        }
        let waiting = queue.orders.len();
        drop(queue);
        if asks || waiting == 1 || waiting == MANY {
            self.news.notify_one();
        }
        true
    }

    /// Waits for orders; none come after the end.
    pub(super) fn take(&self) -> Option<Vec<Order>> {
        let waiting = self.news.wait_while(self.lock(), |queue| queue.orders.is_empty() && !queue.closed);
        let waiting = waiting.unwrap_or_else(PoisonError::into_inner);
        let paused = self
            .news
            .wait_timeout_while(waiting, PAUSE, |queue| !queue.asked && queue.orders.len() < MANY && !queue.closed);
        let (mut queue, _) = paused.unwrap_or_else(PoisonError::into_inner);
        (queue.asked, queue.bytes) = (false, 0);
        let orders = mem::take(&mut queue.orders);
        (!orders.is_empty()).then_some(orders)
    }

    /// Lets the thread end once it has obeyed all.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.news.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
