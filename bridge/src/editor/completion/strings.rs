//! What could stand within a string: a module for `require`, a model or a backend where one is
//! expected, a word where only certain ones are allowed.

use std::path::Path;

use mlua::Value;

use super::{CompletionKind, Finder};
use crate::documentation::Documentation;
use crate::editor::subject::{Reader, alternatives};
use crate::lexer::Token;

/// Files of a folder that are looked at.
const FILES: usize = 1_000;
/// A path without an extension of its own that `package.path` may have.
const PATTERN: &str = "?.lua";

impl<'f> Finder<'f> {
    /// Within the string that starts at the byte `open`.
    pub(super) fn within_string(&mut self, before: &'f str, open: usize, tokens: &[Token<'f>]) -> mlua::Result<()> {
        let content = &before[open..];
        let quotes = match content.strip_prefix('[') {
            Some(rest) => rest.find('[').map_or(content.len(), |level| level + 2),
            None => 1,
        };
        self.word = content.get(quotes..).unwrap_or("");
        if self.word.contains(['\\', '\n']) {
            self.word = "";
            return Ok(());
        }
        let string = tokens.iter().rposition(|token| token.start == open).unwrap_or(tokens.len());
        let reader = Reader::new(self.lua, tokens);
        if is_required(&reader, string) {
            return self.modules();
        }
        let Some(form) = reader.expected(string) else { return Ok(()) };
        Documentation::texts(form).for_each(|text| self.add(text, CompletionKind::Value, String::new()));
        for form in alternatives(form) {
            match form {
                "ModelSpecifier" => self.add_models(),
                "Backend" => {
                    let host = self.host;
                    for instance in host.options.registry.instances() {
                        self.add(instance.name(), CompletionKind::Model, instance.provider_type().to_string());
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The modules that `require` would find: loaded, travelled with the script, in its folder, along `package.path`.
    fn modules(&mut self) -> mlua::Result<()> {
        let package: Value = self.lua.globals().raw_get("package")?;
        let Value::Table(package) = package else { return Ok(()) };
        for name in ["loaded", "preload"] {
            let Value::Table(table) = package.raw_get(name)? else { continue };
            for pair in table.pairs::<Value, Value>().take(super::KEYS) {
                if let (Value::String(name), _) = pair? {
                    self.add(&name.to_string_lossy(), CompletionKind::Module, String::new());
                }
            }
        }
        let options = &self.host.options;
        options.modules.keys().for_each(|name| self.add(name, CompletionKind::Module, String::new()));
        if let Some(folder) = &options.module_directory {
            self.modules_in(folder);
        }
        if let Value::String(path) = package.raw_get("path")? {
            let path = path.to_string_lossy();
            let folders = path.split(';').filter_map(|pattern| pattern.strip_suffix(PATTERN));
            folders.for_each(|folder| self.modules_in(Path::new(if folder.is_empty() { "." } else { folder })));
        }
        Ok(())
    }

    /// The modules of a folder, or of the one below it that the word names already: `a.b.`
    fn modules_in(&mut self, folder: &Path) {
        let (parents, _) = self.word.rsplit_once('.').map_or(("", self.word), |(parents, last)| (parents, last));
        let below = parents.split('.').filter(|part| !part.is_empty() && *part != "..");
        let Ok(entries) = std::fs::read_dir(folder.join(below.collect::<std::path::PathBuf>())) else { return };
        let prefix = if parents.is_empty() { String::new() } else { format!("{parents}.") };
        for entry in entries.flatten().take(FILES) {
            let name = entry.file_name().to_string_lossy().into_owned();
            let module = match name.strip_suffix(".lua") {
                Some(module) => Some(module.to_owned()),
                None => entry.path().join("init.lua").is_file().then_some(name),
            };
            if let Some(module) = module.filter(|module| module != "init" && !module.contains('.')) {
                self.add(&format!("{prefix}{module}"), CompletionKind::Module, String::new());
            }
        }
    }
}

/// Whether the string at that token is what `require` is given.
fn is_required(reader: &Reader<'_, '_, '_>, string: usize) -> bool {
    let required = |end: usize| end.checked_sub(1).is_some_and(|at| reader.tokens[at].text == "require");
    match string.checked_sub(1).map(|at| &reader.tokens[at]) {
        Some(token) if token.is("(") => required(string - 1),
        Some(_) => required(string),
        None => false,
    }
}
