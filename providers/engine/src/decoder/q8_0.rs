//! Products with Q8_0 weights, read where they lie in the file: rounded as llama.cpp rounds them (activations in blocks
//! of 32), and to the same bits on every instruction set, thread count and batch.
//!
//! candle's packed Q8_0 kernel rounds activations in blocks of 256 instead, which shows in greedy answers.

use crate::threads::{Threads, rows_of};

/// Weights (or activations) that share a scale.
pub(crate) const BLOCK: usize = 32;
/// A half-precision scale, then the block's weights.
const BLOCK_BYTES: usize = 2 + BLOCK;
/// Partial sums kept apart, so that eight-lane registers and plain Rust add in the same order.
const LANES: usize = 8;

/// Activations rounded to eight bits, `[rows, columns]`.
#[derive(Default)]
pub(crate) struct Activations {
    values: Vec<i8>,
    scales: Vec<f32>,
    columns: usize,
}

impl Activations {
    /// Rounds `input`, `[rows, columns]`; `columns` is a multiple of [`BLOCK`]. As ggml's `quantize_row_q8_0`.
    pub(crate) fn quantize(&mut self, input: &[f32], columns: usize) {
        self.columns = columns;
        self.values.clear();
        self.scales.clear();
        let (blocks, _) = input.as_chunks::<BLOCK>();
        for block in blocks {
            let largest = block.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
            let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
            self.scales.push(half::f16::from_f32(largest / 127.0).to_f32());
            self.values.extend(block.iter().map(|value| (value * inverse).round_ties_even() as i8));
        }
    }

    fn row(&self, row: usize) -> Operand<'_> {
        let blocks = self.columns / BLOCK;
        let (values, _) = self.values[row * self.columns..(row + 1) * self.columns].as_chunks();
        Operand { values, scales: &self.scales[row * blocks..(row + 1) * blocks] }
    }

    fn rows(&self) -> usize {
        self.values.len().checked_div(self.columns).unwrap_or(0)
    }
}

/// One row of rounded activations.
#[derive(Clone, Copy)]
struct Operand<'a> {
    values: &'a [[i8; BLOCK]],
    scales: &'a [f32],
}

/// `output[n, m]` = weights `[n, columns]` times activations `[m, columns]` transposed.
pub(crate) fn matmul_transposed(weights: &[u8], activations: &Activations, output: &mut [f32], threads: &Threads) {
    let rows = activations.rows();
    let row_bytes = activations.columns / BLOCK * BLOCK_BYTES;
    let cost = output.len() * activations.columns / 8;
    let dot = dot_kernel();
    threads.split(output, rows, cost, |first, part| {
        let weight_rows = rows_of(first, part, rows);
        let weights = &weights[weight_rows.start * row_bytes..weight_rows.end * row_bytes];
        let mut scales = Vec::new();
        for (weights, outputs) in weights.chunks_exact(row_bytes).zip(part.chunks_exact_mut(rows)) {
            let (weights, _) = weights.as_chunks::<BLOCK_BYTES>();
            scales.clear();
            scales.extend(weights.iter().map(block_scale));
            for (row, output) in outputs.iter_mut().enumerate() {
                *output = dot(weights, &scales, activations.row(row));
            }
        }
    });
}

/// One row of weights as numbers.
pub(crate) fn dequantize(weights: &[u8], output: &mut [f32]) {
    let (weights, _) = weights.as_chunks::<BLOCK_BYTES>();
    for (weights, output) in weights.iter().zip(output.chunks_exact_mut(BLOCK)) {
        let scale = block_scale(weights);
        for (output, weight) in output.iter_mut().zip(&weights[2..]) {
            *output = scale * f32::from(*weight as i8);
        }
    }
}

fn block_scale(weights: &[u8; BLOCK_BYTES]) -> f32 {
    half_to_f32(u16::from_le_bytes([weights[0], weights[1]]))
}

/// A finite half-precision number, without branches: its bits moved into place, then the exponent's bias put right.
fn half_to_f32(bits: u16) -> f32 {
    const BIAS: f32 = f32::from_bits((127 + 127 - 15) << 23);
    let magnitude = f32::from_bits(u32::from(bits & 0x7fff) << 13) * BIAS;
    f32::from_bits(magnitude.to_bits() | u32::from(bits & 0x8000) << 16)
}

type DotKernel = fn(&[[u8; BLOCK_BYTES]], &[f32], Operand<'_>) -> f32;

/// The fastest kernel this processor runs.
fn dot_kernel() -> DotKernel {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return |weights, scales, operand| unsafe { avx2::dot(weights, scales, operand) };
    }
    dot_plain
}

/// What [`dot_kernel`] runs, for `model info`.
pub(crate) fn instruction_set() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        return "avx2";
    }
    "portable"
}

