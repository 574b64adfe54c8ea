//! Completion reads tables as they are: it never runs a script's code.

use std::sync::Arc;
use std::time::Instant;

use perilune_bridge::{Completion, CompletionKind};
use perilune_providers::{Config, Registry};

use crate::notebook::{Notebook, options};

async fn found(notebook: &Notebook, code: &str) -> Vec<Completion> {
    let inquirer = notebook.workspace.inquirer();
    let completions = inquirer.complete(code.to_owned(), code.len()).await.expect("an answer");
    assert_eq!(completions.end, code.len());
    completions.matches
}

async fn complete(notebook: &Notebook, code: &str) -> Vec<String> {
    found(notebook, code).await.into_iter().map(|one| one.text).collect()
}

/// Whatever runs this code fails the test that follows.
const TRAPS: &str = r#"
ran = 0
local function count() ran = ran + 1 error("user code ran") end
local all = {}
for _, event in ipairs { "index", "newindex", "call", "pairs", "len", "eq", "lt", "le", "concat", "tostring", "close", "unm" } do
  all["__" .. event] = count
end
all.__metatable = "locked"
trap = setmetatable({ safe = 1, method = count }, all)
local kept_trap = setmetatable({ inner = trap }, all)
below = setmetatable({}, { __index = trap })
setmetatable(_G, { __index = function(_, name) if name ~= "ran" then count() end end })
"#;

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
        ("kept_here['inner'].", vec!["deep"]),
        ("global_one.", vec!["inherited", "method", "own"]),
        ("global_one:", vec!["inherited", "method"]),
        ("f(global_one.o", vec!["own"]),
        ("trap.", vec!["safe"]),
        ("trap.other.", vec![]),
        ("('x'):up", vec!["upper"]),
        ("'x':low", vec!["lower"]),
        ("LocalLLM.st", vec!["status", "storage", "stream"]),
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
    let inquirer = notebook.workspace.inquirer();
    let middle = inquirer.complete("pri + 1".to_owned(), 3).await.expect("an answer");
    assert_eq!((middle.start, middle.end, middle.matches.len()), (0, 3, 1));
}

#[tokio::test]
async fn what_the_code_itself_declares_is_found() {
    let mut notebook = Notebook::start();
    notebook.run("local number = 1").await.expect_nothing();
    for (code, expected) in [
        ("local function measure(moon_a, moon_b) return moo", vec!["moon_a", "moon_b"]),
        ("for phase_index, phase_name in pairs(t) do print(pha", vec!["phase_index", "phase_name"]),
        ("local t = { alpha = 1, beta = function(x) end }\nt.", vec!["alpha", "beta"]),
        ("local t = { alpha = 1, beta = function(x) end }\nt:", vec!["beta"]),
        ("local text = 'moon'\ntext:upp", vec!["upper"]),
        ("local numeral = 2\nnum", vec!["numeral", "number"]),
        ("function orbit(a, b) end\norb", vec!["orbit"]),
        ("local orb", vec![]),
        ("if true then local only_here = 1 end only_", vec![]),
        // Broken code before the cursor changes nothing.
        ("x = = )) end 'open\nlocal tide = 1\ntid", vec!["tide"]),
    ] {
        assert_eq!(complete(&notebook, code).await, expected, "{code}");
    }
    let orbit = found(&notebook, "function orbit(a, b) end\norb").await.remove(0);
    assert_eq!((orbit.kind, orbit.signature.as_str()), (CompletionKind::Function, "orbit(a, b)"));
}

#[tokio::test]
async fn results_of_our_functions_are_known_before_they_are_called() {
    let mut notebook = Notebook::start();
    notebook.run("worker = Agent.create() maker = Agent.builder()").await.expect_nothing();
    for (code, expected) in [
        ("worker:exe", vec!["execute"]),
        ("worker:mess", vec!["messages"]),
        ("maker:temp", vec!["temperature"]),
        ("Agent.builder():model('x'):temp", vec!["temperature"]),
        ("Agent.builder():build():exe", vec!["execute"]),
        ("local a = Agent.create { model = 'x' }\na:str", vec!["stream"]),
        ("worker:execute('x').usage.total", vec!["total_tokens"]),
        ("local answer = LocalLLM.chat('x')\nanswer.fin", vec!["finish_reason"]),
        ("LocalLLM.list()[1].spec", vec!["specifier"]),
        ("LocalLLM.generate('x'):upp", vec!["upper"]),
        ("io.stdout:wri", vec!["write"]),
        ("io.open('x'):see", vec!["seek"]),
    ] {
        assert_eq!(complete(&notebook, code).await, expected, "{code}");
    }
}

#[tokio::test]
async fn options_are_offered_where_they_are_given() {
    let mut notebook = Notebook::start();
    notebook.run("worker = Agent.create()").await.expect_nothing();
    for (code, expected) in [
        ("LocalLLM.generate('x', { te", vec!["temperature"]),
        ("LocalLLM.generate('x', { temperature = 1, te", vec![]),
        ("LocalLLM.generate('x', { stop = { 'a' }, te", vec!["temperature"]),
        ("Agent.create { model = 'x', sys", vec!["system_prompt"]),
        ("worker:execute { pro", vec!["prompt"]),
        ("LocalLLM.chat({ { ro", vec!["role"]),
        ("json.encode({}, { in", vec!["indent"]),
        ("LocalLLM.generate('x', { temperature = tos", vec!["tostring"]),
        ("LocalLLM.chat({ { role = \"as", vec!["assistant"]),
        ("collectgarbage('st", vec!["step", "stop"]),
    ] {
        assert_eq!(complete(&notebook, code).await, expected, "{code}");
    }
    let option = found(&notebook, "LocalLLM.generate('x', { temp").await.remove(0);
    assert_eq!((option.kind, option.signature.as_str()), (CompletionKind::Option, "temperature?: number"));
}

