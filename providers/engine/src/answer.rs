//! Turns generated text into events: ends it at a stop text, tells thinking from answer, and reads tool calls in the
//! Hermes form, `<tool_call>{"name": .., "arguments": ..}</tool_call>`. Anything that turns out not to be one stays text.

mod marker;
mod stop;

use serde::Deserialize;
use serde_json::Value;

use crate::chat::ToolCall;
use crate::event::Event;
use marker::{Found, find};
pub(crate) use stop::StopTexts;

const CALL_OPEN: &str = "<tool_call>";
const CALL_CLOSE: &str = "</tool_call>";
const THINK_OPEN: &str = "<think>";
const THINK_CLOSE: &str = "</think>";

/// The answer of one generation in the making.
pub(crate) struct Answer {
    stop: StopTexts,
    state: State,
    /// Text whose meaning is not certain yet.
    held: String,
    reads_calls: bool,
    calls: usize,
}

/// What the text that comes next belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing but white space so far, from a model that may think first.
    Beginning,
    Thinking,
    /// Between what is not text and the text after it, where white space means nothing.
    Gap,
    Text,
    Call,
}

/// How an answer begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// The model does not think aloud.
    Text,
    /// It may begin with `<think>`.
    MayThink,
    /// The prompt ended with `<think>`.
    Thinking,
}

impl Answer {
    pub(crate) fn new(stop: StopTexts, opening: Opening, reads_calls: bool) -> Answer {
        let state = match opening {
            Opening::Text => State::Text,
            Opening::MayThink => State::Beginning,
            Opening::Thinking => State::Thinking,
        };
        Answer { stop, state, held: String::new(), reads_calls, calls: 0 }
    }

    /// Takes more text; true once a stop text has appeared, after which nothing more may come.
    pub(crate) fn push(&mut self, text: &str, events: &mut impl Extend<Event>) -> bool {
        let (text, stopped) = self.stop.push(text);
        self.held.push_str(&text);
        self.advance(events);
        stopped
    }

    /// Lets go of what was held back.
    pub(crate) fn finish(&mut self, events: &mut impl Extend<Event>) {
        let rest = self.stop.finish();
        self.held.push_str(&rest);
        self.advance(events);
        let held = std::mem::take(&mut self.held);
        match self.state {
            State::Thinking => events.extend(thinking(held)),
            State::Call => events.extend(text(format!("{CALL_OPEN}{held}"))),
            State::Gap if held.trim().is_empty() => {}
            State::Beginning | State::Gap | State::Text => events.extend(text(held)),
        }
    }

    /// Whether any tool was called.
    pub(crate) fn called_tools(&self) -> bool {
        self.calls > 0
    }

    fn advance(&mut self, events: &mut impl Extend<Event>) {
        while self.step(events) {}
    }

    /// Consumes some of the held text; false when more is needed.
    fn step(&mut self, events: &mut impl Extend<Event>) -> bool {
        match self.state {
            State::Beginning => {
                let begun = self.held.trim_start();
                if begun.starts_with(THINK_OPEN) {
                    let start = self.held.len() - begun.len() + THINK_OPEN.len();
                    self.held.drain(..start);
                    self.state = State::Thinking;
                } else if THINK_OPEN.starts_with(begun) {
                    return false;
                } else {
                    self.state = State::Text;
                }
                true
            }
            State::Gap => {
                let blank = self.held.len() - self.held.trim_start().len();
                self.held.drain(..blank);
                let more = !self.held.is_empty();
                if more {
                    self.state = State::Text;
                }
                more
            }
            State::Thinking => self.cut(THINK_CLOSE, State::Gap, thinking, events),
            State::Text if self.reads_calls => self.cut(CALL_OPEN, State::Call, text, events),
            State::Text => {
                events.extend(text(std::mem::take(&mut self.held)));
                false
            }
            State::Call => {
                let Some(end) = self.held.find(CALL_CLOSE) else {
                    return false;
                };
                let body: String = self.held.drain(..end + CALL_CLOSE.len()).collect();
                match call(&body[..end], self.calls) {
                    Some(call) => {
                        self.calls += 1;
                        events.extend([Event::ToolCall(call)]);
                        self.state = State::Gap;
                    }
                    None => {
                        events.extend(text(format!("{CALL_OPEN}{body}")));
                        self.state = State::Text;
                    }
                }
                true
            }
        }
    }

    /// Lets text go up to `marker`, and beyond it goes on in `next`.
    fn cut(
        &mut self,
        marker: &str,
        next: State,
        event: fn(String) -> Option<Event>,
        events: &mut impl Extend<Event>,
    ) -> bool {
        let (certain, found) = match find(&self.held, marker) {
            Found::At(start) => (start, true),
            Found::MayBeginAt(start) => (start, false),
        };
        let before: String = self.held.drain(..certain).collect();
        events.extend(event(before));
        if found {
            self.held.drain(..marker.len());
            self.state = next;
        }
        found
    }
}

