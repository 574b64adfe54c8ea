//! What is asked of the engine: a prompt, how to sample and when to stop.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use crate::chat::{ChatMessage, Tool};

/// One generation to run.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who asks. Requests of one session share what they have computed of prompts that begin alike; those of different
    /// ones never do, since time would tell what others asked. Without a name nothing is shared or kept.
    pub session: String,
    /// What to continue.
    pub prompt: Prompt,
    /// How to continue it.
    pub options: GenerateOptions,
    /// Cancelling it ends the generation within one step or prefill chunk.
    pub cancel: CancellationToken,
}

/// What the model continues.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prompt {
    /// A conversation, rendered by the model's own chat template.
    Chat {
        /// The conversation so far, oldest first.
        messages: Vec<ChatMessage>,
        /// The tools the model may call.
        #[serde(default)]
        tools: Vec<Tool>,
    },
    /// Text that is tokenised as it stands.
    Raw(String),
}

/// How a prompt is continued. The default samples with [`Sampling`]'s defaults until the model
/// ends its answer or the context is full.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GenerateOptions {
    /// How the next token is chosen.
    pub sampling: Sampling,
    /// The most tokens to generate; `None`: until the context is full.
    pub max_tokens: Option<u32>,
    /// Texts that end the answer; they are not part of it.
    pub stop: Vec<String>,
    /// Go on when the model ends its answer, as llama.cpp's `--ignore-eos`: for measurements.
    pub ignore_end: bool,
    /// Added to the logits of tokens before anything else is done with them.
    pub logit_bias: Vec<LogitBias>,
    /// Tell how likely every token of the answer was, and so many of the likeliest beside it; at most 20.
    pub logprobs: Option<u32>,
    /// The JSON schema that the answer keeps to. This engine refuses it; backends that speak to other engines pass it on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<Box<Value>>,
    /// Whether, or how long, a model thinks before it answers that can do either. This engine refuses it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub think: Option<Think>,
    /// Members for the body of the request that a backend makes, in its dialect's words. This engine makes none and refuses them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra_body: Option<Box<Map<String, Value>>>,
    /// Drop the oldest tokens of a prompt that does not fit, instead of failing.
    pub truncate: bool,
    /// The longest it may take, in seconds, waiting and loading included; providers see to it, the engine itself does not.
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

/// How much a model thinks, in the three words that backends share.
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

/// A number for the logit of a token, or of every token of a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogitBias {
    /// Which tokens.
    pub token: Biased,
    /// What is added; about -100 forbids a token, 100 makes it come. At most 1000 either way.
    pub bias: f32,
}

/// What a [`LogitBias`] is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Biased {
    /// The token of that number in the vocabulary.
    Id(u32),
    /// The tokens that this text is read as; ` word` and `word` are different ones.
    Text(String),
}

/// How the next token is chosen. `None` takes the default, which is llama.cpp's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sampling {
    /// 0 always takes the likeliest token; default 0.8, at most 100.
    pub temperature: Option<f32>,
    /// Keep the `top_k` likeliest tokens; 0 keeps all; default 40.
    pub top_k: Option<u32>,
    /// Keep the likeliest tokens until their probabilities sum to this; 0 to 1, default 0.95.
    pub top_p: Option<f32>,
    /// Keep tokens at least this times as likely as the likeliest; 0 to 1, default 0.05.
    pub min_p: Option<f32>,
    /// Keep the tokens whose information is nearest to what is expected, until their probabilities sum to this; 0 to 1,
    /// default 1 (off).
    pub typical_p: Option<f32>,
    /// Divide the logits of the last 64 tokens by this, multiply those below 0; above 0, default 1 (off).
    pub repeat_penalty: Option<f32>,
    /// Taken from a token's logit for every time it is among the last 64; default 0.
    pub frequency_penalty: Option<f32>,
    /// Taken from a token's logit if it is among the last 64; default 0.
    pub presence_penalty: Option<f32>,
    /// The same seed gives the same tokens; default: a random one.
    pub seed: Option<u64>,
}
