//! Chooses the next token from logits, in the order of llama.cpp's default chain (`common_sampler_init`): logit bias,
//! penalties, top-k, typical-p, top-p, min-p, temperature, draw. Each sequence has its own, so that a seed gives the same
//! tokens whatever else runs.

mod candidates;
mod logprobs;
mod penalties;
mod random;

use crate::error::Error;
use crate::request::Sampling;
use candidates::{Candidates, likelier, likeliest};
pub(crate) use logprobs::Logprobs;
use penalties::Penalties;
use random::SplitMix64;

/// Tokens that penalties look back on; llama.cpp's `penalty_last_n`.
const PENALTY_WINDOW: usize = 64;
/// Penalties and biases beyond this are taken for a slip.
const MOST_BIAS: f32 = 1000.0;

/// The sampler of one sequence.
#[derive(Clone, Debug)]
pub(crate) struct Sampler {
    temperature: f32,
    top_k: usize,
    typical_p: f32,
    top_p: f32,
    min_p: f32,
    penalties: Penalties,
    random: SplitMix64,
    candidates: Candidates,
    /// Room for logits that biases and penalties change.
    changed: Vec<f32>,
}

impl Sampler {
    /// Checks the options; fails with [`Error::InvalidOption`]. `bias` is added to the logits of tokens.
    pub(crate) fn new(sampling: &Sampling, bias: Vec<(u32, f32)>) -> Result<Sampler, Error> {
        let temperature = sampling.temperature.unwrap_or(0.8);
        let share = |name, value: Option<f32>, default: f32| {
            let value = value.unwrap_or(default);
            check(name, value, (0.0..=1.0).contains(&value), "0 to 1")
        };
        let amount = |name, value: f32| {
            let fits = (-MOST_BIAS..=MOST_BIAS).contains(&value);
            check(name, value, fits, &format!("-{MOST_BIAS} to {MOST_BIAS}"))
        };
        check("temperature", temperature, (0.0..=100.0).contains(&temperature), "0 (greedy) to 100")?;
        let repeat = sampling.repeat_penalty.unwrap_or(1.0);
        check("repeat_penalty", repeat, repeat > 0.0 && repeat <= 100.0, "above 0 (1 is off) to 100")?;
        bias.iter().try_for_each(|(_, bias)| amount("logit_bias", *bias).map(|_| ()))?;
        Ok(Sampler {
            temperature,
            top_k: sampling.top_k.unwrap_or(40) as usize,
            typical_p: share("typical_p", sampling.typical_p, 1.0)?,
            top_p: share("top_p", sampling.top_p, 0.95)?,
            min_p: share("min_p", sampling.min_p, 0.05)?,
            penalties: Penalties {
                bias,
                repeat,
                frequency: amount("frequency_penalty", sampling.frequency_penalty.unwrap_or(0.0))?,
                presence: amount("presence_penalty", sampling.presence_penalty.unwrap_or(0.0))?,
            },
            random: SplitMix64(sampling.seed.unwrap_or_else(rand::random)),
            candidates: Candidates::default(),
            changed: Vec::new(),
        })
    }

    /// The next token; `seen` is the sequence so far, prompt included. `None` when no logit is a number.
    pub(crate) fn sample(&mut self, logits: &[f32], seen: &[u32]) -> Option<u32> {
        if self.penalties.are_off() {
            return self.choose(logits);
        }
        let mut changed = std::mem::take(&mut self.changed);
        changed.clear();
        changed.extend_from_slice(logits);
        self.penalties.apply(&mut changed, &seen[seen.len().saturating_sub(PENALTY_WINDOW)..]);
        let token = self.choose(&changed);
        self.changed = changed;
        token
    }

    fn choose(&mut self, logits: &[f32]) -> Option<u32> {
        if self.temperature == 0.0 {
            return likeliest(logits);
        }
        let keep = if self.top_k == 0 { logits.len() } else { self.top_k.min(logits.len()) };
        self.candidates.gather(logits, keep);
        self.keep_typical_p();
        self.keep_top_p_and_min_p();
        let temperature = self.temperature;
        self.candidates.list.iter_mut().for_each(|candidate| candidate.logit /= temperature);
        self.draw()
    }

