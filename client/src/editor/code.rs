//! Editing Lua: whether Enter runs it or opens another line, what Tab offers, and how it is coloured.
//!
//! Everything that takes knowledge of the language is asked of the kernel, with bounds: a kernel that is slow or busy makes
//! completions late, and Enter wait for a moment, but never a key.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender as Answer, TryRecvError, channel};
use std::time::{Duration, Instant};

use reedline::{
    Color, ColumnarMenu, Completer, CompletionResult, CompletionStatus, Emacs, KeyCode, KeyModifiers, MenuBuilder,
    Reedline, ReedlineEvent, ReedlineMenu, Span, Suggestion, ValidationResult, Validator, default_emacs_keybindings,
};
use tokio::sync::mpsc::Sender;

use super::Event;
use super::highlighter::LuaHighlighter;
use super::indent::{Indent, Keys, STEP};

/// How long Enter waits for the kernel's judgement. Without one the code is run: the kernel says what is wrong with it.
const JUDGEMENT_PATIENCE: Duration = Duration::from_secs(1);
/// How long Tab waits before the editor goes on and shows completions when they come.
const COMPLETION_GLANCE: Duration = Duration::from_millis(30);
/// When completions that have not come are given up.
const COMPLETION_PATIENCE: Duration = Duration::from_secs(5);

const COMPLETION_MENU: &str = "completion";
const INDENT_MENU: &str = "indent";

/// What the editor wants to know. An answer that is dropped says nothing.
#[derive(Debug)]
pub enum Question {
    /// Could this run as it stands?
    IsComplete {
        /// The code.
        code: String,
        /// Where the verdict goes.
        answer: Answer<Verdict>,
    },
    /// What could stand at the cursor?
    Complete {
        /// The code.
        code: String,
        /// The cursor, in bytes.
        cursor: usize,
        /// Where the completions go.
        answer: Answer<Completions>,
    },
}

/// Whether Enter runs the code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does.
    Run,
    /// It opens another line, which starts with this.
    GoOn(String),
}

/// What could stand in a part of the code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completions {
    /// The texts.
    pub matches: Vec<String>,
    /// What they would replace, in bytes of the code.
    pub start: usize,
    /// Its end.
    pub end: usize,
}

/// Makes an editor one for Lua.
pub fn teach(editor: Reedline, events: &Sender<Event>, colored: bool) -> Reedline {
    let indent = Indent::default();
    let completion = ColumnarMenu::default().with_name(COMPLETION_MENU).with_marker("").with_columns(6);
    let completion = completion.with_text_style(Color::Default.normal());
    let indentation = ColumnarMenu::default().with_name(INDENT_MENU).with_marker("");
    let editor = editor
        .with_validator(Box::new(KernelValidator { events: events.clone(), indent: indent.clone() }))
        .with_completer(Box::new(KernelCompleter::new(events.clone())))
        .with_quick_completions(true)
        .with_partial_completions(true)
        .with_menu(ReedlineMenu::EngineCompleter(Box::new(completion)))
        .with_menu(ReedlineMenu::WithCompleter { menu: Box::new(indentation), completer: Box::new(indent.clone()) })
        .with_edit_mode(Box::new(Keys::new(Emacs::new(keys()), indent)));
    if colored { editor.with_highlighter(Box::new(LuaHighlighter)) } else { editor }
}

fn keys() -> reedline::Keybindings {
    let mut keys = default_emacs_keybindings();
    let menu = |name: &str| ReedlineEvent::Menu(name.to_owned());
    keys.add_binding(
        KeyModifiers::NONE,
        KeyCode::Tab,
        ReedlineEvent::UntilFound(vec![menu(COMPLETION_MENU), ReedlineEvent::MenuNext]),
    );
    keys.add_binding(KeyModifiers::SHIFT, KeyCode::BackTab, ReedlineEvent::MenuPrevious);
    // What follows `Enter` happens only where it opened a line: elsewhere it takes from a menu or ends the reading. The last
    // one is for a search of the history, which knows no sequences.
    let enter_and_indent = ReedlineEvent::Multiple(vec![ReedlineEvent::Enter, menu(INDENT_MENU)]);
    keys.add_binding(
        KeyModifiers::NONE,
        KeyCode::Enter,
        ReedlineEvent::UntilFound(vec![ReedlineEvent::MenuAccept, enter_and_indent, ReedlineEvent::Enter]),
    );
    keys
}

