//! The way round that only a kernel needs which borrows another's models: requests as they go out, answers as they come in.

use perilune_protocol as wire;
use perilune_providers as providers;
use perilune_providers::{
    BudgetWarning, Collection, EmbedRequest, Error, ErrorDetails, ErrorKind, Event, Facts, GenerateRequest, Health,
    HealthStatus, Location, Prefill, Prompt, RouteAction, RouteDecision,
};

// What is asked

pub(crate) fn generate(request: GenerateRequest) -> wire::ModelRequest {
    let (model, options) = (Some(request.model), options(request.options));
    match request.prompt {
        Prompt::Chat { messages, tools } => wire::ModelRequest::Chat(wire::ModelChatRequest {
            model,
            messages: messages.into_iter().map(chat_message).collect(),
            tools: tools
                .into_iter()
                .map(|tool| wire::Tool { name: tool.name, description: tool.description, parameters: tool.parameters })
                .collect(),
            fallback_after_text: false,
            options,
        }),
        Prompt::Raw(prompt) => wire::ModelRequest::Complete(wire::ModelCompleteRequest {
            model,
            prompt,
            raw: true,
            fallback_after_text: false,
            options,
        }),
    }
}

pub(crate) fn embed(request: EmbedRequest) -> wire::ModelRequest {
    let EmbedRequest { model, texts, timeout_seconds, .. } = request;
    wire::ModelRequest::Embed(wire::ModelEmbedRequest { model: Some(model), texts, timeout_seconds })
}

fn chat_message(message: providers::ChatMessage) -> wire::ChatMessage {
    wire::ChatMessage {
        role: match message.role {
            providers::Role::System => wire::Role::System,
            providers::Role::User => wire::Role::User,
            providers::Role::Assistant => wire::Role::Assistant,
            providers::Role::Tool => wire::Role::Tool,
        },
        content: message.content,
        images: message.images,
        tool_calls: message.tool_calls.into_iter().map(super::tool_call).collect(),
        tool_call_id: message.tool_call_id,
        name: message.name,
    }
}

fn options(options: providers::GenerateOptions) -> wire::GenerateOptions {
    wire::GenerateOptions {
        temperature: options.sampling.temperature,
        top_k: options.sampling.top_k,
        top_p: options.sampling.top_p,
        min_p: options.sampling.min_p,
        typical_p: options.sampling.typical_p,
        repeat_penalty: options.sampling.repeat_penalty,
        frequency_penalty: options.sampling.frequency_penalty,
        presence_penalty: options.sampling.presence_penalty,
        logit_bias: options.logit_bias.into_iter().map(logit_bias).collect(),
        logprobs: options.logprobs,
        seed: options.sampling.seed,
        max_tokens: options.max_tokens,
        stop: options.stop,
        schema: options.schema,
        think: options.think.map(think),
        extra_body: options.extra_body,
        truncate: options.truncate,
        timeout_seconds: options.timeout_seconds,
    }
}

fn think(think: providers::Think) -> wire::Think {
    match think {
        providers::Think::Is(thinks) => wire::Think::Is(thinks),
        providers::Think::Effort(providers::Effort::Low) => wire::Think::Effort(wire::Effort::Low),
        providers::Think::Effort(providers::Effort::Medium) => wire::Think::Effort(wire::Effort::Medium),
        providers::Think::Effort(providers::Effort::High) => wire::Think::Effort(wire::Effort::High),
    }
}

fn logit_bias(bias: providers::LogitBias) -> wire::LogitBias {
    let token = match bias.token {
        providers::Biased::Id(id) => wire::Biased::Id(id),
        providers::Biased::Text(text) => wire::Biased::Text(text),
    };
    wire::LogitBias { token, bias: bias.bias }
}

// What is generated

