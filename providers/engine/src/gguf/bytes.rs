//! Where a model's bytes live: a memory map, the binary itself, or (in tests) a vector.

use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::error::Error;

/// The bytes of a model file and the name to call it by in errors.
#[derive(Debug)]
pub(crate) struct ModelBytes {
    name: String,
    storage: Storage,
}

#[derive(Debug)]
enum Storage {
    Mapped(memmap2::Mmap),
    Bundled(&'static [u8]),
    #[cfg(test)]
    Owned(Vec<u8>),
}

impl ModelBytes {
    /// Maps a file; fails with [`Error::Open`].
    pub(crate) fn map(path: &Path) -> Result<ModelBytes, Error> {
        let failed = |source| Error::Open { path: path.to_owned(), source: Arc::new(source) };
        let file = File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.is_dir() {
            return Err(failed(std::io::ErrorKind::IsADirectory.into()));
        }
        // SAFETY: the map is read-only and private to this value. As with every reader of mapped model files, someone
        // who shortens the file while it is loaded kills the process (SIGBUS); `Source::File` says so.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(failed)?;
        Ok(ModelBytes { name: path.display().to_string(), storage: Storage::Mapped(map) })
    }

    /// Bytes compiled into the binary.
    pub(crate) fn bundled(bytes: &'static [u8]) -> ModelBytes {
        ModelBytes { name: "bundled model".to_owned(), storage: Storage::Bundled(bytes) }
    }

    #[cfg(test)]
    pub(crate) fn owned(name: &str, bytes: Vec<u8>) -> ModelBytes {
        ModelBytes { name: name.to_owned(), storage: Storage::Owned(bytes) }
    }

    /// All of the file.
    pub(crate) fn as_slice(&self) -> &[u8] {
        match &self.storage {
            Storage::Mapped(map) => map,
            Storage::Bundled(bytes) => bytes,
            #[cfg(test)]
            Storage::Owned(bytes) => bytes,
        }
    }

    /// Says that the bytes at `range` were read for good: their memory may be used for something else. They can be read again.
    pub(crate) fn forget(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let Storage::Mapped(map) = &self.storage {
            // SAFETY: the map is private, read-only and of a file, so its pages come back from there.
            let _ = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, range.start, range.len()) };
        }
        #[cfg(not(unix))]
        let _ = range;
    }

    /// The text at `range`; bytes that are not UTF-8 become U+FFFD.
    pub(crate) fn text(&self, range: Range<usize>) -> String {
        String::from_utf8_lossy(&self.as_slice()[range]).into_owned()
    }

    /// The error for a file that does not hold together.
    pub(crate) fn invalid(&self, problem: impl Into<String>) -> Error {
        Error::InvalidFile { file: self.name.clone(), problem: problem.into() }
    }

    /// The error for a sound file that needs something this engine does not have.
    pub(crate) fn unsupported(&self, problem: impl Into<String>) -> Error {
        Error::UnsupportedModel { file: self.name.clone(), problem: problem.into() }
    }
}
