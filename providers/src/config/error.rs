//! What can be wrong with a configuration. Values are quoted only where they cannot be a secret:
//! somebody may have pasted a key where its name belongs.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use crate::nearest::{listed, quoted, suggestion};
use crate::specifier::SpecifierError;

/// A configuration that does not hold together.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file that is there but cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: Arc<std::io::Error>,
    },
    /// A file that is not TOML.
    #[error("{origin}: not valid TOML: {problem}")]
    Syntax {
        /// Where.
        origin: Origin,
        /// What the parser said.
        problem: String,
    },
    /// A key that means nothing there.
    #[error("{origin}: unknown key `{}` in {table}{}", quoted(key), known_keys(near, known))]
    UnknownKey {
        /// Where.
        origin: Origin,
        /// The key.
        key: String,
        /// The table it stands in.
        table: String,
        /// The keys that are known there.
        known: &'static [&'static str],
        /// Those near it.
        near: Vec<String>,
    },
    /// A known key with a value that does not fit.
    #[error("{origin}: `{key}` in {table} {problem}")]
    Value {
        /// Where.
        origin: Origin,
        /// The key.
        key: String,
        /// The table it stands in.
        table: String,
        /// What it must be.
        problem: String,
    },
    /// A value that should be a model specifier.
    #[error("{origin}: `{key}` in {table}: {source}")]
    Specifier {
        /// Where.
        origin: Origin,
        /// The key.
        key: String,
        /// The table it stands in.
        table: String,
        /// What is wrong with it.
        source: SpecifierError,
    },
    /// A name no instance can have.
    #[error("{origin}: `{}` cannot name a provider: {problem}", quoted(name))]
    InstanceName {
        /// Where.
        origin: Origin,
        /// The name.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A type this build does not have.
    #[error("{origin}: unknown provider type `{}`; this build has: {known}{}", quoted(word), suggestion(near))]
    UnknownType {
        /// Where.
        origin: Origin,
        /// The word.
        word: String,
        /// The types there are.
        known: String,
        /// Those near it.
        near: Vec<String>,
    },
    /// An instance without a type.
    #[error("{origin}: [providers.{name}] has no `type`; this build has: {known}")]
    NoType {
        /// Where.
        origin: Origin,
        /// The instance.
        name: String,
        /// The types there are.
        known: String,
    },
    /// Every instance is disabled.
    #[error("no provider is enabled; write `enabled = true` in one of the [providers.<name>] tables")]
    NoProvider,
    /// A default backend that is not configured, or disabled.
    #[error(
        "{origin}: `default_backend` is `{}`, which no enabled provider is called; configured: {}{}",
        quoted(name),
        listed(configured),
        suggestion(near)
    )]
    UnknownBackend {
        /// Where.
        origin: Origin,
        /// The name.
        name: String,
        /// The enabled instances.
        configured: Vec<String>,
        /// Those near it.
        near: Vec<String>,
    },
}

fn known_keys(near: &[String], known: &[&str]) -> String {
    if near.is_empty() { format!("; known: {}", listed(known)) } else { suggestion(near) }
}

/// Where a setting was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Nowhere: a default of ours.
    Default,
    /// A file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1, where it is known.
        line: Option<u32>,
    },
    /// A variable of the environment.
    Environment(&'static str),
}

impl Origin {
    /// The folder a relative path starts at.
    pub(super) fn folder(&self) -> &Path {
        match self {
            Origin::File { path, .. } => path.parent().unwrap_or(Path::new("")),
            _ => Path::new(""),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => formatter.write_str("defaults"),
            Origin::File { path, line: Some(line) } => write!(formatter, "`{}` line {line}", path.display()),
            Origin::File { path, line: None } => write!(formatter, "`{}`", path.display()),
            Origin::Environment(name) => write!(formatter, "`{name}`"),
        }
    }
}

/// A setting that was read and ignored: a project's file said what only the user may say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConfigWarning {
    /// Where it was written.
    pub origin: Origin,
    /// The key.
    pub key: String,
    /// The table it stands in.
    pub table: String,
    /// The folder the user has not trusted.
    pub folder: PathBuf,
    /// The user's file, where trust is given.
    pub user_file: Option<PathBuf>,
}

impl fmt::Display for ConfigWarning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}: `{}` in {} was ignored: a project's file chooses models and limits, not endpoints, keys or folders",
            self.origin,
            quoted(&self.key),
            self.table,
        )?;
        match &self.user_file {
            Some(file) if !matches!(self.key.as_str(), "trusted_folders" | "downloads") => write!(
                formatter,
                "; to trust this folder, add `{}` to `trusted_folders` in `{}`",
                self.folder.display(),
                file.display()
            ),
            _ => Ok(()),
        }
    }
}
