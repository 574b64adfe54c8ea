//! The global `LocalLLM`: the models this workspace can reach, and answers of one of them.

use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

use futures::StreamExt;
use mlua::{Lua, Table, UserDataRef, Value};
use perilune_providers::{EmbedEvent, Event, Keep, ModelSpecifier, Prompt, Registry, RoutedEmbed};

use crate::convert::described;
use crate::generation::{self, Reading, serde};
use crate::host::Host;
use crate::live::Live;
use crate::operation::{Answered, immediate, starter, waiting};
use crate::options::{self, Accepted, Options};
use crate::prelude;
use crate::pulls;
use crate::script_error::ScriptError;

const AVAILABLE: Accepted = Accepted { function: "LocalLLM.available" };
const GENERATE: Accepted = Accepted { function: "LocalLLM.generate" };
const CHAT: Accepted = Accepted { function: "LocalLLM.chat" };
const EMBED: Accepted = Accepted { function: "LocalLLM.embed" };
const LOAD: Accepted = Accepted { function: "LocalLLM.load" };
const STREAM: Accepted = Accepted { function: "LocalLLM.stream" };

/// Adds the global.
pub(crate) fn register(lua: &Lua, host: &Rc<Host>) -> mlua::Result<()> {
    let table = prelude::table(lua)?;
    let shared = Rc::clone(host);
    table.set(
        "open_stream",
        immediate(lua, host, move |lua, (messages, options): (Value, Value)| {
            let options = STREAM.read(lua, &options, Options::default())?;
            let prompt = prompt_of(lua, &messages, &options, &STREAM)?;
            Ok(Reading::new(&shared, generation::plan(&shared, prompt, options), |_| ()))
        })?,
    )?;
    table.set("next_piece", starter(lua, host, |_, reading: UserDataRef<Reading>| Ok(reading.clone().next()))?)?;
    table.set(
        "close_stream",
        lua.create_function(|_, reading: UserDataRef<Reading>| {
            reading.close();
            Ok(())
        })?,
    )?;
    prelude::load(lua, include_str!("lua/streams.lua"))?;

    let models = lua.create_table()?;
    register_answers(lua, host, &models)?;
    register_registry(lua, host, &models)?;
    pulls::register(lua, host, &models)?;
    register_embeddings(lua, host, &models)?;
    models.set("stream", prelude::function(lua, "stream")?)?;
    lua.globals().set("LocalLLM", models)
}

fn register_answers(lua: &Lua, host: &Rc<Host>, models: &Table) -> mlua::Result<()> {
    let shared = Rc::clone(host);
    models.set(
        "generate",
        waiting(lua, host, move |lua, (prompt, options): (Value, Value)| {
            let options = GENERATE.read(lua, &options, Options::default())?;
            let text = options::prompt(&prompt, GENERATE.function)?;
            let text = Value::String(lua.create_string(text).map_err(ScriptError::internal)?);
            let prompt = prompt_of(lua, &text, &options, &GENERATE)?;
            let planned = generation::plan(&shared, prompt, options);
            Ok(async move { planned.answer().await.map(|answer| answer.text) })
        })?,
    )?;
    let shared = Rc::clone(host);
    models.set(
        "chat",
        waiting(lua, host, move |lua, (messages, options): (Value, Value)| {
            let options = CHAT.read(lua, &options, Options::default())?;
            let prompt = prompt_of(lua, &messages, &options, &CHAT)?;
            Ok(generation::plan(&shared, prompt, options).answer())
        })?,
    )
}

