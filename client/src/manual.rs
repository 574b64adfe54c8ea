//! `perilune manual` and `perilune stubs`: the documentation of what Lua code is given, for a reader and for an editor.

use std::fs;
use std::path::Path;

use anyhow::{Context, anyhow};
use perilune_kernel::documentation;
use serde_json::json;

use crate::arguments::Format;
use crate::failure::Failure;
use crate::output::{print, print_json};

/// Prints the whole manual in markdown, or one entry of it.
pub fn manual(name: Option<&str>, format: Format) -> Result<(), Failure> {
    let Some(name) = name else {
        let manual = documentation().manual();
        return match format {
            Format::Text => print(&manual),
            Format::Json => print_json(&json!({ "markdown": manual })),
        };
    };
    let Some(entry) = documentation().find(name) else {
        let near: Vec<String> = documentation().near(name).into_iter().map(|near| format!("`{near}`")).collect();
        let hint = match near.is_empty() {
            true => "; `perilune manual` lists everything".to_owned(),
            false => format!("; did you mean {}?", near.join(" or ")),
        };
        return Err(Failure::Refused(anyhow!("the manual has no entry `{name}`{hint}")));
    };
    match format {
        Format::Text => print(&entry.plain()),
        Format::Json => print_json(&json!({ "name": entry.name, "markdown": entry.markdown() })),
    }
}

/// Writes the stubs into a folder.
pub fn stubs(folder: &Path, format: Format) -> Result<(), Failure> {
    let stubs = documentation().stubs();
    fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the directory `{}`", folder.display()))
        .map_err(Failure::Usage)?;
    let mut files = Vec::new();
    for (name, text) in stubs {
        let file = folder.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write `{}`", file.display())).map_err(Failure::Usage)?;
        files.push(file);
    }
    match format {
        Format::Text => print(&format!("wrote {} files into {}\n", files.len(), folder.display())),
        Format::Json => print_json(&json!({ "directory": folder, "files": files })),
    }
}
