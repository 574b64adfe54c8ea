//! What pulls are bringing, or left behind when they were interrupted: for people to see, and to throw away.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::error::PullError;
use super::part::{Lock, so_far};
use crate::disk::allocated;

/// A download that is not whole. The same pull goes on where it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnfinishedDownload {
    /// Where it comes from, without what a query says; the name of its file where nothing tells more.
    pub source: String,
    /// Bytes of disk that it takes.
    pub bytes: u64,
    /// Bytes that came for certain; `None` where nothing tells.
    pub completed_bytes: Option<u64>,
    /// Bytes of the whole file, where they are known.
    pub total_bytes: Option<u64>,
    /// Seconds since the last of it was written.
    pub idle_seconds: u64,
    /// Whether somebody brings it now.
    pub under_way: bool,
}

/// The downloads of a folder of parts that take room or are under way.
pub(crate) fn unfinished(folder: &Path) -> Vec<UnfinishedDownload> {
    let downloads = files_by_key(folder).into_iter().map(|(key, files)| described(folder, &key, &files));
    downloads.filter(|download| download.bytes > 0 || download.under_way).collect()
}

/// Deletes the downloads of a folder of parts, and says which; those that are under way stay.
pub(super) fn remove_unfinished(folder: &Path) -> Result<Vec<UnfinishedDownload>, PullError> {
    let mut removed = Vec::new();
    for (key, files) in files_by_key(folder) {
        let download = described(folder, &key, &files);
        // Whoever begins to bring it meanwhile waits until it is gone.
        let Some(_lock) = Lock::take(folder, &key)? else { continue };
        for file in files.iter().filter(|file| file.exists()) {
            fs::remove_file(file).map_err(|error| PullError::disk(file, error))?;
        }
        if download.bytes > 0 {
            removed.push(download);
        }
    }
    Ok(removed)
}

/// The files of each download: its part, its state and its lock have one key before the first dot.
fn files_by_key(folder: &Path) -> BTreeMap<String, Vec<PathBuf>> {
    let mut downloads: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if let Some(name) = entry.file_name().to_str().filter(|_| !is_folder) {
            let key = name.split('.').next().unwrap_or_default();
            downloads.entry(key.to_owned()).or_default().push(entry.path());
        }
    }
    downloads
}

fn described(folder: &Path, key: &str, files: &[PathBuf]) -> UnfinishedDownload {
    let known = files.iter().filter_map(|file| fs::symlink_metadata(file).ok());
    let (bytes, last) =
        known.fold((0, None), |(bytes, last), file| (bytes + allocated(&file), last.max(file.modified().ok())));
    let so_far = so_far(folder, key);
    let idle = last.and_then(|last| SystemTime::now().duration_since(last).ok());
    UnfinishedDownload {
        completed_bytes: so_far.as_ref().map(|(_, bytes)| *bytes),
        total_bytes: so_far.as_ref().and_then(|(identity, _)| identity.size),
        source: so_far.map_or_else(|| key.to_owned(), |(identity, _)| identity.place),
        bytes,
        idle_seconds: idle.unwrap_or_default().as_secs(),
        under_way: Lock::is_taken(folder, key),
    }
}
