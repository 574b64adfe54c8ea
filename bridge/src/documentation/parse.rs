//! Reads the annotations of `bridge/documentation/*.lua`, strictly. Beside the language server's own
//! `@param`, `@return`, `@field`, `@class`, `@alias`, `@overload` and `@type` there are `@error KIND
//! text`; `@example CODE`, a line of code each; `@magic FORM`, which documents a magic; and
//! `@setters CLASS`, which gives a class one method for each field of another.

use super::{Entry, EntryKind, Parameter};

/// A line that is no documentation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub(super) struct Problem {
    file: &'static str,
    line: usize,
    message: String,
}

/// What one file says.
pub(super) struct Parsed {
    pub(super) title: String,
    pub(super) text: String,
    pub(super) entries: Vec<Entry>,
}

/// Marks the text of a class whose methods are setters, until they are added.
const SETTERS: &str = "@setters ";

pub(super) fn setters_of(entry: &Entry) -> Option<&str> {
    entry.form.strip_prefix(SETTERS)
}

pub(super) fn parse(file: &'static str, source: &str) -> Result<Parsed, Problem> {
    let mut parsed = Parsed { title: String::new(), text: String::new(), entries: Vec::new() };
    let mut block = Block::default();
    for (index, line) in source.lines().chain([""]).enumerate() {
        let problem = |message: String| Problem { file, line: index + 1, message };
        if let Some(comment) = line.strip_prefix("---") {
            block.add(comment).map_err(problem)?;
        } else if line.trim().is_empty() {
            let block = std::mem::take(&mut block);
            if block.lines.is_empty() && !block.tagged {
                continue;
            }
            if parsed.title.is_empty() && !block.tagged {
                (parsed.title, parsed.text) = block.summary_and_text();
                continue;
            }
            parsed.entries.push(block.undeclared().map_err(problem)?);
        } else {
            parsed.entries.push(std::mem::take(&mut block).declared(line).map_err(problem)?);
        }
    }
    Ok(parsed)
}

/// The comment lines before a declaration.
#[derive(Default)]
struct Block {
    lines: Vec<String>,
    tagged: bool,
    entry: Entry,
}

impl Block {
    fn add(&mut self, comment: &str) -> Result<(), String> {
        let Some(tag) = comment.strip_prefix('@') else {
            self.lines.push(comment.strip_prefix(' ').unwrap_or(comment).to_owned());
            return Ok(());
        };
        self.tagged = true;
        let (tag, rest) = tag.split_once(' ').ok_or_else(|| format!("`@{tag}` says nothing"))?;
        let entry = &mut self.entry;
        match tag {
            "param" => entry.parameters.push(named(rest)?),
            "field" => entry.fields.push(named(rest)?),
            "return" => entry.returns.push(result(rest)?),
            "overload" => entry.overloads.push(rest.to_owned()),
            "type" => entry.form = rest.to_owned(),
            "setters" => entry.form = format!("{SETTERS}{rest}"),
            "example" => {
                entry.example.push_str(rest);
                entry.example.push('\n');
            }
            "error" => {
                let (kind, text) = rest.split_once(' ').ok_or_else(|| format!("the error `{rest}` has no text"))?;
                entry.errors.push((kind.to_owned(), text.to_owned()));
            }
            "class" => {
                let (name, parent) = match rest.split_once(':') {
                    Some((name, parent)) => (name.trim(), Some(parent.trim().to_owned())),
                    None => (rest.trim(), None),
                };
                (entry.kind, entry.parent) = (EntryKind::Class, parent);
                (entry.name, entry.class) = (name.to_owned(), Some(name.to_owned()));
            }
            "alias" => {
                let (name, form) = rest.split_once(' ').ok_or_else(|| format!("the alias `{rest}` has no type"))?;
                (entry.kind, entry.form) = (EntryKind::Alias, form.to_owned());
                (entry.name, entry.class) = (name.to_owned(), Some(name.to_owned()));
            }
            "magic" => {
                let name = rest.split(' ').next().unwrap_or(rest);
                (entry.kind, entry.name, entry.form) = (EntryKind::Magic, name.to_owned(), rest.to_owned());
            }
            other => return Err(format!("unknown tag `@{other}`")),
        }
        Ok(())
    }

