//! Every translation between messages (`protocol`) and the types of `bridge` and `providers`. Nothing else knows both.

pub(crate) mod elsewhere;

use std::collections::BTreeMap;

use bytes::Bytes;
use perilune_bridge::{CommEvent, CommMessage, Completeness, CompletionKind, Completions, Failure, Output, Rich};
use perilune_protocol as wire;
use perilune_providers as providers;
use perilune_providers::{ErrorKind, HealthStatus, ModelSpecifier, Prompt, Sampling};
use serde_json::{Map, Value, json};

use crate::dispatch::{Attached, refusal};

// Cells

/// What a cell shows, as what is published; a page is not, but goes with the reply.
pub(crate) fn publication(output: Output) -> Option<wire::Publication> {
    Some(match output {
        Output::Stdout(text) => wire::Publication::Stream(wire::Stream { name: wire::StreamName::Stdout, text }),
        Output::Stderr(text) => wire::Publication::Stream(wire::Stream { name: wire::StreamName::Stderr, text }),
        Output::Display { value, display_id, update: false, live } => {
            wire::Publication::DisplayData(display_data(value, display_id, live))
        }
        Output::Display { value, display_id, update: true, live } => {
            wire::Publication::UpdateDisplayData(display_data(value, display_id, live))
        }
        Output::ClearOutput { wait } => wire::Publication::ClearOutput(wire::ClearOutput { wait }),
        Output::Route(decision) => {
            wire::Publication::ModelEvent(wire::ModelEvent::RouteDecision(route_decision(decision)))
        }
        Output::Page(_) | Output::Comm(_) => return None,
    })
}

/// `transient.perilune_live` is our own: soon replaced, so that a terminal may leave it out.
fn display_data(value: Rich, display_id: Option<String>, live: bool) -> wire::DisplayData {
    let mut transient: Map<String, Value> = Map::new();
    transient.extend(display_id.map(|id| ("display_id".to_owned(), id.into())));
    transient.extend(live.then(|| ("perilune_live".to_owned(), true.into())));
    wire::DisplayData { data: value.data, metadata: value.metadata, transient }
}

/// A pager's text in an `execute_reply`: <https://jupyter-client.readthedocs.io/en/stable/messaging.html#payloads-deprecated>.
pub(crate) fn page(text: Rich) -> Value {
    json!({ "source": "page", "data": text.data, "start": 0 })
}

/// Asks a frontend that has a prompt to leave it; also among the payloads. Others may use the kernel, so a frontend that did not
/// start it shall keep it.
pub(crate) fn ask_exit() -> Value {
    json!({ "source": "ask_exit", "keepkernel": true })
}

/// What a frontend prints of a failure: the message, then where it happened.
pub(crate) fn traceback(failure: &Failure) -> Vec<String> {
    let mut lines = vec![format!("{}: {}", failure.name, failure.message)];
    if !failure.traceback.is_empty() {
        lines.push("stack traceback:".to_owned());
        lines.extend(failure.traceback.iter().map(|line| format!("    {line}")));
    }
    lines
}

pub(crate) fn expressions(
    expressions: BTreeMap<String, perilune_bridge::ExpressionResult>,
) -> BTreeMap<String, wire::ExpressionResult> {
    expressions.into_iter().map(|(name, result)| (name, expression(result))).collect()
}

fn expression(result: perilune_bridge::ExpressionResult) -> wire::ExpressionResult {
    match result {
        perilune_bridge::ExpressionResult::Ok(value) => {
            wire::ExpressionResult::Ok { data: value.data, metadata: value.metadata }
        }
        perilune_bridge::ExpressionResult::Error(failure) => wire::ExpressionResult::Error {
            traceback: traceback(&failure),
            ename: failure.name,
            evalue: failure.message,
        },
    }
}

// Comms

/// A frontend's message; `None` if the request is none.
pub(crate) fn comm_message(request: wire::Request, attached: Attached) -> Option<CommMessage> {
    let (id, event, data) = match request {
        wire::Request::CommOpen(open) => (open.comm_id, CommEvent::Open { target: open.target_name }, open.data),
        wire::Request::CommMessage(message) => (message.comm_id, CommEvent::Message, message.data),
        wire::Request::CommClose(message) => (message.comm_id, CommEvent::Close, message.data),
        _ => return None,
    };
    let buffers = attached.buffers.iter().map(|bytes| bytes.to_vec()).collect();
    Some(CommMessage { id, event, data, metadata: attached.metadata, buffers })
}

