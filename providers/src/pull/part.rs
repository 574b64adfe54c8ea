//! A file on its way: its bytes, which of them are there for certain, and the lock that lets one process at a time bring them.
//!
//! Bytes are written to the disk before the state says that they are there, so that whatever ends the process, what the state says is
//! so. The state is a small file beside the part, replaced by a rename.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::PullError;
use crate::store::Sha256Digest;

/// How much is read at once to compute a digest.
const BLOCK: usize = 1024 * 1024;

/// Which file this is. What came of another is thrown away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// Where it comes from, as errors show it.
    pub(super) place: String,
    /// Its bytes; `None`: only its end tells.
    pub(super) size: Option<u64>,
    /// What changes when the file does: the digest that its source gives, or its `ETag`.
    pub(super) tag: Option<String>,
}

/// The right to bring one file; let go when dropped, also by the death of the process, which leaves an empty file.
pub(super) struct Lock {
    _file: File,
    path: PathBuf,
}

/// A file on its way. The right to it goes where the part goes: nobody else writes until the last byte is saved.
pub(super) struct Part {
    file: File,
    path: PathBuf,
    state_path: PathBuf,
    identity: Identity,
    /// What is written.
    written: Ranges,
    /// Whether the state says so yet.
    saved: bool,
    _lock: Lock,
}

#[derive(Serialize, Deserialize)]
struct State {
    identity: Identity,
    written: Ranges,
}

impl Lock {
    /// The lock for the file that goes by `key`, unless somebody has it.
    pub(super) fn take(folder: &Path, key: &str) -> Result<Option<Lock>, PullError> {
        let path = folder.join(format!("{key}.lock"));
        let take = || {
            fs::create_dir_all(folder)?;
            let file = File::options().create(true).truncate(false).write(true).open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // Whoever had it before may have deleted the file since it was opened here.
            let same = fs::metadata(&path).is_ok_and(|there| file.metadata().is_ok_and(|own| own.ino() == there.ino()));
            Ok(same.then_some(file))
        };
        let taken = take().map_err(|error| PullError::disk(&path, error))?;
        Ok(taken.map(|file| Lock { _file: file, path }))
    }

    /// Whether somebody has the lock for the file that goes by `key`.
    pub(super) fn is_taken(folder: &Path, key: &str) -> bool {
        let there = File::open(folder.join(format!("{key}.lock")));
        there.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Held still, it is nobody else's.
        let _ = fs::remove_file(&self.path);
    }
}

