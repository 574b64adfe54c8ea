//! Text to tokens and back, built from a GGUF file's metadata alone. llama.cpp's results are the reference.
//!
//! Control tokens written out in a prompt (`<|im_end|>`) are read as the tokens they name, as llama.cpp does with a
//! rendered chat template; a message that contains one can therefore end its own turn early.

mod bpe;
mod detokenizer;
mod pre;
mod special;
mod spm;
#[cfg(test)]
mod vocabularies;
mod vocabulary;

pub(crate) use detokenizer::Detokenizer;

use crate::error::Error;
use crate::gguf::Gguf;
use bpe::Bpe;
use special::{Fragment, SpecialTokens};
use spm::Spm;
use vocabulary::Vocabulary;

/// Texts of tokens that end an answer whatever the metadata says; the list of llama.cpp's `llama-vocab.cpp`.
const END_OF_GENERATION: [&str; 15] = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
];

/// Special tokens: a prompt is searched for every one of them. Known vocabularies have up to 7,000.
const MOST_SPECIAL: usize = 16_384;

/// A model's tokenizer.
pub(crate) struct Tokenizer {
    model: Model,
    vocabulary: Vocabulary,
    special: SpecialTokens,
    bos: Option<u32>,
    eos: Option<u32>,
    add_bos: bool,
    add_eos: bool,
    end_of_generation: Vec<u32>,
}

enum Model {
    Bpe(Box<Bpe>),
    Spm(Spm),
}

impl Tokenizer {
    /// About how many bytes the tokenizer of a file takes at most, while it is built.
    pub(crate) fn bytes(gguf: &Gguf) -> u64 {
        let (tokens, in_file) = gguf.array_size("tokenizer.ggml.tokens");
        let (merges, merges_in_file) = gguf.array_size("tokenizer.ggml.merges");
        // A hash table has room for the next power of two above 8/7 of its entries.
        let table = |entries: u64, entry: u64| (entries * 8 / 7 + 1).next_power_of_two() * (entry + 1);
        // A text has its length before it in the file; a pointer, its room and its length in memory.
        let texts = |count: u64, in_file: u64, copies: u64| in_file.saturating_sub(count * 8) * copies + count * 24;
        let vocabulary = texts(tokens, in_file, 7) + tokens * 17 + 2 * table(tokens, 32);
        let merging = (texts(merges, merges_in_file, 2) + merges * 48).max(merges * 48 + table(merges, 16) * 3 / 2);
        vocabulary + merging
    }

    /// Builds the tokenizer a file describes; an unknown kind is refused, never guessed.
    pub(crate) fn from_gguf(gguf: &Gguf) -> Result<Tokenizer, Error> {
        let kind = gguf.required_text("tokenizer.ggml.model")?;
        let vocabulary = Vocabulary::from_gguf(gguf, kind == "llama")?;
        let (model, add_bos) = match kind.as_str() {
            "gpt2" => {
                let bpe = Bpe::from_gguf(gguf, &vocabulary)?;
                let add_bos = bpe.adds_bos_by_default();
                (Model::Bpe(Box::new(bpe)), add_bos)
            }
            "llama" => (Model::Spm(Spm::from_gguf(gguf, &vocabulary)?), true),
            other => {
                return Err(gguf.bytes().unsupported(format!(
                    "`tokenizer.ggml.model` is `{other}`; tokenizers that run: `gpt2` (byte-level BPE), `llama` (SentencePiece)"
                )));
            }
        };

        let special_id = |key: &str| -> Result<Option<u32>, Error> {
            match gguf.u64(key)? {
                Some(id) if id >= vocabulary.len() as u64 => Err(gguf
                    .bytes()
                    .invalid(format!("`{key}` is {id}, expected less than the {} tokens there are", vocabulary.len()))),
                id => Ok(id.map(|id| id as u32)),
            }
        };
        let bos = special_id("tokenizer.ggml.bos_token_id")?;
        let eos = special_id("tokenizer.ggml.eos_token_id")?;
        let named = [eos, special_id("tokenizer.ggml.eot_token_id")?, special_id("tokenizer.ggml.eom_token_id")?];
        let mut end_of_generation: Vec<u32> = named.into_iter().flatten().collect();
        end_of_generation
            .extend((0..vocabulary.len() as u32).filter(|id| END_OF_GENERATION.contains(&vocabulary.text(*id))));

        let special = SpecialTokens::new(&vocabulary, &end_of_generation);
        if special.len() > MOST_SPECIAL {
            return Err(gguf.bytes().unsupported(format!(
                "its vocabulary has {} special tokens, expected at most {MOST_SPECIAL}",
                special.len()
            )));
        }
        Ok(Tokenizer {
            special,
            model,
            bos,
            eos,
            add_bos: gguf.bool("tokenizer.ggml.add_bos_token")?.unwrap_or(add_bos),
            add_eos: gguf.bool("tokenizer.ggml.add_eos_token")?.unwrap_or(false),
            end_of_generation,
            vocabulary,
        })
    }

