//! What an expression in an editor stands for: a value that is there, something documented, or a
//! type that the documentation tells. Tables are read as they are; no function is called and no
//! metamethod runs.

use std::cell::Cell;

use mlua::{Lua, Table, Value};

use crate::documentation::{Entry, EntryKind, Parameter, documentation};
use crate::editor::expression::{Expression, Root, Step, ending_at};
use crate::editor::scope::{self, Variable};
use crate::lexer::{Kind, Token};
use crate::prelude;
use crate::syntax::Cursor;

/// Steps along `__index` that are followed.
const INHERITANCE: usize = 10;
/// Expressions that are followed for one answer: a variable's value may be another's.
const BUDGET: usize = 64;

/// What an expression stands for.
#[derive(Clone, Debug)]
pub(crate) enum Subject<'a> {
    Value(Value),
    /// Something documented that is no value yet: a method of a result.
    Documented(&'static Entry),
    /// A value of this type.
    Typed(&'a str),
    /// A table that the code writes: the index of its `{`.
    Written(usize),
    /// A local of the code, of which nothing else is known.
    Declared(Variable<'a>),
}

/// Code in an editor, over the workspace's state.
pub(crate) struct Reader<'l, 't, 'a> {
    pub(crate) lua: &'l Lua,
    pub(crate) tokens: &'t [Token<'a>],
    /// How many expressions may still be followed.
    budget: Cell<usize>,
}

