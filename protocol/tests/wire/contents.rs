//! Contents: parsed leniently, written strictly.

use perilune_protocol::{
    ChatMessage, Content, Cost, ErrorDetails, ErrorReply, ExecuteReply, ExpressionResult, FinishReason,
    GenerateOptions, GenerateReply, InputReply, ListReply, ListedModel, ModelChatRequest, ModelEvent, ModelReply,
    ModelRequest, Publication, PullProgress, Reply, Request, Role, RouteAction, RouteDecision, StdinMessage,
    TokenLogprob, TokenLogprobs, ToolCall, Usage,
};
use serde_json::{Value, json};

fn read<C: Content>(msg_type: &str, content: Value) -> C {
    C::from_json(msg_type, content.to_string().as_bytes()).unwrap()
}

fn written<C: Content>(content: &C) -> Value {
    serde_json::from_slice(&content.to_json().unwrap()).unwrap()
}

#[test]
fn requests_may_leave_out_or_null_what_is_optional_and_may_say_more() {
    let sparse = read::<Request>("execute_request", json!({"code": "x"}));
    let null = json!({"code": "x", "silent": null, "store_history": null, "user_expressions": null, "allow_stdin": null,
        "stop_on_error": null, "perilune": null, "cell_id": 3});
    assert_eq!(read::<Request>("execute_request", null), sparse);
    let Request::Execute(execute) = sparse else { panic!("an execute_request") };
    assert!(!execute.silent && execute.store_history && !execute.allow_stdin && execute.stop_on_error);

    read::<Request>("complete_request", json!({"code": "x", "cursor_pos": null}));
    read::<Request>("comm_info_request", json!({}));
    read::<Request>("shutdown_request", json!({}));
    read::<Request>("interrupt_request", json!({}));
    read::<Request>("kernel_info_request", json!(null));
    read::<StdinMessage>("input_reply", json!({"value": "v", "status": "ok"}));
    read::<Reply>(
        "kernel_info_reply",
        json!({"status": "ok", "protocol_version": "5.3", "implementation": "i",
        "language_info": {"name": "l", "codemirror_mode": {"name": "m", "version": 3}}}),
    );
    read::<Reply>("execute_reply", json!({"execution_count": null}));
    read::<Publication>("display_data", json!({"data": {}}));
}

#[test]
fn our_extension_of_execute_request_is_optional_in_every_part() {
    let content =
        json!({"code": "x", "perilune": {"fresh_workspace": true, "arguments": ["a"], "modules": {"m": "return 1"}}});
    let Request::Execute(execute) = read("execute_request", content) else { panic!("an execute_request") };
    let extension = execute.perilune.unwrap();
    assert!(extension.fresh_workspace && extension.script.is_none() && extension.seed.is_none());
    assert_eq!((extension.arguments, extension.modules["m"].as_str()), (vec!["a".to_owned()], "return 1"));
}

#[test]
fn replies_say_everything_that_jupyter_requires() {
    let reply = ExecuteReply { execution_count: 3, ..ExecuteReply::default() };
    let expected = json!({"status": "ok", "execution_count": 3, "payload": [], "user_expressions": {}});
    assert_eq!(written(&Reply::Execute(reply)), expected);
    assert_eq!(written(&Reply::Interrupt), json!({"status": "ok"}));
    let shown = written(&Publication::DisplayData(Default::default()));
    assert_eq!(shown, json!({"data": {}, "metadata": {}, "transient": {}}));
    let info = written(&Reply::KernelInfo(Default::default()));
    for field in ["status", "protocol_version", "implementation", "language_info", "banner", "help_links"] {
        assert!(info.get(field).is_some(), "{field}");
    }
    assert_eq!(written(&StdinMessage::InputReply(InputReply { value: "v".into(), eof: false })), json!({"value": "v"}));
    let ok = ExpressionResult::Ok { data: Default::default(), metadata: Default::default() };
    assert_eq!(serde_json::to_value(ok).unwrap(), json!({"status": "ok", "data": {}, "metadata": {}}));
}

#[test]
fn an_error_can_answer_a_request_of_any_type() {
    let error = ErrorReply {
        ename: "E".into(),
        evalue: "v".into(),
        kind: Some("model_not_found".into()),
        details: Box::new(ErrorDetails { nearest: vec!["m".into()], ..ErrorDetails::default() }),
        ..ErrorReply::default()
    };
    let reply = Reply::error("inspect_request", error);
    assert_eq!(reply.msg_type(), "inspect_reply");
    let content = written(&reply);
    assert_eq!(
        content,
        json!({"status": "error", "ename": "E", "evalue": "v", "traceback": [], "kind": "model_not_found", "nearest": ["m"]})
    );
    assert_eq!(read::<Reply>("inspect_reply", content), reply);
    let aborted = read::<Reply>("execute_reply", json!({"status": "aborted"}));
    assert!(matches!(aborted, Reply::Error { msg_type, .. } if msg_type == "execute_reply"));
}

