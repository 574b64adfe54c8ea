//! The locals and parameters in scope at a place in code that is being written, and the globals it
//! assigns: what can be named although nothing has run yet.

use std::collections::HashSet;

use crate::editor::expression::is_dot;
use crate::lexer::{Kind, Token};
use crate::syntax::{Bracket, Cursor, bracket, closes_block, opens_block};

/// A variable that the code declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable<'a> {
    pub(crate) name: &'a str,
    /// The index of the name's token.
    pub(crate) declared: usize,
    /// Where the expression starts that it is given.
    pub(crate) value: Option<usize>,
    /// The tokens of its parameters, if it is a function written there.
    pub(crate) parameters: Option<(usize, usize)>,
}

/// The variables in scope before the token `end`, innermost last.
pub(crate) fn locals<'a>(tokens: &[Token<'a>], end: usize) -> Vec<Variable<'a>> {
    let end = end.min(tokens.len());
    let tokens = &tokens[..end];
    let mut scopes = Scopes::default();
    let mut at = 0;
    while at < end {
        let token = &tokens[at];
        at = match token.text {
            _ if token.kind != Kind::Keyword => at + 1,
            "local" => scopes.local(tokens, at),
            "function" => scopes.function(tokens, at),
            "for" => scopes.loop_variables(tokens, at + 1),
            "until" => {
                let mut cursor = Cursor { tokens, at: at + 1 };
                cursor.skip_expression();
                if cursor.at < end {
                    // What follows the condition does not see the block's locals.
                    scopes.close();
                }
                at + 1
            }
            "do" | "then" | "repeat" => {
                scopes.open();
                at + 1
            }
            "else" => {
                scopes.close();
                scopes.open();
                at + 1
            }
            "elseif" | "end" => {
                scopes.close();
                at + 1
            }
            _ => at + 1,
        };
    }
    scopes.visible
}

#[derive(Default)]
struct Scopes<'a> {
    visible: Vec<Variable<'a>>,
    /// How many were visible when each open block began.
    blocks: Vec<usize>,
    /// The variables of a loop whose `do` is to come.
    pending: Vec<Variable<'a>>,
}

impl<'a> Scopes<'a> {
    fn open(&mut self) {
        self.blocks.push(self.visible.len());
        self.visible.append(&mut self.pending);
    }

    fn close(&mut self) {
        if let Some(length) = self.blocks.pop() {
            self.visible.truncate(length);
        }
    }

