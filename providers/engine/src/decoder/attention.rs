//! Attention of every row over everything its sequence has seen (Vaswani et al., 2017). Neighbouring rows of a sequence, and
//! the query heads that share a key-value head, look at its keys and values together; what comes out for one does not
//! depend on the others.

use std::cell::RefCell;

use super::Row;
use super::arithmetic::exp;
use super::cache::KvCache;
use super::page::{Head, PAGE_POSITIONS, Part};
use crate::description::Description;
use crate::kernels::{Heads, InstructionSet, scores, vectorized, weighted_sums};
use crate::threads::Threads;

/// Multiply-adds that are worth handing to another thread at a time.
const WORK_EACH: usize = 512 * 1024;
/// Query heads that look at a page together, and how many weights they may have, so that these stay in a cache.
const HEADS_AT_ONCE: usize = 64;
const WEIGHTS_AT_ONCE: usize = 256 * 1024;

/// Attends from `queries` in one layer whose keys and values are stored; `attended` and `queries` are
/// `[rows, heads, head size]`.
pub(super) fn attend(
    description: &Description,
    layer: usize,
    rows: &[Row],
    cache: &KvCache,
    queries: &[f32],
    attended: &mut [f32],
    threads: &mut Threads,
) {
    let Description { heads, kv_heads, head_size, .. } = *description;
    let group = heads / kv_heads;
    let mut outputs = attended.chunks_exact_mut(group * head_size);
    let mut pieces = Vec::new();
    let mut begin = 0;
    while begin < rows.len() {
        let count = neighbours(&rows[begin..], group);
        let piece = |kv_head| Piece { begin, kv_head, outputs: Vec::with_capacity(count) };
        let mut of_heads: Vec<Piece<'_>> = (0..kv_heads).map(piece).collect();
        for _ in 0..count {
            of_heads.iter_mut().zip(&mut outputs).for_each(|(piece, output)| piece.outputs.push(output));
        }
        pieces.append(&mut of_heads);
        begin += count;
    }

    let seen: usize = rows.iter().map(|row| row.position + 1).sum();
    let work = 2 * seen * heads * head_size / pieces.len().max(1);
    let query_width = heads * head_size;
    threads.chunks(&mut pieces, (WORK_EACH / work.max(1)).max(1), |_, pieces| {
        ROOM.with_borrow_mut(|room| {
            for Piece { begin, kv_head, outputs } in pieces {
                room.queries.clear();
                for row in *begin..*begin + outputs.len() {
                    let first = row * query_width + *kv_head * group * head_size;
                    room.queries.extend_from_slice(&queries[first..first + group * head_size]);
                }
                let place = Place { layer, kv_head: *kv_head, group, head_size };
                attend_together(cache, &rows[*begin..*begin + outputs.len()], place, room);
                for (output, found) in outputs.iter_mut().zip(room.output.chunks_exact(group * head_size)) {
                    output.copy_from_slice(found);
                }
            }
        });
    });
}

/// Neighbouring rows from `begin` on, for one key-value head; an output `[group, head size]` for each of the rows.
struct Piece<'a> {
    begin: usize,
    kv_head: usize,
    outputs: Vec<&'a mut [f32]>,
}

/// How many of the first rows are neighbours that look at their pages together.
fn neighbours(rows: &[Row], group: usize) -> usize {
    let first = rows[0];
    let most = (HEADS_AT_ONCE / group).min(WEIGHTS_AT_ONCE / (group * (first.position + 1))).max(1);
    let follows =
        |(index, row): &(usize, &Row)| row.sequence == first.sequence && row.position == first.position + index;
    rows.iter().take(most).enumerate().take_while(follows).count()
}

#[derive(Clone, Copy)]
struct Place {
    layer: usize,
    kv_head: usize,
    /// Query heads that share the key-value head.
    group: usize,
    head_size: usize,
}

/// Room one thread attends in, kept from one call to the next.
#[derive(Default)]
struct Room {
    /// `[rows, group, head size]`
    queries: Vec<f32>,
    /// The same shape.
    output: Vec<f32>,
    /// `[rows, group, positions]`
    weights: Vec<f32>,
    /// Sum of each head's weights.
    sums: Vec<f32>,
    /// A page's keys or values.
    page: Vec<f32>,
}

thread_local! {
    static ROOM: RefCell<Room> = RefCell::default();
}

