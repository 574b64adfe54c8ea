//! Words of a conversation with a model as they stand on the wire: messages, tools, options, usage.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::lenient::{is_off, null_default};

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChatMessage {
    /// Who speaks.
    pub role: Role,
    /// The text; empty where only tools are called.
    #[serde(default, deserialize_with = "null_default")]
    pub content: String,
    /// Pictures that belong to it, each as base64 of its file.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_default")]
    pub images: Vec<String>,
    /// Tools that the assistant calls.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_default")]
    pub tool_calls: Vec<ToolCall>,
    /// With role `tool`: the call that this answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    /// Name of the speaker, or of the tool that answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions to the model.
    System,
    /// The person or program that asks.
    User,
    /// The model.
    Assistant,
    /// A tool's answer.
    Tool,
}

/// A call that a model makes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolCall {
    /// By which the tool's answer names this call.
    #[serde(default, deserialize_with = "null_default")]
    pub id: String,
    /// Name of the tool.
    pub name: String,
    /// Its arguments, an object.
    #[serde(default)]
    pub arguments: Value,
}

/// A tool that a model may call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it does, for the model to read.
    #[serde(default, deserialize_with = "null_default")]
    pub description: String,
    /// JSON schema of its arguments.
    #[serde(default)]
    pub parameters: Value,
}

/// How to generate; what is left out is the provider's default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GenerateOptions {
    /// Sampling temperature; 0 is greedy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// Keep the k likeliest tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_k: Option<u32>,
    /// Keep the likeliest tokens up to this probability mass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f32>,
    /// Keep tokens at least this likely relative to the likeliest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_p: Option<f32>,
    /// Keep the tokens whose information is nearest to the expected, up to this probability mass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub typical_p: Option<f32>,
    /// Penalty of repeated tokens; 1 is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat_penalty: Option<f32>,
    /// Penalty for each time that a token was said; 0 is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frequency_penalty: Option<f32>,
    /// Penalty of a token that was said at all; 0 is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presence_penalty: Option<f32>,
    /// Numbers that are added to the logits of tokens.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_default")]
    pub logit_bias: Vec<LogitBias>,
    /// Tell how likely every token was, and as many of the likeliest beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<u32>,
    /// Seed of the sampling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Stop after this many tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// Stop before any of these texts.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_default")]
    pub stop: Vec<String>,
    /// The JSON schema that the answer keeps to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Box<Value>>,
    /// Whether a model thinks before it answers: `true`, `false`, or how much: `"low"`, `"medium"`, `"high"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub think: Option<Think>,
    /// Members for the body of the request that a backend makes of this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra_body: Option<Box<Map<String, Value>>>,
    /// Cut a prompt that is longer than the context, rather than refuse it.
    #[serde(default, skip_serializing_if = "is_off", deserialize_with = "null_default")]
    pub truncate: bool,
    /// The longest it may take, in seconds, waiting and loading included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<f64>,
}

/// How a model thinks before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Think {
    /// Whether it does.
    Is(bool),
    /// How much.
    Effort(Effort),
}

/// How much a model thinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effort {
    /// Little.
    Low,
    /// Some.
    Medium,
    /// Much.
    High,
}

/// A number that is added to the logit of a token, or of each token of a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogitBias {
    /// Which tokens.
    pub token: Biased,
    /// The number.
    pub bias: f32,
}

/// What a [`LogitBias`] is for: `1234` or `" Paris"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Biased {
    /// A token's number in the vocabulary.
    Id(u32),
    /// A text.
    Text(String),
}

/// How likely a token of an answer was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TokenLogprobs {
    /// The token.
    #[serde(flatten)]
    pub chosen: TokenLogprob,
    /// The likeliest tokens in its place.
    #[serde(default, deserialize_with = "null_default")]
    pub top: Vec<TokenLogprob>,
}

/// A token and its probability.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TokenLogprob {
    /// Its text.
    #[serde(default, deserialize_with = "null_default")]
    pub token: String,
    /// Its number in the vocabulary, where the backend tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// Natural logarithm of its probability, before anything that sampling does.
    pub logprob: f32,
}

/// What a request took: tokens, time and money.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the prompt.
    #[serde(default, deserialize_with = "null_default")]
    pub prompt_tokens: u32,
    /// Tokens generated.
    #[serde(default, deserialize_with = "null_default")]
    pub completion_tokens: u32,
    /// Tokens of the prompt that were known from an earlier request.
    #[serde(default, deserialize_with = "null_default")]
    pub cached_tokens: u32,
    /// Tokens of the prompt that were cut because it did not fit and the request allowed that.
    #[serde(default, deserialize_with = "null_default")]
    pub truncated_tokens: u32,
    /// Those of the generated tokens that were thinking, where that is told.
    #[serde(default, deserialize_with = "null_default")]
    pub thinking_tokens: u32,
    /// Whether the backend did not tell the tokens: then only the pieces of the answer are counted, as generated tokens.
    #[serde(default, skip_serializing_if = "is_off", deserialize_with = "null_default")]
    pub untold: bool,
    /// Milliseconds from the request to the first piece of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_token_ms: Option<f64>,
    /// Tokens a second after the first piece; none where too little came in too short a time to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_second: Option<f64>,
    /// What that costs, where the price is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
}

/// Money.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// US dollars.
    pub usd: f64,
}

/// Why a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model was done, or a stop text came.
    Stop,
    /// `max_tokens` or the context's end.
    Length,
    /// It calls tools and waits for their answers.
    ToolCalls,
    /// Somebody cancelled it.
    Cancelled,
}
