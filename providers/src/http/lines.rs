//! The lines of a stream of bytes, as NDJSON has them: whole ones, however their bytes were divided on the way, and no longer than a bound.

use std::collections::VecDeque;

use reqwest::Response;

use super::server::Server;
use crate::error::{Error, ErrorKind};

/// More than any event of a generation; embeddings and images do not come in lines.
const LONGEST_LINE: usize = 16 * 1024 * 1024;

/// The lines of an answer's body. They are bytes: a character that two chunks share is whole again in its line.
pub(crate) struct Lines {
    server: Server,
    response: Response,
    splitter: Splitter,
    ended: bool,
}

impl Lines {
    /// The lines of `response`, none of which is read yet.
    pub(crate) fn new(server: Server, response: Response) -> Lines {
        Lines { server, response, splitter: Splitter::default(), ended: false }
    }

    /// The next line without its end; `None` after the last, which need not have one.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        loop {
            if let Some(line) = self.splitter.line() {
                return Ok(Some(line));
            }
            if self.ended {
                return Ok(self.splitter.rest());
            }
            match self.response.chunk().await.map_err(|error| self.server.transport(&error))? {
                Some(chunk) => self.splitter.put(&chunk),
                None => self.ended = true,
            }
            if self.splitter.unfinished.len() > LONGEST_LINE {
                let problem = format!("{} sent a line of more than {LONGEST_LINE} bytes", self.server.address());
                return Err(self.server.error(ErrorKind::Network, problem));
            }
        }
    }

    /// The head of the answer.
    pub(crate) fn response(&self) -> &Response {
        &self.response
    }
}

/// Puts chunks together and divides them at line feeds.
#[derive(Default)]
struct Splitter {
    lines: VecDeque<Vec<u8>>,
    unfinished: Vec<u8>,
}

impl Splitter {
    fn put(&mut self, mut chunk: &[u8]) {
        while let Some(end) = chunk.iter().position(|byte| *byte == b'\n') {
            let mut line = std::mem::take(&mut self.unfinished);
            line.extend_from_slice(&chunk[..end]);
            self.lines.push_back(without_return(line));
            chunk = &chunk[end + 1..];
        }
        self.unfinished.extend_from_slice(chunk);
    }

    fn line(&mut self) -> Option<Vec<u8>> {
        self.lines.pop_front()
    }

    fn rest(&mut self) -> Option<Vec<u8>> {
        let rest = without_return(std::mem::take(&mut self.unfinished));
        (!rest.is_empty()).then_some(rest)
    }
}

fn without_return(mut line: Vec<u8>) -> Vec<u8> {
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<String> {
        let mut splitter = Splitter::default();
        chunks.iter().for_each(|chunk| splitter.put(chunk));
        let whole = std::iter::from_fn(|| splitter.line()).collect::<Vec<_>>();
        whole.into_iter().chain(splitter.rest()).map(|line| String::from_utf8(line).unwrap()).collect()
    }

    #[test]
    fn a_last_line_needs_no_end() {
        assert_eq!(lines(&[b"a\r\n\nb"]), ["a", "", "b"]);
        assert_eq!(lines(&[b"a\r", b"\n"]), ["a"]);
        assert!(lines(&[b""]).is_empty());
    }

    proptest! {
        #[test]
        fn where_chunks_end_does_not_matter(text in "[aé🌙\n]{0,40}", cuts in proptest::collection::vec(0usize..100, 0..8)) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).chain([0, bytes.len()]).collect();
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
            let mut expected: Vec<&str> = text.split('\n').collect();
            expected.pop_if(|last| last.is_empty());
            prop_assert_eq!(lines(&chunks), expected);
        }
    }
}
