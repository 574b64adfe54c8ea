//! The modules that travel with a script: found by reading its `require` calls, without running anything.
//!
//! Only a literal name can be found (`require "a.b"`, `require("a.b")`, `pcall(require, "a.b")`); a name that the script
//! computes is looked up where the script runs. A name without a file below the script's folder is left to that place too.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::source;

/// The most modules that travel with one script.
const MODULE_LIMIT: usize = 1000;
/// The most bytes of Lua that travel with one script.
const BYTE_LIMIT: usize = 8 << 20;

/// The sources of the modules that `code` requires from `folder`, and those that they require, by require name.
pub fn collect(code: &str, folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut modules = BTreeMap::new();
    let mut bytes = 0;
    let mut wanted = VecDeque::from(required(code));
    while let Some(name) = wanted.pop_front() {
        if modules.contains_key(&name) {
            continue;
        }
        let Some((path, content)) = read(folder, &name)? else {
            continue;
        };
        let code = source::text(content, &path)?;
        bytes += code.len();
        if modules.len() == MODULE_LIMIT || bytes > BYTE_LIMIT {
            bail!(
                "module `{name}` is one too many: at most {MODULE_LIMIT} modules and {} MiB travel with a script",
                BYTE_LIMIT >> 20
            );
        }
        wanted.extend(required(&code));
        modules.insert(name, code);
    }
    Ok(modules)
}

fn read(folder: &Path, name: &str) -> Result<Option<(PathBuf, Vec<u8>)>> {
    let Some(stem) = relative(name) else {
        return Ok(None);
    };
    for path in [folder.join(format!("{stem}.lua")), folder.join(stem).join("init.lua")] {
        match fs::read(&path) {
            Ok(content) => return Ok(Some((path, content))),
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory) => {
            }
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("cannot read `{}`, which the script requires", path.display()));
            }
        }
    }
    Ok(None)
}

/// The path that Lua makes of a module name, if it stays below the script's folder.
fn relative(name: &str) -> Option<String> {
    let path = name.replace('.', "/");
    let stays_below = !path.contains('\0') && path.split('/').all(|part| !part.is_empty());
    stays_below.then_some(path)
}

/// The literal names given to `require` in `code`, in order.
fn required(code: &str) -> Vec<String> {
    let tokens: Vec<Token<'_>> = Tokens { rest: code }.collect();
    let mut names = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        // `loader.require` and `loader:require`, but neither `.. require` nor `::label:: require`.
        let is_field = match &tokens[..at] {
            [.., before, last] => matches!(last, Token::Symbol('.' | ':')) && before != last,
            _ => false,
        };
        if *token != Token::Word("require") || is_field {
            continue;
        }
        let name = match &tokens[at + 1..] {
            [Token::Text(name), ..] => name,
            // `require("a")`, and `pcall(require, "a")`
            [Token::Symbol('(' | ','), Token::Text(name), Token::Symbol(')' | ','), ..] => name,
            _ => continue,
        };
        names.push(name.clone());
    }
    names
}

#[derive(Debug, PartialEq)]
enum Token<'code> {
    Word(&'code str),
    Text(String),
    Symbol(char),
}

/// Lua's words, strings and symbols, as far as finding `require` needs them; comments are skipped.
struct Tokens<'code> {
    rest: &'code str,
}

impl<'code> Iterator for Tokens<'code> {
    type Item = Token<'code>;

    fn next(&mut self) -> Option<Token<'code>> {
        loop {
            self.rest = self.rest.trim_start();
            let Some(comment) = self.rest.strip_prefix("--") else {
                break;
            };
            self.rest = match long_bracket(comment) {
                Some((_, rest)) => rest,
                None => comment.split_once('\n').map_or("", |(_, rest)| rest),
            };
        }
        if let Some((text, rest)) = long_bracket(self.rest) {
            self.rest = rest;
            return Some(Token::Text(text.to_string()));
        }
        let first = self.rest.chars().next()?;
        if first == '"' || first == '\'' {
            return Some(Token::Text(self.short_string(first)));
        }
        let is_word = |character: char| character.is_alphanumeric() || character == '_';
        if is_word(first) {
            let end = self.rest.find(|character| !is_word(character)).unwrap_or(self.rest.len());
            let (word, rest) = self.rest.split_at(end);
            self.rest = rest;
            return Some(Token::Word(word));
        }
        self.rest = &self.rest[first.len_utf8()..];
        Some(Token::Symbol(first))
    }
}

