//! The prompt on a terminal: reads code, answers the editor's questions from the kernel, and notices the kernel's end meanwhile.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Error;
use perilune_protocol::{
    CompleteReply, CompleteRequest, Completeness, ExecuteRequest, HistoryAccess, HistoryEntry, HistoryRequest,
    IsCompleteRequest, Reply, Request,
};
use tokio::time::timeout;

use super::cell;
use crate::editor::{self, Completions, Editor, Event, Language, Prompt, Question, Typed, Verdict};
use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::output::{is_colored, print};
use crate::session::{Session, Via};

/// How long the kernel may take to say what was run before. One that is busy is not waited for.
const HISTORY_PATIENCE: Duration = Duration::from_millis(500);

/// Reads and runs code until the user leaves or the kernel is gone.
pub async fn run(
    session: &mut Session,
    interrupts: &Interrupts,
    connected: Option<&Path>,
) -> Result<ExitCode, Failure> {
    greet(connected)?;
    let mut count = next_number(session).await?;
    let history = history(session).await?;
    let editor = Editor::start(Language::Lua, history, is_colored(&std::io::stderr()));
    let mut editor = editor.map_err(|error| Failure::Refused(Error::from(error).context("cannot edit lines")))?;
    let ended = converse(session, interrupts, &mut editor, &mut count).await;
    editor.close().await;
    ended
}

fn greet(connected: Option<&Path>) -> Result<(), Failure> {
    print(&format!("Perilune {}, Lua 5.4 with language models\n", env!("CARGO_PKG_VERSION")))?;
    if let Some(path) = connected {
        print(&format!("on the kernel of `{}`, with everything its notebook knows\n", path.display()))?;
    }
    print("Tab completes, name? explains, Ctrl-C interrupts, Ctrl-D leaves\n")
}

/// The number that the next cell will have: a silent one has the last.
async fn next_number(session: &mut Session) -> Result<u32, Failure> {
    let request = Request::Execute(ExecuteRequest { silent: true, ..ExecuteRequest::new("") });
    match timeout(HISTORY_PATIENCE, session.request(Via::Shell, request, &mut |_| Ok(()))).await {
        Ok(Ok(Reply::Execute(reply))) => Ok(reply.execution_count + 1),
        Ok(Err(failure)) => Err(failure),
        Ok(Ok(_)) | Err(_) => Ok(1),
    }
}

/// What was run before, in notebooks and at prompts, oldest first. A kernel that keeps none has its reasons, and tells them in its log.
async fn history(session: &mut Session) -> Result<Vec<String>, Failure> {
    let access = HistoryAccess::Tail { n: Some(editor::HISTORY as i64) };
    let request = Request::History(HistoryRequest { output: false, raw: true, access });
    match timeout(HISTORY_PATIENCE, session.request(Via::Control, request, &mut |_| Ok(()))).await {
        Ok(Ok(Reply::History(reply))) => Ok(reply.history.into_iter().map(|(_, _, entry)| source(entry)).collect()),
        Ok(Err(failure)) => Err(failure),
        Ok(Ok(_)) | Err(_) => Ok(Vec::new()),
    }
}

fn source(entry: HistoryEntry) -> String {
    match entry {
        HistoryEntry::Input(source) | HistoryEntry::WithOutput(source, _) => source,
    }
}

async fn converse(
    session: &mut Session,
    interrupts: &Interrupts,
    editor: &mut Editor,
    count: &mut u32,
) -> Result<ExitCode, Failure> {
    loop {
        editor.read(Prompt::numbered(*count));
        let code = match typed(session, interrupts, editor).await? {
            Typed::Text(code) => code,
            Typed::Cleared => continue,
            Typed::End => return Ok(ExitCode::SUCCESS),
            Typed::Failed(error) => {
                return Err(Failure::Refused(Error::from(error).context("cannot read from the terminal")));
            }
        };
        if code.trim().is_empty() {
            continue;
        }
        let ran = cell::run(session, interrupts, code).await?;
        *count = ran.count.map_or(*count, |ran| ran + 1);
        if let Some(code) = ran.leaves {
            return Ok(ExitCode::from(code));
        }
    }
}

/// What was typed, after the questions that were asked on the way.
async fn typed(session: &mut Session, interrupts: &Interrupts, editor: &mut Editor) -> Result<Typed, Failure> {
    let mut terminated = interrupts.clone();
    let mut asked: Option<Question> = None;
    loop {
        let event = match asked.take() {
            None => tokio::select! {
                event = editor.next() => event,
                failure = session.rest() => return Err(failure),
                () = terminated.terminated() => return Err(Failure::Interrupted),
            },
            // A question that comes while an earlier one waits makes that one void: the text is another by now.
            Some(question) => tokio::select! {
                event = editor.next() => event,
                answered = answer(session, question) => { answered?; continue }
            },
        };
        match event {
            Event::Asked(question) => asked = Some(question),
            Event::Typed(typed) => return Ok(typed),
        }
    }
}

/// Puts a question to the kernel, on control: what waits on shell, of other clients too, shall not delay it.
async fn answer(session: &mut Session, question: Question) -> Result<(), Failure> {
    match question {
        Question::IsComplete { code, answer } => {
            let request = Request::IsComplete(IsCompleteRequest { code });
            let reply = session.request(Via::Control, request, &mut |_| Ok(())).await?;
            let verdict = match reply {
                Reply::IsComplete(reply) if reply.status == Completeness::Incomplete => {
                    Verdict::GoOn(reply.indent.unwrap_or_default())
                }
                _ => Verdict::Run,
            };
            // Nobody waits for it any more if it was late.
            let _ = answer.send(verdict);
        }
        Question::Complete { code, cursor, answer } => {
            let cursor_pos = Some(code[..cursor].chars().count());
            let request = Request::Complete(CompleteRequest { code: code.clone(), cursor_pos });
            if let Reply::Complete(reply) = session.request(Via::Control, request, &mut |_| Ok(())).await? {
                let _ = answer.send(completions(&code, reply));
            }
        }
    }
    Ok(())
}

/// Offsets in characters become offsets in bytes.
fn completions(code: &str, reply: CompleteReply) -> Completions {
    let bytes = |characters| code.char_indices().nth(characters).map_or(code.len(), |(offset, _)| offset);
    Completions { start: bytes(reply.cursor_start), end: bytes(reply.cursor_end), matches: reply.matches }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completions_replace_characters_and_not_bytes() {
        let reply =
            CompleteReply { matches: vec!["print".into()], cursor_start: 4, cursor_end: 6, ..Default::default() };
        let Completions { start, end, .. } = completions("'é' pr", reply);
        assert_eq!((start, end), (5, 7));
    }
}
