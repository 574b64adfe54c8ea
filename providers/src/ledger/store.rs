//! The file of the ledger: SQLite in WAL mode, so that processes read and write it side by side.

use std::path::Path;
use std::str::FromStr;
use std::time::UNIX_EPOCH;

use rusqlite::{Connection, Row, params, params_from_iter};
use serde::Serialize;

use super::Entry;
use crate::budget::Amount;
use crate::database::{self, DatabaseError};
use crate::error::Error;
use crate::meter::milliseconds;
use crate::provider::ProviderType;

/// Entries that are kept; the oldest go when a process opens a ledger that has more.
const KEPT: i64 = 1_000_000;
/// Rows of one table at most.
const MOST_ROWS: usize = 10_000;
/// Requests that a table of single ones has at most.
const MOST_REQUESTS: usize = 1000;

/// What each version of the file adds to the one before; `user_version` counts them.
const MIGRATIONS: [&str; 2] = [
    "
    CREATE TABLE requests (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        at INTEGER NOT NULL, session TEXT NOT NULL, model TEXT NOT NULL, instance TEXT NOT NULL, provider TEXT NOT NULL,
        prompt_tokens INTEGER, cached_tokens INTEGER, completion_tokens INTEGER, thinking_tokens INTEGER,
        first_token_ms REAL, duration_ms REAL NOT NULL, usd REAL, outcome TEXT NOT NULL, lent INTEGER NOT NULL
    );
    CREATE INDEX requests_at ON requests (at);",
    "
    ALTER TABLE requests ADD COLUMN tokens_per_second REAL;
    UPDATE requests SET tokens_per_second = (completion_tokens - 1) * 1000.0 / (duration_ms - first_token_ms)
        WHERE completion_tokens > 1 AND duration_ms - first_token_ms >= 10;",
];

/// What a group of requests took together, in the order of [`UsageRow`]'s fields. Prices are missing only where tokens are told.
const SUMS: &str = "
    total(1), total(prompt_tokens IS NULL), total(outcome NOT IN ('stop', 'length', 'tool_calls', 'cancelled')),
    total(prompt_tokens), total(cached_tokens), total(completion_tokens), total(thinking_tokens), total(duration_ms),
    avg(first_token_ms),
    total(completion_tokens) FILTER (WHERE tokens_per_second > 0) / nullif(total(completion_tokens / tokens_per_second), 0),
    sum(usd), total(usd IS NULL AND prompt_tokens IS NOT NULL)";

/// By what usage is summed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UsageBy {
    /// The model, by its specifier.
    #[default]
    Model,
    /// The day, by the local clock.
    Day,
    /// Who asked.
    Session,
    /// The provider instance.
    Instance,
    /// Nothing: each request is a row.
    Request,
}

impl UsageBy {
    const ALL: [(&'static str, UsageBy); 5] = [
        ("model", UsageBy::Model),
        ("day", UsageBy::Day),
        ("session", UsageBy::Session),
        ("instance", UsageBy::Instance),
        ("request", UsageBy::Request),
    ];

    fn column(self) -> &'static str {
        match self {
            UsageBy::Model => "model",
            UsageBy::Day => "date(at / 1000, 'unixepoch', 'localtime')",
            UsageBy::Session => "session",
            UsageBy::Instance => "instance",
            UsageBy::Request => "datetime(at / 1000, 'unixepoch', 'localtime')",
        }
    }

    /// What makes one row of several requests.
    fn group(self) -> &'static str {
        match self {
            UsageBy::Request => "number",
            _ => "1",
        }
    }

    /// Days as they came, requests with the newest first, the others by what they took.
    fn order(self) -> &'static str {
        match self {
            UsageBy::Day => "1",
            UsageBy::Request => "number DESC",
            _ => "total(prompt_tokens) + total(completion_tokens) DESC, 1",
        }
    }

    fn most_rows(self) -> usize {
        match self {
            UsageBy::Request => MOST_REQUESTS,
            _ => MOST_ROWS,
        }
    }
}

impl FromStr for UsageBy {
    type Err = Error;

    fn from_str(word: &str) -> Result<UsageBy, Error> {
        let known = UsageBy::ALL.into_iter().find(|(known, _)| *known == word);
        known.map(|(_, by)| by).ok_or_else(|| Error::UsageQuery {
            problem: format!(
                "`{word}` is nothing to sum usage by; there are {}",
                UsageBy::ALL.map(|(known, _)| format!("`{known}`")).join(", ")
            ),
        })
    }
}