/// The reference: lane `j` sums the products of elements `4j..4j + 4` of every block.
fn dot_plain(weights: &[[u8; BLOCK_BYTES]], scales: &[f32], operand: Operand<'_>) -> f32 {
    let mut lanes = [0.0f32; LANES];
    for (((weights, weight_scale), values), scale) in weights.iter().zip(scales).zip(operand.values).zip(operand.scales)
    {
        let scale = weight_scale * scale;
        for (lane, sum) in lanes.iter_mut().enumerate() {
            let at = lane * 4;
            let product = |index: usize| i32::from(weights[2 + index] as i8) * i32::from(values[index]);
            *sum += scale * (product(at) + product(at + 1) + product(at + 2) + product(at + 3)) as f32;
        }
    }
    sum_lanes(lanes)
}

fn sum_lanes(lanes: [f32; LANES]) -> f32 {
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{
        _mm256_add_ps, _mm256_cvtepi32_ps, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_mul_ps,
        _mm256_set1_epi16, _mm256_set1_ps, _mm256_setzero_ps, _mm256_sign_epi8, _mm256_storeu_ps,
    };

    use super::{BLOCK_BYTES, LANES, Operand, sum_lanes};

    /// [`super::dot_plain`] on eight lanes. Products are made from the activations' magnitudes (at most 127, so that
    /// two of them fit 16 bits) and the weights with the activations' signs.
    #[target_feature(enable = "avx2")]
    pub(super) fn dot(weights: &[[u8; BLOCK_BYTES]], scales: &[f32], operand: Operand<'_>) -> f32 {
        let ones = _mm256_set1_epi16(1);
        let mut sums = _mm256_setzero_ps();
        for (((weights, weight_scale), values), scale) in
            weights.iter().zip(scales).zip(operand.values).zip(operand.scales)
        {
            // SAFETY: both loads read the 32 bytes of a block, which lie inside their arrays.
            let (weight, value) = unsafe {
                (_mm256_loadu_si256(weights.as_ptr().add(2).cast()), _mm256_loadu_si256(values.as_ptr().cast()))
            };
            let pairs = _mm256_maddubs_epi16(_mm256_sign_epi8(value, value), _mm256_sign_epi8(weight, value));
            let quads = _mm256_cvtepi32_ps(_mm256_madd_epi16(pairs, ones));
            sums = _mm256_add_ps(sums, _mm256_mul_ps(_mm256_set1_ps(weight_scale * scale), quads));
        }
        let mut lanes = [0.0; LANES];
        // SAFETY: the array holds eight numbers.
        unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), sums) };
        sum_lanes(lanes)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::{GgmlDType, QTensor};
    use candle_core::{Device, Tensor};
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        let mut random = SmallRng::seed_from_u64(seed);
        (0..count).map(|_| random.random_range(-1.0..1.0)).collect()
    }

    #[test]
    fn every_finite_half_converts_exactly() {
        for bits in 0..=u16::MAX {
            let expected = half::f16::from_bits(bits);
            if expected.is_finite() {
                assert_eq!(half_to_f32(bits).to_bits(), expected.to_f32().to_bits());
            }
        }
    }

    #[test]
    fn products_match_a_plain_reference_on_every_kernel_and_thread_count() {
        for (rows, outputs, columns) in [(1, 1, 32), (1, 48, 96), (5, 33, 256), (17, 64, 896)] {
            let dense =
                Tensor::from_vec(numbers(outputs * columns, 1), (outputs, columns), &Device::Cpu).expect("a tensor");
            let weights = QTensor::quantize(&dense, GgmlDType::Q8_0)
                .expect("it quantises")
                .data()
                .expect("its bytes")
                .into_owned();
            let input = numbers(rows * columns, 2);
            let mut activations = Activations::default();
            activations.quantize(&input, columns);

            let mut expected = vec![0.0; outputs * rows];
            let mut weight_row = vec![0.0; columns];
            for (row_bytes, expected) in weights.chunks(columns / BLOCK * BLOCK_BYTES).zip(expected.chunks_mut(rows)) {
                dequantize(row_bytes, &mut weight_row);
                for (expected, input) in expected.iter_mut().zip(input.chunks(columns)) {
                    *expected = weight_row.iter().zip(input).map(|(a, b)| a * b).sum();
                }
            }
            let mut first: Option<Vec<f32>> = None;
            for threads in [1, 3] {
                let mut output = vec![0.0; outputs * rows];
                matmul_transposed(&weights, &activations, &mut output, &Threads::new(threads));
                for (output, expected) in output.iter().zip(&expected) {
                    assert!((output - expected).abs() < 0.01 * (columns as f32).sqrt(), "{output} is not {expected}");
                }
                assert_eq!(*first.get_or_insert_with(|| output.clone()), output);
            }
            let (blocks, _) = weights[..columns / BLOCK * BLOCK_BYTES].as_chunks::<BLOCK_BYTES>();
            let scales: Vec<f32> = blocks.iter().map(block_scale).collect();
            let plain = dot_plain(blocks, &scales, activations.row(0));
            assert_eq!(plain.to_bits(), dot_kernel()(blocks, &scales, activations.row(0)).to_bits());
        }
    }
}
