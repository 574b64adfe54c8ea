//! Every type on every instruction set this processor has: against candle's product, and to the same bits.

use candle_core::quantized::{QMatMul, QTensor};
use candle_core::{Device, Module, Tensor};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::*;

const KINDS: [GgmlDType; 3] = [GgmlDType::F16, GgmlDType::BF16, GgmlDType::F32];

fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut random = SmallRng::seed_from_u64(seed);
    (0..count).map(|_| random.random_range(-1.0..1.0)).collect()
}

/// Weights `[columns, inputs]`.
fn weights(kind: GgmlDType, columns: usize, inputs: usize) -> QTensor {
    let dense = Tensor::from_vec(numbers(columns * inputs, 1), (columns, inputs), &Device::Cpu).expect("a tensor");
    QTensor::quantize(&dense, kind).expect("candle writes it")
}

fn product(weights: &Dense, input: &[f32], threads: &mut Threads) -> Vec<f32> {
    let mut output = vec![f32::NAN; input.len() / weights.inputs * weights.columns];
    multiply_dense(&mut [DenseProduct { weights, output: &mut output }], input, threads);
    output
}

#[test]
fn products_are_near_candles_and_the_same_on_every_instruction_set_thread_count_and_batch() {
    for kind in KINDS {
        for (rows, columns, inputs) in [(1, 16, 1), (1, 150, 70), (3, 33, 64), (21, 64, 90), (70, 20, 33)] {
            let tensor = weights(kind, columns, inputs);
            let bytes = tensor.data().expect("its bytes").into_owned();
            let input = numbers(rows * inputs, 2);
            let expected: Vec<f32> = Tensor::from_slice(&input, (rows, inputs), &Device::Cpu)
                .and_then(|input| QMatMul::from_qtensor(tensor)?.forward(&input)?.flatten_all()?.to_vec1())
                .expect("a product");

            let with = |set, count| {
                let mut threads = Threads::new(count);
                let packed = pack_any(kind, &bytes, columns, set, &mut Space::new([]), &mut threads)
                    .expect("a form")
                    .expect("memory");
                let together = product(&packed, &input, &mut threads);
                for (row, expected) in input.chunks(inputs).zip(together.chunks(columns)) {
                    assert!(product(&packed, row, &mut threads) == expected, "{kind:?} {set:?}: a row alone");
                }
                together
            };
            let portable = with(InstructionSet::Portable, 1);
            let square = |values: &mut dyn Iterator<Item = f32>| values.map(|value| value * value).sum::<f32>();
            let error = square(&mut portable.iter().zip(&expected).map(|(a, b)| a - b));
            let norm = square(&mut expected.iter().copied());
            // candle rounds the inputs to the weights' type.
            let tolerance: f32 = if kind == GgmlDType::BF16 { 0.004 } else { 0.001 };
            assert!(error <= tolerance.powi(2) * norm, "{kind:?} {rows} {columns} {inputs}: {error} of {norm}");
            for set in InstructionSet::ALL.into_iter().filter(|set| set.is_available()) {
                for count in [1, 3] {
                    assert!(with(set, count) == portable, "{kind:?} {set:?} {rows} {columns} {inputs}");
                }
            }
        }
    }
}

/// The numbers that have no ordinary form: zeros of both signs, the smallest ones, infinities and what is no number.
#[test]
fn every_half_is_read_alike_everywhere() {
    for kind in [GgmlDType::F16, GgmlDType::BF16] {
        let bytes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        let mut threads = Threads::new(1);
        let columns = 1 << 16;
        let mut all = InstructionSet::ALL.into_iter().filter(|set| set.is_available()).map(|set| {
            let packed = pack_any(kind, &bytes, columns, set, &mut Space::new([]), &mut threads)
                .expect("a form")
                .expect("memory");
            product(&packed, &[1.0], &mut threads)
        });
        let portable = all.next().expect("every processor has it");
        for (bits, value) in (0..=u16::MAX).zip(&portable) {
            let expected = match kind {
                GgmlDType::F16 => half::f16::from_bits(bits).to_f32(),
                _ => half::bf16::from_bits(bits).to_f32(),
            };
            assert!(*value == expected || value.is_nan() && expected.is_nan(), "{kind:?} {bits:#06x}");
        }
        for other in all {
            assert!(other.iter().zip(&portable).all(|(a, b)| a == b || a.is_nan() && b.is_nan()), "{kind:?}");
        }
    }
}
