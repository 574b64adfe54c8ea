//! Lua's tokens, as `llex.c` of Lua 5.4 reads them, with their places. Serves what must know a
//! cell's shape without running it: kept locals, completeness, completion.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Name,
    Keyword,
    Number,
    String,
    Symbol,
}

/// A token and where it stands, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind,
    pub(crate) text: &'a str,
    pub(crate) start: usize,
}

impl Token<'_> {
    /// Where it ends.
    pub(crate) fn end(&self) -> usize {
        self.start + self.text.len()
    }

    /// Whether it is this keyword or symbol.
    pub(crate) fn is(&self, text: &str) -> bool {
        matches!(self.kind, Kind::Keyword | Kind::Symbol) && self.text == text
    }
}

/// The tokens of some code.
#[derive(Debug)]
pub(crate) struct Lexed<'a> {
    pub(crate) tokens: Vec<Token<'a>>,
    /// Where a string or a comment starts that reaches the end of the code: a long bracket or a
    /// quoted string that is not closed, or a comment on the last line.
    pub(crate) open: Option<usize>,
}

pub(crate) const KEYWORDS: [&str; 22] = [
    "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in", "local", "nil",
    "not", "or", "repeat", "return", "then", "true", "until", "while",
];

/// Longest first.
const SYMBOLS: [&str; 10] = ["...", "..", "==", "~=", "<=", ">=", "//", "::", "<<", ">>"];

/// The tokens of `code`. Bytes that start no token are skipped: the compiler judges them.
pub(crate) fn lex(code: &str) -> Lexed<'_> {
    let bytes = code.as_bytes();
    let mut tokens = Vec::new();
    let mut open = None;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let start = at;
        let kind = match byte {
            b'-' if bytes[at..].starts_with(b"--") => {
                let (end, closed) = comment(bytes, at);
                if !closed {
                    open = Some(start);
                }
                at = end;
                continue;
            }
            b'[' => match long_bracket(bytes, at) {
                Some((end, closed)) => {
                    if !closed {
                        open = Some(start);
                    }
                    at = end;
                    Kind::String
                }
                None => {
                    at += 1;
                    Kind::Symbol
                }
            },
            b'"' | b'\'' => {
                let (end, closed) = quoted(bytes, at);
                if !closed && end == bytes.len() {
                    open = Some(start);
                }
                at = end;
                Kind::String
            }
            b'0'..=b'9' => {
                at = numeral(bytes, at);
                Kind::Number
            }
            b'.' if bytes.get(at + 1).is_some_and(u8::is_ascii_digit) => {
                at = numeral(bytes, at);
                Kind::Number
            }
            b'_' | b'a'..=b'z' | b'A'..=b'Z' => {
                while bytes.get(at).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
                    at += 1;
                }
                match KEYWORDS.contains(&&code[start..at]) {
                    true => Kind::Keyword,
                    false => Kind::Name,
                }
            }
            _ => {
                let symbol = SYMBOLS.iter().find(|symbol| bytes[at..].starts_with(symbol.as_bytes()));
                match symbol {
                    Some(symbol) => at += symbol.len(),
                    None => at += 1,
                }
                if !byte.is_ascii_punctuation() {
                    continue;
                }
                Kind::Symbol
            }
        };
        tokens.push(Token { kind, text: &code[start..at], start });
    }
    Lexed { tokens, open }
}

/// The end of the comment at `at`, and whether it ends before the code does.
fn comment(bytes: &[u8], at: usize) -> (usize, bool) {
    if bytes.get(at + 2) == Some(&b'[')
        && let Some(end) = long_bracket(bytes, at + 2)
    {
        return end;
    }
    match bytes[at..].iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
        Some(length) => (at + length, true),
        None => (bytes.len(), false),
    }
}

/// The end of the long bracket at `at`, and whether it is closed; `None` if there is none.
fn long_bracket(bytes: &[u8], at: usize) -> Option<(usize, bool)> {
    let level = bytes[at + 1..].iter().take_while(|byte| **byte == b'=').count();
    if bytes.get(at + 1 + level) != Some(&b'[') {
        return None;
    }
    let mut closing = vec![b'='; level + 2];
    closing[0] = b']';
    closing[level + 1] = b']';
    let content = at + level + 2;
    let found = bytes[content..].windows(closing.len()).position(|window| window == closing);
    Some(match found {
        Some(length) => (content + length + closing.len(), true),
        None => (bytes.len(), false),
    })
}

