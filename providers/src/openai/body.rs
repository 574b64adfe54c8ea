//! The body of a request, in the dialect's words. What the dialect cannot say is an error, never left out.

use perilune_engine::{Biased, ChatMessage, GenerateOptions, LogitBias, Prompt, Think, Tool};
use serde_json::{Map, Value, json};

use crate::config::{Preset, Words};
use crate::error::{Error, ErrorKind};
use crate::http::decimal;
use crate::provider::GenerateRequest;

/// How files of pictures begin, in base64.
const PICTURES: [(&str, &str); 4] = [("iVBORw0KGgo", "png"), ("/9j/", "jpeg"), ("R0lGOD", "gif"), ("UklGR", "webp")];

/// The body that asks for a generation, in pieces. `extra_body` comes last, so that it may replace anything.
pub(super) fn of(request: GenerateRequest, preset: &Preset, instance: &str) -> Result<Map<String, Value>, Error> {
    let GenerateRequest { model, prompt, options, .. } = request;
    refuse_unknown(&options, preset, instance)?;
    let words = &preset.words;
    let mut body = Map::new();
    let mut put = |name: &str, value: Value| body.insert(name.to_owned(), value);
    put("model", Value::String(model));
    put("stream", Value::Bool(true));
    put("stream_options", json!({ "include_usage": true }));
    let is_chat = matches!(prompt, Prompt::Chat { .. });
    match prompt {
        Prompt::Raw(text) => {
            put("prompt", Value::String(text));
        }
        Prompt::Chat { messages, tools } => {
            put("messages", messages.iter().map(|one| message(one, instance)).collect::<Result<_, _>>()?);
            if !tools.is_empty() {
                put("tools", tools.iter().map(tool).collect());
            }
        }
    }
    let GenerateOptions {
        sampling, max_tokens, stop, ignore_end, logit_bias, logprobs, schema, think, extra_body, ..
    } = options;
    // What is not set is the server's to decide.
    for (name, value) in [
        ("temperature", sampling.temperature.map(decimal)),
        ("top_p", sampling.top_p.map(decimal)),
        ("top_k", sampling.top_k.map(Value::from)),
        ("min_p", sampling.min_p.map(decimal)),
        ("typical_p", sampling.typical_p.map(decimal)),
        (words.repeat_penalty, sampling.repeat_penalty.map(decimal)),
        ("frequency_penalty", sampling.frequency_penalty.map(decimal)),
        ("presence_penalty", sampling.presence_penalty.map(decimal)),
        (words.seed, sampling.seed.map(Value::from)),
        (words.max_tokens, max_tokens.map(Value::from)),
        ("stop", (!stop.is_empty()).then(|| Value::from(stop))),
        ("ignore_eos", ignore_end.then_some(Value::Bool(true))),
        ("response_format", schema.map(|schema| response_format(*schema, words))),
    ] {
        if let Some(value) = value {
            put(name, value);
        }
    }
    match think {
        None => {}
        Some(Think::Effort(effort)) => drop(put("reasoning_effort", json!(effort))),
        Some(Think::Is(_)) => {
            let problem = "can be told how much to think, not whether: `think` is \"low\", \"medium\" or \"high\"; some servers \
                           have a member of their own for it, which goes into `extra_body`";
            return Err(invalid(instance, problem));
        }
    }
    if !logit_bias.is_empty() {
        put("logit_bias", biases(logit_bias, instance)?);
    }
    if let Some(count) = logprobs {
        if !is_chat {
            let problem = "tells `logprobs` of conversations only; leave `raw` out";
            return Err(invalid(instance, problem));
        }
        put("logprobs", Value::Bool(true));
        put("top_logprobs", Value::from(count));
    }
    body.extend(extra_body.map(|extra| *extra).unwrap_or_default());
    Ok(body)
}

