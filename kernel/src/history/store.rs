//! The file of the history: SQLite in WAL mode, so that kernels read and write it side by side. A session is a kernel that ran a
//! cell; a line is that cell's execution count.

use std::collections::BTreeMap;
use std::path::Path;

use perilune_protocol::{HistoryAccess, HistoryEntry, HistoryReply, HistoryRequest};
use perilune_providers::database::{self, DatabaseError};
use rusqlite::{Connection, OptionalExtension, Params, Row, params};

/// Cells that are kept; the oldest go when a kernel opens a history that has more.
const KEPT_CELLS: i64 = 100_000;
/// Cells that one answer has at most: the last ones.
const MOST_ANSWERED: i64 = 10_000;
/// Cells of a `tail` that does not say how many, as in IPython.
const TAIL: i64 = 10;

/// What each version of the file adds to the one before; `user_version` counts them.
const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE sessions (session INTEGER PRIMARY KEY AUTOINCREMENT, started TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP);
    CREATE TABLE cells (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        session INTEGER NOT NULL, line INTEGER NOT NULL, source TEXT NOT NULL, output TEXT,
        UNIQUE (session, line)
    );
"];

pub(crate) struct Store {
    connection: Connection,
    /// The session of each shell of this kernel that has run a cell.
    sessions: BTreeMap<u32, i64>,
}

impl Store {
    /// The history in `file`, which only this user may read.
    pub(crate) fn open(file: &Path) -> Result<Store, DatabaseError> {
        let connection = database::open(file, &MIGRATIONS)?;
        connection.execute("DELETE FROM cells WHERE number <= (SELECT max(number) FROM cells) - ?", [KEPT_CELLS])?;
        Ok(Store { connection, sessions: BTreeMap::new() })
    }

    /// A history that ends with the kernel.
    pub(crate) fn in_memory() -> Result<Store, DatabaseError> {
        Ok(Store { connection: database::in_memory(&MIGRATIONS)?, sessions: BTreeMap::new() })
    }

