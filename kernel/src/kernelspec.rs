//! The kernelspec: how Jupyter learns that this kernel exists and how to start it.
//!
//! In reading order: this file installs and removes; `specification` is `kernel.json`; `command` chooses the path that starts
//! this program, also after an upgrade; `environment` finds the active Python environment; `installed` lists what is there.
//! The files themselves lie in `kernel/kernelspec`, where the Python package takes them from as well.

mod command;
mod environment;
mod error;
mod installed;
mod specification;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

pub use command::{Command, Doubt};
pub use environment::active as active_environment;
pub use error::KernelspecError;
pub use installed::{Installed, installed};

use crate::resident::{directory, home};
use error::failed;
use specification::Specification;

/// The name under which a kernelspec is installed unless another is asked for.
pub const NAME: &str = "perilune";

const SPECIFICATION: &str = "kernel.json";

/// The names are Jupyter's: frontends look for them beside `kernel.json`.
const LOGOS: [(&str, &[u8]); 3] = [
    ("logo-32x32.png", include_bytes!("../kernelspec/data/share/jupyter/kernels/perilune/logo-32x32.png")),
    ("logo-64x64.png", include_bytes!("../kernelspec/data/share/jupyter/kernels/perilune/logo-64x64.png")),
    ("logo-svg.svg", include_bytes!("../kernelspec/data/share/jupyter/kernels/perilune/logo-svg.svg")),
];

/// Where a kernelspec is installed.
#[derive(Clone, Debug)]
pub enum Scope {
    /// For this user: Jupyter's data directory.
    User,
    /// Below a prefix such as a virtual environment: `PREFIX/share/jupyter`.
    Prefix(PathBuf),
}

/// What `uninstall` did.
#[derive(Clone, Debug)]
pub struct Removed {
    /// The directory that held the kernelspec.
    pub directory: PathBuf,
    /// It is still there, because of files that `install` did not write.
    pub others_stay: bool,
}

/// Writes a kernelspec that starts `command`, and returns its directory.
///
/// An older one that `install` wrote is replaced; anybody else's is an error. Each file appears whole, `kernel.json` last.
pub fn install(
    scope: &Scope,
    name: &str,
    display_name: Option<&str>,
    command: &Command,
) -> Result<PathBuf, KernelspecError> {
    let directory = kernelspec_directory(scope, name)?;
    if let Some(present) = Specification::read(&directory)? {
        present.expect_ours(&directory)?;
    }
    let specification = Specification::starting(&command.path, display_name)?;
    fs::create_dir_all(&directory).map_err(|source| failed("create", &directory, source))?;
    for (file, content) in LOGOS {
        write(&directory.join(file), content)?;
    }
    write(&directory.join(SPECIFICATION), specification.to_json().as_bytes())?;
    Ok(directory)
}

/// Removes the files that `install` wrote, and the directories that are empty then.
pub fn uninstall(scope: &Scope, name: &str) -> Result<Removed, KernelspecError> {
    let directory = kernelspec_directory(scope, name)?;
    let Some(present) = Specification::read(&directory)? else {
        return Err(KernelspecError::NotInstalled { name: name.to_owned(), path: directory });
    };
    present.expect_ours(&directory)?;
    for file in std::iter::once(SPECIFICATION).chain(LOGOS.map(|(file, _)| file)) {
        let file = directory.join(file);
        match fs::remove_file(&file) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &file, source)),
            _ => {}
        }
    }
    // `PREFIX/share/jupyter/kernels/NAME`, or `kernels/NAME` in the user's data directory. Only empty directories can go this way.
    let depth = if matches!(scope, Scope::Prefix(_)) { 4 } else { 3 };
    directory.ancestors().take(depth).take_while(|empty| fs::remove_dir(empty).is_ok()).for_each(drop);
    let others_stay = directory.exists();
    Ok(Removed { directory, others_stay })
}

fn kernelspec_directory(scope: &Scope, name: &str) -> Result<PathBuf, KernelspecError> {
    let data = match scope {
        Scope::Prefix(prefix) => data_directory_of(prefix)?,
        Scope::User => user_data_directory()?,
    };
    Ok(data.join("kernels").join(valid(name)?))
}

/// Jupyter finds a kernelspec by its name in lower case, of the characters that `KernelSpecManager` allows.
fn valid(name: &str) -> Result<String, KernelspecError> {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    if name.chars().all(allowed) && name.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        Ok(name.to_ascii_lowercase())
    } else {
        Err(KernelspecError::Name { name: name.to_owned() })
    }
}

fn data_directory_of(prefix: &Path) -> Result<PathBuf, KernelspecError> {
    Ok(std::path::absolute(prefix).map_err(|source| failed("resolve", prefix, source))?.join("share/jupyter"))
}

/// Jupyter's data directory of this user, as `jupyter_core.paths.jupyter_data_dir` finds it.
fn user_data_directory() -> Result<PathBuf, KernelspecError> {
    if let Some(data) = directory("JUPYTER_DATA_DIR") {
        return std::path::absolute(&data).map_err(|source| failed("resolve", &data, source));
    }
    let home = home().ok_or(KernelspecError::NoHome)?;
    if cfg!(target_os = "macos") {
        return Ok(home.join("Library/Jupyter"));
    }
    Ok(directory("XDG_DATA_HOME").unwrap_or_else(|| home.join(".local/share")).join("jupyter"))
}

/// Writes a file so that nobody sees a part of it.
fn write(file: &Path, content: &[u8]) -> Result<(), KernelspecError> {
    let temporary = file.with_file_name(format!(".{}", Uuid::new_v4().simple()));
    let written = fs::write(&temporary, content).and_then(|()| fs::rename(&temporary, file));
    written.map_err(|source| {
        // It is the first error that matters; the leftover is ours and unique, so a failure to remove it harms nobody.
        let _ = fs::remove_file(&temporary);
        failed("write", file, source)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_jupyters() {
        assert_eq!(valid("Lua-5.4_x").unwrap(), "lua-5.4_x");
        for name in ["", ".", "..", "a/b", "a b", "-x", "é"] {
            assert!(valid(name).is_err(), "{name}");
        }
    }
}