/// A time from which on usage is summed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Since(
    /// What SQLite's `unixepoch` is given: <https://sqlite.org/lang_datefunc.html>.
    Vec<String>,
);

impl FromStr for Since {
    type Err = Error;

    /// `7d`, `24h`, `30m`, `today`, or a local date.
    fn from_str(text: &str) -> Result<Since, Error> {
        let unit = |(number, unit): (&str, &str)| {
            let number: u32 = number.parse().ok()?;
            Some(vec!["now".to_owned(), format!("-{number} {unit}")])
        };
        let ago = [('d', "days"), ('h', "hours"), ('m', "minutes")]
            .into_iter()
            .find_map(|(letter, name)| unit((text.strip_suffix(letter)?, name)));
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        match ago {
            Some(ago) => Ok(Since(ago)),
            None if text == "today" => Ok(Since(words(&["now", "localtime", "start of day", "utc"]))),
            None if is_date(text) => Ok(Since(words(&[text, "utc"]))),
            None => Err(Error::UsageQuery {
                problem: format!("`{text}` is no time; write one such as `7d`, `24h`, `30m`, `today` or `2026-01-31`"),
            }),
        }
    }
}

/// Whether a text is a year, month and day that may be. SQLite says nothing of others.
fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts[..] else { return false };
    let number = |part: &str, digits: usize, range: std::ops::RangeInclusive<u32>| {
        part.len() == digits && part.parse().is_ok_and(|number| range.contains(&number))
    };
    number(year, 4, 1970..=9999) && number(month, 2, 1..=12) && number(day, 2, 1..=31)
}

/// What is asked of a ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageQuery {
    /// What makes a row.
    pub by: UsageBy,
    /// From when on; `None`: as long as there are entries.
    pub since: Option<Since>,
}

/// What requests took together.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct UsageRow {
    /// The model, day, session or instance, or the local time of the request; empty for a sum of all.
    pub key: String,
    /// Of a single request, what it was.
    #[serde(flatten)]
    pub request: Option<CountedRequest>,
    /// Attempts to have a model answer.
    pub requests: u64,
    /// Those that ended before they told their tokens: only the pieces of their answers are in the sums.
    pub untold: u64,
    /// Those that failed.
    pub failed: u64,
    /// Tokens of their prompts.
    pub prompt_tokens: u64,
    /// Tokens of the prompts that were known from an earlier request.
    pub cached_tokens: u64,
    /// Tokens they generated.
    pub completion_tokens: u64,
    /// Those of them that were thinking.
    pub thinking_tokens: u64,
    /// Milliseconds from request to end.
    pub duration_ms: f64,
    /// Milliseconds from request to the first piece of the answer, on average.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_token_ms: Option<f64>,
    /// Tokens a second after the first piece.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_second: Option<f64>,
    /// US dollars, as far as prices are known; `None` where none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usd: Option<f64>,
    /// Requests whose price is not known.
    pub unpriced: u64,
}

/// One request of a ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CountedRequest {
    /// Who asked.
    pub session: String,
    /// The model, by its specifier.
    pub model: String,
    /// The provider instance.
    pub instance: String,
    /// Why it ended: a finish reason or the kind of an error.
    pub outcome: String,
}

/// The rows of a ledger and their sum.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct UsageTable {
    /// What somebody here asked for.
    pub rows: Vec<UsageRow>,
    /// The sum of the rows, and of those that are too many to be told.
    pub total: UsageRow,
    /// What other kernels had models of this machine answer, if they did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lent: Option<UsageRow>,
}

#[derive(Debug)]
pub(super) struct Store {
    connection: Connection,
}

impl Store {
    /// The ledger in `file`, which only this user may read.
    pub(super) fn open(file: &Path) -> Result<Store, DatabaseError> {
        let connection = database::open(file, &MIGRATIONS)?;
        let prune = "DELETE FROM requests WHERE number <= (SELECT max(number) FROM requests) - ?";
        connection.execute(prune, [KEPT])?;
        Ok(Store { connection })
    }

    /// A ledger that ends with the process.
    pub(super) fn in_memory() -> Result<Store, DatabaseError> {
        Ok(Store { connection: database::in_memory(&MIGRATIONS)? })
    }

