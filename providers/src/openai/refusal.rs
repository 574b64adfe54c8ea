//! What a server's error means. Servers tell the same things by status, by `code`, by `type` or only in their words; here is where each
//! is known by. Its own words go along, without the key if they repeat it.

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::error::{Error, ErrorKind};
use crate::http::Server;

/// Characters of a server's words that an error repeats.
const MOST_WORDS: usize = 400;

/// An error as a server tells it.
#[derive(Debug, Default)]
struct Told {
    message: String,
    /// `code` and `type`, in lower case.
    words: String,
    /// llama-server's counts of a prompt that is too long, and of what the context holds.
    lengths: Option<(usize, usize)>,
}

/// The error that a whole body is.
pub(super) fn of_body(
    server: &Server,
    status: StatusCode,
    headers: &HeaderMap,
    body: &str,
    model: &str,
    secrets: &[String],
) -> Error {
    let value: Value = serde_json::from_str(body).unwrap_or_default();
    let told = told(value.get("error").filter(|error| !error.is_null()).unwrap_or(&value), secrets);
    refused(server, status, headers, told, model)
}

/// The error that comes in place of a piece of an answer.
pub(super) fn of_event(server: &Server, error: &Value, model: &str, secrets: &[String]) -> Error {
    let code = error.get("code").and_then(|code| code.as_u64().or_else(|| code.as_str()?.parse().ok()));
    let status = code.and_then(|code| StatusCode::from_u16(u16::try_from(code).ok()?).ok());
    let told = told(error, secrets);
    let status = status.filter(|status| !status.is_success()).unwrap_or_else(|| told.status());
    refused(server, status, &HeaderMap::new(), told, model)
}

fn refused(server: &Server, status: StatusCode, headers: &HeaderMap, told: Told, model: &str) -> Error {
    let words = |problem: &str| match told.message.as_str() {
        "" => format!("{} {problem}", server.address()),
        message => format!("{} {problem}: {message}", server.address()),
    };
    if told.is_overflow() {
        let (instance, model) = (server.instance().to_owned(), model.to_owned());
        return match told.lengths.or_else(|| lengths(&told.message)) {
            Some((prompt_tokens, context_size)) => Error::ContextOverflowElsewhere {
                instance,
                model,
                prompt_tokens,
                answer_tokens: answer_tokens(&told.message),
                context_size,
            },
            None => server.error(ErrorKind::ContextOverflow, words("says that the prompt does not fit the context")),
        };
    }
    if told.has(&["content_filter", "content_policy_violation", "moderation"])
        || (status == StatusCode::FORBIDDEN && told.says(&["moderation", "flagged"]))
    {
        return server.error(ErrorKind::ContentFilter, words("refuses the content"));
    }
    if told.has(&["insufficient_quota", "insufficient_balance", "billing"]) {
        return server.error(ErrorKind::Budget, words("says that this account has nothing left"));
    }
    let is_about_models = told.says(&["not found", "not exist", "no such model", "unknown model", "not a valid model"]);
    if told.has(&["model_not_found"]) || (status.is_client_error() && told.says(&["model"]) && is_about_models) {
        return Error::ModelNotFound {
            model: model.to_owned(),
            instances: vec![server.instance().to_owned()],
            near: Vec::new(),
            unreachable: Vec::new(),
        };
    }
    if status == StatusCode::NOT_FOUND {
        let problem = "has nothing there (status 404); `base_url` usually ends with `/v1`";
        return server.error(ErrorKind::InvalidConfig, words(problem));
    }
    let status = match told.has(&["invalid_api_key", "authentication_error"]) {
        true => StatusCode::UNAUTHORIZED,
        false => status,
    };
    server.refusal(status, headers, &told.message)
}