    /// The first sentence or paragraph, and what follows it.
    fn summary_and_text(&self) -> (String, String) {
        let end = self.lines.iter().position(|line| line.trim().is_empty()).unwrap_or(self.lines.len());
        let summary = self.lines[..end].join(" ");
        (summary, self.lines[end..].join("\n").trim().to_owned())
    }

    fn finished(self) -> Result<Entry, String> {
        let (summary, text) = self.summary_and_text();
        if summary.is_empty() {
            return Err(format!("`{}` has no summary", self.entry.name));
        }
        let example = self.entry.example.trim_end().to_owned();
        Ok(Entry { summary, text, example, ..self.entry })
    }

    /// A type or a magic, which no line of code declares.
    fn undeclared(self) -> Result<Entry, String> {
        match self.entry.kind {
            EntryKind::Class | EntryKind::Alias | EntryKind::Magic => self.finished(),
            _ => Err("these lines document nothing: a declaration must follow at once".to_owned()),
        }
    }

    /// What `line` declares.
    fn declared(mut self, line: &str) -> Result<Entry, String> {
        if let Some(rest) = line.strip_prefix("function ") {
            let (name, rest) = rest.split_once('(').ok_or("a function without parameters")?;
            let parameters = rest.strip_suffix(") end").ok_or("a function must end with `) end`")?;
            let declared: Vec<&str> = parameters.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
            let documented: Vec<&str> = self.entry.parameters.iter().map(|one| one.name.as_str()).collect();
            if declared != documented {
                return Err(format!("`{name}` takes {declared:?}, and {documented:?} is documented"));
            }
            let method = name.contains(':');
            self.entry.kind = if method { EntryKind::Method } else { EntryKind::Function };
            self.entry.name = name.to_owned();
        } else if let Some(name) = line.strip_prefix("local ").and_then(|rest| rest.strip_suffix(" = {}")) {
            if self.entry.class.is_none() {
                return Err(format!("`{name}` is no class"));
            }
            self.entry.name = name.to_owned();
        } else if let Some(name) = line.strip_suffix(" = {}") {
            self.entry.name = name.to_owned();
        } else if let Some(name) = line.strip_suffix(" = nil") {
            self.entry.kind = EntryKind::Value;
            self.entry.name = name.to_owned();
            if self.entry.form.is_empty() {
                return Err(format!("`{name}` has no type"));
            }
        } else {
            return Err(format!("`{line}` declares nothing that can be documented"));
        }
        self.finished()
    }
}

/// `name? type text`
fn named(rest: &str) -> Result<Parameter, String> {
    let (name, rest) = rest.split_once(' ').ok_or_else(|| format!("`{rest}` has no type"))?;
    let (form, text) = form(rest);
    let optional = name.ends_with('?');
    let name = name.trim_end_matches('?').to_owned();
    if text.is_empty() {
        return Err(format!("`{name}` has no text"));
    }
    Ok(Parameter { name, form, optional, text })
}

/// `type name text`
fn result(rest: &str) -> Result<Parameter, String> {
    let (form, rest) = form(rest);
    let (name, text) = rest.split_once(' ').ok_or_else(|| format!("the result `{form}` has no name or no text"))?;
    let optional = form.ends_with('?');
    Ok(Parameter { name: name.to_owned(), form, optional, text: text.to_owned() })
}

/// A type, which holds spaces only within brackets, and what follows it.
fn form(rest: &str) -> (String, String) {
    let mut depth = 0usize;
    for (at, character) in rest.char_indices() {
        match character {
            '(' | '{' | '<' | '[' => depth += 1,
            ')' | '}' | '>' | ']' => depth = depth.saturating_sub(1),
            ' ' if depth == 0 => return (rest[..at].to_owned(), rest[at..].trim().to_owned()),
            _ => {}
        }
    }
    (rest.to_owned(), String::new())
}
