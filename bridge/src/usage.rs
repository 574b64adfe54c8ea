//! The global `Usage`: what requests to models took, and the budgets they count against.

use std::rc::Rc;
use std::sync::Arc;

use mlua::{Lua, Table, Value};
use perilune_providers::{Amount, Limits, UsageQuery};
use serde_json::json;

use crate::generation::serde;
use crate::host::Host;
use crate::operation::{Answered, immediate, waiting};
use crate::options::Accepted;
use crate::script_error::ScriptError;

const HISTORY: Accepted = Accepted { function: "Usage.history" };

/// Adds the global.
pub(crate) fn register(lua: &Lua, host: &Rc<Host>) -> mlua::Result<()> {
    let usage = lua.create_table()?;
    let shared = Rc::clone(host);
    usage.set(
        "spent",
        immediate(lua, host, move |lua, ()| {
            let spent = shared.options.tally.spent();
            let rows = spent.iter().map(|(model, spent)| {
                let mut row = json!({
                    "model": model, "requests": spent.requests, "untold": spent.untold,
                    "prompt_tokens": spent.prompt_tokens, "cached_tokens": spent.cached_tokens,
                    "completion_tokens": spent.completion_tokens, "thinking_tokens": spent.thinking_tokens,
                    "duration_ms": spent.duration.as_secs_f64() * 1000.0,
                });
                if let Some(usd) = spent.usd {
                    row["usd"] = usd.into();
                }
                row
            });
            let rows: Vec<serde_json::Value> = rows.collect();
            serde(lua, &rows).map_err(ScriptError::internal)
        })?,
    )?;
    let shared = Rc::clone(host);
    usage.set(
        "history",
        waiting(lua, host, move |_, options: Value| {
            let query = query(&options)?;
            let registry = Arc::clone(&shared.options.registry);
            Ok(async move {
                let table = registry.usage(query).await?;
                Ok(Answered(move |lua: &Lua| serde(lua, &table)))
            })
        })?,
    )?;
    let shared = Rc::clone(host);
    usage.set(
        "budget",
        waiting(lua, host, move |_, ()| {
            let (registry, tally) = (Arc::clone(&shared.options.registry), Arc::clone(&shared.options.tally));
            Ok(async move {
                let day = registry.spent_today().await;
                let run = tally.budget();
                Ok(Answered(move |lua: &Lua| {
                    let budgets = lua.create_table()?;
                    budgets.raw_set("run", budget(lua, run)?)?;
                    budgets.raw_set("day", budget(lua, day)?)?;
                    Ok(Value::Table(budgets))
                }))
            })
        })?,
    )?;
    lua.globals().set("Usage", usage)
}

/// `{tokens = {spent, limit}, usd = {spent, limit}}`, without what is not limited.
fn budget(lua: &Lua, (spent, limits): (Amount, Limits)) -> mlua::Result<Table> {
    let budget = lua.create_table()?;
    let limit = |spent: Value, limit: Value| {
        let table = lua.create_table()?;
        table.raw_set("spent", spent)?;
        table.raw_set("limit", limit)?;
        Ok::<Table, mlua::Error>(table)
    };
    let whole = |tokens: u64| Value::Integer(i64::try_from(tokens).unwrap_or(i64::MAX));
    if let Some(tokens) = limits.tokens {
        budget.raw_set("tokens", limit(whole(spent.tokens), whole(tokens))?)?;
    }
    if let Some(usd) = limits.usd {
        budget.raw_set("usd", limit(Value::Number(spent.usd), Value::Number(usd))?)?;
    }
    Ok(budget)
}

/// The options of `Usage.history`.
fn query(options: &Value) -> Result<UsageQuery, ScriptError> {
    let mut query = UsageQuery::default();
    HISTORY.each(options, "{by = \"day\", since = \"7d\"}", |option| {
        match option.name {
            "by" => query.by = option.text()?.parse()?,
            "since" => query.since = Some(option.text()?.parse()?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(query)
}
