//! What can go wrong with the store itself.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::ErrorKind;
use crate::nearest::{quoted, suggestion};

/// An error of the model store.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A name that no stored model can have.
    #[error(
        "`{}` is not a name for a stored model: {problem}; names look like `tinyllama` or `tinyllama:Q4_K_M`",
        quoted(name)
    )]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A name that is not in the store.
    #[error("no model `{}` in the store `{}`{}", quoted(name), root.display(), suggestion(near))]
    Unknown {
        /// The name.
        name: String,
        /// Names near it that are there.
        near: Vec<String>,
        /// The store's folder.
        root: PathBuf,
    },
    /// A name that a model of other content has.
    #[error(
        "the store has another model `{name}`, from `{}`; replace it with `--force`, or remove it first",
        quoted(source_of_it)
    )]
    NameTaken {
        /// The name.
        name: String,
        /// Where the one that has it came from.
        source_of_it: String,
    },
    /// A file that does not begin as GGUF files do.
    #[error(
        "`{}` is not a GGUF file: it begins with `{}`, and GGUF with `GGUF`; only GGUF files are taken",
        quoted(place),
        begins.escape_ascii()
    )]
    NotGguf {
        /// The file or address.
        place: String,
        /// Its first bytes.
        begins: Vec<u8>,
    },
    /// Something that is not a regular file of the store stands where one should.
    #[error("`{}` is left alone: {problem}; only regular files in the store `{}` are touched", path.display(), root.display())]
    NotOurs {
        /// What stands there.
        path: PathBuf,
        /// The store's folder.
        root: PathBuf,
        /// What it is.
        problem: &'static str,
    },
    /// A record that does not hold together.
    #[error("`{}` does not say what model it is: {problem}; delete it, and pull the model again", path.display())]
    Record {
        /// The record.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Something that cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// Something that cannot be written.
    #[error("cannot write `{}`: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
}

impl StoreError {
    /// The word that programs branch on.
    pub fn kind(&self) -> ErrorKind {
        match self {
            StoreError::Unknown { .. } => ErrorKind::ModelNotFound,
            StoreError::Name { .. } | StoreError::NameTaken { .. } | StoreError::NotOurs { .. } => {
                ErrorKind::InvalidRequest
            }
            StoreError::NotGguf { .. } => ErrorKind::InvalidModelFile,
            StoreError::Record { .. } | StoreError::Read { .. } | StoreError::Write { .. } => ErrorKind::Internal,
        }
    }

    pub(crate) fn read(path: &Path, source: io::Error) -> StoreError {
        StoreError::Read { path: path.to_owned(), source: Arc::new(source) }
    }

    pub(crate) fn write(path: &Path, source: io::Error) -> StoreError {
        StoreError::Write { path: path.to_owned(), source: Arc::new(source) }
    }
}
