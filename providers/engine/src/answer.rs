//! Turns generated text into events: ends it at a stop text, tells thinking from answer, and reads tool calls in the form
//! that the model writes them in ([`format`]). Nothing is let go while it may be part of a marker or of a call, and
//! anything that turns out to be none stays text, to the last character.

mod call;
mod format;
mod json;
mod marker;
mod stop;

use crate::chat::ToolCall;
use crate::event::Event;
use crate::tokenizer::Tokenizer;
use call::{Call, Reading, read_bare};
pub(crate) use format::{CallForm, Format};
use marker::{Found, find};
pub(crate) use stop::StopTexts;

/// What may stand between two calls that have no markers, besides blanks.
const SEPARATORS: [char; 2] = [';', ','];

/// The answer of one generation in the making.
pub(crate) struct Answer {
    stop: StopTexts,
    state: State,
    /// Text whose meaning is not certain yet.
    held: String,
    format: Format,
    /// Names of the tools that may be called.
    tools: Vec<String>,
    calls: usize,
}

/// Reads thinking and tool calls out of what a server elsewhere hands on as its model wrote it: `<think>..</think>` at the beginning,
/// and calls as Hermes, Qwen and many others write them, `<tool_call>{"name": .., "arguments": ..}</tool_call>`. All else is text, to the
/// last character.
pub struct WrittenAnswer(Answer);

impl WrittenAnswer {
    /// An answer of a model that was given these `tools`.
    pub fn new(tools: Vec<String>) -> WrittenAnswer {
        WrittenAnswer(Answer::new(StopTexts::default(), Opening::Open, Format::COMMON, tools))
    }

    /// Takes more text; what may be part of a call is held back.
    pub fn push(&mut self, text: &str, events: &mut impl Extend<Event>) {
        self.0.push(text, events);
    }

    /// Lets go of what was held back.
    pub fn finish(&mut self, events: &mut impl Extend<Event>) {
        self.0.finish(events);
    }

    /// Whether any tool was called.
    pub fn called_tools(&self) -> bool {
        self.0.called_tools()
    }
}

/// What the text that comes next belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing but white space so far, from a model that may think first.
    Beginning,
    Thinking,
    /// Between what is not text and the text after it, where white space means nothing.
    Gap,
    /// Where a call may stand without a marker.
    Start,
    Text,
    /// After the marker of a call.
    Call,
}

/// How an answer begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// With thinking, its marker and text, or with text.
    Open,
    /// The prompt ended with the marker of thinking.
    Thinking,
}

impl Answer {
    /// An answer of a model that writes in `format` and was given these `tools`.
    pub(crate) fn new(stop: StopTexts, opening: Opening, format: Format, tools: Vec<String>) -> Answer {
        let state = match (opening, format.thinking) {
            (Opening::Thinking, Some(_)) => State::Thinking,
            (Opening::Open, Some(_)) => State::Beginning,
            (_, None) => State::Start,
        };
        let format = Format { calls: format.calls.filter(|_| !tools.is_empty()), ..format };
        Answer { stop, state, held: String::new(), format, tools, calls: 0 }
    }

