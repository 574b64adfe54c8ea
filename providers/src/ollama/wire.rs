//! What goes to an Ollama and what comes back, as `api/types.go` of its Go module (0.17.4) has it. Whatever it may leave out is optional
//! here: Go leaves out zeros.

use perilune_engine::{ChatMessage, GenerateOptions, Prompt, Role, Tool};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::http::decimal;

/// Seeds go through a float64 there.
const LARGEST_SEED: u64 = (1 << 53) - 1;

/// What an instance adds to every request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Habits {
    /// `num_ctx`: tokens of context. A model that is in memory with another number is loaded again, so every request says the same.
    pub(super) context_size: Option<usize>,
    /// Seconds that the model stays after the request, below 0 for ever; without it, what it was or what the server holds with.
    pub(super) keep_alive: Option<i64>,
}

impl Habits {
    /// What every request about a model has beside its name.
    pub(super) fn body(self, model: &str) -> Map<String, Value> {
        let mut body = Map::from_iter([("model".to_owned(), model.into())]);
        if let Some(seconds) = self.keep_alive {
            body.insert("keep_alive".to_owned(), seconds.into());
        }
        if let Some(tokens) = self.context_size {
            body.insert("options".to_owned(), json!({ "num_ctx": tokens }));
        }
        body
    }
}

/// The path and the body of a generation.
pub(super) fn generation(
    model: &str,
    prompt: &Prompt,
    options: &GenerateOptions,
    habits: Habits,
) -> (&'static str, Value) {
    let mut body = habits.body(model);
    let mut put = |key: &str, value: Value| body.insert(key.to_owned(), value);
    let path = match prompt {
        Prompt::Chat { messages, tools } => {
            put("messages", messages.iter().map(|message| chat_message(message, messages)).collect());
            if !tools.is_empty() {
                put("tools", tools.iter().map(tool).collect());
            }
            "/api/chat"
        }
        Prompt::Raw(text) => {
            put("prompt", text.as_str().into());
            put("raw", true.into());
            "/api/generate"
        }
    };
    put("stream", true.into());
    // Left to itself, Ollama cuts what does not fit and says nothing, before the answer and in the midst of it.
    put("truncate", options.truncate.into());
    put("shift", false.into());
    if let Some(schema) = &options.schema {
        put("format", Value::clone(schema));
    }
    if let Some(think) = options.think {
        put("think", json!(think));
    }
    if let Some(top) = options.logprobs {
        put("logprobs", true.into());
        put("top_logprobs", top.into());
    }
    let mut sampling = sampling(options);
    if let Some(tokens) = habits.context_size {
        sampling.insert("num_ctx".to_owned(), tokens.into());
    }
    put("options", sampling.into());
    if let Some(more) = &options.extra_body {
        merge(&mut body, more);
    }
    (path, body.into())
}

/// Puts members into an object; objects in both are merged, so that `options` can have some more.
fn merge(body: &mut Map<String, Value>, more: &Map<String, Value>) {
    for (key, value) in more {
        match (body.get_mut(key), value) {
            (Some(Value::Object(inner)), Value::Object(more)) => merge(inner, more),
            _ => drop(body.insert(key.clone(), value.clone())),
        }
    }
}

/// Options that Ollama has no word for, by our names.
pub(super) fn unknown_option(options: &GenerateOptions) -> Option<&'static str> {
    if !options.logit_bias.is_empty() {
        return Some("logit_bias");
    }
    options.ignore_end.then_some("ignore_end")
}

