//! `perilune model ...`: asks a kernel about its models, and shows the answer as a table or as JSON.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use perilune_kernel::resident;
use perilune_protocol::{
    AvailableModel, AvailableRequest, BackendError, BackendHealth, BackendStatus, CopyRequest, CreateRequest,
    DroppedModel, ListReply, ListedModel, LoadRequest, LoadedModel, ModelEvent, ModelInfoReply, ModelReply,
    ModelRequest, NamedModel, Publication, PullRequest, PulledModel, RemoveRequest, RemoveUnfinishedRequest,
    RemovedModel, Reply, Request, StatusReply, StoragePlace, StorageReply, UnfinishedDownload, UnfinishedReply,
    WhichBackend,
};

use crate::arguments::{Format, Global, Model};
use crate::failure::{Failure, tell};
use crate::install_ollama;
use crate::interrupts::Interrupts;
use crate::output::{print, print_json};
use crate::provider::ask;
use crate::pull_bar::PullBar;
use crate::run::unexpected;
use crate::session::{Session, Via};
use crate::table::{Table, count, size};

/// Asks what `command` says and shows the answer.
pub async fn run(command: Model, global: &Global, interrupts: &Interrupts) -> Result<(), Failure> {
    let (format, verbose) = (global.output, global.verbose > 0);
    let shows_memory_only = matches!(command, Model::Ps);
    let about = About::of(&command);
    let asks_first = matches!(command, Model::Remove { yes: false, .. });
    let request = match command {
        Model::List { backend } => ModelRequest::List(WhichBackend { backend }),
        Model::Info { model } => ModelRequest::Info(NamedModel { model }),
        Model::Available { recommended, backend } => ModelRequest::Available(AvailableRequest { backend, recommended }),
        Model::Storage { backend } => ModelRequest::Storage(WhichBackend { backend }),
        Model::Remove { model: Some(model), .. } => ModelRequest::Remove(RemoveRequest { model, only_ask: false }),
        Model::Remove { model: None, .. } => ModelRequest::RemoveUnfinished(RemoveUnfinishedRequest::default()),
        Model::Copy { model, name } => ModelRequest::Copy(CopyRequest { model, name }),
        Model::InstallOllama { yes } => return install_ollama::run(yes, format),
        Model::Create { model, file, template, system, parameters } => ModelRequest::Create(CreateRequest {
            model,
            file: std::path::absolute(&file).unwrap_or(file),
            template: template.map(|file| read(&file)).transpose()?,
            system,
            parameters: parameters.into_iter().collect(),
        }),
        Model::Status { backend } => ModelRequest::Status(WhichBackend { backend }),
        Model::Load { model, pin, keep_alive } => {
            ModelRequest::Load(LoadRequest { model, pin, keep_alive_seconds: keep_alive })
        }
        Model::Unload { model } => ModelRequest::Unload(NamedModel { model }),
        Model::Ps => ModelRequest::Status(WhichBackend::default()),
        Model::Pull { spec, quantization, name, force } => {
            // With `--connect` a path means the kernel's disk; in this process they are one.
            ModelRequest::Pull(PullRequest { spec, quantization, name, force })
        }
    };
    let mut session = open(about, global.connect.as_deref(), interrupts).await?;
    if asks_first && let Err(failure) = confirm_removal(&mut session, &request).await {
        session.close().await;
        return Err(failure);
    }
    let mut bar = PullBar::new();
    let mut heard = |publication| {
        if let Publication::ModelEvent(ModelEvent::Pull(progress)) = publication {
            bar.show(&progress);
        }
        Ok(())
    };
    let reply = session.request(Via::Control, Request::Model(request), &mut heard).await;
    bar.end();
    let interrupted = session.interrupted();
    session.close().await;
    let reply = match reply? {
        Reply::Model(reply) => reply,
        Reply::Error { .. } if interrupted => return Err(Failure::Interrupted),
        Reply::Error { error, .. } => return Err(Failure::Refused(anyhow!("{}", error.evalue))),
        other => return Err(unexpected(&other)),
    };
    match (format, reply) {
        (Format::Json, ModelReply::Status(status)) if shows_memory_only => print_json(&in_memory(status)),
        (Format::Json, reply) => print_json(&reply),
        (Format::Text, ModelReply::Status(status)) if shows_memory_only => print(&memory(status)),
        (Format::Text, ModelReply::List(reply)) if verbose => print(&list_with_facts(&reply)),
        (Format::Text, reply) => print(&text(&reply)?),
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display())).map_err(Failure::Usage)
}

