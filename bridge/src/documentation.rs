//! The registry of what Perilune gives its scripts: every global, function, method, option, type
//! and magic with what it takes, returns and raises. The text stands in `bridge/documentation/*.lua`
//! in the annotations that Lua's language server reads, with three tags of our own (`parse` tells
//! them); inspection, completion, the manual, the type stubs and the names of options come from here.

mod markdown;
mod parse;
mod stubs;

use std::sync::OnceLock;

/// One file of `bridge/documentation`, in the manual's order.
struct File {
    name: &'static str,
    source: &'static str,
    /// Lua's own library, which every language server knows.
    standard: bool,
}

macro_rules! file {
    ($name:literal, $standard:literal) => {
        File {
            name: concat!($name, ".lua"),
            source: include_str!(concat!("../documentation/", $name, ".lua")),
            standard: $standard,
        }
    };
}

/// A new area is a new file, named here.
const FILES: [File; 19] = [
    file!("local_llm", false),
    file!("agent", false),
    file!("usage", false),
    file!("display", false),
    file!("json", false),
    file!("input", false),
    file!("magics", false),
    file!("ilua", false),
    file!("comm", false),
    file!("basic", true),
    file!("string", true),
    file!("table", true),
    file!("math", true),
    file!("io", true),
    file!("os", true),
    file!("utf8", true),
    file!("coroutine", true),
    file!("package", true),
    file!("debug", true),
];

/// Names this near to one that is not known are suggested for it, at most so many.
const NEAR: f64 = 0.85;
const SUGGESTIONS: usize = 3;

/// Everything that is documented.
#[derive(Debug)]
pub struct Documentation {
    areas: Vec<Area>,
    entries: Vec<Entry>,
}

/// A chapter: what one file documents.
#[derive(Debug)]
pub struct Area {
    /// The heading.
    pub title: String,
    /// What holds for all of it; markdown.
    pub text: String,
    /// Whether it is Lua's own library.
    pub standard: bool,
    /// The names of its entries, in order.
    entries: std::ops::Range<usize>,
    file: &'static str,
}

/// One thing that has documentation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// What a script writes: `LocalLLM.generate`, `agent:execute`, `%%chat`; for a type, its name.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
    /// One sentence.
    pub summary: String,
    /// What else is to be said; markdown.
    pub text: String,
    /// What a function takes.
    pub parameters: Vec<Parameter>,
    /// What it returns.
    pub returns: Vec<Parameter>,
    /// The error kinds worth branching on, and when they are raised.
    pub errors: Vec<(String, String)>,
    /// Code that shows it and runs as it stands.
    pub example: String,
    /// The type of a value or an alias; how a magic is written.
    pub form: String,
    /// The name of a class as a type: `Agent`, whose objects the manual calls `agent`.
    pub class: Option<String>,
    /// The class whose fields this class has too.
    pub parent: Option<String>,
    /// A class's fields that are data: the options of a call, the parts of an answer.
    pub fields: Vec<Parameter>,
    /// Other ways to call it, as `fun(...)` types.
    pub overloads: Vec<String>,
}

/// What an [`Entry`] is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EntryKind {
    /// A table of functions: a global or a module.
    #[default]
    Table,
    /// A function, called with a dot or by its name.
    Function,
    /// A function of an object, called with a colon.
    Method,
    /// A global or a field that is no function.
    Value,
    /// A type of objects or tables.
    Class,
    /// A name for a type.
    Alias,
    /// A line at the start of a notebook's cell.
    Magic,
}

/// A parameter, a result or a field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameter {
    /// Its name; empty for a result without one.
    pub name: String,
    /// Its type, in the language server's words.
    pub form: String,
    /// Whether it may be left out.
    pub optional: bool,
    /// What it is.
    pub text: String,
}

/// The documentation this build has.
pub fn documentation() -> &'static Documentation {
    static DOCUMENTATION: OnceLock<Documentation> = OnceLock::new();
    DOCUMENTATION.get_or_init(|| Documentation::read().expect("the tests read the same files"))
}

impl Documentation {
    fn read() -> Result<Documentation, parse::Problem> {
        let mut all = Documentation { areas: Vec::new(), entries: Vec::new() };
        for file in &FILES {
            let parsed = parse::parse(file.name, file.source)?;
            let start = all.entries.len();
            all.entries.extend(parsed.entries);
            let entries = start..all.entries.len();
            let (title, text) = (parsed.title, parsed.text);
            all.areas.push(Area { title, text, standard: file.standard, entries, file: file.name });
        }
        all.add_setters();
        Ok(all)
    }

    /// A class of setters has one method for each field of another class.
    fn add_setters(&mut self) {
        for at in (0..self.entries.len()).rev() {
            let Some(options) = parse::setters_of(&self.entries[at]).map(str::to_owned) else { continue };
            let fields: Vec<Parameter> = self.fields(&options).into_iter().cloned().collect();
            self.entries[at].form.clear();
            let builder = self.entries[at].clone();
            let setters: Vec<Entry> = fields.iter().map(|field| setter(&builder, field)).collect();
            let added = setters.len();
            self.entries.splice(at + 1..at + 1, setters);
            for area in &mut self.areas {
                if area.entries.start > at {
                    area.entries.start += added;
                }
                if area.entries.end > at {
                    area.entries.end += added;
                }
            }
        }
    }

    /// The chapters, in order.
    pub fn areas(&self) -> &[Area] {
        &self.areas
    }

    /// Everything, in the manual's order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// A chapter's entries.
    pub fn entries_of(&self, area: &Area) -> &[Entry] {
        &self.entries[area.entries.clone()]
    }

