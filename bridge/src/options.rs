//! The options that scripts pass to models and agents, and the messages: read by hand, so that a
//! mistake is told with the option, the value and what was expected.

use mlua::{Lua, Table, Value};
use perilune_providers::{
    Biased, ChatMessage, Effort, GenerateOptions, LogitBias, ModelList, Role, Think, Tool, ToolCall,
};
use serde_json::{Map, Value as Json};

use crate::convert::{self, described};
use crate::display::base64;
use crate::documentation::documentation;
use crate::script_error::ScriptError;

/// Names this near to a known one are taken for a slip of it.
const NEAR: f64 = 0.8;

/// What a call asks for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// The models that are asked, one after the other.
    pub(crate) model: Option<ModelList>,
    /// Instructions before the conversation: `system`, or an agent's `system_prompt`.
    pub(crate) system: Option<String>,
    /// Whether the prompt goes to the model as it is, without its chat template.
    pub(crate) raw: bool,
    /// What the model may call.
    pub(crate) tools: Vec<Tool>,
    /// An agent's `prompt`.
    pub(crate) prompt: Option<String>,
    /// Whether an agent's file has beside it what the model computed.
    pub(crate) state: Option<bool>,
    /// Whether another model is asked also after a part of the answer came.
    pub(crate) fallback_after_text: bool,
    pub(crate) generate: GenerateOptions,
}

/// A function that takes options: those of its documentation, which is where their names stand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Accepted {
    /// The function, as errors and its documentation name it.
    pub(crate) function: &'static str,
}

impl Accepted {
    fn names(&self) -> impl Iterator<Item = &'static str> {
        documentation().options(self.function).into_iter().map(|option| option.name.as_str())
    }

    /// Reads a table of options over `base`.
    pub(crate) fn read(&self, lua: &Lua, value: &Value, base: Options) -> Result<Options, ScriptError> {
        let mut options = base;
        self.each(value, "{temperature = 0.5}", |option| option.set(lua, &mut options))?;
        Ok(options)
    }

    /// Calls `set` with every option of a table, like `example`; it says whether there is such an option.
    pub(crate) fn each(
        &self,
        value: &Value,
        example: &str,
        mut set: impl FnMut(&One<'_>) -> Result<bool, ScriptError>,
    ) -> Result<(), ScriptError> {
        let table = match value {
            Value::Nil => return Ok(()),
            Value::Table(table) => table,
            other => {
                return Err(ScriptError::argument(format!(
                    "the options of {} are {}; expected a table like {example}",
                    self.function,
                    described(other)
                )));
            }
        };
        for pair in table.pairs::<Value, Value>() {
            let (key, value) = pair.map_err(|error| ScriptError::argument(error.to_string()))?;
            let Value::String(name) = &key else {
                return Err(ScriptError::argument(format!(
                    "the options of {} have the key {}; expected names of options",
                    self.function,
                    described(&key)
                )));
            };
            let name = name.to_string_lossy();
            let option = One { function: self.function, name: &name, value: &value };
            if !self.names().any(|known| known == name) || !set(&option)? {
                return Err(self.unknown(&name));
            }
        }
        Ok(())
    }

    fn unknown(&self, name: &str) -> ScriptError {
        let nearest = nearest(name, self.names()).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        let known: Vec<String> = self.names().map(|name| format!("`{name}`")).collect();
        ScriptError::argument(format!(
            "unknown option `{name}` of {}{nearest}{}known: {}",
            self.function,
            if nearest.is_empty() { "; " } else { " " },
            known.join(", ")
        ))
    }
}

/// The known name that `name` is most likely a slip of.
fn nearest(name: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    known
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .filter(|(likeness, _)| *likeness >= NEAR)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, known)| known)
}

/// One option as a script wrote it.
pub(crate) struct One<'a> {
    function: &'a str,
    pub(crate) name: &'a str,
    pub(crate) value: &'a Value,
}

