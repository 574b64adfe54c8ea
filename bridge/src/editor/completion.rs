//! What could stand at the cursor: names in scope, fields and methods, options of our functions,
//! modules and models within strings. Found without running user code, also in code that is broken.

use std::collections::HashSet;

use mlua::{Function, Lua, Table, Value};
use serde::{Deserialize, Serialize};

use crate::documentation::{Documentation, Entry, EntryKind, Parameter, documentation};
use crate::editor::expression::is_dot;
use crate::editor::scope::{self, Variable};
use crate::editor::subject::{Reader, Subject, class_of, classes, constructed, documented, inheritance, kept_value};
use crate::editor::window;
use crate::host::Host;
use crate::lexer::{KEYWORDS, Kind, Lexed, lex};
use crate::prelude;

mod strings;

/// The answer to [`Inquirer::complete`](crate::Inquirer::complete).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completions {
    /// What could stand between `start` and `end`, the likeliest first.
    pub matches: Vec<Completion>,
    /// Byte offset where the word at the cursor starts.
    pub start: usize,
    /// Byte offset where it ends: the cursor.
    pub end: usize,
}

/// One thing that could stand at the cursor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completion {
    /// The text that replaces the word.
    pub text: String,
    /// What it is.
    pub kind: CompletionKind,
    /// How it is called, or of which type it is; empty if that is not known.
    pub signature: String,
}

/// What a [`Completion`] is. In the order in which they are offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompletionKind {
    /// An option of a function that is given in a table.
    Option,
    /// A local variable of the code in the editor.
    Local,
    /// A model specifier or a backend.
    Model,
    /// A module for `require`.
    Module,
    /// A line at the start of a cell.
    Magic,
    /// A function or something that can be called.
    Function,
    /// A table.
    Table,
    /// Any other value.
    Value,
    /// A reserved word.
    Keyword,
}

/// Keys of one table that are looked at: a huge one costs milliseconds at most.
const KEYS: usize = 20_000;
/// What is offered at most.
const MATCHES: usize = 1_000;

/// What could stand at the byte offset `cursor`; `models` are the specifiers that are known.
pub(crate) fn complete(lua: &Lua, host: &Host, code: &str, cursor: usize, models: &[String]) -> Completions {
    let window = window(code, cursor);
    let before = &window.code[..window.cursor];
    let lexed = lex(before);
    let mut finder = Finder { host, models, lua, word: "", found: Vec::new(), names: HashSet::new() };
    // What a table holds that cannot be read is not offered.
    let _ = finder.find(before, &lexed);
    // What precedes the word is part of what was typed, and of no name.
    if before[..before.len() - finder.word.len()].ends_with(|typed: char| typed.is_alphanumeric() && !typed.is_ascii())
    {
        finder.found.clear();
    }
    let end = window.start + window.cursor;
    let start = end - finder.word.len();
    let mut matches = finder.found;
    let rank = |one: &Completion| match one.kind {
        CompletionKind::Table | CompletionKind::Value => CompletionKind::Function,
        kind => kind,
    };
    matches.sort_by_cached_key(|one| (rank(one), one.text.starts_with('_'), one.text.clone()));
    matches.truncate(MATCHES);
    Completions { matches, start, end }
}

struct Finder<'f> {
    lua: &'f Lua,
    host: &'f Host,
    models: &'f [String],
    /// What is typed of the name; may be empty.
    word: &'f str,
    found: Vec<Completion>,
    names: HashSet<String>,
}

impl<'f> Finder<'f> {
    fn find(&mut self, before: &'f str, lexed: &Lexed<'f>) -> mlua::Result<()> {
        if before.starts_with('%') && !before.contains('\n') {
            self.magic(before);
            return Ok(());
        }
        if let Some(open) = lexed.open {
            return match before[open..].starts_with("--") {
                true => Ok(()),
                false => self.within_string(before, open, &lexed.tokens),
            };
        }
        let mut tokens = &lexed.tokens[..];
        if let Some(last) = tokens.last().filter(|last| last.end() == before.len()) {
            match last.kind {
                Kind::Name | Kind::Keyword => {
                    self.word = last.text;
                    tokens = &tokens[..tokens.len() - 1];
                }
                Kind::Number | Kind::String => return Ok(()),
                Kind::Symbol => {}
            }
        }
        let reader = Reader::new(self.lua, tokens);
        match tokens.last() {
            Some(last) if is_dot(last) => self.members(&reader, tokens.len() - 1, last.is(":")),
            Some(last) if last.is("local") => {
                self.add("function", CompletionKind::Keyword, String::new());
                Ok(())
            }
            Some(last) if last.is("for") || last.is("goto") => Ok(()),
            _ => match reader.options(tokens.len()) {
                Some((options, place)) => {
                    let free = options.into_iter().filter(|option| !place.given.contains(&option.name.as_str()));
                    free.for_each(|option| self.add(&option.name, CompletionKind::Option, option_signature(option)));
                    Ok(())
                }
                None => self.names_in_scope(tokens),
            },
        }
    }

    fn add(&mut self, text: &str, kind: CompletionKind, signature: String) {
        if text.starts_with(self.word) && !self.names.contains(text) {
            self.names.insert(text.to_owned());
            self.found.push(Completion { text: text.to_owned(), kind, signature });
        }
    }

