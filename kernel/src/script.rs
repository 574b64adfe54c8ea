//! `perilune run` and `exec`: a workspace of its own for one request, gone when the request ends.

use std::sync::Arc;

use perilune_bridge::{ChosenModel, WorkspaceOptions};
use perilune_protocol::{ExecuteRequest, Reply};
use perilune_providers::{Limits, ModelList, Tally};

use crate::dispatch::{Asker, internal};
use crate::execute::{self, Numbering};
use crate::kernel::Context;
use crate::running::Guard;
use crate::{comms, models};

/// Runs the request's code in a fresh workspace. No other request waits for it.
pub(crate) async fn run(
    context: &Arc<Context>,
    asker: &Asker,
    running: &Guard,
    request: ExecuteRequest,
) -> Option<Reply> {
    let run = request.perilune.clone().unwrap_or_default();
    let model = match run.model.as_deref().map(str::parse::<ModelList>).transpose() {
        Ok(model) => model,
        Err(error) => return Some(models::failed(asker, &error.into())),
    };
    let mut budget = context.budget.clone();
    budget.run = Limits { tokens: run.budget_tokens, usd: run.budget_usd }.or(budget.run);
    let options = WorkspaceOptions {
        registry: context.registry.clone(),
        model: ChosenModel::new(model),
        session: asker.header.session.clone(),
        tally: Arc::new(Tally::new(&budget)),
        seed: run.seed,
        arguments: run.arguments,
        script: run.script,
        modules: run.modules,
        module_directory: None,
    };
    let workspace = match execute::start_workspace(options).await {
        Ok(workspace) => workspace,
        Err(error) => return Some(Reply::error(&asker.header.msg_type, internal(&error.to_string()))),
    };
    let numbering = Numbering { shell: crate::notebook::MAIN, count: 1, notebook: false, kept: false };
    let reply = execute::execute(context, asker, &workspace, request, numbering, running).await;
    comms::close(context, Some(&asker.header), &workspace).await;
    // Joining the interpreter's thread may take as long as the C function it is in.
    context.tasks.spawn_blocking(move || drop(workspace));
    Some(reply)
}
