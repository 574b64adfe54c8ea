//! What tokens cost: the user's own prices, else those of `prices.toml`, which is compiled in, for servers that are known to be
//! the vendor's. A model without a price costs what nobody knows, which is not the same as nothing.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use perilune_engine::Usage;
use serde::{Deserialize, Serialize};

const MILLION: f64 = 1e6;

static KNOWN: LazyLock<BTreeMap<String, PriceList>> =
    LazyLock::new(|| toml::from_str(include_str!("prices.toml")).expect("a test reads it"));

/// What a vendor's models cost.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceList {
    /// The page that says so.
    #[expect(dead_code, reason = "for who reads the file; a test wants it there")]
    source: String,
    /// When it was looked at: year and month.
    #[expect(dead_code, reason = "for who reads the file; a test wants it there")]
    date: String,
    models: BTreeMap<String, Price>,
}

/// What a model costs, in US dollars per million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Of a prompt.
    pub input: f64,
    /// Of what the server knew of it already; `None`: as the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<f64>,
    /// Of an answer.
    pub output: f64,
}

impl Price {
    /// Whether its figures can be prices.
    pub(crate) fn is_valid(&self) -> bool {
        [Some(self.input), self.cached_input, Some(self.output)].into_iter().flatten().all(|price| {
            // Nobody is paid for asking, and nothing costs without end.
            price.is_finite() && price >= 0.0
        })
    }

    /// US dollars for these tokens.
    pub fn of(&self, usage: &Usage) -> f64 {
        let cached = f64::from(usage.cached_tokens.min(usage.prompt_tokens));
        let read = f64::from(usage.prompt_tokens) - cached;
        let sum = read * self.input
            + cached * self.cached_input.unwrap_or(self.input)
            + f64::from(usage.completion_tokens) * self.output;
        sum / MILLION
    }

    /// US dollars for one more token of an answer.
    pub(crate) fn of_piece(&self) -> f64 {
        self.output / MILLION
    }
}

/// Whether this says which version of a model is meant, such as `2025-04-14`. `gpt-5-pro` is another model than `gpt-5`, and costs more.
fn is_version(rest: &str) -> bool {
    rest == "latest" || (!rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-'))
}

/// The price that a vendor asks for a model, as far as it is known.
pub(crate) fn known(vendor: &str, model: &str) -> Option<Price> {
    let models = &KNOWN.get(vendor)?.models;
    let named = models.iter().filter(|(name, _)| {
        model
            .strip_prefix(name.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.strip_prefix('-').is_some_and(is_version))
    });
    named.max_by_key(|(name, _)| name.len()).map(|(_, price)| *price)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_counts_and_a_version_is_the_model() {
        let mini = known("openai", "gpt-4o-mini-2024-07-18").unwrap();
        assert_eq!(mini, known("openai", "gpt-4o-mini").unwrap());
        assert!(mini.input < known("openai", "gpt-4o-2024-08-06").unwrap().input);
        assert_eq!(known("openai", "gpt-4omega"), None);
        assert_eq!(known("somebody", "gpt-4o"), None);
        assert!(KNOWN.values().flat_map(|list| list.models.values()).all(Price::is_valid));
    }

    #[test]
    fn what_was_known_costs_its_own_price() {
        let price = Price { input: 2.0, cached_input: Some(0.5), output: 8.0 };
        let usage = Usage {
            prompt_tokens: 3_000_000,
            cached_tokens: 1_000_000,
            completion_tokens: 500_000,
            ..Usage::default()
        };
        assert_eq!(price.of(&usage), 8.5);
        assert_eq!(Price { cached_input: None, ..price }.of(&usage), 10.0);
    }
}
