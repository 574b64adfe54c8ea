//! `perilune doctor`: what stands in the way of running models here, and what would help. It looks and changes nothing.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use perilune_kernel::{kernelspec, resident, settings};
use perilune_protocol::{ModelReply, ModelRequest, Reply, StorageReply, WhichBackend};
use rustix::fs::{Access, access};
use serde::Serialize;
use serde_json::json;

use crate::arguments::{Format, Global};
use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::output::{print, print_json};
use crate::provider;
use crate::run::unexpected;
use crate::session::Session;
use crate::table::size;

/// Below this much room no model of use can be pulled, and below the second hardly anything can be written.
const LITTLE_ROOM: u64 = 2 << 30;
const NO_ROOM: u64 = 100 << 20;
/// Below this much memory no model of use can be loaded.
const LITTLE_MEMORY: u64 = 1 << 30;

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    area: &'static str,
    state: State,
    what: String,
    remedy: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Ok,
    Warning,
    Problem,
}

impl Finding {
    fn ok(area: &'static str, what: impl Into<String>) -> Finding {
        Finding { area, state: State::Ok, what: what.into(), remedy: None }
    }

    fn warning(area: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { area, state: State::Warning, what: what.into(), remedy: Some(remedy.into()) }
    }

    fn problem(area: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { area, state: State::Problem, what: what.into(), remedy: Some(remedy.into()) }
    }
}

/// Looks at everything and reports; whether nothing is wrong.
pub async fn run(global: &Global, interrupts: &Interrupts) -> Result<bool, Failure> {
    let mut findings = configuration();
    let configured = findings.iter().all(|finding| finding.state != State::Problem);
    findings.push(memory());
    findings.push(loopback());
    findings.extend(resident_kernel(interrupts).await);
    findings.extend(jupyter().await);
    if configured {
        findings.extend(asked(global, interrupts).await?);
    }
    let well = findings.iter().all(|finding| finding.state != State::Problem);
    match global.output {
        Format::Json => print_json(&json!({ "ok": well, "findings": findings }))?,
        Format::Text => print(&report(&findings))?,
    }
    Ok(well)
}

fn configuration() -> Vec<Finding> {
    const AREA: &str = "configuration";
    let checked = match settings::check(None) {
        Ok(checked) => checked,
        Err(error) => {
            let remedy = "correct that line; `perilune config check` says whether it holds together, `perilune config schema` what may stand there";
            return vec![Finding::problem(AREA, error.to_string(), remedy)];
        }
    };
    let files: Vec<String> = checked.files.iter().map(|file| file.display().to_string()).collect();
    let read = if files.is_empty() { "no file, all is as by default".to_owned() } else { files.join(", ") };
    let mut findings = vec![Finding::ok(AREA, read)];
    findings.extend(
        checked.warnings.iter().map(|warning| {
            Finding::warning(AREA, warning.clone(), "trust the folder, or take the key out of its file")
        }),
    );
    for instance in settings::instances().unwrap_or_default().iter().filter(|instance| instance.enabled) {
        let variable = instance.settings.iter().find(|setting| setting.key == "api_key_env");
        let Some(variable) = variable.and_then(|setting| setting.value.as_ref()?.as_str()) else { continue };
        if std::env::var_os(variable).is_none_or(|key| key.is_empty()) {
            let what = format!("`{}` takes its key from `{variable}`, which is not set", instance.name);
            findings.push(Finding::problem(AREA, what, format!("set `{variable}`, or `enabled = false` for it")));
        }
    }
    findings
}

fn memory() -> Finding {
    match settings::available_memory() {
        None => Finding::ok("memory", "this system does not tell how much is available"),
        Some(bytes) if bytes < LITTLE_MEMORY => Finding::warning(
            "memory",
            format!("{} available: only small models can be loaded", size(bytes)),
            "end other programs, or borrow models of another machine's kernel",
        ),
        Some(bytes) => Finding::ok("memory", format!("{} available", size(bytes))),
    }
}

/// Whether a kernel could open its sockets.
fn loopback() -> Finding {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, 0)) {
        Ok(_) => Finding::ok("ports", "sockets can be opened on 127.0.0.1"),
        Err(error) => {
            let remedy = "allow programs to listen on the loopback address; notebooks and resident kernels need it";
            Finding::problem("ports", format!("no socket can be opened on 127.0.0.1: {error}"), remedy)
        }
    }
}

