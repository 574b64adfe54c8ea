//! What `perilune bench` measures: a model of this process's engine by name or file, or one with random weights in the shape
//! of a well-known one, which is written first and kept.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use perilune_engine::{Bench, BenchOptions, Source, Synthetic};

use crate::candle::CandleProvider;
use crate::config::{Config, ProviderOptions};
use crate::directories::Directories;
use crate::error::Error;
use crate::specifier::ModelSpecifier;

/// The model to measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BenchSubject {
    /// A GGUF file (whatever ends in `.gguf`), or a model of an instance of type `candle`.
    Model(String),
    /// A shape and mixture of [`synthetic_models`].
    Synthetic(String),
}

/// The names of the models with random weights.
pub fn synthetic_models() -> impl Iterator<Item = &'static str> {
    Synthetic::ALL.iter().map(|model| model.name)
}

/// Loads the model and measures it; blocks for as long as that takes.
pub fn bench(config: &Config, subject: &BenchSubject, options: &BenchOptions) -> Result<Bench, Error> {
    let (name, source) = match subject {
        BenchSubject::Model(name) => (name, named(config, name)?),
        BenchSubject::Synthetic(name) => (name, Source::File(synthetic(name)?)),
    };
    Bench::run(&source, options).map_err(|error| Error::engine(name, error))
}

fn named(config: &Config, name: &str) -> Result<Source, Error> {
    let path = Path::new(name);
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf")) {
        return Ok(Source::File(path.to_owned()));
    }
    let specifier: ModelSpecifier = name.parse()?;
    let instances: Vec<CandleProvider> = config
        .providers
        .iter()
        .filter_map(|(instance, provider)| match &provider.options {
            ProviderOptions::Candle(options) => Some(CandleProvider::new(instance, provider, options)),
            _ => None,
        })
        .collect();
    let wanted = |instance: &&CandleProvider| specifier.backend().is_none_or(|backend| backend == instance.instance());
    match instances.iter().find(wanted) {
        Some(instance) => instance.source(specifier.model()),
        None => Err(Error::NotLocal {
            instance: specifier.backend().unwrap_or("candle").to_owned(),
            local: instances.iter().map(|instance| instance.instance().to_owned()).collect(),
        }),
    }
}

/// The file of a model with random weights, written if it is not there.
fn synthetic(name: &str) -> Result<PathBuf, Error> {
    let model = Synthetic::ALL.iter().find(|model| model.name == name).ok_or_else(|| Error::UnknownSynthetic {
        name: name.to_owned(),
        known: synthetic_models().collect::<Vec<_>>().join(", "),
    })?;
    let folder = Directories::from_environment().data.unwrap_or_else(std::env::temp_dir).join("synthetic");
    let path = folder.join(format!("{name}.gguf"));
    if path.is_file() {
        return Ok(path);
    }
    let part = path.with_extension(format!("{}.part", std::process::id()));
    let written =
        std::fs::create_dir_all(&folder).and_then(|()| model.write(&part)).and_then(|()| std::fs::rename(&part, &path));
    written.map_err(|source| {
        // The error is told; the part is of no use to anybody.
        let _ = std::fs::remove_file(&part);
        Error::WriteModel { path: path.clone(), source: Arc::new(source) }
    })?;
    Ok(path)
}