/// What a command is about.
enum About {
    /// Models, which every kernel knows.
    Models,
    /// What is in memory.
    Memory,
    /// One model in memory, of the backend that is named.
    ModelInMemory(Option<String>),
}

impl About {
    fn of(command: &Model) -> About {
        match command {
            Model::Ps => About::Memory,
            Model::Load { model, .. } | Model::Unload { model } => {
                About::ModelInMemory(model.rsplit_once('@').map(|(_, backend)| backend.to_owned()))
            }
            _ => About::Models,
        }
    }
}

/// Opens a conversation with a kernel that can do it. Loading into this process, which ends right after, would be a lie: models of our
/// engine need a kernel that stays. Those of servers stay there, whoever asks.
async fn open(about: About, connect: Option<&Path>, interrupts: &Interrupts) -> Result<Session, Failure> {
    if matches!(about, About::Models) || connect.is_some() {
        return Session::open(connect, interrupts).await;
    }
    let none_answers = match Session::open(Some(&resident_file()?), interrupts).await {
        Err(Failure::Connection(error)) => Failure::Connection(error.context(NEEDS_RESIDENT)),
        opened => return opened,
    };
    let backend = match about {
        About::ModelInMemory(None) => return Err(none_answers),
        About::ModelInMemory(backend) => backend,
        _ => None,
    };
    let is_named = backend.is_some();
    let mut session = Session::open(None, interrupts).await?;
    let can = match ask(&mut session, ModelRequest::Status(WhichBackend { backend })).await {
        Ok(ModelReply::Status(status)) => status
            .backends
            .iter()
            .any(|backend| backend.provider_type != "candle" && (is_named || backend.status == BackendHealth::Ready)),
        Ok(other) => return Err(unexpected(&Reply::Model(other))),
        Err(failure) => {
            session.close().await;
            return Err(failure);
        }
    };
    if !can {
        session.close().await;
        return Err(none_answers);
    }
    if !is_named {
        tell("no resident kernel answers; this is what servers have in memory");
    }
    Ok(session)
}

const NEEDS_RESIDENT: &str =
    "models stay in the memory of a resident kernel, and none answers; start one with `perilune kernel start --detach`";

/// The resident kernel's connection file, which may not be there.
pub fn resident_file() -> Result<PathBuf, Failure> {
    resident::connection_file().context("cannot find the resident kernel").map_err(Failure::Usage)
}

fn text(reply: &ModelReply) -> Result<String, Failure> {
    Ok(match reply {
        ModelReply::List(reply) => list(reply),
        ModelReply::Info(reply) => info(reply),
        ModelReply::Status(reply) => status(reply),
        ModelReply::Load(loaded) => loaded_now(loaded),
        ModelReply::Available(reply) => available(&reply.models),
        ModelReply::Storage(reply) => storage(reply),
        ModelReply::Remove(removed) => gone(removed),
        ModelReply::RemoveUnfinished(reply) => gone_unfinished(&reply.downloads),
        ModelReply::Copy(named) => format!("`{}` means the same file\n", named.model),
        ModelReply::Pull(pulled) => pulled_now(pulled),
        ModelReply::Create(named) => format!("`{}` is made\n", named.model),
        ModelReply::Unload(named) => format!("`{}` is no longer in memory\n", named.model),
        other => return Err(unexpected(&Reply::Model(other.clone()))),
    })
}

fn list(reply: &ListReply) -> String {
    let mut table = Table::new(["model", "backend", "size", "weights", "memory", "location"]);
    for model in &reply.models {
        table.row([
            model.name.clone(),
            model.backend.clone(),
            model.size_bytes.map_or_else(String::new, size),
            model.quantization.clone().unwrap_or_default(),
            memory_of(model),
            match &model.problem {
                Some(_) => "does not run here; `--verbose` says why".to_owned(),
                None => model.collection.clone().or_else(|| model.location.clone()).unwrap_or_default(),
            },
        ]);
    }
    // What the store says of its own models is for everybody: nothing else would tell of a model that is lost.
    let damaged = reply.models.iter().filter(|model| model.collection.as_deref() == Some("store"));
    or_none(&table) + &problems(damaged) + &left_out(&reply.errors)
}