    /// After `local`; the index to go on with.
    fn local(&mut self, tokens: &[Token<'a>], at: usize) -> usize {
        if tokens.get(at + 1).is_some_and(|token| token.is("function")) {
            if let Some(name) = tokens.get(at + 2).filter(|token| token.kind == Kind::Name) {
                let parameters = parameters(tokens, at + 3);
                self.visible.push(Variable { name: name.text, declared: at + 2, value: None, parameters });
            }
            return at + 1;
        }
        let mut names = Vec::new();
        let mut cursor = Cursor { tokens, at: at + 1 };
        while let Some(token) = tokens.get(cursor.at).filter(|token| token.kind == Kind::Name) {
            names.push((token.text, cursor.at));
            cursor.at += 1;
            if cursor.takes("<") {
                cursor.at += 2;
            }
            if !cursor.takes(",") {
                break;
            }
        }
        // The functions within the values have scopes of their own: they are not skipped.
        let go_on = cursor.at;
        let first = cursor.takes("=").then_some(cursor.at);
        if first.is_none_or(|first| values_end(tokens, first)) {
            let value = first.filter(|first| *first < tokens.len());
            for (index, (name, declared)) in names.into_iter().enumerate() {
                let value = value.filter(|_| index == 0);
                let parameters = value.and_then(|value| written_parameters(tokens, value));
                self.visible.push(Variable { name, declared, value, parameters });
            }
        }
        go_on
    }

    /// After `function`.
    fn function(&mut self, tokens: &[Token<'a>], at: usize) -> usize {
        let mut open = at + 1;
        let mut method = false;
        while let Some(token) = tokens.get(open).filter(|token| token.kind == Kind::Name || is_dot(token)) {
            method |= token.is(":");
            open += 1;
        }
        self.open();
        if method {
            self.visible.push(Variable { name: "self", declared: at, value: None, parameters: None });
        }
        if !tokens.get(open).is_some_and(|token| token.is("(")) {
            return open;
        }
        let close = (open..tokens.len()).find(|at| tokens[*at].is(")")).unwrap_or(tokens.len());
        for (declared, token) in tokens[..close].iter().enumerate().skip(open) {
            if token.kind == Kind::Name {
                self.visible.push(Variable { name: token.text, declared, value: None, parameters: None });
            }
        }
        close
    }

    /// After `for`.
    fn loop_variables(&mut self, tokens: &[Token<'a>], mut at: usize) -> usize {
        self.pending.clear();
        while let Some(token) = tokens.get(at).filter(|token| token.kind == Kind::Name || token.is(",")) {
            if token.kind == Kind::Name {
                let variable = Variable { name: token.text, declared: at, value: None, parameters: None };
                self.pending.push(variable);
            }
            at += 1;
        }
        at
    }
}

/// Whether the values that start at `first` end where the tokens do, or before.
fn values_end(tokens: &[Token<'_>], first: usize) -> bool {
    let mut cursor = Cursor { tokens, at: first };
    cursor.skip_expressions();
    if cursor.at < tokens.len() {
        return true;
    }
    let values = &tokens[first.min(tokens.len())..];
    let (mut brackets, mut blocks) = (0i64, 0i64);
    for token in values {
        match bracket(token) {
            Some(Bracket::Open) => brackets += 1,
            Some(Bracket::Close) => brackets -= 1,
            None if opens_block(token) => blocks += 1,
            None if closes_block(token) => blocks -= 1,
            None => {}
        }
    }
    // After an operator or a comma they go on.
    let whole = values.last().is_some_and(|last| {
        let words = ["end", "nil", "true", "false", "...", ")", "]", "}"];
        !matches!(last.kind, Kind::Symbol | Kind::Keyword) || words.iter().any(|word| last.is(word))
    });
    brackets == 0 && blocks == 0 && whole
}

/// The parameters of the function that is written at `value`, if one is.
pub(crate) fn written_parameters(tokens: &[Token<'_>], value: usize) -> Option<(usize, usize)> {
    tokens.get(value).filter(|token| token.is("function"))?;
    parameters(tokens, value + 1)
}

/// The tokens between the parentheses at `open`.
fn parameters(tokens: &[Token<'_>], open: usize) -> Option<(usize, usize)> {
    tokens.get(open).filter(|token| token.is("("))?;
    let close = (open..tokens.len()).find(|at| tokens[*at].is(")"))?;
    Some((open + 1, close))
}

/// The globals that code assigns or defines outside every table, wherever it does.
pub(crate) fn assigned<'a>(tokens: &[Token<'a>]) -> Vec<Variable<'a>> {
    let mut found: Vec<Variable<'a>> = Vec::new();
    let mut names = HashSet::new();
    let mut depth = 0usize;
    for at in 0..tokens.len() {
        let token = &tokens[at];
        if token.is("{") || token.is("(") {
            depth += 1;
        } else if token.is("}") || token.is(")") {
            depth = depth.saturating_sub(1);
        }
        let before = at.checked_sub(1).map(|before| &tokens[before]);
        let after = tokens.get(at + 1);
        if token.kind != Kind::Name || names.contains(token.text) {
            continue;
        }
        let defined = before.is_some_and(|before| before.is("function")) && after.is_some_and(|after| after.is("("));
        let local = at >= 2 && tokens[at - 2].is("local");
        let starts = before.is_none_or(|before| {
            !before.is(".") && !before.is(":") && !before.is("local") && !before.is(",") && !before.is("for")
        });
        let given = depth == 0 && starts && after.is_some_and(|after| after.is("="));
        if (defined && !local) || given {
            let value = given.then_some(at + 2);
            let parameters = match value {
                Some(value) => written_parameters(tokens, value),
                None => parameters(tokens, at + 1),
            };
            names.insert(token.text);
            found.push(Variable { name: token.text, declared: at, value, parameters });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{assigned, locals};
    use crate::lexer::lex;

    fn names(code: &str) -> String {
        let tokens = lex(code).tokens;
        let found = locals(&tokens, tokens.len());
        found.iter().map(|one| one.name).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_is_in_scope_at_the_end_is_known() {
        for (code, expected) in [
            ("local a, b <const> = 1, 2 ", "a b"),
            ("local a = ", ""),
            ("local a = f(", ""),
            ("local a = b + ", ""),
            ("local a = { x = 1, ", ""),
            ("local a = f(1)\nprint(", "a"),
            ("local function f(x, y) ", "f x y"),
            ("local function f(x, y) end ", "f"),
            ("function t.u:m(x, ...) ", "self x"),
            ("f(function(x) local y = 1 ", "x y"),
            ("f(function(x) local y = 1 end) ", ""),
            ("for i, v in pairs(t) do local w = v ", "i v w"),
            ("for i, v in pairs(t) do end ", ""),
            ("for i = 1, ", ""),
            ("if x then local a = 1 else local b = 2 ", "b"),
            ("if x then local a = 1 elseif y then local b = 2 end ", ""),
            ("while x do local a = 1 end local b = 2 ", "b"),
            ("repeat local a = 1 until a", "a"),
            ("repeat local a = 1 until a print(", ""),
            ("local a = function(x) return ", "x"),
            ("local a = function(x) return x end ", "a"),
            ("do local a = 1 do local b = 2 end ", "a"),
            ("local ", ""),
            ("end end ) local a = 1 ", "a"),
        ] {
            assert_eq!(names(code), expected, "{code}");
        }
    }

    #[test]
    fn globals_are_found_where_they_are_assigned() {
        let code = "x = 1 function f(a) y = 2 end local function g() end t = { z = 1 } t.u = 1 local v = 1 h { w = 2 }";
        let found: Vec<&str> = assigned(&lex(code).tokens).iter().map(|one| one.name).collect();
        assert_eq!(found, ["x", "f", "y", "t"]);
    }
}
