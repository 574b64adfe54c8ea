//! Whether a piece of code can run as it stands, or an editor should ask for another line.

use mlua::chunk::ChunkMode;
use mlua::{Lua, LuaOptions, StdLib};
use serde::{Deserialize, Serialize};

use crate::editor::inspection;
use crate::lexer::{Token, lex};

/// One level of indentation.
const INDENT: &str = "  ";

/// The judgement of [`is_complete`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Completeness {
    /// It can run.
    Complete,
    /// It could become Lua if more followed.
    Incomplete {
        /// What the next line should begin with.
        indent: String,
    },
    /// Nothing that follows can make it Lua.
    Invalid,
    /// It cannot be told.
    Unknown,
}

/// Judges `code` as a cell would be compiled, without running it.
pub fn is_complete(code: &str) -> Completeness {
    let code = code.strip_prefix('\u{feff}').unwrap_or(code);
    if inspection::question(code).is_some() {
        return Completeness::Complete;
    }
    let Ok(lua) = Lua::new_with(StdLib::NONE, LuaOptions::default()) else {
        return Completeness::Unknown;
    };
    let expression = judge(&lua, &format!("return {code}"));
    let statements = judge(&lua, code);
    match (expression, statements) {
        (Judgement::Compiles, _) | (_, Judgement::Compiles) => Completeness::Complete,
        (Judgement::EndsEarly, _) | (_, Judgement::EndsEarly) => Completeness::Incomplete { indent: indent(code) },
        (Judgement::Refused, Judgement::Refused) => Completeness::Invalid,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judgement {
    Compiles,
    /// The compiler met the end where it expected more.
    EndsEarly,
    Refused,
}

fn judge(lua: &Lua, code: &str) -> Judgement {
    // More would come on a line of its own: a quoted string that is still open is closed by nothing.
    let loaded = lua.load(format!("{code}\n")).set_name("=cell").set_mode(ChunkMode::Text).into_function();
    match loaded {
        Ok(_) => Judgement::Compiles,
        // As Lua's own interpreter: the message of a syntax error ends with what it is near.
        Err(mlua::Error::SyntaxError { message, .. }) if message.ends_with("<eof>") => Judgement::EndsEarly,
        Err(_) => Judgement::Refused,
    }
}

/// The last line's indentation, and one level more if that line opens a block or a bracket. Within
/// a string or a comment nothing is added.
fn indent(code: &str) -> String {
    let lexed = lex(code);
    if let Some(open) = lexed.open
        && (code[open..].starts_with('[') || code[open..].starts_with("--["))
    {
        return String::new();
    }
    let last = code.trim_end().rfind('\n').map_or(0, |end| end + 1);
    let line = &code[last..];
    let blank = line.len() - line.trim_start_matches([' ', '\t']).len();
    let mut indent = line[..blank].to_owned();
    let depth =
        lexed.tokens.iter().filter(|token| token.start >= last).fold(0i32, |depth, token| (depth + step(token)).max(0));
    if depth > 0 {
        indent.push_str(match indent.starts_with('\t') {
            true => "\t",
            false => INDENT,
        });
    }
    indent
}

/// How a token changes the depth of what follows.
fn step(token: &Token<'_>) -> i32 {
    let is = |words: &[&str]| words.iter().any(|word| token.is(word));
    if is(&["function", "do", "then", "repeat", "else", "(", "{", "["]) {
        1
    } else if is(&["end", "until", "elseif", "else", ")", "}", "]"]) {
        -1
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::{Completeness, is_complete};

    #[test]
    fn what_can_run_is_complete() {
        for code in [
            "",
            "-- comment",
            "1 + 1",
            "x = 1",
            "print 'x'",
            "for i = 1, 2 do print(i) end",
            "return",
            "s = [[ a\nb ]]",
            "a, b",
            "function f() end",
            "goto l ::l::",
        ] {
            assert_eq!(is_complete(code), Completeness::Complete, "{code}");
        }
    }

    #[test]
    fn what_may_go_on_is_incomplete_and_says_the_indentation() {
        for (code, expected) in [
            ("1 +", ""),
            ("x =", ""),
            ("f(", "  "),
            ("t = {", "  "),
            ("t = {\n  1,", "  "),
            ("for i = 1, 2 do", "  "),
            ("for i = 1, 2 do\n  if i then", "    "),
            ("for i = 1, 2 do\n  print(i)\n", "  "),
            ("if x then\n\tprint()\n\tif y then", "\t\t"),
            ("if x then y() else", "  "),
            ("function f()", "  "),
            ("repeat", "  "),
            ("s = [[ a", ""),
            ("  --[==[ a ]]", ""),
            ("local", ""),
            ("x.", ""),
            ("\"abc\\", ""),
        ] {
            let indent = expected.to_owned();
            assert_eq!(is_complete(code), Completeness::Incomplete { indent }, "{code}");
        }
    }

    #[test]
    fn what_nothing_can_save_is_invalid() {
        for code in ["end", "x = = 1", "'abc", "for for", "1 2", "f() end", "local x <foo> = 1", "x = 1 }"] {
            assert_eq!(is_complete(code), Completeness::Invalid, "{code}");
        }
    }
}
