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
