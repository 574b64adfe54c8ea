//! What a script's error says: place, message, kind and the way there.

use crate::notebook::Notebook;

#[tokio::test]
async fn an_error_has_its_place_and_its_way() {
    let mut notebook = Notebook::start();
    notebook.keep_locals = false;
    let code = "local function inner()\n  local t = nil\n  return t.x\nend\nfunction outer()\n  inner()\nend\nlocal o = {m = function(self) outer() end}\no:m()";
    let ran = notebook.run(code).await;
    ran.expect_error("cell 1:3: attempt to index a nil value (local 't')");
    assert_eq!(ran.failure().name, "LuaError");
    assert_eq!(
        ran.failure().traceback,
        [
            "cell 1:3: in upvalue 'inner'",
            "cell 1:6: in function 'outer'",
            "cell 1:8: in method 'm'",
            "cell 1:9: in main chunk",
        ]
    );
    let ran = notebook.run("x = = 1").await;
    ran.expect_error("cell 2:1: unexpected symbol near '='");
    assert_eq!(ran.failure().name, "SyntaxError");
    notebook.run("error('plain', 0)").await.expect_error("plain");
    notebook.run("error({})").await.expect_error("(error object is a table value)");
    notebook.run("error(setmetatable({}, {__tostring = function() return 'mine' end}))").await.expect_error("mine");
    notebook.run("error()").await.expect_error("(error object is a nil value)");
    notebook.run("error(setmetatable({}, {__tostring = function() error('worse') end}))").await.failure();
    notebook.run("nowhere()").await.expect_error("cell 8:1: attempt to call a nil value (global 'nowhere')");
    notebook
        .run("string.rep()")
        .await
        .expect_error("cell 9:1: bad argument #1 to 'rep' (string expected, got no value)");
    notebook.run("error({kind = 'mine'})").await.failure().kind.as_deref().expect("a kind");
}

#[tokio::test]
async fn an_error_in_a_coroutine_says_where_in_the_coroutine() {
    let mut notebook = Notebook::start();
    let ran = notebook
        .run("function fail() error('inside') end\nlocal f = coroutine.wrap(function()\n  fail()\nend)\nf()")
        .await;
    ran.expect_error("cell 1:5: cell 1:1: inside");
    assert_eq!(
        ran.failure().traceback,
        ["cell 1:1: in function 'fail'", "cell 1:3: in function <cell 1:2>", "cell 1:5: in main chunk"]
    );
    notebook.run("coroutine.resume(coroutine.create(function() error('x', 0) end))").await.expect_result("false\tx");
}

#[tokio::test]
async fn deep_recursion_is_an_error_and_no_more() {
    let mut notebook = Notebook::start();
    let ran = notebook.run("local function f() return 1 + f() end f()").await;
    assert!(ran.failure().message.contains("stack overflow"), "{:?}", ran.failure());
    assert!((20..=31).contains(&ran.failure().traceback.len()), "{:?}", ran.failure());
    let ran = notebook.run("local function f() return coroutine.wrap(f)() end f()").await;
    assert!(ran.failure().message.contains("stack overflow"), "{:?}", ran.failure());
    let ran = notebook
        .run("local t = setmetatable({}, {}) getmetatable(t).__index = function(_, k) return t[k] end return t.x")
        .await;
    assert!(ran.failure().message.contains("overflow"), "{:?}", ran.failure());
    notebook.run("1 + 1").await.expect_result("2");
}

#[tokio::test]
async fn coroutines_are_those_of_lua() {
    let mut notebook = Notebook::start();
    for (code, result) in [
        ("coroutine.isyieldable(), select(2, coroutine.running())", "false\ttrue"),
        (
            "coroutine.wrap(function() return coroutine.isyieldable(), select(2, coroutine.running()) end)()",
            "true\tfalse",
        ),
        ("pcall(coroutine.yield)", "false\tcell 3:1: attempt to yield from outside a coroutine"),
        (
            "coroutine.resume(coroutine.create(function(...) return select('#', ...), ... end), 1, nil, 3)",
            "true\t3\t1\tnil\t3",
        ),
        (
            "local co = coroutine.create(function(a) local b = coroutine.yield(a) return b end) return coroutine.resume(co, 1), select(2, coroutine.resume(co, 2)), coroutine.resume(co)",
            "true\t2\tfalse\tcannot resume dead coroutine",
        ),
        (
            "local co = coroutine.create(function() local c <close> = setmetatable({}, {__close = function() closed = true end}) coroutine.yield() end) coroutine.resume(co) return coroutine.close(co), closed, coroutine.status(co)",
            "true\ttrue\tdead",
        ),
        ("pcall(coroutine.wrap(function() error({code = 5}) end))", "false\t{code = 5}"),
        ("local w = coroutine.wrap(function() end) w() return pcall(w)", "false\tcannot resume dead coroutine"),
        ("pcall(coroutine.wrap, 5)", "false\tcell 9:1: bad argument #1 to 'wrap' (function expected)"),
        (
            "local s = 0 for v in coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end) do s = s + v end return s",
            "6",
        ),
        ("xpcall(error, function(e) return 'handled ' .. e end, 'x')", "false\thandled x"),
        ("pcall(xpcall, print)", "false\tcell 12:1: bad argument #2 to 'xpcall' (function expected, got no value)"),
    ] {
        notebook.run(code).await.expect_result(result);
    }
}
