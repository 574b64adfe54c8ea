//! The options of `[downloads]`: how model files come. Only the user's own file has them.

use std::time::Duration;

use serde::Serialize;

use super::error::ConfigError;
use super::layer::Table;

/// Every key.
const KEYS: &[&str] = &["allow_loopback", "connections", "most_gib", "stall_seconds"];

const MOST_CONNECTIONS: usize = 16;
/// 64 TiB.
const MOST_GIB: usize = 64 * 1024;
const GIB: u64 = 1024 * 1024 * 1024;

/// How model files come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DownloadsConfig {
    /// Whether a download may come from this machine's own addresses, also without encryption.
    pub allow_loopback: bool,
    /// Connections that bring one file.
    pub connections: usize,
    /// The most bytes that are taken from an address.
    pub most_bytes: u64,
    /// The longest time without a byte; then the connection is made anew.
    pub stall: Duration,
}

impl Default for DownloadsConfig {
    fn default() -> DownloadsConfig {
        DownloadsConfig { allow_loopback: false, connections: 4, most_bytes: 256 * GIB, stall: Duration::from_secs(30) }
    }
}

impl DownloadsConfig {
    pub(super) fn from_table(mut table: Table) -> Result<DownloadsConfig, ConfigError> {
        let default = DownloadsConfig::default();
        let config = DownloadsConfig {
            allow_loopback: table.boolean("allow_loopback")?.unwrap_or(default.allow_loopback),
            connections: table.count("connections", 1..=MOST_CONNECTIONS)?.unwrap_or(default.connections),
            most_bytes: table.count("most_gib", 1..=MOST_GIB)?.map_or(default.most_bytes, |gib| gib as u64 * GIB),
            stall: table.seconds("stall_seconds")?.unwrap_or(default.stall),
        };
        table.finish(KEYS)?;
        Ok(config)
    }
}
