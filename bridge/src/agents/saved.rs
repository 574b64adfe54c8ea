//! An agent in a file: its model, instructions, options and conversation, as JSON. A file is replaced whole or not at all.

use std::fs;
use std::io::{Error, ErrorKind};
use std::path::Path;

use perilune_providers::{ChatMessage, GenerateOptions};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Agent, Conversation};
use crate::options::Options;
use crate::script_error::ScriptError;

/// What tells such a file from others, and the one version there is.
const FORMAT: &str = "perilune agent";
const VERSION: u32 = 1;

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    format: String,
    version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    system_prompt: Option<String>,
    options: GenerateOptions,
    messages: Vec<ChatMessage>,
}

/// Writes an agent.
pub(super) fn save(agent: &Agent, path: &str) -> Result<(), ScriptError> {
    let options = &agent.0.options;
    let saved = Saved {
        format: FORMAT.to_owned(),
        version: VERSION,
        model: options.model.as_ref().map(ToString::to_string),
        system_prompt: options.system.clone(),
        options: options.generate.clone(),
        messages: agent.0.conversation.borrow().clone(),
    };
    let text = serde_json::to_vec_pretty(&saved).map_err(Error::other);
    text.and_then(|text| replace(Path::new(path), &text))
        .map_err(|error| ScriptError::argument(format!("cannot save the agent to `{path}`: {error}")))
}

/// Reads what [`save`] wrote.
pub(super) fn load(path: &str) -> Result<(Options, Conversation), ScriptError> {
    let wrong = |problem: String| ScriptError::argument(format!("cannot load an agent from `{path}`: {problem}"));
    let text = fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let saved: Saved = serde_json::from_slice(&text)
        .map_err(|error| wrong(format!("{error}; expected a file that agent:save has written")))?;
    if saved.format != FORMAT || saved.version != VERSION {
        let found = format!("it is `{}` version {}", saved.format, saved.version);
        return Err(wrong(format!("{found}; expected `{FORMAT}` version {VERSION}")));
    }
    let model = match saved.model.map(|model| model.parse()).transpose() {
        Ok(model) => model,
        Err(error) => return Err(perilune_providers::Error::from(error).into()),
    };
    let options = Options { model, system: saved.system_prompt, generate: saved.options, ..Options::default() };
    Ok((options, saved.messages))
}

fn replace(path: &Path, text: &[u8]) -> Result<(), Error> {
    let name = path.file_name().ok_or_else(|| Error::new(ErrorKind::InvalidInput, "it names no file"))?;
    let temporary = path.with_file_name(format!(".{}.{}", name.to_string_lossy(), Uuid::new_v4()));
    let written = fs::write(&temporary, text).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // It may not be there at all; the first error is the one to tell.
        let _ = fs::remove_file(&temporary);
    }
    written
}
