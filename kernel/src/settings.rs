//! The configuration below the command line: what holds and why, and what it would be with another file. Nothing is
//! contacted for it, and secrets are not shown.

use std::path::{Path, PathBuf};

use perilune_providers::{Config, ConfigSources};
pub use perilune_providers::{Origin, SCHEMA, Setting};
use serde::Serialize;

use crate::Error;

/// A configuration that holds together.
#[derive(Clone, Debug, Serialize)]
pub struct Checked {
    /// The files that were read.
    pub files: Vec<PathBuf>,
    /// What was read and ignored, and why.
    pub warnings: Vec<String>,
}

/// Where configuration is looked for.
#[derive(Clone, Debug, Serialize)]
pub struct Paths {
    /// The user's file, which need not be there.
    pub user: Option<PathBuf>,
    /// The nearest project's file that is there.
    pub project: Option<PathBuf>,
}

/// A provider instance as configured.
#[derive(Clone, Debug, Serialize)]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub provider_type: String,
    /// Whether it is used.
    pub enabled: bool,
    /// Whether it is the default backend.
    pub default: bool,
    /// Its settings, written ones and defaults.
    pub settings: Vec<Setting>,
}

/// Every value that holds, each with the layer that says so.
pub fn settings() -> Result<Vec<Setting>, Error> {
    Ok(Config::settings(&ConfigSources::from_process()).map_err(perilune_providers::Error::from)?)
}

/// Where the files are.
pub fn paths() -> Paths {
    let (user, project) = Config::paths(&ConfigSources::from_process());
    Paths { user, project }
}

/// Reads the configuration, or `file` alone as if it were the user's. Fails with what is wrong and where.
pub fn check(file: Option<&Path>) -> Result<Checked, Error> {
    let config = match file {
        None => Config::load(&ConfigSources::from_process()),
        Some(path) => Config::load_file(path),
    };
    let config = config.map_err(perilune_providers::Error::from)?;
    Ok(Checked { files: config.files, warnings: config.warnings.iter().map(ToString::to_string).collect() })
}

/// Bytes of memory that programs may still take, as far as the system tells.
pub fn available_memory() -> Option<u64> {
    perilune_providers::available_memory()
}

/// The provider instances by name, disabled ones too.
pub fn instances() -> Result<Vec<Instance>, Error> {
    let sources = ConfigSources::from_process();
    let config = Config::load(&sources).map_err(perilune_providers::Error::from)?;
    let settings = settings()?;
    let instances = config.providers.iter().map(|(name, provider)| {
        let table = format!("providers.{name}");
        Instance {
            name: name.clone(),
            provider_type: provider.options.provider_type().to_string(),
            enabled: provider.enabled,
            default: config.default_backend.as_ref() == Some(name),
            settings: settings.iter().filter(|setting| setting.table == table).cloned().collect(),
        }
    });
    Ok(instances.collect())
}
