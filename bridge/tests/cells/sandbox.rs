//! What would let a script break the interpreter is out of its reach.

use crate::notebook::Notebook;

#[tokio::test]
async fn the_hook_belongs_to_the_interpreter() {
    let mut notebook = Notebook::start();
    assert!(notebook.run("debug.sethook()").await.failure().message.contains("not available"));
    notebook
        .run("debug.gethook(), debug.setlocal, debug.getregistry, package.loadlib")
        .await
        .expect_result("nil\tnil\tnil\tnil");
    notebook.run("require('debug') == debug").await.expect_result("true");
}

#[tokio::test]
async fn debug_shows_the_script_and_nothing_below_it() {
    let mut notebook = Notebook::start();
    notebook
        .run("local u = 5 function f(a) local b = a + u local name, value = debug.getlocal(1, 2) return name, value end return f(1)")
        .await
        .expect_result("b\t6");
    notebook.run("local name, value = debug.getupvalue(f, 1) return name, value").await.expect_result("u\t5");
    notebook.run("debug.setupvalue(f, 1, 7) return f(1)").await.expect_result("b\t8");
    notebook.run("local co = coroutine.create(function() local inside = 1 coroutine.yield() end) coroutine.resume(co) return debug.getlocal(co, 2, 1)").await.expect_result("inside\t1");
    for code in [
        "debug.getupvalue(print, 1)",
        "debug.getupvalue(string.rep, 1)",
        "debug.getupvalue(debug.getupvalue, 1)",
        "debug.setupvalue(coroutine.wrap, 1, nil)",
        "debug.setmetatable(5, {})",
        "debug.setmetatable('x', {})",
        "debug.getlocal(100, 1)",
    ] {
        notebook.run(code).await.failure();
    }
    // No frame of the prelude shows its locals, from wherever a script's code is called.
    notebook
        .run("seen = 0 package.searchers[1] = function() for level = 1, 20 do if debug.getinfo(level, 'S') then for i = 1, 20 do local name, value = debug.getlocal(level, i) if name == 'searchers' then seen = seen + 1 end end end end end pcall(require, 'x') return seen")
        .await
        .expect_result("0");
}

#[tokio::test]
async fn only_text_is_loaded() {
    let mut notebook = Notebook::start();
    notebook
        .run("load(string.dump(function() end))")
        .await
        .expect_result("nil\tattempt to load a binary chunk (mode is 't')");
    notebook
        .run("load(string.dump(function() end), 'x', 'bt')")
        .await
        .expect_result("nil\tattempt to load a binary chunk (mode is 't')");
    notebook.run("load('return ...', 'x', 't', {})(5), load('return x', 'y', nil, {x = 6})(), load('return print')() == print").await.expect_result("5\t6\ttrue");
    notebook.run("load('x =')").await.expect_result("nil\t[string \"x =\"]:1: unexpected symbol near <eof>");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().display();
    notebook
        .run(&format!("path = '{path}/' local f = io.open(path .. 'binary.lua', 'wb') f:write(string.dump(function() end)) f:close() f = io.open(path .. 'text.lua', 'w') f:write('return 8') f:close() package.path = path .. '?.lua'"))
        .await
        .expect_nothing();
    notebook
        .run("dofile(path .. 'text.lua'), loadfile(path .. 'text.lua')(), (require 'text')")
        .await
        .expect_result("8\t8\t8");
    for code in ["dofile(path .. 'binary.lua')", "require 'binary'", "assert(loadfile(path .. 'binary.lua'))"] {
        assert!(notebook.run(code).await.failure().message.contains("attempt to load a binary chunk"), "{code}");
    }
}
