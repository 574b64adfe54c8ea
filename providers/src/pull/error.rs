//! Why a model did not come.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::ErrorKind;
use crate::nearest::{listed, quoted, suggestion};
use crate::store::{Sha256Digest, StoreError};

/// An error of a pull.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PullError {
    /// A text that does not say what to pull.
    #[error(
        "`{}` does not say what to pull: {problem}; write a known name such as `tinyllama:Q4_K_M`, `hf:OWNER/REPOSITORY:QUANTIZATION`, an `https://` address of a GGUF file, or the path of one",
        quoted(spec)
    )]
    Spec {
        /// The text.
        spec: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A short name that is not known.
    #[error(
        "no known model `{}`{}; `hf:OWNER/REPOSITORY:QUANTIZATION`, an `https://` address or a path work, too",
        quoted(name),
        suggestion(near)
    )]
    UnknownName {
        /// The name.
        name: String,
        /// Known names near it.
        near: Vec<String>,
    },
    /// A repository without the file that is meant.
    #[error("`{of}` {problem}")]
    NoFile {
        /// The repository.
        of: String,
        /// What it has instead.
        problem: String,
    },
    /// An address that is not asked.
    #[error("`{address}` is refused: {problem}")]
    Refused {
        /// The address, without user, password and query.
        address: String,
        /// Why, and what would work.
        problem: String,
    },
    /// A server that answered with something else than the file.
    #[error("{place}: {problem}")]
    Server {
        /// What was asked, without query.
        place: String,
        /// The kind of error.
        kind: ErrorKind,
        /// What it said.
        problem: String,
    },
    /// The same failure until patience ended. What came stays.
    #[error(
        "{source}; given up after {attempts} attempts without a byte; what came is kept, and the next pull goes on from there"
    )]
    GivenUp {
        /// The last failure.
        source: Box<PullError>,
        /// How many there were.
        attempts: u32,
    },
    /// A file larger than is taken from an address.
    #[error("{place}: the file has {size} bytes, and `most_gib` in `[downloads]` allows {most}")]
    TooLarge {
        /// What was asked.
        place: String,
        /// Its bytes, or how many came so far.
        size: u64,
        /// The most that is taken.
        most: u64,
    },
    /// A disk without room for the file.
    #[error(
        "no room for `{what}`: {needed} bytes are to come, and `{}` has {free} free; make room, or move everything by `PERILUNE_HOME`",
        folder.display()
    )]
    NoSpace {
        /// The file.
        what: String,
        /// Bytes that are still to come.
        needed: u64,
        /// Bytes that are free.
        free: u64,
        /// The folder.
        folder: PathBuf,
    },
    /// A file whose content is not what its source says.
    #[error(
        "{place}: what came is damaged, twice: its SHA-256 is {actual}, and should be {expected}; nothing of it is kept"
    )]
    Damaged {
        /// What was asked.
        place: String,
        /// The digest that its source gives.
        expected: Sha256Digest,
        /// That of what came.
        actual: Sha256Digest,
    },
    /// Something that needs the network while `HF_HUB_OFFLINE` forbids it.
    #[error(
        "`{what}` is {}in the Hugging Face cache `{}`, and `HF_HUB_OFFLINE` is set; unset it to fetch the model",
        if *force { "not " } else { "neither in the store nor " },
        cache.display()
    )]
    Offline {
        /// What was asked for.
        what: String,
        /// Where the cache would be.
        cache: PathBuf,
        /// Whether it was to be fetched although the store may have it.
        force: bool,
    },
    /// A name by which another model is asked for that is not the store's.
    #[error(
        "`{name}` is the name of another model, {place}, which could not be asked for any more; choose another with `--name`"
    )]
    NameInUse {
        /// The name.
        name: String,
        /// Where the other model is.
        place: String,
    },
    /// There is no folder to keep models in.
    #[error("no folder to keep models in: neither `PERILUNE_HOME` nor `HOME` is set")]
    NoStore,
    /// A backend that fetches no models.
    #[error(
        "`{}` cannot be told to fetch a model; leave `@{}` out to fetch it into the store",
        quoted(backend),
        quoted(backend)
    )]
    Backend {
        /// The backend.
        backend: String,
    },
    /// Shards that do not make one model.
    #[error("the shards of `{of}` do not go together: {problem}")]
    Shards {
        /// The model.
        of: String,
        /// Why not.
        problem: String,
    },
    /// Whoever asked took it back. What came stays.
    #[error("the pull was cancelled; what came is kept, and the next pull goes on from there")]
    Cancelled,
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file that cannot be read or written.
    #[error("{}: {source}; what came is kept", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
}

impl PullError {
    /// The word that programs branch on.
    pub fn kind(&self) -> ErrorKind {
        match self {
            PullError::Spec { .. }
            | PullError::Refused { .. }
            | PullError::TooLarge { .. }
            | PullError::NameInUse { .. }
            | PullError::Backend { .. } => ErrorKind::InvalidRequest,
            PullError::UnknownName { .. } | PullError::NoFile { .. } => ErrorKind::ModelNotFound,
            PullError::Server { kind, .. } => *kind,
            PullError::GivenUp { source, .. } => source.kind(),
            PullError::NoSpace { .. } => ErrorKind::Budget,
            PullError::Damaged { .. } | PullError::Offline { .. } => ErrorKind::Network,
            PullError::NoStore => ErrorKind::InvalidConfig,
            PullError::Shards { .. } => ErrorKind::InvalidModelFile,
            PullError::Cancelled => ErrorKind::Cancelled,
            PullError::Store(error) => error.kind(),
            PullError::Disk { .. } => ErrorKind::Internal,
        }
    }

    pub(super) fn disk(path: &Path, source: io::Error) -> PullError {
        PullError::Disk { path: path.to_owned(), source: Arc::new(source) }
    }

    /// Why no file of a repository is meant.
    pub(super) fn no_choice(of: &str, wanted: Option<&str>, why: super::quantization::NoChoice) -> PullError {
        use super::quantization::NoChoice;
        let problem = match why {
            NoChoice::None => "has no GGUF file, which is all that runs here".to_owned(),
            NoChoice::OtherThan(there) => match wanted {
                Some(wanted) => format!("has no `{}`; it has {}", quoted(wanted), listed(&there)),
                None => format!("has several quantizations; choose one of {} with `--quantization`", listed(&there)),
            },
            NoChoice::Several(files) => {
                format!("has several such files; name one as `hf:{of}/FILE`: {}", listed(&files))
            }
            NoChoice::Incomplete(name) => format!("lacks some of the shards that go with `{}`", quoted(&name)),
        };
        PullError::NoFile { of: of.to_owned(), problem }
    }
}
