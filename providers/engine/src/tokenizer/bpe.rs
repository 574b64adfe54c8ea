//! Byte-level BPE (`gpt2`) through the `tokenizers` crate.

use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{Model, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, SplitDelimiterBehavior};

use super::pre;
use super::vocabulary::Vocabulary;
use crate::error::Error;
use crate::gguf::Gguf;

pub(super) struct Bpe {
    model: BPE,
    splits: Vec<Split>,
    bytes: ByteLevel,
    add_bos: bool,
}

impl Bpe {
    pub(super) fn from_gguf(gguf: &Gguf, vocabulary: &Vocabulary) -> Result<Bpe, Error> {
        let kind = gguf.required_text("tokenizer.ggml.pre")?;
        let Some(pre) = pre::find(&kind) else {
            return Err(gguf
                .bytes()
                .unsupported(format!("`tokenizer.ggml.pre` is `{kind}`; kinds that run: {}", pre::names())));
        };
        let failed =
            |problem: tokenizers::Error| gguf.bytes().invalid(format!("the tokenizer cannot be built: {problem}"));
        let model = BPE::builder()
            .vocab_and_merges(vocabulary.ids::<Vocab>(), merges(gguf)?)
            .ignore_merges(pre.ignore_merges)
            // A word's merges cached for everyone would let one user time what another wrote.
            .cache_capacity(0)
            .build()
            .map_err(failed)?;
        let split = |pattern: &&str| {
            Split::new(SplitPattern::Regex((*pattern).to_owned()), SplitDelimiterBehavior::Isolated, false)
        };
        let splits = pre.patterns.iter().map(split).collect::<Result<_, _>>().map_err(failed)?;
        Ok(Bpe { model, splits, bytes: ByteLevel::new(false, false, false), add_bos: pre.add_bos })
    }

    /// Whether this kind begins sequences with BOS when the file does not say.
    pub(super) fn adds_bos_by_default(&self) -> bool {
        self.add_bos
    }

    /// Appends the tokens of a text without special tokens.
    pub(super) fn append(&self, text: &str, tokens: &mut Vec<u32>) {
        let mut words = PreTokenizedString::from(text);
        let cut = self
            .splits
            .iter()
            .try_for_each(|split| split.pre_tokenize(&mut words))
            .and_then(|()| self.bytes.pre_tokenize(&mut words));
        if let Err(problem) = cut {
            // Cutting a string at the matches of a compiled expression has no way to fail.
            tracing::error!(%problem, "a text could not be cut into words");
            return;
        }
        for (word, _, _) in words.get_splits(OffsetReferential::Original, OffsetType::None) {
            // Without an unknown token and dropout `tokenize` cannot fail; bytes the vocabulary lacks are dropped.
            tokens.extend(self.model.tokenize(word).into_iter().flatten().map(|token| token.id));
        }
    }
}

fn merges(gguf: &Gguf) -> Result<Merges, Error> {
    let key = "tokenizer.ggml.merges";
    let texts = gguf.texts(key)?;
    // Room at once: a vector that grows has up to three times as much, and there are hundreds of thousands.
    let mut merges = Vec::with_capacity(texts.len());
    for (index, merge) in texts.into_iter().enumerate() {
        let Some((left, right)) = merge.split_once(' ') else {
            return Err(gguf.bytes().invalid(format!("`{key}` entry {index} has no space, expected two tokens")));
        };
        merges.push((left.to_owned(), right.to_owned()));
    }
    Ok(merges)
}
