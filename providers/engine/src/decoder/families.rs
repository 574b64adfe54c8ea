//! Small random models of every kind that runs, and their logits against llama.cpp's on the same files, recorded by
//! `tests/golden/record_families.py` (its first lines say how, also after a model here has changed).

use std::path::Path;
use std::sync::Arc;

use candle_core::quantized::GgmlDType;
use half::f16;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{CacheType, Decoder, KvCache, PageShape, Row};
use crate::description::Description;
use crate::gguf::writer::{self, Tensor, Value};
use crate::gguf::{Gguf, ModelBytes};
use crate::synthetic::pieces;
use crate::threads::Threads;

/// Set to a folder, it has the models written there instead of compared.
const WRITE_TO: &str = "PERILUNE_WRITE_FAMILIES";

/// How far logits may lie from llama.cpp's: root mean square of the differences, as a share of that of the logits.
/// llama.cpp rounds queries to halves, the engine does not; they matter from the second position on. Where activations
/// become whole numbers of 8 bits, as for quantised weights, that little tips more roundings.
const TOLERANCE: f64 = 1e-3;
const TOLERANCE_QUANTISED: f64 = 3e-2;

/// Special tokens, bytes and a few words.
const VOCABULARY: usize = 272;
const CONTEXT: u32 = 128;

#[derive(Clone, Copy)]
struct Family {
    name: &'static str,
    architecture: &'static str,
    hidden: usize,
    heads: usize,
    kv_heads: usize,
    head_size: usize,
    feed_forward: usize,
    tied: bool,
    qk_norm: bool,
    /// Divisors of the rotation's frequencies, as Llama 3 has them.
    rope_factors: bool,
    biases: &'static [&'static str],
    rope: &'static [(&'static str, Setting)],
    kind: GgmlDType,
}

#[derive(Clone, Copy)]
enum Setting {
    Text(&'static str),
    Fraction(f32),
    Number(u32),
}

const LLAMA: Family = Family {
    name: "llama",
    architecture: "llama",
    hidden: 96,
    heads: 6,
    kv_heads: 2,
    head_size: 16,
    feed_forward: 160,
    tied: false,
    qk_norm: false,
    rope_factors: false,
    biases: &[],
    rope: &[],
    kind: GgmlDType::F32,
};
const QWEN2: Family = Family {
    name: "qwen2",
    architecture: "qwen2",
    hidden: 112,
    heads: 14,
    kv_heads: 2,
    head_size: 8,
    feed_forward: 152,
    tied: true,
    biases: &["attn_q", "attn_k", "attn_v"],
    rope: &[("rope.freq_base", Setting::Fraction(1_000_000.0))],
    ..LLAMA
};
const QWEN3: Family = Family {
    name: "qwen3",
    architecture: "qwen3",
    hidden: 64,
    heads: 5,
    kv_heads: 5,
    head_size: 24,
    feed_forward: 96,
    tied: true,
    qk_norm: true,
    ..LLAMA
};
const YARN: (&str, Setting) = ("rope.scaling.type", Setting::Text("yarn"));

const FAMILIES: [Family; 14] = [
    LLAMA,
    Family { name: "llama, one key-value head of 20, tied", heads: 7, kv_heads: 1, head_size: 20, tied: true, ..LLAMA },
    Family { name: "llama, heads of 80, wider than the stream", heads: 3, kv_heads: 3, head_size: 80, ..LLAMA },
    Family {
        name: "llama, linear",
        rope: &[("rope.scaling.type", Setting::Text("linear")), ("rope.scaling.factor", Setting::Fraction(2.5))],
        ..LLAMA
    },
    Family {
        name: "llama, an old file's linear",
        rope: &[("rope.scale_linear", Setting::Fraction(4.0)), ("rope.freq_base", Setting::Fraction(500.0))],
        ..LLAMA
    },
    Family {
        name: "llama, scaling switched off",
        rope: &[("rope.scaling.type", Setting::Text("none")), ("rope.scaling.factor", Setting::Fraction(2.5))],
        ..LLAMA
    },
    Family {
        name: "llama 3",
        rope_factors: true,
        head_size: 64,
        heads: 4,
        rope: &[("rope.freq_base", Setting::Fraction(500_000.0))],
        ..LLAMA
    },
    Family {
        name: "llama, yarn",
        head_size: 32,
        rope: &[
            YARN,
            ("rope.scaling.factor", Setting::Fraction(4.0)),
            ("rope.scaling.original_context_length", Setting::Number(32)),
            ("rope.scaling.attn_factor", Setting::Fraction(1.25)),
        ],
        ..LLAMA
    },
    Family {
        name: "llama, biases everywhere",
        biases: &["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"],
        ..LLAMA
    },
    QWEN2,
    Family {
        name: "qwen2, yarn with its own bounds",
        head_size: 40,
        heads: 4,
        hidden: 160,
        rope: &[
            YARN,
            ("rope.scaling.factor", Setting::Fraction(8.0)),
            ("rope.scaling.original_context_length", Setting::Number(64)),
            ("rope.scaling.yarn_beta_fast", Setting::Fraction(4.0)),
            ("rope.scaling.yarn_beta_slow", Setting::Fraction(0.25)),
        ],
        ..QWEN2
    },
    Family {
        name: "qwen2, Q8_0",
        hidden: 160,
        heads: 5,
        kv_heads: 1,
        head_size: 32,
        feed_forward: 224,
        kind: GgmlDType::Q8_0,
        ..QWEN2
    },
    QWEN3,
    Family {
        name: "qwen3, Q8_0, yarn without an original context",
        heads: 8,
        kv_heads: 2,
        head_size: 32,
        feed_forward: 192,
        tied: false,
        rope: &[YARN, ("rope.scaling.factor", Setting::Fraction(2.0))],
        kind: GgmlDType::Q8_0,
        ..QWEN3
    },
];

/// Deterministic numbers, of the same bits everywhere (Vigna's SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Between -1 and 1.
    fn fraction(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    }
}

