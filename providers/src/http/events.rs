//! Server-sent events (WHATWG HTML, section 9.2), as far as models' APIs use them: the data of each event.

use super::lines::Lines;
use crate::error::Error;

/// The byte order mark that a stream may begin with.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// The events of an answer's body; comments, by which servers keep a connection alive, are left out.
pub(crate) struct ServerSentEvents {
    lines: Lines,
    event: Collected,
    begun: bool,
}

/// The data of the event that is being read.
#[derive(Default)]
struct Collected {
    data: Option<Vec<u8>>,
}

impl ServerSentEvents {
    /// The events that `lines` are.
    pub(crate) fn new(lines: Lines) -> ServerSentEvents {
        ServerSentEvents { lines, event: Collected::default(), begun: false }
    }

    /// The data of the next event that has some; `None` after the last, which need not end with an empty line.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
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
    fn line(&mut self, line: &[u8]) -> Option<Vec<u8>> {
        if line.is_empty() {
            return self.end();
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (field, value) = line.split_at(colon);
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        if field == b"data" {
            match &mut self.data {
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                None => self.data = Some(value.to_vec()),
            }
        }
        None
    }

    fn end(&mut self) -> Option<Vec<u8>> {
        self.data.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &str) -> Vec<String> {
        let mut collected = Collected::default();
        let mut events: Vec<Vec<u8>> = text.lines().filter_map(|line| collected.line(line.as_bytes())).collect();
        events.extend(collected.end());
        events.into_iter().map(|data| String::from_utf8(data).unwrap()).collect()
    }

    #[test]
    fn data_is_joined_and_the_rest_is_left_out() {
        assert_eq!(events("data: a\n\ndata:b\n\n"), ["a", "b"]);
        assert_eq!(events(": keep\n\nevent: error\ndata: a\ndata:  b\nid: 3\n\n"), ["a\n b"]);
        assert_eq!(events("event: ping\n\n\n\ndata: [DONE]"), ["[DONE]"]);
    }
}
