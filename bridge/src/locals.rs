//! How the top-level locals of a cell come to last: finds a cell's top-level `local` statements,
//! and writes the source that hands their variables to the prelude and takes in those of earlier
//! cells. No line moves, and the cell's own variables stay locals, so that messages are the same.

use std::collections::BTreeMap;

use crate::lexer::{Kind, Lexed, Token, lex};
use crate::syntax::{Cursor, closes_block, opens_block};

/// Locals that one function may declare, as Lua's `MAXVARS`, with some room.
const PER_FUNCTION: usize = 190;

/// A top-level `local` statement.
#[derive(Debug, PartialEq, Eq)]
struct Declaration<'a> {
    names: Vec<(&'a str, Attribute)>,
    /// Byte offset of the statement's end.
    end: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attribute {
    None,
    Const,
    Close,
}

/// The source of a cell of statements that keeps its locals and uses those of earlier cells that
/// it names; `None` if it has neither. Running it with the prelude's `keep` returns the cell's
/// function.
pub(crate) fn wrap(code: &str, kept: &BTreeMap<String, bool>) -> Option<String> {
    let lexed = lex(code);
    let declarations = declarations(&lexed.tokens);
    let used = used(&lexed, kept);
    if declarations.is_empty() && used.is_empty() {
        return None;
    }
    let keep = unused_name(&lexed, kept);
    let mut body = String::with_capacity(code.len() * 2);
    let mut written = 0;
    for declaration in declarations {
        body.push_str(&code[written..declaration.end]);
        written = declaration.end;
        declaration.write_keep(&keep, &mut body);
    }
    body.push_str(&code[written..]);
    Some(within(&keep, &used, &body))
}

/// The source of a cell that is a list of expressions. They are made the arguments of the
/// prelude's `results`, because a call that is returned as it is would have no frame of its own:
/// its errors would have no line. `None` if the code is not one list of arguments.
pub(crate) fn wrap_expression(code: &str, kept: &BTreeMap<String, bool>) -> Option<String> {
    let lexed = lex(code);
    let last = lexed.tokens.iter().rfind(|token| !token.is(";"))?;
    let results = unused_name(&lexed, kept);
    let body = format!("return {results}({})", &code[..last.end()]);
    Some(within(&results, &used(&lexed, kept), &body))
}

/// The kept locals that code names, and whether each is constant.
fn used<'a>(lexed: &Lexed<'a>, kept: &BTreeMap<String, bool>) -> Vec<(&'a str, bool)> {
    let mut used = BTreeMap::new();
    for token in &lexed.tokens {
        if token.kind == Kind::Name
            && let Some(constant) = kept.get(token.text)
        {
            used.insert(token.text, *constant);
        }
    }
    used.into_iter().collect()
}

/// A chunk that takes the function called `given` and returns a function with that body, whose
/// upvalues are the variables `used`: as many functions around it as their number needs.
fn within(given: &str, used: &[(&str, bool)], body: &str) -> String {
    let mut source = format!("local {given} = ... ");
    for names in used.chunks(PER_FUNCTION) {
        let names: Vec<String> = names
            .iter()
            .map(|(name, constant)| match constant {
                true => format!("{name}<const>"),
                false => (*name).to_owned(),
            })
            .collect();
        source.push_str(&format!("return(function(...)local {} = ... ", names.join(",")));
    }
    source.push_str("return function(...) ");
    source.push_str(body);
    source.push_str("\nend");
    for _ in used.chunks(PER_FUNCTION) {
        source.push_str(" end)()");
    }
    source
}

impl Declaration<'_> {
    /// Calls `keep` with the names and a closure over their variables. A variable that is closed
    /// at the end of its cell ends there; `_ENV` is not one a later cell could be given.
    fn write_keep(&self, keep: &str, source: &mut String) {
        let lasting: Vec<&(&str, Attribute)> =
            self.names.iter().filter(|(name, attribute)| *attribute != Attribute::Close && *name != "_ENV").collect();
        if lasting.is_empty() {
            return;
        }
        let names: Vec<&str> = lasting.iter().map(|(name, _)| *name).collect();
        let described: Vec<String> = lasting
            .iter()
            .map(|(name, attribute)| match attribute {
                Attribute::Const => format!("{name}<const>"),
                _ => (*name).to_owned(),
            })
            .collect();
        source.push_str(&format!(";{keep}(\"{}\",function()return {} end);", described.join(","), names.join(",")));
    }
}

/// A name that neither the code nor a kept local has.
fn unused_name(lexed: &Lexed<'_>, kept: &BTreeMap<String, bool>) -> String {
    let mut name = "__keep".to_owned();
    while kept.contains_key(&name) || lexed.tokens.iter().any(|token| token.text == name) {
        name.push('_');
    }
    name
}