impl<'l, 't, 'a> Reader<'l, 't, 'a> {
    pub(crate) fn new(lua: &'l Lua, tokens: &'t [Token<'a>]) -> Reader<'l, 't, 'a> {
        Reader { lua, tokens, budget: Cell::new(BUDGET) }
    }

    /// What the expression before the token `end` stands for.
    pub(crate) fn before(&self, end: usize) -> Option<Subject<'a>> {
        self.resolve(&ending_at(self.tokens, end)?).ok().flatten()
    }

    fn resolve(&self, expression: &Expression<'a>) -> mlua::Result<Option<Subject<'a>>> {
        let Some(left) = self.budget.get().checked_sub(1) else { return Ok(None) };
        self.budget.set(left);
        let mut subject = match expression.root {
            Root::Text => Some(Subject::Value(Value::String(self.lua.create_string("")?))),
            Root::Name(name, at) => self.variable(name, at)?,
        };
        for step in &expression.steps {
            subject = match (subject, step) {
                (None, _) => return Ok(None),
                (Some(subject), Step::Field(name)) => self.field(&subject, name)?,
                (Some(subject), Step::Call) => self.called(&subject)?.map(Subject::Typed),
                (Some(subject), Step::Item(index)) => self.item(&subject, *index)?,
            };
        }
        Ok(subject)
    }

    /// The variable of that name where the token `at` stands.
    fn variable(&self, name: &str, at: usize) -> mlua::Result<Option<Subject<'a>>> {
        let local = scope::locals(self.tokens, at).into_iter().rfind(|local| local.name == name);
        if let Some(local) = local {
            return Ok(Some(self.written(&local)?.unwrap_or(Subject::Declared(local))));
        }
        let value = match kept_value(self.lua, name)? {
            Value::Nil => self.lua.globals().raw_get(name)?,
            kept => kept,
        };
        if !value.is_nil() {
            return Ok(Some(Subject::Value(value)));
        }
        // One that this very code assigns.
        let assigned = scope::assigned(self.tokens).into_iter().find(|one| one.name == name && one.declared != at);
        let Some(assigned) = assigned else { return Ok(None) };
        Ok(Some(self.written(&assigned)?.unwrap_or(Subject::Declared(assigned))))
    }

    /// What a variable is given where it is declared.
    fn written(&self, variable: &Variable<'a>) -> mlua::Result<Option<Subject<'a>>> {
        let Some(start) = variable.value else { return Ok(None) };
        let mut cursor = Cursor { tokens: self.tokens, at: start };
        cursor.skip_expression();
        let Some(first) = self.tokens.get(start) else { return Ok(None) };
        if first.is("{") {
            return Ok(Some(Subject::Written(start)));
        }
        match ending_at(self.tokens, cursor.at.min(self.tokens.len())) {
            Some(expression) if expression.start == start => self.resolve(&expression),
            _ => Ok(None),
        }
    }

    fn field(&self, subject: &Subject<'a>, name: &str) -> mlua::Result<Option<Subject<'a>>> {
        match subject {
            Subject::Value(value) => {
                let found = field(self.lua, value, name)?;
                if !found.is_nil() {
                    return Ok(Some(Subject::Value(found)));
                }
                let class = class_of(self.lua, value)?;
                Ok(class.and_then(|class| member(class, name)))
            }
            Subject::Typed(form) => {
                for class in classes(form) {
                    if let Some(found) = member(class, name) {
                        return Ok(Some(found));
                    }
                }
                match self.value_of_type(form)? {
                    Some(text) => Ok(Some(Subject::Value(field(self.lua, &text, name)?)).filter(is_something)),
                    None => Ok(None),
                }
            }
            Subject::Written(open) => {
                let found = constructed(self.tokens, *open).into_iter().find(|field| field.name == name);
                let Some(found) = found else { return Ok(None) };
                Ok(Some(self.written(&found)?.unwrap_or(Subject::Declared(found))))
            }
            Subject::Documented(_) | Subject::Declared(_) => Ok(None),
        }
    }

    /// The methods of a text, for a type that is one.
    pub(crate) fn value_of_type(&self, form: &str) -> mlua::Result<Option<Value>> {
        let text = alternatives(form).any(|form| form == "string" || form.starts_with('"') || is_text_alias(form));
        text.then(|| self.lua.create_string("").map(Value::String)).transpose()
    }

    fn item(&self, subject: &Subject<'a>, index: Option<i64>) -> mlua::Result<Option<Subject<'a>>> {
        Ok(match (subject, index) {
            (Subject::Value(Value::Table(table)), Some(index)) => {
                Some(Subject::Value(table.raw_get(index)?)).filter(is_something)
            }
            (Subject::Typed(form), _) => element(form).map(Subject::Typed),
            _ => None,
        })
    }

    /// The type that a call of it returns, where that is documented.
    fn called(&self, subject: &Subject<'a>) -> mlua::Result<Option<&'static str>> {
        Ok(self.entry(subject)?.and_then(Entry::result))
    }

    /// The documentation of a value or of something documented.
    pub(crate) fn entry(&self, subject: &Subject<'a>) -> mlua::Result<Option<&'static Entry>> {
        Ok(match subject {
            Subject::Documented(entry) => Some(entry),
            Subject::Value(value) => documented(self.lua, value)?,
            _ => None,
        })
    }

    /// The documentation of the function that is called by the bracket or the string at `open`.
    pub(crate) fn function_at(&self, open: usize) -> Option<&'static Entry> {
        let subject = self.before(open)?;
        self.entry(&subject).ok().flatten()
    }
}

fn is_something(subject: &Subject<'_>) -> bool {
    !matches!(subject, Subject::Value(Value::Nil))
}

/// A documented method or data field of a class.
fn member<'a>(class: &'static Entry, name: &str) -> Option<Subject<'a>> {
    if let Some(method) = documentation().method(class, name) {
        return Some(Subject::Documented(method));
    }
    let fields = documentation().fields(class.class.as_deref()?);
    fields.into_iter().find(|field| field.name == name).map(|field: &'static Parameter| Subject::Typed(&field.form))
}

/// The classes among the alternatives of a type.
pub(crate) fn classes(form: &str) -> impl Iterator<Item = &'static Entry> {
    alternatives(form).filter_map(|form| documentation().class(form)).filter(|class| class.kind == EntryKind::Class)
}

/// `string` and `Agent.Request` of `string|Agent.Request?`.
pub(crate) fn alternatives(form: &str) -> impl Iterator<Item = &str> {
    form.split('|').map(|form| form.trim().trim_end_matches('?'))
}

/// The type of a list's items: `X` of `X[]`.
pub(crate) fn element(form: &str) -> Option<&str> {
    alternatives(form).find_map(|form| form.strip_suffix("[]"))
}

fn is_text_alias(form: &str) -> bool {
    documentation().class(form).is_some_and(|alias| alias.kind == EntryKind::Alias && alias.form == "string")
}

/// The documentation of a function or a table that a script was given, or of a method it has.
pub(crate) fn documented(lua: &Lua, value: &Value) -> mlua::Result<Option<&'static Entry>> {
    if !matches!(value, Value::Function(_) | Value::Table(_)) {
        return Ok(None);
    }
    let names: Table = prelude::table(lua)?.raw_get("names")?;
    let name: Option<String> = names.raw_get(value)?;
    Ok(name.and_then(|name| documentation().find(&name)).filter(|entry| entry.kind != EntryKind::Class))
}

/// The class of an object, by the table in which its methods are.
pub(crate) fn class_of(lua: &Lua, value: &Value) -> mlua::Result<Option<&'static Entry>> {
    let Some(metatable) = metatable(lua, value)? else { return Ok(None) };
    let names: Table = prelude::table(lua)?.raw_get("names")?;
    for table in [metatable.raw_get("__index")?, Value::Table(metatable)] {
        if matches!(table, Value::Table(_))
            && let Some(name) = names.raw_get::<Option<String>>(table)?
        {
            return Ok(documentation().find(&name).filter(|entry| entry.kind == EntryKind::Class));
        }
    }
    Ok(None)
}

/// A value's metatable, whatever its `__metatable` says.
pub(crate) fn metatable(lua: &Lua, value: &Value) -> mlua::Result<Option<Table>> {
    match value {
        Value::Table(table) => Ok(table.metatable()),
        Value::UserData(_) => prelude::function(lua, "metatable")?.call(value),
        _ => Ok(None),
    }
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
pub(crate) fn inheritance(lua: &Lua, value: &Value) -> mlua::Result<Vec<Table>> {
    let mut tables = Vec::new();
    let above = |metatable: Option<Table>| -> mlua::Result<Option<Table>> {
        Ok(match metatable.map(|metatable| metatable.raw_get("__index")).transpose()? {
            Some(Value::Table(parent)) => Some(parent),
            _ => None,
        })
    };
    let mut next = match value {
        Value::Table(table) => Some(table.clone()),
        Value::String(_) => prelude::table(lua)?.raw_get::<Option<Table>>("string_methods")?,
        other => above(metatable(lua, other)?)?,
    };
    while let Some(table) = next.filter(|_| tables.len() < INHERITANCE) {
        next = above(table.metatable())?;
        tables.push(table);
    }
    Ok(tables)
}

/// The value of a local of an earlier cell.
pub(crate) fn kept_value(lua: &Lua, name: &str) -> mlua::Result<Value> {
    prelude::function(lua, "kept_value")?.call(name)
}

/// The named fields of a table constructor, as far as it is written.
pub(crate) fn constructed<'a>(tokens: &[Token<'a>], open: usize) -> Vec<Variable<'a>> {
    let mut found = Vec::new();
    let mut cursor = Cursor { tokens, at: open + 1 };
    while let Some(token) = tokens.get(cursor.at).filter(|token| !token.is("}")) {
        let before = cursor.at;
        if token.kind == Kind::Name && tokens.get(before + 1).is_some_and(|next| next.is("=")) {
            cursor.at += 2;
            let (name, value) = (token.text, Some(cursor.at));
            found.push(Variable {
                name,
                declared: before,
                value,
                parameters: scope::written_parameters(tokens, cursor.at),
            });
        } else if token.is("[") {
            cursor.skip_brackets();
            cursor.takes("=");
        }
        cursor.skip_expression();
        if !cursor.takes(",") && !cursor.takes(";") && tokens.get(cursor.at).is_some_and(|token| !token.is("}")) {
            break;
        }
        if cursor.at <= before {
            break;
        }
    }
    found
}
