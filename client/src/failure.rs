//! Why a command did not end well: what stderr says and which code the process ends with.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Error;

/// The end of a command that did not do what it was asked.
#[derive(Debug)]
pub enum Failure {
    /// The kernel answered that it could not: an unknown model, say. Exit code 1.
    Refused(Error),
    /// The command line, a file it names or the configuration is wrong. Exit code 2.
    Usage(Error),
    /// No kernel answers, or no longer. Exit code 3.
    Connection(Error),
    /// The user interrupted it. Exit code 130, as shells have it: 128 + SIGINT.
    Interrupted,
    /// Whoever read the output has gone. Exit code 141: 128 + SIGPIPE.
    OutputClosed,
}

impl Failure {
    /// Says on stderr what happened, on one line, and names the exit code.
    pub fn report(self) -> ExitCode {
        let (code, error) = match self {
            Failure::Refused(error) => (1, Some(error)),
            Failure::Usage(error) => (2, Some(error)),
            Failure::Connection(error) => (3, Some(error)),
            Failure::Interrupted => (130, None),
            Failure::OutputClosed => (141, None),
        };
        if let Some(error) = error {
            tell(&format!("error: {}", one_line(&chain(&error))));
        }
        ExitCode::from(code)
    }
}

/// Prints a line to stderr; if nobody listens there, nobody is told.
pub fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// The error with its causes, without those that it quotes already.
fn chain(error: &Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |told, cause| {
        if told.is_empty() {
            cause
        } else if told.contains(&cause) {
            told
        } else {
            format!("{told}: {cause}")
        }
    })
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let error = Error::msg("no such file").context("cannot read `a`: no such file").context("cannot start");
        assert_eq!(chain(&error), "cannot start: cannot read `a`: no such file");
    }

    #[test]
    fn an_error_is_one_line() {
        assert_eq!(one_line("cannot read `a`:\n  |\n 3 | x\n\n"), "cannot read `a`: | 3 | x");
    }
}
