//! GGUF files in, tokens out.

mod chat;
mod engine;
mod error;
mod event;
mod gguf;
mod info;
mod request;
mod template;
mod tokenizer;

pub use chat::{ChatMessage, Role, Tool, ToolCall};
pub use engine::{Engine, EngineOptions, Source};
pub use error::Error;
pub use event::{Event, FinishReason, Generation, Usage};
pub use info::ModelInfo;
pub use request::{GenerateOptions, Prompt, Request, Sampling};

/// The bundled model as a GGUF file, when the `moonlet` feature is on.
pub fn moonlet() -> Option<&'static [u8]> {
    #[cfg(feature = "moonlet")]
    return Some(include_bytes!("../moonlet/moonlet-q8_0.gguf"));
    #[cfg(not(feature = "moonlet"))]
    None
}
