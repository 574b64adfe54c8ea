//! The handle callers hold: loads a model, starts its thread, sends requests to it.

use std::path::PathBuf;

use crate::chat::{ChatMessage, Tool};
use crate::error::Error;
use crate::event::Generation;
use crate::info::ModelInfo;
use crate::request::Request;

/// Where a model's bytes are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A GGUF file, which is memory-mapped.
    File(PathBuf),
    /// A GGUF file compiled into the binary.
    Bundled(&'static [u8]),
}

/// How a model is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineOptions {
    /// Tokens one sequence may hold; default: what the model was trained on.
    pub context_size: Option<usize>,
    /// Threads that compute; default: the processors this process may use.
    pub cpu_threads: Option<usize>,
    /// Sequences that run at once; the others wait.
    pub max_concurrent: usize,
}

impl Default for EngineOptions {
    fn default() -> EngineOptions {
        EngineOptions { context_size: None, cpu_threads: None, max_concurrent: 8 }
    }
}

/// A loaded model. Clones share it; its thread ends when the last is dropped.
#[derive(Clone, Debug)]
pub struct Engine {}

impl Engine {
    /// Loads a model; blocks for as long as that takes.
    pub fn load(_source: &Source, _options: &EngineOptions) -> Result<Engine, Error> {
        Err(Error::Stopped)
    }

    /// Facts about the model.
    pub fn info(&self) -> &ModelInfo {
        unreachable!()
    }

    /// Starts a generation; returns at once.
    pub fn generate(&self, _request: Request) -> Generation {
        unreachable!()
    }

    /// Forward passes run so far; stops rising once nothing is generating.
    pub fn steps(&self) -> u64 {
        0
    }

    /// The tokens of a raw text, as [`crate::Prompt::Raw`] would be read.
    pub fn tokenize(&self, _text: &str) -> Vec<u32> {
        Vec::new()
    }

    /// The text the model would see for a conversation.
    pub fn render(&self, _messages: &[ChatMessage], _tools: &[Tool]) -> Result<String, Error> {
        Err(Error::NoChatTemplate)
    }
}