    /// Magics, and the models that one of them names.
    fn magic(&mut self, line: &'f str) {
        match line.rsplit_once(char::is_whitespace) {
            None => {
                self.word = line;
                let magics = documentation().entries().iter().filter(|entry| entry.kind == EntryKind::Magic);
                magics.for_each(|magic| self.add(&magic.name, CompletionKind::Magic, magic.form.clone()));
            }
            Some((_, word)) => {
                self.word = word;
                self.add_models();
            }
        }
    }

    fn add_models(&mut self) {
        let models = self.models;
        models.iter().for_each(|model| self.add(model, CompletionKind::Model, String::new()));
    }

    fn names_in_scope(&mut self, tokens: &[crate::lexer::Token<'f>]) -> mlua::Result<()> {
        for local in scope::locals(tokens, tokens.len()).iter().rev() {
            self.add(local.name, CompletionKind::Local, written_signature(tokens, local));
        }
        let kept: Table = prelude::table(self.lua)?.raw_get("kept")?;
        for pair in kept.pairs::<String, Value>() {
            let (name, _) = pair?;
            if name.starts_with(self.word) {
                self.add_value(&name, &kept_value(self.lua, &name)?)?;
            }
        }
        self.add_keys(&self.lua.globals(), false)?;
        for global in scope::assigned(tokens) {
            let kind = if global.parameters.is_some() { CompletionKind::Function } else { CompletionKind::Value };
            self.add(global.name, kind, written_signature(tokens, &global));
        }
        KEYWORDS.iter().for_each(|keyword| self.add(keyword, CompletionKind::Keyword, String::new()));
        Ok(())
    }

    /// The fields, or with `methods` the functions, of the expression before the token `end`.
    fn members(&mut self, reader: &Reader<'_, '_, 'f>, end: usize, methods: bool) -> mlua::Result<()> {
        match reader.before(end) {
            Some(Subject::Value(value)) => {
                for table in inheritance(self.lua, &value)? {
                    self.add_keys(&table, methods)?;
                }
                if let Some(class) = class_of(self.lua, &value)? {
                    self.add_class(class, methods);
                }
            }
            Some(Subject::Typed(form)) => {
                classes(form).for_each(|class| self.add_class(class, methods));
                if let Some(text) = reader.value_of_type(form)? {
                    for table in inheritance(self.lua, &text)? {
                        self.add_keys(&table, true)?;
                    }
                }
            }
            Some(Subject::Written(open)) => {
                for field in constructed(reader.tokens, open) {
                    let function = field.parameters.is_some();
                    let kind = if function { CompletionKind::Function } else { CompletionKind::Value };
                    if function || !methods {
                        self.add(field.name, kind, written_signature(reader.tokens, &field));
                    }
                }
            }
            Some(Subject::Documented(_) | Subject::Declared(_)) | None => {}
        }
        Ok(())
    }

    fn add_class(&mut self, class: &'static Entry, methods: bool) {
        for method in documentation().methods(class) {
            self.add(method.last_name(), CompletionKind::Function, method.signature());
        }
        if let (false, Some(name)) = (methods, &class.class) {
            for field in documentation().fields(name) {
                self.add(&field.name, CompletionKind::Value, option_signature(field));
            }
        }
    }

    /// The keys of a table that are names.
    fn add_keys(&mut self, table: &Table, functions: bool) -> mlua::Result<()> {
        for pair in table.pairs::<Value, Value>().take(KEYS) {
            let (key, value) = pair?;
            let Value::String(name) = key else { continue };
            let name = name.to_string_lossy();
            let fits = name.starts_with(self.word) && (!functions || matches!(value, Value::Function(_)));
            if fits && is_identifier(&name) {
                self.add_value(&name, &value)?;
            }
        }
        Ok(())
    }

    fn add_value(&mut self, name: &str, value: &Value) -> mlua::Result<()> {
        if self.found.len() >= MATCHES * 2 {
            return Ok(());
        }
        let (kind, signature) = match value {
            Value::Function(function) => (CompletionKind::Function, function_signature(self.lua, name, function)?),
            Value::Table(_) => (CompletionKind::Table, "table".to_owned()),
            other => (CompletionKind::Value, other.type_name().to_owned()),
        };
        self.add(name, kind, signature);
        Ok(())
    }
}

fn option_signature(option: &Parameter) -> String {
    let mark = if option.optional { "?" } else { "" };
    format!("{}{mark}: {}", option.name, option.form)
}

/// How a function is called: as it is documented, or with the parameters that its source names.
pub(crate) fn function_signature(lua: &Lua, name: &str, function: &Function) -> mlua::Result<String> {
    if let Some(entry) = documented(lua, &Value::Function(function.clone()))? {
        return Ok(entry.signature());
    }
    let parameters: Option<String> = prelude::function(lua, "parameters")?.call(function)?;
    Ok(format!("{name}({})", parameters.as_deref().unwrap_or("...")))
}

fn written_signature(tokens: &[crate::lexer::Token<'_>], variable: &Variable<'_>) -> String {
    let Some((start, end)) = variable.parameters else { return String::new() };
    let names: Vec<&str> = tokens[start..end].iter().filter(|token| !token.is(",")).map(|token| token.text).collect();
    format!("{}({})", variable.name, names.join(", "))
}

fn is_identifier(name: &str) -> bool {
    matches!(&lex(name).tokens[..], [token] if token.kind == Kind::Name && token.text == name)
}

impl Documentation {
    /// The texts that a type allows: `user` of `"system"|"user"`.
    fn texts(form: &str) -> impl Iterator<Item = &str> {
        form.split('|').filter_map(|form| form.trim().strip_prefix('"')?.strip_suffix('"'))
    }
}
