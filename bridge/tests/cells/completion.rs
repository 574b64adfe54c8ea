//! Completion reads tables as they are: it never runs a script's code.

use crate::notebook::Notebook;

async fn complete(notebook: &Notebook, code: &str) -> Vec<String> {
    let completions = notebook.workspace.inquirer().complete(code.to_owned(), code.len()).await.expect("an answer");
    assert_eq!(completions.end, code.len());
    completions.matches.into_iter().map(|one| one.text).collect()
}

#[tokio::test]
async fn globals_locals_fields_and_methods_are_found() {
    let mut notebook = Notebook::start();
    notebook
        .run("local kept_here = {inner = {deep = 1}} global_one = setmetatable({own = 1, ['not a name'] = 2, method = print}, {__index = {inherited = print}}) trap = setmetatable({safe = 1}, {__index = function() error('ran') end, __pairs = function() error('ran') end})")
        .await
        .expect_nothing();
    for (code, expected) in [
        ("pri", vec!["print"]),
        ("kept", vec!["kept_here"]),
        ("x = kept_here.inn", vec!["inner"]),
        ("kept_here.inner.", vec!["deep"]),
        ("global_one.", vec!["inherited", "method", "own"]),
        ("global_one:", vec!["inherited", "method"]),
        ("f(global_one.o", vec!["own"]),
        ("trap.", vec!["safe"]),
        ("trap.other.", vec![]),
        ("('x'):up", vec!["upper"]),
        ("'x':low", vec!["lower"]),
        ("LocalLLM.st", vec!["status", "stream"]),
        ("json.", vec!["decode", "encode", "list", "null"]),
        ("whi", vec!["while"]),
        ("x = 'pri", vec![]),
        ("-- pri", vec![]),
        ("f().", vec![]),
        ("12.", vec![]),
        ("nothing.at.all", vec![]),
    ] {
        assert_eq!(complete(&notebook, code).await, expected, "{code}");
    }
    let middle = notebook.workspace.inquirer().complete("pri + 1".to_owned(), 3).await.expect("an answer");
    assert_eq!((middle.start, middle.end, middle.matches.len()), (0, 3, 1));
    for cursor in 0..20 {
        notebook.workspace.inquirer().complete("é = 'é' .. prin".to_owned(), cursor).await.expect("an answer");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_cell_does_not_delay_it() {
    let mut notebook = Notebook::start();
    let cell = notebook.cell("while true do busy = true end");
    let cancel = tokio_util::sync::CancellationToken::new();
    let run = notebook.run_cell(cell, cancel.clone());
    let ask = async {
        while complete(&notebook, "bus").await.is_empty() {}
        cancel.cancel();
    };
    let (ran, ()) = tokio::join!(run, ask);
    ran.expect_interrupted();
}
