//! `perilune model install-ollama`: shows the way in which Ollama's makers install it on this platform, and goes it once that is confirmed.

use std::env::consts::{ARCH, OS};
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, anyhow};
use serde_json::json;

use crate::arguments::Format;
use crate::failure::Failure;
use crate::output::{print, print_json};

/// Where there is more to read, and where it can be got by hand.
const PAGE: &str = "https://ollama.com/download";

const OLLAMA: &str = if cfg!(windows) { "ollama.exe" } else { "ollama" };

/// The official way on a platform: README.md of Ollama 0.17.4.
struct Way {
    /// The line that its makers give.
    line: &'static str,
    /// The program that runs such a line, with what precedes it.
    shell: [&'static str; 2],
    /// The programs that it cannot do without.
    needs: &'static [&'static str],
}

const UNIX: Way =
    Way { line: "curl -fsSL https://ollama.com/install.sh | sh", shell: ["sh", "-c"], needs: &["sh", "curl"] };
const WINDOWS: Way = Way {
    line: "irm https://ollama.com/install.ps1 | iex",
    shell: ["powershell", "-Command"],
    needs: &["powershell.exe"],
};

/// Shows the way, and goes it if `confirmed` or if whoever sits at the terminal says so.
pub fn run(confirmed: bool, format: Format) -> Result<(), Failure> {
    if let Some(path) = found(OLLAMA) {
        return match format {
            Format::Json => print_json(&json!({ "state": "installed_already", "path": path })),
            Format::Text => print(&format!("Ollama is installed already: {}\n", path.display())),
        };
    }
    let way = way().map_err(Failure::Refused)?;
    if let Format::Text = format {
        print(&format!("Ollama's makers install it on {OS} so (more on {PAGE}):\n\n    {}\n\n", way.line))?;
    }
    if !(confirmed || format == Format::Text && agrees()?) {
        return match format {
            Format::Json => print_json(&json!({ "state": "not_confirmed", "command": way.line, "page": PAGE })),
            Format::Text => print("Nothing was run; `perilune model install-ollama --yes` runs it.\n"),
        };
    }
    let [program, option] = way.shell;
    let mut command = Command::new(program);
    command.args([option, way.line]);
    if format == Format::Json {
        // What it says is for people, and must not stand before the JSON.
        command.stdout(io::stderr());
    }
    let ended = command.status().with_context(|| format!("cannot run `{program}`")).map_err(Failure::Refused)?;
    if !ended.success() {
        return Err(Failure::Refused(anyhow!("`{}` ended with {ended}; see above, or {PAGE}", way.line)));
    }
    // A download that fails leaves the shell nothing to do, and so nothing to complain of. On Windows only new terminals find it.
    let installed = found(OLLAMA);
    if installed.is_none() && OS != "windows" {
        return Err(Failure::Refused(anyhow!(
            "`{}` ended, and there is no `ollama` on PATH; see above, or {PAGE}",
            way.line
        )));
    }
    match format {
        Format::Json => print_json(&json!({ "state": "installed", "command": way.line, "path": installed })),
        Format::Text => print(&format!(
            "Installed{}. With [providers.ollama] in the configuration its models are `local/MODEL@ollama`.\n",
            installed.map(|path| format!(": {}", path.display())).unwrap_or_default()
        )),
    }
}

/// The way on this machine, if there is one.
fn way() -> Result<&'static Way, anyhow::Error> {
    let way = match (OS, ARCH) {
        ("linux" | "macos", "x86_64" | "aarch64") => &UNIX,
        ("windows", "x86_64" | "aarch64") => &WINDOWS,
        _ => return Err(anyhow!("Ollama's makers give no way to install it on {OS} with {ARCH}; see {PAGE}")),
    };
    match way.needs.iter().find(|program| found(program).is_none()) {
        Some(missing) => Err(anyhow!(
            "it cannot be installed from here: `{}` needs `{missing}`, which is not on PATH; install that first, or see {PAGE}",
            way.line
        )),
        None => Ok(way),
    }
}

fn found(program: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// Asks at the terminal; where nobody can answer, nobody agrees.
fn agrees() -> Result<bool, Failure> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(false);
    }
    let mut answer = String::new();
    let asked = write!(io::stderr(), "Run it? [y/N] ").and_then(|()| io::stdin().lock().read_line(&mut answer));
    asked.context("cannot ask at the terminal").map_err(Failure::Refused)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
