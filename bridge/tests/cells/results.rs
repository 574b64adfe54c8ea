//! What a cell's value looks like.

use perilune_bridge::{ExpressionResult, Rich};

use crate::notebook::{Notebook, options};

#[tokio::test]
async fn an_expression_is_the_result() {
    let mut notebook = Notebook::start();
    for (code, result) in [
        ("1+1", "2"),
        ("1/2", "0.5"),
        ("2^53", "9.007199254741e+15"),
        ("'a' .. \"b\"", "ab"),
        ("-- first\n  6*7 -- last", "42"),
        ("nil, 1", "nil\t1"),
        ("true", "true"),
        ("return 5", "5"),
        ("local x = 1; return x + 1", "2"),
        ("'line\\nline'", "line\nline"),
        ("{}", "{}"),
        (
            "{1, 'two', x = 'y', ['a b'] = {1.5}, [true] = false}",
            r#"{1, "two", ["a b"] = {1.5}, x = "y", [true] = false}"#,
        ),
        ("{{{{{{{}}}}}}}", "{{{{{{...}}}}}}"),
        ("{1, nil, 3}", "{1, [3] = 3}"),
        ("{'a\\n\\0\"'}", r#"{"a\n\x00\""}"#),
        ("{print, coroutine.create(print)}", "{<function>, <thread>}"),
        ("setmetatable({}, {__tostring = function() return 'mine' end})", "mine"),
    ] {
        notebook.run(code).await.expect_result(result);
    }
    for code in ["", "nil", "local x = 1", "x = 1", "f = function() end f()", "-- nothing"] {
        notebook.run(code).await.expect_nothing();
    }
    notebook.run("t = {1}; t.self = t; return t").await.expect_result("{1, self = <cycle>}");
    let long = notebook.run("t = {} for i = 1, 1000 do t[i] = i end return t").await;
    let text = long.result();
    assert!(text.ends_with("100,\n  ... (900 more)\n}"), "{text}");
    notebook
        .run("{first = ('x'):rep(30), second = ('y'):rep(30), third = {1, 2}}")
        .await
        .expect_result("{\n  first = \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\",\n  second = \"yyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\",\n  third = {1, 2}\n}");
}

#[tokio::test]
async fn user_expressions_are_evaluated_after_the_cell() {
    let mut notebook = Notebook::start();
    let mut cell = notebook.cell("local x = 20");
    cell.user_expressions.insert("twice".into(), "x * 2".into());
    cell.user_expressions.insert("wrong".into(), "nothing.here".into());
    cell.user_expressions.insert("not one".into(), "x = 1".into());
    let ran = notebook.run_cell(cell, Default::default()).await;
    assert_eq!(ran.expect_expression("twice"), &ExpressionResult::Ok(Rich::plain("40")));
    for name in ["wrong", "not one"] {
        assert!(matches!(ran.expect_expression(name), ExpressionResult::Error(_)));
    }
}

#[tokio::test]
async fn a_script_has_its_arguments() {
    let mut options = options();
    options.script = Some("dir/hello.lua".into());
    options.arguments = vec!["a".into(), "b c".into()];
    let mut notebook = Notebook::with(options);
    notebook.keep_locals = false;
    notebook
        .run("#!/usr/bin/env perilune\nprint(#arg, arg[0], arg[1], ...)")
        .await
        .expect_stdout("2\tdir/hello.lua\ta\ta\tb c\n");
    notebook.run("#!x\nlocal a = ...; error('e')").await.expect_error("cell 2:2: e");
}

#[tokio::test]
async fn modules_are_found_where_the_script_lies() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("deep")).expect("a folder");
    std::fs::write(folder.path().join("near.lua"), "return {name = 'near', args = {...}}").expect("written");
    std::fs::write(folder.path().join("deep/init.lua"), "return 'deep'").expect("written");
    std::fs::write(folder.path().join("broken.lua"), "return (").expect("written");
    std::fs::write(folder.path().join("failing.lua"), "\nerror('no luck')").expect("written");
    let mut options = options();
    options.module_directory = Some(folder.path().to_owned());
    options.modules.insert("far.away".into(), "count = (count or 0) + 1".into());
    options.modules.insert("near2".into(), "return require('near').name .. '2'".into());
    let mut notebook = Notebook::with(options);
    notebook
        .run("require('near').name, require 'near'.args, (require 'deep')")
        .await
        .expect_result("near\t{\"near\", \"near.lua\"}\tdeep");
    notebook
        .run("require 'far.away', require 'far.away', count, (require 'near2')")
        .await
        .expect_result("true\ttrue\t1\tnear2");
    notebook
        .run("require 'broken'")
        .await
        .expect_error("cell 3:1: error loading module 'broken':\n\tbroken.lua:1: unexpected symbol near <eof>");
    let failing = notebook.run("require 'failing'").await;
    failing.expect_error("failing.lua:2: no luck");
    assert_eq!(failing.failure().traceback, ["failing.lua:2: in main chunk", "cell 4:1: in main chunk"]);
    let missing = notebook.run("pcall(require, 'missing')").await;
    let text = missing.result();
    for place in ["module 'missing' not found", "among those that travelled", "missing.lua'", "missing/init.lua'"] {
        assert!(text.contains(place), "{text}");
    }
}

#[tokio::test]
async fn the_file_that_write_returns_is_not_shown() {
    let mut notebook = Notebook::start();
    notebook.run("io.write('hi')").await.expect_nothing().expect_stdout("hi");
    notebook.run("io.stderr:write('oh'):write('!')").await.expect_nothing();
    notebook.run("io.tmpfile():write('x')").await.expect_nothing();
}

#[tokio::test]
async fn a_module_that_requires_itself_is_an_error() {
    let modules = [
        ("a", "local b = require('b') return b"),
        ("b", "local a = require('a') return a"),
        ("fails", "error('on purpose')"),
        ("fine", "loads = (loads or 0) + 1 return {}"),
    ];
    let modules = modules.into_iter().map(|(name, source)| (name.to_owned(), source.to_owned())).collect();
    let mut notebook = Notebook::with(perilune_bridge::WorkspaceOptions { modules, ..options() });
    notebook.run("require('a')").await.expect_error("b.lua:1: loop or previous error loading module 'a'");
    notebook.run("require('a')").await.expect_error("b.lua:1: loop or previous error loading module 'a'");
    notebook
        .run("local first = pcall(require, 'fails') return first, select(2, pcall(require, 'fails'))")
        .await
        .expect_result("false\tfails.lua:1: on purpose");
    notebook.run("return require('fine') == require('fine'), loads").await.expect_result("true\t1");
}

#[tokio::test]
async fn what_is_shown_already_is_not_the_result_too() {
    let mut notebook = Notebook::start();
    for code in [
        "display.progress(10):update(4)",
        "p = display.progress(10) return p",
        "p:advance()",
        "p:finish()",
        "h = display('a') return h",
        "h:update('b')",
    ] {
        notebook.run(code).await.expect_nothing();
    }
    notebook.run("h").await.expect_result("b");
}

#[tokio::test]
async fn all_of_a_nested_table_together_is_bounded_too() {
    let mut notebook = Notebook::start();
    let deep = "local function deep(n) local t = {} for i = 1, 60 do t[i] = n == 0 and i or deep(n - 1) end return t end return deep(2)";
    let ran = notebook.run(deep).await;
    let text = ran.result();
    assert!(text.len() < 200_000 && text.contains("more)"), "{} bytes", text.len());
    let html = ran.rich().data["text/html"].as_str().expect("a tree");
    assert!(html.len() < 500_000 && html.contains("more)"), "{} bytes", html.len());
}
