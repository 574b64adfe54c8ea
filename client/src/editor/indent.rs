//! Indentation: a line that Enter opens starts where the kernel says, and a word that closes its block goes back one step.

use std::sync::{Arc, Mutex, PoisonError};

use reedline::{
    Completer, CompletionResult, EditCommand, EditMode, Emacs, PromptEditMode, ReedlineEvent, ReedlineRawEvent,
};

use super::code::only;

/// One step, as Tab inserts it at the start of a line and a closing word takes it back.
pub const STEP: &str = "  ";

/// What the line that Enter opened starts with. The editor takes it as the only completion of a menu, at once.
#[derive(Clone, Default)]
pub struct Indent(Arc<Mutex<Opened>>);

#[derive(Default)]
struct Opened {
    indent: String,
    /// Nobody has typed on that line yet.
    is_new: bool,
}

impl Indent {
    /// A line is about to be opened.
    pub fn open(&self, indent: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Opened { indent, is_new: true };
    }

    /// The indentation of a line that was opened just now.
    fn opened(&self) -> Option<String> {
        let mut opened = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut opened.is_new).then(|| opened.indent.clone())
    }
}

impl Completer for Indent {
    fn complete(&mut self, _code: &str, cursor: usize) -> CompletionResult {
        only(self.0.lock().unwrap_or_else(PoisonError::into_inner).indent.clone(), cursor)
    }
}

/// Emacs' keys, with an eye on words that close a block.
pub struct Keys {
    keys: Emacs,
    indent: Indent,
    line: Option<Line>,
}

/// A line that Enter opened and that was only typed on since.
struct Line {
    indent: String,
    typed: String,
}

impl Keys {
    /// These keys; `indent` tells of the lines that are opened.
    pub fn new(keys: Emacs, indent: Indent) -> Keys {
        Keys { keys, indent, line: None }
    }
}

impl EditMode for Keys {
    fn parse_event(&mut self, event: ReedlineRawEvent) -> ReedlineEvent {
        if let Some(indent) = self.indent.opened() {
            self.line = Some(Line { indent, typed: String::new() });
        }
        let event = self.keys.parse_event(event);
        let Some(line) = &mut self.line else { return event };
        if let ReedlineEvent::Edit(commands) = &event
            && let [EditCommand::InsertChar(character)] = commands.as_slice()
        {
            return ReedlineEvent::Edit(line.key(*character));
        }
        self.line = None;
        event
    }

    fn edit_mode(&self) -> PromptEditMode {
        self.keys.edit_mode()
    }
}

impl Line {
    /// The character, and what it does to the indentation.
    fn key(&mut self, character: char) -> Vec<EditCommand> {
        let closed = is_closing(&self.typed);
        self.typed.push(character);
        let goes_on = character.is_alphanumeric() || character == '_';
        let insert = EditCommand::InsertChar(character);
        let Some(shorter) = self.indent.strip_suffix(STEP) else { return vec![insert] };
        let to_start = EditCommand::MoveToLineStart { select: false };
        let right = |characters: usize| vec![EditCommand::MoveRight { select: false }; characters];
        let before = self.typed.chars().count() - 1;
        let mut commands = vec![to_start];
        match (closed, is_closing(&self.typed)) {
            (false, true) => {
                commands.extend(vec![EditCommand::Delete; STEP.len()]);
                commands.extend(right(shorter.len() + before));
            }
            // `end` became `ending`
            (true, false) if goes_on => {
                commands.push(EditCommand::InsertString(STEP.to_owned()));
                commands.extend(right(shorter.len() + before));
            }
            _ => commands.clear(),
        }
        commands.push(insert);
        commands
    }
}

fn is_closing(word: &str) -> bool {
    matches!(word, "end" | "else" | "elseif" | "until" | "}" | ")" | "]")
}

#[cfg(test)]
mod tests {
    use reedline::Reedline;

    use super::*;

    /// What a line holds after it was opened with this indentation and typed on.
    fn typed(indent: &str, text: &str) -> String {
        let mut line = Line { indent: indent.to_owned(), typed: String::new() };
        let mut editor = Reedline::create();
        editor.run_edit_commands(&[EditCommand::InsertString(format!("do\n{indent}"))]);
        for character in text.chars() {
            editor.run_edit_commands(&line.key(character));
        }
        editor.current_buffer_contents().replacen("do\n", "", 1)
    }

    #[test]
    fn a_closing_word_goes_back_a_step_and_a_longer_one_returns() {
        assert_eq!(typed("  ", "end"), "end");
        assert_eq!(typed("    ", "end"), "  end");
        assert_eq!(typed("  ", "end)"), "end)");
        assert_eq!(typed("  ", "elseif"), "elseif");
        assert_eq!(typed("  ", "endpoint = 1"), "  endpoint = 1");
        assert_eq!(typed("  ", "x.end"), "  x.end");
        assert_eq!(typed("", "end"), "end");
    }
}