fn text(text: String) -> Option<Event> {
    (!text.is_empty()).then_some(Event::Text(text))
}

fn thinking(text: String) -> Option<Event> {
    (!text.is_empty()).then_some(Event::Thinking(text))
}

fn call(body: &str, index: usize) -> Option<ToolCall> {
    #[derive(Deserialize)]
    struct Call {
        name: String,
        #[serde(default = "no_arguments")]
        arguments: Value,
    }
    fn no_arguments() -> Value {
        Value::Object(serde_json::Map::new())
    }
    let call: Call = serde_json::from_str(body).ok()?;
    call.arguments.is_object().then(|| ToolCall {
        id: format!("call_{index}"),
        name: call.name,
        arguments: call.arguments,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// The events of an answer that comes in pieces of `size` characters, neighbouring text joined.
    fn events(answer: &str, size: usize, stop: &[&str], opening: Opening, calls: bool) -> Vec<Event> {
        let stop = stop.iter().map(|text| (*text).to_owned()).collect();
        let mut parser = Answer::new(StopTexts::new(stop).expect("the stop texts are sound"), opening, calls);
        let mut events = Vec::new();
        let characters: Vec<char> = answer.chars().collect();
        for piece in characters.chunks(size) {
            if parser.push(&piece.iter().collect::<String>(), &mut events) {
                break;
            }
        }
        parser.finish(&mut events);
        let mut joined: Vec<Event> = Vec::new();
        for event in events {
            match (joined.last_mut(), event) {
                (Some(Event::Text(before)), Event::Text(text)) => before.push_str(&text),
                (Some(Event::Thinking(before)), Event::Thinking(text)) => before.push_str(&text),
                (_, event) => joined.push(event),
            }
        }
        joined
    }

    fn weather(index: usize) -> Event {
        Event::ToolCall(ToolCall {
            id: format!("call_{index}"),
            name: "weather".into(),
            arguments: json!({"city": "Oslo"}),
        })
    }

    #[test]
    fn calls_are_read_however_they_are_cut() {
        let one = "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Oslo\"}}\n</tool_call>";
        let answer = format!("Let me see. {one}\n{one}\n");
        for size in 1..answer.len() {
            let found = events(&answer, size, &[], Opening::Text, true);
            assert_eq!(found, [Event::Text("Let me see. ".into()), weather(0), weather(1)]);
        }
        assert_eq!(events(one, 3, &[], Opening::Text, false), [Event::Text(one.into())]);
    }

    #[test]
    fn what_is_no_call_stays_text() {
        for answer in [
            "<tool_call>weather(Oslo)</tool_call> done",
            "<tool_call>{\"name\": \"weather\"",
            "<tool_call>{\"name\": 7}</tool_call>",
            "<tool_call>{\"name\": \"f\", \"arguments\": [1]}</tool_call>",
            "a <tool_cal b <tool_call",
        ] {
            assert_eq!(events(answer, 4, &[], Opening::Text, true), [Event::Text(answer.into())]);
        }
    }

    #[test]
    fn thinking_is_told_from_the_answer() {
        let expected = [Event::Thinking("\nhm <b>\n".into()), Event::Text("Yes.".into())];
        for size in 1..10 {
            assert_eq!(events("\n<think>\nhm <b>\n</think>\n\nYes.", size, &[], Opening::MayThink, true), expected);
            assert_eq!(events("\nhm <b>\n</think>\n\nYes.", size, &[], Opening::Thinking, false), expected);
            assert_eq!(events("<thin Yes.", size, &[], Opening::MayThink, false), [Event::Text("<thin Yes.".into())]);
            assert_eq!(events("<think>Yes.", size, &[], Opening::Text, false), [Event::Text("<think>Yes.".into())]);
        }
        assert_eq!(events("<think>never", 2, &[], Opening::MayThink, false), [Event::Thinking("never".into())]);
    }

    #[test]
    fn nothing_of_a_stop_text_or_after_it_is_let_go() {
        for size in 1..12 {
            assert_eq!(
                events("one two three", size, &["two", "thr"], Opening::Text, false),
                [Event::Text("one ".into())]
            );
            assert_eq!(events("one tw", size, &["two"], Opening::Text, false), [Event::Text("one tw".into())]);
            assert_eq!(events("ababac", size, &["abac"], Opening::Text, false), [Event::Text("ab".into())]);
        }
    }

    proptest! {
        #[test]
        fn without_markers_text_comes_out_as_it_went_in(answer in "[a<>/tool_cthink ]{0,60}", size in 1usize..7) {
            prop_assume!(!answer.contains(CALL_OPEN) && !answer.trim_start().starts_with(THINK_OPEN));
            let text: String = events(&answer, size, &["XYZ"], Opening::MayThink, true)
                .into_iter()
                .map(|event| match event { Event::Text(text) => text, other => panic!("{other:?}") })
                .collect();
            prop_assert_eq!(text, answer);
        }
    }
}
