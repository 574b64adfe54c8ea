//! The ledger: what every request to a model took, in a file that all processes of this user share, and what may be spent in a
//! day. No prompt and no answer is in it.
//!
//! One thread owns the file, which is opened with the first entry or question, and takes what it is told in order: nobody waits
//! for a disk, and a question sees every entry before it. A file that cannot be opened or written is told of once, and then the
//! ledger lasts as long as the process.

mod store;

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use perilune_engine::Usage;
use tokio::sync::oneshot;
use tokio::time::timeout;

use self::store::Store;
pub use self::store::{CountedRequest, Since, UsageBy, UsageQuery, UsageRow, UsageTable};
use crate::budget::{Account, Amount, Period};
use crate::config::BudgetConfig;
use crate::error::Error;
use crate::provider::ProviderType;

/// Entries and questions that may wait for the thread; an entry more is not kept.
const MOST_WAITING: usize = 4096;
/// How long an entry waits for others to be written with it: what a process that is killed may lose.
const PAUSE: Duration = Duration::from_millis(10);
/// How long a question may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How long an ending process waits for its last entries to be written.
const END_LIMIT: Duration = Duration::from_secs(2);

/// The telling and asking end.
#[derive(Debug)]
pub struct Ledger {
    /// `None` keeps it in memory.
    file: Option<PathBuf>,
    /// What was spent today by what this process knows.
    pub(crate) day: Account,
    thread: Mutex<Option<Writer>>,
}

/// What one attempt to have a model answer took.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) at: SystemTime,
    pub(crate) session: String,
    /// The canonical specifier.
    pub(crate) model: String,
    pub(crate) instance: String,
    pub(crate) provider_type: ProviderType,
    /// `None` where the attempt ended before that was told.
    pub(crate) usage: Option<Usage>,
    /// Pieces of the answer that came, which are about as many as its tokens.
    pub(crate) pieces: u32,
    pub(crate) first_token: Option<Duration>,
    /// As in [`Usage`].
    pub(crate) tokens_per_second: Option<f64>,
    pub(crate) duration: Duration,
    /// `None` where the price is not known.
    pub(crate) usd: Option<f64>,
    /// Why it ended: a finish reason or the kind of an error.
    pub(crate) outcome: &'static str,
    /// Whether another kernel asked, which keeps a ledger of its own.
    pub(crate) lent: bool,
}

enum Order {
    Keep(Box<Entry>),
    Usage(UsageQuery, oneshot::Sender<Result<UsageTable, String>>),
    Today(oneshot::Sender<Option<Amount>>),
}

#[derive(Debug)]
struct Writer {
    orders: SyncSender<Order>,
    thread: JoinHandle<()>,
    ended: Receiver<std::convert::Infallible>,
}

impl Ledger {
    /// A ledger in `file`, or without one in memory; nothing is opened yet.
    pub fn new(file: Option<PathBuf>, budget: &BudgetConfig) -> Ledger {
        Ledger { file, day: Account::new(Period::Day, budget.day, budget.warn_at), thread: Mutex::default() }
    }

    pub(crate) fn keep(&self, entry: Entry) {
        self.tell(Order::Keep(Box::new(entry)));
    }

    /// What was taken since some time, by model, day, session or instance, or request by request.
    pub async fn usage(&self, query: UsageQuery) -> Result<UsageTable, Error> {
        let (reply, answer) = oneshot::channel();
        self.tell(Order::Usage(query, reply));
        let failed = |problem: String| Error::Ledger { problem };
        match timeout(ANSWER_LIMIT, answer).await {
            Ok(Ok(answer)) => answer.map_err(failed),
            Ok(Err(_)) => Err(failed("it is busy; ask again later".to_owned())),
            Err(_) => Err(failed(format!("no answer within {} s", ANSWER_LIMIT.as_secs()))),
        }
    }

