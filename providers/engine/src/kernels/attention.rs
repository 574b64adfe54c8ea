//! The two sums of attention for query heads that look at the same keys and values: queries times keys, and weights times
//! values. Each result is summed in the order of dimensions, or of positions, so it is the same on every instruction set.

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::instruction_set::{InstructionSet, vectorized};
use super::lanes::{Lanes, TILE_COLUMNS, portable::Portable};

/// Query heads that look at the same keys and values.
#[derive(Clone, Copy)]
pub(crate) struct Heads {
    pub(crate) count: usize,
    pub(crate) size: usize,
    /// Where the scores of the next head begin.
    pub(crate) score_stride: usize,
}

/// Positions whose keys lie beside each other.
pub(crate) const KEY_BLOCK: usize = 32;
/// Dimensions of a key or value that share a scale where numbers of eight bits are kept.
pub(crate) const SCALED_TOGETHER: usize = 32;

/// Halves as the numbers they are.
pub(crate) fn widen(set: InstructionSet, halves: &[f16], floats: &mut [f32]) {
    assert_eq!(halves.len(), floats.len(), "halves and the room for them");
    // SAFETY: the set is what this processor has, and the assertion holds the sizes together.
    unsafe { widen_kernel(set)(halves, floats) }
}

vectorized! {
    /// Keys `[dimension][32]` times their scales, `[block of dimensions][32]`.
    pub(crate) fn widen_scaled_keys(numbers: &[i8], scales: &[f16], floats: &mut [f32]) {
        const BLOCK: usize = SCALED_TOGETHER * KEY_BLOCK;
        let blocks = numbers.chunks(BLOCK).zip(scales.as_chunks().0).zip(floats.chunks_mut(BLOCK));
        for ((numbers, scales), floats) in blocks {
            let scales = single(scales);
            for (numbers, floats) in numbers.as_chunks::<KEY_BLOCK>().0.iter().zip(floats.as_chunks_mut::<KEY_BLOCK>().0) {
                for position in 0..KEY_BLOCK {
                    floats[position] = f32::from(numbers[position]) * scales[position];
                }
            }
        }
    }
}

vectorized! {
    /// Values `[32][dimension]` times their scales, `[block of dimensions][32]`.
    pub(crate) fn widen_scaled_values(numbers: &[i8], scales: &[f16], size: usize, floats: &mut [f32]) {
        for (block, scales) in (0..size).step_by(SCALED_TOGETHER).zip(scales.as_chunks().0) {
            let dimensions = block..size.min(block + SCALED_TOGETHER);
            let positions = numbers.chunks_exact(size).zip(floats.chunks_exact_mut(size)).zip(single(scales));
            for ((numbers, floats), scale) in positions {
                for (float, number) in floats[dimensions.clone()].iter_mut().zip(&numbers[dimensions.clone()]) {
                    *float = f32::from(*number) * scale;
                }
            }
        }
    }
}

fn single(halves: &[f16; KEY_BLOCK]) -> [f32; KEY_BLOCK] {
    let mut floats = [0.0; KEY_BLOCK];
    halves.convert_to_f32_slice(&mut floats);
    floats
}

/// `scores[head][position]` = query times key for a block of positions; `keys` is `[dimension][32]`, `queries`
/// `[heads, size]`, and `scores` begins at the first of these positions.
pub(crate) fn scores(set: InstructionSet, heads: Heads, queries: &[f32], keys: &[f32], scores: &mut [f32]) {
    assert!(
        keys.len() == KEY_BLOCK * heads.size
            && queries.len() == heads.count * heads.size
            && scores.len() >= (heads.count - 1) * heads.score_stride + KEY_BLOCK,
        "scores whose parts do not fit together"
    );
    // SAFETY: the set is what this processor has, and the assertion holds the sizes together.
    unsafe { score_kernel(set)(heads, queries, keys, scores) }
}

