//! One layer of the configuration as it was written, every value with its origin; and the merged
//! table that typed values are taken from, until what is left over are the unknown keys.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, ConfigWarning, Origin};
use crate::directories::Directories;
use crate::model_list::ModelList;
use crate::nearest::nearest;
use crate::prices::Price;
use crate::specifier::ModelSpecifier;

/// The keys outside every table.
pub(super) const TOP_LEVEL: &[&str] =
    &["budget", "default_backend", "default_model", "downloads", "prices", "providers", "routing", "trusted_folders"];

/// The tables that there are once.
const TABLES: &[&str] = &["budget", "downloads", "prices", "routing"];

/// Those of them that only the user decides: what may be spent, and what it costs.
const USER_ONLY_TABLES: &[&str] = &["budget", "prices"];

/// What a project's file may not choose until the user trusts its folder.
const USER_ONLY: &[&str] =
    &["api_key", "api_key_env", "base_url", "ca_file", "connection_file", "model_directory", "model_paths", "preset"];

/// A value and where it was written.
#[derive(Clone)]
pub(super) struct Located {
    pub(super) value: toml::Value,
    pub(super) origin: Origin,
}

/// One layer: the top level and the provider tables.
#[derive(Default)]
pub(super) struct Layer {
    pub(super) top: Keys,
    pub(super) providers: BTreeMap<String, Keys>,
    /// Those of [`TABLES`] that are there.
    pub(super) tables: BTreeMap<String, Keys>,
    /// The instances of which a file said something that it may not say.
    pub(super) confined: BTreeSet<String>,
}

/// What stands in one table.
pub(super) type Keys = BTreeMap<String, Located>;

impl Layer {
    /// What holds when nothing is configured.
    pub(super) fn defaults() -> Layer {
        let candle = Located { value: toml::Value::String("candle".to_owned()), origin: Origin::Default };
        Layer {
            providers: BTreeMap::from([("candle".to_owned(), BTreeMap::from([("type".to_owned(), candle)]))]),
            ..Layer::default()
        }
    }

    /// Reads the text of the file `path`.
    pub(super) fn parse(text: &str, path: &Path) -> Result<Layer, ConfigError> {
        let at = |span: Option<std::ops::Range<usize>>| Origin::File {
            path: path.to_owned(),
            line: span.map(|span| line_of(text, span.start)),
        };
        // The parser's own display shows the offending line, which may hold a key.
        let syntax = |error: toml::de::Error| ConfigError::Syntax {
            origin: at(error.span()),
            problem: error.message().trim().replace('\n', ", "),
        };
        let places = DeTable::parse(text).map_err(syntax)?;
        let mut values: toml::Table = toml::from_str(text).map_err(syntax)?;

        let mut layer = Layer::default();
        for (key, place) in places.get_ref() {
            let origin = at(Some(key.span()));
            let name = key.get_ref().as_ref();
            let Some(value) = values.remove(name) else {
                continue;
            };
            match (name, place.get_ref(), value) {
                ("providers", DeValue::Table(places), toml::Value::Table(tables)) => {
                    layer.providers = provider_tables(places, tables, &at)?;
                }
                ("providers", _, value) => {
                    return Err(ConfigError::Value {
                        origin,
                        key: "providers".to_owned(),
                        table: "the top level".to_owned(),
                        problem: must_be("a table of tables", &value),
                    });
                }
                (table, DeValue::Table(places), toml::Value::Table(values)) if TABLES.contains(&table) => {
                    layer.tables.insert(name.to_owned(), keys(places, values, &at));
                }
                (table, _, value) if TABLES.contains(&table) => {
                    return Err(ConfigError::Value {
                        origin,
                        key: table.to_owned(),
                        table: "the top level".to_owned(),
                        problem: must_be("a table", &value),
                    });
                }
                (_, _, value) => {
                    layer.top.insert(name.to_owned(), Located { value, origin });
                }
            }
        }
        Ok(layer)
    }

    /// Lays `later` over this layer.
    pub(super) fn put(&mut self, later: Layer) {
        self.top.extend(later.top);
        self.confined.extend(later.confined);
        for (name, keys) in later.providers {
            self.providers.entry(name).or_default().extend(keys);
        }
        for (name, keys) in later.tables {
            self.tables.entry(name).or_default().extend(keys);
        }
    }