/// Fails if something is asked for that the server does not know, which it may leave out without a word.
fn refuse_unknown(options: &GenerateOptions, preset: &Preset, instance: &str) -> Result<(), Error> {
    if options.truncate {
        let problem = "cannot cut a prompt that is longer than the context: `truncate` is for providers of the types `candle` and \
                       `ollama`; leave it out and shorten the prompt";
        return Err(invalid(instance, problem));
    }
    let sampling = &options.sampling;
    let given = [
        ("top_k", sampling.top_k.is_some()),
        ("min_p", sampling.min_p.is_some()),
        ("typical_p", sampling.typical_p.is_some()),
        ("repeat_penalty", sampling.repeat_penalty.is_some()),
        ("frequency_penalty", sampling.frequency_penalty.is_some()),
        ("presence_penalty", sampling.presence_penalty.is_some()),
        ("seed", sampling.seed.is_some()),
        ("logit_bias", !options.logit_bias.is_empty()),
        ("logprobs", options.logprobs.is_some()),
    ];
    match given.into_iter().find(|(name, is_given)| *is_given && preset.words.lacks.contains(name)) {
        Some((name, _)) => {
            let problem = format!(
                "the API of `preset = \"{}\"` does not know `{name}`; leave it out, or put what it has instead into `extra_body`",
                preset.name
            );
            Err(invalid(instance, &problem))
        }
        None => Ok(()),
    }
}

fn message(message: &ChatMessage, instance: &str) -> Result<Value, Error> {
    let mut written = Map::new();
    written.insert("role".to_owned(), message.role.as_str().into());
    // Servers refuse an empty text beside calls, and a missing one without them.
    let content = if message.content.is_empty() && !message.tool_calls.is_empty() {
        Value::Null
    } else if !message.images.is_empty() {
        parts(message, instance)?
    } else {
        message.content.as_str().into()
    };
    written.insert("content".to_owned(), content);
    if let Some(name) = &message.name {
        written.insert("name".to_owned(), name.as_str().into());
    }
    if let Some(id) = &message.tool_call_id {
        written.insert("tool_call_id".to_owned(), id.as_str().into());
    }
    if !message.tool_calls.is_empty() {
        let calls = message.tool_calls.iter().map(|call| {
            let function = json!({ "name": call.name, "arguments": call.arguments.to_string() });
            json!({ "id": call.id, "type": "function", "function": function })
        });
        written.insert("tool_calls".to_owned(), calls.collect());
    }
    Ok(Value::Object(written))
}

/// A text and the pictures that belong to it. The dialect wants each one's type, which the first bytes of a file tell.
fn parts(message: &ChatMessage, instance: &str) -> Result<Value, Error> {
    let picture = |base64: &String| {
        let known = PICTURES.iter().find(|(beginning, _)| base64.starts_with(beginning));
        let Some((_, kind)) = known else {
            let problem =
                "takes pictures as base64 of a PNG, JPEG, GIF or WebP file; one of `images` begins like none of them";
            return Err(invalid(instance, problem));
        };
        Ok(json!({ "type": "image_url", "image_url": { "url": format!("data:image/{kind};base64,{base64}") } }))
    };
    let text = Ok(json!({ "type": "text", "text": message.content }));
    std::iter::once(text).chain(message.images.iter().map(picture)).collect()
}

fn tool(tool: &Tool) -> Value {
    let function = json!({ "name": tool.name, "description": tool.description, "parameters": tool.parameters });
    json!({ "type": "function", "function": function })
}

fn response_format(schema: Value, words: &Words) -> Value {
    if words.json_schema {
        json!({ "type": "json_schema", "json_schema": { "name": "answer", "schema": schema, "strict": true } })
    } else {
        json!({ "type": "json_object", "schema": schema })
    }
}

fn biases(biases: Vec<LogitBias>, instance: &str) -> Result<Value, Error> {
    let pairs = biases.into_iter().map(|LogitBias { token, bias }| match token {
        Biased::Id(id) => Ok((id.to_string(), decimal(bias))),
        Biased::Text(_) => {
            let problem = "knows the tokens of `logit_bias` by their numbers alone, which its model's tokenizer tells, not by texts";
            Err(invalid(instance, problem))
        }
    });
    pairs.collect::<Result<Map<_, _>, _>>().map(Value::Object)
}

fn invalid(instance: &str, problem: &str) -> Error {
    Error::Elsewhere { instance: instance.to_owned(), kind: ErrorKind::InvalidRequest, problem: problem.to_owned() }
}
