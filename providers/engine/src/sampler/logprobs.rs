//! How likely the chosen token was, and which others were likeliest.

use super::candidates::Candidates;
use crate::error::Error;
use crate::event::{TokenLogprob, TokenLogprobs};
use crate::tokenizer::Tokenizer;

/// The most tokens that are told beside the chosen one.
const MOST: u32 = 20;
/// What stands for the logarithm of 0, which JSON cannot write.
const IMPOSSIBLE: f32 = -9999.0;

/// Tells the likeliest tokens beside every chosen one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Logprobs {
    count: usize,
    candidates: Candidates,
}

impl Logprobs {
    /// Tells `count` tokens; fails with [`Error::InvalidOption`].
    pub(crate) fn new(count: u32) -> Result<Logprobs, Error> {
        if count > MOST {
            return Err(Error::InvalidOption {
                name: "logprobs",
                value: count.to_string(),
                expected: format!("0 to {MOST}"),
            });
        }
        Ok(Logprobs { count: count as usize, candidates: Candidates::default() })
    }

    /// What the model thought of `chosen` and of others: natural logarithms of the probabilities that its `logits` give, before
    /// biases, penalties, temperature and filters.
    pub(crate) fn of(&mut self, logits: &[f32], chosen: u32, tokenizer: &Tokenizer) -> TokenLogprobs {
        self.candidates.gather(logits, self.count.max(1).min(logits.len()));
        let best = self.candidates.best();
        let apart = |logit: f32| if logit == best { 0.0 } else { logit - best };
        let numbers = logits.iter().filter(|logit| !logit.is_nan());
        let sum: f64 = numbers.map(|logit| f64::from(apart(*logit).exp())).sum();
        let told = |token: u32, logit: f32| TokenLogprob {
            token: String::from_utf8_lossy(tokenizer.shown(token)).into_owned(),
            id: Some(token),
            logprob: (f64::from(apart(logit)) - sum.ln()).max(IMPOSSIBLE.into()) as f32,
        };
        let likeliest = self.candidates.list.iter().take(self.count);
        TokenLogprobs {
            chosen: told(chosen, logits[chosen as usize]),
            top: likeliest.map(|candidate| told(candidate.token, candidate.logit)).collect(),
        }
    }
}
