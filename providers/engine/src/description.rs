//! What a decoder is, as data read from GGUF metadata: one decoder runs every description.

use crate::error::Error;
use crate::gguf::Gguf;

/// Architectures whose tensors and arithmetic [`Description`] covers.
const RUNNABLE: [&str; 1] = ["llama"];

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
    pub(crate) rope: Rope,
}

/// Rotary position embedding (Su et al., "RoFormer", 2021).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rope {
    /// How many of a head's dimensions turn; even.
    pub(crate) dimensions: usize,
    pub(crate) freq_base: f32,
    /// Positions are multiplied by this (linear scaling); 1 for none.
    pub(crate) position_scale: f32,
    pub(crate) pairing: RopePairing,
}

/// Which two dimensions turn together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RopePairing {
    /// `(2i, 2i + 1)`: how llama's weights lie in GGUF files.
    Interleaved,
}

impl Description {
    /// Reads the description; fails with [`Error::UnsupportedModel`] for what does not run.
    pub(crate) fn from_gguf(gguf: &Gguf) -> Result<Description, Error> {
        let architecture = gguf.required_text("general.architecture")?;
        if !RUNNABLE.contains(&architecture.as_str()) {
            let runnable: Vec<String> = RUNNABLE.iter().map(|name| format!("`{name}`")).collect();
            return Err(gguf.bytes().unsupported(format!(
                "the architecture `{architecture}` is unknown; architectures that run: {}",
                runnable.join(", ")
            )));
        }
        let key = |name: &str| format!("{architecture}.{name}");
        if gguf.u64_or(&key("expert_count"), 0)? > 0 {
            return Err(gguf
                .bytes()
                .unsupported(format!("`{}` is set; mixtures of experts do not run yet", key("expert_count"))));
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
            rope: Rope::from_gguf(gguf, &architecture, head_size)?,
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
    fn from_gguf(gguf: &Gguf, architecture: &str, head_size: usize) -> Result<Rope, Error> {
        let key = |name: &str| format!("{architecture}.rope.{name}");
        let dimensions = gguf.u64_or(&key("dimension_count"), head_size as u64)? as usize;
        if dimensions == 0 || !dimensions.is_multiple_of(2) || dimensions > head_size {
            return Err(gguf.bytes().invalid(format!(
                "`{}` is {dimensions}, expected an even number up to the head size {head_size}",
                key("dimension_count")
            )));
        }
        let freq_base = gguf.f32(&key("freq_base"))?.unwrap_or(10_000.0);
        let factor = match gguf.text(&key("scaling.type"))?.as_deref() {
            None | Some("none") => 1.0,
            Some("linear") => gguf.f32(&key("scaling.factor"))?.unwrap_or(1.0),
            Some(other) => {
                return Err(gguf.bytes().unsupported(format!(
                    "`{}` is `{other}`; rope scalings that run: `none`, `linear`",
                    key("scaling.type")
                )));
            }
        };
        if !(freq_base > 0.0 && factor > 0.0) {
            return Err(gguf
                .bytes()
                .invalid(format!("rope has base {freq_base} and scaling factor {factor}, expected both above 0")));
        }
        Ok(Rope { dimensions, freq_base, position_scale: 1.0 / factor, pairing: RopePairing::Interleaved })
    }
}