/// Why models do not run here.
fn problems<'a>(models: impl Iterator<Item = &'a ListedModel>) -> String {
    let line =
        |model: &ListedModel| Some(format!("does not run here: `{}`: {}\n", model.name, model.problem.as_ref()?));
    models.filter_map(line).collect()
}

/// The same with what the headers tell and where each model lies, and why one does not run.
fn list_with_facts(reply: &ListReply) -> String {
    let mut table = Table::new([
        "model",
        "backend",
        "size",
        "architecture",
        "parameters",
        "weights",
        "context",
        "memory",
        "location",
    ]);
    for model in &reply.models {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        table.row([
            model.name.clone(),
            model.backend.clone(),
            model.size_bytes.map_or_else(String::new, size),
            text(&model.architecture),
            model.parameters.map_or_else(String::new, count),
            text(&model.quantization),
            model.context_length.map_or_else(String::new, |tokens| tokens.to_string()),
            memory_of(model),
            text(&model.location),
        ]);
    }
    or_none(&table) + &problems(reply.models.iter()) + &left_out(&reply.errors)
}

fn available(models: &[AvailableModel]) -> String {
    let mut table = Table::new(["model", "parameters", "weights", "size", "memory", "licence", "here"]);
    for model in models {
        let name = if model.recommended { format!("{} *", model.name) } else { model.name.clone() };
        table.row([
            name,
            model.parameters.map_or_else(String::new, count),
            model.quantization.clone().unwrap_or_default(),
            model.size_bytes.map_or_else(String::new, size),
            model.fits.map_or("", |fits| if fits { "fits" } else { "too large" }).to_owned(),
            model.license.clone().unwrap_or_default(),
            model.stored.join(", "),
        ]);
    }
    format!("{table}* recommended; fetch one with `perilune model pull NAME`\n")
}

fn storage(reply: &StorageReply) -> String {
    let mut table = Table::new(["files of", "backend", "models", "size", "free", "folder"]);
    for place in &reply.places {
        table.row([
            if place.ours { format!("{} (ours)", place.collection) } else { place.collection.clone() },
            place.backend.clone(),
            place.models.to_string(),
            size(place.bytes),
            place.free_bytes.map_or_else(String::new, size),
            place.path.clone(),
        ]);
    }
    let mut text =
        if table.is_empty() { "no backend keeps models on this machine\n".to_owned() } else { table.to_string() };
    // Several backends may serve one store.
    let mut told = BTreeSet::new();
    let unfinished = reply.places.iter().filter(|place| !place.unfinished.is_empty() && told.insert(&place.path));
    for StoragePlace { path, part_bytes, unfinished, .. } in unfinished {
        text.push_str(&format!(
            "\nunfinished downloads in {path}, {} together; the same pull goes on with one, `perilune model remove --unfinished` deletes them\n",
            size(*part_bytes)
        ));
        let mut table = Table::new(["unfinished", "on disk", "of", "for"]);
        for download in unfinished {
            table.row([
                download.source.clone(),
                size(download.bytes),
                download.total_bytes.map_or_else(String::new, size),
                if download.under_way { "under way".to_owned() } else { duration(download.idle_seconds) },
            ]);
        }
        text.push_str(&table.to_string());
    }
    text + &left_out(&reply.errors)
}

/// A time, in its largest whole unit.
fn duration(seconds: u64) -> String {
    let units = [(86_400, "days"), (3_600, "h"), (60, "min")];
    let unit = units.into_iter().find(|(length, _)| seconds >= 2 * length);
    unit.map_or_else(|| format!("{seconds} s"), |(length, unit)| format!("{} {unit}", seconds / length))
}

fn gone(removed: &RemovedModel) -> String {
    let RemovedModel { model, freed_bytes, kept_as } = removed;
    match kept_as.as_slice() {
        [] => format!("`{model}` is deleted: {} free\n", size(*freed_bytes)),
        names => format!("`{model}` is gone; its file stays as `{}`\n", names.join("`, `")),
    }
}

fn gone_unfinished(downloads: &[UnfinishedDownload]) -> String {
    match downloads {
        [] => "nothing was left to delete\n".to_owned(),
        downloads => format!("{} deleted: {} free\n", counted(downloads), size(bytes(downloads))),
    }
}

