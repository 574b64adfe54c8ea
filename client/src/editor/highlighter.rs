//! Colours for Lua code while it is typed.

use reedline::{Color, Highlighter, StyledText};

/// Lua's keywords.
const KEYWORDS: [&str; 22] = [
    "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in", "local", "nil",
    "not", "or", "repeat", "return", "then", "true", "until", "while",
];

/// Colours keywords, strings, numbers and comments.
pub struct LuaHighlighter;

impl Highlighter for LuaHighlighter {
    fn highlight(&self, code: &str, _cursor: usize) -> StyledText {
        let mut styled = StyledText::new();
        for (kind, piece) in pieces(code) {
            let style = match kind {
                Kind::Plain => Color::Default.normal(),
                Kind::Keyword => Color::Magenta.normal(),
                Kind::Text => Color::Green.normal(),
                Kind::Number => Color::Yellow.normal(),
                Kind::Comment => Color::Default.dimmed(),
            };
            styled.push((style, piece.to_owned()));
        }
        styled
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    Keyword,
    Text,
    Number,
    Comment,
}

/// The code in pieces of one kind, which together are the code.
fn pieces(code: &str) -> Vec<(Kind, &str)> {
    let mut pieces = Vec::new();
    let mut rest = code;
    while !rest.is_empty() {
        let (kind, length) = piece(rest);
        let (piece, after) = rest.split_at(length);
        pieces.push((kind, piece));
        rest = after;
    }
    pieces
}

fn piece(code: &str) -> (Kind, usize) {
    if let Some(comment) = code.strip_prefix("--") {
        let length = long_bracket(comment).unwrap_or_else(|| comment.find('\n').unwrap_or(comment.len()));
        return (Kind::Comment, 2 + length);
    }
    if let Some(length) = long_bracket(code) {
        return (Kind::Text, length);
    }
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    let until = |stops: &dyn Fn(char) -> bool| code.find(stops).unwrap_or(code.len());
    match code.chars().next() {
        Some(quote @ ('"' | '\'')) => (Kind::Text, short_string(code, quote)),
        Some(digit) if digit.is_ascii_digit() => {
            (Kind::Number, until(&|character| !is_word(character) && character != '.'))
        }
        Some(first) if is_word(first) => {
            let length = until(&|character| !is_word(character));
            (if KEYWORDS.contains(&&code[..length]) { Kind::Keyword } else { Kind::Plain }, length)
        }
        first => (Kind::Plain, first.map_or(0, char::len_utf8)),
    }
}

/// The length of a string in quotes; an unfinished one ends with its line.
fn short_string(code: &str, quote: char) -> usize {
    let mut characters = code.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => drop(characters.next()),
            '\n' => return at,
            _ if character == quote => return at + 1,
            _ => {}
        }
    }
    code.len()
}

/// The length of `[[text]]` or `[==[text]==]`; an unfinished one reaches to the end.
fn long_bracket(code: &str) -> Option<usize> {
    let inner = code.strip_prefix('[')?;
    let level = inner.len() - inner.trim_start_matches('=').len();
    inner[level..].strip_prefix('[')?;
    let close = format!("]{}]", "=".repeat(level));
    Some(code.find(&close).map_or(code.len(), |at| at + close.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(code: &str) -> Vec<(Kind, &str)> {
        pieces(code).into_iter().filter(|(kind, _)| *kind != Kind::Plain).collect()
    }

    #[test]
    fn code_falls_into_its_parts() {
        let code = "local s = \"a\\\"b\" .. [[c\nd]] -- e\nreturn 0x1F, endless --[[ f ]] end";
        let expected = [
            (Kind::Keyword, "local"),
            (Kind::Text, "\"a\\\"b\""),
            (Kind::Text, "[[c\nd]]"),
            (Kind::Comment, "-- e"),
            (Kind::Keyword, "return"),
            (Kind::Number, "0x1F"),
            (Kind::Comment, "--[[ f ]]"),
            (Kind::Keyword, "end"),
        ];
        assert_eq!(kinds(code), expected);
    }

    #[test]
    fn nothing_is_lost_of_code_that_is_being_typed() {
        for code in ["x = 'é\\", "[==[ ü", "--[[", "\"\\", "🌙 = 3..", "'a\n'b"] {
            assert_eq!(pieces(code).into_iter().map(|(_, piece)| piece).collect::<String>(), code);
        }
    }
}
