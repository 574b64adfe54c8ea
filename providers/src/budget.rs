//! What somebody may spend and has spent: a run, or a day. Requests under way count by the pieces of their answers until they
//! have told what they took, so that many at once cannot spend more together than each alone.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use perilune_engine::BudgetWarning;

use crate::config::Limits;
use crate::error::Error;

/// Tokens and money.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Amount {
    /// Of prompts and answers together.
    pub tokens: u64,
    /// As far as prices are known.
    pub usd: f64,
}

/// What an account is for, and so what helps when it is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Period {
    Run,
    Day,
}

/// A budget and what is spent of it.
#[derive(Debug)]
pub(crate) struct Account {
    period: Period,
    limits: Limits,
    warn_at: f64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    spent: Amount,
    /// Of requests under way.
    pending: Amount,
    warned: bool,
    /// Models without a known price that there was a word about.
    uncounted: BTreeSet<String>,
}

impl Account {
    pub(crate) fn new(period: Period, limits: Limits, warn_at: f64) -> Account {
        Account { period, limits, warn_at, state: Mutex::default() }
    }

    /// Whether anything is limited.
    pub(crate) fn is_limited(&self) -> bool {
        !self.limits.is_none()
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    pub(crate) fn spent(&self) -> Amount {
        self.with(|state| state.spent)
    }

    /// Says what was spent so far, as others know it better.
    pub(crate) fn set(&self, spent: Amount) {
        self.with(|state| {
            state.spent = spent;
            // Another day.
            state.warned &= self.share(state) >= self.warn_at;
        });
    }

    /// Fails if nothing is left for another request.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.with(|state| if self.share(state) >= 1.0 { Err(self.empty(state)) } else { Ok(()) })
    }

    /// Adds a piece of an answer under way; fails once more is spent than there was.
    pub(crate) fn add(&self, piece: Amount) -> Result<(), Error> {
        self.with(|state| {
            state.pending = state.pending.plus(piece);
            if self.share(state) > 1.0 { Err(self.empty(state)) } else { Ok(()) }
        })
    }

    /// Replaces the pieces of a request by what it took.
    pub(crate) fn settle(&self, pieces: Amount, took: Amount) {
        self.with(|state| {
            state.pending.tokens = state.pending.tokens.saturating_sub(pieces.tokens);
            state.pending.usd = (state.pending.usd - pieces.usd).max(0.0);
            state.spent = state.spent.plus(took);
        });
    }

    /// A warning, the first time that so much is spent.
    pub(crate) fn warning(&self) -> Option<BudgetWarning> {
        self.with(|state| {
            let share = self.share(state);
            if state.warned || !self.is_limited() || share < self.warn_at {
                return None;
            }
            state.warned = true;
            let all = state.spent.plus(state.pending);
            let message = format!(
                "{:.0} % of the budget of {} are spent: {}; at its end, requests to models fail",
                share * 100.0,
                self.period.name(),
                self.figures(all)
            );
            Some(BudgetWarning { message })
        })
    }

    /// A warning that what a model costs cannot be counted against this, the first time for each model.
    pub(crate) fn uncounted(&self, model: &str) -> Option<BudgetWarning> {
        let limit = self.limits.usd?;
        self.with(|state| state.uncounted.insert(model.to_owned())).then(|| BudgetWarning {
            message: format!(
                "the price of `{model}` is not known, so that what it costs does not count against the budget of {}, ${limit}; \
                 write its price into `[prices]` of the configuration, or limit tokens",
                self.period.name()
            ),
        })
    }

    fn empty(&self, state: &State) -> Error {
        let spent = self.figures(state.spent.plus(state.pending));
        Error::BudgetSpent { period: self.period.name(), spent, help: self.period.help() }
    }

    /// How much of the limit that is nearest is spent; 1 is all.
    fn share(&self, state: &State) -> f64 {
        let all = state.spent.plus(state.pending);
        let tokens = self.limits.tokens.map_or(0.0, |limit| all.tokens as f64 / limit as f64);
        let usd = self.limits.usd.map_or(0.0, |limit| all.usd / limit);
        tokens.max(usd)
    }

    /// `1200 of 1000 tokens, $0.3 of $5`.
    fn figures(&self, all: Amount) -> String {
        let tokens = self.limits.tokens.map(|limit| format!("{} of {limit} tokens", all.tokens));
        let usd = self.limits.usd.map(|limit| format!("${:.6} of ${limit}", all.usd));
        [tokens, usd].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    fn with<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Amount {
    /// Both together.
    pub(crate) fn plus(self, other: Amount) -> Amount {
        Amount { tokens: self.tokens.saturating_add(other.tokens), usd: self.usd + other.usd }
    }
}

impl Period {
    fn name(self) -> &'static str {
        match self {
            Period::Run => "this run",
            Period::Day => "today",
        }
    }

    fn help(self) -> &'static str {
        match self {
            Period::Run => {
                "begin another run, or raise `run_tokens` or `run_usd` in `[budget]` of the configuration, or \
                 `--budget-tokens` or `--budget-usd` where they were given"
            }
            Period::Day => "wait until tomorrow, or raise `day_tokens` or `day_usd` in `[budget]` of the configuration",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(tokens: u64) -> Amount {
        Amount { tokens, usd: 0.0 }
    }

    fn account(tokens: u64) -> Account {
        Account::new(Period::Run, Limits { tokens: Some(tokens), usd: None }, 0.8)
    }

    #[test]
    fn pieces_under_way_count_until_it_is_known_what_was_taken() {
        let account = account(10);
        account.check().unwrap();
        (0..10).for_each(|_| account.add(tokens(1)).unwrap());
        assert!(account.check().is_err(), "another request has nothing left");
        let error = account.add(tokens(1)).unwrap_err();
        assert!(error.to_string().contains("11 of 10 tokens"), "{error}");
        account.settle(tokens(11), tokens(4));
        account.check().unwrap();
        assert_eq!(account.spent(), tokens(4));
    }

    #[test]
    fn there_is_one_warning() {
        let account = account(10);
        account.settle(Amount::default(), tokens(7));
        assert_eq!(account.warning(), None);
        account.settle(Amount::default(), tokens(1));
        let warning = account.warning().unwrap().message;
        assert!(warning.starts_with("80 % of the budget of this run are spent: 8 of 10 tokens"), "{warning}");
        assert_eq!(account.warning(), None);
        // Another day begins, and ends like this one.
        account.set(tokens(0));
        account.settle(Amount::default(), tokens(9));
        assert!(account.warning().is_some());
    }

    #[test]
    fn money_counts_too_and_without_limits_nothing_does() {
        let account = Account::new(Period::Day, Limits { tokens: None, usd: Some(0.5) }, 0.8);
        account.settle(Amount::default(), Amount { tokens: 1_000_000, usd: 0.25 });
        account.check().unwrap();
        account.settle(Amount::default(), Amount { tokens: 1, usd: 0.25 });
        let error = account.check().unwrap_err().to_string();
        assert!(error.contains("$0.500000 of $0.5") && error.contains("`day_usd`"), "{error}");

        let warning = account.uncounted("box/m").unwrap().message;
        assert!(warning.contains("`box/m`") && warning.contains("budget of today, $0.5"), "{warning}");
        assert_eq!(account.uncounted("box/m"), None);
        assert!(account.uncounted("box/n").is_some());

        let free = Account::new(Period::Day, Limits::default(), 0.0);
        free.settle(Amount::default(), Amount { tokens: u64::MAX, usd: 1e9 });
        free.check().unwrap();
        assert_eq!((free.warning(), free.uncounted("box/m")), (None, None));
    }
}
