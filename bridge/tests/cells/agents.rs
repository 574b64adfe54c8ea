//! Agents that are forked, rewound, saved and loaded, with the bundled model. What it happens to say is compared with
//! itself.

use crate::notebook::Notebook;

const AGENT: &str = "agent = Agent.create{system_prompt = 'You are helpful.', max_tokens = 20}
    first = agent:complete('What is the capital of France?')";

#[tokio::test]
async fn a_fork_goes_on_by_itself() {
    let mut notebook = Notebook::start();
    notebook.run(AGENT).await.expect_nothing();
    notebook.run("other = agent:fork() return other ~= agent, #other:messages()").await.expect_result("true\t3");
    notebook
        .run("other:complete('And of Italy?') return #agent:messages(), #other:messages()")
        .await
        .expect_result("3\t5");
    // The same question gets the same answer from both, and the second finds all of the prompt but its last token known.
    notebook
        .run("third = agent:fork() a, b = agent:execute('And of Italy?'), third:execute('And of Italy?')
              return a.text == b.text, a.text == other:messages()[5].content, b.usage.prompt_tokens - b.usage.cached_tokens")
        .await
        .expect_result("true\ttrue\t1");
}

#[tokio::test]
async fn rewinding_forgets_turns() {
    let mut notebook = Notebook::start();
    notebook.run(AGENT).await.expect_nothing();
    notebook.run("agent:complete('Hi') agent:complete('Bye') return #agent:messages()").await.expect_result("7");
    notebook.run("agent:rewind() == agent, #agent:messages()").await.expect_result("true\t5");
    notebook.run("#agent:rewind(2):messages()").await.expect_result("1");
    notebook.run("agent:complete('What is the capital of France?') == first").await.expect_result("true");
    for (turns, told) in [
        ("2", "are 2; expected a whole number from 1 to 1"),
        ("0", "are 0; expected"),
        ("-1", "are -1; expected"),
        ("'x'", "are \"x\"; expected"),
        ("1.5", "are 1.5; expected"),
    ] {
        let ran = notebook.run(&format!("agent:rewind({turns})")).await;
        assert!(ran.failure().message.contains(told), "{}", ran.failure().message);
    }
    let ran = notebook.run("agent:reset():rewind()").await;
    assert!(ran.failure().message.contains("are 1; there is nothing to forget"), "{}", ran.failure().message);
}

#[tokio::test]
async fn a_saved_agent_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.json");
    let mut notebook = Notebook::start();
    notebook.run(AGENT).await.expect_nothing();
    notebook.run(&format!("path = '{}' return agent:save(path) == agent", path.display())).await.expect_result("true");
    notebook.run("second = agent:execute('And of Italy?')").await.expect_nothing();

    // In another workspace.
    let mut notebook = Notebook::start();
    notebook.run(&format!("path = '{}' agent = Agent.load(path)", path.display())).await.expect_nothing();
    notebook
        .run("local said = agent:messages() return #said, said[1].content, said[2].content")
        .await
        .expect_result("3\tYou are helpful.\tWhat is the capital of France?");
    let answer = notebook.run("agent:complete('And of Italy?')").await.result().to_owned();
    let mut notebook = Notebook::start();
    notebook.run(AGENT).await.expect_nothing();
    notebook.run("agent:complete('And of Italy?')").await.expect_result(&answer);

    // Its options came along, and may be changed.
    notebook
        .run(&format!("local short = Agent.load('{}', {{max_tokens = 2}}) return short:execute('And of Italy?').usage.completion_tokens", path.display()))
        .await
        .expect_result("2");
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["agent.json"]);
}

/// A saved agent's second turn in a workspace of its own, whose models are its own too: text and tokens that were known.
async fn second_turn(load: &str) -> (String, u32) {
    let mut notebook = Notebook::start();
    let code =
        format!("local turn = {load}:execute('And of Italy?') return turn.text .. '\\n' .. turn.usage.cached_tokens");
    let said = notebook.run(&code).await.result().to_owned();
    let (text, cached) = said.rsplit_once('\n').expect("two parts");
    (text.to_owned(), cached.parse().expect("a number"))
}

