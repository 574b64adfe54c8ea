//! The requests under way or waiting, by message id, so that an interrupt or a `cancel` finds the one it means from the moment
//! that the request was received.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

/// Every request that was received and not answered yet, in the order they came, and the token that ends each.
#[derive(Clone, Default)]
pub(crate) struct Running {
    /// By a number of our own: two clients, or a careless one, may use a message id twice.
    requests: Arc<Mutex<BTreeMap<u64, Entry>>>,
    next: Arc<AtomicU64>,
}

struct Entry {
    msg_id: String,
    token: CancellationToken,
    /// A cell of the notebook: what an interrupt that names no request means.
    cell: bool,
    began: bool,
}

impl Running {
    /// Registers a request until the guard drops. `parent` ends it too.
    pub(crate) fn enter(&self, msg_id: &str, cell: bool, parent: &CancellationToken) -> Guard {
        let token = parent.child_token();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let entry = Entry { msg_id: msg_id.to_owned(), token: token.clone(), cell, began: false };
        self.requests(|requests| requests.insert(number, entry));
        Guard { running: self.clone(), number, token }
    }

    /// Cancels a request by message id, also one that waits for its turn; false when there is none of that id.
    pub(crate) fn cancel(&self, msg_id: &str) -> bool {
        self.requests(|requests| {
            let mut named = requests.values().filter(|entry| entry.msg_id == msg_id).peekable();
            let found = named.peek().is_some();
            named.for_each(|entry| entry.token.cancel());
            found
        })
    }

    /// Whether a request of this message id is under way or waits for its turn.
    pub(crate) fn has(&self, msg_id: &str) -> bool {
        self.requests(|requests| requests.values().any(|entry| entry.msg_id == msg_id))
    }

    /// Cancels the notebook's cell that runs, or else the one that is about to.
    pub(crate) fn interrupt_notebook(&self) {
        self.requests(|requests| {
            let mut cells = requests.values().filter(|entry| entry.cell);
            let next = cells.clone().next();
            if let Some(cell) = cells.find(|entry| entry.began).or(next) {
                cell.token.cancel();
            }
        });
    }

    fn requests<R>(&self, change: impl FnOnce(&mut BTreeMap<u64, Entry>) -> R) -> R {
        change(&mut self.requests.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A request's place among them.
pub(crate) struct Guard {
    running: Running,
    number: u64,
    pub(crate) token: CancellationToken,
}

impl Guard {
    /// Its turn has come.
    pub(crate) fn begin(&self) {
        self.running.requests(|requests| {
            if let Some(entry) = requests.get_mut(&self.number) {
                entry.began = true;
            }
        });
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.running.requests(|requests| requests.remove(&self.number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupt_means_the_cell_that_runs() {
        let (running, kernel) = (Running::default(), CancellationToken::new());
        let [first, second, script] =
            [("a", true), ("b", true), ("c", false)].map(|(id, cell)| running.enter(id, cell, &kernel));
        second.begin();
        running.interrupt_notebook();
        assert_eq!([&first, &second, &script].map(|guard| guard.token.is_cancelled()), [false, true, false]);
        drop(second);
        running.interrupt_notebook();
        assert_eq!([&first, &script].map(|guard| guard.token.is_cancelled()), [true, false]);
    }

    #[test]
    fn a_message_id_that_is_used_twice_hides_nothing() {
        let (running, kernel) = (Running::default(), CancellationToken::new());
        let (first, second) = (running.enter("a", false, &kernel), running.enter("a", false, &kernel));
        drop(first);
        assert!(running.cancel("a") && second.token.is_cancelled());
        drop(second);
        assert!(!running.cancel("a"));
    }
}