fn sampling(options: &GenerateOptions) -> Map<String, Value> {
    let sampling = &options.sampling;
    let known = [
        ("temperature", sampling.temperature.map(decimal)),
        ("top_k", sampling.top_k.map(Value::from)),
        ("top_p", sampling.top_p.map(decimal)),
        ("min_p", sampling.min_p.map(decimal)),
        ("typical_p", sampling.typical_p.map(decimal)),
        ("repeat_penalty", sampling.repeat_penalty.map(decimal)),
        ("frequency_penalty", sampling.frequency_penalty.map(decimal)),
        ("presence_penalty", sampling.presence_penalty.map(decimal)),
        ("seed", sampling.seed.map(|seed| (seed & LARGEST_SEED).into())),
        ("num_predict", options.max_tokens.map(Value::from)),
        ("stop", (!options.stop.is_empty()).then(|| options.stop.clone().into())),
    ];
    known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

fn chat_message(message: &ChatMessage, conversation: &[ChatMessage]) -> Value {
    let mut body = Map::from_iter([
        ("role".to_owned(), message.role.as_str().into()),
        ("content".to_owned(), message.content.as_str().into()),
    ]);
    if !message.images.is_empty() {
        body.insert("images".to_owned(), message.images.clone().into());
    }
    if !message.tool_calls.is_empty() {
        let calls = message.tool_calls.iter().enumerate().map(|(index, call)| {
            json!({ "id": call.id, "function": { "index": index, "name": call.name, "arguments": call.arguments } })
        });
        body.insert("tool_calls".to_owned(), calls.collect());
    }
    if message.role == Role::Tool {
        if let Some(id) = &message.tool_call_id {
            body.insert("tool_call_id".to_owned(), id.as_str().into());
        }
        if let Some(name) = tool_name(message, conversation) {
            body.insert("tool_name".to_owned(), name.into());
        }
    }
    body.into()
}

/// The tool that a message is the answer of: its own name, or that of the call it answers.
fn tool_name<'a>(message: &'a ChatMessage, conversation: &'a [ChatMessage]) -> Option<&'a str> {
    let called = || {
        let calls = conversation.iter().flat_map(|message| &message.tool_calls);
        let id = message.tool_call_id.as_ref()?;
        calls.filter(|call| call.id == *id).map(|call| call.name.as_str()).next_back()
    };
    message.name.as_deref().or_else(called)
}

fn tool(tool: &Tool) -> Value {
    // Templates walk through the properties, so there must be some kind of object.
    let parameters = match &tool.parameters {
        Value::Object(_) => tool.parameters.clone(),
        _ => json!({ "type": "object", "properties": {} }),
    };
    json!({
        "type": "function",
        "function": { "name": tool.name, "description": tool.description, "parameters": parameters },
    })
}

/// One line of an answer, of a chat or of a generation.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Piece {
    /// Of a chat.
    pub(super) message: Option<Said>,
    /// Of a generation.
    #[serde(flatten)]
    pub(super) generated: Said,
    pub(super) logprobs: Option<Vec<Logprob>>,
    pub(super) done: bool,
    pub(super) done_reason: Option<String>,
    pub(super) prompt_eval_count: Option<u32>,
    pub(super) eval_count: Option<u32>,
}

/// What a line adds to the answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Said {
    #[serde(alias = "response")]
    pub(super) content: Option<String>,
    pub(super) thinking: Option<String>,
    pub(super) tool_calls: Option<Vec<Call>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Call {
    #[serde(default)]
    pub(super) id: Option<String>,
    pub(super) function: Function,
}

