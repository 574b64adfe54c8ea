//! Reads tool calls out of text that is still growing, in each of the forms that models write them in.

use serde_json::{Map, Value};

use super::format::CallForm;
use super::json::{Extent, extent, is_in_string};

/// What a text that may be a call has turned out to be.
#[derive(Debug, PartialEq)]
pub(super) enum Reading {
    /// That cannot be told yet.
    GoesOn,
    /// Its first `length` bytes are these calls.
    Calls { calls: Vec<Call>, length: usize },
    /// What stands here is no call.
    Text,
}

/// A call as a model wrote it.
#[derive(Debug, PartialEq)]
pub(super) struct Call {
    pub(super) name: String,
    pub(super) arguments: Value,
    pub(super) id: Option<String>,
}

impl CallForm {
    /// What opens a call in the middle of an answer.
    pub(super) fn marker(self) -> Option<&'static str> {
        match self {
            CallForm::Tagged => Some("<tool_call>"),
            CallForm::Mistral => Some("[TOOL_CALLS]"),
            CallForm::Llama => Some("<|python_tag|>"),
            CallForm::Json => None,
        }
    }

    /// Whether a call may stand without a marker where an answer begins, or right after another call.
    pub(super) fn goes_without(self) -> bool {
        matches!(self, CallForm::Llama | CallForm::Json)
    }

    /// Reads what comes right after the marker.
    pub(super) fn read(self, body: &str) -> Reading {
        match self {
            CallForm::Tagged => tagged(body),
            CallForm::Mistral => mistral(body),
            CallForm::Llama | CallForm::Json => value(body),
        }
    }
}

/// Reads an answer, or the rest of one, that begins without a marker. Only calls of `tools` are calls: an answer in JSON may have a
/// name of its own.
pub(super) fn read_bare(text: &str, tools: &[String]) -> Reading {
    let begun = text.trim_start();
    let blank = text.len() - begun.len();
    if let Some(fenced) = begun.strip_prefix("```") {
        return known(fenced_value(fenced, blank + "```".len()), tools);
    }
    if begun.is_empty() || "```".starts_with(begun) {
        return Reading::GoesOn;
    }
    known(shifted(value(begun), blank), tools)
}

/// The value in a fence that was opened at byte `start` of the text.
fn fenced_value(fenced: &str, start: usize) -> Reading {
    let Some(end_of_line) = fenced.find('\n') else {
        let may_be = "json".starts_with(fenced.trim()) || fenced.trim() == "json";
        return if may_be { Reading::GoesOn } else { Reading::Text };
    };
    if !matches!(fenced[..end_of_line].trim(), "" | "json") {
        return Reading::Text;
    }
    let inside = &fenced[end_of_line + 1..];
    let Some(close) = inside.find("```") else {
        // A fence that holds something else is let go as soon as that shows.
        let begun = inside.trim_start();
        return match extent(begun) {
            Extent::Not => Reading::Text,
            _ => Reading::GoesOn,
        };
    };
    match calls(inside[..close].trim()) {
        Some(calls) => Reading::Calls { calls, length: start + end_of_line + 1 + close + "```".len() },
        None => Reading::Text,
    }
}

fn known(reading: Reading, tools: &[String]) -> Reading {
    match reading {
        Reading::Calls { calls, .. } if calls.iter().any(|call| !tools.contains(&call.name)) => Reading::Text,
        reading => reading,
    }
}

fn shifted(reading: Reading, by: usize) -> Reading {
    match reading {
        Reading::Calls { calls, length } => Reading::Calls { calls, length: length + by },
        reading => reading,
    }
}

/// A body up to its closing tag; one inside a string closes nothing.
fn tagged(body: &str) -> Reading {
    const CLOSE: &str = "</tool_call>";
    let mut closes = body.match_indices(CLOSE).map(|(start, _)| start);
    let Some(end) = closes.find(|end| !is_in_string(&body[..*end])) else {
        return Reading::GoesOn;
    };
    let length = end + CLOSE.len();
    calls(&body[..end]).map_or(Reading::Text, |calls| Reading::Calls { calls, length })
}

