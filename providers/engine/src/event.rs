//! What a generation says while it runs: text as it comes, then usage, then the reason it ended.

use std::pin::Pin;
use std::task::{Context, Poll};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::DropGuard;

use crate::chat::ToolCall;
use crate::error::Error;

/// One piece of an answer, or how far it is from one. A stream that does not fail ends with
/// `Usage`, which a server elsewhere may leave out, then `Done`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The model is not in memory and comes there first. The engine itself has its model; a provider says this.
    Loading,
    /// All places are taken and it waits for one. Told again when the position changes, and not to a reader that is behind.
    Queued {
        /// How soon its turn comes: 1 is next. Each session gets the same share of places.
        position: u32,
    },
    /// A model left memory so that this one could come. The engine has but one; a provider says this.
    Dropped(DroppedModel),
    /// Which model is asked, or why one is not. Whoever chooses among providers says this.
    Route(RouteDecision),
    /// Most of a budget is spent. Whoever keeps the ledger says this.
    Budget(BudgetWarning),
    /// How much of a prompt that takes several passes is computed; comes before any of the answer,
    /// and not at all to a reader that is behind.
    Prefill(Prefill),
    /// More of the answer; whole characters only.
    Text(String),
    /// More of what the model thinks before it answers.
    Thinking(String),
    /// How likely a token of the answer was; before what it adds to the answer, and only if asked for.
    Logprobs(TokenLogprobs),
    /// The model asks for a tool.
    ToolCall(ToolCall),
    /// What the generation took; once, just before `Done`.
    Usage(Usage),
    /// Why the generation ended; always last.
    Done(FinishReason),
}

/// How far a prompt is, in tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prefill {
    /// Tokens of the prompt that are computed.
    pub computed_tokens: u32,
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
}

/// A model that left memory without being asked to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DroppedModel {
    /// The name it was asked for by.
    pub name: String,
    /// Why, for people.
    pub reason: String,
    /// Bytes that it was reckoned to take.
    pub memory_bytes: u64,
    /// Seconds since then.
    pub seconds_ago: u64,
}

/// One decision on the way from a request to the model that answers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteDecision {
    /// What was decided.
    pub action: RouteAction,
    /// The model it is about, by its specifier.
    pub model: String,
    /// Why, for people.
    pub reason: String,
    /// The word for the error that led to it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Milliseconds until the model is asked again, for [`RouteAction::Retry`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
    /// The provider instance on whose far side this was decided; `None`: in this process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// What was decided of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteAction {
    /// It is asked. What was said of an answer before is not part of this one.
    Chosen,
    /// It failed and is asked again after a wait.
    Retry,
    /// It failed and the next model of the list is asked.
    Fallback,
    /// It is not asked at all.
    Skipped,
    /// It failed so often that its instance is not asked for a while.
    BreakerOpened,
    /// Its instance answers again.
    BreakerClosed,
    /// It failed, and no other model is asked: the request ends.
    Failed,
}

impl RouteAction {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            RouteAction::Chosen => "chosen",
            RouteAction::Retry => "retry",
            RouteAction::Fallback => "fallback",
            RouteAction::Skipped => "skipped",
            RouteAction::BreakerOpened => "breaker_opened",
            RouteAction::BreakerClosed => "breaker_closed",
            RouteAction::Failed => "failed",
        }
    }
}

/// Most of a budget is spent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetWarning {
    /// What is spent of which limit, and what happens at its end, for people.
    pub message: String,
}

/// How likely a token of the answer was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenLogprobs {
    /// The token that was chosen.
    #[serde(flatten)]
    pub chosen: TokenLogprob,
    /// The likeliest tokens, likeliest first, as many as were asked for; the chosen one may be among them.
    pub top: Vec<TokenLogprob>,
}

/// A token and its probability.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenLogprob {
    /// Its text; part of a character is U+FFFD.
    pub token: String,
    /// Its number in the vocabulary, where the backend tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// Natural logarithm of its probability as the model gave it, before biases, penalties, temperature and filters; -9999 is none.
    pub logprob: f32,
}

/// What a generation took: its tokens, and where whoever keeps the ledger knows them, time and money.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the prompt, after truncation if there was any.
    pub prompt_tokens: u32,
    /// Tokens generated.
    pub completion_tokens: u32,
    /// Tokens of the prompt that were known already and not computed again.
    pub cached_tokens: u32,
    /// Tokens cut from the prompt because it did not fit and `truncate` was asked for.
    #[serde(default)]
    pub truncated_tokens: u32,
    /// Those of the generated tokens that were thinking, where that is told.
    #[serde(default)]
    pub thinking_tokens: u32,
    /// Whether a server elsewhere did not tell the tokens: then only the pieces of the answer are counted, as generated tokens.
    #[serde(default, skip_serializing_if = "is_told")]
    pub untold: bool,
    /// Milliseconds from the request to the first piece of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_token_ms: Option<f64>,
    /// Tokens a second after the first piece; `None` where too little came in too short a time to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_second: Option<f64>,
    /// What that costs, where the price is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
}

/// Whether tokens are told, which needs no word.
fn is_told(untold: &bool) -> bool {
    !untold
}

/// Money.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// US dollars.
    pub usd: f64,
}

/// Why a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model ended its answer, or a stop text appeared.
    Stop,
    /// `max_tokens` or the end of the context was reached.
    Length,
    /// The model ended its answer and asks for tools.
    ToolCalls,
    /// The request was cancelled.
    Cancelled,
}

impl FinishReason {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            FinishReason::Stop => "stop",
            FinishReason::Length => "length",
            FinishReason::ToolCalls => "tool_calls",
            FinishReason::Cancelled => "cancelled",
        }
    }
}

/// The events of one generation; dropping it cancels the generation.
#[derive(Debug)]
pub struct Generation {
    events: mpsc::Receiver<Result<Event, Error>>,
    ended: bool,
    _cancel_on_drop: DropGuard,
}

impl Generation {
    pub(crate) fn new(events: mpsc::Receiver<Result<Event, Error>>, cancel_on_drop: DropGuard) -> Generation {
        Generation { events, ended: false, _cancel_on_drop: cancel_on_drop }
    }

    /// The next event, waiting for it on a thread that is not asynchronous; `None` after the last.
    pub fn blocking_next(&mut self) -> Option<Result<Event, Error>> {
        let event = self.events.blocking_recv();
        self.checked(event)
    }

    /// A stream that ends without its last event means that the engine's thread is gone.
    fn checked(&mut self, event: Option<Result<Event, Error>>) -> Option<Result<Event, Error>> {
        match event {
            None if self.ended => None,
            None => {
                self.ended = true;
                Some(Err(Error::Stopped))
            }
            Some(event) => {
                self.ended = matches!(event, Err(_) | Ok(Event::Done(_)));
                Some(event)
            }
        }
    }
}

impl futures::Stream for Generation {
    type Item = Result<Event, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.events.poll_recv(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(event) => Poll::Ready(self.checked(event)),
        }
    }
}