impl Part {
    /// What came of a file so far, or nothing of it.
    pub(super) fn open(lock: Lock, folder: &Path, key: &str, identity: Identity) -> Result<Part, PullError> {
        let path = folder.join(format!("{key}.part"));
        let state_path = folder.join(format!("{key}.json"));
        let open = || {
            let file = File::options().create(true).truncate(false).read(true).write(true).open(&path)?;
            let state = fs::read(&state_path).ok().and_then(|text| serde_json::from_slice::<State>(&text).ok());
            let length = file.metadata()?.len();
            // Without a tag nothing says that it is the same file still.
            let goes_on = |state: &State| {
                state.identity == identity
                    && identity.tag.is_some()
                    && state.written.end().is_none_or(|end| end <= length)
            };
            let written = state.filter(goes_on).map(|state| state.written).unwrap_or_default();
            if written.is_empty() {
                file.set_len(0)?;
            }
            Ok((file, written))
        };
        let (file, written) = open().map_err(|error| PullError::disk(&path, error))?;
        Ok(Part { file, path, state_path, identity, written, saved: true, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes that are there.
    pub(super) fn bytes(&self) -> u64 {
        self.written.bytes()
    }

    /// What is not there yet of a file of that size.
    pub(super) fn gaps(&self, size: u64) -> Vec<(u64, u64)> {
        self.written.gaps(size)
    }

    /// Forgets everything that came.
    pub(super) fn restart(&mut self) -> Result<(), PullError> {
        self.written = Ranges::default();
        self.file.set_len(0).map_err(|error| PullError::disk(&self.path, error))?;
        self.saved = false;
        self.save()
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), PullError> {
        self.file.write_all_at(bytes, offset).map_err(|error| PullError::disk(&self.path, error))?;
        self.written.add(offset, offset + bytes.len() as u64);
        self.saved = false;
        Ok(())
    }

    /// Brings what was written to the disk, then says so in the state.
    pub(super) fn save(&mut self) -> Result<(), PullError> {
        if self.saved {
            return Ok(());
        }
        self.file.sync_data().map_err(|error| PullError::disk(&self.path, error))?;
        let new = self.state_path.with_extension("json.new");
        let save = || {
            let state = State { identity: self.identity.clone(), written: self.written.clone() };
            let mut file = File::create(&new)?;
            file.write_all(&serde_json::to_vec(&state)?)?;
            file.sync_data()?;
            fs::rename(&new, &self.state_path)
        };
        save().map_err(|error| PullError::disk(&self.state_path, error))?;
        self.saved = true;
        Ok(())
    }

    /// Deletes everything of it; where its file has gone into the store, what is left.
    pub(super) fn discard(mut self) {
        self.written = Ranges::default();
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // What holds nothing is not left; what stays behind all the same is in nobody's way.
        if self.written.is_empty() {
            let _ = fs::remove_file(&self.path);
            let _ = fs::remove_file(&self.state_path);
        }
    }
}

/// Which file goes by that key and how many bytes of it came so far, as whoever brings it says.
pub(super) fn so_far(folder: &Path, key: &str) -> Option<(Identity, u64)> {
    let text = fs::read(folder.join(format!("{key}.json"))).ok()?;
    let state: State = serde_json::from_slice(&text).ok()?;
    Some((state.identity, state.written.bytes()))
}

/// As [`sha256_of`], of the file at `path`.
pub(super) fn digest_of(path: &Path, go_on: &mut dyn FnMut(u64) -> bool) -> Result<Option<Sha256Digest>, PullError> {
    let digest = File::open(path).and_then(|mut file| sha256_of(&mut file, go_on));
    digest.map_err(|error| PullError::disk(path, error))
}

/// The SHA-256 of what is read of a file; `None` when `go_on` said so, which is told how many bytes were read.
pub(crate) fn sha256_of(file: &mut File, go_on: &mut dyn FnMut(u64) -> bool) -> io::Result<Option<Sha256Digest>> {
    let mut sha256 = Sha256::new();
    let mut block = vec![0; BLOCK];
    let mut bytes = 0;
    loop {
        let count = match file.read(&mut block) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        sha256.update(&block[..count]);
        bytes += count as u64;
        if !go_on(bytes) {
            return Ok(None);
        }
    }
    Ok(Some(Sha256Digest::of_bytes(sha256.finalize().into())))
}

/// Disjoint ranges of bytes, in order; none touches the next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// Adds the bytes from `start` up to `end`.
    fn add(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        let first = self.0.partition_point(|(_, before)| *before < start);
        let last = self.0.partition_point(|(after, _)| *after <= end);
        let touched = &self.0[first..last];
        let start = touched.first().map_or(start, |(there, _)| start.min(*there));
        let end = touched.last().map_or(end, |(_, there)| end.max(*there));
        self.0.splice(first..last, [(start, end)]);
    }

    fn bytes(&self) -> u64 {
        self.0.iter().map(|(start, end)| end.saturating_sub(*start)).sum()
    }

    fn end(&self) -> Option<u64> {
        self.0.last().map(|(_, end)| *end)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn gaps(&self, size: u64) -> Vec<(u64, u64)> {
        let mut gaps = Vec::new();
        let mut from = 0;
        for (start, end) in &self.0 {
            if from < *start {
                gaps.push((from, *start));
            }
            from = from.max(*end);
        }
        if from < size {
            gaps.push((from, size));
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn identity(tag: &str) -> Identity {
        Identity { place: "https://host/m.gguf".to_owned(), size: Some(10), tag: Some(tag.to_owned()) }
    }

    #[test]
    fn what_was_saved_is_there_again_and_of_another_file_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let lock = || Lock::take(folder.path(), "k").unwrap().unwrap();
        let mut part = Part::open(lock(), folder.path(), "k", identity("one")).unwrap();
        part.write(6, b"67").unwrap();
        part.write(0, b"01").unwrap();
        part.save().unwrap();
        part.write(2, b"2345").unwrap();
        // As if the process ended here.
        drop(part);
        let part = Part::open(lock(), folder.path(), "k", identity("one")).unwrap();
        assert_eq!((part.bytes(), part.gaps(10)), (4, vec![(2, 6), (8, 10)]));
        assert_eq!(so_far(folder.path(), "k"), Some((identity("one"), 4)));
        drop(part);
        let part = Part::open(lock(), folder.path(), "k", identity("two")).unwrap();
        assert_eq!((part.bytes(), fs::metadata(part.path()).unwrap().len()), (0, 0));
        drop(part);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "what holds nothing is not left");
    }

    #[test]
    fn a_state_that_promises_more_than_there_is_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let lock = || Lock::take(folder.path(), "k").unwrap().unwrap();
        let mut part = Part::open(lock(), folder.path(), "k", identity("one")).unwrap();
        part.write(0, b"0123456789").unwrap();
        part.save().unwrap();
        File::options().write(true).open(part.path()).unwrap().set_len(4).unwrap();
        drop(part);
        assert_eq!(Part::open(lock(), folder.path(), "k", identity("one")).unwrap().bytes(), 0);
        fs::write(folder.path().join("k.json"), b"{").unwrap();
        assert_eq!(Part::open(lock(), folder.path(), "k", identity("one")).unwrap().bytes(), 0);
    }

    #[test]
    fn one_at_a_time_brings_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let lock = Lock::take(folder.path(), "k").unwrap().unwrap();
        assert!(Lock::take(folder.path(), "k").unwrap().is_none());
        assert!(Lock::take(folder.path(), "other").unwrap().is_some());
        assert!(Lock::is_taken(folder.path(), "k") && !Lock::is_taken(folder.path(), "other"));
        drop(lock);
        assert!(!Lock::is_taken(folder.path(), "k"));
        assert!(Lock::take(folder.path(), "k").unwrap().is_some());
    }

    proptest! {
        #[test]
        fn ranges_are_the_bytes_that_were_added(added in prop::collection::vec((0u64..40, 0u64..12), 0..12)) {
            let mut ranges = Ranges::default();
            let mut there = [false; 64];
            for (start, length) in added {
                ranges.add(start, start + length);
                there[start as usize..(start + length) as usize].fill(true);
            }
            prop_assert_eq!(ranges.bytes(), there.iter().filter(|there| **there).count() as u64);
            let mut missing = [false; 64];
            for (start, end) in ranges.gaps(64) {
                missing[start as usize..end as usize].fill(true);
            }
            prop_assert!(there.iter().zip(missing).all(|(there, missing)| *there != missing));
            prop_assert!(ranges.0.windows(2).all(|pair| pair[0].1 < pair[1].0));
        }
    }
}
