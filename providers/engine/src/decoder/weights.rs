//! Finds a decoder's tensors in a file and checks every shape. A tensor nobody asks for means the file describes more
//! arithmetic than the decoder does, so it is refused rather than ignored.

use std::collections::HashSet;

use candle_core::quantized::GgmlDType;

use super::matrix::{Matrix, dequantize};
use crate::description::Description;
use crate::error::Error;
use crate::gguf::{Gguf, Stretch, TensorInfo, TensorType};
use crate::kernels::Space;
use crate::threads::Threads;

/// What candle asks of the bytes it copies blocks from.
const ALIGNMENT: usize = 4;

pub(super) struct Weights {
    embedding: Embedding,
    pub(super) layers: Vec<Layer>,
    pub(super) output_norm: Vec<f32>,
    output: Matrix,
    /// Divisors of the rotation's frequencies (Llama 3).
    pub(super) rope_factors: Option<Vec<f32>>,
}

pub(super) struct Layer {
    pub(super) attention_norm: Vec<f32>,
    /// Norms of each head's query and key.
    pub(super) qk_norm: Option<[Vec<f32>; 2]>,
    pub(super) query: Matrix,
    pub(super) key: Matrix,
    pub(super) value: Matrix,
    pub(super) attention_output: Matrix,
    pub(super) feed_forward_norm: Vec<f32>,
    pub(super) gate: Matrix,
    pub(super) up: Matrix,
    pub(super) down: Matrix,
}

/// Token vectors, read from the file row by row.
struct Embedding {
    rows: Stretch,
    kind: TensorType,
    count: usize,
    row_bytes: usize,
}

impl Weights {
    pub(super) fn from_gguf(gguf: &Gguf, description: &Description, threads: &mut Threads) -> Result<Weights, Error> {
        if !gguf.bytes().as_slice().as_ptr().cast::<u32>().is_aligned() {
            return Err(gguf
                .bytes()
                .unsupported(format!("its bytes lie at an odd address, expected a multiple of {ALIGNMENT}")));
        }
        let space = Space::new(gguf.matrices().map(|matrix| Matrix::bytes(matrix) as usize));
        let mut loader = Loader { gguf, space, threads, used: HashSet::new() };
        let (vocabulary, hidden) = (description.vocabulary, description.hidden);
        let info = loader.tensor("token_embd.weight", &[vocabulary, hidden])?;
        let embedding = Embedding {
            rows: gguf.bytes().stretch(info.range())?,
            kind: info.kind,
            count: vocabulary,
            row_bytes: (info.bytes / vocabulary as u64) as usize,
        };
        let output = if gguf.tensor("output.weight").is_some() {
            loader.matrix("output", vocabulary, hidden)?
        } else {
            Matrix::new(gguf, info, loader.bias("output", vocabulary)?, &mut loader.space, loader.threads)?
        };
        let rope_factors = match gguf.tensor("rope_freqs.weight") {
            Some(_) => Some(loader.vector("rope_freqs.weight", description.rope.dimensions / 2)?),
            None => None,
        };
        let output_norm = loader.vector("output_norm.weight", hidden)?;
        let layers = (0..description.layers).map(|index| loader.layer(index, description)).collect::<Result<_, _>>()?;
        loader.check_all_used()?;
        Ok(Weights { embedding, layers, output_norm, output, rope_factors })
    }

    /// The vector of a token; an id beyond the vocabulary is refused.
    pub(super) fn embed(&self, token: u32, output: &mut [f32]) -> Result<(), Error> {
        let Embedding { rows, kind, count, row_bytes } = &self.embedding;
        if token as usize >= *count {
            return Err(Error::Compute { problem: format!("there is no token {token}") });
        }
        let mut row = vec![0; *row_bytes];
        rows.read(token as usize * row_bytes, &mut row)?;
        dequantize(*kind, &row, output)
    }

    /// The matrix that turns the last hidden state into logits.
    pub(super) fn output(&self) -> &Matrix {
        &self.output
    }
}

struct Loader<'a> {
    gguf: &'a Gguf,
    space: Space,
    threads: &'a mut Threads,
    used: HashSet<String>,
}

impl<'a> Loader<'a> {
    fn layer(&mut self, index: usize, description: &Description) -> Result<Layer, Error> {
        let Description { hidden, feed_forward, head_size, .. } = *description;
        let (query_width, kv_width) = (description.query_width(), description.kv_width());
        let name = |part: &str| format!("blk.{index}.{part}");
        let qk_norm = if description.qk_norm {
            Some([
                self.vector(&name("attn_q_norm.weight"), head_size)?,
                self.vector(&name("attn_k_norm.weight"), head_size)?,
            ])
        } else {
            None
        };
        Ok(Layer {
            attention_norm: self.vector(&name("attn_norm.weight"), hidden)?,
            qk_norm,
            query: self.matrix(&name("attn_q"), query_width, hidden)?,
            key: self.matrix(&name("attn_k"), kv_width, hidden)?,
            value: self.matrix(&name("attn_v"), kv_width, hidden)?,
            attention_output: self.matrix(&name("attn_output"), hidden, query_width)?,
            feed_forward_norm: self.vector(&name("ffn_norm.weight"), hidden)?,
            gate: self.matrix(&name("ffn_gate"), feed_forward, hidden)?,
            up: self.matrix(&name("ffn_up"), feed_forward, hidden)?,
            down: self.matrix(&name("ffn_down"), hidden, feed_forward)?,
        })
    }

    fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<&'a TensorInfo, Error> {
        let Some(info) = self.gguf.tensor(name) else {
            return Err(self
                .gguf
                .bytes()
                .invalid(format!("the tensor `{name}` is missing, expected it with shape {shape:?}")));
        };
        if info.shape() != shape {
            return Err(self
                .gguf
                .bytes()
                .invalid(format!("tensor `{name}` has shape {:?}, expected {shape:?}", info.shape())));
        }
        self.used.insert(name.to_owned());
        Ok(info)
    }

    /// The matrix `{name}.weight`, with its bias if the file has one.
    fn matrix(&mut self, name: &str, outputs: usize, inputs: usize) -> Result<Matrix, Error> {
        let info = self.tensor(&format!("{name}.weight"), &[outputs, inputs])?;
        let bias = self.bias(name, outputs)?;
        Matrix::new(self.gguf, info, bias, &mut self.space, self.threads)
    }

    fn bias(&mut self, name: &str, length: usize) -> Result<Option<Vec<f32>>, Error> {
        let name = format!("{name}.bias");
        if self.gguf.tensor(&name).is_some() { self.vector(&name, length).map(Some) } else { Ok(None) }
    }

    fn vector(&mut self, name: &str, length: usize) -> Result<Vec<f32>, Error> {
        let info = self.tensor(name, &[length])?;
        if !matches!(info.kind.ggml(), GgmlDType::F32 | GgmlDType::F16 | GgmlDType::BF16) {
            return Err(self
                .gguf
                .bytes()
                .unsupported(format!("tensor `{name}` has the type {}, expected F32, F16 or BF16", info.kind.name())));
        }
        let mut vector = vec![0.0; length];
        dequantize(info.kind, self.gguf.tensor_bytes(info), &mut vector)?;
        Ok(vector)
    }

    fn check_all_used(&self) -> Result<(), Error> {
        let unused = self.gguf.tensor_names().filter(|name| !self.used.contains(*name)).min();
        match unused {
            None => Ok(()),
            Some(name) => {
                Err(self.gguf.bytes().unsupported(format!("the tensor `{name}` is not part of the decoder that runs")))
            }
        }
    }
}
