//! A line editor at the terminal, on a thread of its own: what is typed never waits for the kernel.
//!
//! It is told a prompt and answers with what was typed. For Lua code it also asks questions meanwhile ([`Question`]), which whoever
//! holds the [`Editor`] puts to the kernel. It knows neither messages nor sessions.

mod code;
mod highlighter;
mod indent;
mod prompt;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self as blocking, Receiver};
use std::thread::{self, JoinHandle};

use reedline::{FileBackedHistory, Reedline, Signal, SimpleMatchHighlighter};
use tokio::sync::mpsc::{Sender, channel};

pub use self::code::{Completions, Question, Verdict};
pub use self::prompt::Prompt;

/// Entries that the arrow keys and Ctrl-R find.
pub const HISTORY: usize = 2000;

/// Questions that may wait to be put to the kernel.
const QUESTIONS: usize = 16;

/// What is edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Code, for the kernel to judge and to complete.
    Lua,
    /// Text in a natural language.
    Prose,
}

/// What comes from the editor.
#[derive(Debug)]
pub enum Event {
    /// It wants to know something of the kernel.
    Asked(Question),
    /// The reading ended.
    Typed(Typed),
}

/// How the reading of a line ended.
#[derive(Debug)]
pub enum Typed {
    /// With text, which may have many lines.
    Text(String),
    /// Ctrl-C: what was typed is thrown away.
    Cleared,
    /// Ctrl-D: there is nothing more.
    End,
    /// The terminal failed.
    Failed(io::Error),
}

/// The editor's thread, and the way to it. The thread ends when this is closed or dropped.
pub struct Editor {
    prompts: blocking::Sender<Prompt>,
    events: tokio::sync::mpsc::Receiver<Event>,
    leave: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Editor {
    /// Starts the editor with what was typed before, oldest first.
    pub fn start(language: Language, history: Vec<String>, colored: bool) -> io::Result<Editor> {
        let (prompts, prompted) = blocking::channel();
        let (sender, events) = channel(QUESTIONS);
        let leave = Arc::new(AtomicBool::new(false));
        let settings = Settings { language, history, colored, leave: leave.clone() };
        let thread =
            thread::Builder::new().name("editor".to_owned()).spawn(move || edit(settings, &prompted, &sender))?;
        Ok(Editor { prompts, events, leave, thread })
    }

    /// Asks for a line; [`Editor::next`] brings what comes of it.
    pub fn read(&self, prompt: Prompt) {
        // Without its thread, the editor's next event is a failure, which tells.
        let _ = self.prompts.send(prompt);
    }

    /// What comes next.
    pub async fn next(&mut self) -> Event {
        let gone = || Event::Typed(Typed::Failed(io::Error::other("the line editor has ended")));
        self.events.recv().await.unwrap_or_else(gone)
    }

    /// Ends a reading under way, and leaves the terminal as it was.
    pub async fn close(self) {
        let Editor { prompts, events, leave, thread } = self;
        leave.store(true, Ordering::Relaxed);
        drop((prompts, events));
        let _ = tokio::task::spawn_blocking(|| thread.join()).await;
    }
}

struct Settings {
    language: Language,
    history: Vec<String>,
    colored: bool,
    leave: Arc<AtomicBool>,
}

fn edit(settings: Settings, prompts: &Receiver<Prompt>, events: &Sender<Event>) {
    let mut editor = editor(settings, events);
    while let Ok(prompt) = prompts.recv() {
        let typed = match editor.read_line(&prompt) {
            Ok(Signal::Success(text)) => Typed::Text(text),
            Ok(Signal::CtrlC) => Typed::Cleared,
            Ok(Signal::CtrlD) => Typed::End,
            Ok(_) => return,
            Err(error) => Typed::Failed(error),
        };
        if events.blocking_send(Event::Typed(typed)).is_err() {
            return;
        }
    }
}

fn editor(settings: Settings, events: &Sender<Event>) -> Reedline {
    let Settings { language, history, colored, leave } = settings;
    let editor = Reedline::create()
        .with_history(Box::new(remembered(history)))
        .with_ansi_colors(colored)
        .with_break_signal(leave)
        .use_bracketed_paste(io::IsTerminal::is_terminal(&io::stdout()));
    match language {
        Language::Lua => code::teach(editor, events, colored),
        // The editor's own would colour words as if they were commands.
        Language::Prose => editor.with_highlighter(Box::new(SimpleMatchHighlighter::default())),
    }
}

/// In memory: what is run is written down by the kernel.
fn remembered(entries: Vec<String>) -> FileBackedHistory {
    use reedline::{History, HistoryItem};
    let mut history = FileBackedHistory::new(HISTORY).unwrap_or_default();
    for entry in entries {
        // Nothing is written, so nothing fails.
        let _ = history.save(HistoryItem::from_command_line(entry));
    }
    history
}
