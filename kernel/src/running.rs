//! The requests under way, by message id, so that an interrupt or a `cancel` finds the one it means.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

/// Every request under way and the token that ends it.
#[derive(Clone, Default)]
pub(crate) struct Running(Arc<Mutex<HashMap<String, Entry>>>);

struct Entry {
    token: CancellationToken,
    /// A cell of the notebook: what an interrupt that names no request means.
    notebook: bool,
}

impl Running {
    /// Registers a request until the guard drops. `parent` ends it too.
    pub(crate) fn enter(&self, request: &str, notebook: bool, parent: &CancellationToken) -> Guard {
        let token = parent.child_token();
        let entry = Entry { token: token.clone(), notebook };
        self.table(|table| table.insert(request.to_owned(), entry));
        Guard { running: self.clone(), request: request.to_owned(), token }
    }

    /// Cancels a request by message id; false when none of that id is under way.
    pub(crate) fn cancel(&self, request: &str) -> bool {
        self.table(|table| table.get(request).map(|entry| entry.token.cancel())).is_some()
    }

    /// Cancels the notebook's cell, if one runs.
    pub(crate) fn interrupt_notebook(&self) {
        self.table(|table| table.values().filter(|entry| entry.notebook).for_each(|entry| entry.token.cancel()));
    }

    fn table<R>(&self, change: impl FnOnce(&mut HashMap<String, Entry>) -> R) -> R {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A request's place in the table.
pub(crate) struct Guard {
    running: Running,
    request: String,
    pub(crate) token: CancellationToken,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.running.table(|table| table.remove(&self.request));
    }
}
