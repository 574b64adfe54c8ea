//! Models with random weights in the shapes and tensor types of well-known ones, to measure speed with: no weights have to
//! be downloaded. What they write is noise; llama.cpp reads them too.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use candle_core::quantized::GgmlDType;
use half::f16;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

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
    pub const ALL: [Synthetic; 4] = [
        Synthetic { name: "tinyllama-q4_k_m", shape: &TINYLLAMA, mixture: Mixture::Q4KM },
        Synthetic { name: "tinyllama-q8_0", shape: &TINYLLAMA, mixture: Mixture::Q8_0 },
        Synthetic { name: "qwen2.5-0.5b-q4_k_m", shape: &QWEN2_5_0_5B, mixture: Mixture::Q4KM },
        Synthetic { name: "qwen2.5-0.5b-q8_0", shape: &QWEN2_5_0_5B, mixture: Mixture::Q8_0 },
    ];

    /// Writes the model as a GGUF file.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        let tensors = self.tensors();
        let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        let head = self.head(&tensors);
        file.write_all(&head)?;
        let mut random = SmallRng::seed_from_u64(1);
        for tensor in &tensors {
            tensor.write(&mut random, &mut file)?;
        }
        file.into_inner().map_err(|error| error.into_error())?.sync_all()
    }

    fn tensors(&self) -> Vec<Tensor> {
        let Shape { layers, hidden, heads, kv_heads, feed_forward, vocabulary, tied } = *self.shape;
        let kv_width = hidden / heads * kv_heads;
        let matrix = |name: String, outputs: usize, inputs: usize, bits: Bits| Tensor {
            kind: self.mixture.kind(inputs, bits),
            name,
            outputs,
            inputs,
        };
        let vector = |name: String| Tensor { name, outputs: 1, inputs: hidden, kind: GgmlDType::F32 };
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
        let mut head = b"GGUF".to_vec();
        head.extend(3u32.to_le_bytes());
        head.extend((tensors.len() as u64).to_le_bytes());
        head.extend((values.len() as u64).to_le_bytes());
        for (key, value) in values {
            put_text(&mut head, key);
            value.put(&mut head);
        }
        let mut offset = 0u64;
        for tensor in tensors {
            put_text(&mut head, &tensor.name);
            let shape: &[usize] = if tensor.outputs == 1 { &[tensor.inputs] } else { &[tensor.inputs, tensor.outputs] };
            head.extend((shape.len() as u32).to_le_bytes());
            shape.iter().for_each(|size| head.extend((*size as u64).to_le_bytes()));
            head.extend(number(tensor.kind).to_le_bytes());
            head.extend(offset.to_le_bytes());
            offset += tensor.bytes().next_multiple_of(ALIGNMENT) as u64;
        }
        head.resize(head.len().next_multiple_of(ALIGNMENT), 0);
        head
    }
}

/// Where tensors begin in a GGUF file that does not say.
const ALIGNMENT: usize = 32;

#[derive(Clone, Copy)]
enum Bits {
    Few,
    More,
    Most,
}

impl Mixture {
    fn kind(self, inputs: usize, bits: Bits) -> GgmlDType {
        match (self, bits, inputs.is_multiple_of(256)) {
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

struct Tensor {
    name: String,
    outputs: usize,
    inputs: usize,
    kind: GgmlDType,
}

impl Tensor {
    fn bytes(&self) -> usize {
        self.outputs * self.inputs / self.kind.block_size() * self.kind.type_size()
    }

    /// Writes random blocks whose weights spread about as widely as a trained model's; norms are ones.
    fn write(&self, random: &mut SmallRng, file: &mut impl Write) -> std::io::Result<()> {
        let mut block = vec![0u8; self.kind.type_size()];
        let spread = 1.0 / (self.inputs as f32).sqrt();
        for _ in 0..self.outputs * self.inputs / self.kind.block_size() {
            random.fill(&mut block[..]);
            let mut half =
                |at: usize, value: f32| block[at..at + 2].copy_from_slice(&f16::from_f32(value).to_le_bytes());
            match self.kind {
                GgmlDType::F32 => block.copy_from_slice(&1.0f32.to_le_bytes()),
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
        let padding = self.bytes().next_multiple_of(ALIGNMENT) - self.bytes();
        file.write_all(&[0; ALIGNMENT][..padding])
    }
}

/// A tensor type's number in ggml.h.
fn number(kind: GgmlDType) -> u32 {
    match kind {
        GgmlDType::F32 => 0,
        GgmlDType::Q5_0 => 6,
        GgmlDType::Q8_0 => 8,
        GgmlDType::Q4K => 12,
        _ => 14,
    }
}

/// A vocabulary of the SentencePiece kind: three special tokens, all bytes, then made-up words; and each piece's kind.
fn pieces(count: usize) -> (Vec<String>, Vec<i32>) {
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

enum Value<'a> {
    Text(&'a str),
    Number(u32),
    Fraction(f32),
    Flag(bool),
    Texts(&'a [String]),
    Fractions(&'a [f32]),
    Signed(&'a [i32]),
}

impl Value<'_> {
    /// The value's type, then the value.
    fn put(&self, out: &mut Vec<u8>) {
        let mut begin = |kind: u32, array: Option<usize>| {
            if let Some(length) = array {
                out.extend(9u32.to_le_bytes());
                out.extend(kind.to_le_bytes());
                out.extend((length as u64).to_le_bytes());
            } else {
                out.extend(kind.to_le_bytes());
            }
        };
        match self {
            Value::Text(text) => {
                begin(8, None);
                put_text(out, text);
            }
            Value::Number(number) => {
                begin(4, None);
                out.extend(number.to_le_bytes());
            }
            Value::Fraction(fraction) => {
                begin(6, None);
                out.extend(fraction.to_le_bytes());
            }
            Value::Flag(flag) => {
                begin(7, None);
                out.push(u8::from(*flag));
            }
            Value::Texts(texts) => {
                begin(8, Some(texts.len()));
                texts.iter().for_each(|text| put_text(out, text));
            }
            Value::Fractions(fractions) => {
                begin(6, Some(fractions.len()));
                fractions.iter().for_each(|fraction| out.extend(fraction.to_le_bytes()));
            }
            Value::Signed(numbers) => {
                begin(5, Some(numbers.len()));
                numbers.iter().for_each(|number| out.extend(number.to_le_bytes()));
            }
        }
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}
