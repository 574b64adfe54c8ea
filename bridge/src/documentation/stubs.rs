//! Type stubs for Lua's language server: what Perilune adds to Lua, as `---@meta` files.

use std::fmt::Write as _;

use super::{Documentation, Entry, EntryKind, Parameter};

impl Documentation {
    /// A file name and its contents for each chapter beyond Lua's own library, which the language
    /// server knows by itself.
    pub fn stubs(&self) -> Vec<(&'static str, String)> {
        let ours = self.areas().iter().filter(|area| !area.standard);
        ours.map(|area| {
            let mut stub = format!("---@meta\n-- {}. Written by `perilune stubs`.\n", area.title);
            for entry in self.entries_of(area).iter().filter(|entry| entry.kind != EntryKind::Magic) {
                write_entry(entry, &mut stub);
            }
            (area.file, stub)
        })
        .collect()
    }
}

fn write_entry(entry: &Entry, stub: &mut String) {
    stub.push('\n');
    let text = [entry.summary.as_str(), entry.text.as_str(), &errors(entry), &example(entry)]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("\n\n");
    for line in text.lines() {
        let _ = writeln!(stub, "---{}{line}", if line.is_empty() { "" } else { " " });
    }
    for field in &entry.fields {
        // The class's own tag comes before its fields.
        if field == &entry.fields[0] {
            write_class(entry, stub);
        }
        let _ = writeln!(stub, "---@field {}{} {} {}", field.name, mark(field), field.form, field.text);
    }
    for parameter in &entry.parameters {
        let _ = writeln!(stub, "---@param {}{} {} {}", parameter.name, mark(parameter), parameter.form, parameter.text);
    }
    for result in &entry.returns {
        let _ = writeln!(stub, "---@return {} {} {}", result.form, result.name, result.text);
    }
    for overload in &entry.overloads {
        let _ = writeln!(stub, "---@overload {overload}");
    }
    match entry.kind {
        EntryKind::Function | EntryKind::Method => {
            let names: Vec<&str> = entry.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
            let _ = writeln!(stub, "function {}({}) end", entry.name, names.join(", "));
        }
        EntryKind::Table => {
            let _ = writeln!(stub, "{} = {{}}", entry.name);
        }
        EntryKind::Value => {
            let _ = writeln!(stub, "---@type {}\n{} = nil", entry.form, entry.name);
        }
        EntryKind::Class if entry.fields.is_empty() => write_class(entry, stub),
        EntryKind::Alias => {
            let _ = writeln!(stub, "---@alias {} {}", entry.name, entry.form);
        }
        EntryKind::Class | EntryKind::Magic => {}
    }
    if entry.kind == EntryKind::Class && entry.class.as_ref() != Some(&entry.name) {
        let _ = writeln!(stub, "local {} = {{}}", entry.name);
    }
}

fn write_class(entry: &Entry, stub: &mut String) {
    let name = entry.class.as_deref().unwrap_or(&entry.name);
    let parent = entry.parent.as_ref().map(|parent| format!(": {parent}")).unwrap_or_default();
    let _ = writeln!(stub, "---@class {name}{parent}");
}

fn mark(parameter: &Parameter) -> &'static str {
    if parameter.optional { "?" } else { "" }
}

fn errors(entry: &Entry) -> String {
    let errors: Vec<String> = entry.errors.iter().map(|(kind, text)| format!("- `{kind}`: {text}")).collect();
    if errors.is_empty() { String::new() } else { format!("Errors:\n{}", errors.join("\n")) }
}

fn example(entry: &Entry) -> String {
    if entry.example.is_empty() { String::new() } else { format!("```lua\n{}\n```", entry.example) }
}