/// The end of the quoted string at `at`, and whether it is closed.
fn quoted(bytes: &[u8], at: usize) -> (usize, bool) {
    let quote = bytes[at];
    let mut position = at + 1;
    while let Some(&byte) = bytes.get(position) {
        match byte {
            b'\\' if bytes.get(position + 1) == Some(&b'z') => {
                position += 2;
                while bytes.get(position).is_some_and(|byte| byte.is_ascii_whitespace() || *byte == 0x0b) {
                    position += 1;
                }
            }
            b'\\' if bytes[position + 1..].starts_with(b"\r\n") || bytes[position + 1..].starts_with(b"\n\r") => {
                position += 3;
            }
            b'\\' => position += 2,
            b'\n' | b'\r' => return (position, false),
            _ if byte == quote => return (position + 1, true),
            _ => position += 1,
        }
    }
    (bytes.len(), false)
}

/// The end of the numeral at `at`.
fn numeral(bytes: &[u8], at: usize) -> usize {
    let hexadecimal = bytes[at] == b'0' && matches!(bytes.get(at + 1), Some(b'x' | b'X'));
    let mut position = at + if hexadecimal { 2 } else { 1 };
    while let Some(&byte) = bytes.get(position) {
        let exponent = match hexadecimal {
            true => matches!(byte, b'p' | b'P'),
            false => matches!(byte, b'e' | b'E'),
        };
        if exponent && matches!(bytes.get(position + 1), Some(b'+' | b'-')) {
            position += 2;
        } else if byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'_' {
            position += 1;
        } else {
            break;
        }
    }
    position
}

#[cfg(test)]
mod tests {
    use super::{Kind, lex};

    fn texts(code: &str) -> Vec<&str> {
        lex(code).tokens.iter().map(|token| token.text).collect()
    }

    #[test]
    fn tokens_are_those_of_lua() {
        assert_eq!(
            texts("local x <const> = a.b[1]..'s'--c\n+0x1p-3"),
            ["local", "x", "<", "const", ">", "=", "a", ".", "b", "[", "1", "]", "..", "'s'", "+", "0x1p-3"]
        );
        assert_eq!(texts("a--[[ x\n]]b--[==[ ]] ]==]c"), ["a", "b", "c"]);
        assert_eq!(
            texts(
                r#"'\'' "\\" '\z
            x' "\
" z"#
            )
            .len(),
            5
        );
        assert_eq!(texts("[[a]b]] [=[ ]] ]=] t[ [[k]] ]"), ["[[a]b]]", "[=[ ]] ]=]", "t", "[", "[[k]]", "]"]);
        assert_eq!(texts("3..2"), ["3..2"]);
        assert_eq!(texts("a<<1>>2//3~=4::l::"), ["a", "<<", "1", ">>", "2", "//", "3", "~=", "4", "::", "l", "::"]);
        assert_eq!(texts(".5 ... .. .x"), [".5", "...", "..", ".", "x"]);
    }

    #[test]
    fn what_is_open_at_the_end_is_known() {
        for (code, open) in [
            ("x = [[a", Some(4)),
            ("x = 'a", Some(4)),
            ("--[[ a", Some(0)),
            ("x -- a", Some(2)),
            ("x -- a\n", None),
            ("x = 'a\n y", None),
            ("x = 'a\\", Some(4)),
            ("x = [==", None),
        ] {
            assert_eq!(lex(code).open, open, "{code}");
        }
    }

    #[test]
    fn any_text_is_lexed_in_order_and_without_a_panic() {
        use proptest::prelude::*;
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let code = r#"(\[=*\[|\]=*\]|--|["'\\]|[ -~\n\ré月]){0,40}"#;
        runner
            .run(&code, |code| {
                let mut end = 0;
                for token in lex(&code).tokens {
                    prop_assert!(token.start >= end && token.end() > token.start);
                    prop_assert_eq!(&code[token.start..token.end()], token.text);
                    prop_assert!(token.kind != Kind::Name || token.text.is_ascii());
                    end = token.end();
                }
                Ok(())
            })
            .expect("no counterexample");
    }
}
