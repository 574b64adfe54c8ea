//! The history: every cell that the notebook ran, in a file that all kernels of this user share.
//!
//! One thread owns the file and takes what it is told in order, so that a question sees every cell before it and no cell waits
//! for a disk. It writes the cells of a short while together, so that it does not contend for a processor with each of them. The
//! file is opened with the first cell or question. One that cannot be opened, written or understood is told of once, and then
//! the history lasts as long as the kernel.

mod orders;
mod store;

use std::mem;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use perilune_protocol::{HistoryReply, HistoryRequest};
use tokio::sync::oneshot;
use tokio::time::timeout;

use self::orders::{Order, Orders};
use self::store::Store;

/// Bytes beyond which a cell is not kept, and beyond which the text that it returned is cut.
const LARGEST_CELL: usize = 1024 * 1024;
const LARGEST_OUTPUT: usize = 64 * 1024;
/// How long a question may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How long an ending kernel waits for its last cells to be written.
const END_LIMIT: Duration = Duration::from_secs(2);

/// The asking and telling end.
pub(crate) struct History {
    /// The file; none keeps the history in memory.
    file: Option<PathBuf>,
    thread: Mutex<Option<Writer>>,
}

struct Writer {
    orders: Arc<Orders>,
    thread: JoinHandle<()>,
    ended: Receiver<std::convert::Infallible>,
}

impl History {
    /// A history in `file`; nothing is opened yet.
    pub(crate) fn new(file: Option<PathBuf>) -> Arc<History> {
        Arc::new(History { file, thread: Mutex::default() })
    }

    /// Keeps a cell that is about to run in a shell, each of which has sessions of its own.
    pub(crate) fn input(&self, shell: u32, line: u32, source: &str) {
        if source.trim().is_empty() || source.len() > LARGEST_CELL {
            return;
        }
        self.tell(Order::Input { shell, line: line.into(), source: source.to_owned() });
    }

    /// Keeps what a cell returned.
    pub(crate) fn output(&self, shell: u32, line: u32, text: &str) {
        let text = text[..text.floor_char_boundary(LARGEST_OUTPUT)].to_owned();
        self.tell(Order::Output { shell, line: line.into(), text });
    }

    /// The cells that a request asks for.
    pub(crate) async fn find(&self, shell: u32, request: HistoryRequest) -> Result<HistoryReply, String> {
        let (reply, answer) = oneshot::channel();
        self.tell(Order::Find { shell, request, reply });
        match timeout(ANSWER_LIMIT, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err("the history is busy; ask again later".to_owned()),
            Err(_) => Err(format!("the history did not answer within {} s", ANSWER_LIMIT.as_secs())),
        }
    }

    fn tell(&self, order: Order) {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.is_none() {
            *thread = Writer::start(self.file.clone());
        }
        let Some(writer) = thread.as_ref() else { return };
        if !writer.orders.push(order) {
            tracing::warn!("the history is too slow; a cell is not kept or a question not answered");
        }
    }

    /// Writes what it was told. Blocks, but not for long.
    pub(crate) fn close(&self) {
        let writer = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Writer { orders, thread, ended }) = writer else { return };
        orders.close();
        match ended.recv_timeout(END_LIMIT) {
            Err(RecvTimeoutError::Timeout) => {
                tracing::warn!("the history did not end in time; its last cells may be lost")
            }
            _ => drop(thread.join()),
        }
    }
}

impl Drop for History {
    /// Lets the thread end, where nobody waited for that.
    fn drop(&mut self) {
        if let Some(writer) = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner) {
            writer.orders.close();
        }
    }
}

impl Writer {
    fn start(file: Option<PathBuf>) -> Option<Writer> {
        let orders = Arc::new(Orders::default());
        let obeyed = orders.clone();
        let (running, ended) = std::sync::mpsc::channel();
        let run = move || {
            let _running = running;
            write(file, &obeyed);
        };
        match std::thread::Builder::new().name("history".to_owned()).spawn(run) {
            Ok(thread) => Some(Writer { orders, thread, ended }),
            Err(error) => {
                tracing::warn!(%error, "no thread for the history; cells are not kept");
                None
            }
        }
    }
}

/// The thread: obeys until the history is closed.
fn write(file: Option<PathBuf>, orders: &Orders) {
    let Some(mut store) = open(file) else {
        orders.close();
        // Whoever asked meanwhile hears that nobody answers.
        return drop(orders.take());
    };
    let mut told = false;
    while let Some(batch) = orders.take() {
        let mut failed = None;
        let mut answers = Vec::new();
        let writes = batch.iter().any(|order| !matches!(order, Order::Find { .. }));
        let all = |store: &mut Store| {
            for order in batch {
                let obeyed = match order {
                    Order::Input { shell, line, source } => store.input(shell, line, &source),
                    Order::Output { shell, line, text } => store.output(shell, line, &text),
                    Order::Find { shell, request, reply } => {
                        answers.push((reply, store.find(shell, &request)));
                        Ok(())
                    }
                };
                failed = obeyed.err().or(failed.take());
            }
        };
        if writes {
            store.together(all)
        } else {
            all(&mut store)
        }
        // Only now other kernels see what was written before a question, which its answer lets whoever asked believe.
        for (reply, found) in answers {
            // Whoever asked may have stopped waiting.
            let _ = reply.send(found.map_err(|error| format!("cannot read the history: {error}")));
        }
        if let Some(error) = failed
            && !mem::replace(&mut told, true)
        {
            tracing::warn!(%error, "a cell could not be written to the history, nor may those that follow");
        }
    }
}

/// The store in `file`, or one in memory where that cannot be.
fn open(file: Option<PathBuf>) -> Option<Store> {
    let refused = match &file {
        None => "there is no home directory".to_owned(),
        Some(file) => match Store::open(file) {
            Ok(store) => return Some(store),
            Err(error) => format!("`{}`: {error}", file.display()),
        },
    };
    tracing::warn!("the history lasts only as long as this kernel: {refused}");
    Store::in_memory().inspect_err(|error| tracing::warn!(%error, "cells are not kept")).ok()
}