/// A piece of the answer; usage and end are the reply's to tell.
pub(crate) fn event(event: wire::ModelEvent) -> Option<Event> {
    let number = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    match event {
        wire::ModelEvent::Text { text } => Some(Event::Text(text)),
        wire::ModelEvent::Thinking { text } => Some(Event::Thinking(text)),
        wire::ModelEvent::Logprobs(logprobs) => Some(Event::Logprobs(token_logprobs(logprobs))),
        wire::ModelEvent::ToolCall(call) => Some(Event::ToolCall(tool_call(call))),
        wire::ModelEvent::Dropped(model) => Some(Event::Dropped(dropped_model(model))),
        wire::ModelEvent::RouteDecision(decision) => route_decision(decision).map(Event::Route),
        wire::ModelEvent::BudgetWarning { message } => Some(Event::Budget(BudgetWarning { message })),
        wire::ModelEvent::Progress { task, .. } if task == super::LOADING => Some(Event::Loading),
        wire::ModelEvent::Progress { task, completed, total: Some(total) } if task == super::PREFILL => {
            Some(Event::Prefill(Prefill { computed_tokens: number(completed), prompt_tokens: number(total) }))
        }
        wire::ModelEvent::Progress { task, total: Some(total), .. } if task == super::QUEUED => {
            Some(Event::Queued { position: number(total) })
        }
        wire::ModelEvent::Usage(_)
        | wire::ModelEvent::Progress { .. }
        | wire::ModelEvent::Pull(_)
        | wire::ModelEvent::Done { .. }
        | wire::ModelEvent::Unknown => None,
    }
}

/// What was decided over there; `None` for what is not known here.
fn route_decision(decision: wire::RouteDecision) -> Option<RouteDecision> {
    let wire::RouteDecision { action, model, reason, kind, wait_ms, by } = decision;
    let action = match action {
        wire::RouteAction::Chosen => RouteAction::Chosen,
        wire::RouteAction::Retry => RouteAction::Retry,
        wire::RouteAction::Fallback => RouteAction::Fallback,
        wire::RouteAction::Skipped => RouteAction::Skipped,
        wire::RouteAction::BreakerOpened => RouteAction::BreakerOpened,
        wire::RouteAction::BreakerClosed => RouteAction::BreakerClosed,
        wire::RouteAction::Failed => RouteAction::Failed,
        wire::RouteAction::Unknown => return None,
    };
    Some(RouteDecision { action, model, reason, kind, wait_ms, by })
}

pub(crate) fn tool_call(call: wire::ToolCall) -> providers::ToolCall {
    providers::ToolCall { id: call.id, name: call.name, arguments: call.arguments }
}

pub(crate) fn token_logprobs(logprobs: wire::TokenLogprobs) -> providers::TokenLogprobs {
    let one = |of: wire::TokenLogprob| providers::TokenLogprob { token: of.token, id: of.id, logprob: of.logprob };
    providers::TokenLogprobs { chosen: one(logprobs.chosen), top: logprobs.top.into_iter().map(one).collect() }
}

pub(crate) fn usage(usage: wire::Usage) -> providers::Usage {
    providers::Usage {
        prompt_tokens: usage.prompt_tokens,
        completion_tokens: usage.completion_tokens,
        cached_tokens: usage.cached_tokens,
        truncated_tokens: usage.truncated_tokens,
        thinking_tokens: usage.thinking_tokens,
        untold: usage.untold,
        first_token_ms: usage.first_token_ms,
        tokens_per_second: usage.tokens_per_second,
        cost: usage.cost.map(|cost| providers::Cost { usd: cost.usd }),
    }
}

pub(crate) fn finish_reason(reason: wire::FinishReason) -> providers::FinishReason {
    match reason {
        wire::FinishReason::Stop => providers::FinishReason::Stop,
        wire::FinishReason::Length => providers::FinishReason::Length,
        wire::FinishReason::ToolCalls => providers::FinishReason::ToolCalls,
        wire::FinishReason::Cancelled => providers::FinishReason::Cancelled,
    }
}

// What is known there

/// A model of another kernel, by the name it has here.
pub(crate) fn model_entry(name: String, model: &wire::ListedModel) -> providers::ModelEntry {
    let place = model.location.as_deref().unwrap_or_default();
    providers::ModelEntry {
        name,
        size_bytes: model.size_bytes.unwrap_or_default(),
        loaded: model.loaded,
        location: Location::Elsewhere(format!("{place} ({} there)", model.backend)),
        problem: None,
        collection: model.collection.as_deref().and_then(Collection::of),
        facts: facts(model),
    }
}

