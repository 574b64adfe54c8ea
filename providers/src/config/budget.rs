//! `[budget]`: how much may be spent before requests are refused. Only the user's file may say it.

use serde::Serialize;

use super::error::ConfigError;
use super::layer::Table;

/// Every key.
const KEYS: &[&str] = &["day_tokens", "day_usd", "run_tokens", "run_usd", "warn_at"];

/// A share of a budget that is worth a word.
const WARN_AT: f64 = 0.8;

/// How much may be spent.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BudgetConfig {
    /// By one run of a script, or one notebook.
    pub run: Limits,
    /// By all of this user's processes in a day, by the local clock.
    pub day: Limits,
    /// The share of a budget from which on there is a warning.
    pub warn_at: f64,
}

/// The most that may be spent; `None`: without limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Limits {
    /// Tokens, of prompts and answers together.
    pub tokens: Option<u64>,
    /// US dollars, as far as prices are known.
    pub usd: Option<f64>,
}

impl Limits {
    /// Whether there is any.
    pub fn is_none(self) -> bool {
        self == Limits::default()
    }

    /// These, and `other`'s where they leave one open.
    pub fn or(self, other: Limits) -> Limits {
        Limits { tokens: self.tokens.or(other.tokens), usd: self.usd.or(other.usd) }
    }
}

impl Default for BudgetConfig {
    fn default() -> BudgetConfig {
        BudgetConfig { run: Limits::default(), day: Limits::default(), warn_at: WARN_AT }
    }
}

impl BudgetConfig {
    pub(super) fn from_table(mut table: Table) -> Result<BudgetConfig, ConfigError> {
        let mut limits = |tokens: &str, usd: &str| -> Result<Limits, ConfigError> {
            let tokens = table.count(tokens, 1..=usize::MAX)?.map(|tokens| tokens as u64);
            Ok(Limits { tokens, usd: table.number(usd, "a number of US dollars above 0", |usd| usd > 0.0)? })
        };
        let (run, day) = (limits("run_tokens", "run_usd")?, limits("day_tokens", "day_usd")?);
        let share = |share: f64| (0.0..=1.0).contains(&share);
        let warn_at = table.number("warn_at", "a share from 0 to 1, such as 0.8", share)?.unwrap_or(WARN_AT);
        table.finish(KEYS)?;
        Ok(BudgetConfig { run, day, warn_at })
    }
}
