//! A generation of an Ollama as a stream of events: a line is an event or several, and the line that says `done` ends it.

use std::collections::VecDeque;

use futures::StreamExt;
use futures::stream;
use perilune_engine::{Event, FinishReason, TokenLogprob, TokenLogprobs, ToolCall, Usage};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::client::OllamaClient;
use super::wire::{Call, Logprob, Piece, Said};
use crate::error::{Error, ErrorKind};
use crate::http::Lines;
use crate::provider::EventStream;

/// What is asked: a path of the server, and the body of the request.
pub(super) struct Asked {
    pub(super) model: String,
    pub(super) path: &'static str,
    pub(super) body: Value,
    /// Whether there are pictures in it.
    pub(super) has_images: bool,
}

/// The stream. Nothing is asked before it is polled; cancelling it closes the connection, on which the server stops computing.
pub(super) fn stream(client: OllamaClient, asked: Asked, cancel: CancellationToken) -> EventStream {
    let answer = Answer { stage: Stage::Planned, ready: VecDeque::new(), calls: 0, client, asked, cancel };
    stream::unfold(answer, |mut answer| async move { Some((answer.next().await?, answer)) }).boxed()
}

struct Answer {
    client: OllamaClient,
    asked: Asked,
    cancel: CancellationToken,
    stage: Stage,
    ready: VecDeque<Event>,
    /// Tools that were called so far.
    calls: usize,
}

enum Stage {
    Planned,
    Running(Box<Lines>),
    Ended,
}

impl Answer {
    async fn next(&mut self) -> Option<Result<Event, Error>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(Ok(event));
            }
            if matches!(self.stage, Stage::Ended) {
                return None;
            }
            let cancel = self.cancel.clone();
            let piece = tokio::select! {
                biased;
                () = cancel.cancelled() => None,
                piece = self.piece() => Some(piece),
            };
            match piece {
                // Ollama tells nobody who has left what it took.
                None => self.end(None, FinishReason::Cancelled),
                Some(Ok(piece)) => self.read(piece),
                Some(Err(error)) => {
                    self.stage = Stage::Ended;
                    return Some(Err(error));
                }
            }
        }
    }

    /// The next line.
    async fn piece(&mut self) -> Result<Piece, Error> {
        let Asked { model, path, body, has_images } = &self.asked;
        if let Stage::Planned = self.stage {
            if *has_images && !self.client.show(model).await?.can("vision") {
                // Ollama would leave them out without a word.
                let problem =
                    format!("model `{model}` cannot see: `images` are for models with the capability `vision`");
                return Err(self.client.error(ErrorKind::InvalidRequest, problem));
            }
            let lines = self.client.generate(path, body).await;
            self.stage = Stage::Running(Box::new(self.client.with_more(model, lines).await?));
        }
        match &mut self.stage {
            Stage::Running(lines) => self.client.next(lines).await?.ok_or_else(|| self.client.cut_short("done")),
            _ => Err(self.client.cut_short("done")),
        }
    }

    fn read(&mut self, piece: Piece) {
        let logprobs = piece.logprobs.unwrap_or_default();
        self.ready.extend(logprobs.into_iter().map(token_logprobs).map(Event::Logprobs));
        self.hear(piece.generated);
        self.hear(piece.message.unwrap_or_default());
        if !piece.done {
            return;
        }
        // Zeros are left out.
        let usage = Usage {
            prompt_tokens: piece.prompt_eval_count.unwrap_or_default(),
            completion_tokens: piece.eval_count.unwrap_or_default(),
            ..Usage::default()
        };
        let told = piece.prompt_eval_count.is_some() || piece.eval_count.is_some();
        let reason = match piece.done_reason.as_deref() {
            Some("length") => FinishReason::Length,
            _ if self.calls > 0 => FinishReason::ToolCalls,
            _ => FinishReason::Stop,
        };
        self.end(told.then_some(usage), reason);
    }

    fn hear(&mut self, said: Said) {
        let something = |text: Option<String>| text.filter(|text| !text.is_empty());
        self.ready.extend(something(said.thinking).map(Event::Thinking));
        self.ready.extend(something(said.content).map(Event::Text));
        for call in said.tool_calls.unwrap_or_default() {
            self.ready.push_back(Event::ToolCall(tool_call(call, self.calls)));
            self.calls += 1;
        }
    }

    /// Drops the connection, if there still is one.
    fn end(&mut self, usage: Option<Usage>, reason: FinishReason) {
        self.stage = Stage::Ended;
        self.ready.extend(usage.map(Event::Usage));
        self.ready.push_back(Event::Done(reason));
    }
}

/// Servers before 0.12 give calls no ids.
fn tool_call(call: Call, number: usize) -> ToolCall {
    ToolCall {
        id: call.id.filter(|id| !id.is_empty()).unwrap_or_else(|| format!("call_{number}")),
        name: call.function.name,
        arguments: call.function.arguments.unwrap_or_else(|| Value::Object(serde_json::Map::new())),
    }
}

/// Ollama tells no token's number.
fn token_logprobs(logprob: Logprob) -> TokenLogprobs {
    let one = |token: &Logprob| TokenLogprob { token: token.token.clone(), id: None, logprob: token.logprob };
    TokenLogprobs { chosen: one(&logprob), top: logprob.top_logprobs.iter().flatten().map(one).collect() }
}
