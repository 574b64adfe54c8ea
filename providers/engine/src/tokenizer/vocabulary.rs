//! The tokens of a model: their texts, their kinds, and the bytes each adds to an answer.

use std::collections::HashMap;

use crate::error::Error;
use crate::gguf::Gguf;

/// What SentencePiece writes for a space.
pub(super) const SPM_SPACE: char = '\u{2581}';

/// What a token is for; numbers of `tokenizer.ggml.token_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

pub(super) struct Vocabulary {
    texts: Vec<String>,
    kinds: Vec<TokenKind>,
    /// The bytes of every token, one after another.
    pieces: Vec<u8>,
    piece_ends: Vec<usize>,
}

impl Vocabulary {
    pub(super) fn from_gguf(gguf: &Gguf, spm: bool) -> Result<Vocabulary, Error> {
        let key = "tokenizer.ggml.tokens";
        let texts = gguf.texts(key)?;
        let kinds = kinds(gguf, texts.len())?;
        let byte_of = byte_level_alphabet();
        let mut pieces = Vec::new();
        let mut piece_ends = Vec::with_capacity(texts.len());
        for (text, kind) in texts.iter().zip(&kinds) {
            match kind {
                TokenKind::Control | TokenKind::Unknown => {}
                TokenKind::UserDefined => pieces.extend(text.as_bytes()),
                TokenKind::Byte => pieces.extend(byte_token(text)),
                TokenKind::Normal | TokenKind::Unused if spm => {
                    pieces.extend(text.replace(SPM_SPACE, " ").as_bytes());
                }
                TokenKind::Normal | TokenKind::Unused => append_byte_level(text, &byte_of, &mut pieces),
            }
            piece_ends.push(pieces.len());
        }
        Ok(Vocabulary { texts, kinds, pieces, piece_ends })
    }

    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }

    pub(super) fn text(&self, id: u32) -> &str {
        self.texts.get(id as usize).map_or("", String::as_str)
    }

    pub(super) fn kind(&self, id: u32) -> TokenKind {
        self.kinds.get(id as usize).copied().unwrap_or(TokenKind::Normal)
    }

    /// The bytes a token adds to an answer.
    pub(super) fn piece(&self, id: u32) -> &[u8] {
        let index = id as usize;
        let start = if index == 0 { 0 } else { self.piece_ends[index - 1] };
        &self.pieces[start..self.piece_ends[index]]
    }

    /// The id of every text; of two equal texts the later wins, as in llama.cpp.
    pub(super) fn ids<Ids: FromIterator<(String, u32)>>(&self) -> Ids {
        self.texts.iter().zip(0u32..).map(|(text, id)| (text.clone(), id)).collect()
    }
}

fn kinds(gguf: &Gguf, count: usize) -> Result<Vec<TokenKind>, Error> {
    let key = "tokenizer.ggml.token_type";
    let Some(numbers) = gguf.numbers(key, count, "tokens")? else {
        return Ok(vec![TokenKind::Normal; count]);
    };
    let kind = |number: &f32| match *number as i64 {
        2 => TokenKind::Unknown,
        3 => TokenKind::Control,
        4 => TokenKind::UserDefined,
        5 => TokenKind::Unused,
        6 => TokenKind::Byte,
        _ => TokenKind::Normal,
    };
    Ok(numbers.iter().map(kind).collect())
}

/// The byte a SentencePiece byte token such as `<0x0A>` stands for.
pub(super) fn byte_token(text: &str) -> Option<u8> {
    u8::from_str_radix(text.strip_prefix("<0x")?.strip_suffix('>')?, 16).ok()
}

/// GPT-2's table: the byte each character of a byte-level token stands for.
fn byte_level_alphabet() -> HashMap<char, u8> {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let mut next = 256u32;
    let mut alphabet = HashMap::new();
    for byte in 0..=255u8 {
        let code = if printable(byte) {
            u32::from(byte)
        } else {
            next += 1;
            next - 1
        };
        alphabet.extend(char::from_u32(code).map(|character| (character, byte)));
    }
    alphabet
}

fn append_byte_level(text: &str, byte_of: &HashMap<char, u8>, pieces: &mut Vec<u8>) {
    for character in text.chars() {
        match byte_of.get(&character) {
            Some(byte) => pieces.push(*byte),
            None => pieces.extend(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}
