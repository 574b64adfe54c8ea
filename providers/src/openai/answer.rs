//! An answer on its way: what a server sends in pieces, or against its orders as a whole, becomes events.

use std::collections::VecDeque;

use futures::StreamExt;
use futures::stream;
use perilune_engine::{Event, FinishReason, TokenLogprob, TokenLogprobs, ToolCall, Usage, WrittenAnswer};
use reqwest::header::CONTENT_TYPE;
use reqwest::{RequestBuilder, Response};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::chunk::{self, CallPiece, Choice, Chunk, Content, Delta, Part};
use super::{LARGEST_BODY, LARGEST_REFUSAL, refusal};
use crate::error::{Error, ErrorKind};
use crate::http::{self, Lines, Server, ServerSentEvents};
use crate::provider::EventStream;

/// What ends a stream of events.
const DONE: &[u8] = b"[DONE]";
/// The logarithm of no probability, as the engine has it.
const IMPOSSIBLE: f32 = -9999.0;

/// An answer whose head has come.
pub(super) struct Answer {
    server: Server,
    source: Source,
    collected: Collected,
    cancel: CancellationToken,
    about: About,
    again: Option<RequestBuilder>,
}

/// What is known of a request when its answer turns into an error.
struct About {
    model: String,
    secrets: Vec<String>,
}

enum Source {
    Pieces(Box<ServerSentEvents>),
    Whole(Box<Response>),
    /// Nothing more is read.
    Ended,
}

/// What the pieces so far make.
#[derive(Default)]
struct Collected {
    ready: VecDeque<Event>,
    /// Reads the text of servers that hand it on as the model wrote it.
    written: Option<WrittenAnswer>,
    calls: Vec<Call>,
    usage: Option<chunk::Usage>,
    finish_reason: Option<String>,
    is_done: bool,
    /// Whether any piece came.
    began: bool,
}

/// A call that comes in pieces.
#[derive(Default)]
struct Call {
    /// Where the server counts it.
    index: Option<usize>,
    id: String,
    name: String,
    arguments: String,
}

impl Answer {
    /// The answer of `server`, of which only the head is read.
    /// `again` asks for a whole one, where a stream that is refused is empty; `written` reads its text, where the server does not.
    pub(super) fn new(
        server: Server,
        response: Response,
        model: String,
        secrets: Vec<String>,
        again: Option<RequestBuilder>,
        written: Option<WrittenAnswer>,
    ) -> Answer {
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        // Many a server sends events under another name, but JSON is never one of them.
        let is_whole = content_type.is_some_and(|content_type| content_type.starts_with("application/json"));
        let source = if is_whole {
            Source::Whole(Box::new(response))
        } else {
            Source::Pieces(Box::new(ServerSentEvents::new(Lines::new(server.clone(), response))))
        };
        let (collected, cancel) = (Collected { written, ..Collected::default() }, CancellationToken::new());
        Answer { server, source, collected, cancel, about: About { model, secrets }, again }
    }

    /// Its events. Cancelling `cancel` closes the connection, by which the server knows.
    pub(super) fn events(self, cancel: CancellationToken) -> EventStream {
        let answer = Answer { cancel, ..self };
        stream::unfold(answer, |mut answer| async move {
            let event = answer.next().await.transpose()?;
            if event.is_err() {
                answer.source = Source::Ended;
                answer.collected = Collected::default();
            }
            Some((event, answer))
        })
        .boxed()
    }

    async fn next(&mut self) -> Result<Option<Event>, Error> {
        loop {
            if let Some(event) = self.collected.ready.pop_front() {
                return Ok(Some(event));
            }
            if matches!(self.source, Source::Ended) {
                return Ok(None);
            }
            let went_on = tokio::select! {
                biased;
                () = self.cancel.cancelled() => None,
                went_on = read(&self.server, &mut self.source, &mut self.collected, &self.about) => Some(went_on),
            };
            let went_on = match went_on {
                // It may break the connection off, too.
                Some(Err(_)) if !self.collected.began && self.again.is_some() => Some(false),
                other => other.transpose()?,
            };
            match went_on {
                Some(true) => {}
                Some(false) => {
                    self.source = Source::Ended;
                    if !self.collected.began
                        && let Some(again) = self.again.take()
                    {
                        self.refused(again).await?;
                    }
                    self.collected.end(&self.server)?;
                }
                None => {
                    self.source = Source::Ended;
                    self.collected.ready.push_back(Event::Done(FinishReason::Cancelled));
                }
            }
        }
    }
}