    /// Takes the folders whose projects may choose everything; only the user's file has them.
    pub(super) fn take_trusted_folders(&mut self, directories: &Directories) -> Result<Vec<PathBuf>, ConfigError> {
        let Some(folders) = self.top.remove("trusted_folders") else {
            return Ok(Vec::new());
        };
        let refuse = || ConfigError::Value {
            origin: folders.origin.clone(),
            key: "trusted_folders".to_owned(),
            table: "the top level".to_owned(),
            problem: "must be a list of paths, such as [\"~/projects/mine\"]".to_owned(),
        };
        let list = folders.value.as_array().ok_or_else(refuse)?;
        list.iter()
            .map(|folder| {
                let folder = folder.as_str().ok_or_else(refuse)?;
                Ok(directories.expand(folder, folders.origin.folder()))
            })
            .collect()
    }

    /// Removes what the file of a project that is not trusted may not say.
    pub(super) fn confine_to_project(
        &mut self,
        path: &Path,
        trusted: &[PathBuf],
        user_file: Option<&Path>,
    ) -> Vec<ConfigWarning> {
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut warnings = Vec::new();
        let mut warn = |origin, key: &str, table: String| {
            warnings.push(ConfigWarning {
                origin,
                key: key.to_owned(),
                table,
                folder: folder.to_owned(),
                user_file: user_file.map(Path::to_owned),
            });
        };
        if let Some(found) = self.top.remove("trusted_folders") {
            warn(found.origin, "trusted_folders", "the top level".to_owned());
        }
        for (key, found) in self.tables.remove("downloads").unwrap_or_default() {
            warn(found.origin, &key, "[downloads]".to_owned());
        }
        if !trusted.iter().any(|trusted| same_folder(trusted, folder)) {
            for table in USER_ONLY_TABLES {
                for (key, found) in self.tables.remove(*table).unwrap_or_default() {
                    warn(found.origin, &key, format!("[{table}]"));
                }
            }
            for (name, keys) in &mut self.providers {
                for key in USER_ONLY {
                    if let Some(found) = keys.remove(*key) {
                        warn(found.origin, key, format!("[providers.{name}]"));
                        self.confined.insert(name.clone());
                    }
                }
            }
        }
        warnings
    }
}

/// The `[providers.<name>]` tables of one file.
fn provider_tables(
    places: &DeTable<'_>,
    mut tables: toml::Table,
    at: &impl Fn(Option<std::ops::Range<usize>>) -> Origin,
) -> Result<BTreeMap<String, Keys>, ConfigError> {
    let mut providers = BTreeMap::new();
    for (name, place) in places {
        let text = name.get_ref().as_ref();
        let (DeValue::Table(places), Some(toml::Value::Table(values))) = (place.get_ref(), tables.remove(text)) else {
            return Err(ConfigError::Value {
                origin: at(Some(name.span())),
                key: text.to_owned(),
                table: "[providers]".to_owned(),
                problem: "must be a table, such as [providers.candle]".to_owned(),
            });
        };
        providers.insert(text.to_owned(), keys(places, values, at));
    }
    Ok(providers)
}

/// What stands in one table, each with its place.
fn keys(places: &DeTable<'_>, mut values: toml::Table, at: &impl Fn(Option<std::ops::Range<usize>>) -> Origin) -> Keys {
    let located = places.keys().filter_map(|key| {
        let name = key.get_ref().as_ref();
        let value = values.remove(name)?;
        Some((name.to_owned(), Located { value, origin: at(Some(key.span())) }))
    });
    located.collect()
}

/// The line, from 1, of a byte offset.
fn line_of(text: &str, offset: usize) -> u32 {
    let before = text.as_bytes().iter().take(offset);
    let newlines = before.filter(|byte| **byte == b'\n').count();
    u32::try_from(newlines + 1).unwrap_or(u32::MAX)
}

