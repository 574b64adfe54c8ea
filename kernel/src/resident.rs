//! Where the resident kernel of this user keeps its connection file.
//!
//! One file per `PERILUNE_HOME` (or per user), in the runtime directory, which is private to the user and empty after a boot.

use std::env;
use std::path::PathBuf;

use crate::Error;

/// The connection file that `kernel start` writes and `kernel status`, `kernel stop` and `model load` read when none is named.
///
/// `$PERILUNE_HOME/run/kernel.json`, else `$XDG_RUNTIME_DIR/perilune/kernel.json`, else `$XDG_STATE_HOME/perilune/kernel.json`
/// (`~/.local/state`).
pub fn connection_file() -> Result<PathBuf, Error> {
    let directory = if let Some(home) = directory("PERILUNE_HOME") {
        home.join("run")
    } else if let Some(runtime) = directory("XDG_RUNTIME_DIR") {
        runtime.join("perilune")
    } else if let Some(state) = directory("XDG_STATE_HOME") {
        state.join("perilune")
    } else if let Some(home) = home() {
        home.join(".local/state/perilune")
    } else {
        return Err(Error::NoHome);
    };
    Ok(directory.join("kernel.json"))
}

/// The user's home: `HOME`, or what the system knows where a Jupyter launcher does not pass that on.
pub(crate) fn home() -> Option<PathBuf> {
    env::home_dir().filter(|home| !home.as_os_str().is_empty())
}

pub(crate) fn directory(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}