    /// Writes what `work` writes at once, which takes a fraction of the time; where that cannot be, one by one.
    pub(crate) fn together(&mut self, work: impl FnOnce(&mut Store)) {
        let begun = self.connection.execute_batch("BEGIN IMMEDIATE").is_ok();
        work(self);
        if begun && let Err(error) = self.connection.execute_batch("COMMIT") {
            tracing::warn!(%error, "some cells could not be written to the history");
            // Without an end to the transaction, nothing more could be written.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }

    pub(crate) fn input(&mut self, shell: u32, line: i64, source: &str) -> Result<(), DatabaseError> {
        let session = self.session(shell)?;
        let insert = "INSERT OR REPLACE INTO cells (session, line, source) VALUES (?, ?, ?)";
        self.connection.prepare(insert)?.execute(params![session, line, source])?;
        Ok(())
    }

    pub(crate) fn output(&mut self, shell: u32, line: i64, text: &str) -> Result<(), DatabaseError> {
        let session = self.session(shell)?;
        let update = "UPDATE cells SET output = ? WHERE session = ? AND line = ?";
        self.connection.prepare(update)?.execute(params![text, session, line])?;
        Ok(())
    }

    fn session(&mut self, shell: u32) -> Result<i64, DatabaseError> {
        if let Some(session) = self.sessions.get(&shell) {
            return Ok(*session);
        }
        self.connection.execute("INSERT INTO sessions DEFAULT VALUES", [])?;
        let session = self.connection.last_insert_rowid();
        self.sessions.insert(shell, session);
        Ok(session)
    }

    pub(crate) fn find(&self, shell: u32, request: &HistoryRequest) -> Result<HistoryReply, DatabaseError> {
        let output = request.output;
        let history = match &request.access {
            HistoryAccess::Tail { n } => self.last("true", [limit(*n, TAIL)], output)?,
            HistoryAccess::Range { session, start, stop } => {
                let session = self.meant(shell, *session)?;
                let stop = stop.filter(|stop| *stop != 0).unwrap_or(i64::MAX);
                let within = "session = ? AND line >= ? AND line < ?";
                self.last(within, params![session, start, stop, MOST_ANSWERED], output)?
            }
            HistoryAccess::Search { pattern, n, unique } => {
                let pattern = pattern.as_deref().unwrap_or("*");
                let limit = limit(*n, MOST_ANSWERED);
                match unique {
                    false => self.last("source GLOB ?", params![pattern, limit], output)?,
                    true => {
                        let last = "number IN (SELECT max(number) FROM cells WHERE source GLOB ? GROUP BY source)";
                        self.last(last, params![pattern, limit], output)?
                    }
                }
            }
        };
        Ok(HistoryReply { history })
    }

    /// The last cells of those that `condition` holds for, oldest first; its last parameter is how many.
    fn last(
        &self,
        condition: &str,
        parameters: impl Params,
        output: bool,
    ) -> Result<Vec<(i64, i64, HistoryEntry)>, DatabaseError> {
        let query = format!(
            "SELECT session, line, source, output FROM cells WHERE {condition} ORDER BY session DESC, line DESC LIMIT ?"
        );
        let mut statement = self.connection.prepare(&query)?;
        let rows = statement.query_map(parameters, |row| entry(row, output))?;
        let mut cells = rows.collect::<Result<Vec<_>, _>>()?;
        cells.reverse();
        Ok(cells)
    }

    /// The session that a request means: 0 is the shell's, and a negative number counts back from it.
    fn meant(&self, shell: u32, session: i64) -> Result<i64, DatabaseError> {
        if session > 0 {
            return Ok(session);
        }
        let current = match self.sessions.get(&shell) {
            Some(current) => *current,
            None => {
                let last = self.connection.query_row("SELECT max(session) FROM sessions", [], |row| row.get(0));
                last.optional()?.flatten().unwrap_or(0) + 1
            }
        };
        Ok(current.saturating_add(session))
    }
}

fn entry(row: &Row<'_>, output: bool) -> rusqlite::Result<(i64, i64, HistoryEntry)> {
    let source = row.get(2)?;
    let entry = if output { HistoryEntry::WithOutput(source, row.get(3)?) } else { HistoryEntry::Input(source) };
    Ok((row.get(0)?, row.get(1)?, entry))
}

/// How many cells are meant: `usual` if nothing is said, and never more than an answer has.
fn limit(n: Option<i64>, usual: i64) -> i64 {
    match n {
        None => usual,
        Some(n) if n < 0 => MOST_ANSWERED,
        Some(n) => n.min(MOST_ANSWERED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(store: &Store, access: HistoryAccess) -> Vec<String> {
        let found = store.find(0, &HistoryRequest { output: false, raw: true, access }).unwrap();
        let source = |entry: HistoryEntry| match entry {
            HistoryEntry::Input(source) => source,
            HistoryEntry::WithOutput(..) => unreachable!("no output was asked for"),
        };
        found.history.into_iter().map(|(_, _, entry)| source(entry)).collect()
    }

    fn search(pattern: &str, n: Option<i64>, unique: bool) -> HistoryAccess {
        HistoryAccess::Search { pattern: Some(pattern.to_owned()), n, unique }
    }

    #[test]
    fn sessions_share_a_file_and_count_back() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state/history.sqlite3");
        let (mut first, mut second) = (Store::open(&file).unwrap(), Store::open(&file).unwrap());
        first.input(0, 1, "a = 1").unwrap();
        second.input(0, 1, "b = 2").unwrap();
        first.input(0, 2, "return a").unwrap();
        first.output(0, 2, "1").unwrap();
        let range = |session| HistoryAccess::Range { session, start: 0, stop: None };
        assert_eq!(sources(&first, range(0)), ["a = 1", "return a"]);
        assert_eq!(sources(&second, range(-1)), ["a = 1", "return a"]);
        assert_eq!(sources(&first, HistoryAccess::Tail { n: Some(2) }), ["return a", "b = 2"]);
        let later = Store::open(&file).unwrap();
        assert_eq!(sources(&later, range(-1)), ["b = 2"]);
        assert!(sources(&later, range(0)).is_empty());
        let found = later.find(0, &HistoryRequest { output: true, raw: true, access: search("return*", None, false) });
        let shown = HistoryEntry::WithOutput("return a".to_owned(), Some("1".to_owned()));
        assert_eq!(found.unwrap().history, [(1, 2, shown)]);
    }

    #[test]
    fn a_search_finds_the_last_of_what_fits() {
        let mut store = Store::in_memory().unwrap();
        for (line, source) in ["x = 1", "y = 2", "x = 1", "x = 3", "é*"].into_iter().enumerate() {
            store.input(0, line as i64 + 1, source).unwrap();
        }
        assert_eq!(sources(&store, search("x*", None, false)), ["x = 1", "x = 1", "x = 3"]);
        assert_eq!(sources(&store, search("x*", None, true)), ["x = 1", "x = 3"]);
        assert_eq!(sources(&store, search("x*", Some(1), true)), ["x = 3"]);
        assert_eq!(sources(&store, search("?[*]", None, false)), ["é*"]);
        assert!(sources(&store, search("x*", Some(0), false)).is_empty());
        assert_eq!(sources(&store, HistoryAccess::Range { session: 0, start: 2, stop: Some(4) }), ["y = 2", "x = 1"]);
    }

    #[test]
    fn a_file_of_a_newer_version_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("history.sqlite3");
        drop(Store::open(&file).unwrap());
        Connection::open(&file).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
        assert!(matches!(Store::open(&file), Err(DatabaseError::Newer { found: 99, .. })));
    }
}
