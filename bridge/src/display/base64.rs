//! Base64 as RFC 4648 has it, with padding: how bytes travel in a MIME bundle.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The text that stands for `bytes`.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let sextet = bits >> (18 - 6 * place) & 0x3F;
            text.push(if place > group.len() { '=' } else { char::from(ALPHABET[sextet as usize]) });
        }
    }
    text
}

/// Whether `text` is base64 already; line breaks may be in it.
pub(crate) fn is_encoded(text: &[u8]) -> bool {
    let mut letters = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect::<Vec<u8>>();
    let length = letters.len();
    for _ in 0..2 {
        if letters.last() == Some(&b'=') {
            letters.pop();
        }
    }
    length > 0 && length % 4 == 0 && letters.iter().all(|letter| ALPHABET.contains(letter))
}

#[cfg(test)]
mod tests {
    use super::{encode, is_encoded};

    /// The vectors of RFC 4648, section 10.
    #[test]
    fn the_vectors_of_the_rfc() {
        let vectors =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")];
        for (bytes, text) in vectors {
            assert_eq!(encode(bytes.as_bytes()), text);
        }
        assert_eq!(encode(b"\xfb\xff\xbe"), "+/++");
    }

    #[test]
    fn bytes_are_told_from_base64() {
        assert!(is_encoded(b"Zm9v\nYg==\n") && is_encoded(b"+/++"));
        for bytes in [b"".as_slice(), b"\x89PNG", b"Zm9", b"Z===", b"Zm9v Zm9v!", b"%PDF"] {
            assert!(!is_encoded(bytes), "{bytes:?}");
        }
    }
}