    /// The tokens of a prompt: special tokens in it are recognised, and begin and end of sequence are added where the
    /// file asks for it (the beginning only if the text does not carry it already).
    pub(crate) fn prompt(&self, text: &str) -> Vec<u32> {
        let mut tokens = Vec::new();
        if let (true, Some(bos)) = (self.add_bos, self.bos)
            && !text.starts_with(self.vocabulary.text(bos))
        {
            tokens.push(bos);
        }
        self.append(text, &mut tokens);
        if let (true, Some(eos)) = (self.add_eos, self.eos) {
            tokens.push(eos);
        }
        tokens
    }

    /// The tokens of a stretch of text, without what begins and ends a sequence.
    pub(crate) fn tokens(&self, text: &str) -> Vec<u32> {
        let mut tokens = Vec::new();
        match &self.model {
            Model::Bpe(bpe) => bpe.append(text, &mut tokens),
            Model::Spm(spm) => spm.append(text, false, &mut tokens),
        }
        tokens
    }

    /// How many tokens there are.
    pub(crate) fn size(&self) -> usize {
        self.vocabulary.len()
    }

    fn append(&self, text: &str, tokens: &mut Vec<u32>) {
        let mut after_special = true;
        for fragment in self.special.split(text) {
            match fragment {
                Fragment::Token(id) => tokens.push(id),
                Fragment::Text(text) => match &self.model {
                    Model::Bpe(bpe) => bpe.append(text, tokens),
                    Model::Spm(spm) => spm.append(text, after_special, tokens),
                },
            }
            after_special = matches!(fragment, Fragment::Token(_));
        }
    }

    /// The bytes a generated token adds to the answer; none for a control token.
    pub(crate) fn piece(&self, token: u32) -> &[u8] {
        self.vocabulary.piece(token)
    }

    /// The bytes by which people know a token: those it adds to an answer, or a control token's name.
    pub(crate) fn shown(&self, token: u32) -> &[u8] {
        match self.piece(token) {
            [] => self.vocabulary.text(token).as_bytes(),
            piece => piece,
        }
    }

    /// Whether this token ends an answer.
    pub(crate) fn ends_generation(&self, token: u32) -> bool {
        self.end_of_generation.contains(&token)
    }

    /// Whether this token begins sequences.
    pub(crate) fn begins_sequence(&self, token: u32) -> bool {
        self.bos == Some(token)
    }

    /// The text of the token that begins a sequence, for the chat template.
    pub(crate) fn bos_text(&self) -> &str {
        self.bos.map_or("", |id| self.vocabulary.text(id))
    }

    /// The text of the token that ends a sequence, for the chat template.
    pub(crate) fn eos_text(&self) -> &str {
        self.eos.map_or("", |id| self.vocabulary.text(id))
    }
}

#[cfg(all(test, feature = "moonlet"))]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::gguf::ModelBytes;

    fn moonlet() -> Tokenizer {
        let bytes = ModelBytes::bundled(crate::moonlet().expect("the feature is on"));
        Tokenizer::from_gguf(&Gguf::parse(Arc::new(bytes)).expect("moonlet is sound"))
            .expect("moonlet's tokenizer runs")
    }

    #[test]
    fn text_survives_the_round_trip() {
        let tokenizer = moonlet();
        for text in
            ["What is 12 plus 30?", "  two  spaces\n\n\ttabs", "Grüße, 世界 🌙\u{200d}🚀", "It's we'll I'M", "\0\u{7f}"]
        {
            let bytes: Vec<u8> = tokenizer.prompt(text).iter().flat_map(|id| tokenizer.piece(*id).to_vec()).collect();
            assert_eq!(String::from_utf8_lossy(&bytes), text);
        }
    }

    #[test]
    fn control_tokens_are_single_tokens_and_leave_no_text() {
        let tokenizer = moonlet();
        let tokens = tokenizer.prompt("<|im_end|>");
        assert_eq!(tokens.len(), 1);
        assert!(tokenizer.ends_generation(tokens[0]));
        assert!(tokenizer.piece(tokens[0]).is_empty());
    }
}
