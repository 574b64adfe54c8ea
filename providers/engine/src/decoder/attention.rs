//! Attention of one row over everything its sequence has seen (Vaswani et al., 2017), with grouped query heads.

use super::cache::{KvCache, Part, SequenceId};

/// Partial sums kept apart, so that the compiler can use vector registers.
const LANES: usize = 8;

/// Attends from `queries`, `[heads, head size]`, to the first `positions` positions of a layer; `output` has the shape of
/// `queries`, `scores` is room to work in.
pub(super) fn attend(cache: &KvCache, place: Place, queries: &[f32], output: &mut [f32], scores: &mut Vec<f32>) {
    let scale = 1.0 / (place.head_size as f32).sqrt();
    let heads = queries.chunks_exact(place.head_size).zip(output.chunks_exact_mut(place.head_size));
    for (head, (query, output)) in heads.enumerate() {
        let kv_head = head / place.group;
        scores.clear();
        for keys in cache.pages(place.sequence, place.layer, Part::Key, kv_head, place.positions) {
            scores.extend(keys.chunks_exact(place.head_size).map(|key| dot(query, key) * scale));
        }
        let sum = exponentials(scores);
        output.fill(0.0);
        let mut weights = scores.iter();
        for values in cache.pages(place.sequence, place.layer, Part::Value, kv_head, place.positions) {
            for (value, weight) in values.chunks_exact(place.head_size).zip(&mut weights) {
                for (output, value) in output.iter_mut().zip(value) {
                    *output += weight * value;
                }
            }
        }
        output.iter_mut().for_each(|output| *output /= sum);
    }
}

/// Where a row looks.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) sequence: SequenceId,
    pub(super) layer: usize,
    /// Positions it sees: its own and all before.
    pub(super) positions: usize,
    pub(super) head_size: usize,
    /// Query heads that share a key-value head.
    pub(super) group: usize,
}

/// Each score becomes its exponential relative to the largest; the result is their sum.
fn exponentials(scores: &mut [f32]) -> f32 {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for score in scores {
        *score = (*score - largest).exp();
        sum += *score;
    }
    sum
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    let mut lanes = [0.0f32; LANES];
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::description::{Description, Rope, RopePairing};

    #[test]
    fn matches_the_plain_formula_over_several_pages_and_any_group() {
        for (heads, kv_heads, head_size, positions) in [(1, 1, 4, 1), (4, 2, 20, 70), (6, 1, 64, 33)] {
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
                rope: Rope { dimensions: 2, freq_base: 1.0, position_scale: 1.0, pairing: RopePairing::Interleaved },
            };
            let mut random = SmallRng::seed_from_u64(9);
            let mut numbers =
                |count: usize| (0..count).map(|_| random.random_range(-2.0f32..2.0)).collect::<Vec<f32>>();
            let width = kv_heads * head_size;
            let (keys, values, queries) =
                (numbers(positions * width), numbers(positions * width), numbers(heads * head_size));
            let mut cache = KvCache::new(&description, 0);
            cache.open(3);
            let sequence = cache.open(positions);
            for (position, (key, value)) in keys.chunks(width).zip(values.chunks(width)).enumerate() {
                cache.store(sequence, 1, Part::Key, position, key);
                cache.store(sequence, 1, Part::Value, position, value);
            }
            let place = Place { sequence, layer: 1, positions, head_size, group: heads / kv_heads };
            let mut output = vec![0.0; heads * head_size];
            attend(&cache, place, &queries, &mut output, &mut Vec::new());

            for head in 0..heads {
                let at = |row: &[f32], position: usize, dimension: usize| {
                    f64::from(row[position * width + head / place.group * head_size + dimension])
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
