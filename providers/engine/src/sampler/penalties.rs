//! What changes logits before any token is chosen: biases of the caller, then penalties of what was said already.

/// Biases and penalties of one sequence. The formulas and their order are those of llama.cpp's
/// `llama_sampler_logit_bias_apply` and `llama_sampler_penalties_apply`.
#[derive(Clone, Debug)]
pub(super) struct Penalties {
    /// Added to a token's logit.
    pub(super) bias: Vec<(u32, f32)>,
    pub(super) repeat: f32,
    pub(super) frequency: f32,
    pub(super) presence: f32,
}

impl Penalties {
    /// Whether logits stay as they are.
    pub(super) fn are_off(&self) -> bool {
        self.bias.is_empty() && self.forget()
    }

    /// Whether what was said does not matter.
    fn forget(&self) -> bool {
        self.repeat == 1.0 && self.frequency == 0.0 && self.presence == 0.0
    }

    /// Changes `logits` for the tokens that were `recent`.
    pub(super) fn apply(&self, logits: &mut [f32], recent: &[u32]) {
        for (token, bias) in &self.bias {
            if let Some(logit) = logits.get_mut(*token as usize) {
                *logit += bias;
            }
        }
        if self.forget() {
            return;
        }
        let mut recent = recent.to_vec();
        recent.sort_unstable();
        for same in recent.chunk_by(|a, b| a == b) {
            if let Some(logit) = logits.get_mut(same[0] as usize) {
                *logit = if *logit <= 0.0 { *logit * self.repeat } else { *logit / self.repeat };
                *logit -= same.len() as f32 * self.frequency + self.presence;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn they_are_what_the_formula_says(
            logits in proptest::collection::vec(-20.0f32..20.0, 12),
            recent in proptest::collection::vec(0u32..15, 0..40),
            bias in proptest::collection::vec((0u32..12, -5.0f32..5.0), 0..4),
            repeat in 0.5f32..2.0, frequency in -1.0f32..1.0, presence in -1.0f32..1.0,
        ) {
            let mut changed = logits.clone();
            Penalties { bias: bias.clone(), repeat, frequency, presence }.apply(&mut changed, &recent);
            for (token, logit) in logits.iter().enumerate() {
                let count = recent.iter().filter(|seen| **seen as usize == token).count();
                let biased = bias.iter().filter(|(of, _)| *of as usize == token).fold(*logit, |logit, (_, bias)| logit + bias);
                let expected = match count {
                    0 => biased,
                    _ if biased > 0.0 => biased / repeat - count as f32 * frequency - presence,
                    _ => biased * repeat - count as f32 * frequency - presence,
                };
                prop_assert!((changed[token] - expected).abs() < 1e-4, "{token}: {} not {expected}", changed[token]);
            }
        }
    }
}
