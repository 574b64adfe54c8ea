//! What a loaded model is: shape, sizes and what it runs on.

use serde::{Deserialize, Serialize};

/// Facts about a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// `general.name` of the file, or empty.
    pub name: String,
    /// `general.architecture` of the file.
    pub architecture: String,
    /// Weights in the file, counted one by one.
    pub parameters: u64,
    /// Transformer blocks.
    pub layers: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Tokens the model was trained on at a time.
    pub context_length: usize,
    /// Tokens one sequence may hold here, prompt and answer together.
    pub context_size: usize,
    /// Tokens in the vocabulary.
    pub vocabulary: usize,
    /// The tensor type that holds most weights, e.g. `Q8_0`.
    pub quantization: String,
    /// Bytes of the GGUF file.
    pub file_bytes: u64,
    /// Bytes of memory that it takes as reckoned from its file: the weights, and the keys and values that it keeps.
    pub memory_bytes: u64,
    /// In which form it keeps keys and values, e.g. `f16`.
    pub kv_cache_type: String,
    /// Bytes that the keys and values of one token take.
    pub kv_bytes_per_token: u64,
    /// What runs it, and with which instructions, e.g. `cpu (avx2)`.
    pub executor: String,
    /// Whether the file carries a chat template.
    pub has_chat_template: bool,
    /// Whether the model can be given tools: its template shows them.
    pub supports_tools: bool,
}