#[tokio::test]
async fn an_agent_saved_with_its_state_is_not_computed_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.json");
    let state = folder.path().join("agent.json.state");
    let mut notebook = Notebook::start();
    notebook.run(AGENT).await.expect_nothing();
    let save = format!("path = '{}' return agent:save(path, {{state = true}}) == agent", path.display());
    notebook.run(&save).await.expect_result("true");
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(json["state"]["bytes"], std::fs::metadata(&state).unwrap().len());
    let tokens = json["state"]["tokens"].as_u64().unwrap();
    #[cfg(unix)]
    for file in [&path, &state] {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }

    let load = format!("Agent.load('{}')", path.display());
    let cold = second_turn(&format!("Agent.load('{}', {{state = false}})", path.display())).await;
    let warm = second_turn(&load).await;
    assert_eq!((cold.1, &warm.0), (0, &cold.0));
    // The conversation, up to where the next turn's prompt leaves what was computed.
    assert!(u64::from(warm.1) + 5 >= tokens && u64::from(warm.1) <= tokens, "{warm:?} of {tokens}");

    // After the model left memory, in the same workspace.
    notebook.run("LocalLLM.unload('local/moonlet@candle')").await;
    notebook
        .run("local turn = Agent.load(path):execute('And of Italy?') return turn.text, turn.usage.cached_tokens")
        .await
        .expect_result(&format!("{}\t{}", warm.0, warm.1));

    // Without the file, or with a damaged one, it is told what helps; a save without a state takes the state away.
    let bytes = std::fs::read(&state).unwrap();
    let mut notebook = Notebook::start();
    for (bytes, told) in
        [(None, "No such file"), (Some(&bytes[..5000]), "it is damaged"), (Some(b"x"), "no state of a model")]
    {
        match bytes {
            None => std::fs::remove_file(&state).unwrap(),
            Some(bytes) => std::fs::write(&state, bytes).unwrap(),
        }
        let ran = notebook.run(&load).await;
        let failure = ran.failure();
        let helps = "`Agent.load(path, {state = false})` goes without it";
        assert!(failure.message.contains(told) && failure.message.contains(helps), "{}", failure.message);
        assert_eq!(failure.kind.as_deref(), Some("invalid_request"));
    }
    std::fs::write(&state, bytes).unwrap();
    assert_eq!(second_turn(&load).await, warm);
    notebook.run(&format!("Agent.load('{}', {{state = false}}):save('{0}')", path.display())).await;
    assert!(path.exists() && !state.exists());
    assert_eq!(second_turn(&load).await, cold);
}

#[tokio::test]
async fn states_that_cannot_be_written_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut notebook = Notebook::start();
    let path = folder.path().join("agent.json");
    for (code, kind, told) in [
        ("Agent.create():save(PATH, {state = true})", "invalid_request", "neither instructions nor a conversation"),
        (
            "Agent.create():save(PATH, {state = 1})",
            "invalid_request",
            "option `state` of agent:save is 1; expected true or false",
        ),
        ("Agent.create():save(PATH, {states = true})", "invalid_request", "did you mean `state`?"),
        (
            "Agent.create{system_prompt = 'x'}:save('/nowhere/x', {state = true})",
            "invalid_request",
            "cannot write the state `/nowhere/x.state`",
        ),
        (
            "Agent.create{system_prompt = 'x', model = 'local/no@candle'}:save(PATH, {state = true})",
            "model_not_found",
            "no model `no`",
        ),
        (
            "Agent.create{system_prompt = ('x '):rep(9000)}:save(PATH, {state = true})",
            "context_overflow",
            "the context holds",
        ),
    ] {
        let ran = notebook.run(&code.replace("PATH", &format!("'{}'", path.display()))).await;
        let failure = ran.failure();
        assert!(failure.message.contains(told), "{} for {code}", failure.message);
        assert_eq!(failure.kind.as_deref(), Some(kind), "{code}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
}

#[tokio::test]
async fn files_that_hold_no_agent_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.json");
    let mut notebook = Notebook::start();
    let mut refused = async |code: &str, told: &str| {
        let ran = notebook.run(code).await;
        let failure = ran.failure();
        assert!(failure.message.contains(told), "{} for {code}", failure.message);
        assert_eq!(failure.kind.as_deref(), Some("invalid_request"));
    };
    let load = format!("Agent.load('{}')", path.display());
    refused(&load, "No such file").await;
    for (text, told) in [
        ("hello", "expected a file that agent:save has written"),
        ("{\"format\": \"perilune agent\"}", "missing field"),
        (
            "{\"format\": \"perilune agent\", \"version\": 2, \"options\": {}, \"messages\": []}",
            "it is `perilune agent` version 2; expected `perilune agent` version 1",
        ),
    ] {
        std::fs::write(&path, text).unwrap();
        refused(&load, told).await;
    }
    refused("Agent.load(5)", "the path of Agent.load is 5; expected a string").await;
    refused("Agent.create():save('/nowhere/x')", "cannot save the agent to `/nowhere/x`").await;
    refused("Agent.create():save('')", "it names no file").await;
    refused(&format!("Agent.create():save('{}')", folder.path().display()), "cannot save the agent").await;
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["x.json"], "nothing is left beside it");
}
