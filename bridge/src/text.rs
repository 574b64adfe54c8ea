//! Bytes that come in pieces, as text: a character is never split between two pieces, and bytes
//! that are no UTF-8 become U+FFFD.

/// Holds back the start of a character until the rest of it comes.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    held: Vec<u8>,
}

impl Decoder {
    /// The text of `bytes`, after what was held back.
    pub(crate) fn decode(&mut self, bytes: &[u8]) -> String {
        if self.held.is_empty()
            && let Ok(text) = std::str::from_utf8(bytes)
        {
            return text.to_owned();
        }
        self.held.extend_from_slice(bytes);
        let complete = self.held.len() - unfinished(&self.held);
        let rest = self.held.split_off(complete);
        let text = String::from_utf8_lossy(&self.held).into_owned();
        self.held = rest;
        text
    }

    /// What is still held back.
    pub(crate) fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.held)).into_owned()
    }
}

/// How many bytes at the end are the start of a character.
fn unfinished(bytes: &[u8]) -> usize {
    for length in 1..=bytes.len().min(3) {
        let tail = &bytes[bytes.len() - length..];
        let needed = match tail[0] {
            0xC2..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF4 => 4,
            0x80..=0xBF => continue,
            _ => return 0,
        };
        return if needed > length { length } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::Decoder;

    #[test]
    fn a_character_in_pieces_comes_whole() {
        let text = "a é 月 🌙 z";
        for size in 1..text.len() {
            let mut decoder = Decoder::default();
            let mut joined = String::new();
            for piece in text.as_bytes().chunks(size) {
                let decoded = decoder.decode(piece);
                assert!(!decoded.contains('\u{FFFD}'), "{size}: {decoded}");
                joined.push_str(&decoded);
            }
            joined.push_str(&decoder.finish());
            assert_eq!(joined, text);
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced_and_none_is_kept_for_ever() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.decode(b"a\xff"), "a\u{FFFD}");
        assert_eq!(decoder.decode(b"\xe2\x82"), "");
        assert_eq!(decoder.decode(b"z"), "\u{FFFD}z");
        assert_eq!(decoder.decode(b"\xf0\x9f"), "");
        assert_eq!(decoder.finish(), "\u{FFFD}");
    }
}
