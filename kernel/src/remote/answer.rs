//! A generation of another kernel as a stream: pieces as its events bring them, and the rest from its reply, which holds the whole
//! answer. So nothing is lost when the reply overtakes events, or when whoever reads here is slow and events are left out.

use std::collections::VecDeque;

use futures::StreamExt;
use futures::stream;
use perilune_protocol::{FinishReason, GenerateReply, ModelReply, ModelRequest};
use perilune_providers::{Error, ErrorKind, Event, EventStream};
use tokio_util::sync::CancellationToken;

use super::link::{Asked, Link};
use crate::convert::elsewhere;

/// The stream. Nothing is asked before it is polled; cancelling ends it at once, and the generation there a message later.
pub(super) fn stream(link: Link, request: ModelRequest, cancel: CancellationToken) -> EventStream {
    let answer = Answer { stage: Stage::Planned(Box::new(request)), told: Told::default(), link, cancel };
    stream::unfold(answer, |mut answer| async move { Some((answer.next().await?, answer)) }).boxed()
}

struct Answer {
    link: Link,
    cancel: CancellationToken,
    stage: Stage,
    told: Told,
}

enum Stage {
    Planned(Box<ModelRequest>),
    Running(Asked),
    /// Events that are only to be handed over.
    Rest(VecDeque<Event>),
}

/// What was handed over already.
#[derive(Default)]
struct Told {
    text: String,
    thinking: String,
    tool_calls: usize,
    logprobs: usize,
}

impl Answer {
    async fn next(&mut self) -> Option<Result<Event, Error>> {
        let result = self.advance().await;
        if result.is_err() {
            self.stage = Stage::Rest(VecDeque::new());
        }
        result.transpose()
    }

    async fn advance(&mut self) -> Result<Option<Event>, Error> {
        if let Stage::Planned(request) = &self.stage {
            self.stage = Stage::Running(self.link.start((**request).clone())?);
        }
        if let Stage::Running(asked) = &mut self.stage {
            let finished = tokio::select! {
                biased;
                () = self.cancel.cancelled() => Ok(cancelled()),
                piece = piece(asked, &mut self.told) => match piece? {
                    Piece::Event(event) => return Ok(Some(event)),
                    Piece::Reply(reply) => self.told.rest(reply, |kind, problem| self.link.error(kind, problem)),
                },
            };
            self.stage = Stage::Rest(finished?);
        }
        match &mut self.stage {
            Stage::Rest(rest) => Ok(rest.pop_front()),
            _ => Ok(None),
        }
    }
}

enum Piece {
    Event(Event),
    Reply(GenerateReply),
}

/// The next event, or the reply once there are no more.
async fn piece(asked: &mut Asked, told: &mut Told) -> Result<Piece, Error> {
    while let Some(event) = asked.event().await {
        if let Some(event) = elsewhere::event(event) {
            told.note(&event);
            return Ok(Piece::Event(event));
        }
    }
    match asked.reply().await?.reply {
        ModelReply::Chat(reply) | ModelReply::Complete(reply) => Ok(Piece::Reply(reply)),
        _ => Err(asked.error(ErrorKind::Internal, "it answered something else than was asked")),
    }
}

/// What a stream says that was cancelled here: what it took there is not waited for.
fn cancelled() -> VecDeque<Event> {
    [Event::Done(perilune_providers::FinishReason::Cancelled)].into()
}

impl Told {
    fn note(&mut self, event: &Event) {
        match event {
            Event::Text(text) => self.text.push_str(text),
            Event::Thinking(text) => self.thinking.push_str(text),
            Event::Logprobs(_) => self.logprobs += 1,
            Event::ToolCall(_) => self.tool_calls += 1,
            Event::Loading
            | Event::Dropped(_)
            | Event::Route(_)
            | Event::Budget(_)
            | Event::Queued { .. }
            | Event::Prefill(_)
            | Event::Usage(_)
            | Event::Done(_) => {}
        }
    }

    /// What the reply tells that events did not.
    fn rest(
        &self,
        reply: GenerateReply,
        error: impl Fn(ErrorKind, &'static str) -> Error,
    ) -> Result<VecDeque<Event>, Error> {
        if reply.finish_reason == FinishReason::Cancelled {
            return Err(error(
                ErrorKind::Cancelled,
                "the generation was cancelled over there: somebody did that, or the kernel was stopped",
            ));
        }
        let gap = || error(ErrorKind::Network, "part of the answer was lost on its way; ask again");
        let thinking = reply.thinking.unwrap_or_default();
        let thinking = thinking.strip_prefix(&self.thinking).ok_or_else(gap)?;
        let text = reply.text.strip_prefix(&self.text).ok_or_else(gap)?;
        let logprobs = reply.logprobs.into_iter().skip(self.logprobs).map(elsewhere::token_logprobs);
        let mut rest: VecDeque<Event> = logprobs.map(Event::Logprobs).collect();
        if !thinking.is_empty() {
            rest.push_back(Event::Thinking(thinking.to_owned()));
        }
        if !text.is_empty() {
            rest.push_back(Event::Text(text.to_owned()));
        }
        rest.extend(reply.tool_calls.into_iter().skip(self.tool_calls).map(elsewhere::tool_call).map(Event::ToolCall));
        rest.push_back(Event::Usage(elsewhere::usage(reply.usage)));
        rest.push_back(Event::Done(elsewhere::finish_reason(reply.finish_reason)));
        Ok(rest)
    }
}

#[cfg(test)]
mod tests {
    use perilune_providers::Usage;

    use super::*;

    fn reply(text: &str) -> GenerateReply {
        let content = serde_json::json!({ "text": text, "finish_reason": "stop", "model": "local/m@candle" });
        serde_json::from_value(content).expect("a reply")
    }

    fn rest(told: &str, reply: GenerateReply) -> Result<Vec<Event>, Error> {
        let told = Told { text: told.to_owned(), ..Told::default() };
        let error =
            |kind, problem: &str| Error::Elsewhere { instance: "box".into(), kind, problem: problem.to_owned() };
        told.rest(reply, error).map(Vec::from)
    }

    #[test]
    fn the_reply_fills_in_what_events_left_out() {
        let end = [Event::Usage(Usage::default()), Event::Done(perilune_providers::FinishReason::Stop)];
        assert_eq!(rest("Paris.", reply("Paris.")).unwrap(), end);
        assert_eq!(rest("Par", reply("Paris.")).unwrap()[0], Event::Text("is.".to_owned()));
        assert_eq!(rest("", reply("Paris.")).unwrap()[0], Event::Text("Paris.".to_owned()));
    }

    #[test]
    fn a_gap_is_not_papered_over() {
        assert_eq!(rest("Pas", reply("Paris.")).unwrap_err().kind(), ErrorKind::Network);
    }

    #[test]
    fn a_cancel_over_there_is_told() {
        let cancelled = GenerateReply { finish_reason: FinishReason::Cancelled, ..reply("Par") };
        assert_eq!(rest("Par", cancelled).unwrap_err().kind(), ErrorKind::Cancelled);
    }
}