impl Answer {
    /// Fails with the refusal of a request for a whole answer, if it is refused.
    async fn refused(&self, again: RequestBuilder) -> Result<(), Error> {
        let once_more = again.try_clone();
        let mut response = match (self.server.send(again).await, once_more) {
            // The connection that was kept may be the one that just broke.
            (Err(_), Some(once_more)) => self.server.send(once_more).await?,
            (sent, _) => sent?,
        };
        if response.status().is_success() {
            return Ok(());
        }
        let About { model, secrets } = &self.about;
        let body = http::text(&self.server, &mut response, LARGEST_REFUSAL).await.unwrap_or_default();
        Err(refusal::of_body(&self.server, response.status(), response.headers(), &body, model, secrets))
    }
}

/// Reads one more piece; false when there is no more.
async fn read(server: &Server, source: &mut Source, collected: &mut Collected, about: &About) -> Result<bool, Error> {
    match source {
        Source::Ended => Ok(false),
        Source::Whole(response) => {
            let whole: Chunk = http::json(server, response, LARGEST_BODY).await?;
            collected.take(whole, server, about)?;
            Ok(false)
        }
        Source::Pieces(events) => {
            let event = match events.next().await {
                Ok(event) => event,
                // All of it came; how the connection ends does not matter then.
                Err(_) if collected.finish_reason.is_some() => None,
                Err(error) => return Err(error),
            };
            let Some(event) = event else {
                return Ok(false);
            };
            if event == DONE {
                collected.is_done = true;
                return Ok(false);
            }
            let chunk: Chunk = serde_json::from_slice(&event)
                .map_err(|error| server.not_json(events.lines().response().headers(), &error.to_string()))?;
            collected.take(chunk, server, about)?;
            Ok(true)
        }
    }
}

impl Collected {
    fn take(&mut self, chunk: Chunk, server: &Server, about: &About) -> Result<(), Error> {
        self.began = true;
        if let Some(error) = chunk.error.filter(|error| !error.is_null()) {
            return Err(refusal::of_event(server, &error, &about.model, &about.secrets));
        }
        self.usage = chunk.usage.or(chunk.x_groq.and_then(|groq| groq.usage)).or(self.usage.take());
        // One answer was asked for.
        for choice in chunk.choices.into_iter().filter(|choice| choice.index == 0) {
            self.choice(choice);
        }
        Ok(())
    }

    fn choice(&mut self, choice: Choice) {
        let Choice { delta, text, logprobs, finish_reason, .. } = choice;
        for logprobs in logprobs.unwrap_or_default().content {
            self.ready.push_back(Event::Logprobs(token_logprobs(logprobs)));
        }
        let Delta { content, reasoning_content, reasoning, refusal, tool_calls } = delta;
        // OpenRouter repeats the one as the other.
        self.thinking(reasoning_content.or(reasoning).unwrap_or_default());
        match content {
            Some(Content::Text(text)) => self.text(text),
            Some(Content::Parts(parts)) => parts.into_iter().for_each(|part| self.part(part)),
            None => {}
        }
        [text, refusal].into_iter().flatten().for_each(|text| self.text(text));
        tool_calls.into_iter().for_each(|piece| self.call(piece));
        self.finish_reason = finish_reason.or(self.finish_reason.take());
    }

    fn part(&mut self, part: Part) {
        part.thinking.into_iter().for_each(|part| self.thinking(part.text.unwrap_or_default()));
        self.text(part.text.unwrap_or_default());
    }

    fn text(&mut self, text: String) {
        if let Some(written) = &mut self.written {
            written.push(&text, &mut self.ready);
        } else if !text.is_empty() {
            self.ready.push_back(Event::Text(text));
        }
    }

    fn thinking(&mut self, text: String) {
        if !text.is_empty() {
            self.ready.push_back(Event::Thinking(text));
        }
    }