fn counted(downloads: &[UnfinishedDownload]) -> String {
    match downloads.len() {
        1 => "1 unfinished download".to_owned(),
        count => format!("{count} unfinished downloads"),
    }
}

fn bytes(downloads: &[UnfinishedDownload]) -> u64 {
    downloads.iter().map(|download| download.bytes).sum()
}

/// Asks what a removal would delete, and whether it shall.
async fn confirm_removal(session: &mut Session, request: &ModelRequest) -> Result<(), Failure> {
    let would = match request {
        ModelRequest::Remove(remove) => ModelRequest::Remove(RemoveRequest { only_ask: true, ..remove.clone() }),
        _ => ModelRequest::RemoveUnfinished(RemoveUnfinishedRequest { only_ask: true }),
    };
    match ask(session, would).await? {
        ModelReply::Remove(RemovedModel { model, freed_bytes, kept_as }) => confirm(&match kept_as.as_slice() {
            [] => format!("delete the model `{model}`, {}?", size(freed_bytes)),
            names => format!("delete the name `{model}`, whose file stays as `{}`?", names.join("`, `")),
        }),
        // There is nothing to be asked about.
        ModelReply::RemoveUnfinished(reply) if reply.downloads.is_empty() => Ok(()),
        ModelReply::RemoveUnfinished(UnfinishedReply { downloads }) => {
            confirm(&format!("delete {}, {}?", counted(&downloads), size(bytes(&downloads))))
        }
        other => Err(unexpected(&Reply::Model(other))),
    }
}

/// Asks on the terminal; without one only `--yes` says yes.
fn confirm(question: &str) -> Result<(), Failure> {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Err(Failure::Usage(anyhow!("nobody is there to be asked: {question} say so with `--yes`")));
    }
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).context("cannot read the answer").map_err(Failure::Usage)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::Refused(anyhow!("nothing was done"))),
    }
}

fn or_none(table: &Table) -> String {
    if table.is_empty() { "no models\n".to_owned() } else { table.to_string() }
}

fn memory_of(model: &ListedModel) -> String {
    if model.loaded { "loaded".to_owned() } else { String::new() }
}

/// What could not be listed, and why.
fn left_out(errors: &[BackendError]) -> String {
    let line = |error: &BackendError| format!("left out: {}: {}\n", error.backend, error.message);
    errors.iter().map(line).collect()
}

fn status(reply: &StatusReply) -> String {
    let mut table = Table::new(["backend", "type", "state", "in memory", ""]);
    for BackendStatus { backend, provider_type, status, detail, loaded, .. } in &reply.backends {
        let names: Vec<&str> = loaded.iter().map(|model| model.name.as_str()).collect();
        table.row([
            backend.clone(),
            provider_type.clone(),
            status.as_str().to_owned(),
            if names.is_empty() { "-".to_owned() } else { names.join(", ") },
            detail.clone(),
        ]);
    }
    if table.is_empty() { "no backends; the configuration disables them all\n".to_owned() } else { table.to_string() }
}

fn in_memory(status: StatusReply) -> Vec<LoadedModel> {
    status.backends.into_iter().flat_map(|backend| backend.loaded).collect()
}

fn memory(status: StatusReply) -> String {
    let dropped: Vec<DroppedModel> = status.backends.iter().flat_map(|backend| backend.dropped.clone()).collect();
    let mut table = Table::new(["model", "backend", "reckoned", "measured", "context", "requests", "stays"]);
    for model in in_memory(status) {
        table.row([
            model.name.clone(),
            model.backend.clone(),
            model.memory_bytes.map_or_else(String::new, size),
            model.resident_bytes.map_or_else(String::new, size),
            model.context_size.map_or_else(String::new, |tokens| tokens.to_string()),
            model.active_requests.to_string(),
            stays(&model),
        ]);
    }
    let mut text = if table.is_empty() { "no models in memory\n".to_owned() } else { table.to_string() };
    for DroppedModel { name, reason, seconds_ago, .. } in dropped {
        text.push_str(&format!("`{name}` left memory {seconds_ago} s ago: {reason}\n"));
    }
    text
}