/// The `local` statements of code that compiles which stand in no block.
fn declarations<'a>(tokens: &[Token<'a>]) -> Vec<Declaration<'a>> {
    let mut found = Vec::new();
    let mut depth = 0usize;
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        if opens_block(token) {
            depth += 1;
        } else if closes_block(token) {
            depth = depth.saturating_sub(1);
        } else if depth == 0 && token.is("local") {
            let (declaration, next) = declaration(tokens, at);
            found.push(declaration);
            at = next;
            continue;
        }
        at += 1;
    }
    found
}

/// The statement whose `local` is at `at`, and the index of the token after it.
fn declaration<'a>(tokens: &[Token<'a>], at: usize) -> (Declaration<'a>, usize) {
    let mut cursor = Cursor { tokens, at: at + 1 };
    let mut names = Vec::new();
    if cursor.takes("function") {
        if let Some(token) = cursor.tokens.get(cursor.at) {
            names.push((token.text, Attribute::None));
        }
        cursor.skip_block();
    } else {
        while let Some(token) = cursor.tokens.get(cursor.at) {
            cursor.at += 1;
            let mut attribute = Attribute::None;
            if cursor.takes("<") {
                attribute = match cursor.tokens.get(cursor.at).map(|token| token.text) {
                    Some("close") => Attribute::Close,
                    _ => Attribute::Const,
                };
                cursor.at += 2;
            }
            // Of two equal names the later is the one that is visible.
            names.retain(|(name, _)| *name != token.text);
            names.push((token.text, attribute));
            if !cursor.takes(",") {
                break;
            }
        }
        if cursor.takes("=") {
            cursor.skip_expressions();
        }
    }
    let end = tokens[..cursor.at.min(tokens.len())].last().map(Token::end).unwrap_or_default();
    (Declaration { names, end }, cursor.at)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{declarations, wrap};
    use crate::lexer::lex;

    /// Each top-level declaration's names, and the code up to its end.
    fn found(code: &str) -> Vec<(String, &str)> {
        declarations(&lex(code).tokens)
            .into_iter()
            .map(|declaration| {
                let names: Vec<&str> = declaration.names.iter().map(|(name, _)| *name).collect();
                (names.join(","), &code[..declaration.end])
            })
            .collect()
    }

    #[test]
    fn a_statement_ends_where_its_last_expression_does() {
        for statement in [
            "local x",
            "local x, y",
            "local x = 1",
            "local x, y = f(1), 2",
            "local x <const>, y <close> = 1, nil",
            "local function f(a, ...) if a then return function() end end end",
            "local x = function() local y = 1 for i = 1, 2 do end while a do end repeat local z until z end",
            "local x = {a = 1, [f(2)] = {}, function() end; 'b'}",
            "local x = a.b:c 'd' {e} [f] [[g]] (h)",
            "local x = -a ^ -b .. not c == #d and ~e ~ f // g",
            "local x = (a or b).c",
            "local x = nil or true and ...",
            "local x = 0x1p-3 .. [==[ ]] ]==] .. 'y'",
            "local x = 'a' -- no\n .. 'b'",
        ] {
            for rest in ["", "\nprint(x)", " f = 1", " ::l::", ";(f or g)()", " return x", " do end", " goto l"] {
                let code = format!("{statement}{rest}");
                let all = found(&code);
                assert_eq!(all.len(), 1, "{code}");
                assert_eq!(all[0].1, statement, "{code}");
            }
        }
        // A literal is called by nothing: what follows is the next statement.
        assert_eq!(found("local x = 1\n(f)()")[0].1, "local x = 1");
        assert_eq!(found("local x = {}\n(f)()")[0].1, "local x = {}");
        assert_eq!(found("local x = f\n(g)()")[0].1, "local x = f\n(g)()");
    }

    #[test]
    fn locals_in_blocks_and_functions_are_left_alone() {
        let code = "do local a = 1 end if x then local b else local c end for i = 1, 2 do local d end
            while x do local e end repeat local f until f function g() local h end
            t = { function() local i end } local j = function() local k end local l";
        let names: Vec<String> = found(code).into_iter().map(|(names, _)| names).collect();
        assert_eq!(names, ["j", "l"]);
    }

    #[test]
    fn wrapping_moves_no_line() {
        let kept = BTreeMap::from([("a".to_owned(), false), ("c".to_owned(), true)]);
        let code = "local x = a\nlocal y <const> = c -- end";
        assert_eq!(
            wrap(code, &kept).expect("a wrapped cell"),
            "local __keep = ... return(function(...)local a,c<const> = ... return function(...) local x = a;\
             __keep(\"x\",function()return x end);\nlocal y <const> = c;\
             __keep(\"y<const>\",function()return y end); -- end\nend end)()"
        );
        assert_eq!(wrap("print(d) do local a end", &BTreeMap::new()), None);
    }
}