    /// Brings what is known to be spent today up to date with what other processes spent, where that matters.
    pub(crate) async fn refresh_day(&self) {
        if !self.day.is_limited() {
            return;
        }
        let (reply, answer) = oneshot::channel();
        self.tell(Order::Today(reply));
        // Without an answer, what this process knows has to do.
        if let Ok(Ok(Some(spent))) = timeout(ANSWER_LIMIT, answer).await {
            self.day.set(spent);
        }
    }

    fn tell(&self, order: Order) {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.is_none() {
            *thread = Writer::start(self.file.clone());
        }
        let Some(writer) = thread.as_ref() else { return };
        if let Err(TrySendError::Full(_)) = writer.orders.try_send(order) {
            tracing::warn!("the ledger is too slow; an entry is not kept or a question not answered");
        }
    }

    /// Writes what it was told. Blocks, but not for long.
    pub fn close(&self) {
        let writer = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Writer { orders, thread, ended }) = writer else { return };
        drop(orders);
        match ended.recv_timeout(END_LIMIT) {
            Err(RecvTimeoutError::Timeout) => {
                tracing::warn!("the ledger did not end in time; its last entries may be lost");
            }
            _ => drop(thread.join()),
        }
    }
}

impl Writer {
    fn start(file: Option<PathBuf>) -> Option<Writer> {
        let (orders, received) = sync_channel(MOST_WAITING);
        let (running, ended) = std::sync::mpsc::channel();
        let run = move || {
            let _running = running;
            obey(file, &received);
        };
        match std::thread::Builder::new().name("ledger".to_owned()).spawn(run) {
            Ok(thread) => Some(Writer { orders, thread, ended }),
            Err(error) => {
                tracing::warn!(%error, "no thread for the ledger; what requests take is not kept");
                None
            }
        }
    }
}

/// The thread: obeys until nobody can tell it anything any more.
fn obey(file: Option<PathBuf>, orders: &Receiver<Order>) {
    let Some(mut store) = open(file) else { return };
    let mut told = false;
    while let Ok(order) = orders.recv() {
        let mut entries = Vec::new();
        let question = gather(order, orders, &mut entries);
        if let Err(error) = store.keep(&entries)
            && !std::mem::replace(&mut told, true)
        {
            tracing::warn!(%error, "what a request took could not be written to the ledger, nor may what follows");
        }
        // Whoever asked may have stopped waiting.
        match question {
            Some(Order::Usage(query, reply)) => {
                let _ = reply.send(store.usage(&query).map_err(|error| error.to_string()));
            }
            Some(Order::Today(reply)) => {
                let _ = reply.send(store.today().inspect_err(|error| tracing::warn!(%error, "no sum of today")).ok());
            }
            Some(Order::Keep(_)) | None => {}
        }
    }
}

/// Takes the entries of a short while together, up to a question.
fn gather(first: Order, orders: &Receiver<Order>, entries: &mut Vec<Entry>) -> Option<Order> {
    let end = Instant::now() + PAUSE;
    let mut next = Some(first);
    while let Some(order) = next {
        match order {
            Order::Keep(entry) => entries.push(*entry),
            question => return Some(question),
        }
        next = orders.recv_timeout(end.saturating_duration_since(Instant::now())).ok();
    }
    None
}