async fn resident_kernel(interrupts: &Interrupts) -> Option<Finding> {
    const AREA: &str = "resident kernel";
    let path = resident::connection_file().ok()?;
    if !path.exists() {
        return Some(Finding::ok(AREA, "none runs; `perilune kernel start --detach` starts one"));
    }
    Some(match Session::connect(&path, interrupts).await {
        Ok((session, info)) => {
            session.close().await;
            let (theirs, ours) = (info.implementation_version, env!("CARGO_PKG_VERSION"));
            if theirs == ours {
                Finding::ok(AREA, format!("answers, version {theirs}"))
            } else {
                let remedy = "`perilune kernel stop`, then `perilune kernel start --detach`";
                Finding::warning(AREA, format!("is of version {theirs}, this program of {ours}"), remedy)
            }
        }
        Err(_) => Finding::problem(
            AREA,
            format!("`{}` is there, but no kernel answers", path.display()),
            "delete that file if its kernel has ended, then `perilune kernel start --detach`",
        ),
    })
}

async fn jupyter() -> Vec<Finding> {
    const AREA: &str = "jupyter";
    let program = kernelspec::Command::of_this_program().map(|command| command.path);
    let environment = match &program {
        Ok(program) => kernelspec::active_environment(program).await.ok(),
        Err(_) => None,
    };
    let installed = kernelspec::installed(environment.as_deref());
    if installed.is_empty() {
        let remedy = "`perilune kernel install --user`, if you use notebooks";
        return vec![Finding::warning(AREA, "Jupyter does not know this kernel", remedy)];
    }
    let finding = |spec: &kernelspec::Installed| {
        let what = format!("`{}` in {}", spec.name, spec.directory.display());
        match spec.starts {
            true => Finding::ok(AREA, what),
            false => {
                let what = format!("{what} starts `{}`, which is not there", spec.command.display());
                Finding::problem(
                    AREA,
                    what,
                    "install it again from where the program is, or `perilune kernel uninstall` it",
                )
            }
        }
    };
    installed.iter().map(finding).collect()
}

/// What the kernel knows: how its backends are, and where it keeps models.
async fn asked(global: &Global, interrupts: &Interrupts) -> Result<Vec<Finding>, Failure> {
    let mut session = Session::open(global.connect.as_deref(), interrupts).await?;
    let tested = provider::test(&mut session, None).await;
    let stored = provider::ask(&mut session, ModelRequest::Storage(WhichBackend::default())).await;
    session.close().await;
    let mut findings: Vec<Finding> = tested?.iter().map(backend).collect();
    match stored? {
        ModelReply::Storage(stored) => findings.extend(disk(&stored, global.connect.is_none())),
        other => return Err(unexpected(&Reply::Model(other))),
    }
    Ok(findings)
}

fn backend(tested: &provider::Tested) -> Finding {
    const AREA: &str = "backends";
    let what = format!("`{}` ({}): {}", tested.provider, tested.provider_type, tested.detail);
    match (tested.works, tested.status) {
        (true, _) => {
            let count = tested.models.unwrap_or_default();
            Finding::ok(AREA, format!("{what}, {count} model{}", if count == 1 { "" } else { "s" }))
        }
        (false, "degraded") => Finding::warning(AREA, what, "see to what it names; its other models work"),
        (false, _) => Finding::problem(
            AREA,
            what,
            "start it, correct its table in the configuration, or write `enabled = false` there",
        ),
    }
}

/// The folders of ours: whether there is room, and on this machine whether they can be written.
fn disk(stored: &StorageReply, here: bool) -> Vec<Finding> {
    const AREA: &str = "disk";
    let ours = stored.places.iter().filter(|place| place.ours);
    ours.map(|place| {
        let path = &place.path;
        let free = place.free_bytes.unwrap_or(u64::MAX);
        if here && !is_writable(Path::new(path)) {
            let remedy = "give yourself the right to write there, or choose another place with `PERILUNE_HOME`";
            return Finding::problem(AREA, format!("models cannot be kept in {path}: it cannot be written"), remedy);
        }
        let what = format!("{path}: {} of models, {} free", size(place.bytes), size(free));
        let remedy = "`perilune model storage` says what takes room, `perilune model remove` frees it";
        match free {
            0..NO_ROOM => Finding::problem(AREA, what, remedy),
            NO_ROOM..LITTLE_ROOM => Finding::warning(AREA, what, remedy),
            _ => Finding::ok(AREA, what),
        }
    })
    .collect()
}

/// Whether a folder, or the one in which it would be made, can be written.
fn is_writable(folder: &Path) -> bool {
    let there = folder.ancestors().find(|folder| folder.exists());
    there.is_some_and(|folder| access(folder, Access::WRITE_OK).is_ok())
}

fn report(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { area, state, what, remedy } in findings {
        let state = match state {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Problem => "problem",
        };
        text.push_str(&format!("{state:8} {area:16} {}\n", what.replace('\n', " ")));
        if let Some(remedy) = remedy {
            text.push_str(&format!("{:8} {:16} remedy: {remedy}\n", "", ""));
        }
    }
    let problems = findings.iter().filter(|finding| finding.state == State::Problem).count();
    text + &match problems {
        0 => "nothing stands in the way\n".to_owned(),
        1 => "1 problem\n".to_owned(),
        count => format!("{count} problems\n"),
    }
}