fn register_embeddings(lua: &Lua, host: &Rc<Host>, models: &Table) -> mlua::Result<()> {
    let shared = Rc::clone(host);
    models.set(
        "embed",
        waiting(lua, host, move |lua, (texts, options): (Value, Value)| {
            let options = EMBED.read(lua, &options, Options::default())?;
            let is_one = matches!(texts, Value::String(_));
            let texts = options::texts(&texts, EMBED.function)?;
            let models = options.model.or_else(|| shared.options.model.get());
            let model = models.map(|models| models.first().clone());
            let registry = Arc::clone(&shared.options.registry);
            let request = RoutedEmbed {
                model,
                session: shared.options.session.clone(),
                texts,
                timeout_seconds: options.generate.timeout_seconds,
                tally: Some(Arc::clone(&shared.options.tally)),
                lent: false,
            };
            let (cancel, io) = (shared.work().child_token(), shared.io());
            let mut live = Live::new(&shared);
            Ok(async move {
                let mut events = registry.embed(request, cancel);
                let embedded = loop {
                    match live.during(events.next()).await.transpose() {
                        Ok(Some(EmbedEvent::Told(Event::Route(decision)))) => {
                            generation::tell_decision(io.as_ref(), &mut live, decision);
                        }
                        Ok(Some(EmbedEvent::Told(Event::Budget(warning)))) => generation::warn(io.as_ref(), &warning),
                        Ok(Some(EmbedEvent::Told(_))) => {}
                        Ok(Some(EmbedEvent::Done(_, embedded))) => break embedded,
                        Ok(None) => return Err(generation::cancelled()),
                        Err(error) => {
                            live.failed();
                            return Err(error.into());
                        }
                    }
                };
                live.ended();
                let usage = Answered(move |lua: &Lua| {
                    let usage = lua.create_table()?;
                    usage.raw_set("prompt_tokens", embedded.prompt_tokens)?;
                    Ok(Value::Table(usage))
                });
                let vectors = Answered(move |lua: &Lua| {
                    let vector = |vector: &Vec<f32>| lua.create_sequence_from(vector.iter().copied());
                    if let (true, Some(only)) = (is_one, embedded.vectors.first()) {
                        return Ok(Value::Table(vector(only)?));
                    }
                    let vectors = embedded.vectors.iter().map(vector).collect::<mlua::Result<Vec<Table>>>()?;
                    Ok(Value::Table(lua.create_sequence_from(vectors)?))
                });
                Ok((vectors, usage))
            })
        })?,
    )
}

/// What the model is to continue: a conversation, or with `raw` a text as it is.
fn prompt_of(lua: &Lua, value: &Value, options: &Options, accepted: &Accepted) -> Result<Prompt, ScriptError> {
    if !options.raw {
        let messages = options::messages(lua, value, accepted.function)?;
        return generation::conversation(messages, options);
    }
    if options.system.is_some() {
        return Err(ScriptError::argument(
            "the options `system` and `raw` exclude each other; put the instructions into the prompt",
        ));
    }
    options::prompt(value, accepted.function).map(Prompt::Raw)
}