impl Family {
    const LAYERS: usize = 2;

    fn tensors(&self) -> Vec<Tensor> {
        let Family { hidden, feed_forward, heads, kv_heads, head_size, kind, .. } = *self;
        let (query_width, kv_width) = (heads * head_size, kv_heads * head_size);
        let mut tensors = Vec::new();
        let mut add = |name: &str, shape: &[usize]| {
            let kind = if shape.len() > 1 { kind } else { GgmlDType::F32 };
            tensors.push(Tensor { name: name.to_owned(), shape: shape.to_vec(), kind });
        };
        add("token_embd.weight", &[VOCABULARY, hidden]);
        add("output_norm.weight", &[hidden]);
        if !self.tied {
            add("output.weight", &[VOCABULARY, hidden]);
        }
        if self.rope_factors {
            add("rope_freqs.weight", &[head_size / 2]);
        }
        for layer in 0..Family::LAYERS {
            let name = |part: &str| format!("blk.{layer}.{part}");
            add(&name("attn_norm.weight"), &[hidden]);
            add(&name("ffn_norm.weight"), &[hidden]);
            for part in ["attn_q_norm.weight", "attn_k_norm.weight"].into_iter().filter(|_| self.qk_norm) {
                add(&name(part), &[head_size]);
            }
            for (part, outputs, inputs) in [
                ("attn_q", query_width, hidden),
                ("attn_k", kv_width, hidden),
                ("attn_v", kv_width, hidden),
                ("attn_output", hidden, query_width),
                ("ffn_gate", feed_forward, hidden),
                ("ffn_up", feed_forward, hidden),
                ("ffn_down", hidden, feed_forward),
            ] {
                add(&name(&format!("{part}.weight")), &[outputs, inputs]);
                if self.biases.contains(&part) {
                    add(&name(&format!("{part}.bias")), &[outputs]);
                }
            }
        }
        tensors
    }

