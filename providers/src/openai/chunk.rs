//! What servers answer, as it stands on the wire: read leniently, because no two write it alike.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A piece of an answer, or with `message` in its choices a whole one.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Chunk {
    #[serde(deserialize_with = "null_default")]
    pub(super) choices: Vec<Choice>,
    pub(super) usage: Option<Usage>,
    /// Groq's place for the usage of a stream.
    pub(super) x_groq: Option<Groq>,
    pub(super) error: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Groq {
    pub(super) usage: Option<Usage>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Choice {
    #[serde(deserialize_with = "null_default")]
    pub(super) index: u32,
    #[serde(alias = "message", deserialize_with = "null_default")]
    pub(super) delta: Delta,
    /// A continuation's piece.
    pub(super) text: Option<String>,
    pub(super) logprobs: Option<Logprobs>,
    pub(super) finish_reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Delta {
    pub(super) content: Option<Content>,
    /// DeepSeek's, vLLM's and llama-server's word for what the model thinks.
    pub(super) reasoning_content: Option<String>,
    /// OpenRouter's and Groq's.
    pub(super) reasoning: Option<String>,
    pub(super) refusal: Option<String>,
    #[serde(deserialize_with = "null_default")]
    pub(super) tool_calls: Vec<CallPiece>,
}

/// A text, or as Mistral's thinking models write it a list of parts.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Part {
    pub(super) text: Option<String>,
    #[serde(deserialize_with = "null_default")]
    pub(super) thinking: Vec<Part>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CallPiece {
    pub(super) index: Option<usize>,
    pub(super) id: Option<String>,
    #[serde(deserialize_with = "null_default")]
    pub(super) function: FunctionPiece,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FunctionPiece {
    pub(super) name: Option<String>,
    /// A piece of JSON text, or where a server knows no better an object.
    pub(super) arguments: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Logprobs {
    #[serde(deserialize_with = "null_default")]
    pub(super) content: Vec<TokenLogprobs>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TokenLogprobs {
    #[serde(flatten)]
    pub(super) chosen: TokenLogprob,
    #[serde(deserialize_with = "null_default")]
    pub(super) top_logprobs: Vec<TokenLogprob>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TokenLogprob {
    pub(super) token: String,
    /// llama-server's.
    pub(super) id: Option<u32>,
    pub(super) logprob: Option<f32>,
}

/// Counters of tokens, any of which may be missing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Usage {
    pub(super) prompt_tokens: Option<u32>,
    pub(super) completion_tokens: Option<u32>,
    pub(super) total_tokens: Option<u32>,
    pub(super) prompt_tokens_details: Option<PromptDetails>,
    pub(super) completion_tokens_details: Option<CompletionDetails>,
    /// DeepSeek's word for cached tokens.
    pub(super) prompt_cache_hit_tokens: Option<u32>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PromptDetails {
    pub(super) cached_tokens: Option<u32>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CompletionDetails {
    pub(super) reasoning_tokens: Option<u32>,
}

/// The models of a server.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum ModelList {
    Data { data: Vec<Model> },
    Plain(Vec<Model>),
}

#[derive(Debug, Deserialize)]
pub(super) struct Model {
    pub(super) id: String,
}

impl ModelList {
    pub(super) fn names(self) -> Vec<String> {
        let (ModelList::Data { data } | ModelList::Plain(data)) = self;
        let mut names: Vec<String> = data.into_iter().map(|model| model.id).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct EmbeddingList {
    pub(super) data: Vec<Embedding>,
    #[serde(default)]
    pub(super) usage: Option<Usage>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Embedding {
    #[serde(default)]
    pub(super) index: usize,
    pub(super) embedding: Vector,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Vector {
    Whole(Vec<f32>),
    /// One for each token, from a server that does not pool them.
    OfTokens(Vec<Vec<f32>>),
}

impl Vector {
    /// One vector for the text: of a vector for each token the mean, divided by its length, as the engine has it.
    pub(super) fn pooled(self) -> Vec<f32> {
        let of_tokens = match self {
            Vector::Whole(vector) => return vector,
            Vector::OfTokens(of_tokens) => of_tokens,
        };
        let width = of_tokens.iter().map(Vec::len).max().unwrap_or_default();
        let mut sum = vec![0.0_f64; width];
        for vector in &of_tokens {
            sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += f64::from(*value));
        }
        let length = sum.iter().map(|value| value * value).sum::<f64>().sqrt();
        sum.iter().map(|value| if length > 0.0 { (value / length) as f32 } else { 0.0 }).collect()
    }
}

/// Reads null as the default.
fn null_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