#[test]
fn model_requests_are_tagged_on_their_command() {
    let chat = ModelRequest::Chat(ModelChatRequest {
        messages: vec![ChatMessage {
            role: Role::User,
            content: "hi".into(),
            tool_calls: vec![],
            images: Vec::new(),
            tool_call_id: None,
            name: None,
        }],
        options: GenerateOptions { temperature: Some(0.0), stop: vec!["\n".into()], ..GenerateOptions::default() },
        ..ModelChatRequest::default()
    });
    let expected = json!({"command": "chat", "messages": [{"role": "user", "content": "hi"}],
        "options": {"temperature": 0.0, "stop": ["\n"]}});
    assert_eq!(written(&Request::Model(chat.clone())), expected);
    assert_eq!(read::<Request>("model_request", expected), Request::Model(chat));
    for content in [
        json!({"command": "list"}),
        json!({"command": "status", "backend": null}),
        json!({"command": "info", "model": "m"}),
        json!({"command": "load", "model": "m"}),
        json!({"command": "unload", "model": "m"}),
        json!({"command": "pull", "spec": "tinyllama", "quantization": null}),
        json!({"command": "usage", "by": "day", "since": null}),
        json!({"command": "complete", "prompt": "p", "raw": true, "options": null}),
        json!({"command": "cancel", "request": "id"}),
    ] {
        assert!(matches!(read("model_request", content), Request::Model(_)));
    }
}

fn likely(token: &str, top: Vec<TokenLogprob>) -> TokenLogprobs {
    TokenLogprobs { chosen: TokenLogprob { token: token.to_owned(), id: Some(7), logprob: -0.5 }, top }
}

#[test]
fn model_replies_and_events_survive_the_wire() {
    let generated = GenerateReply {
        text: "t".into(),
        thinking: None,
        tool_calls: vec![ToolCall { id: "1".into(), name: "f".into(), arguments: json!({"x": 1}) }],
        logprobs: Vec::new(),
        usage: Usage {
            prompt_tokens: 3,
            completion_tokens: 2,
            cached_tokens: 1,
            cost: Some(Cost { usd: 0.5 }),
            ..Usage::default()
        },
        finish_reason: FinishReason::ToolCalls,
        model: "local/moonlet@candle".into(),
        duration_ms: 1.5,
        route: vec![RouteDecision { action: RouteAction::Chosen, ..RouteDecision::default() }],
    };
    let listed =
        ListedModel { backend: "candle".into(), name: "moonlet".into(), loaded: true, ..ListedModel::default() };
    for reply in [
        ModelReply::Chat(generated),
        ModelReply::List(ListReply { models: vec![listed], errors: vec![] }),
        ModelReply::Info(Default::default()),
        ModelReply::Status(Default::default()),
        ModelReply::Load(Default::default()),
        ModelReply::Pull(Default::default()),
        ModelReply::Usage(Default::default()),
        ModelReply::Cancel(Default::default()),
    ] {
        let reply = Reply::Model(reply);
        let content = written(&reply);
        assert_eq!(content["status"], "ok");
        assert_eq!(read::<Reply>("model_reply", content), reply);
    }
    let call = ToolCall { id: "1".into(), name: "f".into(), arguments: json!({}) };
    for (event, tag) in [
        (ModelEvent::Text { text: "t".into() }, "text"),
        (ModelEvent::Thinking { text: "t".into() }, "thinking"),
        (ModelEvent::ToolCall(call), "tool_call"),
        (ModelEvent::Logprobs(likely("a", vec![likely("b", Vec::new()).chosen])), "logprobs"),
        (ModelEvent::Usage(Usage::default()), "usage"),
        (ModelEvent::Progress { task: "load".into(), completed: 1, total: None }, "progress"),
        (ModelEvent::Pull(PullProgress::default()), "pull"),
        (ModelEvent::RouteDecision(RouteDecision::default()), "route_decision"),
        (ModelEvent::BudgetWarning { message: "m".into() }, "budget_warning"),
        (ModelEvent::Done { finish_reason: FinishReason::Length }, "done"),
    ] {
        let content = written(&Publication::ModelEvent(event.clone()));
        assert_eq!(content["event"], tag);
        assert_eq!(read::<Publication>("model_event", content), Publication::ModelEvent(event));
    }
    let later = read::<Publication>("model_event", json!({"event": "embedding", "vector": [1]}));
    assert_eq!(later, Publication::ModelEvent(ModelEvent::Unknown));
}

#[test]
fn the_models_of_a_request_may_be_a_list() {
    let chat = |model| {
        let content = json!({"command": "chat", "messages": [], "model": model});
        serde_json::from_value::<ModelRequest>(content).map(|request| match request {
            ModelRequest::Chat(chat) => chat.model,
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(chat(json!(["a", "b/c"])).unwrap().as_deref(), Some("a,b/c"));
    assert_eq!(chat(json!("a,b")).unwrap().as_deref(), Some("a,b"));
    assert_eq!(chat(json!(null)).unwrap(), None);
    let error = chat(json!(3)).unwrap_err().to_string();
    assert!(error.contains("a model specifier or a list of them"), "{error}");
}