/// Until when a model is in memory.
fn stays(model: &LoadedModel) -> String {
    match model.keep_alive_seconds {
        _ if model.pinned => "pinned".to_owned(),
        Some(seconds) => format!("{seconds} s idle, now {} s", model.idle_seconds),
        None => "until its place is needed".to_owned(),
    }
}

fn loaded_now(model: &LoadedModel) -> String {
    let reckoned = model.memory_bytes.map_or_else(String::new, |bytes| format!(", reckoned {}", size(bytes)));
    let measured = model.resident_bytes.map_or_else(String::new, |bytes| format!(", measured {}", size(bytes)));
    let time = model.load_ms.map_or_else(String::new, |milliseconds| format!("; loading took {milliseconds:.0} ms"));
    let mut text = format!("`{}` is in memory of `{}`{reckoned}{measured}{time}\n", model.name, model.backend);
    for DroppedModel { name, reason, .. } in &model.made_room {
        text.push_str(&format!("`{name}` left memory {reason}\n"));
    }
    text
}

/// What was pulled, and how it is asked.
fn pulled_now(model: &PulledModel) -> String {
    let size = model.size_bytes.map_or_else(String::new, |bytes| format!(", {}", size(bytes)));
    let state = match (&model.location, model.was_there) {
        (Some(_), true) => "was in the store already",
        (Some(_), false) => "is in the store",
        (None, true) => "was there already",
        (None, false) => "is there",
    };
    let facts = [
        ("source", &model.source),
        ("licence", &model.license),
        ("sha256", &model.sha256),
        ("ask it as", &model.specifier),
    ];
    let facts = facts.into_iter().filter_map(|(fact, value)| Some(format!("{fact:10} {}\n", value.as_ref()?)));
    format!("`{}` {state}{size}\n", model.name) + &facts.collect::<String>()
}

fn info(reply: &ModelInfoReply) -> String {
    let number = |number: Option<u64>| number.map(|number| number.to_string());
    let answer = |answer: Option<bool>| answer.map(|yes| if yes { "yes" } else { "no" }.to_owned());
    let facts = [
        ("specifier", Some(reply.specifier.clone())),
        ("name", reply.name.clone().filter(|name| !name.is_empty())),
        ("architecture", reply.architecture.clone()),
        ("parameters", reply.parameters.map(count)),
        ("quantization", reply.quantization.clone()),
        ("layers", number(reply.layers)),
        ("hidden size", number(reply.hidden)),
        ("heads", number(reply.heads)),
        ("key-value heads", number(reply.kv_heads)),
        ("vocabulary", number(reply.vocabulary)),
        ("trained context", reply.context_length.map(|tokens| format!("{tokens} tokens"))),
        ("used context", reply.context_size.map(|tokens| format!("{tokens} tokens"))),
        ("file", reply.file_bytes.map(size)),
        ("memory", reply.memory_bytes.map(size)),
        ("keys and values", keys_and_values(reply)),
        ("computed by", reply.executor.clone()),
        ("chat", answer(reply.has_chat_template)),
        ("tools", answer(reply.supports_tools)),
    ];
    let known = facts.into_iter().filter_map(|(fact, value)| Some(format!("{fact:16} {}\n", value?)));
    known.collect()
}

/// `f16, 22.5 kB a token`.
fn keys_and_values(reply: &ModelInfoReply) -> Option<String> {
    Some(format!("{}, {} a token", reply.kv_cache_type.as_ref()?, size(reply.kv_bytes_per_token?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_that_is_down_is_named_with_its_reason() {
        let errors = vec![BackendError { backend: "ollama".into(), kind: "network".into(), message: "refused".into() }];
        assert_eq!(list(&ListReply { models: Vec::new(), errors }), "no models\nleft out: ollama: refused\n");
        let down = BackendStatus { backend: "ollama".into(), detail: "refused".into(), ..BackendStatus::default() };
        let text = status(&StatusReply { backends: vec![down] });
        assert!(text.contains("ollama") && text.contains("unavailable") && text.contains("refused"), "{text}");
    }

    #[test]
    fn facts_that_are_not_known_are_left_out() {
        let reply =
            ModelInfoReply { specifier: "local/m@b".into(), parameters: Some(4_900_000), ..ModelInfoReply::default() };
        assert_eq!(info(&reply), "specifier        local/m@b\nparameters       4.9 million\n");
    }
}
