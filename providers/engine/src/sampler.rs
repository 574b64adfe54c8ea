//! Chooses the next token from logits, in the order llama.cpp does: repeat penalty, top-k, top-p, min-p, temperature,
//! draw. Each sequence has its own, so that a seed gives the same tokens whatever else runs.

use crate::error::Error;
use crate::request::Sampling;

/// Tokens the repeat penalty looks back on.
const PENALTY_WINDOW: usize = 64;

/// The sampler of one sequence.
#[derive(Clone, Debug)]
pub(crate) struct Sampler {
    temperature: f32,
    top_k: usize,
    top_p: f32,
    min_p: f32,
    repeat_penalty: f32,
    random: SplitMix64,
    candidates: Vec<Candidate>,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    token: u32,
    logit: f32,
    probability: f32,
}

impl Sampler {
    /// Checks the options; fails with [`Error::InvalidOption`].
    pub(crate) fn new(sampling: &Sampling) -> Result<Sampler, Error> {
        let temperature = sampling.temperature.unwrap_or(0.8);
        let top_p = sampling.top_p.unwrap_or(0.95);
        let min_p = sampling.min_p.unwrap_or(0.05);
        let repeat_penalty = sampling.repeat_penalty.unwrap_or(1.0);
        check("temperature", temperature, (0.0..=100.0).contains(&temperature), "0 (greedy) to 100")?;
        check("top_p", top_p, (0.0..=1.0).contains(&top_p), "0 to 1")?;
        check("min_p", min_p, (0.0..=1.0).contains(&min_p), "0 to 1")?;
        let penalty_fits = repeat_penalty > 0.0 && repeat_penalty <= 100.0;
        check("repeat_penalty", repeat_penalty, penalty_fits, "above 0 (1 is off) to 100")?;
        Ok(Sampler {
            temperature,
            top_k: sampling.top_k.unwrap_or(40) as usize,
            top_p,
            min_p,
            repeat_penalty,
            random: SplitMix64(sampling.seed.unwrap_or_else(rand::random)),
            candidates: Vec::new(),
        })
    }

    /// The next token; `seen` is the sequence so far, prompt included. `None` when no logit is a number.
    pub(crate) fn sample(&mut self, logits: &[f32], seen: &[u32]) -> Option<u32> {
        let recent = &seen[seen.len().saturating_sub(PENALTY_WINDOW)..];
        if self.temperature == 0.0 && self.repeat_penalty == 1.0 {
            return likeliest(logits);
        }
        self.collect(logits, recent);
        self.keep_likeliest()?;
        if self.temperature == 0.0 {
            return self.candidates.first().map(|candidate| candidate.token);
        }
        self.keep_top_p();
        self.keep_min_p();
        let temperature = self.temperature;
        self.candidates.iter_mut().for_each(|candidate| candidate.logit /= temperature);
        self.draw()
    }

    fn collect(&mut self, logits: &[f32], recent: &[u32]) {
        self.candidates.clear();
        let numbers = logits.iter().zip(0..).filter(|(logit, _)| !logit.is_nan());
        self.candidates.extend(numbers.map(|(logit, token)| Candidate { token, logit: *logit, probability: 0.0 }));
        if self.repeat_penalty != 1.0 {
            for candidate in self.candidates.iter_mut().filter(|candidate| recent.contains(&candidate.token)) {
                let penalty = self.repeat_penalty;
                candidate.logit =
                    if candidate.logit <= 0.0 { candidate.logit * penalty } else { candidate.logit / penalty };
            }
        }
    }

    /// Keeps the `top_k` likeliest candidates, likeliest first. `None` when there are none.
    fn keep_likeliest(&mut self) -> Option<()> {
        let likelier = |a: &Candidate, b: &Candidate| b.logit.total_cmp(&a.logit).then(a.token.cmp(&b.token));
        let keep = if self.temperature == 0.0 { 1 } else { self.top_k };
        if keep > 0 && keep < self.candidates.len() {
            self.candidates.select_nth_unstable_by(keep - 1, likelier);
            self.candidates.truncate(keep);
        }
        self.candidates.sort_unstable_by(likelier);
        self.candidates.first().map(|_| ())
    }

    fn keep_top_p(&mut self) {
        if self.top_p >= 1.0 {
            return;
        }
        self.softmax();
        let mut sum = 0.0;
        let reached = self.candidates.iter().position(|candidate| {
            sum += candidate.probability;
            sum >= self.top_p
        });
        if let Some(last) = reached {
            self.candidates.truncate(last + 1);
        }
    }

    fn keep_min_p(&mut self) {
        if let (true, Some(best)) = (self.min_p > 0.0, self.candidates.first()) {
            let least = best.logit + self.min_p.ln();
            let keep = self.candidates.partition_point(|candidate| candidate.logit >= least);
            self.candidates.truncate(keep.max(1));
        }
    }

