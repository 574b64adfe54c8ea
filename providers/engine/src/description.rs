//! What a decoder is, as data read from GGUF metadata: one decoder runs every description.

use crate::error::Error;
use crate::gguf::Gguf;

/// What the metadata leave to the architecture's name.
struct Family {
    name: &'static str,
    pairing: RopePairing,
    qk_norm: bool,
}

/// Architectures whose tensors and arithmetic [`Description`] covers. Mistral, TinyLlama and SmolLM2 call themselves `llama`.
const FAMILIES: [Family; 3] = [
    Family { name: "llama", pairing: RopePairing::Interleaved, qk_norm: false },
    Family { name: "qwen2", pairing: RopePairing::Halves, qk_norm: false },
    Family { name: "qwen3", pairing: RopePairing::Halves, qk_norm: true },
];

/// Metadata, after the architecture's name, that change the arithmetic in ways that do not run.
const UNSUPPORTED: [&str; 8] = [
    "attention.clamp_kqv",
    "attention.scale",
    "embedding_scale",
    "logit_scale",
    "residual_scale",
    "rope.scaling.alpha",
    "rope.scaling.yarn_attn_factor",
    "rope.scaling.yarn_ext_factor",
];

/// Bounds no real model reaches; they keep the arithmetic on sizes from overflowing.
const MAX_LAYERS: u64 = 1 << 12;
const MAX_HEADS: u64 = 1 << 12;
const MAX_WIDTH: u64 = 1 << 20;
const MAX_CONTEXT: u64 = 1 << 26;

/// The shape of a decoder and the arithmetic it uses.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Description {
    pub(crate) architecture: String,
    pub(crate) layers: usize,
    /// Width of the residual stream.
    pub(crate) hidden: usize,
    pub(crate) heads: usize,
    /// Key and value heads; each serves `heads / kv_heads` query heads.
    pub(crate) kv_heads: usize,
    /// Width of one head.
    pub(crate) head_size: usize,
    /// Inner width of the feed-forward block.
    pub(crate) feed_forward: usize,
    pub(crate) vocabulary: usize,
    /// Tokens the model was trained on at a time.
    pub(crate) context_length: usize,
    pub(crate) norm_epsilon: f32,
    /// Whether each head's query and key are normed before they turn.
    pub(crate) qk_norm: bool,
    pub(crate) rope: Rope,
}

/// Rotary position embedding (Su et al., "RoFormer", 2021).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rope {
    /// How many of a head's dimensions turn; even.
    pub(crate) dimensions: usize,
    pub(crate) freq_base: f32,
    /// Positions are multiplied by this (linear scaling and YaRN); 1 for none.
    pub(crate) position_scale: f32,
    pub(crate) yarn: Option<Yarn>,
    pub(crate) pairing: RopePairing,
}

/// YaRN (Peng et al., 2023), with llama.cpp's arithmetic: pairs that turn fast keep their angle, slow ones turn by
/// `position_scale` times it, and between the two it changes by degrees.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Yarn {
    /// The first pair whose angle shrinks at all, and the one from which on it shrinks all the way.
    pub(crate) ramp: [f32; 2],
    /// What turned queries and keys are multiplied by.
    pub(crate) magnitude: f32,
}

/// Which two dimensions turn together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RopePairing {
    /// `(2i, 2i + 1)`: how llama's weights lie in GGUF files.
    Interleaved,
    /// `(i, i + dimensions / 2)`: GPT-NeoX's, and Qwen's.
    Halves,
}

