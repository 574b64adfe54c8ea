//! The prompt of a conversation.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Error;
use perilune_protocol::{ErrorReply, FinishReason, ModelReply, ModelRequest, NamedModel, Reply, Request};

use super::command::{self, Command, Line};
use super::conversation::Conversation;
use super::{Answer, ask, refused};
use crate::editor::{Editor, Event, Language, Prompt, Typed};
use crate::failure::{Failure, tell};
use crate::interrupts::Interrupts;
use crate::output::{is_colored, print};
use crate::run::unexpected;
use crate::session::{Session, Via};

/// The `kind` of an error that says that a conversation has become too long.
const CONTEXT_OVERFLOW: &str = "context_overflow";

/// Talks until the user leaves or the kernel is gone.
pub async fn run(
    session: &mut Session,
    interrupts: &Interrupts,
    conversation: Conversation,
) -> Result<ExitCode, Failure> {
    let mut chat = Chat { session, interrupts, conversation };
    if let Some(model) = chat.conversation.model.clone() {
        let specifier = chat.check(&model).await?.map_err(|error| refused(Error::msg(error.evalue)))?;
        chat.conversation.model = Some(specifier);
    }
    let model = chat.conversation.model.as_deref().unwrap_or("the default model");
    print(&format!("Perilune {}, talking with {model}\n", env!("CARGO_PKG_VERSION")))?;
    print("/help lists commands, Ctrl-C stops an answer, Ctrl-D leaves\n")?;
    let editor = Editor::start(Language::Prose, Vec::new(), is_colored(&std::io::stderr()));
    let mut editor = editor.map_err(|error| refused(Error::from(error).context("cannot edit lines")))?;
    let ended = chat.talk(&mut editor).await;
    editor.close().await;
    ended
}

struct Chat<'a> {
    session: &'a mut Session,
    interrupts: &'a Interrupts,
    conversation: Conversation,
}

impl Chat<'_> {
    async fn talk(&mut self, editor: &mut Editor) -> Result<ExitCode, Failure> {
        loop {
            editor.read(Prompt::sign("> ", "| "));
            let text = match self.typed(editor).await? {
                Typed::Text(text) => text,
                Typed::Cleared => continue,
                Typed::End => return Ok(ExitCode::SUCCESS),
                Typed::Failed(error) => {
                    return Err(refused(Error::from(error).context("cannot read from the terminal")));
                }
            };
            match command::read(&text) {
                Line::Message("") => {}
                Line::Message(question) => self.answer(question).await?,
                Line::Command(Command::Exit) => return Ok(ExitCode::SUCCESS),
                Line::Command(command) => self.obey(command).await?,
                Line::Wrong(problem) => tell(&format!("error: {problem}")),
            }
        }
    }

    async fn typed(&mut self, editor: &mut Editor) -> Result<Typed, Failure> {
        let mut terminated = self.interrupts.clone();
        loop {
            tokio::select! {
                // Prose has no questions.
                event = editor.next() => if let Event::Typed(typed) = event { return Ok(typed) },
                failure = self.session.rest() => return Err(failure),
                () = terminated.terminated() => return Err(Failure::Interrupted),
            }
        }
    }

    async fn answer(&mut self, question: &str) -> Result<(), Failure> {
        self.interrupts.forgive();
        let request = self.conversation.ask(question);
        let answer = ask(self.session, request, true).await;
        if answer.is_err() {
            self.conversation.withdraw();
        }
        match answer {
            Ok(Answer::Said(reply)) => {
                let kept = self.conversation.answered(&reply);
                match reply.finish_reason {
                    FinishReason::Cancelled if kept => tell("[stopped; what was said stays in the conversation]"),
                    FinishReason::Cancelled => tell("[stopped before the first word; the question is taken back]"),
                    FinishReason::Length => tell("[the answer ends here because it reached its limit of tokens]"),
                    FinishReason::Stop | FinishReason::ToolCalls => {}
                }
                Ok(())
            }
            Ok(Answer::Refused(error)) => {
                self.conversation.withdraw();
                tell(&format!("error: {}", error.evalue));
                if error.kind.as_deref() == Some(CONTEXT_OVERFLOW) && !self.conversation.is_empty() {
                    tell(
                        "the question is taken back; `/save FILE` writes the conversation down and `/reset` starts it anew",
                    );
                }
                Ok(())
            }
            // The kernel did not stop in time, which the session has told.
            Err(Failure::Interrupted) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    async fn obey(&mut self, command: Command<'_>) -> Result<(), Failure> {
        match command {
            Command::Help => print(command::HELP),
            Command::Reset => {
                self.conversation.reset();
                print("what was said is forgotten\n")
            }
            Command::Model(None) => {
                let model = self.conversation.model.as_deref().unwrap_or("the kernel's default model");
                print(&format!("{model}\n"))
            }
            Command::Model(Some(name)) => self.change_model(name).await,
            Command::System(None) => {
                let told = self.conversation.system().unwrap_or("the model is told nothing about its part");
                print(&format!("{told}\n"))
            }
            Command::System(Some(text)) => {
                self.conversation.set_system(if text == "none" { "" } else { text });
                print("the model is told so from the next message on\n")
            }
            Command::Usage => self.usage(),
            Command::Save(path) => self.save(&path),
            Command::Exit => Ok(()),
        }
    }

    async fn change_model(&mut self, name: &str) -> Result<(), Failure> {
        self.interrupts.forgive();
        match self.check(name).await {
            Ok(Ok(specifier)) => {
                print(&format!("{specifier} answers from now on\n"))?;
                self.conversation.model = Some(specifier);
                Ok(())
            }
            Ok(Err(error)) => {
                tell(&format!("error: {}", error.evalue));
                Ok(())
            }
            Err(Failure::Interrupted) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// Has the kernel find a model, and returns its whole name; the first question loads it.
    async fn check(&mut self, model: &str) -> Result<Result<String, ErrorReply>, Failure> {
        let request = Request::Model(ModelRequest::Info(NamedModel { model: model.to_owned() }));
        match self.session.request(Via::Control, request, &mut |_| Ok(())).await? {
            Reply::Model(ModelReply::Info(info)) => Ok(Ok(info.specifier)),
            Reply::Error { error, .. } => Ok(Err(error)),
            other => Err(unexpected(&other)),
        }
    }

    fn usage(&self) -> Result<(), Failure> {
        let spent = &self.conversation.spent;
        let seconds = spent.duration_ms / 1000.0;
        let speed = if seconds > 0.0 { f64::from(spent.usage.completion_tokens) / seconds } else { 0.0 };
        let untold = match spent.untold {
            0 => String::new(),
            untold => format!("; {untold} answers came without a count of their tokens"),
        };
        print(&format!(
            "answers: {}; tokens: {} read, {} of them known before, {} said; {seconds:.1} s, {speed:.0} tokens/s{untold}\n",
            spent.answers, spent.usage.prompt_tokens, spent.usage.cached_tokens, spent.usage.completion_tokens
        ))
    }

    fn save(&self, path: &Path) -> Result<(), Failure> {
        match self.conversation.save(path) {
            Ok(()) => print(&format!("written to `{}`\n", path.display())),
            Err(error) => {
                tell(&format!("error: cannot write `{}`: {error}", path.display()));
                Ok(())
            }
        }
    }
}