impl Told {
    /// Whether one of these words is its `code` or `type`.
    fn has(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.words.contains(word))
    }

    fn says(&self, words: &[&str]) -> bool {
        let message = self.message.to_lowercase();
        words.iter().any(|word| message.contains(word))
    }

    fn is_overflow(&self) -> bool {
        self.lengths.is_some()
            || self.has(&["context_length_exceeded", "exceed_context_size"])
            || self.says(&[
                "maximum context length",
                "context window",
                "available context size",
                "context length of only",
            ])
    }

    /// The status that an error in a stream would have had.
    fn status(&self) -> StatusCode {
        if self.has(&["rate_limit"]) {
            StatusCode::TOO_MANY_REQUESTS
        } else if self.has(&["overloaded", "unavailable"]) || self.says(&["overloaded"]) {
            StatusCode::SERVICE_UNAVAILABLE
        } else if self.has(&["invalid_request"]) {
            StatusCode::BAD_REQUEST
        } else {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

/// Reads an error of whatever shape.
fn told(error: &Value, secrets: &[String]) -> Told {
    let message = secrets.iter().fold(message(error), |message, secret| message.replace(secret.as_str(), "(key)"));
    let word = |name: &str| match error.get(name) {
        Some(Value::String(word)) => word.to_lowercase(),
        _ => String::new(),
    };
    let count = |name: &str| usize::try_from(error.get(name)?.as_u64()?).ok();
    Told {
        message: printable(&message),
        words: format!("{} {}", word("code"), word("type")),
        lengths: count("n_prompt_tokens").zip(count("n_ctx")),
    }
}

/// A server's words: a text, or what stands under one of the names that they are known to have. Of FastAPI's lists each problem and its
/// place, without the `input`, which repeats the request.
fn message(error: &Value) -> String {
    match error {
        Value::String(text) => text.clone(),
        Value::Array(problems) => {
            problems.iter().map(message).filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; ")
        }
        _ => {
            let words = ["message", "detail", "msg", "error"].into_iter().filter_map(|name| error.get(name));
            let words = words.into_iter().find(|words| !words.is_null()).map(message).unwrap_or_default();
            match error.get("loc") {
                Some(place) => format!("{place} {words}"),
                None => words,
            }
        }
    }
}

/// Text for one line of a terminal.
fn printable(message: &str) -> String {
    let mut printable: String =
        message.split(|c: char| c.is_control()).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = printable.char_indices().nth(MOST_WORDS) {
        printable.truncate(end);
        printable.push('…');
    }
    printable
}

/// Where servers write how long the prompt is, the exact ones first.
const PROMPT: &[&str] = &[
    "resulted in ",
    "request has ",
    "prompt contains ",
    "keep the first ",
    "request (",
    "requested tokens (",
    "you requested ",
];
/// Where they write what the context holds.
const CONTEXT: &[&str] = &[
    "context length is ",
    "context length of only ",
    "context length of ",
    "context window of ",
    "context size (",
    "for model with ",
];
/// Where they tell prompt and answer apart.
const PARTS: &[(&str, &str)] = &[
    (" in the messages", " in the completion"),
    (" of text input", " in the output"),
    (" in your prompt", " for the completion"),
];

/// Tokens of the prompt and of the context, out of a server's words.
fn lengths(message: &str) -> Option<(usize, usize)> {
    let message = message.to_lowercase();
    let after = |markers: &[&str]| markers.iter().find_map(|marker| number_after(&message, marker));
    let alone = PARTS.iter().find_map(|(prompt, _)| number_before(&message, prompt));
    alone.or_else(|| after(PROMPT)).zip(after(CONTEXT))
}

/// Tokens that were asked for as an answer.
fn answer_tokens(message: &str) -> Option<usize> {
    let message = message.to_lowercase();
    PARTS.iter().find_map(|(_, answer)| number_before(&message, answer)).filter(|tokens| *tokens > 0)
}

fn number_after(message: &str, marker: &str) -> Option<usize> {
    let (_, rest) = message.split_once(marker)?;
    let rest = rest.strip_prefix("about ").unwrap_or(rest);
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn number_before(message: &str, marker: &str) -> Option<usize> {
    let (before, _) = message.split_once(marker)?;
    let start = before.rfind(|c: char| !c.is_ascii_digit()).map_or(0, |last| last + 1);
    before.get(start..)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sentences of servers: OpenAI's and DeepSeek's, vLLM's old and new, OpenRouter's, llama-server's, llama-cpp-python's two, Mistral's, LM Studio's.
    #[test]
    fn both_lengths_are_found_in_the_words_of_every_server() {
        for (words, expected, answer) in [
            (
                "This model's maximum context length is 4097 tokens. However, your messages resulted in 5000 tokens. Please reduce the length of the messages.",
                (5000, 4097),
                None,
            ),
            (
                "This model's maximum context length is 4097 tokens. However, you requested 4927 tokens (3927 in the messages, 1000 in the completion).",
                (3927, 4097),
                Some(1000),
            ),
            (
                "'max_tokens' is too large: 3000. This model's maximum context length is 2048 tokens and your request has 30 input tokens (3000 > 2048 - 30).",
                (30, 2048),
                None,
            ),
            (
                "This endpoint's maximum context length is 4096 tokens. However, you requested about 5000 tokens (4900 of text input, 100 in the output).",
                (4900, 4096),
                Some(100),
            ),
            (
                "request (5001 tokens) exceeds the available context size (4096 tokens), try increasing it",
                (5001, 4096),
                None,
            ),
            (
                "This model's maximum context length is 512 tokens, however you requested 617 tokens (601 in your prompt; 16 for the completion).",
                (601, 512),
                Some(16),
            ),
            ("Requested tokens (617) exceed context window of 512", (617, 512), None),
            (
                "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
                (40000, 32768),
                None,
            ),
            (
                "Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded with context length of only 4096 tokens",
                (5000, 4096),
                None,
            ),
        ] {
            assert_eq!(lengths(words), Some(expected), "{words}");
            assert_eq!(answer_tokens(words), answer, "{words}");
            assert!(Told { message: words.to_owned(), ..Told::default() }.is_overflow(), "{words}");
        }
        assert_eq!(lengths("Please reduce the length of the messages or completion."), None);
    }

    #[test]
    fn the_key_is_not_repeated_and_neither_is_the_request() {
        let error = serde_json::json!({ "message": "Incorrect API key provided: sk-planted.\nSee", "type": "x" });
        assert_eq!(told(&error, &["sk-planted".to_owned()]).message, "Incorrect API key provided: (key). See");
        let error =
            serde_json::json!({ "detail": [{ "loc": ["body", "seed"], "msg": "not a number", "input": "secret" }] });
        assert_eq!(told(&error, &[]).message, r#"["body","seed"] not a number"#);
        for body in [
            serde_json::json!({ "detail": [{ "msg": "no such field", "input": "secret" }] }),
            serde_json::json!({ "detail": "no such field" }),
            serde_json::json!({ "detail": { "message": "no such field" } }),
            serde_json::json!({ "message": [{ "msg": "no such field" }] }),
        ] {
            assert_eq!(told(&body, &[]).message, "no such field", "{body}");
        }
    }
}
