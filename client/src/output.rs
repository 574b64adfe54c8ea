//! What a command shows: a request's output as it comes, or one JSON object at the end.

mod held;

use std::env;
use std::io::{self, ErrorKind, IsTerminal, Write};

use anyhow::{Context, Error};
use perilune_protocol::{DisplayData, ErrorReply, MimeBundle, Publication, StreamName};
use serde::Serialize;
use serde_json::Value;

use self::held::Held;
use crate::arguments::Format;
use crate::failure::Failure;
use crate::route;
use crate::screen::{Screen, Size};

/// What a request prints, shown or gathered.
#[derive(Debug)]
pub struct Output {
    format: Format,
    shows_result: bool,
    /// Printed text, gathered for JSON.
    pub stdout: String,
    /// Text printed to stderr, gathered for JSON.
    pub stderr: String,
    /// Displayed values by MIME type, gathered for JSON.
    pub displays: Vec<Value>,
    /// The code's value.
    pub result: Option<String>,
    /// What is on the terminal, if stdout is one.
    screen: Option<Screen>,
    /// Without a terminal: displays that are not shown as they are now.
    held: Held,
}

impl Output {
    /// Nothing yet. `shows_result`: whether the value of the code is printed.
    pub fn new(format: Format, shows_result: bool) -> Output {
        let screen = match format {
            Format::Text => terminal_size().map(Screen::new),
            Format::Json => None,
        };
        Output {
            format,
            shows_result,
            stdout: String::new(),
            stderr: String::new(),
            displays: Vec::new(),
            result: None,
            screen,
            held: Held::default(),
        }
    }

    /// Shows or gathers a publication of the running code.
    pub fn show(&mut self, publication: Publication) -> Result<(), Failure> {
        if let (Some(screen), Some(size)) = (&mut self.screen, terminal_size()) {
            screen.resize(size);
        }
        match publication {
            Publication::Stream(stream) => self.stream(stream.name, &stream.text),
            Publication::ExecuteResult(result) => {
                let text = plain_text(&result.data);
                self.result = text.clone();
                match (text, &mut self.screen) {
                    (Some(text), Some(screen)) if self.shows_result => print(&screen.display(None, &text)),
                    (Some(_), None) if self.shows_result && self.format == Format::Text => self.keep(result.data),
                    _ => Ok(()),
                }
            }
            Publication::DisplayData(display) => self.display(display, false),
            Publication::UpdateDisplayData(display) => self.display(display, true),
            Publication::ClearOutput(clear) => {
                self.held.clear();
                let text = self.screen.as_mut().map_or_else(String::new, |screen| screen.clear(clear.wait));
                print(&text)
            }
            Publication::ModelEvent(event) => {
                route::log(&event);
                Ok(())
            }
            // The reply says the same of an error, and the rest is for notebooks.
            _ => Ok(()),
        }
    }

    /// The request is done: what is to be seen at its end is shown.
    pub fn finish(&mut self) -> Result<(), Failure> {
        for data in self.held.take() {
            self.keep(data)?;
        }
        print(&self.screen.as_mut().map_or_else(String::new, Screen::finish))
    }

    /// Prints an error, on a terminal below what was printed so far.
    pub fn complain(&mut self, error: &ErrorReply) -> Result<(), Failure> {
        self.end_line()?;
        write(&mut io::stderr(), &complaint(error, is_colored(&io::stderr())))
    }

    /// Begins a line on the terminal, unless the cursor is at the start of one.
    pub fn end_line(&self) -> Result<(), Failure> {
        if self.screen.as_ref().is_some_and(Screen::line_is_open) { print("\n") } else { Ok(()) }
    }

    fn stream(&mut self, name: StreamName, text: &str) -> Result<(), Failure> {
        match (self.format, name) {
            (Format::Json, StreamName::Stdout) => self.stdout.push_str(text),
            (Format::Json, StreamName::Stderr) => self.stderr.push_str(text),
            (Format::Text, StreamName::Stdout) => {
                let text = self.screen.as_mut().map_or_else(|| text.to_owned(), |screen| screen.print(text));
                print(&text)?;
            }
            (Format::Text, StreamName::Stderr) => match &mut self.screen {
                // The same screen, as a rule.
                Some(screen) if io::stderr().is_terminal() => {
                    let (before, after) = screen.around(text);
                    print(&before)?;
                    write(&mut io::stderr(), text)?;
                    print(&after)?;
                }
                _ => write(&mut io::stderr(), text)?,
            },
        }
        Ok(())
    }