    /// Writes entries at once.
    pub(super) fn keep(&mut self, entries: &[Entry]) -> Result<(), DatabaseError> {
        if entries.is_empty() {
            return Ok(());
        }
        let transaction = self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        {
            let mut insert = transaction.prepare(
                "INSERT INTO requests (at, session, model, instance, provider, prompt_tokens, cached_tokens, \
                 completion_tokens, thinking_tokens, first_token_ms, tokens_per_second, duration_ms, usd, outcome, lent) \
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?;
            for entry in entries {
                let at = entry.at.duration_since(UNIX_EPOCH).unwrap_or_default();
                insert.execute(params![
                    i64::try_from(at.as_millis()).unwrap_or(i64::MAX),
                    entry.session,
                    entry.model,
                    entry.instance,
                    entry.provider_type.as_str(),
                    entry.usage.map(|usage| usage.prompt_tokens),
                    entry.usage.map(|usage| usage.cached_tokens),
                    // Of an answer that was broken off, this much is known.
                    entry.usage.map_or(entry.pieces, |usage| usage.completion_tokens),
                    entry.usage.map(|usage| usage.thinking_tokens),
                    entry.first_token.map(milliseconds),
                    entry.tokens_per_second,
                    milliseconds(entry.duration),
                    entry.usd,
                    entry.outcome,
                    entry.lent,
                ])?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// What was spent today, by the local clock. What was borrowed of another kernel is that one's to limit.
    pub(super) fn today(&self) -> Result<Amount, DatabaseError> {
        let sum = "SELECT total(prompt_tokens) + total(completion_tokens), total(usd) FROM requests \
                   WHERE at >= unixepoch('now', 'localtime', 'start of day', 'utc') * 1000 AND provider <> ?";
        let amount = |row: &Row<'_>| Ok(Amount { tokens: row.get::<_, f64>(0)? as u64, usd: row.get(1)? });
        Ok(self.connection.prepare(sum)?.query_row([ProviderType::Kernel.as_str()], amount)?)
    }

    /// The table that somebody asks for.
    pub(super) fn usage(&self, query: &UsageQuery) -> Result<UsageTable, DatabaseError> {
        let (from, words) = match &query.since {
            Some(Since(words)) => {
                let marks = vec!["?"; words.len()].join(", ");
                (format!("at >= unixepoch({marks}) * 1000"), words.as_slice())
            }
            None => ("true".to_owned(), [].as_slice()),
        };
        let by = query.by;
        let rows = format!(
            "SELECT {}, {SUMS}, session, model, instance, outcome FROM requests WHERE {from} AND NOT lent \
             GROUP BY {} ORDER BY {} LIMIT {}",
            by.column(),
            by.group(),
            by.order(),
            by.most_rows()
        );
        let mut rows = self.connection.prepare(&rows)?;
        let row = |row: &Row<'_>| {
            let request = if by == UsageBy::Request { Some(counted_request(row)?) } else { None };
            Ok(UsageRow { request, ..usage_row(row)? })
        };
        let rows = rows.query_map(params_from_iter(words), row)?.collect::<Result<Vec<_>, _>>()?;
        let sum = |condition: &str| {
            let sum = format!("SELECT '', {SUMS} FROM requests WHERE {from} AND {condition}");
            self.connection.query_row(&sum, params_from_iter(words), usage_row)
        };
        let (total, lent) = (sum("NOT lent")?, sum("lent")?);
        Ok(UsageTable { rows, total, lent: Some(lent).filter(|lent| lent.requests > 0) })
    }
}

fn usage_row(row: &Row<'_>) -> rusqlite::Result<UsageRow> {
    // `total` is never nothing, and a fraction.
    let total = |column: usize| row.get::<_, f64>(column).map(|sum| sum as u64);
    Ok(UsageRow {
        key: row.get(0)?,
        request: None,
        requests: total(1)?,
        untold: total(2)?,
        failed: total(3)?,
        prompt_tokens: total(4)?,
        cached_tokens: total(5)?,
        completion_tokens: total(6)?,
        thinking_tokens: total(7)?,
        duration_ms: row.get(8)?,
        first_token_ms: row.get(9)?,
        tokens_per_second: row.get(10)?,
        usd: row.get(11)?,
        unpriced: total(12)?,
    })
}

fn counted_request(row: &Row<'_>) -> rusqlite::Result<CountedRequest> {
    let text = |column: &str| row.get(column);
    Ok(CountedRequest {
        session: text("session")?,
        model: text("model")?,
        instance: text("instance")?,
        outcome: text("outcome")?,
    })
}