/// `output[head]` += the sum over positions of `weights[head][position]` times `values[position]`; `values` is
/// `[positions, size]`, `output` `[heads, size]`, and `weights` begins at the first of these positions.
pub(crate) fn weighted_sums(set: InstructionSet, heads: Heads, weights: &[f32], values: &[f32], output: &mut [f32]) {
    let positions = values.len() / heads.size;
    assert!(
        output.len() == heads.count * heads.size && weights.len() >= (heads.count - 1) * heads.score_stride + positions,
        "sums whose parts do not fit together"
    );
    // SAFETY: the set is what this processor has, and the assertion holds the sizes together.
    unsafe { sum_kernel(set)(heads, weights, values, output) }
}

/// One function for each instruction set.
macro_rules! kernels {
    ($name:ident, $generic:ident, ($($argument:ident: $kind:ty),*)) => {
        fn $name(set: InstructionSet) -> unsafe fn($($kind),*) {
            #[cfg(target_arch = "x86_64")]
            {
                use super::lanes::avx2::Avx2;
                use super::lanes::avx512::Avx512Vnni;

                #[target_feature(enable = "avx2,fma,f16c")]
                unsafe fn avx2($($argument: $kind),*) {
                    // SAFETY: as the caller promises.
                    unsafe { $generic::<Avx2>($($argument),*) }
                }

                #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
                unsafe fn avx512($($argument: $kind),*) {
                    // SAFETY: as the caller promises.
                    unsafe { $generic::<Avx512Vnni>($($argument),*) }
                }

                match set {
                    InstructionSet::Portable => {}
                    InstructionSet::Avx2 | InstructionSet::AvxVnni => return avx2,
                    InstructionSet::Avx512Vnni | InstructionSet::Amx => return avx512,
                }
            }
            let _ = set;
            $generic::<Portable>
        }
    };
}
kernels!(widen_kernel, widen_all, (halves: &[f16], floats: &mut [f32]));
kernels!(score_kernel, score_all, (heads: Heads, queries: &[f32], keys: &[f32], scores: &mut [f32]));
kernels!(sum_kernel, sum_all, (heads: Heads, weights: &[f32], values: &[f32], output: &mut [f32]));

#[inline(always)]
unsafe fn widen_all<L: Lanes>(halves: &[f16], floats: &mut [f32]) {
    let (chunks, rest) = halves.split_at(halves.len() / L::COLUMNS * L::COLUMNS);
    for first in (0..chunks.len()).step_by(L::COLUMNS) {
        // SAFETY: both have a whole register from there on.
        unsafe { L::store(floats.as_mut_ptr().add(first), L::load_halves(chunks.as_ptr().add(first).cast())) };
    }
    for (float, half) in floats[chunks.len()..].iter_mut().zip(rest) {
        *float = half.to_f32();
    }
}

#[inline(always)]
unsafe fn score_all<L: Lanes>(heads: Heads, queries: &[f32], keys: &[f32], scores: &mut [f32]) {
    let mut head = 0;
    while head < heads.count {
        // SAFETY: these heads exist.
        unsafe {
            let queries = queries.as_ptr().add(head * heads.size);
            let scores = scores.as_mut_ptr().add(head * heads.score_stride);
            head += match heads.count - head {
                1 => score_block::<L, 1>(heads, queries, keys.as_ptr(), scores),
                // Sixteen registers are too few for more.
                2..4 => score_block::<L, 2>(heads, queries, keys.as_ptr(), scores),
                _ if L::COLUMNS < TILE_COLUMNS => score_block::<L, 2>(heads, queries, keys.as_ptr(), scores),
                4..8 => score_block::<L, 4>(heads, queries, keys.as_ptr(), scores),
                _ => score_block::<L, 8>(heads, queries, keys.as_ptr(), scores),
            };
        }
    }
}

#[inline(always)]
unsafe fn score_block<L: Lanes, const HEADS: usize>(
    heads: Heads,
    queries: *const f32,
    keys: *const f32,
    scores: *mut f32,
) -> usize {
    /// Registers of a block where they are narrowest.
    const MOST: usize = KEY_BLOCK / 8;
    // SAFETY: as the caller promises.
    unsafe {
        let mut sums = [[L::splat(0.0); MOST]; HEADS];
        for dimension in 0..heads.size {
            let mut key = [L::splat(0.0); MOST];
            for part in 0..KEY_BLOCK / L::COLUMNS {
                key[part] = L::load_floats(keys.add(dimension * KEY_BLOCK + part * L::COLUMNS));
            }
            for head in 0..HEADS {
                let query = L::splat(*queries.add(head * heads.size + dimension));
                for part in 0..KEY_BLOCK / L::COLUMNS {
                    sums[head][part] = L::multiply_add(key[part], query, sums[head][part]);
                }
            }
        }
        for (head, sums) in sums.iter().enumerate() {
            for part in 0..KEY_BLOCK / L::COLUMNS {
                L::store(scores.add(head * heads.score_stride + part * L::COLUMNS), sums[part]);
            }
        }
    }
    HEADS
}