impl Description {
    /// Reads the description; fails with [`Error::UnsupportedModel`] for what does not run.
    pub(crate) fn from_gguf(gguf: &Gguf) -> Result<Description, Error> {
        let architecture = gguf.required_text("general.architecture")?;
        let Some(family) = FAMILIES.iter().find(|family| family.name == architecture) else {
            let runnable: Vec<String> = FAMILIES.iter().map(|family| format!("`{}`", family.name)).collect();
            return Err(gguf.bytes().unsupported(format!(
                "the architecture `{architecture}` is unknown; architectures that run: {}",
                runnable.join(", ")
            )));
        };
        let key = |name: &str| format!("{architecture}.{name}");
        if gguf.u64_or(&key("expert_count"), 0)? > 0 {
            return Err(gguf
                .bytes()
                .unsupported(format!("`{}` is set; mixtures of experts do not run yet", key("expert_count"))));
        }
        if let Some(set) = UNSUPPORTED.iter().find(|name| gguf.has(&key(name))) {
            return Err(gguf.bytes().unsupported(format!("`{}` is set; what it asks for does not run yet", key(set))));
        }

        let hidden = gguf.size(&key("embedding_length"), MAX_WIDTH)?;
        let heads = gguf.size(&key("attention.head_count"), MAX_HEADS)?;
        let kv_heads_key = key("attention.head_count_kv");
        let kv_heads = if gguf.has(&kv_heads_key) { gguf.size(&kv_heads_key, MAX_HEADS)? } else { heads };
        if !heads.is_multiple_of(kv_heads) {
            return Err(gguf
                .bytes()
                .invalid(format!("`{kv_heads_key}` is {kv_heads}, expected a divisor of the {heads} heads")));
        }
        let head_size = head_size(gguf, &architecture, hidden, heads)?;
        let epsilon_key = key("attention.layer_norm_rms_epsilon");
        let norm_epsilon = gguf.f32(&epsilon_key)?.ok_or_else(|| gguf.missing(&epsilon_key))?;
        let tokens_key = "tokenizer.ggml.tokens";
        let vocabulary = gguf.array_length(tokens_key).ok_or_else(|| gguf.missing(tokens_key))?;
        Ok(Description {
            layers: gguf.size(&key("block_count"), MAX_LAYERS)?,
            hidden,
            heads,
            kv_heads,
            head_size,
            feed_forward: gguf.size(&key("feed_forward_length"), MAX_WIDTH)?,
            vocabulary,
            context_length: gguf.size(&key("context_length"), MAX_CONTEXT)?,
            norm_epsilon,
            qk_norm: family.qk_norm,
            rope: Rope::from_gguf(gguf, family, head_size)?,
            architecture,
        })
    }

    /// Width of the queries of all heads.
    pub(crate) fn query_width(&self) -> usize {
        self.heads * self.head_size
    }

    /// Width of the keys (or the values) of all key-value heads.
    pub(crate) fn kv_width(&self) -> usize {
        self.kv_heads * self.head_size
    }
}

fn head_size(gguf: &Gguf, architecture: &str, hidden: usize, heads: usize) -> Result<usize, Error> {
    let key = format!("{architecture}.attention.key_length");
    if !gguf.has(&key) {
        if !hidden.is_multiple_of(heads) {
            return Err(gguf
                .bytes()
                .invalid(format!("{heads} heads do not divide the hidden size {hidden}, and `{key}` is missing")));
        }
        return Ok(hidden / heads);
    }
    let head_size = gguf.size(&key, MAX_WIDTH)?;
    let value_key = format!("{architecture}.attention.value_length");
    if gguf.has(&value_key) && gguf.size(&value_key, MAX_WIDTH)? != head_size {
        return Err(gguf.bytes().unsupported(format!(
            "`{value_key}` differs from `{key}`; heads that run have keys and values of one size"
        )));
    }
    Ok(head_size)
}

impl Rope {
    fn from_gguf(gguf: &Gguf, family: &Family, head_size: usize) -> Result<Rope, Error> {
        let key = |name: &str| format!("{}.rope.{name}", family.name);
        let dimensions = gguf.u64_or(&key("dimension_count"), head_size as u64)? as usize;
        if dimensions == 0 || !dimensions.is_multiple_of(2) || dimensions > head_size {
            return Err(gguf.bytes().invalid(format!(
                "`{}` is {dimensions}, expected an even number up to the head size {head_size}",
                key("dimension_count")
            )));
        }
        let freq_base = gguf.f32(&key("freq_base"))?.unwrap_or(10_000.0);
        // As llama.cpp: linear where nothing is said, `scale_linear` in old files, and 0 for no scaling.
        let factor = match gguf.f32(&key("scaling.factor"))? {
            Some(factor) => factor,
            None => gguf.f32(&key("scale_linear"))?.unwrap_or(0.0),
        };
        let factor = if factor == 0.0 { 1.0 } else { factor };
        if !(freq_base > 0.0 && factor > 0.0) {
            return Err(gguf
                .bytes()
                .invalid(format!("rope has base {freq_base} and scaling factor {factor}, expected both above 0")));
        }
        let (factor, yarn) = match gguf.text(&key("scaling.type"))?.as_deref() {
            None | Some("linear") => (factor, None),
            Some("none") => (1.0, None),
            Some("yarn") => (factor, Some(Yarn::from_gguf(gguf, family, factor, freq_base, dimensions)?)),
            Some(other) => {
                return Err(gguf.bytes().unsupported(format!(
                    "`{}` is `{other}`; rope scalings that run: `none`, `linear`, `yarn`, and Llama 3's by the tensor `rope_freqs.weight`",
                    key("scaling.type")
                )));
            }
        };
        Ok(Rope { dimensions, freq_base, position_scale: 1.0 / factor, yarn, pairing: family.pairing })
    }
}