fn register_registry(lua: &Lua, host: &Rc<Host>, models: &Table) -> mlua::Result<()> {
    models.set(
        "status",
        asking(lua, host, "LocalLLM.status", optional_name, |registry, backend| async move {
            let status = registry.status(backend.as_deref()).await?;
            Ok(Answered(move |lua: &Lua| {
                let list = lua.create_table()?;
                for instance in &status {
                    let entry = lua.create_table()?;
                    entry.raw_set("backend", instance.instance.as_str())?;
                    entry.raw_set("type", instance.provider_type.as_str())?;
                    entry.raw_set("status", serde(lua, &instance.health.status)?)?;
                    entry.raw_set("detail", instance.health.detail.as_str())?;
                    entry.raw_set("loaded", serde(lua, &instance.loaded)?)?;
                    entry.raw_set("dropped", serde(lua, &instance.dropped)?)?;
                    if backend.is_some() {
                        return Ok(Value::Table(entry));
                    }
                    list.raw_push(entry)?;
                }
                Ok(Value::Table(list))
            }))
        })?,
    )?;
    models.set(
        "list",
        asking(lua, host, "LocalLLM.list", optional_name, |registry, backend| async move {
            let mut instances = Vec::new();
            for listed in registry.list(backend.as_deref()).await? {
                match listed.models {
                    Ok(_) => instances.push(listed),
                    // Asked for by name, a backend that cannot answer is an error; among others it has no models.
                    Err(error) if backend.is_some() => return Err(error.into()),
                    Err(error) => tracing::warn!(backend = listed.instance, %error, "a backend cannot list its models"),
                }
            }
            Ok(Answered(move |lua: &Lua| {
                let list = lua.create_table()?;
                for listed in &instances {
                    for model in listed.models.iter().flatten() {
                        let entry = serde(lua, model)?;
                        if let Value::Table(entry) = &entry {
                            entry.raw_set("backend", listed.instance.as_str())?;
                            entry.raw_set("location", model.location.to_string())?;
                            if let Some(specifier) = listed.specifier(&model.name) {
                                entry.raw_set("specifier", specifier.to_string())?;
                            }
                        }
                        list.raw_push(entry)?;
                    }
                }
                Ok(Value::Table(list))
            }))
        })?,
    )?;
    models.set(
        "info",
        asking(lua, host, "LocalLLM.info", model_name, |registry, model| async move {
            let resolved = registry.resolve_or_default(model.as_ref()).await?;
            let info = resolved.info().await?;
            Ok(Answered(move |lua: &Lua| named(serde(lua, &info)?, &resolved.specifier)))
        })?,
    )?;
    models.set(
        "ps",
        asking(lua, host, "LocalLLM.ps", optional_name, |registry, backend| async move {
            let status = registry.status(backend.as_deref()).await?;
            Ok(Answered(move |lua: &Lua| {
                let list = lua.create_table()?;
                for instance in &status {
                    for model in &instance.loaded {
                        let entry = serde(lua, model)?;
                        if let Value::Table(entry) = &entry {
                            entry.raw_set("backend", instance.instance.as_str())?;
                        }
                        list.raw_push(entry)?;
                    }
                }
                Ok(Value::Table(list))
            }))
        })?,
    )?;
    models.set(
        "available",
        asking(lua, host, AVAILABLE.function, wanted, |registry, wanted: Wanted| async move {
            let models = registry.available(wanted.backend.as_deref(), wanted.recommended).await?;
            Ok(Answered(move |lua: &Lua| serde(lua, &models)))
        })?,
    )?;
    models.set(
        "storage",
        asking(lua, host, "LocalLLM.storage", optional_name, |registry, backend| async move {
            let mut instances = Vec::new();
            for storage in registry.storage(backend.as_deref()).await? {
                match storage.places {
                    Ok(places) => instances.push((storage.instance, places)),
                    Err(error) if backend.is_some() => return Err(error.into()),
                    Err(error) => {
                        tracing::warn!(backend = storage.instance, %error, "a backend cannot say what it stores")
                    }
                }
            }
            Ok(Answered(move |lua: &Lua| {
                let list = lua.create_table()?;
                for (instance, places) in &instances {
                    for place in places {
                        let entry = serde(lua, place)?;
                        if let Value::Table(entry) = &entry {
                            entry.raw_set("backend", instance.as_str())?;
                        }
                        list.raw_push(entry)?;
                    }
                }
                Ok(Value::Table(list))
            }))
        })?,
    )?;
    models.set(
        "remove",
        asking(lua, host, "LocalLLM.remove", named_model, |registry, model| async move {
            let (_, removed) = registry.remove(&model).await?;
            Ok(Answered(move |lua: &Lua| serde(lua, &removed)))
        })?,
    )?;
    let shared = Rc::clone(host);
    models.set(
        "copy",
        waiting(lua, host, move |_, (model, name): (Value, Value)| {
            let model = named_model(&shared, &model, "LocalLLM.copy")?;
            let Value::String(name) = &name else {
                let problem =
                    format!("the new name of LocalLLM.copy is {}; expected a name like \"mine\"", described(&name));
                return Err(ScriptError::argument(problem));
            };
            let (registry, name) = (Arc::clone(&shared.options.registry), name.to_string_lossy());
            Ok(async move { Ok(registry.copy(&model, &name).await?.to_string()) })
        })?,
    )?;
    let shared = Rc::clone(host);
    models.set(
        "load",
        waiting(lua, host, move |_, (value, options): (Value, Value)| {
            let model = model_name(&shared, &value, "LocalLLM.load")?;
            let keep = keep(&options)?;
            let (registry, mut live) = (Arc::clone(&shared.options.registry), Live::new(&shared));
            Ok(async move {
                let resolved = registry.resolve_or_default(model.as_ref()).await?;
                live.model(&resolved.model);
                live.heard(&Event::Loading);
                let loaded = live.during(resolved.local()?.load_and_keep(&resolved.model, keep)).await;
                let loaded = loaded.inspect_err(|_| live.failed())?;
                live.loaded();
                Ok(Answered(move |lua: &Lua| named(serde(lua, &loaded)?, &resolved.specifier)))
            })
        })?,
    )?;
    models.set(
        "unload",
        asking(lua, host, "LocalLLM.unload", model_name, |registry, model| async move {
            let resolved = registry.resolve_or_default(model.as_ref()).await?;
            resolved.local()?.unload(&resolved.model).await?;
            Ok(Answered(|_: &Lua| Ok(Value::Boolean(true))))
        })?,
    )
}