#[inline(always)]
unsafe fn sum_all<L: Lanes>(heads: Heads, weights: &[f32], values: &[f32], output: &mut [f32]) {
    let mut head = 0;
    while head < heads.count {
        let mut dimension = 0;
        let step = if heads.count - head >= 4 { 4 } else { 1 };
        while dimension < heads.size {
            // SAFETY: these heads and dimensions exist.
            unsafe {
                let weights = weights.as_ptr().add(head * heads.score_stride);
                let output = output.as_mut_ptr().add(head * heads.size + dimension);
                let values = Values { first: values.as_ptr().add(dimension), positions: values.len() / heads.size };
                let registers = (heads.size - dimension) / L::COLUMNS;
                dimension += match (registers, step) {
                    (0, 4) => sum_one::<4>(heads, weights, values, output),
                    (0, _) => sum_one::<1>(heads, weights, values, output),
                    (1, 4) => sum_block::<L, 4, 1>(heads, weights, values, output),
                    (1, _) => sum_block::<L, 1, 1>(heads, weights, values, output),
                    (2 | 3, 4) => sum_block::<L, 4, 2>(heads, weights, values, output),
                    (2 | 3, _) => sum_block::<L, 1, 2>(heads, weights, values, output),
                    (_, 4) if L::COLUMNS < TILE_COLUMNS => sum_block::<L, 4, 2>(heads, weights, values, output),
                    (_, 4) => sum_block::<L, 4, 4>(heads, weights, values, output),
                    (_, _) => sum_block::<L, 1, 4>(heads, weights, values, output),
                };
            }
        }
        head += step;
    }
}

/// One dimension of every position, and those behind it.
#[derive(Clone, Copy)]
struct Values {
    first: *const f32,
    positions: usize,
}

#[inline(always)]
unsafe fn sum_block<L: Lanes, const HEADS: usize, const REGISTERS: usize>(
    heads: Heads,
    weights: *const f32,
    values: Values,
    output: *mut f32,
) -> usize {
    // SAFETY: as the caller promises.
    unsafe {
        let mut sums = [[L::splat(0.0); REGISTERS]; HEADS];
        for (head, sums) in sums.iter_mut().enumerate() {
            for (register, sum) in sums.iter_mut().enumerate() {
                *sum = L::load_floats(output.add(head * heads.size + register * L::COLUMNS));
            }
        }
        for position in 0..values.positions {
            let mut value = [L::splat(0.0); REGISTERS];
            for (register, value) in value.iter_mut().enumerate() {
                *value = L::load_floats(values.first.add(position * heads.size + register * L::COLUMNS));
            }
            for head in 0..HEADS {
                let weight = L::splat(*weights.add(head * heads.score_stride + position));
                for register in 0..REGISTERS {
                    sums[head][register] = L::multiply_add(value[register], weight, sums[head][register]);
                }
            }
        }
        for (head, sums) in sums.iter().enumerate() {
            for (register, sum) in sums.iter().enumerate() {
                L::store(output.add(head * heads.size + register * L::COLUMNS), *sum);
            }
        }
    }
    REGISTERS * L::COLUMNS
}

/// The last dimensions, when they do not fill a register.
#[inline(always)]
unsafe fn sum_one<const HEADS: usize>(heads: Heads, weights: *const f32, values: Values, output: *mut f32) -> usize {
    // SAFETY: as the caller promises.
    unsafe {
        for head in 0..HEADS {
            let output = output.add(head * heads.size);
            for position in 0..values.positions {
                let weight = *weights.add(head * heads.score_stride + position);
                *output = (*values.first.add(position * heads.size)).mul_add(weight, *output);
            }
        }
    }
    1
}