    /// The bytes that a token adds. A control token adds none, unless it is a marker here.
    pub(crate) fn piece<'a>(&self, token: u32, tokenizer: &'a Tokenizer) -> &'a [u8] {
        match tokenizer.piece(token) {
            [] => std::str::from_utf8(tokenizer.shown(token))
                .ok()
                .filter(|name| self.format.reads(name))
                .map_or(&[], str::as_bytes),
            piece => piece,
        }
    }

    /// Takes more text; true once a stop text has appeared, after which nothing more may come.
    pub(crate) fn push(&mut self, text: &str, events: &mut impl Extend<Event>) -> bool {
        let (text, stopped) = self.stop.push(text);
        self.held.push_str(&text);
        while self.step(false, events) {}
        stopped
    }

    /// Lets go of what was held back.
    pub(crate) fn finish(&mut self, events: &mut impl Extend<Event>) {
        let rest = self.stop.finish();
        self.held.push_str(&rest);
        while self.step(true, events) {}
    }

    /// Whether what comes next is thinking, as far as that is known.
    pub(crate) fn is_thinking(&self) -> bool {
        self.state == State::Thinking
    }

    /// Whether any tool was called.
    pub(crate) fn called_tools(&self) -> bool {
        self.calls > 0
    }

    /// Consumes some of the held text; false when more is needed, or at the end when nothing is left.
    fn step(&mut self, ended: bool, events: &mut impl Extend<Event>) -> bool {
        match (self.state, self.format.thinking, self.format.calls) {
            (State::Beginning, Some(thinking), _) => {
                let begun = self.held.trim_start();
                if begun.starts_with(thinking.open) {
                    let start = self.held.len() - begun.len() + thinking.open.len();
                    self.held.drain(..start);
                    self.state = State::Thinking;
                } else if !ended && thinking.open.starts_with(begun) {
                    return false;
                } else {
                    self.state = State::Start;
                }
                true
            }
            (State::Thinking, Some(thinking), _) => {
                self.cut(thinking.close, State::Gap, ended, Event::Thinking, events)
            }
            (State::Gap, _, form) => {
                let between_calls = self.calls > 0 && form.is_some_and(CallForm::goes_without);
                let means_nothing = |c: char| c.is_whitespace() || (between_calls && SEPARATORS.contains(&c));
                let blank = self.held.len() - self.held.trim_start_matches(means_nothing).len();
                self.held.drain(..blank);
                let more = !self.held.is_empty();
                if more {
                    self.state = State::Start;
                }
                more
            }
            (State::Start, _, Some(form)) if form.goes_without() => match read_bare(&self.held, &self.tools) {
                Reading::GoesOn if !ended => false,
                Reading::Calls { calls, length } => self.called(calls, length, events),
                Reading::GoesOn | Reading::Text => {
                    self.state = State::Text;
                    true
                }
            },
            (State::Call, _, Some(form)) => match form.read(&self.held) {
                Reading::GoesOn if !ended => false,
                Reading::Calls { calls, length } => self.called(calls, length, events),
                Reading::GoesOn | Reading::Text => {
                    say(form.marker().unwrap_or_default().to_owned(), Event::Text, events);
                    self.state = State::Text;
                    true
                }
            },
            (State::Text | State::Start, _, form) => {
                self.state = State::Text;
                match form.and_then(CallForm::marker) {
                    Some(marker) => self.cut(marker, State::Call, ended, Event::Text, events),
                    None => {
                        say(std::mem::take(&mut self.held), Event::Text, events);
                        false
                    }
                }
            }
            // States that need what the format has are entered only if it has that.
            (State::Beginning | State::Thinking | State::Call, _, _) => {
                self.state = State::Text;
                true
            }
        }
    }

    /// Lets text go up to `marker`, and beyond it goes on in `next`.
    fn cut(
        &mut self,
        marker: &str,
        next: State,
        ended: bool,
        event: fn(String) -> Event,
        events: &mut impl Extend<Event>,
    ) -> bool {
        let (certain, found) = match find(&self.held, marker) {
            Found::At(start) => (start, true),
            Found::MayBeginAt(_) if ended => (self.held.len(), false),
            Found::MayBeginAt(start) => (start, false),
        };
        let before: String = self.held.drain(..certain).collect();
        say(before, event, events);
        if found {
            self.held.drain(..marker.len());
            self.state = next;
        }
        found
    }

    /// The first `length` bytes of what is held are these calls.
    fn called(&mut self, calls: Vec<Call>, length: usize, events: &mut impl Extend<Event>) -> bool {
        self.held.drain(..length);
        for Call { name, arguments, id } in calls {
            let id = id.unwrap_or_else(|| self.next_id());
            self.calls += 1;
            events.extend([Event::ToolCall(ToolCall { id, name, arguments })]);
        }
        self.state = State::Gap;
        true
    }

    /// Mistral's templates refuse ids that are not nine letters and digits.
    fn next_id(&self) -> String {
        match self.format.calls {
            Some(CallForm::Mistral) => format!("call{:05}", self.calls),
            _ => format!("call_{}", self.calls),
        }
    }
}

fn say(text: String, event: fn(String) -> Event, events: &mut impl Extend<Event>) {
    if !text.is_empty() {
        events.extend([event(text)]);
    }
}

#[cfg(test)]
mod tests;
