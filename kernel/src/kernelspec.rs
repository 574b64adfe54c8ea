//! The kernelspec `perilune`: how Jupyter learns that this kernel exists and how to start it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::Error;
use crate::resident::directory;

const NAME: &str = "perilune";

/// Where a kernelspec is installed.
#[derive(Clone, Debug)]
pub enum Scope {
    /// For this user: Jupyter's data directory.
    User,
    /// Below a prefix such as a virtual environment: `PREFIX/share/jupyter`.
    Prefix(PathBuf),
}

/// Writes the kernelspec, which starts `executable`, and returns its directory. An older one is replaced.
pub fn install(scope: &Scope, executable: &Path) -> Result<PathBuf, Error> {
    let directory = kernelspec_directory(scope)?;
    fs::create_dir_all(&directory).map_err(|source| failed("create", &directory, source))?;
    let specification = json!({
        "argv": [executable, "kernel", "start", "--connection-file", "{connection_file}"],
        "display_name": "Lua (Perilune)",
        "language": "lua",
        "interrupt_mode": "message",
        "kernel_protocol_version": perilune_protocol::PROTOCOL_VERSION,
        "metadata": {},
    });
    let file = directory.join("kernel.json");
    fs::write(&file, format!("{specification:#}\n")).map_err(|source| failed("write", &file, source))?;
    Ok(directory)
}

/// Removes the kernelspec and returns the directory that held it.
pub fn uninstall(scope: &Scope) -> Result<PathBuf, Error> {
    let directory = kernelspec_directory(scope)?;
    if !directory.join("kernel.json").is_file() {
        return Err(Error::NotInstalled { path: directory });
    }
    fs::remove_dir_all(&directory).map_err(|source| failed("remove", &directory, source))?;
    Ok(directory)
}

fn kernelspec_directory(scope: &Scope) -> Result<PathBuf, Error> {
    let data = match scope {
        Scope::Prefix(prefix) => {
            std::path::absolute(prefix).map_err(|source| failed("resolve", prefix, source))?.join("share/jupyter")
        }
        Scope::User => user_data_directory()?,
    };
    Ok(data.join("kernels").join(NAME))
}

/// Jupyter's data directory of this user, as `jupyter_core.paths.jupyter_data_dir` finds it.
fn user_data_directory() -> Result<PathBuf, Error> {
    if let Some(data) = directory("JUPYTER_DATA_DIR") {
        return Ok(data);
    }
    let home = directory("HOME").ok_or(Error::NoHome)?;
    if cfg!(target_os = "macos") {
        return Ok(home.join("Library/Jupyter"));
    }
    Ok(directory("XDG_DATA_HOME").unwrap_or_else(|| home.join(".local/share")).join("jupyter"))
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Kernelspec { action, path: path.to_owned(), source }
}