/// A message to a frontend.
pub(crate) fn comm_publication(message: CommMessage) -> (wire::Publication, Attached) {
    let CommMessage { id: comm_id, event, data, metadata, buffers } = message;
    let publication = match event {
        CommEvent::Open { target: target_name } => {
            wire::Publication::CommOpen(wire::CommOpen { comm_id, target_name, target_module: None, data })
        }
        CommEvent::Message => wire::Publication::CommMessage(wire::CommData { comm_id, data }),
        CommEvent::Close => wire::Publication::CommClose(wire::CommData { comm_id, data }),
    };
    (publication, Attached { metadata, buffers: buffers.into_iter().map(Bytes::from).collect() })
}

// Editing

pub(crate) fn completeness(judgement: Completeness) -> (wire::Completeness, Option<String>) {
    match judgement {
        Completeness::Complete => (wire::Completeness::Complete, None),
        Completeness::Incomplete { indent } => (wire::Completeness::Incomplete, Some(indent)),
        Completeness::Invalid => (wire::Completeness::Invalid, None),
        Completeness::Unknown => (wire::Completeness::Unknown, None),
    }
}

/// Byte offsets become offsets in characters.
pub(crate) fn complete_reply(code: &str, completions: Completions) -> wire::CompleteReply {
    let characters = |bytes: usize| code.get(..bytes).unwrap_or(code).chars().count();
    let (cursor_start, cursor_end) = (characters(completions.start), characters(completions.end));
    let types: Vec<Value> = completions
        .matches
        .iter()
        .map(|completion| {
            json!({
                "text": completion.text, "type": kind_word(completion.kind), "signature": completion.signature,
                "start": cursor_start, "end": cursor_end,
            })
        })
        .collect();
    wire::CompleteReply {
        matches: completions.matches.into_iter().map(|completion| completion.text).collect(),
        cursor_start,
        cursor_end,
        metadata: Map::from_iter([("_jupyter_types_experimental".to_owned(), Value::Array(types))]),
    }
}

pub(crate) fn inspect_reply(known: Option<Rich>) -> wire::InspectReply {
    let found = known.is_some();
    let Rich { data, metadata } = known.unwrap_or_default();
    wire::InspectReply { found, data, metadata }
}

fn kind_word(kind: CompletionKind) -> &'static str {
    match kind {
        CompletionKind::Keyword => "keyword",
        CompletionKind::Option => "property",
        CompletionKind::Local => "param",
        CompletionKind::Model | CompletionKind::Module => "module",
        CompletionKind::Magic => "magic",
        CompletionKind::Function => "function",
        CompletionKind::Table => "class",
        CompletionKind::Value => "instance",
    }
}

// Errors

pub(crate) fn error_reply(error: &providers::Error) -> wire::ErrorReply {
    let refusal = refusal("ModelError", &error.to_string(), error.kind().as_str());
    wire::ErrorReply { details: Box::new(error_details(error.details())), ..refusal }
}

pub(crate) fn error_details(details: providers::ErrorDetails) -> wire::ErrorDetails {
    let providers::ErrorDetails { retry_after, prompt_tokens, context_size, nearest, route } = details;
    let route = route.into_iter().map(route_decision).collect();
    wire::ErrorDetails { retry_after, prompt_tokens, context_size, nearest, route }
}

// What is asked of a model

pub(crate) fn conversation(messages: Vec<wire::ChatMessage>, tools: Vec<wire::Tool>) -> Prompt {
    Prompt::Chat {
        messages: messages.into_iter().map(chat_message).collect(),
        tools: tools
            .into_iter()
            .map(|tool| providers::Tool { name: tool.name, description: tool.description, parameters: tool.parameters })
            .collect(),
    }
}

/// A text to continue: as it stands, or as what a user says.
pub(crate) fn completion(prompt: String, raw: bool) -> Prompt {
    if raw {
        return Prompt::Raw(prompt);
    }
    Prompt::Chat { messages: vec![providers::ChatMessage::user(prompt)], tools: Vec::new() }
}