impl One<'_> {
    /// Whether there is such an option.
    fn set(&self, lua: &Lua, options: &mut Options) -> Result<bool, ScriptError> {
        let generate = &mut options.generate;
        match self.name {
            "model" => options.model = Some(self.models()?),
            "temperature" => generate.sampling.temperature = Some(self.number()?),
            "top_k" => generate.sampling.top_k = Some(self.count(0)?),
            "top_p" => generate.sampling.top_p = Some(self.number()?),
            "min_p" => generate.sampling.min_p = Some(self.number()?),
            "typical_p" => generate.sampling.typical_p = Some(self.number()?),
            "repeat_penalty" => generate.sampling.repeat_penalty = Some(self.number()?),
            "frequency_penalty" => generate.sampling.frequency_penalty = Some(self.number()?),
            "presence_penalty" => generate.sampling.presence_penalty = Some(self.number()?),
            "logit_bias" => generate.logit_bias = self.biases()?,
            "logprobs" => generate.logprobs = Some(self.count(0)?),
            "max_tokens" => generate.max_tokens = Some(self.count(1)?),
            "seed" => generate.sampling.seed = Some(self.seed()?),
            "stop" => generate.stop = self.texts()?,
            "timeout_seconds" => generate.timeout_seconds = Some(self.seconds()?),
            "truncate" => generate.truncate = self.truth()?,
            "think" => generate.think = Some(self.think()?),
            "schema" => generate.schema = Some(Box::new(self.object(lua)?.into())),
            "extra_body" => generate.extra_body = Some(Box::new(self.object(lua)?)),
            "tools" => options.tools = self.tools(lua)?,
            "fallback_after_text" => options.fallback_after_text = self.truth()?,
            "state" => options.state = Some(self.truth()?),
            "raw" => options.raw = self.truth()?,
            "system" | "system_prompt" => options.system = Some(self.text()?),
            "prompt" => options.prompt = Some(self.text()?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub(crate) fn wrong(&self, expected: &str) -> ScriptError {
        ScriptError::argument(format!(
            "option `{}` of {} is {}; expected {expected}",
            self.name,
            self.function,
            described(self.value)
        ))
    }

    /// A model, or a list of them.
    fn models(&self) -> Result<ModelList, ScriptError> {
        let texts = self.texts()?;
        if texts.is_empty() {
            return Err(self.wrong("a model's name or a list of at least one"));
        }
        texts.join(",").parse().map_err(|error: perilune_providers::SpecifierError| {
            ScriptError::from(perilune_providers::Error::from(error))
        })
    }

    fn number(&self) -> Result<f32, ScriptError> {
        match self.value {
            Value::Integer(number) => Ok(*number as f32),
            Value::Number(number) if number.is_finite() => Ok(*number as f32),
            _ => Err(self.wrong("a number")),
        }
    }

    fn seconds(&self) -> Result<f64, ScriptError> {
        let seconds = match self.value {
            Value::Integer(number) => *number as f64,
            Value::Number(number) => *number,
            _ => 0.0,
        };
        if seconds > 0.0 && seconds.is_finite() { Ok(seconds) } else { Err(self.wrong("a number of seconds above 0")) }
    }

    fn count(&self, least: u32) -> Result<u32, ScriptError> {
        whole(self.value)
            .and_then(|count| u32::try_from(count).ok())
            .filter(|count| *count >= least)
            .ok_or_else(|| self.wrong(&format!("a whole number from {least} to {}", u32::MAX)))
    }

    fn seed(&self) -> Result<u64, ScriptError> {
        whole(self.value)
            .and_then(|seed| u64::try_from(seed).ok())
            .ok_or_else(|| self.wrong("a whole number from 0 on"))
    }

    pub(crate) fn truth(&self) -> Result<bool, ScriptError> {
        match self.value {
            Value::Boolean(truth) => Ok(*truth),
            _ => Err(self.wrong("true or false")),
        }
    }

    fn think(&self) -> Result<Think, ScriptError> {
        let effort = |text: &[u8]| match text {
            b"low" => Some(Effort::Low),
            b"medium" => Some(Effort::Medium),
            b"high" => Some(Effort::High),
            _ => None,
        };
        let think = match self.value {
            Value::Boolean(thinks) => Some(Think::Is(*thinks)),
            Value::String(text) => effort(&text.as_bytes()).map(Think::Effort),
            _ => None,
        };
        think.ok_or_else(|| self.wrong("true, false, \"low\", \"medium\" or \"high\""))
    }

    pub(crate) fn text(&self) -> Result<String, ScriptError> {
        match self.value {
            Value::String(text) => utf8(text).ok_or_else(|| self.wrong("UTF-8 text")),
            _ => Err(self.wrong("a string")),
        }
    }

    /// A table from tokens or texts to numbers, in the order of their names: a table has none.
    fn biases(&self) -> Result<Vec<LogitBias>, ScriptError> {
        let expected = "a table from texts or token numbers to numbers, like {[\" Paris\"] = 5}";
        let Value::Table(table) = self.value else {
            return Err(self.wrong(expected));
        };
        let mut biases = Vec::new();
        for pair in table.pairs::<Value, Value>() {
            let (key, value) = pair.map_err(|error| ScriptError::argument(error.to_string()))?;
            let token = match &key {
                Value::String(text) => utf8(text).map(Biased::Text),
                key => whole(key).and_then(|id| u32::try_from(id).ok()).map(Biased::Id),
            };
            let bias = match value {
                Value::Integer(number) => Some(number as f32),
                Value::Number(number) => Some(number as f32),
                _ => None,
            };
            let (Some(token), Some(bias)) = (token, bias) else {
                return Err(self.wrong(expected));
            };
            biases.push(LogitBias { token, bias });
        }
        biases.sort_by_key(|bias| format!("{:?}", bias.token));
        Ok(biases)
    }

    /// A table that is a JSON object.
    fn object(&self, lua: &Lua) -> Result<Map<String, Json>, ScriptError> {
        const WANTED: &str = "a table with names, which is a JSON object";
        if !matches!(self.value, Value::Table(_)) {
            return Err(self.wrong(WANTED));
        }
        match convert::to_json(lua, self.value, self.name)? {
            Json::Object(object) => Ok(object),
            _ => Err(self.wrong(WANTED)),
        }
    }

    fn tools(&self, lua: &Lua) -> Result<Vec<Tool>, ScriptError> {
        if !matches!(self.value, Value::Table(_)) {
            return Err(self.wrong("a list of {name, description, parameters}"));
        }
        let json = convert::to_json(lua, self.value, "tools")?;
        serde_json::from_value(json)
            .map_err(|error| self.wrong(&format!("a list of {{name, description, parameters}} ({error})")))
    }

    /// A string, or a list of them.
    fn texts(&self) -> Result<Vec<String>, ScriptError> {
        let expected = "a string or a list of strings";
        match self.value {
            Value::Table(table) => {
                if table.pairs::<Value, Value>().count() != table.raw_len() {
                    return Err(self.wrong(expected));
                }
                (1..=table.raw_len())
                    .map(|index| match table.raw_get(index) {
                        Ok(Value::String(text)) => utf8(&text).ok_or_else(|| self.wrong(expected)),
                        _ => Err(self.wrong(expected)),
                    })
                    .collect()
            }
            Value::String(_) => Ok(vec![self.text()?]),
            _ => Err(self.wrong(expected)),
        }
    }
}

/// A list of pictures, each as the bytes of its file or as base64 of them, as base64.
fn pictures(value: &Value) -> Option<Vec<String>> {
    let Value::Table(table) = value else { return None };
    if table.pairs::<Value, Value>().count() != table.raw_len() {
        return None;
    }
    let one = |index| match table.raw_get(index) {
        Ok(Value::String(bytes)) if base64::is_encoded(&bytes.as_bytes()) => utf8(&bytes),
        Ok(Value::String(bytes)) => Some(base64::encode(&bytes.as_bytes())),
        _ => None,
    };
    (1..=table.raw_len()).map(one).collect()
}

pub(crate) fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Integer(number) => Some(*number),
        Value::Number(number) if number.fract() == 0.0 && number.abs() < 2f64.powi(53) => Some(*number as i64),
        _ => None,
    }
}