    /// Adds a piece to the call that it belongs to: by its index, or where servers leave that out or count wrongly, by its id.
    fn call(&mut self, piece: CallPiece) {
        let CallPiece { index, id, function } = piece;
        let id = id.unwrap_or_default();
        let known = match index {
            Some(_) => self.calls.iter().rposition(|call| call.index == index),
            None if id.is_empty() => self.calls.len().checked_sub(1),
            None => self.calls.iter().rposition(|call| call.id == id),
        };
        let known =
            known.filter(|known| id.is_empty() || self.calls[*known].id.is_empty() || self.calls[*known].id == id);
        let known = known.unwrap_or_else(|| {
            self.calls.push(Call { index, ..Call::default() });
            self.calls.len() - 1
        });
        let call = &mut self.calls[known];
        if !id.is_empty() {
            call.id = id;
        }
        let name = function.name.unwrap_or_default();
        // Some repeat it with every piece.
        if call.name != name {
            call.name.push_str(&name);
        }
        match function.arguments {
            Some(Value::String(piece)) => call.arguments.push_str(&piece),
            None | Some(Value::Null) => {}
            Some(object) => call.arguments = object.to_string(),
        }
    }

    /// The server has no more to say: the calls, then usage if it was told, then the reason.
    fn end(&mut self, server: &Server) -> Result<(), Error> {
        let fail = |kind, problem: &str| Err(server.error(kind, format!("{} {problem}", server.address())));
        let reason = match self.finish_reason.as_deref() {
            None if self.is_done => FinishReason::Stop,
            None => return fail(ErrorKind::Network, "ended the answer before it was whole: no `finish_reason` came"),
            Some("length" | "max_tokens" | "model_length") => FinishReason::Length,
            Some("tool_calls" | "function_call") => FinishReason::ToolCalls,
            Some("content_filter") => {
                return fail(ErrorKind::ContentFilter, "ended the answer because its filter refuses the content");
            }
            Some("insufficient_system_resource") => {
                return fail(ErrorKind::Overloaded, "ended the answer because it has too much to do");
            }
            Some("error") => return fail(ErrorKind::Internal, "ended the answer with an error that it does not tell"),
            Some(_) => FinishReason::Stop,
        };
        if let Some(written) = &mut self.written {
            written.finish(&mut self.ready);
        }
        for (number, call) in std::mem::take(&mut self.calls).into_iter().enumerate() {
            let written = if call.arguments.trim().is_empty() { "{}" } else { &call.arguments };
            let arguments = match serde_json::from_str(written) {
                Ok(arguments) => arguments,
                // Cut off with the answer, which the reason says.
                Err(_) if reason == FinishReason::Length => continue,
                Err(_) => return fail(ErrorKind::Internal, "calls a tool with arguments that are no JSON"),
            };
            let id = if call.id.is_empty() { format!("call_{number}") } else { call.id };
            self.ready.push_back(Event::ToolCall(ToolCall { id, name: call.name, arguments }));
        }
        let has_calls = self.ready.iter().any(|event| matches!(event, Event::ToolCall(_)))
            || self.written.as_ref().is_some_and(WrittenAnswer::called_tools);
        let reason = if has_calls && reason == FinishReason::Stop { FinishReason::ToolCalls } else { reason };
        self.ready.extend(self.usage.take().and_then(|counted| usage(&counted)).map(Event::Usage));
        self.ready.push_back(Event::Done(reason));
        Ok(())
    }
}

/// One missing counter does not lose the others; none at all is told where all are.
fn usage(counted: &chunk::Usage) -> Option<Usage> {
    counted.prompt_tokens.or(counted.completion_tokens).or(counted.total_tokens)?;
    let total = counted.total_tokens.unwrap_or_default();
    let prompt_tokens =
        counted.prompt_tokens.unwrap_or_else(|| total.saturating_sub(counted.completion_tokens.unwrap_or_default()));
    let details = counted.prompt_tokens_details.clone().unwrap_or_default();
    Some(Usage {
        prompt_tokens,
        completion_tokens: counted.completion_tokens.unwrap_or_else(|| total.saturating_sub(prompt_tokens)),
        cached_tokens: details.cached_tokens.or(counted.prompt_cache_hit_tokens).unwrap_or_default(),
        thinking_tokens: counted.completion_tokens_details.as_ref().and_then(|told| told.reasoning_tokens).unwrap_or(0),
        ..Usage::default()
    })
}

fn token_logprobs(told: chunk::TokenLogprobs) -> TokenLogprobs {
    let one = |told: chunk::TokenLogprob| TokenLogprob {
        token: told.token,
        id: told.id,
        logprob: told.logprob.unwrap_or(IMPOSSIBLE).max(IMPOSSIBLE),
    };
    TokenLogprobs { chosen: one(told.chosen), top: told.top_logprobs.into_iter().map(one).collect() }
}