impl Tokens<'_> {
    /// Takes a string in `quote`s; an escape yields the character that follows it, which is right for every name a file can have.
    fn short_string(&mut self, quote: char) -> String {
        let mut text = String::new();
        let mut characters = self.rest[1..].char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '\\' => text.extend(characters.next().map(|(_, escaped)| escaped)),
                _ if character == quote || character == '\n' => {
                    self.rest = &self.rest[1 + at + 1..];
                    return text;
                }
                _ => text.push(character),
            }
        }
        self.rest = "";
        text
    }
}

/// Splits `[[text]]rest` or `[==[text]==]rest`; an unfinished one reaches to the end.
fn long_bracket(code: &str) -> Option<(&str, &str)> {
    let inner = code.strip_prefix('[')?;
    let level = inner.len() - inner.trim_start_matches('=').len();
    let body = inner[level..].strip_prefix('[')?;
    let close = format!("]{}]", "=".repeat(level));
    let (text, rest) = body.split_once(&close).unwrap_or((body, ""));
    // Lua drops a newline that directly follows the opening bracket.
    Some((text.strip_prefix('\n').unwrap_or(text), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, files: &[(&str, &str)]) {
        for (name, content) in files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }

    #[test]
    fn every_literal_form_is_found() {
        let code = r#"
            local a = require "a"
            local b, c = require('b.c'), require("d")
            local ok, e = pcall(require, "e")
            require[[f]].run(require
                "g")
            ::again:: require "h"
            return x .. require "i"
        "#;
        assert_eq!(required(code), ["a", "b.c", "d", "e", "f", "g", "h", "i"]);
    }

    #[test]
    fn comments_strings_fields_and_computed_names_are_not() {
        let code = r#"
            -- require "a"
            --[==[ require "b" ]] require "c" ]==]
            local text = 'say "hi", require "d"' .. "\" require 'e'"
            local long = [[ require "f" ]]
            loader.require "g"
            loader:require("h")
            require("i" .. suffix)
            require(name)
            prerequire "j"
        "#;
        assert_eq!(required(code), Vec::<String>::new());
    }

    #[test]
    fn unfinished_code_ends_the_search() {
        for code in ["require \"a", "require [[a", "--[[ x", "require", "'\\", "require('a'"] {
            required(code);
        }
        assert_eq!(required("x = 'open\nrequire 'a'"), ["a"]);
    }

    #[test]
    fn modules_are_found_transitively_and_once() {
        let folder = tempfile::tempdir().unwrap();
        write(
            folder.path(),
            &[
                ("a.lua", "return require 'pack' .. require 'b.c'"),
                ("pack/init.lua", "return require 'a'"),
                ("b/c.lua", "#!/usr/bin/env lua\nreturn 1"),
                ("unused.lua", "return 1"),
            ],
        );
        let modules = collect("require 'a' require 'string.buffer' require 'a'", folder.path()).unwrap();
        assert_eq!(modules.keys().collect::<Vec<_>>(), ["a", "b.c", "pack"]);
        assert_eq!(modules["b.c"], "\nreturn 1");
    }

    #[test]
    fn names_stay_below_the_folder() {
        for name in ["..secret", "/etc/passwd", "a//b", "", "../a", "a\0b"] {
            assert_eq!(relative(name), None, "{name:?}");
        }
        assert_eq!(relative("a.b/c").as_deref(), Some("a/b/c"));
    }

    #[test]
    fn too_much_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &[("big.lua", &"-".repeat(BYTE_LIMIT + 1))]);
        let error = collect("require 'big'", folder.path()).unwrap_err().to_string();
        assert!(error.contains("`big`") && error.contains("8 MiB"), "{error}");
    }
}