    fn softmax(&mut self) {
        let largest = self.candidates.first().map_or(0.0, |candidate| candidate.logit);
        let mut sum = 0.0;
        for candidate in &mut self.candidates {
            // Equal infinities are equally likely.
            let difference = if candidate.logit == largest { 0.0 } else { candidate.logit - largest };
            candidate.probability = difference.exp();
            sum += candidate.probability;
        }
        self.candidates.iter_mut().for_each(|candidate| candidate.probability /= sum);
    }

    fn draw(&mut self) -> Option<u32> {
        self.softmax();
        let mut left = self.random.unit();
        for candidate in &self.candidates {
            left -= candidate.probability;
            if left < 0.0 {
                return Some(candidate.token);
            }
        }
        self.candidates.last().map(|candidate| candidate.token)
    }
}

/// The first of the largest numbers.
fn likeliest(logits: &[f32]) -> Option<u32> {
    let mut best: Option<(u32, f32)> = None;
    for (logit, token) in logits.iter().zip(0..) {
        if !logit.is_nan() && best.is_none_or(|(_, largest)| *logit > largest) {
            best = Some((token, *logit));
        }
    }
    best.map(|(token, _)| token)
}

fn check(name: &'static str, value: f32, fits: bool, expected: &str) -> Result<(), Error> {
    if fits {
        return Ok(());
    }
    Err(Error::InvalidOption { name, value: value.to_string(), expected: expected.to_owned() })
}

/// Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014): small, and the same everywhere.
#[derive(Clone, Debug)]
struct SplitMix64(u64);

impl SplitMix64 {
    /// A number from 0 up to, not including, 1.
    fn unit(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 40) as f32 / (1u64 << 24) as f32
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
            repeat_penalty: None,
            seed: Some(seed),
        }
    }

    fn drawn(sampling: &Sampling, logits: &[f32]) -> Vec<u32> {
        let mut sampler = Sampler::new(sampling).expect("the options are sound");
        let mut tokens: Vec<u32> = (0..500).map(|_| sampler.sample(logits, &[]).expect("a token")).collect();
        tokens.sort_unstable();
        tokens.dedup();
        tokens
    }

    #[test]
    fn greedy_takes_the_first_of_the_likeliest() {
        let mut sampler = Sampler::new(&greedy()).expect("the options are sound");
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
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let logits = [0.2f32.ln(), 0.8f32.ln()];
        let mut sampler = Sampler::new(&plain(3)).expect("the options are sound");
        let zeros = (0..10_000).filter(|_| sampler.sample(&logits, &[]) == Some(0)).count();
        assert!((1_850..2_150).contains(&zeros), "{zeros} of 10000 at probability 0.2");
    }

    #[test]
    fn the_penalty_divides_what_is_positive_and_multiplies_what_is_not() {
        let mut sampler =
            Sampler::new(&Sampling { repeat_penalty: Some(2.0), ..greedy() }).expect("the options are sound");
        assert_eq!(sampler.sample(&[3.0, 2.0], &[0]), Some(1));
        assert_eq!(sampler.sample(&[-1.0, -1.5], &[0]), Some(1));
        let long_ago: Vec<u32> = std::iter::once(0).chain([9; PENALTY_WINDOW]).collect();
        assert_eq!(sampler.sample(&[3.0, 2.0], &long_ago), Some(0));
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
        ];
        for (sampling, name) in
            bad.iter().zip(["temperature", "temperature", "temperature", "top_p", "min_p", "repeat_penalty"])
        {
            let error = Sampler::new(sampling).expect_err("the option is bad").to_string();
            assert!(error.starts_with(&format!("`{name}` is `")) && error.contains("expected"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_logits_and_options_give_a_token_and_the_same_one_again(
            logits in proptest::collection::vec(proptest::num::f32::ANY, 1..50),
            temperature in 0.0f32..3.0, top_k in 0u32..60, top_p in 0.0f32..=1.0, min_p in 0.0f32..=1.0, penalty in 0.1f32..3.0, seed: u64,
        ) {
            let sampling = Sampling {
                temperature: Some(temperature), top_k: Some(top_k), top_p: Some(top_p), min_p: Some(min_p),
                repeat_penalty: Some(penalty), seed: Some(seed),
            };
            let token = Sampler::new(&sampling).expect("the options are sound").sample(&logits, &[0, 3]);
            prop_assert_eq!(token.is_none(), logits.iter().all(|logit| logit.is_nan()));
            prop_assert!(token.is_none_or(|token| !logits[token as usize].is_nan()));
            prop_assert_eq!(token, Sampler::new(&sampling).expect("the options are sound").sample(&logits, &[0, 3]));
        }
    }
}
