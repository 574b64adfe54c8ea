//! `%%chat`: the cell's text goes to a model with the notebook's conversation, and the answer is shown while it comes.
//!
//! The answer streams as markdown through updates of one display, and at its end takes that display's place for good: a frontend
//! that knows no updates, such as Jupyter's console, shows the whole once. A turn joins the conversation once its answer is whole.

use std::sync::PoisonError;
use std::time::Duration;

use futures::StreamExt;
use perilune_bridge::{Failure, MimeBundle, Output, Rich};
use perilune_providers::{ChatMessage, Event, FinishReason, Prompt, RouteAction, RoutedRequest};
use tokio::time::{Instant, sleep, sleep_until};
use uuid::Uuid;

use self::options::Options;
use super::{Place, failed, interrupted, wrong};
use crate::execute::RequestIo;
use crate::models::CANCEL_GRACE;

pub(super) mod options;

/// An answer is shown at most this often, and seldomer as it grows: about so many bytes a second.
const SHOW_INTERVAL: Duration = Duration::from_millis(100);
const SHOW_BYTES: f64 = 200_000.0;

/// What was said so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Conversation {
    system: Option<String>,
    turns: Vec<ChatMessage>,
}

pub(super) async fn run(place: &Place<'_>, words: &str, body: &str) -> Result<(), Failure> {
    let options = Options::read(words)?;
    let conversation = &place.context.remembered.conversation;
    let mut said = conversation.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if options.reset {
        said = Conversation::default();
    }
    if options.system.is_some() {
        said.system.clone_from(&options.system);
    }
    if body.trim().is_empty() {
        if !options.reset && options.system.is_none() {
            return Err(wrong("`%%chat` has nothing to send; write the prompt below its line".to_owned()));
        }
        let turns = said.turns.len() / 2;
        *conversation.lock().unwrap_or_else(PoisonError::into_inner) = said;
        let text = if options.reset {
            "a new conversation".to_owned()
        } else {
            format!("after {turns} turns, other instructions")
        };
        place.show(text.clone(), format!("*{text}*")).await;
        return Ok(());
    }
    said.turns.push(ChatMessage::user(body.trim()));
    let answer = ask(place, options, &said).await?;
    said.turns.push(ChatMessage::assistant(answer));
    *conversation.lock().unwrap_or_else(PoisonError::into_inner) = said;
    Ok(())
}

/// The answer, which is shown by then.
async fn ask(place: &Place<'_>, options: Options, said: &Conversation) -> Result<String, Failure> {
    let Place { context, io, cancel } = place;
    let models = options.model.or_else(|| context.remembered.model.get());
    let system = said.system.iter().map(ChatMessage::system);
    let messages = system.chain(said.turns.iter().cloned()).collect();
    let prompt = Prompt::Chat { messages, tools: Vec::new() };
    let request = RoutedRequest {
        models,
        session: context.session.clone(),
        prompt,
        options: options.generate,
        fallback_after_text: false,
        tally: Some(context.remembered.tally.clone()),
        lent: false,
    };
    let mut events = context.registry.generate(request, (*cancel).clone());

    let mut answer = Answer::new(io);
    let ended = loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(Event::Route(decision))) => {
                    if decision.action == RouteAction::Chosen && decision.by.is_none() {
                        answer.begin(&decision.model).await;
                    }
                    io.show(Output::Route(decision)).await;
                }
                Some(Ok(Event::Budget(warning))) => {
                    io.show(Output::Stderr(format!("warning: {}\n", warning.message))).await;
                }
                Some(Ok(Event::Text(text))) => answer.add(|answer| &mut answer.text, &text),
                Some(Ok(Event::Thinking(text))) => answer.add(|answer| &mut answer.thinking, &text),
                Some(Ok(Event::Done(reason))) => break Ok(reason),
                Some(Ok(_)) => {}
                Some(Err(error)) => break Err(failed(&error)),
                None => break Ok(FinishReason::Cancelled),
            },
            () = sleep_until(answer.due), if answer.grown => answer.show().await,
            // A model that does not end by itself in time is not waited for.
            () = async { cancel.cancelled().await; sleep(CANCEL_GRACE).await } => break Ok(FinishReason::Cancelled),
        }
    };
    match ended {
        Ok(FinishReason::Cancelled) => {
            answer.end("interrupted; this turn is not part of the conversation").await;
            Err(interrupted())
        }
        Ok(FinishReason::Length) => Ok(answer.end("cut off: `max_tokens` or the end of the context was reached").await),
        Ok(_) => Ok(answer.end("").await),
        Err(failure) => {
            answer.end("").await;
            Err(failure)
        }
    }
}

