//! Models with random weights in the shapes and tensor types of well-known ones, to measure speed with: no weights have to
//! be downloaded. What they write is noise; llama.cpp reads them too.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use candle_core::quantized::GgmlDType;
use half::f16;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::gguf::writer::{self, Tensor, Value};

/// A model that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synthetic {
    /// What it is called, e.g. `tinyllama-q4_k_m`.
    pub name: &'static str,
    shape: &'static Shape,
    mixture: Mixture,
}

#[derive(Debug, PartialEq, Eq)]
struct Shape {
    layers: usize,
    hidden: usize,
    heads: usize,
    kv_heads: usize,
    feed_forward: usize,
    vocabulary: usize,
    tied: bool,
}

/// How a model's matrices are quantised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mixture {
    /// Everything alike.
    F16,
    /// Everything alike.
    Q8_0,
    /// llama.cpp's mixture: values and half of the down projections in more bits, and types with blocks of 32 where a
    /// row is no multiple of 256.
    Q4KM,
}

/// TinyLlama-1.1B.
const TINYLLAMA: Shape =
    Shape { layers: 22, hidden: 2048, heads: 32, kv_heads: 4, feed_forward: 5632, vocabulary: 32_000, tied: false };
/// Qwen2.5-0.5B, without its biases and with a smaller vocabulary.
const QWEN2_5_0_5B: Shape =
    Shape { layers: 24, hidden: 896, heads: 14, kv_heads: 2, feed_forward: 4864, vocabulary: 151_936, tied: true };

impl Synthetic {
    /// Every model that can be written.
    pub const ALL: [Synthetic; 6] = [
        Synthetic { name: "tinyllama-q4_k_m", shape: &TINYLLAMA, mixture: Mixture::Q4KM },
        Synthetic { name: "tinyllama-q8_0", shape: &TINYLLAMA, mixture: Mixture::Q8_0 },
        Synthetic { name: "tinyllama-f16", shape: &TINYLLAMA, mixture: Mixture::F16 },
        Synthetic { name: "qwen2.5-0.5b-q4_k_m", shape: &QWEN2_5_0_5B, mixture: Mixture::Q4KM },
        Synthetic { name: "qwen2.5-0.5b-q8_0", shape: &QWEN2_5_0_5B, mixture: Mixture::Q8_0 },
        Synthetic { name: "qwen2.5-0.5b-f16", shape: &QWEN2_5_0_5B, mixture: Mixture::F16 },
    ];

    /// Writes the model as a GGUF file.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        let tensors = self.tensors();
        let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        let head = self.head(&tensors);
        file.write_all(&head)?;
        let mut random = SmallRng::seed_from_u64(1);
        for tensor in &tensors {
            write_random(tensor, &mut random, &mut file)?;
        }
        file.into_inner().map_err(|error| error.into_error())?.sync_all()
    }

    fn tensors(&self) -> Vec<Tensor> {
        let Shape { layers, hidden, heads, kv_heads, feed_forward, vocabulary, tied } = *self.shape;
        let kv_width = hidden / heads * kv_heads;
        let matrix = |name: String, outputs: usize, inputs: usize, bits: Bits| Tensor {
            kind: self.mixture.kind(inputs, bits),
            name,
            shape: vec![outputs, inputs],
        };
        let vector = |name: String| Tensor { name, shape: vec![hidden], kind: GgmlDType::F32 };
        let head_bits = if tied { Bits::Most } else { Bits::Few };
        let mut tensors = vec![
            matrix("token_embd.weight".into(), vocabulary, hidden, head_bits),
            vector("output_norm.weight".into()),
        ];
        if !tied {
            tensors.push(matrix("output.weight".into(), vocabulary, hidden, Bits::Most));
        }
        for layer in 0..layers {
            let name = |part: &str| format!("blk.{layer}.{part}.weight");
            let more = if uses_more_bits(layer, layers) { Bits::More } else { Bits::Few };
            tensors.extend([
                vector(name("attn_norm")),
                matrix(name("attn_q"), hidden, hidden, Bits::Few),
                matrix(name("attn_k"), kv_width, hidden, Bits::Few),
                matrix(name("attn_v"), kv_width, hidden, more),
                matrix(name("attn_output"), hidden, hidden, Bits::Few),
                vector(name("ffn_norm")),
                matrix(name("ffn_gate"), feed_forward, hidden, Bits::Few),
                matrix(name("ffn_up"), feed_forward, hidden, Bits::Few),
                matrix(name("ffn_down"), hidden, feed_forward, more),
            ]);
        }
        tensors
    }

    /// Everything before the tensors' bytes.
    fn head(&self, tensors: &[Tensor]) -> Vec<u8> {
        let Shape { layers, hidden, heads, kv_heads, feed_forward, vocabulary, .. } = *self.shape;
        let (pieces, kinds) = pieces(vocabulary);
        let scores: Vec<f32> = (0..vocabulary).map(|index| -(index as f32)).collect();
        let values = [
            ("general.architecture", Value::Text("llama")),
            ("general.name", Value::Text(self.name)),
            ("llama.context_length", Value::Number(4096)),
            ("llama.embedding_length", Value::Number(hidden as u32)),
            ("llama.block_count", Value::Number(layers as u32)),
            ("llama.feed_forward_length", Value::Number(feed_forward as u32)),
            ("llama.rope.dimension_count", Value::Number((hidden / heads) as u32)),
            ("llama.attention.head_count", Value::Number(heads as u32)),
            ("llama.attention.head_count_kv", Value::Number(kv_heads as u32)),
            ("llama.attention.layer_norm_rms_epsilon", Value::Fraction(1e-5)),
            ("llama.rope.freq_base", Value::Fraction(10_000.0)),
            ("llama.vocab_size", Value::Number(vocabulary as u32)),
            ("tokenizer.ggml.model", Value::Text("llama")),
            ("tokenizer.ggml.tokens", Value::Texts(&pieces)),
            ("tokenizer.ggml.scores", Value::Fractions(&scores)),
            ("tokenizer.ggml.token_type", Value::Signed(&kinds)),
            ("tokenizer.ggml.bos_token_id", Value::Number(1)),
            ("tokenizer.ggml.eos_token_id", Value::Number(2)),
            ("tokenizer.ggml.unknown_token_id", Value::Number(0)),
            ("tokenizer.ggml.add_bos_token", Value::Flag(true)),
        ];
        let values: Vec<_> = values.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        writer::head(&values, tensors)
    }
}