fn same_folder(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

fn must_be(expected: &str, value: &toml::Value) -> String {
    let article = match value.type_str() {
        word @ ("array" | "integer") => format!("an {word}"),
        word => format!("a {word}"),
    };
    format!("must be {expected}, not {article}")
}

/// A merged table that typed values are taken out of.
pub(super) struct Table {
    name: String,
    keys: Keys,
    origin: Origin,
}

impl Table {
    pub(super) fn new(name: &str, keys: Keys) -> Table {
        let written = keys.values().map(|located| &located.origin);
        let origin = written
            .clone()
            .find(|origin| **origin != Origin::Default)
            .or_else(|| written.clone().next())
            .cloned()
            .unwrap_or(Origin::Default);
        Table { name: name.to_owned(), keys, origin }
    }

    /// Where the table was written, as far as that can be said of several layers.
    pub(super) fn origin(&self) -> Origin {
        self.origin.clone()
    }

    /// Takes a value of the shape that `read` knows.
    fn take<T>(
        &mut self,
        key: &str,
        expected: &str,
        read: impl Fn(&toml::Value) -> Option<T>,
    ) -> Result<Option<(T, Origin)>, ConfigError> {
        let Some(Located { value, origin }) = self.keys.remove(key) else {
            return Ok(None);
        };
        match read(&value) {
            Some(read) => Ok(Some((read, origin))),
            None => Err(self.refuse(key, origin, must_be(expected, &value))),
        }
    }

    pub(super) fn refuse(&self, key: &str, origin: Origin, problem: String) -> ConfigError {
        ConfigError::Value { origin, key: key.to_owned(), table: self.name.clone(), problem }
    }

    pub(super) fn located_string(&mut self, key: &str) -> Result<Option<(String, Origin)>, ConfigError> {
        self.take(key, "a string", |value| value.as_str().map(str::to_owned))
    }

    pub(super) fn boolean(&mut self, key: &str) -> Result<Option<bool>, ConfigError> {
        let taken = self.take(key, "`true` or `false`", toml::Value::as_bool)?;
        Ok(taken.map(|(value, _)| value))
    }

    /// A whole number in a range.
    pub(super) fn count(&mut self, key: &str, range: RangeInclusive<usize>) -> Result<Option<usize>, ConfigError> {
        let expected = format!("an integer from {} to {}", range.start(), range.end());
        let Some((number, origin)) = self.take(key, &expected, toml::Value::as_integer)? else {
            return Ok(None);
        };
        match usize::try_from(number) {
            Ok(count) if range.contains(&count) => Ok(Some(count)),
            _ => Err(self.refuse(key, origin, format!("must be {expected}, not `{number}`"))),
        }
    }

    /// A time above zero and up to a year, whole seconds or not.
    pub(super) fn seconds(&mut self, key: &str) -> Result<Option<Duration>, ConfigError> {
        const YEAR: f64 = 365.0 * 86_400.0;
        let expected = "a number of seconds above 0 and up to a year";
        let read = |value: &toml::Value| match value {
            toml::Value::Integer(seconds) => Some(*seconds as f64),
            toml::Value::Float(seconds) => Some(*seconds),
            _ => None,
        };
        let Some((seconds, origin)) = self.take(key, expected, read)? else {
            return Ok(None);
        };
        match Duration::try_from_secs_f64(seconds) {
            Ok(duration) if !duration.is_zero() && seconds <= YEAR => Ok(Some(duration)),
            _ => Err(self.refuse(key, origin, format!("must be {expected}, not `{seconds}`"))),
        }
    }

    /// A number, whole or not.
    pub(super) fn number(
        &mut self,
        key: &str,
        expected: &str,
        fits: impl Fn(f64) -> bool,
    ) -> Result<Option<f64>, ConfigError> {
        let read = |value: &toml::Value| match value {
            toml::Value::Integer(number) => Some(*number as f64),
            toml::Value::Float(number) => Some(*number),
            _ => None,
        };
        let Some((number, origin)) = self.take(key, expected, read)? else {
            return Ok(None);
        };
        match number.is_finite() && fits(number) {
            true => Ok(Some(number)),
            false => Err(self.refuse(key, origin, format!("must be {expected}, not `{number}`"))),
        }
    }

    /// All that is left, as prices of models.
    pub(super) fn prices(mut self) -> Result<BTreeMap<String, Price>, ConfigError> {
        let keys = std::mem::take(&mut self.keys);
        let prices = keys.into_iter().map(|(model, Located { value, origin })| {
            let price = value.try_into::<Price>().ok().filter(Price::is_valid);
            let problem = "must be US dollars per million tokens, such as { input = 0.5, output = 1.5 }";
            match price {
                Some(price) => Ok((model, price)),
                None => Err(self.refuse(&model, origin, problem.to_owned())),
            }
        });
        prices.collect()
    }

    pub(super) fn specifier(&mut self, key: &str) -> Result<Option<ModelSpecifier>, ConfigError> {
        let Some((text, origin)) = self.located_string(key)? else {
            return Ok(None);
        };
        match text.parse() {
            Ok(specifier) => Ok(Some(specifier)),
            Err(source) => {
                Err(ConfigError::Specifier { origin, key: key.to_owned(), table: self.name.clone(), source })
            }
        }
    }

    /// Models, the first that can answer being meant.
    pub(super) fn models(&mut self, key: &str) -> Result<Option<ModelList>, ConfigError> {
        let Some((text, origin)) = self.located_string(key)? else {
            return Ok(None);
        };
        let refuse = |source| ConfigError::Specifier { origin, key: key.to_owned(), table: self.name.clone(), source };
        text.parse().map(Some).map_err(refuse)
    }

    /// A model's name on its instance, without provider and backend.
    pub(super) fn model(&mut self, key: &str) -> Result<Option<String>, ConfigError> {
        let written = self.keys.get(key).map(|located| located.origin.clone());
        let Some(specifier) = self.specifier(key)? else {
            return Ok(None);
        };
        if specifier.provider().is_some() || specifier.backend().is_some() {
            let problem = format!(
                "must be a model of this provider without provider or backend, such as `{}`",
                specifier.model()
            );
            return Err(self.refuse(key, written.unwrap_or(Origin::Default), problem));
        }
        Ok(Some(specifier.model().to_owned()))
    }

    /// The path of `what`, and how it was written; relative ones start at the folder of the file that says them.
    pub(super) fn path(
        &mut self,
        key: &str,
        what: &str,
        directories: &Directories,
    ) -> Result<Option<(PathBuf, String)>, ConfigError> {
        let Some((text, origin)) = self.located_string(key)? else {
            return Ok(None);
        };
        if text.is_empty() || text.contains('\0') {
            return Err(self.refuse(key, origin, format!("must be the path of {what}")));
        }
        Ok(Some((directories.expand(&text, origin.folder()), text)))
    }

    /// Folders; relative ones start at the folder of the file that says them. None where the key is not there.
    pub(super) fn paths(&mut self, key: &str, directories: &Directories) -> Result<Vec<PathBuf>, ConfigError> {
        let expected = "a list of folders, such as [\"~/models\"]";
        let read = |value: &toml::Value| {
            let texts = value.as_array()?.iter().map(|path| path.as_str().map(str::to_owned));
            texts.collect::<Option<Vec<String>>>()
        };
        let Some((texts, origin)) = self.take(key, expected, read)? else {
            return Ok(Vec::new());
        };
        if texts.iter().any(|text| text.is_empty() || text.contains('\0')) {
            return Err(self.refuse(key, origin, format!("must be {expected}")));
        }
        Ok(texts.iter().map(|text| directories.expand(text, origin.folder())).collect())
    }

    /// Refuses the keys of another type of provider that are not among this type's `own`.
    pub(super) fn without(&mut self, others: &[&str], own: &[&str], why: &str) -> Result<(), ConfigError> {
        for key in others.iter().filter(|key| !own.contains(key)) {
            if let Some(Located { origin, .. }) = self.keys.remove(*key) {
                return Err(self.refuse(key, origin, why.to_owned()));
            }
        }
        Ok(())
    }

    /// Ends the taking: what is left is not known.
    pub(super) fn finish(&mut self, known: &'static [&'static str]) -> Result<(), ConfigError> {
        let Some((key, located)) = self.keys.pop_first() else {
            return Ok(());
        };
        Err(ConfigError::UnknownKey {
            origin: located.origin,
            near: nearest(&key, known.iter().copied()),
            key,
            table: self.name.clone(),
            known,
        })
    }
}
