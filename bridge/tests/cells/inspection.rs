//! What an editor is told about the name at the cursor.

use perilune_bridge::{Detail, Outcome, Rich};

use crate::notebook::Notebook;

async fn inspect(notebook: &Notebook, code: &str, detail: Detail) -> Option<String> {
    let cursor = code.find('|').unwrap_or(code.len());
    let known = notebook.workspace.inquirer().inspect(code.replacen('|', "", 1), cursor, detail).await;
    let rich: Option<Rich> = known.expect("an answer");
    rich.map(|rich| {
        assert!(rich.data["text/markdown"].as_str().expect("markdown").contains("```"), "{rich:?}");
        rich.text().expect("a text form").to_owned()
    })
}

async fn brief(notebook: &Notebook, code: &str) -> String {
    inspect(notebook, code, Detail::Brief).await.unwrap_or_else(|| panic!("nothing is known: {code}"))
}

#[tokio::test]
async fn what_is_documented_is_told_wherever_it_is_named() {
    let mut notebook = Notebook::start();
    notebook.run("worker = Agent.create() ask = LocalLLM.generate").await.expect_nothing();
    for (code, expected) in [
        ("print|", "print(...: any)"),
        ("|print(1)", "print(...: any)"),
        ("print(|", "print(...: any)"),
        ("print(1, x + |)", "print(...: any)"),
        ("print('a |text')", "print(...: any)"),
        ("LocalLLM.gen|erate", "LocalLLM.generate(prompt: string"),
        ("x = LocalLLM.generate('x', { |", "LocalLLM.generate(prompt: string"),
        ("LocalLLM.generate('x', { temper|ature = 1 })", "temperature?: number"),
        ("ask|", "LocalLLM.generate(prompt: string"),
        ("worker:exec|ute('x')", "agent:execute(request: string|Agent.Request)"),
        ("agent:execute|", "agent:execute(request"),
        ("Agent.builder():temper|ature(1)", "builder:temperature(value: number): Agent.Builder"),
        ("('x'):up|per()", "string.upper(text: string)"),
        ("require '|", "require(name: string)"),
        ("Loc|alLLM.x", "LocalLLM"),
        ("worker|", "worker: Agent"),
        ("LocalLLM.chat('x').us|age", "LocalLLM.chat('x').usage: LocalLLM.Usage"),
    ] {
        let told = brief(&notebook, code).await;
        assert!(told.starts_with(expected), "{code}: {told}");
    }
    for nothing in ["nothing|", "1 + |", "|", "-- print|", "f().x|", "x = 'a|'"] {
        assert_eq!(inspect(&notebook, nothing, Detail::Brief).await, None, "{nothing}");
    }
}

#[tokio::test]
async fn a_function_of_the_users_is_told_by_its_source() {
    let mut notebook = Notebook::start();
    notebook
        .run("local x = 1\n\n-- Says hello.\n-- Politely.\nfunction greet(name, ...)\n  return 'hello ' .. name\nend")
        .await
        .expect_nothing();
    assert_eq!(
        brief(&notebook, "greet(|").await,
        "greet(name, ...)\n\nSays hello.\nPolitely.\n\nDefined in cell 1, line 5."
    );
    let full = inspect(&notebook, "greet|", Detail::Full).await.expect("known");
    assert!(full.ends_with("function greet(name, ...)\n  return 'hello ' .. name\nend"), "{full}");
    // Redefined by a cell: the new one.
    notebook.run("function greet() end").await.expect_nothing();
    assert_eq!(brief(&notebook, "greet").await, "greet()\n\nDefined in cell 2, line 1.");
    // Of code that has not run.
    let told = brief(&notebook, "local function wane(phase, rate) end\nwane|(1)").await;
    assert_eq!(told, "wane(phase, rate)\n\nDeclared in this code, line 1.");
}

#[tokio::test]
async fn values_are_told_by_type_and_a_short_text() {
    let mut notebook = Notebook::start();
    notebook
        .run("local kept = 7 words = 'a\"b' t = { phase = 'new', f = function(a) end, sub = { 1 } } object = setmetatable({}, { __name = 'Moon', __tostring = error })")
        .await
        .expect_nothing();
    assert_eq!(brief(&notebook, "kept").await, "kept: integer\n\n7");
    assert_eq!(brief(&notebook, "words").await, "words: string\n\n\"a\\\"b\"");
    assert_eq!(brief(&notebook, "object").await, "object: Moon\n\n{}");
    let told = brief(&notebook, "t").await;
    for line in ["t: table", "  phase = \"new\",", "  f = function f(a),", "  sub = {...},"] {
        assert!(told.contains(line), "{told}");
    }
    notebook.run("huge = {} for i = 1, 1000000 do huge[i] = i end").await.expect_nothing();
    let told = brief(&notebook, "huge").await;
    assert!(told.contains("(10000 entries or more)") && told.len() < 1_000, "{told}");
}

#[tokio::test]
async fn a_question_in_a_cell_opens_the_pager() {
    let mut notebook = Notebook::start();
    for (code, expected) in
        [("print?", "print(...: any)"), ("?Agent.create", "Agent.create("), ("agent:execute??", "agent:execute(")]
    {
        notebook.run(code).await.expect_nothing();
        let pages = notebook.client.pages();
        assert_eq!(pages.len(), 1, "{code}");
        assert!(pages[0].text().expect("text").starts_with(expected), "{code}: {pages:?}");
    }
    let ran = notebook.run("prin?").await;
    assert!(matches!(ran.outcome, Outcome::Ok { .. }) && ran.stderr.contains("did you mean `print`"), "{}", ran.stderr);
    assert!(notebook.client.pages().is_empty());
    // A script is no notebook.
    notebook.keep_locals = false;
    assert_eq!(notebook.run("print?").await.failure().name, "SyntaxError");
}