/// A list of calls, or names each with an object, with or without `[CALL_ID]` and `[ARGS]` between.
fn mistral(body: &str) -> Reading {
    const ID: &str = "[CALL_ID]";
    const ARGUMENTS: &str = "[ARGS]";
    /// The longest name and id that are waited for, in bytes.
    const LONGEST_HEAD: usize = 512;
    let begun = body.trim_start();
    let blank = body.len() - begun.len();
    if begun.starts_with('[') {
        return value(body);
    }
    let brace = begun.find('{');
    let head = &begun[..brace.unwrap_or(begun.len())];
    if head.len() > LONGEST_HEAD || head.contains(['\n', '}', '"']) {
        return Reading::Text;
    }
    let Some(brace) = brace else {
        return Reading::GoesOn;
    };
    let head = head.trim_end();
    let head = head.strip_suffix(ARGUMENTS).unwrap_or(head);
    let (name, id) = head.split_once(ID).map_or((head, None), |(name, id)| (name, Some(id.trim().to_owned())));
    let name = name.trim_end();
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || "[]".contains(c)) {
        return Reading::Text;
    }
    match extent(&begun[brace..]) {
        Extent::GoesOn => Reading::GoesOn,
        Extent::Not => Reading::Text,
        Extent::Ends(end) => {
            let length = blank + brace + end;
            match serde_json::from_str(&begun[brace..brace + end]) {
                Ok(arguments) => Reading::Calls { calls: vec![Call { name: name.to_owned(), arguments, id }], length },
                Err(_) => Reading::Text,
            }
        }
    }
}

/// An object or a list.
fn value(body: &str) -> Reading {
    let blank = body.len() - body.trim_start().len();
    match extent(&body[blank..]) {
        Extent::GoesOn => Reading::GoesOn,
        Extent::Not => Reading::Text,
        Extent::Ends(end) => {
            let length = blank + end;
            calls(&body[blank..length]).map_or(Reading::Text, |calls| Reading::Calls { calls, length })
        }
    }
}

/// The calls that a JSON text says, if it is one of calls and nothing else.
fn calls(json: &str) -> Option<Vec<Call>> {
    let value: Value = serde_json::from_str(json).ok()?;
    match value {
        Value::Object(mut object) => match object.remove("tool_calls") {
            Some(Value::Array(list)) => all(list),
            Some(_) => None,
            None => match object.remove("tool_call") {
                Some(Value::Object(inner)) => Some(vec![call(inner)?]),
                Some(_) => None,
                None => Some(vec![call(object)?]),
            },
        },
        Value::Array(list) => all(list),
        _ => None,
    }
}

fn all(list: Vec<Value>) -> Option<Vec<Call>> {
    let calls: Option<Vec<Call>> = list
        .into_iter()
        .map(|value| match value {
            Value::Object(object) => call(object),
            _ => None,
        })
        .collect();
    calls.filter(|calls| !calls.is_empty())
}

/// `{name, arguments | parameters, id?}`, or the same under `function`.
fn call(mut object: Map<String, Value>) -> Option<Call> {
    let id = match object.remove("id") {
        Some(Value::String(id)) if !id.is_empty() => Some(id),
        _ => None,
    };
    if let Some(Value::Object(function)) = object.remove("function") {
        object = function;
    }
    let Some(Value::String(name)) = object.remove("name") else {
        return None;
    };
    let arguments = object.remove("arguments").or_else(|| object.remove("parameters"));
    let arguments = match arguments {
        None | Some(Value::Null) => Value::Object(Map::new()),
        Some(Value::String(json)) => serde_json::from_str(&json).ok()?,
        Some(arguments) => arguments,
    };
    arguments.is_object().then_some(Call { name, arguments, id })
}