fn chat_message(message: wire::ChatMessage) -> providers::ChatMessage {
    providers::ChatMessage {
        role: match message.role {
            wire::Role::System => providers::Role::System,
            wire::Role::User => providers::Role::User,
            wire::Role::Assistant => providers::Role::Assistant,
            wire::Role::Tool => providers::Role::Tool,
        },
        content: message.content,
        images: message.images,
        tool_calls: message
            .tool_calls
            .into_iter()
            .map(|call| providers::ToolCall { id: call.id, name: call.name, arguments: call.arguments })
            .collect(),
        tool_call_id: message.tool_call_id,
        name: message.name,
    }
}

pub(crate) fn options(options: wire::GenerateOptions) -> providers::GenerateOptions {
    providers::GenerateOptions {
        sampling: Sampling {
            temperature: options.temperature,
            top_k: options.top_k,
            top_p: options.top_p,
            min_p: options.min_p,
            typical_p: options.typical_p,
            repeat_penalty: options.repeat_penalty,
            frequency_penalty: options.frequency_penalty,
            presence_penalty: options.presence_penalty,
            seed: options.seed,
        },
        logit_bias: options.logit_bias.into_iter().map(logit_bias).collect(),
        logprobs: options.logprobs,
        max_tokens: options.max_tokens,
        stop: options.stop,
        ignore_end: false,
        schema: options.schema,
        think: options.think.map(think),
        extra_body: options.extra_body,
        truncate: options.truncate,
        timeout_seconds: options.timeout_seconds,
    }
}

fn think(think: wire::Think) -> providers::Think {
    match think {
        wire::Think::Is(thinks) => providers::Think::Is(thinks),
        wire::Think::Effort(wire::Effort::Low) => providers::Think::Effort(providers::Effort::Low),
        wire::Think::Effort(wire::Effort::Medium) => providers::Think::Effort(providers::Effort::Medium),
        wire::Think::Effort(wire::Effort::High) => providers::Think::Effort(providers::Effort::High),
    }
}

fn logit_bias(bias: wire::LogitBias) -> providers::LogitBias {
    let token = match bias.token {
        wire::Biased::Id(id) => providers::Biased::Id(id),
        wire::Biased::Text(text) => providers::Biased::Text(text),
    };
    providers::LogitBias { token, bias: bias.bias }
}

// What a model answers

/// A model to be made there under the name that it has without its backend.
pub(crate) fn creation(name: &str, create: wire::CreateRequest) -> providers::Creation {
    let wire::CreateRequest { file, template, system, parameters, .. } = create;
    providers::Creation { name: name.to_owned(), file, template, system, parameters }
}

pub(crate) fn progress(progress: providers::Progress) -> wire::ModelEvent {
    let providers::Progress { status, completed, total, .. } = progress;
    wire::ModelEvent::Progress { task: status, completed: completed.unwrap_or_default(), total }
}

/// The tasks of progress events: the model comes into memory; so many requests begin first, and then this one; so much of
/// a prompt is computed.
const LOADING: &str = "loading";
const QUEUED: &str = "queued";
const PREFILL: &str = "prefill";

pub(crate) fn empty_reply() -> wire::GenerateReply {
    wire::GenerateReply {
        text: String::new(),
        thinking: None,
        tool_calls: Vec::new(),
        logprobs: Vec::new(),
        usage: wire::Usage::default(),
        finish_reason: wire::FinishReason::Cancelled,
        model: String::new(),
        duration_ms: 0.0,
        route: Vec::new(),
    }
}

pub(crate) fn pull_request(request: wire::PullRequest) -> providers::PullRequest {
    let wire::PullRequest { spec, quantization, name, force } = request;
    providers::PullRequest { spec, quantization, name, force }
}

pub(crate) fn pull_progress(progress: providers::PullProgress) -> wire::ModelEvent {
    wire::ModelEvent::Pull(wire::PullProgress {
        stage: progress.stage.as_str().to_owned(),
        file: progress.file,
        completed_bytes: progress.completed_bytes,
        total_bytes: progress.total_bytes,
        bytes_per_second: progress.bytes_per_second,
        seconds_left: progress.seconds_left,
    })
}

pub(crate) fn pulled_model(pulled: providers::Pulled) -> wire::PulledModel {
    let providers::Pulled { name, specifier, size_bytes, stored, was_there } = pulled;
    let model = wire::PulledModel {
        name,
        specifier: specifier.as_ref().map(ToString::to_string),
        size_bytes: Some(size_bytes),
        was_there,
        ..wire::PulledModel::default()
    };
    match stored {
        Some(stored) => wire::PulledModel {
            location: Some(stored.path.display().to_string()),
            sha256: Some(stored.digest.to_string()),
            source: Some(stored.source),
            revision: stored.revision,
            quantization: stored.quantization,
            license: stored.license,
            ..model
        },
        None => model,
    }
}