impl Yarn {
    fn from_gguf(gguf: &Gguf, family: &Family, factor: f32, freq_base: f32, dimensions: usize) -> Result<Yarn, Error> {
        let key = |name: &str| format!("{}.rope.scaling.{name}", family.name);
        let number = |name: &str, default: f32| -> Result<f32, Error> {
            let number = gguf.f32(&key(name))?.unwrap_or(default);
            if number > 0.0 {
                return Ok(number);
            }
            Err(gguf.bytes().invalid(format!("`{}` is {number}, expected a number above 0", key(name))))
        };
        let context_key = key("original_context_length");
        let context_key = if gguf.has(&context_key) { context_key } else { format!("{}.context_length", family.name) };
        let context = gguf.size(&context_key, MAX_CONTEXT)? as f32;
        // The pair that turns this many times over the original context.
        let pair = |turns: f32| {
            dimensions as f32 * (context / (turns * 2.0 * std::f32::consts::PI)).ln() / (2.0 * freq_base.ln())
        };
        let first = pair(number("yarn_beta_fast", 32.0)?).floor().max(0.0);
        let last = pair(number("yarn_beta_slow", 1.0)?).ceil().min(dimensions as f32 - 1.0);
        let magnitude = if factor > 1.0 { 1.0 + 0.1 * factor.ln() } else { 1.0 };
        Ok(Yarn { ramp: [first, last], magnitude: magnitude * number("attn_factor", 1.0)? })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::gguf::ModelBytes;
    use crate::gguf::writer::{Value, head};

    /// The description of a file with these metadata, over those of a small sound model.
    fn describe(architecture: &str, changes: Vec<(&str, Value<'_>)>) -> Result<Description, Error> {
        let sizes = [
            ("context_length", 128),
            ("embedding_length", 64),
            ("block_count", 2),
            ("feed_forward_length", 96),
            ("attention.head_count", 8),
            ("attention.head_count_kv", 2),
        ];
        let tokens = ["a".to_owned()];
        let mut values = vec![
            ("general.architecture".to_owned(), Value::Text(architecture)),
            (format!("{architecture}.attention.layer_norm_rms_epsilon"), Value::Fraction(1e-6)),
            ("tokenizer.ggml.tokens".to_owned(), Value::Texts(&tokens)),
        ];
        values.extend(sizes.map(|(name, size)| (format!("{architecture}.{name}"), Value::Number(size))));
        for (name, value) in changes {
            let key = format!("{architecture}.{name}");
            values.retain(|(other, _)| *other != key);
            values.push((key, value));
        }
        let file = ModelBytes::owned("test.gguf", head(&values, &[]));
        Description::from_gguf(&Gguf::parse(Arc::new(file)).expect("the file is sound"))
    }

    fn refusal(architecture: &str, changes: Vec<(&str, Value<'_>)>) -> String {
        describe(architecture, changes).expect_err("it does not run").to_string()
    }

    #[test]
    fn what_does_not_run_is_named_beside_what_does() {
        let text = refusal("gemma3", vec![]);
        assert!(text.contains("`gemma3`") && text.contains("`llama`, `qwen2`, `qwen3`"), "{text}");
        let text = refusal("llama", vec![("rope.scaling.type", Value::Text("longrope"))]);
        assert!(text.contains("`longrope`") && text.contains("`yarn`"), "{text}");
        assert!(refusal("llama", vec![("expert_count", Value::Number(8))]).contains("`llama.expert_count`"));
        assert!(refusal("llama", vec![("attention.scale", Value::Fraction(0.1))]).contains("`llama.attention.scale`"));
    }

    #[test]
    fn numbers_that_cannot_be_are_refused() {
        assert!(
            refusal("llama", vec![("attention.head_count_kv", Value::Number(3))]).contains("divisor of the 8 heads")
        );
        let yarn = |name, value| vec![("rope.scaling.type", Value::Text("yarn")), (name, value)];
        assert!(refusal("qwen2", yarn("rope.scaling.attn_factor", Value::Fraction(0.0))).contains("above 0"));
        assert!(
            refusal("qwen2", yarn("rope.scaling.original_context_length", Value::Number(0))).contains("expected 1 to")
        );
        assert!(refusal("qwen2", yarn("rope.scaling.factor", Value::Fraction(-2.0))).contains("above 0"));
        assert!(refusal("llama", vec![("rope.dimension_count", Value::Number(7))]).contains("even number"));
    }

    #[test]
    fn heads_are_as_wide_as_the_file_says() {
        assert_eq!(describe("qwen3", vec![]).expect("it runs").head_size, 8);
        let wide = vec![("attention.key_length", Value::Number(24)), ("attention.value_length", Value::Number(24))];
        let wide = describe("qwen3", wide).expect("it runs");
        assert_eq!((wide.head_size, wide.query_width(), wide.kv_width(), wide.qk_norm), (24, 192, 48, true));
    }
}
