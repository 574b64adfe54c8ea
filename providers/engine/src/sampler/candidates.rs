//! The tokens that may come next. Vocabularies reach hundreds of thousands of tokens of which a few dozen matter, so
//! nothing here sorts more than it must.

use std::cmp::Ordering;

/// Logits that are looked at together: so many have their largest found before any is kept.
const BLOCK: usize = 128;
/// Independent maxima within a block, which the compiler keeps in vector registers.
const LANES: usize = 16;
/// Candidates that are brought in order first where it is not known how many will be needed; then four times as many, and so on.
const FIRST_SORTED: usize = 64;

#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) token: u32,
    pub(super) logit: f32,
    pub(super) probability: f32,
}

/// Likelier first; of equals, the one with the smaller id.
pub(super) fn likelier(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit.total_cmp(&a.logit).then(a.token.cmp(&b.token))
}

/// Candidates, and room that is kept from one token to the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Candidates {
    pub(super) list: Vec<Candidate>,
    /// The largest logit of every block.
    largest: Vec<f32>,
    /// The same in another order.
    ranked: Vec<f32>,
}

impl Candidates {
    /// The `keep` likeliest tokens, likeliest first; all of them, in no order, when there are no more. What is not a number is no
    /// candidate.
    pub(super) fn gather(&mut self, logits: &[f32], keep: usize) {
        self.list.clear();
        self.largest.clear();
        self.largest.extend(logits.chunks(BLOCK).map(largest));
        let least = self.least_kept(keep);
        for (index, block) in logits.chunks(BLOCK).enumerate() {
            if self.largest[index] >= least {
                let tokens = (index * BLOCK) as u32..;
                let kept = block.iter().zip(tokens).filter(|(logit, _)| **logit >= least);
                self.list.extend(kept.map(|(logit, token)| Candidate { token, logit: *logit, probability: 0.0 }));
            }
        }
        if keep < self.list.len() {
            self.list.select_nth_unstable_by(keep - 1, likelier);
            self.list.truncate(keep);
        }
        if keep < logits.len() {
            self.list.sort_unstable_by(likelier);
        }
    }

    /// A number that at least `keep` logits reach: as many blocks have a logit that does.
    fn least_kept(&mut self, keep: usize) -> f32 {
        if keep == 0 || keep >= self.largest.len() {
            return f32::NEG_INFINITY;
        }
        self.ranked.clone_from(&self.largest);
        let (_, least, _) = self.ranked.select_nth_unstable_by(keep - 1, |a, b| b.total_cmp(a));
        *least
    }

    /// Gives every candidate its probability among them.
    pub(super) fn softmax(&mut self) {
        let best = self.best();
        let mut sum = 0.0;
        for candidate in &mut self.list {
            // Equal infinities are equally likely.
            let difference = if candidate.logit == best { 0.0 } else { candidate.logit - best };
            candidate.probability = difference.exp();
            sum += candidate.probability;
        }
        self.list.iter_mut().for_each(|candidate| candidate.probability /= sum);
    }

    /// The largest logit.
    pub(super) fn best(&self) -> f32 {
        self.list.iter().fold(f32::NEG_INFINITY, |best, candidate| best.max(candidate.logit))
    }

    /// Keeps candidates, in this order, up to and with the first that is `enough`. No more of them are sorted than that takes.
    pub(super) fn keep_until(
        &mut self,
        order: impl Fn(&Candidate, &Candidate) -> Ordering,
        mut enough: impl FnMut(&Candidate) -> bool,
    ) {
        let mut sorted = 0;
        while sorted < self.list.len() {
            let end = (sorted * 4).max(FIRST_SORTED).min(self.list.len());
            if end < self.list.len() {
                self.list[sorted..].select_nth_unstable_by(end - sorted - 1, &order);
            }
            self.list[sorted..end].sort_unstable_by(&order);
            if let Some(last) = self.list[sorted..end].iter().position(&mut enough) {
                return self.list.truncate(sorted + last + 1);
            }
            sorted = end;
        }
    }
}

/// The first of the largest numbers.
pub(super) fn likeliest(logits: &[f32]) -> Option<u32> {
    let best = largest(logits);
    logits.iter().zip(0..).find(|(logit, _)| **logit == best).map(|(_, token)| token)
}

/// The largest number; negative infinity when there is none.
fn largest(logits: &[f32]) -> f32 {
    let larger = |best: f32, logit: f32| if logit > best { logit } else { best };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = logits.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, logit) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*lane, *logit);
        }
    }
    lanes.into_iter().chain(rest.iter().copied()).fold(f32::NEG_INFINITY, larger)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same by sorting everything.
    fn plain(logits: &[f32], keep: usize) -> Vec<u32> {
        let mut all: Vec<Candidate> = logits
            .iter()
            .zip(0..)
            .filter(|(logit, _)| !logit.is_nan())
            .map(|(logit, token)| Candidate { token, logit: *logit, probability: 0.0 })
            .collect();
        all.sort_by(likelier);
        all.truncate(keep);
        all.into_iter().map(|candidate| candidate.token).collect()
    }

    fn gathered(logits: &[f32], keep: usize) -> Vec<u32> {
        let mut candidates = Candidates::default();
        candidates.gather(logits, keep);
        candidates.list.iter().map(|candidate| candidate.token).collect()
    }

    proptest! {
        #[test]
        fn the_likeliest_are_those_that_sorting_finds(
            logits in proptest::collection::vec(prop_oneof![4 => -5i8..5, 1 => Just(i8::MIN), 1 => Just(i8::MAX)], 1..3000),
            keep in 1usize..80,
        ) {
            // Few different numbers, so that there are ties; infinities, and what is not a number.
            let logits: Vec<f32> = logits
                .into_iter()
                .map(|logit| match logit { i8::MIN => f32::NEG_INFINITY, i8::MAX => f32::NAN, logit => logit.into() })
                .collect();
            if keep < logits.len() {
                prop_assert_eq!(gathered(&logits, keep), plain(&logits, keep));
            }
            let mut all = gathered(&logits, logits.len());
            all.sort_unstable();
            let numbers: Vec<u32> = (0..logits.len() as u32).filter(|token| !logits[*token as usize].is_nan()).collect();
            prop_assert_eq!(all, numbers);
            prop_assert_eq!(likeliest(&logits), plain(&logits, 1).first().copied());
        }

        #[test]
        fn keeping_until_enough_is_a_prefix_of_the_sorted(
            logits in proptest::collection::vec(-1000i16..1000, 1..2000), count in 1usize..2500,
        ) {
            let logits: Vec<f32> = logits.into_iter().map(f32::from).collect();
            let mut candidates = Candidates::default();
            candidates.gather(&logits, logits.len());
            let mut seen = 0;
            candidates.keep_until(likelier, |_| { seen += 1; seen == count });
            let kept: Vec<u32> = candidates.list.iter().map(|candidate| candidate.token).collect();
            prop_assert_eq!(kept, plain(&logits, count));
        }
    }
}