#[tokio::test]
async fn models_and_modules_are_found_within_strings() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir_all(folder.path().join("sky/deep")).expect("folders");
    for file in ["moon.lua", "sky/init.lua", "sky/star.lua", "sky/deep/init.lua", "other.txt"] {
        std::fs::write(folder.path().join(file), "return 1").expect("a file");
    }
    let mut options = options();
    options.module_directory = Some(folder.path().to_owned());
    options.modules.insert("travelled".to_owned(), "return 1".to_owned());
    let notebook = Notebook::with(options);
    for (code, expected) in [
        ("LocalLLM.load('loc", vec!["local/moonlet@candle"]),
        ("LocalLLM.load \"", vec!["local/moonlet@candle"]),
        ("Agent.create { model = [[local/m", vec!["local/moonlet@candle"]),
        ("Agent.builder():model('l", vec!["local/moonlet@candle"]),
        ("LocalLLM.status('ca", vec!["candle"]),
        ("require 'moo", vec!["moon"]),
        ("require('sky.", vec!["sky.deep", "sky.star"]),
        ("local x = require \"trav", vec!["travelled"]),
        ("require 'sky", vec!["sky"]),
        ("print('loc", vec![]),
        ("-- LocalLLM.load('loc", vec![]),
    ] {
        assert_eq!(complete(&notebook, code).await, expected, "{code}");
    }
    let loaded = Notebook::start().run("return #LocalLLM.status('candle').loaded").await.result().to_owned();
    assert_eq!(loaded, "0");
}

#[tokio::test]
async fn an_instance_that_cannot_list_its_models_delays_nothing() {
    let config = "[providers.candle]\ntype = \"candle\"\nmodel_directory = \"/nowhere/at/all\"\n";
    let config = Config::from_toml(config, "test").expect("a configuration");
    let mut options = options();
    options.registry = Arc::new(Registry::new(&config).expect("a registry"));
    let notebook = Notebook::with(options);
    let asked = Instant::now();
    assert!(complete(&notebook, "LocalLLM.load('local/").await.contains(&"local/moonlet@candle".to_owned()));
    assert!(asked.elapsed().as_millis() < 1_000);
}

#[tokio::test]
async fn a_huge_table_is_offered_in_part() {
    let mut notebook = Notebook::start();
    notebook.run("huge = {} for i = 1, 1000000 do huge['k' .. i] = i end").await.expect_nothing();
    let asked = Instant::now();
    let matches = complete(&notebook, "huge.k").await;
    assert_eq!(matches.len(), 1_000);
    assert!(asked.elapsed().as_millis() < 1_000, "{:?}", asked.elapsed());
}

#[tokio::test]
async fn code_made_to_be_hard_is_answered_in_time() {
    let notebook = Notebook::start();
    let inquirer = notebook.workspace.inquirer();
    for code in [
        "(".repeat(300_000) + "x" + &")".repeat(300_000) + ".",
        "local a = function() ".repeat(100_000) + "a.",
        "t = { a = t.a.a.a.a.a.a.a.a }\n".repeat(1_000) + "t.a.a.a.",
        "local t = t.a.a.a\n".repeat(10_000) + "t.",
        "f(f{f[".repeat(200_000),
        "x = 1 ".repeat(200_000) + "x",
        (0..100_000).map(|number| format!("v{number} = 1 ")).collect::<String>() + "v",
        "[==[".repeat(100_000),
        "a.".repeat(300_000),
        "f()".repeat(300_000) + ":",
    ] {
        for _ in 0..2 {
            let cursor = code.len();
            inquirer.complete(code.clone(), cursor).await.expect("an answer in time");
            inquirer.inspect(code.clone(), cursor - 1, perilune_bridge::Detail::Full).await.expect("an answer in time");
        }
    }
}

#[tokio::test]
async fn no_user_code_runs_wherever_the_cursor_is() {
    let mut notebook = Notebook::start();
    notebook.run(TRAPS).await.expect_nothing();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts");
    let mut codes: Vec<String> = std::fs::read_dir(folder)
        .expect("the scripts")
        .filter_map(|entry| std::fs::read_to_string(entry.expect("an entry").path()).ok())
        .collect();
    assert!(codes.len() >= 5);
    for code in
        ["trap.", "trap:m", "kept_trap.inner.safe", "trap.x.y", "below.safe.z", "trap['safe'].x", "trap()(", "trap{"]
    {
        codes.push(code.to_owned());
        codes.push(format!("local é = '🌙' .. trap.safe print({code}"));
    }
    let inquirer = notebook.workspace.inquirer();
    for code in codes {
        for cursor in (0..=code.len()).step_by(if code.len() > 200 { 3 } else { 1 }) {
            let completions = inquirer.complete(code.clone(), cursor).await.expect("an answer");
            assert!(completions.start <= completions.end && completions.end <= code.len());
            assert!(code.is_char_boundary(completions.start) && code.is_char_boundary(completions.end));
            inquirer.inspect(code.clone(), cursor, perilune_bridge::Detail::Full).await.expect("an answer");
        }
    }
    notebook.run("return rawget(_G, 'ran')").await.expect_result("0");
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
