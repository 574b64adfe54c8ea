//! Finds special tokens written out in a text, longest first, as llama.cpp's `tokenizer_st_partition` does.

use super::vocabulary::{TokenKind, Vocabulary};

/// A stretch of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fragment<'a> {
    Text(&'a str),
    Token(u32),
}

pub(super) struct SpecialTokens {
    /// Texts and ids, longest text first.
    tokens: Vec<(String, u32)>,
}

impl SpecialTokens {
    pub(super) fn new(vocabulary: &Vocabulary, end_of_generation: &[u32]) -> SpecialTokens {
        let is_special = |id: &u32| {
            matches!(vocabulary.kind(*id), TokenKind::Control | TokenKind::UserDefined | TokenKind::Unknown)
                || end_of_generation.contains(id)
        };
        let mut tokens: Vec<(String, u32)> = (0..vocabulary.len() as u32)
            .filter(is_special)
            .map(|id| (vocabulary.text(id).to_owned(), id))
            .filter(|(text, _)| !text.is_empty())
            .collect();
        tokens.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
        SpecialTokens { tokens }
    }

    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    pub(super) fn split<'a>(&self, text: &'a str) -> Vec<Fragment<'a>> {
        let mut fragments = vec![Fragment::Text(text)];
        for (special, id) in &self.tokens {
            if text.contains(special.as_str()) {
                fragments = fragments.into_iter().flat_map(|fragment| split_fragment(fragment, special, *id)).collect();
            }
        }
        fragments.retain(|fragment| *fragment != Fragment::Text(""));
        fragments
    }
}

fn split_fragment<'a>(fragment: Fragment<'a>, special: &str, id: u32) -> Vec<Fragment<'a>> {
    let Fragment::Text(text) = fragment else {
        return vec![fragment];
    };
    let mut fragments = Vec::new();
    for (index, part) in text.split(special).enumerate() {
        if index > 0 {
            fragments.push(Fragment::Token(id));
        }
        fragments.push(Fragment::Text(part));
    }
    fragments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_special_token_wins() {
        let special =
            SpecialTokens { tokens: vec![("<|end|><|x|>".into(), 3), ("<|end|>".into(), 1), ("<|x|>".into(), 2)] };
        let fragments = special.split("a<|end|><|x|><|x|>b<|end|>");
        let expected =
            [Fragment::Text("a"), Fragment::Token(3), Fragment::Token(2), Fragment::Text("b"), Fragment::Token(1)];
        assert_eq!(fragments, expected);
        assert!(special.split("").is_empty());
    }
}
