//! Where the layers come from: the user's folders, the project around the working directory and
//! the environment.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::{ConfigError, Origin};
use super::layer::{Layer, Located};
use crate::collections;
use crate::directories::Directories;
use crate::provider::Collection;

/// The name of a project's file.
const PROJECT_FILE: &str = "perilune.toml";

/// More than any configuration; what is larger is not one.
const LARGEST_FILE: u64 = 1024 * 1024;

/// What [`Config::load`](super::Config::load) reads. The default reads nothing.
#[derive(Clone, Debug, Default)]
pub struct ConfigSources {
    /// Where the user's `config.toml` and models lie.
    pub directories: Directories,
    /// Where the search for a project's `perilune.toml` starts. It goes up to the root of the
    /// repository or to the home; outside both, only this folder is looked at.
    pub working_directory: Option<PathBuf>,
    /// What the environment overrides: `PERILUNE_MODEL`, `PERILUNE_BACKEND`.
    pub environment: Overrides,
    /// Where other programs keep models.
    pub collections: Vec<(Collection, PathBuf)>,
    /// What `OLLAMA_HOST` says: where an instance of type `ollama` is that has no `base_url`.
    pub ollama_host: Option<String>,
}

/// Settings for one process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Replaces `default_model`.
    pub model: Option<String>,
    /// Replaces `default_backend`.
    pub backend: Option<String>,
}

impl ConfigSources {
    /// What this process's environment and working directory ask for. Variables that are set to
    /// nothing count as unset.
    pub fn from_process() -> ConfigSources {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        ConfigSources {
            directories: Directories::from_environment(),
            working_directory: std::env::current_dir().ok(),
            environment: Overrides { model: variable("PERILUNE_MODEL"), backend: variable("PERILUNE_BACKEND") },
            collections: collections::from_environment(),
            ollama_host: variable("OLLAMA_HOST"),
        }
    }

    /// The nearest project file at or above the working directory.
    pub(super) fn project_file(&self) -> Option<PathBuf> {
        let start = self.working_directory.as_deref()?;
        let home = self.directories.home.as_deref();
        let is_end = |folder: &Path| Some(folder) == home || folder.join(".git").exists();
        let steps = start.ancestors().position(is_end).unwrap_or(0);
        start.ancestors().take(steps + 1).map(|folder| folder.join(PROJECT_FILE)).find(|file| file.exists())
    }
}

impl Overrides {
    pub(super) fn layer(&self) -> Layer {
        let mut top = BTreeMap::new();
        let settings =
            [("default_model", &self.model, "PERILUNE_MODEL"), ("default_backend", &self.backend, "PERILUNE_BACKEND")];
        for (key, value, variable) in settings {
            if let Some(value) = value {
                let (value, origin) = (toml::Value::String(value.clone()), Origin::Environment(variable));
                top.insert(key.to_owned(), Located { value, origin });
            }
        }
        Layer { top, ..Layer::default() }
    }
}

/// The text of a configuration file; `None` if there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<String>, ConfigError> {
    let fail = |source: std::io::Error| ConfigError::Read { path: path.to_owned(), source: Arc::new(source) };
    let other = |problem: &str| fail(std::io::Error::other(problem));
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fail(error)),
    };
    // Opening a pipe would wait for whoever writes to it.
    if !metadata.is_file() {
        return Err(other("not a regular file"));
    }
    let file = std::fs::File::open(path).map_err(fail)?;
    let mut text = String::new();
    file.take(LARGEST_FILE + 1).read_to_string(&mut text).map_err(fail)?;
    if text.len() as u64 > LARGEST_FILE {
        return Err(other("larger than 1 MiB, which no configuration is"));
    }
    Ok(Some(text))
}
