//! Where a model's bytes live: a memory map, the binary itself, or (in tests) a vector.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::error::Error;

const MAX_PROBLEM_BYTES: usize = 4096;

/// The bytes of a model file and the name to call it by in errors.
#[derive(Debug)]
pub(crate) struct ModelBytes {
    name: String,
    storage: Storage,
}

#[derive(Debug)]
enum Storage {
    Mapped(memmap2::Mmap, File),
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
        // SAFETY: the map is read-only and private to this value. As with every reader of mapped files, someone who
        // shortens it meanwhile kills the process (SIGBUS); `Source::File` says so. It ends when the model is loaded.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(failed)?;
        Ok(ModelBytes { name: path.display().to_string(), storage: Storage::Mapped(map, file) })
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
            Storage::Mapped(map, _) => map,
            Storage::Bundled(bytes) => bytes,
            #[cfg(test)]
            Storage::Owned(bytes) => bytes,
        }
    }

    /// Says that the bytes at `range` were read for good: their memory may be used for something else. They can be read again.
    pub(crate) fn forget(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let Storage::Mapped(map, _) = &self.storage {
            // SAFETY: the map is private, read-only and of a file, so its pages come back from there.
            let _ = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, range.start, range.len()) };
        }
        #[cfg(not(unix))]
        let _ = range;
    }

    /// What lies at `range`, for reading after the model is loaded: the map is not needed for it. Fails with [`Error::Open`].
    pub(crate) fn stretch(self: &Arc<ModelBytes>, range: Range<usize>) -> Result<Stretch, Error> {
        let failed = |source| Error::Open { path: self.name.clone().into(), source: Arc::new(source) };
        let place = match &self.storage {
            Storage::Mapped(_, file) => Place::File(file.try_clone().map_err(failed)?),
            _ => Place::Memory(Arc::clone(self)),
        };
        Ok(Stretch { name: self.name.clone(), place, range })
    }

    /// The text at `range`; bytes that are not UTF-8 become U+FFFD.
    pub(crate) fn text(&self, range: Range<usize>) -> String {
        String::from_utf8_lossy(&self.as_slice()[range]).into_owned()
    }

    /// The error for a file that does not hold together.
    pub(crate) fn invalid(&self, problem: impl Into<String>) -> Error {
        Error::InvalidFile { file: self.name.clone(), problem: shortened(problem.into()) }
    }

    /// The error for a sound file that needs something this engine does not have.
    pub(crate) fn unsupported(&self, problem: impl Into<String>) -> Error {
        Error::UnsupportedModel { file: self.name.clone(), problem: shortened(problem.into()) }
    }
}

/// A problem that a person can read, whatever of the file is in it.
fn shortened(mut problem: String) -> String {
    if problem.len() > MAX_PROBLEM_BYTES {
        problem.truncate(problem.floor_char_boundary(MAX_PROBLEM_BYTES));
        problem.push('…');
    }
    problem
}

/// A part of a model file that is read piece by piece once the model is loaded. A file that was shortened meanwhile makes that
/// fail; read by way of a map it would end the process.
pub(crate) struct Stretch {
    name: String,
    place: Place,
    range: Range<usize>,
}

enum Place {
    File(File),
    Memory(Arc<ModelBytes>),
}

impl Stretch {
    /// Fills `output` with what lies `at` bytes after the beginning. The caller stays within the range.
    pub(crate) fn read(&self, at: usize, output: &mut [u8]) -> Result<(), Error> {
        let start = self.range.start + at;
        debug_assert!(start + output.len() <= self.range.end);
        match &self.place {
            Place::Memory(bytes) => {
                output.copy_from_slice(&bytes.as_slice()[start..start + output.len()]);
                Ok(())
            }
            Place::File(file) => read_at(file, start as u64, output).map_err(|error| Error::Compute {
                problem: format!(
                    "`{}` cannot be read any more at offset {start}: {error}; was it changed? load the model again",
                    self.name
                ),
            }),
        }
    }
}

#[cfg(unix)]
fn read_at(file: &File, at: u64, output: &mut [u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, output, at)
}

/// Only the engine's thread reads, so nobody moves the place in between.
#[cfg(not(unix))]
fn read_at(mut file: &File, at: u64, output: &mut [u8]) -> io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(output)
}
