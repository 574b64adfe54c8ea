//! The Python environment that `--sys-prefix` means, found from outside of Python.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use super::KernelspecError;
use crate::resident::directory;

/// How long a Python may take to say where it lives.
const PYTHON_PATIENCE: Duration = Duration::from_secs(10);

/// The prefix of the environment that `program` belongs to; else of the active one; else of the Python that runs `jupyter` on
/// PATH; else of the `python3` or `python` there.
pub async fn active(program: &Path) -> Result<PathBuf, KernelspecError> {
    if let Some(prefix) = around(program) {
        return Ok(prefix);
    }
    for variable in ["VIRTUAL_ENV", "CONDA_PREFIX"] {
        if let Some(path) = directory(variable) {
            return if path.is_dir() { Ok(path) } else { Err(KernelspecError::GoneEnvironment { variable, path }) };
        }
    }
    for python in pythons() {
        if let Some(prefix) = prefix_of(&python).await {
            return Ok(prefix);
        }
    }
    Err(KernelspecError::NoEnvironment)
}

/// The virtual or conda environment in whose `bin` a program lies.
fn around(program: &Path) -> Option<PathBuf> {
    let prefix = program.parent().filter(|folder| folder.ends_with("bin"))?.parent()?;
    (prefix.join("pyvenv.cfg").is_file() || prefix.join("conda-meta").is_dir()).then(|| prefix.to_owned())
}

/// The Pythons to ask, best first. Those beside `jupyter` itself run it: tools that give it an environment of its own put a link on
/// PATH.
fn pythons() -> Vec<PathBuf> {
    let beside = on_path("jupyter").and_then(|jupyter| Some(jupyter.canonicalize().ok()?.parent()?.to_owned()));
    let names = ["python3", "python"];
    let beside = beside.into_iter().flat_map(|folder| names.map(|name| folder.join(name)));
    beside.filter(|python| python.is_file()).chain(names.into_iter().filter_map(on_path)).collect()
}

/// The first file of that name on PATH.
pub(super) fn on_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(name)).find(|file| file.is_file())
}

async fn prefix_of(python: &Path) -> Option<PathBuf> {
    let mut command = Command::new(python);
    command.args(["-I", "-c", "import sys; print(sys.prefix)"]);
    command.stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let output = timeout(PYTHON_PATIENCE, command.output()).await.ok()?.ok()?;
    let prefix = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim_end_matches('\n'));
    (output.status.success() && prefix.is_absolute()).then_some(prefix)
}