/// An answer on its way, and where it is shown.
struct Answer<'a> {
    io: &'a RequestIo,
    display_id: String,
    /// Whether that is there yet.
    begun: bool,
    /// What the model thought before it answered: shown as a quotation above the answer, and no part of the conversation.
    thinking: String,
    text: String,
    /// Whether it has grown since it was shown, and when to show it next.
    grown: bool,
    due: Instant,
}

impl<'a> Answer<'a> {
    fn new(io: &'a RequestIo) -> Answer<'a> {
        Answer {
            io,
            display_id: Uuid::new_v4().to_string(),
            begun: false,
            thinking: String::new(),
            text: String::new(),
            grown: false,
            due: Instant::now(),
        }
    }

    /// Shows that a model is asked.
    async fn begin(&mut self, model: &str) {
        let value = shown(&format!("{model} ..."), format!("*{model} …*"));
        let (display_id, update) = (Some(self.display_id.clone()), self.begun);
        self.io.show(Output::Display { value, display_id, update, live: true }).await;
        self.begun = true;
    }

    fn add(&mut self, part: impl Fn(&mut Self) -> &mut String, text: &str) {
        part(self).push_str(text);
        self.grown = true;
    }

    async fn show(&mut self) {
        let text = format!("{}{}", quoted(&self.thinking), self.text);
        let value = shown(&text, text.clone());
        let display_id = Some(self.display_id.clone());
        self.io.show(Output::Display { value, display_id, update: true, live: true }).await;
        let pause =
            SHOW_INTERVAL.max(Duration::from_secs_f64((self.thinking.len() + self.text.len()) as f64 / SHOW_BYTES));
        self.due = Instant::now() + pause;
        self.grown = false;
    }

    /// Puts what there is of it in the place of the display that streamed it, with a note below; returns the text.
    async fn end(self, note: &str) -> String {
        if !self.begun {
            return self.text;
        }
        self.io.show(Output::ClearOutput { wait: true }).await;
        let mut plain = format!("{}{}", quoted(&self.thinking), self.text.trim_end());
        let mut markdown = plain.clone();
        if !note.is_empty() {
            let gap = if plain.is_empty() { "" } else { "\n\n" };
            plain.push_str(&format!("{gap}({note})"));
            markdown.push_str(&format!("{gap}*({note})*"));
        }
        let value = shown(&plain, markdown);
        self.io.show(Output::Display { value, display_id: None, update: false, live: false }).await;
        self.text
    }
}

/// Thinking as a quotation; markdown and plain text write it alike.
fn quoted(thinking: &str) -> String {
    let lines: Vec<String> = thinking.trim().lines().map(|line| format!("> {line}").trim_end().to_owned()).collect();
    if lines.is_empty() { String::new() } else { lines.join("\n") + "\n\n" }
}

fn shown(plain: &str, markdown: String) -> Rich {
    let mut value = Rich { data: MimeBundle::new(), metadata: MimeBundle::new() };
    value.data.insert("text/plain".to_owned(), plain.into());
    value.data.insert("text/markdown".to_owned(), markdown.into());
    value
}
