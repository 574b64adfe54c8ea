//! GGUF files in, tokens out. In reading order:
//!
//! - `engine`: the handle callers hold; loads a model and starts its threads
//! - `chat`, `request`, `event`, `info`, `facts`, `error`: the words callers and engine share
//! - `gguf`: the model file, every length checked before it is believed
//! - `tokenizer`, `template`: text and conversations to tokens and back, from the file's metadata alone
//! - `prepare`: requests to jobs, on a thread of its own
//! - `places`: how many requests may wait, and what part of them a session's may be
//! - `scheduler`: the engine thread, which advances all sequences together
//! - `proportions`: models that would take far more memory than their files have bytes
//! - `description`, `decoder`, `threads`: what the model is, and its forward pass on the CPU
//! - `kernels`: the products and sums that take nearly all of the time
//! - `sampler`, `answer`: logits to the next token, tokens to events
//! - `state`: what was computed of a prompt, in a file
//! - `bench`, `synthetic`: how fast a model runs here, and models to measure with
//!
//! It knows no backends, and of a session only its name; it opens no socket, and computes nothing while nobody generates.

mod answer;
mod bench;
mod chat;
mod decoder;
mod description;
mod engine;
mod error;
mod event;
mod facts;
mod gguf;
mod info;
mod kernels;
mod places;
mod prepare;
mod proportions;
mod request;
mod sampler;
mod scheduler;
mod state;
mod synthetic;
mod template;
mod threads;
mod tokenizer;

pub use answer::WrittenAnswer;
pub use bench::{Bench, BenchOptions};
pub use chat::{ChatMessage, Role, Tool, ToolCall};
pub use decoder::CacheType;
pub use engine::{Embedding, Engine, EngineOptions, Source};
pub use error::Error;
pub use event::{
    BudgetWarning, Cost, DroppedModel, Event, FinishReason, Generation, Prefill, RouteAction, RouteDecision,
    TokenLogprob, TokenLogprobs, Usage,
};
pub use facts::Facts;
pub use info::ModelInfo;
pub use places::{NoPlace, Place, Places};
pub use request::{Biased, Effort, GenerateOptions, LogitBias, Prompt, Request, Sampling, Think};
pub use state::StateInfo;
pub use synthetic::Synthetic;

/// The bundled model as a GGUF file, when the `moonlet` feature is on.
pub fn moonlet() -> Option<&'static [u8]> {
    #[cfg(feature = "moonlet")]
    {
        static MOONLET: &Aligned<[u8]> = &Aligned(*include_bytes!("../moonlet/moonlet-q8_0.gguf"));
        Some(&MOONLET.0)
    }
    #[cfg(not(feature = "moonlet"))]
    None
}

/// Bytes at an address that suits any tensor type.
#[cfg(feature = "moonlet")]
#[repr(C, align(64))]
struct Aligned<Bytes: ?Sized>(Bytes);