    /// Keeps the candidates whose information is nearest to the expected one, up to their share of the probability: Meister et
    /// al., "Locally typical sampling" (2022), as `llama_sampler_typical_apply` does.
    fn keep_typical_p(&mut self) {
        if self.typical_p >= 1.0 {
            return;
        }
        self.candidates.softmax();
        let information = |probability: f32| if probability > 0.0 { -probability.ln() } else { f32::MAX };
        let probabilities = self.candidates.list.iter().map(|candidate| candidate.probability);
        let entropy: f32 = probabilities.filter(|share| *share > 0.0).map(|share| share * information(share)).sum();
        let unusual = |probability: f32| (information(probability) - entropy).abs();
        let mut sum = 0.0;
        self.candidates.keep_until(
            |a, b| unusual(a.probability).total_cmp(&unusual(b.probability)).then(a.token.cmp(&b.token)),
            |candidate| {
                sum += candidate.probability;
                sum > self.typical_p
            },
        );
    }

    /// Top-p, then min-p. Both keep the likeliest, and min-p asks the likeliest candidate alone: what it drops need not be
    /// sorted for top-p, whose probabilities are those among all.
    fn keep_top_p_and_min_p(&mut self) {
        if self.top_p < 1.0 {
            self.candidates.softmax();
        }
        if self.min_p > 0.0 {
            let least = self.candidates.best() + self.min_p.ln();
            self.candidates.list.retain(|candidate| candidate.logit >= least);
        }
        if self.top_p < 1.0 {
            let mut sum = 0.0;
            self.candidates.keep_until(likelier, |candidate| {
                sum += candidate.probability;
                sum >= self.top_p
            });
        }
    }

    fn draw(&mut self) -> Option<u32> {
        self.candidates.softmax();
        let mut left = self.random.unit();
        for candidate in &self.candidates.list {
            left -= candidate.probability;
            if left < 0.0 {
                return Some(candidate.token);
            }
        }
        self.candidates.list.last().map(|candidate| candidate.token)
    }
}

