//! `perilune config ...`: what holds, where it comes from, and whether it holds together. It is about this machine.

use std::path::Path;

use anyhow::{Context, Error, anyhow};
use perilune_kernel::settings::{self, Origin, Setting};
use serde_json::json;

use crate::arguments::{Config, Format, Global};
use crate::failure::Failure;
use crate::output::{print, print_json};

/// Tells what `command` asks for.
pub fn run(command: Config, global: &Global) -> Result<(), Failure> {
    if global.connect.is_some() {
        let what = "`config` tells the configuration of this machine; `--connect` has nothing to do with it";
        return Err(Failure::Usage(anyhow!(what)));
    }
    match command {
        Config::Show => show(global.output),
        Config::Path => path(global.output),
        Config::Check { file } => check(file.as_deref(), global.output),
        Config::Schema => print(settings::SCHEMA),
    }
}

fn show(format: Format) -> Result<(), Failure> {
    let settings = settings::settings().map_err(wrong)?;
    match format {
        Format::Json => print_json(&json!({ "settings": settings })),
        Format::Text => print(&toml(&settings)),
    }
}

/// The settings as a configuration file that would say the same, each with its layer; what cannot be written is a comment.
fn toml(settings: &[Setting]) -> String {
    let mut text = String::new();
    let mut table = "";
    for Setting { table: stands_in, key, value, shown, origin } in settings {
        if stands_in != table {
            text.push_str(&format!("\n[{}]\n", heading(stands_in)));
            table = stands_in;
        }
        let line = match value {
            Some(_) => format!("{key} = {shown}"),
            None => format!("# {key}: {shown}"),
        };
        text.push_str(&match origin {
            Origin::Default => format!("{line:40}  # default\n"),
            origin => format!("{line:40}  # {origin}\n"),
        });
    }
    text
}

/// `providers.NAME`, with quotes where TOML wants them.
fn heading(table: &str) -> String {
    let is_bare = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    match table.split_once('.') {
        Some((tables, name)) if !is_bare(name) => format!("{tables}.{}", serde_json::Value::from(name)),
        _ => table.to_owned(),
    }
}

fn path(format: Format) -> Result<(), Failure> {
    let paths = settings::paths();
    match format {
        Format::Json => print_json(&json!({
            "exists": paths.user.as_ref().is_some_and(|path| path.exists()),
            "user": paths.user,
            "project": paths.project,
        })),
        Format::Text => {
            let user = paths.user.context("neither `PERILUNE_HOME` nor `HOME` is set; set one of them");
            print(&format!("{}\n", user.map_err(Failure::Usage)?.display()))
        }
    }
}

fn check(file: Option<&Path>, format: Format) -> Result<(), Failure> {
    let checked = settings::check(file).map_err(wrong)?;
    match format {
        Format::Json => print_json(&checked),
        Format::Text => {
            let files: Vec<String> = checked.files.iter().map(|file| format!("`{}`", file.display())).collect();
            let warnings = checked.warnings.iter().map(|warning| format!("warning: {warning}\n"));
            let read = if files.is_empty() { "no file, all is as by default".to_owned() } else { files.join(", ") };
            print(&format!("{}the configuration holds together: {read}\n", warnings.collect::<String>()))
        }
    }
}

fn wrong(error: perilune_kernel::Error) -> Failure {
    Failure::Usage(Error::from(error))
}
