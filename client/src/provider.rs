//! `perilune provider ...`: which providers are configured, and whether each can be reached, lets us in and lists its models.

use anyhow::{Error, anyhow};
use perilune_kernel::settings::{self, Instance, Origin};
use perilune_protocol::{
    BackendHealth, ListReply, ModelReply, ModelRequest, Reply, Request, StatusReply, WhichBackend,
};
use serde::Serialize;
use serde_json::Value;

use crate::arguments::{Format, Global, Provider};
use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::output::{print, print_json};
use crate::run::unexpected;
use crate::session::{Session, Via};
use crate::table::Table;

/// Tells what `command` asks for; an error when a provider that was tested does not work.
pub async fn run(command: Provider, global: &Global, interrupts: &Interrupts) -> Result<bool, Failure> {
    match command {
        Provider::List if global.connect.is_some() => {
            let what = "`provider list` tells the configuration of this machine; ask a kernel with `model status`";
            Err(Failure::Usage(anyhow!(what)))
        }
        Provider::List => list(global.output).map(|()| true),
        Provider::Test { name } => {
            let mut session = Session::open(global.connect.as_deref(), interrupts).await?;
            let tested = test(&mut session, name.as_deref()).await;
            session.close().await;
            let tested = tested?;
            let all_work = tested.iter().all(|tested| tested.works);
            match global.output {
                Format::Json => print_json(&tested)?,
                Format::Text => print(&report(&tested))?,
            }
            Ok(all_work)
        }
    }
}

fn list(format: Format) -> Result<(), Failure> {
    let instances = settings::instances().map_err(|error| Failure::Usage(Error::from(error)))?;
    if format == Format::Json {
        return print_json(&instances);
    }
    let mut table = Table::new(["provider", "type", "state", "address", "key"]);
    for instance in &instances {
        let state = match (instance.enabled, instance.default) {
            (false, _) => "disabled",
            (true, true) => "default backend",
            (true, false) => "enabled",
        };
        let address = setting(instance, &["base_url", "preset", "connection_file"]);
        table.row([
            instance.name.clone(),
            instance.provider_type.clone(),
            state.to_owned(),
            address.unwrap_or_else(|| "-".to_owned()),
            key(instance),
        ]);
    }
    print(&table.to_string())
}

/// The first of these settings that has a value.
fn setting(instance: &Instance, keys: &[&str]) -> Option<String> {
    let value = |key: &&str| instance.settings.iter().find(|setting| setting.key == *key)?.value.clone();
    match keys.iter().find_map(value)? {
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}

/// Where its key comes from, and whether there is one; never the key.
fn key(instance: &Instance) -> String {
    match setting(instance, &["api_key_env"]) {
        Some(variable) if std::env::var_os(&variable).is_some_and(|key| !key.is_empty()) => format!("{variable}, set"),
        Some(variable) => format!("{variable}, not set"),
        None if instance
            .settings
            .iter()
            .any(|setting| setting.key == "api_key" && setting.origin != Origin::Default) =>
        {
            "in the configuration".to_owned()
        }
        None => "-".to_owned(),
    }
}

/// What a provider said.
#[derive(Debug, Serialize)]
pub struct Tested {
    /// The provider.
    pub provider: String,
    /// Its type.
    #[serde(rename = "type")]
    pub provider_type: String,
    /// Whether it answers, lets us in and lists its models.
    pub works: bool,
    /// How it is, in one word.
    pub status: &'static str,
    /// What it runs on, or what is wrong.
    pub detail: String,
    /// How many models it has, if it says so.
    pub models: Option<usize>,
}

/// Asks a provider, or all, how it is and what it has.
pub async fn test(session: &mut Session, name: Option<&str>) -> Result<Vec<Tested>, Failure> {
    let which = WhichBackend { backend: name.map(str::to_owned) };
    let status: StatusReply = match ask(session, ModelRequest::Status(which.clone())).await? {
        ModelReply::Status(status) => status,
        other => return Err(unexpected(&Reply::Model(other))),
    };
    let list: ListReply = match ask(session, ModelRequest::List(which)).await? {
        ModelReply::List(list) => list,
        other => return Err(unexpected(&Reply::Model(other))),
    };
    let tested = status.backends.into_iter().map(|backend| {
        let models = list.models.iter().filter(|model| model.backend == backend.backend).count();
        // A model that cannot be asked for is no fault of its backend; one that lists nothing says why.
        let error = list.errors.iter().find(|error| error.backend == backend.backend).filter(|_| models == 0);
        let answers = matches!(backend.status, BackendHealth::Ready | BackendHealth::Degraded);
        Tested {
            works: backend.status == BackendHealth::Ready && error.is_none(),
            status: backend.status.as_str(),
            detail: error.filter(|_| answers).map_or(backend.detail, |error| error.message.clone()),
            models: error.is_none().then_some(models),
            provider: backend.backend,
            provider_type: backend.provider_type,
        }
    });
    Ok(tested.collect())
}

/// Asks a kernel about its models.
pub async fn ask(session: &mut Session, request: ModelRequest) -> Result<ModelReply, Failure> {
    match session.request(Via::Control, Request::Model(request), &mut |_| Ok(())).await? {
        Reply::Model(reply) => Ok(reply),
        Reply::Error { .. } if session.interrupted() => Err(Failure::Interrupted),
        Reply::Error { error, .. } => Err(Failure::Refused(anyhow!("{}", error.evalue))),
        other => Err(unexpected(&other)),
    }
}

fn report(tested: &[Tested]) -> String {
    let mut table = Table::new(["provider", "type", "works", "models", ""]);
    for Tested { provider, provider_type, works, detail, models, .. } in tested {
        table.row([
            provider.clone(),
            provider_type.clone(),
            if *works { "yes" } else { "no" }.to_owned(),
            models.map_or_else(|| "-".to_owned(), |count| count.to_string()),
            detail.clone(),
        ]);
    }
    table.to_string()
}
