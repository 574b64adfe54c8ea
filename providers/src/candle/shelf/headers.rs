//! What the headers of model files tell, remembered by path, size and time of change, so that a long list reads none of
//! them twice. It is kept in a file that may be deleted at any time.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use perilune_engine::Facts;
use serde::{Deserialize, Serialize};

use super::Found;
use crate::provider::Location;

/// Headers are read for so long, in the hope that the next list has the others.
const PATIENCE: Duration = Duration::from_secs(2);
/// Files beyond this many are forgotten when they are not on the shelf.
const REMEMBERED: usize = 10_000;

/// The headers of one instance's files.
pub(in crate::candle) struct Headers {
    file: Option<PathBuf>,
    known: Mutex<Option<Known>>,
}

#[derive(Default, Serialize, Deserialize)]
struct Known {
    /// The program that read them: another one may run other models.
    program: String,
    headers: BTreeMap<PathBuf, Header>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    size_bytes: u64,
    modified: SystemTime,
    facts: Facts,
}

impl Headers {
    /// Headers that are remembered in `file`, or without one for as long as this value lives.
    pub(in crate::candle) fn new(file: Option<PathBuf>) -> Headers {
        Headers { file, known: Mutex::default() }
    }

    /// What the headers of these models tell, in their order; nothing of a file that cannot be read or whose turn did not
    /// come. It reads files, and so takes its time.
    pub(in crate::candle) fn facts(&self, shelf: &[Found]) -> Vec<Option<Facts>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get_or_insert_with(|| self.file.as_deref().map(Known::read).unwrap_or_default());
        let until = Instant::now() + PATIENCE;
        let mut changed = false;
        let facts = shelf.iter().map(|found| {
            // What is no regular file, such as a pipe, may never end.
            if let Location::File(path) = &found.location
                && !fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
            {
                return None;
            }
            let path = match (&found.location, found.modified) {
                (Location::File(path), Some(modified)) => (path, modified),
                _ => return Facts::read(&found.source()).ok(),
            };
            let (path, modified) = path;
            let header = known.headers.get(path);
            let fresh = |header: &&Header| header.size_bytes == found.size_bytes && header.modified == modified;
            if let Some(header) = header.filter(fresh) {
                return Some(header.facts.clone());
            }
            if Instant::now() > until {
                return None;
            }
            let facts = Facts::read(&found.source()).ok()?;
            let header = Header { size_bytes: found.size_bytes, modified, facts: facts.clone() };
            known.headers.insert(path.clone(), header);
            changed = true;
            Some(facts)
        });
        let facts = facts.collect();
        if changed {
            known.forget(shelf);
            self.write(known);
        }
        facts
    }

    /// Puts what is known into the file, whole or not at all.
    fn write(&self, known: &Known) {
        let Some(file) = &self.file else { return };
        let written = serde_json::to_vec(known).map_err(std::io::Error::from).and_then(|bytes| {
            fs::create_dir_all(file.parent().unwrap_or(Path::new("")))?;
            let part = file.with_extension(format!("{}.part", std::process::id()));
            fs::write(&part, bytes)?;
            fs::rename(&part, file)
        });
        if let Err(error) = written {
            tracing::warn!(file = %file.display(), %error, "the headers of model files are not remembered");
        }
    }
}

impl Known {
    /// What this very program wrote; else nothing.
    fn read(file: &Path) -> Known {
        let text = fs::read(file).unwrap_or_default();
        let known: Known = serde_json::from_slice(&text).unwrap_or_default();
        let program = program();
        if known.program == program { known } else { Known { program, ..Known::default() } }
    }

    /// Lets go of files that are not on the shelf, if there are too many.
    fn forget(&mut self, shelf: &[Found]) {
        if self.headers.len() > REMEMBERED {
            let here =
                |path: &PathBuf| shelf.iter().any(|found| matches!(&found.location, Location::File(at) if at == path));
            self.headers.retain(|path, _| here(path));
        }
    }
}

/// The program that runs, told from others by the size of its file and the time of its change.
fn program() -> String {
    let metadata = std::env::current_exe().and_then(fs::metadata);
    let told = metadata.and_then(|metadata| Ok((metadata.len(), metadata.modified()?)));
    told.map_or_else(|_| String::new(), |(bytes, modified)| format!("{bytes} {modified:?}"))
}