fn utf8(text: &mlua::LuaString) -> Option<String> {
    String::from_utf8(text.as_bytes().to_vec()).ok()
}

/// A prompt: a string.
pub(crate) fn prompt(value: &Value, function: &str) -> Result<String, ScriptError> {
    match value {
        Value::String(text) => {
            utf8(text).ok_or_else(|| ScriptError::argument(format!("the prompt of {function} is no UTF-8 text")))
        }
        other => {
            Err(ScriptError::argument(format!("the prompt of {function} is {}; expected a string", described(other))))
        }
    }
}

/// Texts: a string or a list of them.
pub(crate) fn texts(value: &Value, function: &str) -> Result<Vec<String>, ScriptError> {
    let list = match value {
        Value::String(_) => return Ok(vec![prompt(value, function)?]),
        Value::Table(list) if list.pairs::<Value, Value>().count() == list.raw_len() => list,
        other => {
            return Err(ScriptError::argument(format!(
                "the texts of {function} are {}; expected a string or a list of strings",
                described(other)
            )));
        }
    };
    (1..=list.raw_len())
        .map(|index| {
            let text = list.raw_get(index).map_err(|error| ScriptError::argument(error.to_string()))?;
            prompt(&text, &format!("{function}, text {index},"))
        })
        .collect()
}

