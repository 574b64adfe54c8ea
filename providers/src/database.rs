//! SQLite as this program keeps things in it: files that only the user may read, shared by processes that read and write side by side
//! (WAL), and brought up to date by migrations.

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

/// How long another process's write is waited for.
const BUSY: Duration = Duration::from_secs(1);

/// Why a database cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// What SQLite says.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// Its file or folder cannot be made.
    #[error("cannot create it: {0}")]
    Create(#[from] io::Error),
    /// Nothing is known of what it holds.
    #[error("it has version {found}, of a newer Perilune; this one knows version {known}")]
    Newer {
        /// Its version.
        found: usize,
        /// The newest known.
        known: usize,
    },
}

/// The database in `file`, which is made if it is not there. `migrations` are what each version adds to the one before;
/// `user_version` counts them.
pub fn open(file: &Path, migrations: &[&str]) -> Result<Connection, DatabaseError> {
    if let Some(folder) = file.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(file)?;
    prepare(Connection::open(file)?, migrations)
}

/// A database that ends with the process.
pub fn in_memory(migrations: &[&str]) -> Result<Connection, DatabaseError> {
    prepare(Connection::open_in_memory()?, migrations)
}

fn prepare(mut connection: Connection, migrations: &[&str]) -> Result<Connection, DatabaseError> {
    connection.busy_timeout(BUSY)?;
    // `journal_mode` answers with a row, and in memory with another mode.
    connection.query_row("PRAGMA journal_mode = wal", [], |_| Ok(()))?;
    connection.execute_batch("PRAGMA synchronous = normal; PRAGMA cache_size = -256;")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: u32 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let (found, known) = (found as usize, migrations.len());
    if found > known {
        return Err(DatabaseError::Newer { found, known });
    }
    if found < known {
        migrations[found..].iter().try_for_each(|migration| transaction.execute_batch(migration))?;
        transaction.execute_batch(&format!("PRAGMA user_version = {known}"))?;
    }
    transaction.commit()?;
    Ok(connection)
}