pub(crate) fn embed_reply(model: String, embeddings: providers::Embeddings) -> wire::EmbedReply {
    let providers::Embeddings { vectors, prompt_tokens } = embeddings;
    wire::EmbedReply { embeddings: vectors, prompt_tokens, model }
}

pub(crate) fn model_event(event: providers::Event) -> wire::ModelEvent {
    match event {
        providers::Event::Loading => wire::ModelEvent::Progress { task: LOADING.to_owned(), completed: 0, total: None },
        providers::Event::Queued { position } => {
            wire::ModelEvent::Progress { task: QUEUED.to_owned(), completed: 0, total: Some(position.into()) }
        }
        providers::Event::Dropped(model) => wire::ModelEvent::Dropped(dropped_model(model)),
        providers::Event::Route(decision) => wire::ModelEvent::RouteDecision(route_decision(decision)),
        providers::Event::Budget(warning) => wire::ModelEvent::BudgetWarning { message: warning.message },
        providers::Event::Prefill(prefill) => wire::ModelEvent::Progress {
            task: PREFILL.to_owned(),
            completed: prefill.computed_tokens.into(),
            total: Some(prefill.prompt_tokens.into()),
        },
        providers::Event::Text(text) => wire::ModelEvent::Text { text },
        providers::Event::Thinking(text) => wire::ModelEvent::Thinking { text },
        providers::Event::Logprobs(logprobs) => wire::ModelEvent::Logprobs(token_logprobs(logprobs)),
        providers::Event::ToolCall(call) => wire::ModelEvent::ToolCall(tool_call(call)),
        providers::Event::Usage(tokens) => wire::ModelEvent::Usage(usage(tokens)),
        providers::Event::Done(reason) => wire::ModelEvent::Done { finish_reason: finish_reason(reason) },
    }
}

pub(crate) fn route_decision(decision: providers::RouteDecision) -> wire::RouteDecision {
    wire::RouteDecision {
        action: match decision.action {
            providers::RouteAction::Chosen => wire::RouteAction::Chosen,
            providers::RouteAction::Retry => wire::RouteAction::Retry,
            providers::RouteAction::Fallback => wire::RouteAction::Fallback,
            providers::RouteAction::Skipped => wire::RouteAction::Skipped,
            providers::RouteAction::BreakerOpened => wire::RouteAction::BreakerOpened,
            providers::RouteAction::BreakerClosed => wire::RouteAction::BreakerClosed,
            providers::RouteAction::Failed => wire::RouteAction::Failed,
        },
        model: decision.model,
        reason: decision.reason,
        kind: decision.kind,
        wait_ms: decision.wait_ms,
        by: decision.by,
    }
}

pub(crate) fn tool_call(call: providers::ToolCall) -> wire::ToolCall {
    wire::ToolCall { id: call.id, name: call.name, arguments: call.arguments }
}

pub(crate) fn token_logprobs(logprobs: providers::TokenLogprobs) -> wire::TokenLogprobs {
    let one = |of: providers::TokenLogprob| wire::TokenLogprob { token: of.token, id: of.id, logprob: of.logprob };
    wire::TokenLogprobs { chosen: one(logprobs.chosen), top: logprobs.top.into_iter().map(one).collect() }
}

pub(crate) fn usage(usage: providers::Usage) -> wire::Usage {
    wire::Usage {
        prompt_tokens: usage.prompt_tokens,
        completion_tokens: usage.completion_tokens,
        cached_tokens: usage.cached_tokens,
        truncated_tokens: usage.truncated_tokens,
        thinking_tokens: usage.thinking_tokens,
        untold: usage.untold,
        first_token_ms: usage.first_token_ms,
        tokens_per_second: usage.tokens_per_second,
        cost: usage.cost.map(|cost| wire::Cost { usd: cost.usd }),
    }
}

pub(crate) fn finish_reason(reason: providers::FinishReason) -> wire::FinishReason {
    match reason {
        providers::FinishReason::Stop => wire::FinishReason::Stop,
        providers::FinishReason::Length => wire::FinishReason::Length,
        providers::FinishReason::ToolCalls => wire::FinishReason::ToolCalls,
        providers::FinishReason::Cancelled => wire::FinishReason::Cancelled,
    }
}

