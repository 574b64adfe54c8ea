//! A weight matrix: packed for our own kernels where there is one for its type, else multiplied by candle.

use std::borrow::Cow;
use std::ops::Range;

use candle_core::quantized::{QStorage, QTensor};
use candle_core::{Device, Tensor};

use super::arithmetic::add;
use crate::error::Error;
use crate::gguf::{Gguf, TensorInfo, TensorType};
use crate::kernels::{self, Dense, DenseProduct, InstructionSet, Packed, Product, Rounded, Space};
use crate::threads::Threads;

/// candle answers one row of Q6_K, and 32 rows or more of Q4_K on AMX, with other kernels that round otherwise. Staying
/// between them keeps a row's result the same in every batch.
const CANDLE_ROWS: Range<usize> = 2..25;

/// Weights `[outputs, inputs]`, and what is added to their products.
pub(crate) struct Matrix {
    outputs: usize,
    inputs: usize,
    bias: Option<Vec<f32>>,
    weights: Weights,
}

enum Weights {
    Packed(Packed),
    Dense(Dense),
    Candle(Box<QTensor>),
}

/// Room for rounded inputs, in blocks of 32 and of 256, kept from one product to the next.
#[derive(Default)]
pub(crate) struct Workspace {
    of_32: Rounded,
    of_256: Rounded,
}

impl Matrix {
    /// What the weights of a matrix take in memory.
    pub(crate) fn bytes(info: &TensorInfo) -> u64 {
        kernels::packed_bytes(info.kind.ggml(), info.bytes, info.shape()[0] as u64, InstructionSet::current())
    }

    /// The tensor `info`, which has two dimensions, and a bias of `[outputs]`; packed, it lies in `space`.
    pub(crate) fn new(
        gguf: &Gguf,
        info: &TensorInfo,
        bias: Option<Vec<f32>>,
        space: &mut Space,
        threads: &mut Threads,
    ) -> Result<Matrix, Error> {
        let (outputs, inputs) = (info.shape()[0], info.shape()[1]);
        let bytes = gguf.tensor_bytes(info);
        let (kind, set) = (info.kind.ggml(), InstructionSet::current());
        let weights = if let Some(packed) = Packed::pack(kind, bytes, outputs, set, space, threads) {
            Weights::Packed(packed?)
        } else if let Some(dense) = Dense::pack(kind, bytes, outputs, set, space, threads) {
            Weights::Dense(dense?)
        } else {
            let storage = QStorage::from_data(Cow::Borrowed(bytes), &Device::Cpu, kind).map_err(failed)?;
            Weights::Candle(Box::new(QTensor::new(storage, (outputs, inputs)).map_err(failed)?))
        };
        gguf.bytes().forget(info.range());
        Ok(Matrix { outputs, inputs, bias, weights })
    }

    /// Width of what comes out.
    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    /// `output`, `[rows, outputs]`, becomes the product with `input`, `[rows, inputs]`.
    pub(crate) fn multiply(
        &self,
        input: &[f32],
        output: &mut [f32],
        workspace: &mut Workspace,
        threads: &mut Threads,
    ) -> Result<(), Error> {
        multiply(&mut [(self, output)], input, workspace, threads)
    }
}

/// Products of several matrices with one input, `[rows, inputs]`, biases added; each output is `[rows, outputs]`.
pub(crate) fn multiply(
    products: &mut [(&Matrix, &mut [f32])],
    input: &[f32],
    workspace: &mut Workspace,
    threads: &mut Threads,
) -> Result<(), Error> {
    for (block, rounded) in [(32, &mut workspace.of_32), (256, &mut workspace.of_256)] {
        let mut packed: Vec<Product<'_>> = products
            .iter_mut()
            .filter_map(|(matrix, output)| match &matrix.weights {
                Weights::Packed(weights) if weights.block() == block => Some(Product { weights, output }),
                _ => None,
            })
            .collect();
        if !packed.is_empty() {
            rounded.round(input, packed[0].weights.inputs(), block, threads);
            kernels::multiply(&mut packed, rounded, threads);
        }
    }
    let mut dense: Vec<DenseProduct<'_>> = products
        .iter_mut()
        .filter_map(|(matrix, output)| match &matrix.weights {
            Weights::Dense(weights) => Some(DenseProduct { weights, output }),
            _ => None,
        })
        .collect();
    kernels::multiply_dense(&mut dense, input, threads);
    for (matrix, output) in products {
        if let Weights::Candle(weights) = &matrix.weights {
            matrix.multiply_candle(weights, input, output).map_err(failed)?;
        }
        if let Some(bias) = &matrix.bias {
            output.chunks_exact_mut(bias.len()).for_each(|row| add(row, bias));
        }
    }
    Ok(())
}

impl Matrix {
    fn multiply_candle(&self, weights: &QTensor, input: &[f32], output: &mut [f32]) -> candle_core::Result<()> {
        let most = CANDLE_ROWS.end - 1;
        for (input, output) in input.chunks(most * self.inputs).zip(output.chunks_mut(most * self.outputs)) {
            let mut input = input.to_vec();
            if input.len() < CANDLE_ROWS.start * self.inputs {
                input.resize(CANDLE_ROWS.start * self.inputs, 0.0);
            }
            let rows = input.len() / self.inputs;
            let input = Tensor::from_vec(input, (rows, self.inputs), &Device::Cpu)?;
            let product = input.apply_op1_no_bwd(weights)?.flatten_all()?.to_vec1::<f32>()?;
            output.copy_from_slice(&product[..output.len()]);
        }
        Ok(())
    }
}

/// The weights of any tensor type as numbers.
pub(crate) fn dequantize(kind: TensorType, bytes: &[u8], output: &mut [f32]) -> Result<(), Error> {
    let numbers = kind.ggml().from_data(Cow::Borrowed(bytes)).dequantize(output.len()).map_err(failed)?;
    let candle_core::CpuStorage::F32(numbers) = numbers else {
        return Err(Error::Compute { problem: format!("{} weights did not become 32-bit numbers", kind.name()) });
    };
    output.copy_from_slice(&numbers);
    Ok(())
}

fn failed(error: candle_core::Error) -> Error {
    Error::Compute { problem: error.to_string() }
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::GgmlDType;
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// A row's product is the same to the bit alone and in any batch, for the types candle multiplies.
    #[test]
    fn a_row_does_not_depend_on_its_batch() {
        let (outputs, inputs) = (64, 512);
        let mut random = SmallRng::seed_from_u64(5);
        let mut numbers = |count: usize| (0..count).map(|_| random.random_range(-1.0f32..1.0)).collect::<Vec<f32>>();
        let dense = Tensor::from_vec(numbers(outputs * inputs), (outputs, inputs), &Device::Cpu).expect("a tensor");
        let input = numbers(40 * inputs);
        for kind in [GgmlDType::Q4K, GgmlDType::Q6K, GgmlDType::Q2K, GgmlDType::Q4_1, GgmlDType::F16, GgmlDType::F32] {
            let weights = QTensor::quantize(&dense, kind).expect("it quantises");
            let matrix = Matrix { outputs, inputs, bias: None, weights: Weights::Candle(Box::new(weights)) };
            let multiply = |input: &[f32]| {
                let mut output = vec![0.0; input.len() / inputs * outputs];
                matrix
                    .multiply(input, &mut output, &mut Workspace::default(), &mut Threads::new(1))
                    .expect("a product");
                output
            };
            let together = multiply(&input);
            for (row, expected) in input.chunks(inputs).zip(together.chunks(outputs)) {
                assert_eq!(multiply(row), expected, "{kind:?}");
            }
        }
    }
}
