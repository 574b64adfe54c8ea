//! `[routing]`: what is done about an instance that does not answer.

use std::time::Duration;

use serde::Serialize;

use super::error::ConfigError;
use super::layer::Table;

/// Every key.
const KEYS: &[&str] = &["breaker_failures", "breaker_seconds", "first_wait_seconds", "longest_wait_seconds", "retries"];

/// How often and how soon an instance elsewhere is asked again that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RoutingConfig {
    /// How often one request asks a model again.
    pub retries: u32,
    /// The wait before the first of these; it doubles with each, and a part of it is left to chance.
    pub first_wait: Duration,
    /// The longest wait. A server that asks for more is not asked again by this request.
    pub longest_wait: Duration,
    /// Failures in a row after which an instance is left alone, and for how long.
    pub breaker_failures: u32,
    /// See [`RoutingConfig::breaker_failures`].
    pub breaker_pause: Duration,
}

impl Default for RoutingConfig {
    fn default() -> RoutingConfig {
        RoutingConfig {
            retries: 2,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(30),
            breaker_failures: 5,
            breaker_pause: Duration::from_secs(30),
        }
    }
}

impl RoutingConfig {
    pub(super) fn from_table(mut table: Table) -> Result<RoutingConfig, ConfigError> {
        let default = RoutingConfig::default();
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let routing = RoutingConfig {
            retries: table.count("retries", 0..=20)?.map_or(default.retries, number),
            first_wait: table.seconds("first_wait_seconds")?.unwrap_or(default.first_wait),
            longest_wait: table.seconds("longest_wait_seconds")?.unwrap_or(default.longest_wait),
            breaker_failures: table.count("breaker_failures", 1..=1000)?.map_or(default.breaker_failures, number),
            breaker_pause: table.seconds("breaker_seconds")?.unwrap_or(default.breaker_pause),
        };
        table.finish(KEYS)?;
        Ok(routing)
    }
}
