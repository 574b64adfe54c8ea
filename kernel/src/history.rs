//! The history: every cell that the notebook ran, in a file that all kernels of this user share.
//!
//! One thread owns the file and takes what it is told in order, so that a question sees every cell before it and no cell waits
//! for a disk. The file is opened with the first cell or question. One that cannot be opened, written or understood is told of
//! once, and then the history lasts as long as the kernel.

mod store;

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use perilune_protocol::{HistoryReply, HistoryRequest};
use tokio::sync::oneshot;
use tokio::time::timeout;

use self::store::Store;

/// Cells and questions that may wait for the thread; a cell more is not kept.
const QUEUE: usize = 256;
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
    orders: SyncSender<Order>,
    thread: JoinHandle<()>,
    ended: Receiver<std::convert::Infallible>,
}

/// What the thread is told or asked.
enum Order {
    Input { line: i64, source: String },
    Output { line: i64, text: String },
    Find { request: HistoryRequest, reply: oneshot::Sender<Result<HistoryReply, String>> },
}

impl History {
    /// A history in `file`; nothing is opened yet.
    pub(crate) fn new(file: Option<PathBuf>) -> Arc<History> {
        Arc::new(History { file, thread: Mutex::default() })
    }

    /// Keeps a cell that is about to run.
    pub(crate) fn input(&self, line: u32, source: &str) {
        if source.trim().is_empty() || source.len() > LARGEST_CELL {
            return;
        }
        self.tell(Order::Input { line: line.into(), source: source.to_owned() });
    }

    /// Keeps what a cell returned.
    pub(crate) fn output(&self, line: u32, text: &str) {
        let text = text[..text.floor_char_boundary(LARGEST_OUTPUT)].to_owned();
        self.tell(Order::Output { line: line.into(), text });
    }

    /// The cells that a request asks for.
    pub(crate) async fn find(&self, request: HistoryRequest) -> Result<HistoryReply, String> {
        let (reply, answer) = oneshot::channel();
        self.tell(Order::Find { request, reply });
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
        if let Err(TrySendError::Full(_)) = writer.orders.try_send(order) {
            tracing::warn!("the history is too slow; a cell is not kept or a question not answered");
        }
    }

    /// Writes what it was told. Blocks, but not for long.
    pub(crate) fn close(&self) {
        let writer = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Writer { orders, thread, ended }) = writer else { return };
        drop(orders);
        match ended.recv_timeout(END_LIMIT) {
            Err(RecvTimeoutError::Timeout) => {
                tracing::warn!("the history did not end in time; its last cells may be lost")
            }
            _ => drop(thread.join()),
        }
    }
}

impl Writer {
    fn start(file: Option<PathBuf>) -> Option<Writer> {
        let (orders, received) = sync_channel(QUEUE);
        let (running, ended) = std::sync::mpsc::channel();
        let run = move || {
            let _running = running;
            write(file, received);
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

/// The thread: obeys until everybody who could order is gone.
fn write(file: Option<PathBuf>, orders: Receiver<Order>) {
    let Some(mut store) = open(file) else { return };
    let mut told = false;
    for order in orders {
        let done = match order {
            Order::Input { line, source } => store.input(line, &source),
            Order::Output { line, text } => store.output(line, &text),
            Order::Find { request, reply } => {
                let found = store.find(&request).map_err(|error| format!("cannot read the history: {error}"));
                // Whoever asked may have stopped waiting.
                let _ = reply.send(found);
                continue;
            }
        };
        if let Err(error) = done
            && !told
        {
            told = true;
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
