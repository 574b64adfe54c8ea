//! What could stand at the cursor: globals, kept locals and fields, found without running user code.

use mlua::{Lua, Table, Value};
use serde::{Deserialize, Serialize};

use crate::lexer::{KEYWORDS, Kind, Token, lex};
use crate::prelude;

/// The answer to [`Workspace::complete`](crate::Workspace::complete).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completions {
    /// What could stand between `start` and `end`, sorted by text.
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
}

/// What a [`Completion`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompletionKind {
    /// A reserved word.
    Keyword,
    /// A function or something that can be called.
    Function,
    /// A table.
    Table,
    /// Any other value.
    Value,
}

/// Steps along `__index` that are followed.
const INHERITANCE: usize = 10;

/// What could stand at the byte offset `cursor`.
pub(crate) fn complete(lua: &Lua, code: &str, cursor: usize, _models: &[String]) -> Completions {
    let mut cursor = cursor.min(code.len());
    while !code.is_char_boundary(cursor) {
        cursor -= 1;
    }
    let place = place(&code[..cursor]);
    let mut matches = match &place.kind {
        PlaceKind::Nothing => Vec::new(),
        PlaceKind::Global => globals(lua, place.word).unwrap_or_default(),
        PlaceKind::Field { path, method } => fields(lua, path, *method, place.word).unwrap_or_default(),
    };
    matches.sort_by(|left, right| left.text.cmp(&right.text));
    matches.dedup_by(|left, right| left.text == right.text);
    Completions { matches, start: cursor - place.word.len(), end: cursor }
}

/// What precedes the cursor.
struct Place<'a> {
    /// The start of a name; may be empty.
    word: &'a str,
    kind: PlaceKind<'a>,
}

enum PlaceKind<'a> {
    /// Within a string or comment, or after something that has no value yet.
    Nothing,
    Global,
    /// After `a.b.` or `a.b:`; a path that starts with a string literal is `""`.
    Field {
        path: Vec<&'a str>,
        method: bool,
    },
}

fn place(before: &str) -> Place<'_> {
    let lexed = lex(before);
    let mut tokens = &lexed.tokens[..];
    let mut word = "";
    if let Some(last) = tokens.last()
        && last.end() == before.len()
        && matches!(last.kind, Kind::Name | Kind::Keyword)
    {
        word = last.text;
        tokens = &tokens[..tokens.len() - 1];
    }
    let nothing = Place { word, kind: PlaceKind::Nothing };
    let in_number = lexed.tokens.last().is_some_and(|last| last.kind == Kind::Number && last.end() == before.len());
    if lexed.open.is_some() || in_number {
        return nothing;
    }
    let dotted = |token: &Token<'_>| token.is(".") || token.is(":");
    let Some(separator) = tokens.last().filter(|token| dotted(token)) else {
        return Place { word, kind: PlaceKind::Global };
    };
    let method = separator.is(":");
    let mut path = Vec::new();
    loop {
        tokens = &tokens[..tokens.len() - 1];
        let Some(token) = tokens.last() else {
            return nothing;
        };
        tokens = &tokens[..tokens.len() - 1];
        let inner = tokens.last().is_some_and(dotted);
        match token.kind {
            Kind::Name => path.push(token.text),
            Kind::String if !inner => path.push(""),
            // `("text"):`
            Kind::Symbol if token.is(")") && !inner => match tokens {
                [.., open, string] if open.is("(") && string.kind == Kind::String => path.push(""),
                _ => return nothing,
            },
            _ => return nothing,
        }
        if !inner {
            break;
        }
    }
    path.reverse();
    Place { word, kind: PlaceKind::Field { path, method } }
}

fn globals(lua: &Lua, word: &str) -> mlua::Result<Vec<Completion>> {
    let mut found: Vec<Completion> = KEYWORDS
        .iter()
        .filter(|keyword| keyword.starts_with(word))
        .map(|keyword| Completion { text: (*keyword).to_owned(), kind: CompletionKind::Keyword })
        .collect();
    let kept: Table = prelude::table(lua)?.get("kept")?;
    for pair in kept.pairs::<String, Value>() {
        let (name, _) = pair?;
        if name.starts_with(word) {
            let kind = kind_of(&kept_value(lua, &name)?);
            found.push(Completion { text: name, kind });
        }
    }
    let shadowed: Vec<String> = found.iter().map(|one| one.text.clone()).collect();
    add_names(&lua.globals(), word, false, &mut found)?;
    // A kept local hides the global of its name.
    let mut seen = 0;
    found.retain(|one| {
        seen += 1;
        seen <= shadowed.len() || !shadowed.contains(&one.text)
    });
    Ok(found)
}

fn fields(lua: &Lua, path: &[&str], method: bool, word: &str) -> mlua::Result<Vec<Completion>> {
    let mut value = match path.first() {
        Some(&"") => Value::String(lua.create_string("")?),
        Some(first) => match kept_value(lua, first)? {
            Value::Nil => lua.globals().raw_get(*first)?,
            kept => kept,
        },
        None => Value::Nil,
    };
    for name in path.iter().skip(1) {
        value = field(lua, &value, name)?;
    }
    let mut found = Vec::new();
    for table in inheritance(lua, &value)? {
        add_names(&table, word, method, &mut found)?;
    }
    Ok(found)
}

/// A field as indexing would find it, as far as that takes no function.
fn field(lua: &Lua, value: &Value, name: &str) -> mlua::Result<Value> {
    for table in inheritance(lua, value)? {
        let found: Value = table.raw_get(name)?;
        if !found.is_nil() {
            return Ok(found);
        }
    }
    Ok(Value::Nil)
}

/// The tables where an index of `value` is looked up, in order.
fn inheritance(lua: &Lua, value: &Value) -> mlua::Result<Vec<Table>> {
    let mut tables = Vec::new();
    let mut next = match value {
        Value::Table(table) => Some(table.clone()),
        Value::String(_) => prelude::table(lua)?.get::<Option<Table>>("string_methods")?,
        _ => None,
    };
    while let Some(table) = next.filter(|_| tables.len() < INHERITANCE) {
        next = match table.metatable() {
            Some(metatable) => match metatable.raw_get("__index")? {
                Value::Table(parent) => Some(parent),
                _ => None,
            },
            None => None,
        };
        tables.push(table);
    }
    Ok(tables)
}

fn add_names(table: &Table, word: &str, functions: bool, found: &mut Vec<Completion>) -> mlua::Result<()> {
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        let Value::String(name) = key else { continue };
        let kind = kind_of(&value);
        let name = name.to_string_lossy();
        let fits = name.starts_with(word) && (!functions || kind == CompletionKind::Function);
        if fits && is_identifier(&name) {
            found.push(Completion { text: name, kind });
        }
    }
    Ok(())
}

fn kept_value(lua: &Lua, name: &str) -> mlua::Result<Value> {
    prelude::function(lua, "kept_value")?.call(name)
}

fn kind_of(value: &Value) -> CompletionKind {
    match value {
        Value::Function(_) => CompletionKind::Function,
        Value::Table(_) => CompletionKind::Table,
        _ => CompletionKind::Value,
    }
}

fn is_identifier(name: &str) -> bool {
    matches!(&lex(name).tokens[..], [token] if token.kind == Kind::Name && token.text == name)
}
