//! What a command shows: a script's output as it comes, or one JSON object at the end.

use std::io::{self, ErrorKind, IsTerminal, Write};

use anyhow::{Context, Error};
use perilune_protocol::{MimeBundle, Publication, StreamName};
use serde::Serialize;
use serde_json::Value;

use crate::arguments::Format;
use crate::failure::Failure;

/// What a script prints, shown or gathered.
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
    /// Whether the last text printed to stdout left its line open.
    line_is_open: bool,
}

impl Output {
    /// Nothing yet. `shows_result`: whether the value of the code is printed.
    pub fn new(format: Format, shows_result: bool) -> Output {
        Output {
            format,
            shows_result,
            stdout: String::new(),
            stderr: String::new(),
            displays: Vec::new(),
            result: None,
            line_is_open: false,
        }
    }

    /// Shows or gathers a publication of the running code.
    pub fn show(&mut self, publication: Publication) -> Result<(), Failure> {
        match publication {
            Publication::Stream(stream) => self.stream(stream.name, &stream.text),
            Publication::ExecuteResult(result) => {
                let text = plain_text(&result.data);
                let shown = match &text {
                    Some(text) if self.shows_result && self.format == Format::Text => self.line(text),
                    _ => Ok(()),
                };
                self.result = text;
                shown
            }
            Publication::DisplayData(display) | Publication::UpdateDisplayData(display) => match self.format {
                Format::Json => {
                    self.displays.push(Value::Object(display.data));
                    Ok(())
                }
                Format::Text => plain_text(&display.data).map_or(Ok(()), |text| self.line(&text)),
            },
            // The reply says the same of an error, and the rest is for notebooks.
            _ => Ok(()),
        }
    }

    /// Prints an error, on a terminal below what was printed so far.
    pub fn complain(&mut self, text: &str) -> Result<(), Failure> {
        if self.line_is_open && io::stdout().is_terminal() {
            write(&mut io::stdout(), "\n")?;
        }
        write(&mut io::stderr(), text)
    }

    fn stream(&mut self, name: StreamName, text: &str) -> Result<(), Failure> {
        match (self.format, name) {
            (Format::Json, StreamName::Stdout) => self.stdout.push_str(text),
            (Format::Json, StreamName::Stderr) => self.stderr.push_str(text),
            (Format::Text, StreamName::Stdout) => {
                self.line_is_open = !text.ends_with('\n');
                write(&mut io::stdout(), text)?;
            }
            (Format::Text, StreamName::Stderr) => write(&mut io::stderr(), text)?,
        }
        Ok(())
    }

    fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.stream(StreamName::Stdout, &format!("{}\n", text.trim_end_matches('\n')))
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
