//! The documentation and the interpreter agree, both ways.

use std::collections::BTreeSet;

use perilune_bridge::{EntryKind, Outcome, documentation};

use crate::notebook::Notebook;

/// Names every function that a script can reach: `path` for those of tables, `object:method` for
/// those of objects. A function with two names counts by the first, `display.html` before `ilua.display.html`.
const REACHABLE: &str = r#"
local names, seen = {}, { [package.loaded] = true, [package.preload] = true, [package.searchers] = true }
local function is_object(value)
  local metatable = debug.getmetatable(value)
  return metatable and type(rawget(metatable, "__index")) == "table"
end
local function walk(prefix, owner)
  local keys = {}
  for key in next, owner do
    if type(key) == "string" and key:sub(1, 2) ~= "__" then keys[#keys + 1] = key end
  end
  table.sort(keys)
  for _, key in ipairs(keys) do
    local value = rawget(owner, key)
    if type(value) == "function" and not seen[value] then
      seen[value] = true
      names[#names + 1] = prefix .. key
    elseif type(value) == "table" and not seen[value] and not is_object(value) then
      seen[value] = true
      walk(prefix .. key .. ".", value)
    end
  end
end
seen[_G] = true
walk("", _G)
for name, object in pairs(OBJECTS) do
  walk(name .. ":", debug.getmetatable(object).__index)
end
return table.concat(names, "\n")
"#;

/// The objects that have methods, by the name under which these are documented.
const OBJECTS: &str = "{ agent = Agent.create(), file = io.stdout, handle = display(1), \
    progress = display.progress(1), comm = Comm.open('x') }";

async fn reachable() -> BTreeSet<String> {
    let mut notebook = Notebook::start();
    let code = REACHABLE.replace("OBJECTS", OBJECTS);
    notebook.run(&code).await.result().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn every_function_is_documented_and_every_documented_one_exists() {
    let reachable = reachable().await;
    let documented: BTreeSet<String> = documentation()
        .entries()
        .iter()
        .filter(|entry| entry.is_function() && !entry.name.starts_with("builder:"))
        .map(|entry| entry.name.clone())
        .collect();
    let missing: Vec<_> = reachable.difference(&documented).collect();
    assert!(missing.is_empty(), "not in bridge/documentation: {missing:?}");
    let gone: Vec<_> = documented.difference(&reachable).collect();
    assert!(gone.is_empty(), "documented, but not there: {gone:?}");
}

#[tokio::test]
async fn documented_values_and_tables_exist() {
    let mut notebook = Notebook::start();
    let all = documentation().entries().iter();
    for entry in all.filter(|entry| matches!(entry.kind, EntryKind::Table | EntryKind::Value)) {
        if entry.name != "arg" {
            notebook.run(&format!("return {} ~= nil", entry.name)).await.expect_result("true");
        }
    }
    for entry in documentation().entries().iter().filter(|entry| entry.name.starts_with("builder:")) {
        let code = format!("return type(Agent.builder().{})", entry.last_name());
        notebook.run(&code).await.expect_result("function");
    }
}

#[tokio::test]
async fn every_documented_option_is_understood() {
    let mut notebook = Notebook::start();
    let saved = "agent = Agent.create() nonsense = print saved = os.tmpname() agent:save(saved)";
    notebook.run(saved).await.expect_nothing();
    for (function, call) in [
        ("LocalLLM.generate", "LocalLLM.generate('x', { OPTION = nonsense })"),
        ("LocalLLM.chat", "LocalLLM.chat('x', { OPTION = nonsense })"),
        ("LocalLLM.stream", "LocalLLM.stream('x', { OPTION = nonsense })"),
        ("Agent.create", "Agent.create { OPTION = nonsense }"),
        ("Agent.load", "Agent.load(saved, { OPTION = nonsense })"),
        ("agent:save", "agent:save(saved, { OPTION = nonsense })"),
        ("agent:execute", "agent:execute { prompt = 'x', OPTION = nonsense }"),
        ("LocalLLM.load", "LocalLLM.load(nil, { OPTION = nonsense })"),
        ("json.encode", "json.encode({}, { OPTION = nonsense })"),
        ("display.json", "display.json({}, { OPTION = nonsense })"),
        ("display.png", "display.png('x', { OPTION = nonsense })"),
        ("display.progress", "display.progress(1, { OPTION = nonsense })"),
        ("display.table", "display.table({}, { OPTION = nonsense })"),
    ] {
        let options = documentation().options(function);
        assert!(!options.is_empty(), "{function}");
        for option in options {
            // A wrong value is told, so the name was known.
            let ran = notebook.run(&call.replace("OPTION", &option.name)).await;
            let message = &ran.failure().message;
            assert!(message.contains(&option.name) && message.contains("expected"), "{function}: {message}");
            assert!(!message.contains("unknown"), "{function}: {message}");
        }
    }
    notebook.run("os.remove(saved)").await;
}

#[tokio::test]
async fn every_example_runs() {
    let mut notebook = Notebook::start();
    for entry in documentation().entries().iter().filter(|entry| !entry.example.is_empty()) {
        if entry.kind == EntryKind::Magic {
            continue;
        }
        notebook.answers(&["first line", "second line"]);
        let ran = notebook.run(&entry.example).await;
        let good = matches!(ran.outcome, Outcome::Ok { .. } | Outcome::Exit(0));
        assert!(good, "the example of {}: {:?}", entry.name, ran.outcome);
    }
}
