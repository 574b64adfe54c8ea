//! What generations took, by model: counted where their events pass by, and kept as long as its owner.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use perilune_engine::Usage;
use serde::{Deserialize, Serialize};

use crate::budget::{Account, Amount, Period};
use crate::config::{BudgetConfig, Limits};

/// Counts what the generations of one owner took, such as a notebook's, against its budget.
#[derive(Debug)]
pub struct Tally {
    pub(crate) run: Account,
    models: Mutex<BTreeMap<String, Spent>>,
}

/// What the generations of one model took together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spent {
    /// Generations that ended, however they did.
    pub requests: u64,
    /// Those among them that ended before they told their tokens, which are not in the sums.
    pub untold: u64,
    /// Tokens of their prompts.
    pub prompt_tokens: u64,
    /// Tokens of the prompts that were known from an earlier request.
    pub cached_tokens: u64,
    /// Tokens they generated.
    pub completion_tokens: u64,
    /// Those of them that were thinking.
    pub thinking_tokens: u64,
    /// US dollars; `None` where the price is not known.
    pub usd: Option<f64>,
    /// From request to end, loading included.
    pub duration: Duration,
}

impl Default for Tally {
    /// A tally without a budget.
    fn default() -> Tally {
        Tally::new(&BudgetConfig::default())
    }
}

impl Tally {
    /// Nothing yet, of what a run may spend.
    pub fn new(budget: &BudgetConfig) -> Tally {
        Tally { run: Account::new(Period::Run, budget.run, budget.warn_at), models: Mutex::default() }
    }

    /// What every model took, by specifier.
    pub fn spent(&self) -> BTreeMap<String, Spent> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What all took together, and the most that they may.
    pub fn budget(&self) -> (Amount, Limits) {
        (self.run.spent(), self.run.limits())
    }

    pub(crate) fn add(&self, model: &str, usage: Option<Usage>, usd: Option<f64>, duration: Duration) {
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        let spent = models.entry(model.to_owned()).or_default();
        spent.requests += 1;
        spent.untold += u64::from(usage.is_none());
        spent.duration += duration;
        spent.usd = usd.map(|usd| spent.usd.unwrap_or(0.0) + usd).or(spent.usd);
        if let Some(usage) = usage {
            spent.prompt_tokens += u64::from(usage.prompt_tokens);
            spent.cached_tokens += u64::from(usage.cached_tokens);
            spent.completion_tokens += u64::from(usage.completion_tokens);
            spent.thinking_tokens += u64::from(usage.thinking_tokens);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_summed_and_what_is_not_is_counted() {
        let tally = Tally::default();
        let usage = |prompt_tokens, completion_tokens| Usage { prompt_tokens, completion_tokens, ..Usage::default() };
        for (usage, usd) in [(Some(usage(3, 2)), Some(0.5)), (Some(usage(5, 1)), Some(0.25)), (None, None)] {
            tally.add("local/m@i", usage, usd, Duration::ZERO);
        }
        let spent = tally.spent()["local/m@i"];
        assert_eq!((spent.requests, spent.untold, spent.prompt_tokens, spent.completion_tokens), (3, 1, 8, 3));
        assert_eq!(spent.usd, Some(0.75));
    }
}