/// The path of a file: a string.
pub(crate) fn path(value: &Value, function: &str) -> Result<String, ScriptError> {
    let text = match value {
        Value::String(text) => utf8(text),
        _ => None,
    };
    text.ok_or_else(|| {
        ScriptError::argument(format!("the path of {function} is {}; expected a string", described(value)))
    })
}

/// The messages of a conversation: a list of them, or a string for what the user says.
pub(crate) fn messages(lua: &Lua, value: &Value, function: &str) -> Result<Vec<ChatMessage>, ScriptError> {
    let table = match value {
        Value::String(_) => return Ok(vec![ChatMessage::user(prompt(value, function)?)]),
        Value::Table(table) => table,
        other => {
            return Err(ScriptError::argument(format!(
                "the messages of {function} are {}; expected a string or a list like \
                 {{{{role = \"user\", content = \"...\"}}}}",
                described(other)
            )));
        }
    };
    let length = table.raw_len();
    if length == 0 || table.pairs::<Value, Value>().count() != length {
        return Err(ScriptError::argument(format!(
            "the messages of {function} are no list of messages; expected one like \
             {{{{role = \"user\", content = \"...\"}}}}"
        )));
    }
    (1..=length)
        .map(|index| match table.raw_get(index) {
            Ok(Value::Table(message)) => message_of(lua, &message, index),
            Ok(other) => Err(ScriptError::argument(format!(
                "messages[{index}] is {}; expected a table with `role` and `content`",
                described(&other)
            ))),
            Err(error) => Err(ScriptError::argument(error.to_string())),
        })
        .collect()
}

const MESSAGE_FIELDS: [&str; 6] = ["role", "content", "images", "name", "tool_call_id", "tool_calls"];

fn message_of(lua: &Lua, table: &Table, index: usize) -> Result<ChatMessage, ScriptError> {
    let mut role = None;
    let mut message = ChatMessage::user("");
    let mut content = false;
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair.map_err(|error| ScriptError::argument(error.to_string()))?;
        let name = match &key {
            Value::String(name) => name.to_string_lossy(),
            other => described(other),
        };
        let text = || match &value {
            Value::String(text) => utf8(text),
            _ => None,
        };
        let wrong = |expected: &str| {
            ScriptError::argument(format!("messages[{index}].{name} is {}; expected {expected}", described(&value)))
        };
        match name.as_str() {
            "role" => {
                let expected = "\"system\", \"user\", \"assistant\" or \"tool\"";
                let named = text().ok_or_else(|| wrong(expected))?;
                let roles = [Role::System, Role::User, Role::Assistant, Role::Tool];
                let known = roles.into_iter().find(|role| role.as_str() == named);
                role = Some(known.ok_or_else(|| wrong(expected))?);
            }
            "content" => {
                message.content = text().ok_or_else(|| wrong("UTF-8 text"))?;
                content = true;
            }
            "images" => message.images = pictures(&value).ok_or_else(|| wrong("a list of the bytes of pictures"))?,
            "name" => message.name = Some(text().ok_or_else(|| wrong("a string"))?),
            "tool_call_id" => message.tool_call_id = Some(text().ok_or_else(|| wrong("a string"))?),
            "tool_calls" => {
                let json = convert::to_json(lua, &value, &format!("messages[{index}].tool_calls"))?;
                message.tool_calls = serde_json::from_value::<Vec<ToolCall>>(json)
                    .map_err(|error| wrong(&format!("a list of {{id, name, arguments}} ({error})")))?;
            }
            _ => {
                let near = nearest(&name, MESSAGE_FIELDS.into_iter())
                    .map(|near| format!("; did you mean `{near}`?"))
                    .unwrap_or_default();
                return Err(ScriptError::argument(format!("messages[{index}] has the unknown field `{name}`{near}")));
            }
        }
    }
    message.role = role.ok_or_else(|| {
        ScriptError::argument(format!(
            "messages[{index}] has no `role`; expected \"system\", \"user\", \"assistant\" or \"tool\""
        ))
    })?;
    if !content && message.tool_calls.is_empty() {
        return Err(ScriptError::argument(format!("messages[{index}] has no `content`; expected a string")));
    }
    Ok(message)
}