#[derive(Debug, Deserialize)]
pub(super) struct Function {
    pub(super) name: String,
    #[serde(default)]
    pub(super) arguments: Option<Value>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Logprob {
    pub(super) token: String,
    pub(super) logprob: f32,
    #[serde(default)]
    pub(super) top_logprobs: Option<Vec<Logprob>>,
}

/// What stands in place of an answer where there is none, also in the midst of a stream.
#[derive(Debug, Deserialize)]
pub(super) struct Failed {
    pub(super) error: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Version {
    pub(super) version: String,
}

/// What is stored.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Tags {
    pub(super) models: Option<Vec<Tag>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Tag {
    pub(super) name: String,
    #[serde(default)]
    pub(super) size: u64,
    /// Of what the name means.
    #[serde(default)]
    pub(super) digest: String,
    /// Where a model runs that only has its name here.
    #[serde(default)]
    pub(super) remote_host: Option<String>,
}

/// What is in memory.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Running {
    pub(super) models: Option<Vec<Runner>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Runner {
    pub(super) name: String,
    #[serde(default)]
    pub(super) size: u64,
    /// RFC 3339; hundreds of years ahead for a model that stays.
    #[serde(default)]
    pub(super) expires_at: String,
    #[serde(default)]
    pub(super) context_length: usize,
}

/// What is known of a model.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Shown {
    pub(super) details: Details,
    /// The pairs of the GGUF file's header.
    pub(super) model_info: Option<Map<String, Value>>,
    pub(super) capabilities: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Details {
    pub(super) family: String,
    pub(super) quantization_level: String,
}

impl Shown {
    pub(super) fn architecture(&self) -> &str {
        self.text("general.architecture").unwrap_or(&self.details.family)
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.model_info.as_ref()?.get(key)?.as_str()
    }

    pub(super) fn number(&self, key: &str) -> Option<u64> {
        self.model_info.as_ref()?.get(key)?.as_u64()
    }

    pub(super) fn can(&self, capability: &str) -> bool {
        self.capabilities.iter().flatten().any(|known| known == capability)
    }
}

/// One line of a pull or a creation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// What it does, in Ollama's words; `success` is the last.
    pub status: String,
    /// The layer this is about.
    pub digest: Option<String>,
    /// Bytes of the layer.
    pub total: Option<u64>,
    /// Bytes of it that are there.
    pub completed: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Embedded {
    pub(super) embeddings: Vec<Vec<f32>>,
    pub(super) prompt_eval_count: Option<u32>,
}

#[cfg(test)]
mod tests {
    use perilune_engine::{Sampling, ToolCall};

    use super::*;

    fn call(id: &str, name: &str) -> ToolCall {
        ToolCall { id: id.to_owned(), name: name.to_owned(), arguments: json!({ "city": "Paris" }) }
    }

    #[test]
    fn a_chat_says_what_was_asked() {
        let messages = vec![
            ChatMessage::user("Weather?"),
            ChatMessage { tool_calls: vec![call("call_0", "weather")], ..ChatMessage::assistant("") },
            ChatMessage { tool_call_id: Some("call_0".to_owned()), ..ChatMessage::tool("rain") },
        ];
        let options = GenerateOptions {
            sampling: Sampling { temperature: Some(0.1), seed: Some(u64::MAX), ..Sampling::default() },
            max_tokens: Some(5),
            logprobs: Some(2),
            ..GenerateOptions::default()
        };
        let habits = Habits { context_size: Some(512), keep_alive: Some(-1) };
        let (path, body) = generation("m", &Prompt::Chat { messages, tools: Vec::new() }, &options, habits);
        assert_eq!(path, "/api/chat");
        let expected = json!({
            "model": "m", "stream": true, "truncate": false, "shift": false, "logprobs": true, "top_logprobs": 2, "keep_alive": -1,
            "options": { "temperature": 0.1, "seed": 9_007_199_254_740_991_u64, "num_predict": 5, "num_ctx": 512 },
            "messages": [
                { "role": "user", "content": "Weather?" },
                { "role": "assistant", "content": "", "tool_calls": [
                    { "id": "call_0", "function": { "index": 0, "name": "weather", "arguments": { "city": "Paris" } } } ] },
                { "role": "tool", "content": "rain", "tool_call_id": "call_0", "tool_name": "weather" },
            ],
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn a_line_may_leave_out_what_is_nothing() {
        let piece: Piece = serde_json::from_str(r#"{"message": {"role": "assistant", "content": "a"}}"#).unwrap();
        assert_eq!(piece.message.unwrap().content.as_deref(), Some("a"));
        let piece: Piece = serde_json::from_str(r#"{"response": "b", "done": true, "eval_count": null}"#).unwrap();
        assert_eq!((piece.generated.content.as_deref(), piece.eval_count), (Some("b"), None));
    }
}
