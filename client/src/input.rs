//! What a script reads: lines of this process's standard input, asked for by the kernel.

use std::io::{self, BufRead, IsTerminal, Stdin, Write};
use std::sync::{Mutex, PoisonError};

use perilune_protocol::{InputReply, InputRequest};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::failure::tell;

/// The terminal's settings while what is typed is hidden.
static HIDDEN: Mutex<Option<Termios>> = Mutex::new(None);

/// Shows the prompt and waits for a line; the end of the input is `eof`. The prompt goes to stderr, because stdout is the script's.
///
/// Dropped while it waits, it takes nothing of what is typed at a terminal later.
pub async fn read(request: InputRequest) -> io::Result<InputReply> {
    let hidden = request.password.then(Hidden::begin).transpose()?.flatten();
    if !request.prompt.is_empty() {
        let mut stderr = io::stderr().lock();
        stderr.write_all(request.prompt.as_bytes())?;
        stderr.flush()?;
    }
    let reply = if io::stdin().is_terminal() { typed().await? } else { next_line().await? };
    if hidden.is_some() {
        tell("");
    }
    Ok(reply)
}

/// Makes what is typed visible again, if [`read`] hid it.
pub fn show_typing() {
    let settings = HIDDEN.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(settings) = settings {
        // There is nobody left to tell when the terminal is gone.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &settings);
    }
}

/// The next line of an input that nobody types. Dropped while it waits, the line that comes next is lost.
pub async fn next_line() -> io::Result<InputReply> {
    tokio::task::spawn_blocking(|| line(&mut io::stdin().lock())).await.map_err(io::Error::other)?
}

/// The next line of the terminal, which hands lines over whole: reading is begun once there is one.
async fn typed() -> io::Result<InputReply> {
    let mut typed = Vec::new();
    while !typed.ends_with(b"\n") {
        // Registered anew for every piece: readiness is told once, and a line can be there already.
        let terminal = readable(io::stdin())?;
        terminal.readable().await?.retain_ready();
        let mut piece = [0; 4096];
        match rustix::io::read(terminal.get_ref(), &mut piece)? {
            0 => break,
            length => typed.extend_from_slice(&piece[..length]),
        }
    }
    line(&mut typed.as_slice())
}

#[expect(deprecated, reason = "its successor is unsafe, for types that may close their descriptor; Stdin never does")]
fn readable(stdin: Stdin) -> io::Result<AsyncFd<Stdin>> {
    AsyncFd::with_interest(stdin, Interest::READABLE)
}

fn line(input: &mut impl BufRead) -> io::Result<InputReply> {
    let mut value = String::new();
    let eof = input.read_line(&mut value)? == 0;
    if value.ends_with('\n') {
        value.pop();
        if value.ends_with('\r') {
            value.pop();
        }
    }
    Ok(InputReply { value, eof })
}

/// Hides what is typed until it is dropped.
struct Hidden;

impl Hidden {
    fn begin() -> io::Result<Option<Hidden>> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(&stdin)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&stdin, OptionalActions::Now, &quiet)?;
        *HIDDEN.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        Ok(Some(Hidden))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        show_typing();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_lose_their_end_and_the_last_one_counts() {
        let mut input = &b"one\r\n\ntwo"[..];
        let read: Vec<_> = std::iter::from_fn(|| Some(line(&mut input).unwrap()))
            .take(4)
            .map(|reply| (reply.value, reply.eof))
            .collect();
        let expected = [("one", false), ("", false), ("two", false), ("", true)];
        assert_eq!(read, expected.map(|(value, eof)| (value.to_string(), eof)));
    }

    #[test]
    fn what_is_not_text_is_an_error() {
        assert_eq!(line(&mut &b"\xff\n"[..]).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
