//! A weight matrix: Q8_0 through our own kernel, where it lies in the file; every other type through candle.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{Device, Tensor};

use super::q8_0;
use crate::error::Error;
use crate::gguf::{Gguf, ModelBytes, TensorInfo, TensorType};
use crate::threads::Threads;

/// candle answers one row of Q6_K, and 32 rows or more of Q4_K on AMX, with other kernels that round otherwise. Staying
/// between them keeps a row's result the same in every batch.
const CANDLE_ROWS: Range<usize> = 2..25;

/// Weights `[outputs, inputs]`.
pub(crate) struct Matrix {
    outputs: usize,
    inputs: usize,
    weights: Weights,
}

enum Weights {
    Q8_0 { file: Arc<ModelBytes>, range: Range<usize> },
    Candle(Box<QTensor>),
}

/// Room for products that is kept from one to the next.
#[derive(Default)]
pub(crate) struct Workspace {
    activations: q8_0::Activations,
    rounded: bool,
    transposed: Vec<f32>,
}

impl Workspace {
    /// Must be called when the input of the next product is another one.
    pub(crate) fn new_input(&mut self) {
        self.rounded = false;
    }
}

impl Matrix {
    /// The tensor `info`, which has two dimensions.
    pub(crate) fn new(gguf: &Gguf, info: &TensorInfo) -> Result<Matrix, Error> {
        let (outputs, inputs) = (info.shape()[0], info.shape()[1]);
        let weights = if info.kind.ggml() == GgmlDType::Q8_0 {
            Weights::Q8_0 { file: gguf.bytes().clone(), range: info.range() }
        } else {
            let bytes = Cow::Borrowed(gguf.tensor_bytes(info));
            let storage = QStorage::from_data(bytes, &Device::Cpu, info.kind.ggml()).map_err(failed)?;
            Weights::Candle(Box::new(QTensor::new(storage, (outputs, inputs)).map_err(failed)?))
        };
        Ok(Matrix { outputs, inputs, weights })
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
        threads: &Threads,
    ) -> Result<(), Error> {
        match &self.weights {
            Weights::Q8_0 { file, range } => {
                if !workspace.rounded {
                    workspace.activations.quantize(input, self.inputs);
                    workspace.rounded = true;
                }
                let weights = &file.as_slice()[range.clone()];
                let rows = input.len() / self.inputs;
                if rows == 1 {
                    q8_0::matmul_transposed(weights, &workspace.activations, output, threads);
                } else {
                    workspace.transposed.resize(output.len(), 0.0);
                    q8_0::matmul_transposed(weights, &workspace.activations, &mut workspace.transposed, threads);
                    transpose(&workspace.transposed, output, rows);
                }
                Ok(())
            }
            Weights::Candle(weights) => self.multiply_candle(weights, input, output).map_err(failed),
        }
    }

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

/// `[columns, rows]` to `[rows, columns]`.
fn transpose(input: &[f32], output: &mut [f32], rows: usize) {
    let columns = input.len() / rows;
    for (row, output) in output.chunks_exact_mut(columns).enumerate() {
        for (column, output) in output.iter_mut().enumerate() {
            *output = input[column * rows + row];
        }
    }
}

/// The weights of any tensor type as numbers.
pub(crate) fn dequantize(kind: TensorType, bytes: &[u8], output: &mut [f32]) -> Result<(), Error> {
    if kind.ggml() == GgmlDType::Q8_0 {
        q8_0::dequantize(bytes, output);
        return Ok(());
    }
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
        for kind in [
            GgmlDType::Q4K,
            GgmlDType::Q5K,
            GgmlDType::Q6K,
            GgmlDType::Q4_0,
            GgmlDType::Q5_0,
            GgmlDType::F16,
            GgmlDType::F32,
        ] {
            let weights = QTensor::quantize(&dense, kind).expect("it quantises");
            let matrix = Matrix { outputs, inputs, weights: Weights::Candle(Box::new(weights)) };
            let multiply = |input: &[f32]| {
                let mut output = vec![0.0; input.len() / inputs * outputs];
                matrix.multiply(input, &mut output, &mut Workspace::default(), &Threads::new(1)).expect("a product");
                output
            };
            let together = multiply(&input);
            for (row, expected) in input.chunks(inputs).zip(together.chunks(outputs)) {
                assert_eq!(multiply(row), expected, "{kind:?}");
            }
        }
    }
}