// What the registry knows

/// A model that cannot be asked for, and an instance that cannot answer, are among the errors.
pub(crate) fn list_reply(instances: Vec<providers::InstanceModels>) -> wire::ListReply {
    let mut reply = wire::ListReply::default();
    for instance in instances {
        match &instance.models {
            Ok(models) => models.iter().for_each(|model| list_model(&mut reply, &instance, model)),
            Err(error) => reply.errors.push(wire::BackendError {
                kind: error.kind().as_str().to_owned(),
                message: error.to_string(),
                backend: instance.instance,
            }),
        }
    }
    reply
}

fn list_model(reply: &mut wire::ListReply, instance: &providers::InstanceModels, model: &providers::ModelEntry) {
    let backend = instance.instance.clone();
    let facts = model.facts.as_ref();
    let text = |text: &String| (!text.is_empty()).then(|| text.clone());
    match &model.problem {
        None => reply.models.push(wire::ListedModel {
            backend,
            name: model.name.clone(),
            specifier: instance.specifier(&model.name).map(|specifier| specifier.to_string()),
            size_bytes: Some(model.size_bytes),
            loaded: model.loaded,
            location: Some(model.location.to_string()),
            collection: model.collection.map(|collection| collection.to_string()),
            architecture: facts.and_then(|facts| text(&facts.architecture)),
            parameters: facts.map(|facts| facts.parameters).filter(|parameters| *parameters > 0),
            quantization: facts.and_then(|facts| text(&facts.quantization)),
            context_length: facts.and_then(|facts| facts.context_length),
            problem: facts.and_then(|facts| facts.problem.clone()),
        }),
        Some(problem) => reply.errors.push(wire::BackendError {
            backend,
            kind: ErrorKind::InvalidRequest.as_str().to_owned(),
            message: format!("`{}`: {problem}", model.name),
        }),
    }
}

pub(crate) fn available_model(model: providers::AvailableModel) -> wire::AvailableModel {
    let providers::AvailableModel { known, size_bytes, fits, stored } = model;
    wire::AvailableModel {
        name: known.name.clone(),
        repository: Some(known.repository.clone()),
        quantization: Some(known.quantization.clone()),
        size_bytes,
        sizes: known.sizes.clone(),
        parameters: Some(known.parameters),
        license: Some(known.license.clone()),
        recommended: known.recommended,
        fits,
        stored,
    }
}

/// A backend that cannot say what it takes is among the errors.
pub(crate) fn storage_reply(instances: Vec<providers::InstanceStorage>) -> wire::StorageReply {
    let mut reply = wire::StorageReply::default();
    for providers::InstanceStorage { instance: backend, places } in instances {
        match places {
            Ok(places) => reply.places.extend(places.into_iter().map(|place| wire::StoragePlace {
                backend: backend.clone(),
                collection: place.collection.to_string(),
                path: place.path.display().to_string(),
                models: place.models,
                bytes: place.bytes,
                part_bytes: place.part_bytes,
                unfinished: place.unfinished.into_iter().map(unfinished_download).collect(),
                ours: place.ours,
                free_bytes: place.disk.map(|disk| disk.free_bytes),
                total_bytes: place.disk.map(|disk| disk.total_bytes),
            })),
            Err(error) => reply.errors.push(wire::BackendError {
                kind: error.kind().as_str().to_owned(),
                message: error.to_string(),
                backend,
            }),
        }
    }
    reply
}

pub(crate) fn unfinished_download(download: providers::UnfinishedDownload) -> wire::UnfinishedDownload {
    let providers::UnfinishedDownload { source, bytes, completed_bytes, total_bytes, idle_seconds, under_way } =
        download;
    wire::UnfinishedDownload { source, bytes, completed_bytes, total_bytes, idle_seconds, under_way }
}

pub(crate) fn removed_model(specifier: &ModelSpecifier, removed: providers::RemovedModel) -> wire::RemovedModel {
    let providers::RemovedModel { freed_bytes, kept_as, .. } = removed;
    wire::RemovedModel { model: specifier.to_string(), freed_bytes, kept_as }
}

