//! `perilune completions` and `perilune man`: what the command line says about itself to shells and to `man`, made from its definition.

use std::fs;
use std::path::Path;

use anyhow::Context;
use clap::CommandFactory;
use clap_mangen::Man;

use crate::arguments::{Arguments, Shell};
use crate::failure::Failure;
use crate::output::print;

/// Prints the completion script of a shell.
pub fn completions(shell: Shell) -> Result<(), Failure> {
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "perilune", &mut script);
    print(&String::from_utf8_lossy(&script))
}

/// Prints the manual page, or writes it and one page per command into a folder.
pub fn man(folder: Option<&Path>) -> Result<(), Failure> {
    let command = Arguments::command().disable_help_subcommand(true);
    let Some(folder) = folder else {
        let mut page = Vec::new();
        Man::new(command).render(&mut page).context("cannot make the manual page").map_err(Failure::Refused)?;
        return print(&String::from_utf8_lossy(&page));
    };
    fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(command, folder))
        .with_context(|| format!("cannot write manual pages into `{}`", folder.display()))
        .map_err(Failure::Usage)
}