/// Attends from the queries in `room` to all that their rows see; each sees its own position and all before.
fn attend_together(cache: &KvCache, rows: &[Row], place: Place, room: &mut Room) {
    let set = InstructionSet::current();
    let Place { layer, kv_head, group, head_size } = place;
    let first = rows[0].position;
    let positions = first + rows.len();
    let stride = positions.next_multiple_of(PAGE_POSITIONS);
    let heads = Heads { count: rows.len() * group, size: head_size, score_stride: stride };
    room.weights.resize(heads.count * stride, 0.0);
    room.output.clear();
    room.output.resize(heads.count * head_size, 0.0);
    room.page.resize(PAGE_POSITIONS * head_size, 0.0);

    let keys = Head { layer, part: Part::Key, kv_head };
    cache.each_page(rows[0].sequence, keys, positions, &mut room.page, |begin, keys| {
        scores(set, heads, &room.queries, keys, &mut room.weights[begin..]);
    });
    let scale = 1.0 / (head_size as f32).sqrt();
    room.sums.clear();
    for (head, weights) in room.weights.chunks_exact_mut(stride).enumerate() {
        room.sums.push(exponentials(&mut weights[..first + head / group + 1], scale));
    }

    let values = Head { part: Part::Value, ..keys };
    cache.each_page(rows[0].sequence, values, positions, &mut room.page, |begin, values| {
        let seen_by = |row: usize| (first + row + 1).saturating_sub(begin).min(PAGE_POSITIONS);
        let by_all = seen_by(0);
        if by_all > 0 {
            weighted_sums(set, heads, &room.weights[begin..], &values[..by_all * head_size], &mut room.output);
        }
        let row_heads = Heads { count: group, ..heads };
        for (row, output) in room.output.chunks_exact_mut(group * head_size).enumerate() {
            if seen_by(row) > by_all {
                let values = &values[by_all * head_size..seen_by(row) * head_size];
                let weights = &room.weights[row * group * stride + begin + by_all..];
                weighted_sums(set, row_heads, weights, values, output);
            }
        }
    });
    for (output, sum) in room.output.chunks_exact_mut(head_size).zip(&room.sums) {
        let inverse = 1.0 / sum;
        output.iter_mut().for_each(|output| *output *= inverse);
    }
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
    use crate::decoder::page::{CacheType, PageShape};
    use crate::description::{Rope, RopePairing};

    /// Rows at the end that are attended at once: more than are looked at together.
    const ROWS: usize = 20;

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
            let last = positions.min(ROWS);
            let (keys, values, queries) = (
                rounded(numbers(positions * width)),
                rounded(numbers(positions * width)),
                numbers(last * heads * head_size),
            );
            let mut cache = KvCache::new(PageShape::of(&description, CacheType::F16), 0);
            cache.open("", &[]);
            let (sequence, _) = cache.open("", &[]);
            for (position, (key, value)) in keys.chunks(width).zip(values.chunks(width)).enumerate() {
                cache.reserve(sequence, position);
                cache.store(sequence, 1, position, key, value);
            }
            let rows: Vec<Row> = (positions - last..positions)
                .map(|position| Row { token: 0, sequence, position, wants_logits: false })
                .collect();
            let mut output = vec![0.0; queries.len()];
            attend(&description, 1, &rows, &cache, &queries, &mut output, &mut Threads::new(2));

            let wide = |number: &f32| f64::from(*number);
            let at = |row: &[f32], position: usize, head: usize, dimension: usize| {
                wide(&row[position * width + head / (heads / kv_heads) * head_size + dimension])
            };
            let looking = queries.chunks(head_size).zip(output.chunks(head_size)).enumerate();
            for (index, (query, output)) in looking {
                let (row, head) = (index / heads, index % heads);
                let score = |position: usize| {
                    let product: f64 = (0..head_size).map(|d| wide(&query[d]) * at(&keys, position, head, d)).sum();
                    (product / (head_size as f64).sqrt()).exp()
                };
                let scores: Vec<f64> = (0..=rows[row].position).map(score).collect();
                let total: f64 = scores.iter().sum();
                for (dimension, found) in output.iter().enumerate() {
                    let sum = |(position, score): (usize, &f64)| score / total * at(&values, position, head, dimension);
                    let expected: f64 = scores.iter().enumerate().map(sum).sum();
                    assert!((wide(found) - expected).abs() < 1e-5, "{found} is not {expected}");
                }
            }
        }
    }
}