    /// The entry a reader means by `name`: as it is listed, with a dot for a colon, or by its class
    /// (`Agent:execute` for `agent:execute`).
    pub fn find(&self, name: &str) -> Option<&Entry> {
        let exact = self.entries.iter().find(|entry| entry.name == name);
        exact.or_else(|| self.member_of_path(name)).or_else(|| self.class(name))
    }

    fn member_of_path(&self, name: &str) -> Option<&Entry> {
        let (owner, member) = name.rsplit_once([':', '.'])?;
        let class = self.entries.iter().find(|entry| entry.kind == EntryKind::Class && entry.name == owner);
        let class = class.or_else(|| self.class(owner));
        let by_class = class.and_then(|class| self.method(class, member));
        by_class.or_else(|| self.entries.iter().find(|entry| entry.name == format!("{owner}.{member}")))
    }

    /// The class or alias of that type name.
    pub fn class(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.class.as_deref() == Some(name))
    }

    /// The method of a class, or of one it inherits from.
    pub fn method(&self, class: &Entry, name: &str) -> Option<&Entry> {
        self.methods(class).into_iter().find(|method| method.last_name() == name)
    }

    /// The methods of a class and of those it inherits from.
    pub fn methods(&self, class: &Entry) -> Vec<&Entry> {
        let prefix = format!("{}:", class.name);
        let own = self.entries.iter().filter(|entry| entry.name.starts_with(&prefix));
        let inherited = class.parent.as_deref().and_then(|parent| self.class(parent));
        own.chain(inherited.into_iter().flat_map(|parent| self.methods(parent))).collect()
    }

    /// The data fields of the class of that name, those it inherits first.
    pub fn fields(&self, class: &str) -> Vec<&Parameter> {
        let Some(class) = self.class(class) else { return Vec::new() };
        let mut fields = class.parent.as_deref().map_or_else(Vec::new, |parent| self.fields(parent));
        fields.extend(&class.fields);
        fields
    }

    /// The options that a function takes in its table of options: the fields of its last parameter's class.
    pub fn options(&self, function: &str) -> Vec<&Parameter> {
        let last = self.find(function).and_then(|entry| entry.parameters.last());
        last.map_or_else(Vec::new, |parameter| {
            parameter.types().into_iter().flat_map(|form| self.fields(form)).collect()
        })
    }

    /// Listed names near to `name`, nearest first.
    pub fn near(&self, name: &str) -> Vec<&str> {
        let last = name.rsplit([':', '.']).next().unwrap_or(name);
        let alike = |entry: &Entry| {
            let whole = strsim::jaro_winkler(name, &entry.name);
            if entry.last_name() == last { 1.0 } else { whole.max(strsim::jaro_winkler(name, entry.last_name())) }
        };
        let mut scored: Vec<(f64, &str)> =
            self.entries.iter().map(|entry| (alike(entry), entry.name.as_str())).filter(|one| one.0 >= NEAR).collect();
        scored.sort_by(|left, right| right.0.total_cmp(&left.0));
        scored.into_iter().take(SUGGESTIONS).map(|(_, name)| name).collect()
    }
}

fn setter(builder: &Entry, field: &Parameter) -> Entry {
    let value = Parameter { name: "value".to_owned(), optional: false, ..field.clone() };
    let returned = Parameter {
        name: "builder".to_owned(),
        form: builder.class.clone().unwrap_or_default(),
        text: "itself, so that calls can be chained".to_owned(),
        ..Parameter::default()
    };
    Entry {
        name: format!("{}:{}", builder.name, field.name),
        kind: EntryKind::Method,
        summary: format!("Sets the option `{}`: {}.", field.name, field.text),
        parameters: vec![value],
        returns: vec![returned],
        ..Entry::default()
    }
}

impl Entry {
    /// The name without what it belongs to: `execute` of `agent:execute`.
    pub fn last_name(&self) -> &str {
        self.name.rsplit([':', '.']).next().unwrap_or(&self.name)
    }

    /// The type that a call of it returns.
    pub(crate) fn result(&self) -> Option<&str> {
        let overload = self.overloads.first().and_then(|form| form.rsplit_once("): "));
        let first = self.returns.first().map(|result| result.form.as_str());
        first.or(overload.map(|(_, form)| form))
    }

    /// Whether it can be called.
    pub fn is_function(&self) -> bool {
        matches!(self.kind, EntryKind::Function | EntryKind::Method)
    }

    /// How it is written: a call with its parameters, a value with its type.
    pub fn signature(&self) -> String {
        let parameters: Vec<String> = self.parameters.iter().map(Parameter::signature).collect();
        let returns: Vec<&str> = self.returns.iter().map(|result| result.form.as_str()).collect();
        match self.kind {
            EntryKind::Function | EntryKind::Method if returns.is_empty() => {
                format!("{}({})", self.name, parameters.join(", "))
            }
            EntryKind::Function | EntryKind::Method => {
                format!("{}({}): {}", self.name, parameters.join(", "), returns.join(", "))
            }
            EntryKind::Value => format!("{}: {}", self.name, self.form),
            EntryKind::Alias => format!("{} = {}", self.name, self.form),
            EntryKind::Magic => self.form.clone(),
            EntryKind::Table | EntryKind::Class => self.name.clone(),
        }
    }
}

impl Parameter {
    fn signature(&self) -> String {
        let mark = if self.optional { "?" } else { "" };
        format!("{}{mark}: {}", self.name, self.form)
    }

    /// The alternatives of its type: `string` and `Agent.Request` of `string|Agent.Request`.
    pub fn types(&self) -> Vec<&str> {
        self.form.split('|').map(str::trim).collect()
    }
}

#[cfg(test)]
mod tests;
