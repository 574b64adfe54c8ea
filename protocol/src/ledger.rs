//! `model_request` of the command `usage`: what requests to models took, by the kernel's ledger.

use serde::{Deserialize, Serialize};

use crate::lenient::null_default;

/// Which requests, and what makes a row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerRequest {
    /// `model`, `day`, `session`, `instance`, or `request` for one row each, the newest first; none is `model`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// From when on: `7d`, `24h`, `30m`, `today` or a date by the kernel's clock; none is as long as there are entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}

/// What they took.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LedgerReply {
    /// One for each model, day, session or instance, or for each of the newest requests.
    #[serde(default, deserialize_with = "null_default")]
    pub rows: Vec<LedgerRow>,
    /// The sum of all, also of requests that are too many to be told.
    #[serde(default, deserialize_with = "null_default")]
    pub total: LedgerRow,
    /// What other kernels had models of that one answer, if they did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lent: Option<LedgerRow>,
    /// What is limited.
    #[serde(default, deserialize_with = "null_default")]
    pub budgets: Vec<BudgetState>,
}

/// What some requests took together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LedgerRow {
    /// The model, day, session or instance, or the request's time by the kernel's clock; empty for a sum of all.
    pub key: String,
    /// Of a single request, what it was.
    #[serde(flatten)]
    pub request: Option<CountedRequest>,
    /// Attempts to have a model answer.
    pub requests: u64,
    /// Those that told no tokens, such as most that failed: only the pieces of their answers are in the sums.
    pub untold: u64,
    /// Those that failed.
    pub failed: u64,
    /// Tokens of the prompts.
    pub prompt_tokens: u64,
    /// Those of them that were known from an earlier request.
    pub cached_tokens: u64,
    /// Tokens of the answers.
    pub completion_tokens: u64,
    /// Those of them that were thinking.
    pub thinking_tokens: u64,
    /// Milliseconds from request to end.
    pub duration_ms: f64,
    /// Milliseconds from request to the first piece of the answer, on average.
    pub first_token_ms: Option<f64>,
    /// Tokens a second after the first piece, of requests of which that can be told.
    pub tokens_per_second: Option<f64>,
    /// US dollars, as far as prices are known; none where none is.
    pub usd: Option<f64>,
    /// Requests whose price is not known.
    pub unpriced: u64,
}

/// One request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountedRequest {
    /// Who asked.
    pub session: String,
    /// The model, by its specifier.
    pub model: String,
    /// The provider instance.
    pub instance: String,
    /// Why it ended: a finish reason or the kind of an error.
    pub outcome: String,
}

/// What is spent of a budget.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BudgetState {
    /// `day`.
    #[serde(default, deserialize_with = "null_default")]
    pub period: String,
    /// `tokens` or `usd`.
    #[serde(default, deserialize_with = "null_default")]
    pub unit: String,
    /// What is spent.
    #[serde(default, deserialize_with = "null_default")]
    pub spent: f64,
    /// The most that may be.
    #[serde(default, deserialize_with = "null_default")]
    pub limit: f64,
}
