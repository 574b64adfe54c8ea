//! Lua's grammar as far as it can be told from tokens: where blocks, brackets and expressions end.
//! Nothing here needs code to be whole: an editor asks about code that is being written.

use crate::lexer::{Kind, Token};

/// `while` and `for` open theirs with `do`, `elseif` and `else` go on with that of `if`.
pub(crate) fn opens_block(token: &Token<'_>) -> bool {
    ["function", "do", "if", "repeat"].iter().any(|word| token.is(word))
}

pub(crate) fn closes_block(token: &Token<'_>) -> bool {
    token.is("end") || token.is("until")
}

/// A place among tokens that moves over what it is told to skip. Where code is not whole it stops at the end.
pub(crate) struct Cursor<'t, 'a> {
    pub(crate) tokens: &'t [Token<'a>],
    pub(crate) at: usize,
}

impl Cursor<'_, '_> {
    pub(crate) fn takes(&mut self, text: &str) -> bool {
        let found = self.peek(text);
        if found {
            self.at += 1;
        }
        found
    }

    fn peek(&self, text: &str) -> bool {
        self.tokens.get(self.at).is_some_and(|token| token.is(text))
    }

    /// From after a `function` to after its `end`.
    pub(crate) fn skip_block(&mut self) {
        let mut depth = 1usize;
        while depth > 0 && self.at < self.tokens.len() {
            let token = &self.tokens[self.at];
            if opens_block(token) {
                depth += 1;
            } else if closes_block(token) {
                depth -= 1;
            }
            self.at += 1;
        }
    }

    /// From an opening bracket to after the closing one.
    pub(crate) fn skip_brackets(&mut self) {
        let mut depth = 0usize;
        while let Some(token) = self.tokens.get(self.at) {
            if ["(", "[", "{"].iter().any(|text| token.is(text)) {
                depth += 1;
            } else if [")", "]", "}"].iter().any(|text| token.is(text)) {
                depth = depth.saturating_sub(1);
            }
            self.at += 1;
            if depth == 0 {
                return;
            }
        }
    }

    pub(crate) fn skip_expressions(&mut self) {
        self.skip_expression();
        while self.takes(",") {
            self.skip_expression();
        }
    }

    /// An expression is operands between operators: where no operator follows an operand, it ends.
    pub(crate) fn skip_expression(&mut self) {
        loop {
            while ["-", "not", "#", "~"].iter().any(|operator| self.peek(operator)) {
                self.at += 1;
            }
            self.skip_operand();
            let operator = self
                .tokens
                .get(self.at)
                .is_some_and(|token| BINARY_OPERATORS.iter().any(|operator| token.is(operator)));
            if !operator {
                return;
            }
            self.at += 1;
        }
    }

    fn skip_operand(&mut self) {
        let Some(token) = self.tokens.get(self.at) else {
            return;
        };
        if token.is("function") {
            self.at += 1;
            self.skip_block();
        } else if token.is("{") {
            self.skip_brackets();
        } else if token.is("(") {
            self.skip_brackets();
            self.skip_suffixes();
        } else {
            let name = token.kind == Kind::Name;
            self.at += 1;
            if name {
                self.skip_suffixes();
            }
        }
    }

    /// Indexes and calls.
    fn skip_suffixes(&mut self) {
        while let Some(token) = self.tokens.get(self.at) {
            if token.is(".") || token.is(":") {
                self.at += 2;
            } else if token.is("[") || token.is("(") || token.is("{") {
                self.skip_brackets();
            } else if token.kind == Kind::String {
                self.at += 1;
            } else {
                return;
            }
        }
    }
}

const BINARY_OPERATORS: [&str; 21] = [
    "+", "-", "*", "/", "//", "%", "^", "..", "<", "<=", ">", ">=", "==", "~=", "and", "or", "&", "|", "~", "<<", ">>",
];

/// The bracket that the one at `close` closes, if it closes any.
pub(crate) fn opening(tokens: &[Token<'_>], close: usize) -> Option<usize> {
    let mut depth = 0usize;
    for at in (0..=close).rev() {
        match bracket(&tokens[at]) {
            Some(Bracket::Close) => depth += 1,
            Some(Bracket::Open) => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            None if depth == 0 => return None,
            None => {}
        }
    }
    None
}

pub(crate) enum Bracket {
    Open,
    Close,
}

pub(crate) fn bracket(token: &Token<'_>) -> Option<Bracket> {
    if token.kind != Kind::Symbol {
        return None;
    }
    match token.text {
        "(" | "[" | "{" => Some(Bracket::Open),
        ")" | "]" | "}" => Some(Bracket::Close),
        _ => None,
    }
}
