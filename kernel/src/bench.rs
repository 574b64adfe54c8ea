//! `perilune bench` below the command line: the configuration, and what measures.

pub use perilune_providers::{Bench, BenchOptions, BenchSubject, synthetic_models};
use perilune_providers::{Config, ConfigSources};

use crate::Error;

/// Measures a model with the configuration's instances; blocks for as long as that takes.
pub fn measure(subject: &BenchSubject, options: &BenchOptions) -> Result<Bench, Error> {
    let config = Config::load(&ConfigSources::from_process()).map_err(perilune_providers::Error::from)?;
    Ok(perilune_providers::bench(&config, subject, options)?)
}
