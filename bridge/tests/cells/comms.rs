//! Comms between Lua and a frontend, as the workspace sees them.

use std::sync::Arc;

use perilune_bridge::{CommEvent, CommMessage, Outcome, Output};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::notebook::{Notebook, Ran};

fn message(id: &str, event: CommEvent, data: Value, buffers: Vec<Vec<u8>>) -> CommMessage {
    CommMessage { id: id.to_owned(), event, data, metadata: Default::default(), buffers }
}

fn open(id: &str, target: &str) -> CommMessage {
    message(id, CommEvent::Open { target: target.to_owned() }, json!({"a": [1, null]}), Vec::new())
}

impl Notebook {
    async fn deliver(&self, message: CommMessage) -> Ran {
        let io = Arc::clone(&self.client);
        let outcome = self.workspace.deliver(message, io, CancellationToken::new()).await;
        self.client.ran(outcome)
    }

    fn comms(&self) -> Vec<CommMessage> {
        let all = self.client.ran(Outcome::Exit(0)).shown.into_iter();
        all.filter_map(|output| if let Output::Comm(message) = output { Some(message) } else { None }).collect()
    }
}

#[tokio::test]
async fn a_registered_target_answers_with_data_and_buffers() {
    let mut notebook = Notebook::start();
    notebook
        .run("Comm.register('echo', function(comm, data) print(comm.target, data.a[1], data.a[2] == json.null) comm:on_message(function(d, m, b) comm:send(d, {kind = 'echo'}, b) end) comm:on_close(function() print 'bye' end) end)")
        .await
        .expect_nothing();
    notebook.deliver(open("one", "echo")).await.expect_nothing().expect_stdout("echo\t1\ttrue\n");
    assert_eq!(
        notebook.workspace.comms().await.into_iter().collect::<Vec<_>>(),
        [("one".to_owned(), "echo".to_owned())]
    );
    let said = message("one", CommEvent::Message, json!({"x": 1.5}), vec![vec![0, 255, 10], Vec::new()]);
    notebook.deliver(said.clone()).await.expect_nothing();
    let answer = CommMessage { metadata: json!({"kind": "echo"}).as_object().cloned().expect("an object"), ..said };
    assert_eq!(notebook.comms(), [answer]);
    let ran = notebook.deliver(message("one", CommEvent::Close, json!({}), Vec::new())).await;
    assert!(ran.stdout.ends_with("bye\n"), "{}", ran.stdout);
    assert!(notebook.workspace.comms().await.is_empty());
    notebook.deliver(message("one", CommEvent::Message, json!({}), Vec::new())).await.expect_nothing();
}

#[tokio::test]
async fn an_unknown_target_is_closed_and_told() {
    let notebook = Notebook::start();
    let ran = notebook.deliver(open("one", "nobody")).await;
    assert_eq!(notebook.comms()[0].event, CommEvent::Close);
    assert_eq!(ran.stderr, "no target `nobody` is registered for comms; registered: none\n");
    assert!(notebook.workspace.comms().await.is_empty());
}

#[tokio::test]
async fn a_failing_handler_is_shown_and_ends_only_its_call() {
    let mut notebook = Notebook::start();
    notebook.run("Comm.register('picky', function(comm, data) comm:on_message(function(d) if d.bad then error('bad ' .. d.bad) end print 'good' end) end) Comm.register('broken', function() error('no') end)").await;
    notebook.deliver(open("one", "picky")).await.expect_nothing();
    let bad = notebook.deliver(message("one", CommEvent::Message, json!({"bad": 7}), Vec::new())).await;
    bad.expect_error("cell 1:1: bad 7");
    notebook.deliver(message("one", CommEvent::Message, json!({}), Vec::new())).await.expect_stdout("good\n");
    notebook.deliver(open("two", "broken")).await.expect_error("cell 1:1: no");
    assert_eq!(notebook.comms().last().map(|last| (last.id.as_str(), &last.event)), Some(("two", &CommEvent::Close)));
    assert_eq!(notebook.workspace.comms().await.len(), 1);
}

#[tokio::test]
async fn lua_opens_sends_and_closes() {
    let mut notebook = Notebook::start();
    notebook.run("comm = Comm.open('widget', {state = json.list()}, {version = '2'}, {'\\0'}) comm:send({n = 1}) comm:close() comm:close() return comm:is_open(), tostring(comm)").await.expect_result("false\tComm(widget, closed)");
    let sent = notebook.comms();
    assert_eq!(sent.len(), 3);
    assert_eq!(sent[0].event, CommEvent::Open { target: "widget".to_owned() });
    assert_eq!((&sent[0].data, &sent[0].buffers[0][..]), (&json!({"state": []}), &[0_u8][..]));
    assert_eq!((&sent[1].event, &sent[1].data), (&CommEvent::Message, &json!({"n": 1})));
    assert_eq!((&sent[2].event, &sent[2].data), (&CommEvent::Close, &json!({})));
    for (code, problem) in [
        ("comm:send{}", "the comm to `widget` is closed; open another one with Comm.open"),
        (
            "Comm.open('x', {f = print})",
            "`data.f` is a function, which JSON cannot hold; use a table, string, number, boolean or nil",
        ),
        ("Comm.open('x', {}, 5)", "the metadata of a comm's message is 5; expected a table with string keys"),
        ("Comm.open('x', {}, {}, {5})", "the buffers of a comm's message are 5; expected a list of strings"),
        ("Comm.open(5)", "bad argument #1 to 'open' (the name of a target expected, got number)"),
        ("Comm.register('x', 5)", "bad argument #2 to 'register' (a function or nil expected, got number)"),
    ] {
        assert!(notebook.run(code).await.failure().message.ends_with(problem), "{code}");
    }
    assert!(notebook.workspace.comms().await.is_empty(), "what could not be sent is not open");
}

#[tokio::test]
async fn there_is_an_end_to_open_comms() {
    let mut notebook = Notebook::start();
    notebook.run("for i = 1, 1024 do Comm.open('x') end").await.expect_nothing();
    assert!(notebook.run("Comm.open('x')").await.failure().message.contains("there are 1024 open comms"));
    notebook.run("Comm.register('y', function() end)").await;
    notebook.deliver(open("late", "y")).await.failure();
    assert_eq!(notebook.comms().last().map(|last| last.id.clone()), Some("late".to_owned()));
    assert!(matches!(notebook.run("return 1").await.outcome, Outcome::Ok { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_on_a_subshell_runs_while_the_main_shell_computes() {
    let mut main = Notebook::start();
    main.run("Comm.register('stop', function(comm, data) stop = data.why end)").await;
    let subshell = Notebook::of(main.workspace.subshell());
    let looping = main.run("print 'on' while not stop do end return stop");
    let opening = async {
        subshell
            .deliver(message("c", CommEvent::Open { target: "stop".to_owned() }, json!({"why": "told"}), Vec::new()))
            .await
    };
    let (looped, _) = tokio::join!(looping, opening);
    looped.expect_result("told");
}