fn check(name: &'static str, value: f32, fits: bool, expected: &str) -> Result<f32, Error> {
    if fits {
        return Ok(value);
    }
    Err(Error::InvalidOption { name, value: value.to_string(), expected: expected.to_owned() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn new(sampling: &Sampling) -> Result<Sampler, Error> {
        Sampler::new(sampling, Vec::new())
    }

    fn greedy() -> Sampling {
        Sampling { temperature: Some(0.0), ..Sampling::default() }
    }

    /// No cut-offs, plain temperature 1.
    fn plain(seed: u64) -> Sampling {
        Sampling {
            temperature: Some(1.0),
            top_k: Some(0),
            top_p: Some(1.0),
            min_p: Some(0.0),
            seed: Some(seed),
            ..Sampling::default()
        }
    }

    fn drawn(sampling: &Sampling, logits: &[f32]) -> Vec<u32> {
        let mut sampler = new(sampling).expect("the options are sound");
        let mut tokens: Vec<u32> = (0..500).map(|_| sampler.sample(logits, &[]).expect("a token")).collect();
        tokens.sort_unstable();
        tokens.dedup();
        tokens
    }

    #[test]
    fn greedy_takes_the_first_of_the_likeliest() {
        let mut sampler = new(&greedy()).expect("the options are sound");
        assert_eq!(sampler.sample(&[0.0, 3.0, f32::NAN, 3.0], &[]), Some(1));
        assert_eq!(sampler.sample(&[f32::NAN], &[]), None);
        assert_eq!(sampler.sample(&[f32::NEG_INFINITY], &[]), Some(0));
    }

    #[test]
    fn each_filter_keeps_what_it_says() {
        // Probabilities 0.5, 0.25, 0.125, 0.125.
        let logits = [0.125f32.ln(), 0.5f32.ln(), 0.25f32.ln(), 0.125f32.ln()];
        assert_eq!(drawn(&plain(1), &logits), [0, 1, 2, 3]);
        assert_eq!(drawn(&Sampling { top_k: Some(2), ..plain(1) }, &logits), [1, 2]);
        assert_eq!(drawn(&Sampling { top_p: Some(0.7), ..plain(1) }, &logits), [1, 2]);
        assert_eq!(drawn(&Sampling { top_p: Some(0.0), ..plain(1) }, &logits), [1]);
        assert_eq!(drawn(&Sampling { min_p: Some(0.4), ..plain(1) }, &logits), [1, 2]);
        assert_eq!(drawn(&Sampling { min_p: Some(1.0), ..plain(1) }, &logits), [1]);
        // The entropy is 1.75 bits: 0.25 is a quarter of a bit away, 0.5 and 0.125 more.
        assert_eq!(drawn(&Sampling { typical_p: Some(0.2), ..plain(1) }, &logits), [2]);
        assert_eq!(drawn(&Sampling { typical_p: Some(0.3), ..plain(1) }, &logits), [1, 2]);
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let logits = [0.2f32.ln(), 0.8f32.ln()];
        let mut sampler = new(&plain(3)).expect("the options are sound");
        let zeros = (0..10_000).filter(|_| sampler.sample(&logits, &[]) == Some(0)).count();
        assert!((1_850..2_150).contains(&zeros), "{zeros} of 10000 at probability 0.2");
    }

    #[test]
    fn the_penalty_divides_what_is_positive_and_multiplies_what_is_not() {
        let mut sampler = new(&Sampling { repeat_penalty: Some(2.0), ..greedy() }).expect("the options are sound");
        assert_eq!(sampler.sample(&[3.0, 2.0], &[0]), Some(1));
        assert_eq!(sampler.sample(&[-1.0, -1.5], &[0]), Some(1));
        let long_ago: Vec<u32> = std::iter::once(0).chain([9; PENALTY_WINDOW]).collect();
        assert_eq!(sampler.sample(&[3.0, 2.0], &long_ago), Some(0));
    }

    #[test]
    fn a_bias_decides() {
        let mut sampler = Sampler::new(&greedy(), vec![(0, 2.0), (7, 100.0)]).expect("the options are sound");
        assert_eq!(sampler.sample(&[1.0, 2.0], &[]), Some(0));
        let error = Sampler::new(&greedy(), vec![(0, f32::INFINITY)]).expect_err("the bias is infinite").to_string();
        assert!(error.contains("`logit_bias` is `inf`"), "{error}");
    }

    #[test]
    fn bad_options_are_named() {
        let bad = [
            Sampling { temperature: Some(-0.1), ..Sampling::default() },
            Sampling { temperature: Some(f32::NAN), ..Sampling::default() },
            Sampling { temperature: Some(f32::INFINITY), ..Sampling::default() },
            Sampling { top_p: Some(1.5), ..Sampling::default() },
            Sampling { min_p: Some(-1.0), ..Sampling::default() },
            Sampling { repeat_penalty: Some(0.0), ..Sampling::default() },
            Sampling { typical_p: Some(-0.5), ..Sampling::default() },
            Sampling { presence_penalty: Some(f32::NAN), ..Sampling::default() },
        ];
        let names = [
            "temperature",
            "temperature",
            "temperature",
            "top_p",
            "min_p",
            "repeat_penalty",
            "typical_p",
            "presence_penalty",
        ];
        for (sampling, name) in bad.iter().zip(names) {
            let error = new(sampling).expect_err("the option is bad").to_string();
            assert!(error.starts_with(&format!("`{name}` is `")) && error.contains("expected"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_logits_and_options_give_a_token_and_the_same_one_again(
            logits in proptest::collection::vec(proptest::num::f32::ANY, 1..50),
            temperature in 0.0f32..3.0, top_k in 0u32..60, top_p in 0.0f32..=1.0, min_p in 0.0f32..=1.0,
            typical_p in 0.0f32..=1.0, penalty in 0.1f32..3.0, seed: u64,
        ) {
            let sampling = Sampling {
                temperature: Some(temperature), top_k: Some(top_k), top_p: Some(top_p), min_p: Some(min_p),
                typical_p: Some(typical_p), repeat_penalty: Some(penalty), frequency_penalty: Some(penalty - 1.0),
                presence_penalty: Some(1.0 - penalty), seed: Some(seed),
            };
            let token = new(&sampling).expect("the options are sound").sample(&logits, &[0, 3]);
            prop_assert_eq!(token.is_none(), logits.iter().all(|logit| logit.is_nan()));
            prop_assert!(token.is_none_or(|token| !logits[token as usize].is_nan()));
            prop_assert_eq!(token, new(&sampling).expect("the options are sound").sample(&logits, &[0, 3]));
        }
    }
}
