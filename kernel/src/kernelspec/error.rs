//! Why a kernelspec could not be installed, removed or listed.

use std::io;
use std::path::{Path, PathBuf};

/// An error about a kernelspec.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KernelspecError {
    /// A file or directory.
    #[error("cannot {action} `{path}`: {source}", path = path.display())]
    File {
        /// What was tried: `write`, `create`, `remove`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// No variable and no system record says where this user's files belong.
    #[error("no home directory: set `HOME` to yours, or name a directory with `--prefix`")]
    NoHome,
    /// A name that Jupyter would not find.
    #[error("`{name}` cannot name a kernel: letters, digits, `.`, `_` and `-` can, with a letter or digit first")]
    Name {
        /// The name.
        name: String,
    },
    /// The program's path is not text, and `kernel.json` is.
    #[error("the program's path `{path}` is not UTF-8, which `kernel.json` must be; move it", path = path.display())]
    NotText {
        /// The path.
        path: PathBuf,
    },
    /// There is no kernelspec of that name.
    #[error("no kernel `{name}` in `{path}`; `perilune kernel list` tells what is installed, `perilune kernel install` puts one there", path = path.display())]
    NotInstalled {
        /// The kernelspec's name.
        name: String,
        /// The directory that would hold it.
        path: PathBuf,
    },
    /// Another kernel has that name.
    #[error("`{path}` belongs to another kernel, {kernel}; `--name` chooses another name for this one", path = path.display())]
    Foreign {
        /// The kernelspec's directory.
        path: PathBuf,
        /// What it says about itself.
        kernel: String,
    },
    /// A package manager put it there, keeps it up to date and removes it.
    #[error("`{path}` came with {package}, which starts this kernel already and takes it along when it is uninstalled; `--name` chooses another name for one beside it", path = path.display())]
    Packaged {
        /// The kernelspec's directory.
        path: PathBuf,
        /// Who installed it.
        package: String,
    },
    /// An environment variable names a directory that is not there.
    #[error("`{variable}` is `{path}`, and there is no such directory; activate an environment, or name one with `--prefix`", path = path.display())]
    GoneEnvironment {
        /// The variable.
        variable: &'static str,
        /// What it says.
        path: PathBuf,
    },
    /// Nothing says which Python environment is meant.
    #[error(
        "no Python environment is active, and neither `jupyter` nor `python3` on PATH tells one; activate one, name its directory with `--prefix`, or install with `--user`"
    )]
    NoEnvironment,
}

pub(super) fn failed(action: &'static str, path: &Path, source: io::Error) -> KernelspecError {
    KernelspecError::File { action, path: path.to_owned(), source }
}
