//! Turns the bytes of generated tokens into text as they come, never splitting a character.

/// Holds back the bytes of a character that is not complete yet (at most three).
#[derive(Debug, Default)]
pub(crate) struct Detokenizer {
    pending: Vec<u8>,
}

impl Detokenizer {
    /// Takes one token's bytes and returns the text that is complete. Bytes that cannot become a character are U+FFFD.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> String {
        self.pending.extend_from_slice(bytes);
        let mut text = String::new();
        loop {
            match std::str::from_utf8(&self.pending) {
                Ok(complete) => {
                    text.push_str(complete);
                    self.pending.clear();
                    return text;
                }
                Err(error) => {
                    let valid = error.valid_up_to();
                    text.push_str(&String::from_utf8_lossy(&self.pending[..valid]));
                    match error.error_len() {
                        None => {
                            self.pending.drain(..valid);
                            return text;
                        }
                        Some(bad) => {
                            text.push(char::REPLACEMENT_CHARACTER);
                            self.pending.drain(..valid + bad);
                        }
                    }
                }
            }
        }
    }

    /// What is left at the end: a character that was never completed is U+FFFD.
    pub(crate) fn finish(&mut self) -> String {
        let rest = String::from_utf8_lossy(&self.pending).into_owned();
        self.pending.clear();
        rest
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn characters_come_whole() {
        let mut detokenizer = Detokenizer::default();
        let bytes = "é🌙".as_bytes();
        let pushed: Vec<String> = bytes.iter().map(|byte| detokenizer.push(&[*byte])).collect();
        assert_eq!(pushed, ["", "é", "", "", "", "🌙"]);
        assert_eq!(detokenizer.finish(), "");
    }

    #[test]
    fn broken_bytes_become_replacement_characters() {
        let mut detokenizer = Detokenizer::default();
        assert_eq!(detokenizer.push(b"a\xffb\xf0\x9f"), "a\u{fffd}b");
        assert_eq!(detokenizer.push(b"c"), "\u{fffd}c");
        assert_eq!(detokenizer.push(b"\xe4\xb8"), "");
        assert_eq!(detokenizer.finish(), "\u{fffd}");
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_text(bytes: Vec<u8>, cut in 1usize..5) {
            let mut detokenizer = Detokenizer::default();
            let mut text: String = bytes.chunks(cut).map(|chunk| detokenizer.push(chunk)).collect();
            text.push_str(&detokenizer.finish());
            prop_assert_eq!(text, String::from_utf8_lossy(&bytes));
        }
    }
}