#[derive(Clone, Copy)]
enum Bits {
    Few,
    More,
    Most,
}

impl Mixture {
    fn kind(self, inputs: usize, bits: Bits) -> GgmlDType {
        match (self, bits, inputs.is_multiple_of(256)) {
            (Mixture::F16, ..) => GgmlDType::F16,
            (Mixture::Q8_0, ..) => GgmlDType::Q8_0,
            (Mixture::Q4KM, Bits::Few, true) => GgmlDType::Q4K,
            (Mixture::Q4KM, Bits::Few, false) => GgmlDType::Q5_0,
            (Mixture::Q4KM, _, true) => GgmlDType::Q6K,
            (Mixture::Q4KM, _, false) => GgmlDType::Q8_0,
        }
    }
}

/// llama.cpp's `use_more_bits`.
fn uses_more_bits(layer: usize, layers: usize) -> bool {
    layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2
}

/// Random blocks whose weights spread about as widely as a trained model's; norms are ones.
fn write_random(tensor: &Tensor, random: &mut SmallRng, file: &mut impl Write) -> std::io::Result<()> {
    let mut block = vec![0u8; tensor.kind.type_size()];
    let spread = 1.0 / (*tensor.shape.last().unwrap_or(&1) as f32).sqrt();
    for _ in 0..tensor.elements() / tensor.kind.block_size() {
        random.fill(&mut block[..]);
        let mut half = |at: usize, value: f32| block[at..at + 2].copy_from_slice(&f16::from_f32(value).to_le_bytes());
        match tensor.kind {
            GgmlDType::F32 => block.copy_from_slice(&1.0f32.to_le_bytes()),
            // The variance of a uniform distribution is a third of its square.
            GgmlDType::F16 => half(0, random.random_range(-1.0..1.0) * spread * 3.0f32.sqrt()),
            GgmlDType::Q5_0 => half(0, spread / 9.0),
            GgmlDType::Q8_0 => half(0, spread / 74.0),
            // Scales and minimums are six random bits: about 32 on average, and a weight is about 7.5.
            GgmlDType::Q4K => {
                half(0, spread / 160.0);
                half(2, spread / 160.0 * 7.5);
            }
            _ => half(208, spread / 1300.0),
        }
        file.write_all(&block)?;
    }
    file.write_all(&vec![0; tensor.padding()])
}

/// A vocabulary of the SentencePiece kind: three special tokens, all bytes, then made-up words; and each piece's kind.
pub(crate) fn pieces(count: usize) -> (Vec<String>, Vec<i32>) {
    const UNKNOWN: i32 = 2;
    const CONTROL: i32 = 3;
    const BYTE: i32 = 6;
    const NORMAL: i32 = 1;
    let special = [("<unk>".to_owned(), UNKNOWN), ("<s>".to_owned(), CONTROL), ("</s>".to_owned(), CONTROL)];
    let bytes = (0..256).map(|byte| (format!("<0x{byte:02X}>"), BYTE));
    let letters = std::iter::once('\u{2581}').chain('!'..='~').map(|letter| (letter.to_string(), NORMAL));
    let words = (0usize..).map(|index| {
        let letter = |place: u32| char::from(b'a' + (index / 26usize.pow(place) % 26) as u8);
        let word: String = (0..4).map(letter).collect();
        (format!("\u{2581}{word}"), NORMAL)
    });
    special.into_iter().chain(bytes).chain(letters).chain(words).take(count).unzip()
}
