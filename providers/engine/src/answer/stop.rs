//! Texts that end an answer, found even across the borders of tokens.

use super::marker::{Found, find};
use crate::error::Error;

/// Bounds the work each token causes.
const MOST_STOP_TEXTS: usize = 64;

/// The stop texts of one answer, and the text that may be the beginning of one.
#[derive(Debug, Default)]
pub(crate) struct StopTexts {
    stops: Vec<String>,
    held: String,
}

impl StopTexts {
    /// Checks the texts; fails with [`Error::InvalidOption`].
    pub(crate) fn new(stops: Vec<String>) -> Result<StopTexts, Error> {
        let invalid = |value: String, expected: String| Err(Error::InvalidOption { name: "stop", value, expected });
        if stops.iter().any(String::is_empty) {
            return invalid(String::new(), "texts of at least one character".to_owned());
        }
        if stops.len() > MOST_STOP_TEXTS {
            return invalid(format!("{} texts", stops.len()), format!("at most {MOST_STOP_TEXTS}"));
        }
        Ok(StopTexts { stops, held: String::new() })
    }

    /// Takes more text and returns what cannot be part of a stop text; true once one has appeared.
    pub(super) fn push(&mut self, text: &str) -> (String, bool) {
        self.held.push_str(text);
        let mut certain = self.held.len();
        let mut stopped_at = None;
        for stop in &self.stops {
            match find(&self.held, stop) {
                Found::At(start) => stopped_at = Some(stopped_at.map_or(start, |earlier: usize| earlier.min(start))),
                Found::MayBeginAt(start) => certain = certain.min(start),
            }
        }
        match stopped_at {
            Some(start) => {
                let text = self.held[..start].to_owned();
                self.held.clear();
                (text, true)
            }
            None => (self.held.drain(..certain).collect(), false),
        }
    }

    /// What was held back for a stop text that never came.
    pub(super) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}