    fn values(&self, write: impl FnOnce(&[(String, Value<'_>)])) {
        let (pieces, kinds) = pieces(VOCABULARY);
        let scores: Vec<f32> = (0..VOCABULARY).map(|index| -(index as f32)).collect();
        let sizes = [
            ("context_length", CONTEXT),
            ("embedding_length", self.hidden as u32),
            ("block_count", Family::LAYERS as u32),
            ("feed_forward_length", self.feed_forward as u32),
            ("attention.head_count", self.heads as u32),
            ("attention.head_count_kv", self.kv_heads as u32),
            ("attention.key_length", self.head_size as u32),
            ("attention.value_length", self.head_size as u32),
            ("rope.dimension_count", self.head_size as u32),
        ];
        let key = |name: &str| format!("{}.{name}", self.architecture);
        let mut values = vec![
            ("general.architecture".to_owned(), Value::Text(self.architecture)),
            (key("attention.layer_norm_rms_epsilon"), Value::Fraction(1e-5)),
        ];
        values.extend(sizes.iter().map(|(name, size)| (key(name), Value::Number(*size))));
        values.extend(self.rope.iter().map(|(name, setting)| {
            let value = match *setting {
                Setting::Text(text) => Value::Text(text),
                Setting::Fraction(fraction) => Value::Fraction(fraction),
                Setting::Number(number) => Value::Number(number),
            };
            (key(name), value)
        }));
        let tokenizer = [
            ("model", Value::Text("llama")),
            ("tokens", Value::Texts(&pieces)),
            ("scores", Value::Fractions(&scores)),
            ("token_type", Value::Signed(&kinds)),
            ("bos_token_id", Value::Number(1)),
            ("eos_token_id", Value::Number(2)),
            ("unknown_token_id", Value::Number(0)),
        ];
        values.extend(tokenizer.into_iter().map(|(name, value)| (format!("tokenizer.ggml.{name}"), value)));
        write(&values);
    }

    /// The whole GGUF file.
    fn file(&self) -> Vec<u8> {
        let tensors = self.tensors();
        let mut file = Vec::new();
        self.values(|values| file = writer::head(values, &tensors));
        let mut random = Random(20_261_121);
        for tensor in &tensors {
            let spread = 1.7 / (tensor.shape[tensor.shape.len() - 1] as f32).sqrt();
            if tensor.kind == GgmlDType::Q8_0 {
                for _ in 0..tensor.elements() / 32 {
                    file.extend(f16::from_f32(spread / 127.0).to_le_bytes());
                    file.extend((0..32).map(|_| (random.fraction() * 127.0) as i8 as u8));
                }
            } else {
                let number = |random: &mut Random| match tensor.name.as_str() {
                    "rope_freqs.weight" => 1.0 + 3.5 * (random.fraction() + 1.0),
                    name if name.ends_with("norm.weight") => 1.0 + 0.5 * random.fraction(),
                    name if name.ends_with(".bias") => random.fraction(),
                    _ => spread * random.fraction(),
                };
                (0..tensor.elements()).for_each(|_| file.extend(number(&mut random).to_le_bytes()));
            }
            file.resize(file.len() + tensor.padding(), 0);
        }
        file
    }
}

#[derive(Deserialize)]
struct Recorded {
    tokens: Vec<u32>,
    positions: Vec<usize>,
    models: Vec<RecordedModel>,
}

#[derive(Deserialize)]
struct RecordedModel {
    name: String,
    sha256: String,
    /// The first logits after each of the positions.
    logits: Vec<Vec<f64>>,
}

fn write_all(directory: &Path) {
    for (index, family) in FAMILIES.iter().enumerate() {
        let name = format!("{index:02} {}.gguf", family.name);
        std::fs::write(directory.join(name), family.file()).expect("the folder can be written to");
    }
}

/// How far `found` is from `expected`, as a share of it.
fn distance(found: &[f32], expected: &[f64]) -> f64 {
    let difference: f64 =
        found.iter().zip(expected).map(|(found, expected)| (f64::from(*found) - expected).powi(2)).sum();
    (difference / expected.iter().map(|expected| expected.powi(2)).sum::<f64>()).sqrt()
}

#[test]
fn logits_are_those_of_llama_cpp_for_every_kind_of_model() {
    if let Some(directory) = std::env::var_os(WRITE_TO) {
        return write_all(Path::new(&directory));
    }
    let recorded: Recorded = serde_json::from_str(include_str!("../../tests/golden/families.json"))
        .expect("families.json is what record_families.py writes");
    assert_eq!(recorded.models.len(), FAMILIES.len());
    for (family, recorded_model) in FAMILIES.iter().zip(&recorded.models) {
        let file = family.file();
        let digest: String = Sha256::digest(&file).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!((family.name, &digest), (recorded_model.name.as_str(), &recorded_model.sha256), "record again");
        let gguf = Gguf::parse(Arc::new(ModelBytes::owned(family.name, file))).expect("the file is sound");
        let description = Description::from_gguf(&gguf).expect("it runs");
        let mut cache = KvCache::new(PageShape::of(&description, CacheType::F16), 0);
        let mut decoder = Decoder::new(&gguf, description, Threads::new(1)).expect("its weights are whole");
        let (sequence, _) = cache.open("", &[]);
        let rows: Vec<Row> = recorded
            .tokens
            .iter()
            .enumerate()
            .map(|(position, token)| Row {
                token: *token,
                sequence,
                position,
                wants_logits: recorded.positions.contains(&position),
            })
            .collect();
        let logits = decoder.forward(&rows, &mut cache).expect("a pass");
        for ((found, expected), position) in
            logits.chunks(VOCABULARY).zip(&recorded_model.logits).zip(&recorded.positions)
        {
            let distance = distance(found, expected);
            let exact = family.kind == GgmlDType::F32 || *position == 0;
            let tolerance = if exact { TOLERANCE } else { TOLERANCE_QUANTISED };
            println!("{}, position {position}: {distance:.1e}", family.name);
            assert!(distance < tolerance, "{}, position {position}: {distance} from llama.cpp's", family.name);
        }
    }
}
