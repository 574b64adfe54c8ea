//! `perilune kernel install`, `uninstall` and `list`: the kernelspecs by which Jupyter starts this kernel.

use std::path::Path;

use anyhow::{Context, Error};
use perilune_kernel::kernelspec::{self, Command, Installed, Scope};
use serde_json::json;

use crate::arguments::{Format, Install, Place, Uninstall};
use crate::failure::{Failure, tell};
use crate::output::{print, print_json};
use crate::table::Table;

/// Makes Jupyter list this kernel.
pub async fn install(Install { place, display_name }: Install, format: Format) -> Result<(), Failure> {
    let command = Command::of_this_program().map_err(refused)?;
    let scope = scope(&place, &command.path).await?;
    let directory = kernelspec::install(&scope, &place.name, display_name.as_deref(), &command).map_err(refused)?;
    match format {
        Format::Text => print(&format!("installed the kernel `{}`: {}\n", place.name, directory.display()))?,
        Format::Json => print_json(&json!({ "kernelspec": directory, "state": "installed", "command": command.path }))?,
    }
    if let Some(doubt) = command.doubt {
        let path = command.path.display();
        tell(&format!("warning: Jupyter will start `{path}`, and {doubt}; install again from where the program stays"));
    }
    Ok(())
}

/// Removes this kernel from Jupyter's list.
pub async fn uninstall(Uninstall { place }: Uninstall, format: Format) -> Result<(), Failure> {
    let command = Command::of_this_program().map_err(refused)?;
    let removed = kernelspec::uninstall(&scope(&place, &command.path).await?, &place.name).map_err(refused)?;
    let directory = removed.directory.display();
    match format {
        Format::Text if removed.others_stay => {
            print(&format!("removed the kernel `{}`; files of others stay in {directory}\n", place.name))
        }
        Format::Text => print(&format!("removed the kernel `{}`: {directory}\n", place.name)),
        Format::Json => print_json(&json!({
            "kernelspec": removed.directory, "state": "removed", "others_stay": removed.others_stay
        })),
    }
}

/// Lists where Jupyter finds this kernel, and what it would start.
pub async fn list(format: Format) -> Result<(), Failure> {
    let command = Command::of_this_program().map_err(refused)?;
    // Without an environment there is nothing to look for in one.
    let environment = kernelspec::active_environment(&command.path).await.ok();
    let installed = kernelspec::installed(environment.as_deref());
    match format {
        Format::Json => print_json(&json!({ "kernelspecs": installed })),
        Format::Text if installed.is_empty() => {
            print("Jupyter does not know this kernel; `perilune kernel install --user` tells it\n")
        }
        Format::Text => print(&table(&installed)),
    }
}

fn table(installed: &[Installed]) -> String {
    let mut table = Table::new(["name", "shown as", "directory", "starts"]);
    for Installed { name, display_name, directory, command, starts, .. } in installed {
        let command = command.display();
        let starts = if *starts { command.to_string() } else { format!("{command} (missing: install it again)") };
        table.row([name.clone(), display_name.clone(), directory.display().to_string(), starts]);
    }
    table.to_string()
}

async fn scope(place: &Place, program: &Path) -> Result<Scope, Failure> {
    match &place.prefix {
        Some(prefix) => Ok(Scope::Prefix(prefix.clone())),
        None if place.sys_prefix => {
            let prefix = kernelspec::active_environment(program).await;
            Ok(Scope::Prefix(prefix.context("no environment to use").map_err(Failure::Refused)?))
        }
        None => Ok(Scope::User),
    }
}

fn refused(error: impl Into<Error>) -> Failure {
    Failure::Refused(error.into())
}