/// The options of `LocalLLM.load`.
fn keep(options: &Value) -> Result<Keep, ScriptError> {
    let mut keep = Keep::default();
    LOAD.each(options, "{pin = true, keep_alive = 300}", |option| {
        match option.name {
            "pin" => keep.pin = Some(option.truth()?),
            "keep_alive" => {
                let seconds = option.value.as_i64().and_then(|seconds| u64::try_from(seconds).ok());
                keep.keep_alive_seconds = Some(seconds.ok_or_else(|| option.wrong("whole seconds from 0 on"))?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(keep)
}

/// A table with the whole name of the model it is about.
fn named(value: Value, specifier: &ModelSpecifier) -> mlua::Result<Value> {
    if let Value::Table(table) = &value {
        table.raw_set("specifier", specifier.to_string())?;
    }
    Ok(value)
}

/// A function of one argument that asks the registry.
fn asking<A, Ask, F, T>(
    lua: &Lua,
    host: &Rc<Host>,
    function: &'static str,
    argument: impl Fn(&Host, &Value, &str) -> Result<A, ScriptError> + 'static,
    ask: Ask,
) -> mlua::Result<mlua::Function>
where
    Ask: Fn(Arc<Registry>, A) -> F + 'static,
    F: Future<Output = Result<T, ScriptError>> + 'static,
    T: mlua::IntoLuaMulti + 'static,
{
    let shared = Rc::clone(host);
    waiting(lua, host, move |_, value: Value| {
        let argument = argument(&shared, &value, function)?;
        Ok(ask(Arc::clone(&shared.options.registry), argument))
    })
}

fn optional_name(_: &Host, value: &Value, function: &str) -> Result<Option<String>, ScriptError> {
    match value {
        Value::Nil => Ok(None),
        Value::String(name) => Ok(Some(name.to_string_lossy())),
        other => Err(ScriptError::argument(format!(
            "the backend of {function} is {}; expected a name like \"candle\", or nothing for all",
            described(other)
        ))),
    }
}

fn model_name(host: &Host, value: &Value, function: &str) -> Result<Option<ModelSpecifier>, ScriptError> {
    match value {
        Value::Nil => Ok(host.options.model.get().map(|models| models.first().clone())),
        Value::String(name) => match name.to_string_lossy().parse::<ModelSpecifier>() {
            Ok(specifier) => Ok(Some(specifier)),
            Err(error) => Err(perilune_providers::Error::from(error).into()),
        },
        other => Err(ScriptError::argument(format!(
            "the model of {function} is {}; expected a name like \"local/moonlet@candle\"",
            described(other)
        ))),
    }
}

/// The options of `LocalLLM.available`.
#[derive(Default)]
struct Wanted {
    recommended: bool,
    backend: Option<String>,
}

fn wanted(host: &Host, value: &Value, _: &str) -> Result<Wanted, ScriptError> {
    let mut wanted = Wanted::default();
    AVAILABLE.each(value, "{recommended = true}", |option| {
        match option.name {
            "recommended" => wanted.recommended = option.truth()?,
            "backend" => wanted.backend = optional_name(host, option.value, AVAILABLE.function)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(wanted)
}

/// A model that must be named: deleting is not for defaults.
fn named_model(host: &Host, value: &Value, function: &str) -> Result<ModelSpecifier, ScriptError> {
    let named = if value.is_nil() { None } else { model_name(host, value, function)? };
    named.ok_or_else(|| {
        let problem = format!("{function} needs the model's name, like \"local/tinyllama@candle\"");
        ScriptError::argument(problem)
    })
}