pub(crate) fn ledger_reply(
    table: providers::UsageTable,
    (spent, limits): (providers::Amount, providers::Limits),
) -> wire::LedgerReply {
    let day =
        |unit: &str, spent, limit| wire::BudgetState { period: "day".to_owned(), unit: unit.to_owned(), spent, limit };
    let tokens = limits.tokens.map(|limit| day("tokens", spent.tokens as f64, limit as f64));
    let usd = limits.usd.map(|limit| day("usd", spent.usd, limit));
    wire::LedgerReply {
        rows: table.rows.into_iter().map(ledger_row).collect(),
        total: ledger_row(table.total),
        lent: table.lent.map(ledger_row),
        budgets: tokens.into_iter().chain(usd).collect(),
    }
}

fn ledger_row(row: providers::UsageRow) -> wire::LedgerRow {
    wire::LedgerRow {
        key: row.key,
        request: row.request.map(|request| {
            let providers::CountedRequest { session, model, instance, outcome } = request;
            wire::CountedRequest { session, model, instance, outcome }
        }),
        requests: row.requests,
        untold: row.untold,
        failed: row.failed,
        prompt_tokens: row.prompt_tokens,
        cached_tokens: row.cached_tokens,
        completion_tokens: row.completion_tokens,
        thinking_tokens: row.thinking_tokens,
        duration_ms: row.duration_ms,
        first_token_ms: row.first_token_ms,
        tokens_per_second: row.tokens_per_second,
        usd: row.usd,
        unpriced: row.unpriced,
    }
}

pub(crate) fn model_info(specifier: &ModelSpecifier, info: providers::ModelInfo) -> wire::ModelInfoReply {
    // What a provider does not know is nothing there, and left out here.
    let size = |number: u64| (number > 0).then_some(number);
    let count = |number: usize| size(number as u64);
    let text = |text: String| (!text.is_empty()).then_some(text);
    wire::ModelInfoReply {
        specifier: specifier.to_string(),
        name: text(info.name),
        architecture: text(info.architecture),
        parameters: size(info.parameters),
        layers: count(info.layers),
        hidden: count(info.hidden),
        heads: count(info.heads),
        kv_heads: count(info.kv_heads),
        context_length: count(info.context_length),
        context_size: count(info.context_size),
        vocabulary: count(info.vocabulary),
        quantization: text(info.quantization),
        file_bytes: size(info.file_bytes),
        memory_bytes: size(info.memory_bytes),
        kv_cache_type: text(info.kv_cache_type),
        kv_bytes_per_token: size(info.kv_bytes_per_token),
        executor: text(info.executor),
        has_chat_template: Some(info.has_chat_template),
        supports_tools: Some(info.supports_tools),
    }
}

pub(crate) fn loaded_model(backend: &str, model: providers::LoadedModel) -> wire::LoadedModel {
    wire::LoadedModel {
        backend: backend.to_owned(),
        name: model.name,
        memory_bytes: Some(model.memory_bytes),
        resident_bytes: model.resident_bytes,
        context_size: Some(model.context_size as u64),
        load_ms: Some(model.load_ms as f64),
        steps: Some(model.steps),
        active_requests: u32::try_from(model.active_requests).unwrap_or(u32::MAX),
        pinned: model.pinned,
        keep_alive_seconds: model.keep_alive_seconds,
        idle_seconds: model.idle_seconds,
        made_room: model.made_room.into_iter().map(dropped_model).collect(),
    }
}

pub(crate) fn dropped_model(model: providers::DroppedModel) -> wire::DroppedModel {
    wire::DroppedModel {
        name: model.name,
        reason: model.reason,
        memory_bytes: model.memory_bytes,
        seconds_ago: model.seconds_ago,
    }
}

pub(crate) fn status_reply(instances: Vec<providers::InstanceStatus>) -> wire::StatusReply {
    let backends = instances.into_iter().map(|status| wire::BackendStatus {
        provider_type: status.provider_type.to_string(),
        status: match status.health.status {
            HealthStatus::Ready => wire::BackendHealth::Ready,
            HealthStatus::Degraded => wire::BackendHealth::Degraded,
            HealthStatus::Unavailable => wire::BackendHealth::Unavailable,
        },
        detail: status.health.detail,
        loaded: status.loaded.into_iter().map(|model| loaded_model(&status.instance, model)).collect(),
        dropped: status.dropped.into_iter().map(dropped_model).collect(),
        backend: status.instance,
    });
    wire::StatusReply { backends: backends.collect() }
}