/// The store in `file`, or one in memory where that cannot be.
fn open(file: Option<PathBuf>) -> Option<Store> {
    if let Some(file) = &file {
        match Store::open(file) {
            Ok(store) => return Some(store),
            Err(error) => {
                tracing::warn!("the ledger lasts only as long as this process: `{}`: {error}", file.display());
            }
        }
    }
    Store::in_memory().inspect_err(|error| tracing::warn!(%error, "what requests take is not kept")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;

    fn entry(model: &str, completion_tokens: u32) -> Entry {
        let usage = Usage { prompt_tokens: 10, cached_tokens: 4, completion_tokens, ..Usage::default() };
        Entry {
            at: SystemTime::now(),
            session: "s".to_owned(),
            model: model.to_owned(),
            instance: "box".to_owned(),
            provider_type: ProviderType::Candle,
            usage: Some(usage),
            pieces: completion_tokens,
            first_token: Some(Duration::from_millis(100)),
            tokens_per_second: Some(20.0),
            duration: Duration::from_millis(1100),
            usd: Some(0.25),
            outcome: "stop",
            lent: false,
        }
    }

    #[tokio::test]
    async fn what_is_kept_is_there_for_another_process_and_counts_for_the_day() {
        let folder = tempfile::tempdir().unwrap();
        let file = Some(folder.path().join("deep/ledger.sqlite3"));
        let limited = BudgetConfig { day: Limits { tokens: Some(1000), usd: None }, ..BudgetConfig::default() };
        let (one, other) = (Ledger::new(file.clone(), &limited), Ledger::new(file, &limited));
        one.keep(entry("local/a@box", 20));
        one.keep(entry("local/b@box", 30));
        one.keep(Entry { usage: None, usd: None, outcome: "network", ..entry("local/b@box", 0) });
        one.keep(Entry { lent: true, ..entry("local/b@box", 50) });
        one.close();

        let table = other.usage(UsageQuery::default()).await.unwrap();
        let rows: Vec<_> =
            table.rows.iter().map(|row| (row.key.as_str(), row.requests, row.completion_tokens)).collect();
        assert_eq!(rows, [("local/b@box", 2, 30), ("local/a@box", 1, 20)]);
        assert_eq!((table.rows[0].failed, table.rows[0].untold, table.total.prompt_tokens), (1, 1, 20));
        assert_eq!(table.rows[1].tokens_per_second, Some(20.0));
        assert_eq!((table.total.usd, table.total.unpriced), (Some(0.5), 0));
        assert_eq!(table.lent.map(|lent| lent.completion_tokens), Some(50));
        other.refresh_day().await;
        // What was lent was computed here, too.
        assert_eq!(other.day.spent(), Amount { tokens: 30 + 40 + 60, usd: 0.75 });
    }

    #[tokio::test]
    async fn it_is_asked_by_day_session_and_instance_and_since_a_time() {
        let ledger = Ledger::new(None, &BudgetConfig::default());
        ledger.keep(entry("local/a@box", 1));
        let old = SystemTime::now() - Duration::from_secs(3 * 86_400);
        ledger.keep(Entry { at: old, session: "t".to_owned(), ..entry("local/a@box", 2) });
        let keys = async |by: &str, since: Option<&str>| {
            let query = UsageQuery { by: by.parse().unwrap(), since: since.map(|since| since.parse().unwrap()) };
            let table = ledger.usage(query).await.unwrap();
            table.rows.iter().map(|row| row.key.clone()).collect::<Vec<_>>()
        };
        assert_eq!(keys("session", None).await, ["t", "s"]);
        assert_eq!(keys("session", Some("2d")).await, ["s"]);
        assert_eq!(keys("session", Some("today")).await, ["s"]);
        assert_eq!(keys("session", Some("2001-02-03")).await, ["t", "s"]);
        assert_eq!(keys("instance", None).await, ["box"]);
        let days = keys("day", None).await;
        assert!(days.len() == 2 && days[0] < days[1], "{days:?}");
        let by_request = UsageQuery { by: "request".parse().unwrap(), since: None };
        let table = ledger.usage(by_request).await.unwrap();
        let requests: Vec<_> = table.rows.iter().filter_map(|row| row.request.as_ref()).collect();
        assert_eq!(
            requests.iter().map(|request| request.session.as_str()).collect::<Vec<_>>(),
            ["t", "s"],
            "newest first"
        );
        assert_eq!((requests[0].model.as_str(), requests[0].outcome.as_str()), ("local/a@box", "stop"));
        assert!(table.rows[0].key.starts_with(&days[0]), "{}", table.rows[0].key);
        for wrong in ["2001-13-01", "yesterday", "7", "-1d", ""] {
            let error = wrong.parse::<Since>().unwrap_err().to_string();
            assert!(error.contains("such as `7d`"), "{error}");
        }
    }
}
