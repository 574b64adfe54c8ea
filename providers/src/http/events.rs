//! Server-sent events (WHATWG HTML, section 9.2), as far as models' APIs use them: the data of each event, and its name if it has one.

use super::lines::Lines;
use crate::error::Error;

/// The byte order mark that a stream may begin with.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// One event.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerSentEvent {
    /// What `event:` says.
    pub(crate) name: String,
    /// What the lines of `data:` say together.
    pub(crate) data: Vec<u8>,
}

/// The events of an answer's body; comments, by which servers keep a connection alive, are left out.
pub(crate) struct ServerSentEvents {
    lines: Lines,
    event: Collected,
    begun: bool,
}

#[derive(Default)]
struct Collected {
    event: ServerSentEvent,
    has_data: bool,
}

impl ServerSentEvents {
    /// The events that `lines` are.
    pub(crate) fn new(lines: Lines) -> ServerSentEvents {
        ServerSentEvents { lines, event: Collected::default(), begun: false }
    }

    /// The next event that has data; `None` after the last, which need not end with an empty line.
    pub(crate) async fn next(&mut self) -> Result<Option<ServerSentEvent>, Error> {
        while let Some(line) = self.lines.next().await? {
            let line = if self.begun { &line[..] } else { line.strip_prefix(MARK).unwrap_or(&line) };
            self.begun = true;
            if let Some(event) = self.event.line(line) {
                return Ok(Some(event));
            }
        }
        Ok(self.event.end())
    }

    /// The lines that it reads.
    pub(crate) fn lines(&self) -> &Lines {
        &self.lines
    }
}

impl Collected {
    /// Takes a line; an empty one ends the event.
    fn line(&mut self, line: &[u8]) -> Option<ServerSentEvent> {
        if line.is_empty() {
            return self.end();
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (field, value) = line.split_at(colon);
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                if self.has_data {
                    self.event.data.push(b'\n');
                }
                self.has_data = true;
                self.event.data.extend_from_slice(value);
            }
            b"event" => self.event.name = String::from_utf8_lossy(value).into_owned(),
            _ => {}
        }
        None
    }

    fn end(&mut self) -> Option<ServerSentEvent> {
        let Collected { event, has_data } = std::mem::take(self);
        has_data.then_some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &str) -> Vec<(String, String)> {
        let mut collected = Collected::default();
        let mut events: Vec<ServerSentEvent> =
            text.lines().filter_map(|line| collected.line(line.as_bytes())).collect();
        events.extend(collected.end());
        events.into_iter().map(|event| (event.name, String::from_utf8(event.data).unwrap())).collect()
    }

    #[test]
    fn data_is_joined_and_the_rest_is_left_out() {
        let own = |list: &[(&str, &str)]| {
            list.iter().map(|(name, data)| ((*name).to_owned(), (*data).to_owned())).collect::<Vec<_>>()
        };
        assert_eq!(events("data: a\n\ndata:b\n\n"), own(&[("", "a"), ("", "b")]));
        assert_eq!(events(": keep\n\nevent: error\ndata: a\ndata:  b\nid: 3\n\n"), own(&[("error", "a\n b")]));
        assert_eq!(events("event: ping\n\n\n\ndata: [DONE]"), own(&[("", "[DONE]")]));
    }
}
