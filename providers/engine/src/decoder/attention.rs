//! Attention of one row over everything its sequence has seen (Vaswani et al., 2017), for the query heads that share one
//! key-value head.

use super::arithmetic::exp;
use super::cache::{KEY_BLOCK, KvCache, Part, SequenceId};
use crate::kernels::{Heads, InstructionSet, scores, vectorized, weighted_sums};

/// Attends from `queries`, `[group, head size]`, to the first `positions` positions of a layer's key-value head; `output`
/// has the shape of `queries`.
pub(super) fn attend(cache: &KvCache, place: Place, queries: &[f32], output: &mut [f32]) {
    let set = InstructionSet::current();
    let stride = place.positions.next_multiple_of(KEY_BLOCK);
    let heads = Heads { count: place.group, size: place.head_size, score_stride: stride };
    let mut weights = vec![0.0; heads.count * stride];
    let pages = |part| cache.pages(place.sequence, place.layer, part, place.kv_head, place.positions);
    let mut first = 0;
    for keys in pages(Part::Key) {
        scores(set, heads, queries, keys, &mut weights[first..]);
        first += keys.len() / heads.size;
    }
    let scale = 1.0 / (heads.size as f32).sqrt();
    let mut sums = Vec::with_capacity(heads.count);
    for weights in weights.chunks_exact_mut(stride) {
        sums.push(exponentials(&mut weights[..place.positions], scale));
    }
    output.fill(0.0);
    let mut first = 0;
    for values in pages(Part::Value) {
        weighted_sums(set, heads, &weights[first..], values, output);
        first += values.len() / heads.size;
    }
    for (output, sum) in output.chunks_exact_mut(heads.size).zip(sums) {
        let inverse = 1.0 / sum;
        output.iter_mut().for_each(|output| *output *= inverse);
    }
}

/// Where a row looks.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) sequence: SequenceId,
    pub(super) layer: usize,
    pub(super) kv_head: usize,
    /// Positions it sees: its own and all before.
    pub(super) positions: usize,
    pub(super) head_size: usize,
    /// Query heads that share the key-value head.
    pub(super) group: usize,
}

vectorized! {
    /// Each score becomes the exponential of `scale` times its distance from the largest; the result is their sum.
    fn exponentials(scores: &mut [f32], scale: f32) -> f32 {
        const LANES: usize = 16;
        let mut largest = [f32::NEG_INFINITY; LANES];
        for chunk in scores.chunks(LANES) {
            for (largest, score) in largest.iter_mut().zip(chunk) {
                *largest = if score > largest { *score } else { *largest };
            }
        }
        let largest = largest.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut sums = [0.0f32; LANES];
        let (chunks, rest) = scores.as_chunks_mut::<LANES>();
        for chunk in chunks {
            for (sum, score) in sums.iter_mut().zip(chunk) {
                *score = exp((*score - largest) * scale);
                *sum += *score;
            }
        }
        for (sum, score) in sums.iter_mut().zip(rest) {
            *score = exp((*score - largest) * scale);
            *sum += *score;
        }
        sums.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use half::f16;
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::description::{Description, Rope, RopePairing};

    #[test]
    fn matches_the_plain_formula_over_several_pages_and_any_group() {
        for (heads, kv_heads, head_size, positions) in
            [(1, 1, 4, 1), (4, 2, 20, 70), (6, 1, 64, 33), (11, 1, 80, 100), (8, 8, 128, 17)]
        {
            let description = Description {
                architecture: "llama".into(),
                layers: 2,
                hidden: heads * head_size,
                heads,
                kv_heads,
                head_size,
                feed_forward: 1,
                vocabulary: 1,
                context_length: 100,
                norm_epsilon: 0.0,
                qk_norm: false,
                rope: Rope {
                    dimensions: 2,
                    freq_base: 1.0,
                    position_scale: 1.0,
                    yarn: None,
                    pairing: RopePairing::Interleaved,
                },
            };
            let mut random = SmallRng::seed_from_u64(9);
            let mut numbers =
                |count: usize| (0..count).map(|_| random.random_range(-2.0f32..2.0)).collect::<Vec<f32>>();
            let rounded = |numbers: Vec<f32>| -> Vec<f32> {
                numbers.into_iter().map(|number| f16::from_f32(number).to_f32()).collect()
            };
            let width = kv_heads * head_size;
            let (keys, values, queries) =
                (rounded(numbers(positions * width)), rounded(numbers(positions * width)), numbers(heads * head_size));
            let mut cache = KvCache::new(&description, 0);
            cache.open("", &[]);
            let (sequence, _) = cache.open("", &[]);
            for (position, (key, value)) in keys.chunks(width).zip(values.chunks(width)).enumerate() {
                cache.reserve(sequence, position);
                cache.store(sequence, 1, position, key, value);
            }
            let group = heads / kv_heads;
            let mut output = vec![0.0; heads * head_size];
            let pieces = queries.chunks(group * head_size).zip(output.chunks_mut(group * head_size)).enumerate();
            for (kv_head, (queries, output)) in pieces {
                let place = Place { sequence, layer: 1, kv_head, positions, head_size, group };
                attend(&cache, place, queries, output);
            }

            for head in 0..heads {
                let at = |row: &[f32], position: usize, dimension: usize| {
                    f64::from(row[position * width + head / group * head_size + dimension])
                };
                let query = &queries[head * head_size..(head + 1) * head_size];
                let score = |position: usize| {
                    let product: f64 = (0..head_size).map(|d| f64::from(query[d]) * at(&keys, position, d)).sum();
                    (product / (head_size as f64).sqrt()).exp()
                };
                let total: f64 = (0..positions).map(score).sum();
                for dimension in 0..head_size {
                    let expected: f64 =
                        (0..positions).map(|position| score(position) / total * at(&values, position, dimension)).sum();
                    let found = f64::from(output[head * head_size + dimension]);
                    assert!((found - expected).abs() < 1e-5, "{found} is not {expected}");
                }
            }
        }
    }
}
