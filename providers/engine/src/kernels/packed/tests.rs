//! Every format on every instruction set this processor has: against candle's dequantised weights, and to the same bits.

use candle_core::quantized::QTensor;
use candle_core::{Device, Tensor};
use proptest::prelude::*;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::*;

const KINDS: [GgmlDType; 6] =
    [GgmlDType::Q4_0, GgmlDType::Q5_0, GgmlDType::Q8_0, GgmlDType::Q4K, GgmlDType::Q5K, GgmlDType::Q6K];

fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut random = SmallRng::seed_from_u64(seed);
    (0..count).map(|_| random.random_range(-1.0..1.0)).collect()
}

fn sets() -> impl Iterator<Item = InstructionSet> {
    InstructionSet::ALL.into_iter().filter(|set| set.is_available())
}

/// `[rows, columns]`
fn product(
    kind: GgmlDType,
    weights: &[u8],
    columns: usize,
    input: &[f32],
    set: InstructionSet,
    threads: &mut Threads,
) -> Vec<f32> {
    let packed =
        pack_any(kind, weights, columns, set, &mut Space::new([]), threads).expect("a packed form").expect("memory");
    let mut rounded = Rounded::default();
    rounded.round(input, packed.inputs, packed.block(), threads);
    let mut output = vec![f32::NAN; rounded.rows() * columns];
    multiply(&mut [Product { weights: &packed, output: &mut output }], &rounded, threads);
    output
}

#[test]
fn products_are_near_candles_and_the_same_on_every_instruction_set_and_thread_count() {
    for kind in KINDS {
        let deep = kind.block_size();
        for (rows, columns, inputs) in [
            (1, 16, deep),
            (1, 50, 7 * deep),
            (5, 33, 2 * deep),
            (19, 64, 3 * deep),
            (21, 34, 70 * deep),
            (40, 50, 19 * deep),
            (170, 20, 9 * deep),
        ] {
            let dense =
                Tensor::from_vec(numbers(columns * inputs, 1), (columns, inputs), &Device::Cpu).expect("a tensor");
            let quantized = QTensor::quantize(&dense, kind).expect("it quantises");
            let bytes = quantized.data().expect("its bytes");
            let input = numbers(rows * inputs, 2);
            let weights = quantized.dequantize(&Device::Cpu).expect("numbers").t().expect("a matrix");
            let expected: Vec<f32> = Tensor::from_slice(&input, (rows, inputs), &Device::Cpu)
                .and_then(|input| input.matmul(&weights)?.flatten_all()?.to_vec1())
                .expect("a product");

            let portable = product(kind, &bytes, columns, &input, InstructionSet::Portable, &mut Threads::new(1));
            let square = |values: &mut dyn Iterator<Item = f32>| values.map(|value| value * value).sum::<f32>();
            let error = square(&mut portable.iter().zip(&expected).map(|(a, b)| a - b));
            let norm = square(&mut expected.iter().copied());
            assert!(error < 0.01f32.powi(2) * norm, "{kind:?} {rows} {columns} {inputs}: {error} of {norm}");
            for set in sets() {
                for count in [1, 3] {
                    let found = product(kind, &bytes, columns, &input, set, &mut Threads::new(count));
                    assert!(found == portable, "{kind:?} {set:?} {rows} {columns} {inputs}");
                }
            }
        }
    }
}

#[test]
fn a_row_is_the_same_alone_and_in_any_batch() {
    for kind in KINDS {
        let (columns, inputs) = (40, 2 * kind.block_size());
        let dense = Tensor::from_vec(numbers(columns * inputs, 3), (columns, inputs), &Device::Cpu).expect("a tensor");
        let bytes = QTensor::quantize(&dense, kind).expect("it quantises").data().expect("its bytes").into_owned();
        let input = numbers(55 * inputs, 4);
        let mut threads = Threads::new(2);
        let together = product(kind, &bytes, columns, &input, InstructionSet::best(), &mut threads);
        for (row, expected) in input.chunks(inputs).zip(together.chunks(columns)) {
            let alone = product(kind, &bytes, columns, row, InstructionSet::best(), &mut threads);
            assert!(alone == expected, "{kind:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Whatever bytes a file holds: extreme scales, weights that no quantiser writes.
    #[test]
    fn any_bytes_give_the_same_bits_everywhere(kind in 0..KINDS.len(), seed: u64, extreme: bool) {
        let kind = KINDS[kind];
        let mut random = SmallRng::seed_from_u64(seed);
        let (columns, inputs) = (17, kind.block_size());
        let mut bytes = vec![0u8; columns * kind.type_size()];
        for byte in &mut bytes {
            *byte = if extreme { [0x00, 0xff, 0x80, 0x7f][random.random_range(0..4)] } else { random.random() };
        }
        // Scales that are numbers: their exponents' highest bits go.
        for block in bytes.chunks_exact_mut(kind.type_size()) {
            let scales: &[usize] = match kind {
                GgmlDType::Q6K => &[209],
                GgmlDType::Q4K | GgmlDType::Q5K => &[1, 3],
                _ => &[1],
            };
            scales.iter().for_each(|at| block[*at] &= 0xbf);
        }
        let input: Vec<f32> = (0..35 * inputs)
            .map(|_| if extreme { [1.0, -1.0][random.random_range(0..2)] } else { random.random_range(-1.0..1.0) })
            .collect();
        let mut threads = Threads::new(1);
        let portable = product(kind, &bytes, columns, &input, InstructionSet::Portable, &mut threads);
        for set in sets() {
            prop_assert_eq!(&product(kind, &bytes, columns, &input, set, &mut threads), &portable, "{:?} {:?}", kind, set);
        }
    }
}
