//! `perilune chat`: a conversation with a model, at a prompt or through a pipe.
//!
//! In reading order: this file asks the model and shows what it says; [`conversation`] keeps what was said; [`command`] reads the
//! lines that begin with a slash; [`terminal`] is the prompt.

mod command;
mod conversation;
mod terminal;

use std::io::{self, Read};
use std::process::ExitCode;

use anyhow::{Context, Error, anyhow};
use perilune_protocol::{ErrorReply, GenerateReply, ModelEvent, ModelReply, ModelRequest, Publication, Reply, Request};
use serde_json::json;

use self::conversation::Conversation;
use crate::arguments::{self, Format, Global};
use crate::failure::{Failure, tell};
use crate::interrupts::Interrupts;
use crate::output::{is_colored, print, print_json};
use crate::repl::{BEARABLE, is_editable};
use crate::route;
use crate::run::unexpected;
use crate::session::{Session, Via};

/// Holds a conversation until there is nothing more to say, or answers what is piped in.
pub async fn run(chat: arguments::Chat, global: &Global) -> Result<ExitCode, Failure> {
    let editable = is_editable();
    if editable && global.output == Format::Json {
        let what = "`--output json` is for one answer: pipe the question in";
        return Err(Failure::Usage(anyhow!(what)));
    }
    let bearable = if editable { BEARABLE } else { 1 };
    let interrupts = Interrupts::listen(bearable).context("cannot listen for signals").map_err(Failure::Refused)?;
    let mut session = Session::open(global.connect.as_deref(), &interrupts).await?;
    let conversation = Conversation::new(chat);
    let ended = match editable {
        true => terminal::run(&mut session, &interrupts, conversation).await,
        false => once(&mut session, conversation, global.output).await,
    };
    session.close().await;
    ended
}

/// Answers the standard input, and nothing else.
async fn once(session: &mut Session, mut conversation: Conversation, format: Format) -> Result<ExitCode, Failure> {
    let mut question = String::new();
    io::stdin()
        .lock()
        .read_to_string(&mut question)
        .context("cannot read the standard input")
        .map_err(Failure::Refused)?;
    let question = question.trim();
    if question.is_empty() {
        return Err(Failure::Usage(anyhow!(
            "nothing was piped in; type at the prompt of a terminal, or pipe a question in"
        )));
    }
    let request = conversation.ask(question);
    match (ask(session, request, format == Format::Text).await?, format) {
        (Answer::Refused(error), _) if session.interrupted() && error.kind.as_deref() == Some("cancelled") => {
            Err(Failure::Interrupted)
        }
        (Answer::Refused(error), format) => {
            if format == Format::Json {
                print_json(&json!({ "status": "error", "error": error }))?;
            }
            Err(Failure::Refused(anyhow!("{}", error.evalue)))
        }
        (Answer::Said(_), _) if session.interrupted() => Err(Failure::Interrupted),
        (Answer::Said(reply), Format::Json) => print_json(&reply).map(|()| ExitCode::SUCCESS),
        (Answer::Said(_), Format::Text) => Ok(ExitCode::SUCCESS),
    }
}

/// What came of a question.
enum Answer {
    /// The model's words.
    Said(GenerateReply),
    /// Why there are none.
    Refused(ErrorReply),
}

/// Asks, and shows the answer as it comes.
async fn ask(session: &mut Session, request: ModelRequest, shows: bool) -> Result<Answer, Failure> {
    let mut shown = Shown { shows, thinking: false, open: false };
    let reply =
        session.request(Via::Control, Request::Model(request), &mut |publication| shown.publication(publication)).await;
    shown.end()?;
    match reply? {
        Reply::Model(ModelReply::Chat(reply)) => Ok(Answer::Said(reply)),
        Reply::Error { error, .. } => Ok(Answer::Refused(error)),
        other => Err(unexpected(&other)),
    }
}

/// What was shown of an answer.
struct Shown {
    shows: bool,
    /// It is thinking that was shown last, dimmed.
    thinking: bool,
    /// Whether the last line is open.
    open: bool,
}

impl Shown {
    fn publication(&mut self, publication: Publication) -> Result<(), Failure> {
        match publication {
            Publication::ModelEvent(ModelEvent::Text { text }) => self.text(&text, false),
            // Whoever pipes an answer wants the answer.
            Publication::ModelEvent(ModelEvent::Thinking { text }) if is_editable() => self.text(&text, true),
            Publication::ModelEvent(ModelEvent::BudgetWarning { message }) => {
                self.end()?;
                tell(&format!("warning: {message}"));
                Ok(())
            }
            Publication::ModelEvent(event) => {
                route::log(&event);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn text(&mut self, text: &str, thinking: bool) -> Result<(), Failure> {
        if !self.shows || text.is_empty() {
            return Ok(());
        }
        if thinking != self.thinking {
            self.end()?;
            self.thinking = thinking;
        }
        self.open = !text.ends_with('\n');
        match thinking && is_colored(&io::stdout()) {
            true => print(&format!("\x1b[2m{text}\x1b[0m")),
            false => print(text),
        }
    }

    fn end(&mut self) -> Result<(), Failure> {
        if std::mem::take(&mut self.open) { print("\n") } else { Ok(()) }
    }
}

fn refused(error: impl Into<Error>) -> Failure {
    Failure::Refused(error.into())
}
