//! The options of a `kernel` provider: another kernel, whose models this one borrows.

use std::path::PathBuf;

use serde::Serialize;

use super::error::ConfigError;
use super::layer::Table;
use super::sources::ConfigSources;
use super::{candle, openai};

/// Every key that means something for this type.
pub(super) const KEYS: &[&str] = &["connection_file", "default_model", "enabled", "timeout_seconds", "type"];

/// The word for the kernel of this user that stays.
const RESIDENT: &str = "resident";

/// How another kernel is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct KernelConfig {
    /// Its connection file; `None` where no layer that may choose one did.
    pub connection_file: Option<KernelAddress>,
}

/// Where another kernel's connection file lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KernelAddress {
    /// Where the resident kernel of this user keeps it.
    Resident,
    /// In a file, which need not be there yet.
    File(PathBuf),
}

impl KernelConfig {
    pub(super) fn from_table(table: &mut Table, sources: &ConfigSources) -> Result<KernelConfig, ConfigError> {
        table.without(
            candle::KEYS,
            KEYS,
            "does not apply to a `kernel` provider, whose models run in another kernel; write it into the configuration there",
        )?;
        table.without(
            openai::KEYS,
            KEYS,
            "does not apply to a `kernel` provider, whose `connection_file` holds addresses and keys; leave it out",
        )?;
        let path = table.path("connection_file", "a connection file", &sources.directories)?;
        let connection_file = path.map(|(path, written)| match written.as_str() {
            RESIDENT => KernelAddress::Resident,
            _ => KernelAddress::File(path),
        });
        table.finish(KEYS)?;
        Ok(KernelConfig { connection_file })
    }
}
