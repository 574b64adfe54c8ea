//! The expression before a place in code, read backwards: a name or a text, and the fields, calls
//! and indexes after it. Where it is an argument or a field, and of what.

use crate::lexer::{Kind, Token};
use crate::syntax::{Bracket, bracket, closes_block, opening, opens_block};

/// `name.field:method(...)[1]`
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Expression<'a> {
    pub(crate) root: Root<'a>,
    pub(crate) steps: Vec<Step<'a>>,
    /// The index of its first token.
    pub(crate) start: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Root<'a> {
    /// A variable, and the index of its token.
    Name(&'a str, usize),
    /// A string.
    Text,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// `.name`, `:name` or `["name"]`
    Field(&'a str),
    Call,
    /// `[1]`, or with `None` an index that is no literal.
    Item(Option<i64>),
}

/// Parentheses within parentheses are followed so far.
const NESTING: usize = 8;

/// The expression that ends before the token `end`.
pub(crate) fn ending_at<'a>(tokens: &[Token<'a>], end: usize) -> Option<Expression<'a>> {
    nested(tokens, end, NESTING)
}

fn nested<'a>(tokens: &[Token<'a>], end: usize, nesting: usize) -> Option<Expression<'a>> {
    let mut steps = Vec::new();
    let mut at = end;
    let (root, start) = loop {
        at = at.checked_sub(1)?;
        let token = tokens.get(at)?;
        let called = at > 0 && is_value_end(&tokens[at - 1]);
        match token.kind {
            Kind::Name if at > 0 && is_dot(&tokens[at - 1]) => {
                steps.push(Step::Field(token.text));
                at -= 1;
            }
            Kind::Name => break (Root::Name(token.text, at), at),
            Kind::String if called => steps.push(Step::Call),
            Kind::String => break (Root::Text, at),
            _ if token.is(")") || token.is("}") => {
                let open = opening(tokens, at)?;
                if open > 0 && is_value_end(&tokens[open - 1]) {
                    steps.push(Step::Call);
                    at = open;
                } else if token.is(")") {
                    let inner = nested(tokens, at, nesting.checked_sub(1)?).filter(|inner| inner.start == open + 1)?;
                    steps.extend(inner.steps.into_iter().rev());
                    break (inner.root, open);
                } else {
                    return None;
                }
            }
            _ if token.is("]") => {
                let open = opening(tokens, at)?;
                steps.push(index(&tokens[open + 1..at]));
                at = open;
            }
            _ => return None,
        }
    };
    steps.reverse();
    Some(Expression { root, steps, start })
}

fn index<'a>(within: &[Token<'a>]) -> Step<'a> {
    match within {
        [token] if token.kind == Kind::String => literal(token.text).map_or(Step::Item(None), Step::Field),
        [token] => Step::Item(token.text.parse().ok()),
        _ => Step::Item(None),
    }
}

/// The contents of a quoted string without escapes.
pub(crate) fn literal(text: &str) -> Option<&str> {
    let inner = text.strip_prefix(['"', '\''])?;
    let inner = inner.strip_suffix(['"', '\'']).unwrap_or(inner);
    (!inner.contains('\\')).then_some(inner)
}

pub(crate) fn is_dot(token: &Token<'_>) -> bool {
    token.is(".") || token.is(":")
}

/// Whether a bracket or a string after this token calls or indexes what ends with it.
fn is_value_end(token: &Token<'_>) -> bool {
    matches!(token.kind, Kind::Name | Kind::String) || [")", "]", "}"].iter().any(|text| token.is(text))
}

/// What a place stands in: the arguments of a call, or a table.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Enclosing<'a> {
    /// The index of the opening bracket.
    pub(crate) open: usize,
    /// How many arguments or fields come before the place.
    pub(crate) before: usize,
    /// Within a table: the fields that have a value already.
    pub(crate) given: Vec<&'a str>,
    /// Within a table: the field whose value stands at the place.
    pub(crate) field: Option<&'a str>,
}

/// The innermost open bracket around the place before the token `end`, within the same block.
pub(crate) fn enclosing<'a>(tokens: &[Token<'a>], end: usize) -> Option<Enclosing<'a>> {
    let mut found = Enclosing { open: 0, before: 0, given: Vec::new(), field: None };
    let (mut brackets, mut blocks) = (0usize, 0usize);
    for at in (0..end.min(tokens.len())).rev() {
        let token = &tokens[at];
        match bracket(token) {
            Some(Bracket::Close) => brackets += 1,
            Some(Bracket::Open) if brackets > 0 => brackets -= 1,
            Some(Bracket::Open) => {
                found.open = at;
                return (!token.is("[")).then_some(found);
            }
            None if brackets > 0 => {}
            None if closes_block(token) => blocks += 1,
            None if opens_block(token) => blocks = blocks.checked_sub(1)?,
            None if blocks > 0 => {}
            None if token.is(",") || token.is(";") => found.before += 1,
            None if token.is("=") && at > 0 && tokens[at - 1].kind == Kind::Name => {
                let name = tokens[at - 1].text;
                if found.before == 0 && found.field.is_none() {
                    found.field = Some(name);
                }
                found.given.push(name);
            }
            None => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lexer::lex;

    fn steps(code: &str) -> Option<(Root<'_>, Vec<Step<'_>>)> {
        let tokens = lex(code).tokens;
        ending_at(&tokens, tokens.len()).map(|found| (found.root, found.steps))
    }

    #[test]
    fn an_expression_is_read_backwards() {
        use Step::{Call, Field, Item};
        assert_eq!(steps("x = a.b:c(1, {2})"), Some((Root::Name("a", 2), vec![Field("b"), Field("c"), Call])));
        assert_eq!(steps("f{1}.x"), Some((Root::Name("f", 0), vec![Call, Field("x")])));
        assert_eq!(steps("f 'x' [[y]]"), Some((Root::Name("f", 0), vec![Call, Call])));
        assert_eq!(steps("('x').y"), Some((Root::Text, vec![Field("y")])));
        assert_eq!(steps("'x'"), Some((Root::Text, vec![])));
        assert_eq!(steps("t[1]['k'][i + 1]"), Some((Root::Name("t", 0), vec![Item(Some(1)), Field("k"), Item(None)])));
        assert_eq!(steps("((a.b)).c"), Some((Root::Name("a", 2), vec![Field("b"), Field("c")])));
        for nothing in ["(a + b)", "{}", "a +", "1", ")", "function() end", "a.", ""] {
            assert_eq!(steps(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn what_a_place_stands_in_is_known() {
        let found = |code| {
            let tokens = lex(code).tokens;
            enclosing(&tokens, tokens.len()).map(|found| (found.open, found.before, found.field))
        };
        assert_eq!(found("f("), Some((1, 0, None)));
        assert_eq!(found("f(a, g(b, c), "), Some((1, 2, None)));
        assert_eq!(found("f{ x = 1, y = "), Some((1, 1, Some("y"))));
        assert_eq!(found("f{ x = 1, "), Some((1, 1, None)));
        assert_eq!(found("f(function(a, b) if a then end end, "), Some((1, 1, None)));
        assert_eq!(found("f(function() "), None);
        assert_eq!(found("f()"), None);
        assert_eq!(found("t["), None);
    }
}