    fn display(&mut self, display: DisplayData, update: bool) -> Result<(), Failure> {
        let Some(screen) = &mut self.screen else {
            return self.held.display(display, update).map_or(Ok(()), |data| self.keep(data));
        };
        let Some(text) = plain_text(&display.data) else { return Ok(()) };
        match (display_id(&display), update) {
            (Some(id), true) => print(&screen.update(id, &text)),
            (id, false) => print(&screen.display(id, &text)),
            (None, true) => Ok(()),
        }
    }

    /// Shows or gathers what cannot be taken back.
    fn keep(&mut self, data: MimeBundle) -> Result<(), Failure> {
        match (self.format, plain_text(&data)) {
            (Format::Json, _) => self.displays.push(Value::Object(data)),
            (Format::Text, Some(text)) => print(&format!("{}\n", text.trim_end_matches('\n')))?,
            (Format::Text, None) => {}
        }
        Ok(())
    }
}

fn display_id(display: &DisplayData) -> Option<&str> {
    display.transient.get("display_id")?.as_str()
}

/// The size of the terminal that stdout is, if it is one that can be written on at any place.
pub fn terminal_size() -> Option<Size> {
    if !io::stdout().is_terminal() || is_dumb() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    // A terminal that does not know its size says 0.
    let or = |number: u16, default| if number == 0 { default } else { usize::from(number) };
    Some(Size { width: or(size.ws_col, 80), height: or(size.ws_row, 24) })
}

/// Whether the terminal can only print.
pub fn is_dumb() -> bool {
    env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb")
}

/// Whether colours are wanted on a stream: <https://no-color.org>.
pub fn is_colored(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && !is_dumb() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The lines that tell of an error: the message, and where it happened.
fn complaint(error: &ErrorReply, colored: bool) -> String {
    let headline = format!("{}: {}", error.ename, error.evalue);
    let trace: String =
        error.traceback.iter().filter(|line| **line != headline).map(|line| format!("{line}\n")).collect();
    match colored {
        true if trace.is_empty() => format!("\x1b[1;31merror:\x1b[0m {}\n", error.evalue),
        true => format!("\x1b[1;31merror:\x1b[0m {}\n\x1b[2m{trace}\x1b[0m", error.evalue),
        false => format!("error: {}\n{trace}", error.evalue),
    }
}

/// Prints text to stdout at once.
pub fn print(text: &str) -> Result<(), Failure> {
    write(&mut io::stdout(), text)
}

/// Prints a value to stdout as JSON.
pub fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text =
        serde_json::to_string_pretty(value).context("cannot write the result as JSON").map_err(Failure::Refused)?;
    print(&format!("{text}\n"))
}

fn write(to: &mut impl Write, text: &str) -> Result<(), Failure> {
    to.write_all(text.as_bytes()).and_then(|()| to.flush()).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Failure::OutputClosed,
        _ => Failure::Refused(Error::from(error).context("cannot write the output")),
    })
}

fn plain_text(data: &MimeBundle) -> Option<String> {
    match data.get("text/plain")? {
        Value::String(text) => Some(text.clone()),
        // nbformat's way to write text with many lines.
        Value::Array(lines) => Some(lines.iter().filter_map(Value::as_str).collect()),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_says_the_message_once() {
        let error = ErrorReply {
            ename: "LuaError".to_string(),
            evalue: "a.lua:1: x".to_string(),
            traceback: ["LuaError: a.lua:1: x", "stack traceback:", "    a.lua:1: in main chunk"]
                .map(str::to_string)
                .to_vec(),
            ..ErrorReply::default()
        };
        assert_eq!(complaint(&error, false), "error: a.lua:1: x\nstack traceback:\n    a.lua:1: in main chunk\n");
    }
}
