//! SentencePiece (`llama`): neighbours merge while the vocabulary holds their union, best score first, leftmost on a
//! tie; what is no token then becomes byte tokens. Follows llama.cpp's `llm_tokenizer_spm_session`.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

use super::vocabulary::{SPM_SPACE, TokenKind, Vocabulary, byte_token};
use crate::error::Error;
use crate::gguf::Gguf;

pub(super) struct Spm {
    ids: HashMap<String, u32>,
    scores: Vec<f32>,
    /// The byte token of each byte.
    byte_ids: Vec<Option<u32>>,
    add_space_prefix: bool,
}

/// A stretch of the text that is, or may become, one token.
struct Symbol {
    start: usize,
    length: usize,
    previous: Option<usize>,
    next: Option<usize>,
}

/// Two neighbours that could merge.
struct Bigram {
    score: f32,
    left: usize,
    right: usize,
    length: usize,
}

impl Spm {
    pub(super) fn from_gguf(gguf: &Gguf, vocabulary: &Vocabulary) -> Result<Spm, Error> {
        let key = "tokenizer.ggml.scores";
        let scores = gguf.numbers(key, vocabulary.len(), "tokens")?.ok_or_else(|| gguf.missing(key))?;
        let mut byte_ids = vec![None; 256];
        for id in 0..vocabulary.len() as u32 {
            if let (TokenKind::Byte, Some(byte)) = (vocabulary.kind(id), byte_token(vocabulary.text(id))) {
                byte_ids[usize::from(byte)] = Some(id);
            }
        }
        let add_space_prefix = gguf.bool("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
        Ok(Spm { ids: vocabulary.ids(), scores, byte_ids, add_space_prefix })
    }

    /// Appends the tokens of a text without special tokens.
    pub(super) fn append(&self, text: &str, after_special: bool, tokens: &mut Vec<u32>) {
        let space = SPM_SPACE.encode_utf8(&mut [0; 4]).to_owned();
        let prefix = if self.add_space_prefix && after_special { space.as_str() } else { "" };
        let text = format!("{prefix}{}", text.replace(' ', &space));

        let mut symbols = symbols(&text);
        let mut queue = BinaryHeap::new();
        for right in 1..symbols.len() {
            self.push_bigram(&text, &symbols, Some(right - 1), Some(right), &mut queue);
        }
        while let Some(bigram) = queue.pop() {
            let (left, right) = (&symbols[bigram.left], &symbols[bigram.right]);
            if left.length == 0 || right.length == 0 || left.length + right.length != bigram.length {
                continue;
            }
            let after = right.next;
            symbols[bigram.left].length = bigram.length;
            symbols[bigram.left].next = after;
            symbols[bigram.right].length = 0;
            if let Some(after) = after {
                symbols[after].previous = Some(bigram.left);
            }
            let before = symbols[bigram.left].previous;
            self.push_bigram(&text, &symbols, before, Some(bigram.left), &mut queue);
            self.push_bigram(&text, &symbols, Some(bigram.left), after, &mut queue);
        }
        for symbol in symbols.iter().filter(|symbol| symbol.length > 0) {
            let piece = &text[symbol.start..symbol.start + symbol.length];
            match self.ids.get(piece) {
                Some(id) => tokens.push(*id),
                None => tokens.extend(piece.bytes().filter_map(|byte| self.byte_ids[usize::from(byte)])),
            }
        }
    }

    fn push_bigram(
        &self,
        text: &str,
        symbols: &[Symbol],
        left: Option<usize>,
        right: Option<usize>,
        queue: &mut BinaryHeap<Bigram>,
    ) {
        let (Some(left), Some(right)) = (left, right) else {
            return;
        };
        let length = symbols[left].length + symbols[right].length;
        let start = symbols[left].start;
        if let Some(id) = self.ids.get(&text[start..start + length]) {
            queue.push(Bigram { score: self.scores[*id as usize], left, right, length });
        }
    }
}

fn symbols(text: &str) -> Vec<Symbol> {
    let mut symbols: Vec<Symbol> = text
        .char_indices()
        .enumerate()
        .map(|(index, (start, character))| Symbol {
            start,
            length: character.len_utf8(),
            previous: index.checked_sub(1),
            next: Some(index + 1),
        })
        .collect();
    if let Some(last) = symbols.last_mut() {
        last.next = None;
    }
    symbols
}

impl Ord for Bigram {
    fn cmp(&self, other: &Bigram) -> Ordering {
        self.score.total_cmp(&other.score).then(other.left.cmp(&self.left))
    }
}

impl PartialOrd for Bigram {
    fn partial_cmp(&self, other: &Bigram) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Bigram {
    fn eq(&self, other: &Bigram) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Bigram {}