fn ask<A>(events: &Sender<Event>, question: impl FnOnce(Answer<A>) -> Question) -> Receiver<A> {
    let (answer, answered) = channel();
    // When the question cannot be put, its answer is dropped, which whoever waits for it notices.
    let _ = events.try_send(Event::Asked(question(answer)));
    answered
}

struct KernelValidator {
    events: Sender<Event>,
    indent: Indent,
}

impl Validator for KernelValidator {
    fn validate(&self, code: &str) -> ValidationResult {
        if code.trim().is_empty() {
            return ValidationResult::Complete;
        }
        let verdict = ask(&self.events, |answer| Question::IsComplete { code: code.to_owned(), answer });
        match verdict.recv_timeout(JUDGEMENT_PATIENCE) {
            Ok(Verdict::GoOn(indent)) => {
                self.indent.open(indent);
                ValidationResult::Incomplete
            }
            Ok(Verdict::Run) | Err(_) => ValidationResult::Complete,
        }
    }
}

/// A text to insert at the cursor, which the editor does without showing a menu.
pub fn only(value: String, cursor: usize) -> CompletionResult {
    let span = Span::new(cursor, cursor);
    CompletionResult::fresh(vec![Suggestion { value, span, ..Suggestion::default() }])
}

struct KernelCompleter {
    events: Sender<Event>,
    /// The code and cursor that were asked about last, and what came of it.
    asked: Option<Asked>,
}

struct Asked {
    code: String,
    cursor: usize,
    state: State,
}

enum State {
    Waiting { answer: Receiver<Completions>, since: Instant },
    Known(CompletionResult),
}

impl KernelCompleter {
    fn new(events: Sender<Event>) -> KernelCompleter {
        KernelCompleter { events, asked: None }
    }
}

impl Completer for KernelCompleter {
    fn complete(&mut self, code: &str, cursor: usize) -> CompletionResult {
        let line = code[..cursor].rsplit('\n').next().unwrap_or("");
        if line.trim().is_empty() {
            return only(STEP.to_owned(), cursor);
        }
        let asked = match self.asked.take_if(|asked| asked.code == code && asked.cursor == cursor) {
            Some(asked) => asked,
            None => {
                let question = |answer| Question::Complete { code: code.to_owned(), cursor, answer };
                let state = State::Waiting { answer: ask(&self.events, question), since: Instant::now() };
                Asked { code: code.to_owned(), cursor, state }
            }
        };
        let asked = self.asked.insert(asked);
        asked.look(COMPLETION_GLANCE);
        match &asked.state {
            State::Waiting { .. } => CompletionResult::Pending,
            State::Known(result) => result.clone(),
        }
    }

    fn poll_completion(&mut self) -> CompletionStatus {
        match &mut self.asked {
            Some(asked) if matches!(asked.state, State::Waiting { .. }) => {
                asked.look(Duration::ZERO);
                if matches!(asked.state, State::Known(_)) { CompletionStatus::Ready } else { CompletionStatus::Pending }
            }
            _ => CompletionStatus::Idle,
        }
    }
}

impl Asked {
    /// Sees whether the answer has come, or comes soon.
    fn look(&mut self, patience: Duration) {
        let State::Waiting { answer, since } = &self.state else { return };
        let completions = match answer.try_recv() {
            Err(TryRecvError::Empty) => match answer.recv_timeout(patience) {
                Err(RecvTimeoutError::Timeout) if since.elapsed() < COMPLETION_PATIENCE => return,
                received => received.ok(),
            },
            received => received.ok(),
        };
        self.state = State::Known(self.suggestions(completions.unwrap_or_default()));
    }

    fn suggestions(&self, completions: Completions) -> CompletionResult {
        let Completions { matches, start, end } = completions;
        let fits = start <= end && self.code.is_char_boundary(start) && self.code.is_char_boundary(end);
        if matches.is_empty() || !fits {
            return only(String::new(), self.cursor);
        }
        let span = Span::new(start, end);
        let suggestion = |value| Suggestion { value, span, ..Suggestion::default() };
        CompletionResult::fresh(matches.into_iter().map(suggestion).collect::<Vec<_>>())
    }
}
