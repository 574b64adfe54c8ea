//! Inputs of products rounded to eight bits, in blocks of 32 for the types with such blocks and of 256 for k-quants: the
//! numbers ggml's `quantize_row_q8_0` and `quantize_row_q8_K` give.

use half::f16;

use super::format::Input;
use super::instruction_set::vectorized;
use super::lines::Lines;
use crate::threads::Threads;

/// Rows that are multiplied at once where there are tiles.
pub(super) const ROWS: usize = 16;

/// Rounded activations, `[rows, columns]`, with the scales and sums of their blocks.
#[derive(Default)]
pub(crate) struct Rounded {
    columns: usize,
    rows: usize,
    block: usize,
    /// Of each row.
    blocks: usize,
    /// `[rows, stride]`, and rows without a meaning up to a multiple of [`ROWS`]. A tile's row is in one line of the caches.
    values: Lines<i8>,
    /// `[rows, blocks]`
    scales: Vec<f32>,
    /// `[tiles, blocks, ROWS]`, only of blocks of 32.
    scales_of_rows: Vec<f32>,
    sums_of_32: Vec<i16>,
    sums_of_16: Vec<i16>,
}

/// Values that are worth handing to another thread at a time.
const VALUES_EACH: usize = 16 * 1024;

impl Rounded {
    /// Rounds `input`, `[rows, columns]`; `columns` is a multiple of `block`, which is 32 or 256.
    pub(crate) fn round(&mut self, input: &[f32], columns: usize, block: usize, threads: &mut Threads) {
        (self.columns, self.rows, self.block) = (columns, input.len() / columns, block);
        self.blocks = columns / block;
        let stride = self.stride();
        self.values.resize(self.rows.next_multiple_of(ROWS) * stride);
        self.scales.resize(input.len() / block, 0.0);
        self.sums_of_32.resize(input.len() / 32, 0);
        self.sums_of_16.resize(if block == 256 { input.len() / 16 } else { 0 }, 0);
        let rows = self
            .values
            .chunks_mut(stride)
            .zip(input.chunks(columns))
            .zip(self.scales.chunks_mut(columns / block))
            .zip(self.sums_of_32.chunks_mut(columns / 32));
        let mut sums_of_16 = self.sums_of_16.chunks_mut(columns / 16);
        let mut rows: Vec<_> = rows.map(|row| (row, sums_of_16.next())).collect();
        threads.chunks(&mut rows, (VALUES_EACH / columns).max(1), |_, rows| {
            for ((((values, input), scales), sums_of_32), sums_of_16) in rows {
                let values = &mut values[..columns];
                match sums_of_16 {
                    Some(sums_of_16) => round_256(input, values, scales, sums_of_32, sums_of_16),
                    None => round_32(input, values, scales, sums_of_32),
                }
            }
        });
        if block == 32 {
            self.scales_of_rows.resize(self.rows.next_multiple_of(ROWS) * self.blocks, 0.0);
            for (row, scales) in self.scales.chunks(self.blocks).enumerate() {
                let of_rows = self.scales_of_rows[row / ROWS * ROWS * self.blocks..].iter_mut().skip(row % ROWS);
                of_rows.step_by(ROWS).zip(scales).for_each(|(to, scale)| *to = *scale);
            }
        }
    }

    /// The scales of a block in the sixteen rows from `first` on, a multiple of that; what is beyond the last row has no meaning.
    #[inline(always)]
    pub(super) unsafe fn scales_of_rows(&self, first: usize, block: usize) -> *const f32 {
        // SAFETY: the caller says that there are such a row and block, and that blocks are of 32.
        unsafe { self.scales_of_rows.as_ptr().add((first / ROWS * self.blocks + block) * ROWS) }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes from a row to the next: more than its columns, so that rows of a round number of bytes do not share the few
    /// places a cache has for addresses that far apart.
    pub(super) fn stride(&self) -> usize {
        self.columns + 64
    }

    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    pub(super) fn block(&self) -> usize {
        self.block
    }

    /// One block of one row; both exist.
    #[inline(always)]
    pub(super) unsafe fn input(&self, row: usize, block: usize) -> Input {
        let index = row * self.blocks + block;
        // SAFETY: the caller says that there is such a block; without sums of 16 the pointer is not read.
        unsafe {
            Input {
                values: self.values.as_ptr().add(row * self.stride() + block * self.block),
                scale: *self.scales.get_unchecked(index),
                sums_of_32: self.sums_of_32.as_ptr().add(index * self.block / 32),
                sums_of_16: self.sums_of_16.as_ptr().wrapping_add(index * self.block / 16),
            }
        }
    }
}

vectorized! {
    fn round_32(input: &[f32], values: &mut [i8], scales: &mut [f32], sums_of_32: &mut [i16]) {
        round_blocks::<32>(input, values, scales);
        sum(values, 32, sums_of_32);
    }
}

vectorized! {
    fn round_256(
        input: &[f32],
        values: &mut [i8],
        scales: &mut [f32],
        sums_of_32: &mut [i16],
        sums_of_16: &mut [i16],
    ) {
        round_blocks::<256>(input, values, scales);
        sum(values, 32, sums_of_32);
        sum(values, 16, sums_of_16);
    }
}

#[inline(always)]
fn round_blocks<const BLOCK: usize>(input: &[f32], values: &mut [i8], scales: &mut [f32]) {
    let (blocks, _) = input.as_chunks::<BLOCK>();
    let (outputs, _) = values.as_chunks_mut::<BLOCK>();
    for ((block, output), scale) in blocks.iter().zip(outputs).zip(scales) {
        let largest = largest_magnitude(block);
        let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
        // ggml keeps the scale of 32 in half precision, and that of 256 as the inverse of what it multiplied with.
        *scale = match BLOCK {
            32 => f16::from_f32(largest / 127.0).to_f32(),
            _ if largest > 0.0 => 1.0 / inverse,
            _ => 0.0,
        };
        for (output, value) in output.iter_mut().zip(block) {
            // What is added leaves no room for fractions: the sum is rounded to even, and its lowest byte is the number.
            *output = (value * inverse + 12_582_912.0).to_bits() as i8;
        }
    }
}

#[inline(always)]
fn largest_magnitude(values: &[f32]) -> f32 {
    // Of numbers that are none, the other one.
    let larger = |a: f32, b: f32| if a > b { a } else { b };
    let (chunks, _) = values.as_chunks::<32>();
    let all = chunks
        .iter()
        .fold([0.0f32; 32], |largest, chunk| std::array::from_fn(|index| larger(chunk[index].abs(), largest[index])));
    // By halves: one after the other they would wait for each other.
    let sixteen: [f32; 16] = std::array::from_fn(|index| larger(all[index], all[index + 16]));
    let eight: [f32; 8] = std::array::from_fn(|index| larger(sixteen[index], sixteen[index + 8]));
    let four: [f32; 4] = std::array::from_fn(|index| larger(eight[index], eight[index + 4]));
    larger(larger(four[0], four[2]), larger(four[1], four[3]))
}

/// Sums of each `count` values.
#[inline(always)]
fn sum(values: &[i8], count: usize, sums: &mut [i16]) {
    for (values, sum) in values.chunks_exact(count).zip(sums) {
        *sum = values.iter().map(|value| i16::from(*value)).sum();
    }
}
