//! An agent in a file: its model, instructions, options and conversation, as JSON; beside it, where that is asked for, a
//! state: what the model computed of the conversation. Each is replaced whole or not at all, and for its owner's eyes.

use std::fs::{self, OpenOptions};
use std::io::{Error, ErrorKind, Write};
use std::path::{Path, PathBuf};

use perilune_providers::{ChatMessage, ErrorKind as Kind, Event, GenerateOptions, Prompt, StateInfo, StateRequest};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Agent, Conversation, Kept};
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
    /// What the file beside it holds, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<StateInfo>,
}

/// What a file told of an agent.
pub(super) struct Loaded {
    pub(super) options: Options,
    pub(super) conversation: Conversation,
    pub(super) has_state: bool,
}

/// Writes an agent, and before it the state that somebody wants beside it.
pub(super) async fn save(agent: &Agent, path: &str, state: Option<(Kept, Prompt)>) -> Result<(), ScriptError> {
    let failed = |error: Error| ScriptError::argument(format!("cannot save the agent to `{path}`: {error}"));
    let file = Path::new(path);
    let options = &agent.0.options;
    let mut saved = Saved {
        format: FORMAT.to_owned(),
        version: VERSION,
        model: options.model.as_ref().map(ToString::to_string),
        system_prompt: options.system.clone(),
        options: options.generate.clone(),
        messages: agent.0.conversation.borrow().clone(),
        state: None,
    };
    let before = read(path).is_ok_and(|before| before.state.is_some());
    if let Some((kept, prompt)) = state {
        saved.state = Some(compute(kept, prompt, beside(file)).await?);
    }
    let text = serde_json::to_vec_pretty(&saved).map_err(Error::other);
    text.and_then(|text| replace(file, &text)).map_err(failed)?;
    if before && saved.state.is_none() {
        // The agent that it belonged to is gone; that it is gone already is as good.
        let _ = fs::remove_file(beside(file));
    }
    Ok(())
}

/// Has the model write a state.
async fn compute(mut kept: Kept, prompt: Prompt, path: PathBuf) -> Result<StateInfo, ScriptError> {
    let resolved = kept.resolve().await?;
    let request = StateRequest { session: kept.session.clone(), model: resolved.model, prompt, path };
    let written = kept.live.during(resolved.provider.save_state(request)).await;
    let written = written.inspect_err(|_| kept.live.failed())?;
    kept.live.ended();
    Ok(written)
}

/// Has the model of an agent take up the state beside the agent's file.
pub(super) async fn restore(path: &str, kept: &mut Kept) -> Result<(), ScriptError> {
    let resolved = kept.resolve().await?;
    kept.live.heard(&Event::Loading);
    let state = beside(Path::new(path));
    let read = resolved.provider.restore_state(&kept.session, &resolved.model, &state);
    let restored = kept.live.during(read).await.inspect_err(|_| kept.live.failed());
    restored.map_err(|error| match error.kind() {
        // The model is there, its state is what is wrong.
        Kind::InvalidRequest => ScriptError::argument(format!(
            "{error}; `Agent.load(path, {{state = false}})` goes without it, and the conversation is computed again"
        )),
        _ => error.into(),
    })?;
    kept.live.ended();
    Ok(())
}

/// The file of the state that belongs to an agent's file.
fn beside(path: &Path) -> PathBuf {
    let mut state = path.as_os_str().to_owned();
    state.push(".state");
    state.into()
}

/// Reads what [`save`] wrote.
pub(super) fn load(path: &str) -> Result<Loaded, ScriptError> {
    let wrong = |problem: String| ScriptError::argument(format!("cannot load an agent from `{path}`: {problem}"));
    let saved = read(path).map_err(wrong)?;
    if saved.format != FORMAT || saved.version != VERSION {
        let found = format!("it is `{}` version {}", saved.format, saved.version);
        return Err(wrong(format!("{found}; expected `{FORMAT}` version {VERSION}")));
    }
    let model = match saved.model.map(|model| model.parse()).transpose() {
        Ok(model) => model,
        Err(error) => return Err(perilune_providers::Error::from(error).into()),
    };
    let options = Options { model, system: saved.system_prompt, generate: saved.options, ..Options::default() };
    Ok(Loaded { options, conversation: saved.messages, has_state: saved.state.is_some() })
}

fn read(path: &str) -> Result<Saved, String> {
    let text = fs::read(path).map_err(|error| error.to_string())?;
    serde_json::from_slice(&text).map_err(|error| format!("{error}; expected a file that agent:save has written"))
}

fn replace(path: &Path, text: &[u8]) -> Result<(), Error> {
    let name = path.file_name().ok_or_else(|| Error::new(ErrorKind::InvalidInput, "it names no file"))?;
    let temporary = path.with_file_name(format!(".{}.{}", name.to_string_lossy(), Uuid::new_v4()));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&temporary).and_then(|mut file| file.write_all(text));
    let written = written.and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // It may not be there at all; the first error is the one to tell.
        let _ = fs::remove_file(&temporary);
    }
    written
}