/// What a header tells there; nothing where it was not read.
fn facts(model: &wire::ListedModel) -> Option<Facts> {
    let facts = Facts {
        architecture: model.architecture.clone().unwrap_or_default(),
        parameters: model.parameters.unwrap_or_default(),
        quantization: model.quantization.clone().unwrap_or_default(),
        context_length: model.context_length,
        problem: model.problem.clone(),
    };
    (facts != Facts::default()).then_some(facts)
}

/// What a backend there could not list.
pub(crate) fn problem(error: &wire::BackendError) -> providers::ModelEntry {
    providers::ModelEntry {
        name: error.backend.clone(),
        size_bytes: 0,
        loaded: false,
        location: Location::Elsewhere(String::new()),
        problem: Some(error.message.clone()),
        collection: None,
        facts: None,
    }
}

pub(crate) fn model_info(info: wire::ModelInfoReply) -> providers::ModelInfo {
    let count = |number: Option<u64>| number.and_then(|number| usize::try_from(number).ok()).unwrap_or_default();
    providers::ModelInfo {
        name: info.name.unwrap_or_default(),
        architecture: info.architecture.unwrap_or_default(),
        parameters: info.parameters.unwrap_or_default(),
        layers: count(info.layers),
        hidden: count(info.hidden),
        heads: count(info.heads),
        kv_heads: count(info.kv_heads),
        context_length: count(info.context_length),
        context_size: count(info.context_size),
        vocabulary: count(info.vocabulary),
        quantization: info.quantization.unwrap_or_default(),
        file_bytes: info.file_bytes.unwrap_or_default(),
        memory_bytes: info.memory_bytes.unwrap_or_default(),
        kv_cache_type: info.kv_cache_type.unwrap_or_default(),
        kv_bytes_per_token: info.kv_bytes_per_token.unwrap_or_default(),
        executor: info.executor.unwrap_or_default(),
        has_chat_template: info.has_chat_template.unwrap_or_default(),
        supports_tools: info.supports_tools.unwrap_or_default(),
    }
}

/// A model in another kernel's memory, by the name it has here.
pub(crate) fn loaded_model(name: String, model: &wire::LoadedModel) -> providers::LoadedModel {
    providers::LoadedModel {
        name,
        memory_bytes: model.memory_bytes.unwrap_or_default(),
        resident_bytes: model.resident_bytes,
        context_size: model.context_size.and_then(|size| usize::try_from(size).ok()).unwrap_or_default(),
        load_ms: model.load_ms.unwrap_or_default() as u64,
        steps: model.steps.unwrap_or_default(),
        active_requests: usize::try_from(model.active_requests).unwrap_or(usize::MAX),
        unloading: false,
        pinned: model.pinned,
        keep_alive_seconds: model.keep_alive_seconds,
        idle_seconds: model.idle_seconds,
        made_room: model.made_room.iter().cloned().map(dropped_model).collect(),
    }
}

fn dropped_model(model: wire::DroppedModel) -> providers::DroppedModel {
    providers::DroppedModel {
        name: model.name,
        reason: model.reason,
        memory_bytes: model.memory_bytes,
        seconds_ago: model.seconds_ago,
    }
}

/// How another kernel is: as its best backend is.
pub(crate) fn health(status: &wire::StatusReply, address: &str) -> Health {
    let is = |health| status.backends.iter().any(|backend| backend.status == health);
    let backends: Vec<String> =
        status.backends.iter().map(|backend| format!("{} {}", backend.backend, backend.status.as_str())).collect();
    Health {
        status: if is(wire::BackendHealth::Ready) {
            HealthStatus::Ready
        } else if is(wire::BackendHealth::Degraded) {
            HealthStatus::Degraded
        } else {
            HealthStatus::Unavailable
        },
        detail: format!("a kernel at {address}: {}", backends.join(", ")),
    }
}

/// What another kernel says instead of doing what it was asked.
pub(crate) fn error(instance: &str, error: wire::ErrorReply) -> Error {
    let kind = ErrorKind::of(error.kind.as_deref().unwrap_or_default());
    let wire::ErrorDetails { retry_after, prompt_tokens, context_size, nearest, route } = *error.details;
    let route = route.into_iter().filter_map(route_decision).collect();
    let details = ErrorDetails { retry_after, prompt_tokens, context_size, nearest, route };
    Error::Elsewhere { instance: instance.to_owned(), kind, problem: error.evalue }.with(details)
}
