//! Documentation as text to read: one entry for a pager, and the manual as a whole.

use std::fmt::Write as _;

use super::{Area, Documentation, Entry, EntryKind, Parameter};
use crate::cell::{MimeBundle, Rich};

/// Name, type and text of a line in a list.
type Item = (String, String, String);

impl Entry {
    /// The entry for a pager: markdown, and the same as plain text.
    pub fn page(&self) -> Rich {
        let data = MimeBundle::from_iter([
            ("text/plain".to_owned(), self.plain().into()),
            ("text/markdown".to_owned(), self.markdown().into()),
        ]);
        Rich { data, metadata: MimeBundle::new() }
    }

    /// Without a heading.
    pub fn markdown(&self) -> String {
        let mut page = format!("```lua\n{}\n```\n\n{}\n", self.signature(), self.summary);
        if !self.text.is_empty() {
            let _ = write!(page, "\n{}\n", self.text);
        }
        for (heading, listed) in self.lists() {
            let _ = write!(page, "\n{heading}:\n\n");
            for (name, form, text) in listed {
                let form = if form.is_empty() { String::new() } else { format!(" ({})", code(&form)) };
                let _ = writeln!(page, "- {}{form}: {text}", code(&name));
            }
        }
        if !self.example.is_empty() {
            let _ = write!(page, "\n```lua\n{}\n```\n", self.example);
        }
        page
    }

    /// For a terminal or a tooltip that shows text as it is.
    pub fn plain(&self) -> String {
        let mut page = format!("{}\n\n{}\n", self.signature(), self.summary);
        if !self.text.is_empty() {
            let _ = write!(page, "\n{}\n", self.text);
        }
        for (heading, listed) in self.lists() {
            let _ = write!(page, "\n{heading}:\n");
            for (name, form, text) in listed {
                let form = if form.is_empty() { String::new() } else { format!(" ({form})") };
                let _ = writeln!(page, "  {name}{form}: {text}");
            }
        }
        if !self.example.is_empty() {
            let _ = write!(page, "\nExample:\n  {}\n", self.example.replace('\n', "\n  "));
        }
        page
    }

    /// Every list of the page: heading, then name, type and text of each item.
    fn lists(&self) -> Vec<(&'static str, Vec<Item>)> {
        let mut lists = Vec::new();
        let typed = |parameters: &[Parameter]| parameters.iter().map(Parameter::item).collect::<Vec<_>>();
        let overloads = self.overloads.iter().map(|form| (form.clone(), String::new(), "also".to_owned())).collect();
        let errors = self.errors.iter().map(|(kind, text)| (kind.clone(), String::new(), text.clone())).collect();
        let parent = self.parent.iter();
        let parent = parent.map(|parent| (parent.clone(), String::new(), "everything it has".to_owned())).collect();
        for (heading, items) in [
            ("Parameters", typed(&self.parameters)),
            ("Returns", typed(&self.returns)),
            ("Other calls", overloads),
            ("Errors", errors),
            ("Inherits", parent),
            ("Fields", typed(&self.fields)),
        ] {
            if !items.is_empty() {
                lists.push((heading, items));
            }
        }
        lists
    }
}

impl Parameter {
    fn item(&self) -> (String, String, String) {
        let optional = if self.optional && !self.form.ends_with('?') { ", optional" } else { "" };
        (self.name.clone(), format!("{}{optional}", self.form), self.text.clone())
    }
}

impl Documentation {
    /// The whole manual, in markdown.
    pub fn manual(&self) -> String {
        let mut manual = "# The manual of Perilune's Lua\n\n\
             Written by `perilune manual` from the documentation in the program; a test keeps it current. \
             `perilune manual NAME` prints one entry, `NAME?` in a notebook shows it.\n"
            .to_owned();
        for area in self.areas() {
            let _ = write!(manual, "\n- [{}](#{})", area.title, anchor(&area.title));
        }
        manual.push('\n');
        for area in self.areas() {
            self.chapter(area, &mut manual);
        }
        manual
    }

    fn chapter(&self, area: &Area, manual: &mut String) {
        let _ = write!(manual, "\n## {}\n", area.title);
        if !area.text.is_empty() {
            let _ = write!(manual, "\n{}\n", area.text);
        }
        for entry in self.entries_of(area) {
            let kind = match entry.kind {
                EntryKind::Class => " (type)",
                EntryKind::Alias => " (name of a type)",
                _ => "",
            };
            let _ = write!(manual, "\n### {}{kind}\n\n{}", code(&entry.name), entry.markdown());
        }
    }
}

/// As GitHub makes them.
fn anchor(title: &str) -> String {
    let kept = title.chars().filter(|character| character.is_alphanumeric() || " -_".contains(*character));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

fn code(text: &str) -> String {
    format!("`{text}`")
}
