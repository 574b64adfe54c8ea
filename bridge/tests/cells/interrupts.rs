//! An interrupt reaches whatever Lua code does, at once, and leaves the variables as they were.

use std::time::Duration;

use perilune_bridge::Outcome;
use tokio_util::sync::CancellationToken;

use crate::notebook::Notebook;

/// The bound; the aim is a tenth of it.
const BOUND: Duration = Duration::from_millis(200);

/// Cells that never end by themselves; each prints `on` first.
const ENDLESS: &[(&str, &str)] = &[
    ("a tight loop", "print 'on' while true do n = (n or 0) + 1 end"),
    ("the tightest loop", "print 'on' while true do end"),
    ("a loop around pcall", "print 'on' while true do pcall(error) n = (n or 0) + 1 end"),
    ("a loop within pcall", "print 'on' while true do pcall(function() while true do n = (n or 0) + 1 end end) end"),
    (
        "a loop that swallows errors",
        "print 'on' while true do pcall(function() for i = 1, 1e5 do end error 'x' end) end",
    ),
    (
        "a recursion through pcall",
        "print 'on' local function f() pcall(f) n = (n or 0) + 1 while true do end end while true do f() end",
    ),
    (
        "xpcall with a handler that loops",
        "print 'on' while true do xpcall(function() while true do end end, function() while true do end end) end",
    ),
    ("a coroutine", "print 'on' coroutine.resume(coroutine.create(function() while true do n = 1 end end))"),
    ("a wrapped coroutine", "print 'on' coroutine.wrap(function() while true do n = 1 end end)()"),
    (
        "new coroutines without end",
        "print 'on' while true do coroutine.wrap(pcall)(function() while true do end end) end",
    ),
    (
        "nested coroutines",
        "print 'on' local function deep(d) if d == 0 then while true do end end while true do pcall(coroutine.wrap(deep), d - 1) end end deep(20)",
    ),
    (
        "a generator",
        "print 'on' for i in coroutine.wrap(function() while true do coroutine.yield(1) end end) do n = i end",
    ),
    ("a comparator", "print 'on' table.sort({3, 2, 1}, function() while true do end end)"),
    (
        "a gsub callback",
        "print 'on' pcall(string.gsub, 'abc', '.', function() while true do end end) while true do end",
    ),
    ("a metamethod", "print 'on' return setmetatable({}, {__index = function() while true do end end}).x"),
    ("a result's __tostring", "print 'on' return setmetatable({}, {__tostring = function() while true do end end})"),
    (
        "a to-be-closed variable",
        "print 'on' local c <close> = setmetatable({}, {__close = function() while true do end end}) while true do end",
    ),
    ("an old coroutine", "print 'on' while true do old() end"),
    ("a loop that prints", "while true do print 'on' end"),
    ("goto", "print 'on' ::top:: goto top"),
    ("a sleeping command", "print 'on' os.execute 'sleep 60'"),
    ("a sleeping command within pcall", "print 'on' while true do pcall(os.execute, 'sleep 60') end"),
    (
        "a sleeping command within a coroutine",
        "print 'on' coroutine.wrap(function() while true do os.execute 'sleep 60' end end)()",
    ),
    (
        "a sleeping command within a comparator",
        "print 'on' table.sort({3, 2, 1}, function() os.execute 'sleep 60' end)",
    ),
    (
        "a sleeping command within a coroutine within a comparator",
        "print 'on' table.sort({3, 2, 1}, function() coroutine.wrap(function() os.execute 'sleep 60' end)() end)",
    ),
    ("a printing command", "os.execute 'while true; do echo on; done'"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_loop_stops_within_200_ms_and_variables_stay() {
    let mut notebook = Notebook::start();
    notebook.run("local kept = 'here' seen = {} old = coroutine.wrap(function() while true do coroutine.yield(1) end end) old()").await;
    let mut slowest = (Duration::ZERO, "");
    for (what, code) in ENDLESS {
        let (ran, took) = notebook.interrupt_after(code, "on").await;
        ran.expect_interrupted();
        assert!(took < BOUND, "{what}: {took:?}");
        slowest = slowest.max((took, what));
        notebook
            .run("seen[#seen + 1] = #seen return kept, #seen - select('#', table.unpack(seen))")
            .await
            .expect_result("here\t0");
        // The next cell runs as ever: loops, coroutines, pcall.
        notebook
            .run("local sum = 0 for i in coroutine.wrap(function() for i = 1, 1e5 do coroutine.yield(i) end end) do sum = sum + i end return sum, pcall(error, 'x')")
            .await
            .expect_result("5000050000\tfalse\tx");
    }
    println!("slowest: {slowest:?}");
}

#[tokio::test]
async fn the_traceback_says_where_it_was() {
    let mut notebook = Notebook::start();
    let code = "print 'on'\nlocal function inner()\n  while true do end\nend\nlocal function outer() inner() return 1 end\npcall(outer)";
    let (ran, _) = notebook.interrupt_after(code, "on").await;
    let failure = ran.expect_interrupted().failure();
    assert_eq!(failure.kind.as_deref(), Some("interrupted"));
    assert_eq!(
        failure.traceback,
        ["cell 1:3: in upvalue 'inner'", "cell 1:5: in function <cell 1:5>", "cell 1:6: in main chunk"]
    );
}

#[tokio::test]
async fn a_cell_cancelled_before_it_runs_does_nothing() {
    let mut notebook = Notebook::start();
    let cancel = CancellationToken::new();
    cancel.cancel();
    let cell = notebook.cell("print 'no' x = 1");
    notebook.run_cell(cell, cancel).await.expect_interrupted().expect_stdout("");
    notebook.run("x").await.expect_nothing();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_the_run_interrupts_it_and_cells_wait_their_turn() {
    let mut notebook = Notebook::start();
    let endless = notebook.cell("print 'on' while true do end");
    let workspace = notebook.workspace.clone();
    let client = notebook.client.clone();
    let run = tokio::spawn(async move { workspace.execute(endless, client, Default::default()).await });
    notebook.client.shown("on").await;
    let after = notebook.cell("return 'after'");
    let mut waiting = Box::pin(notebook.run_cell(after, Default::default()));
    assert!(futures::poll!(&mut waiting).is_pending());
    run.abort();
    waiting.await.expect_result("after");
}

#[tokio::test]
async fn os_exit_ends_the_run_from_anywhere() {
    let mut notebook = Notebook::start();
    for (code, exit) in [
        ("os.exit(3)", 3),
        ("os.exit()", 0),
        ("os.exit(true)", 0),
        ("os.exit(false)", 1),
        ("while true do pcall(os.exit, 4) end", 4),
        ("coroutine.wrap(function() pcall(function() os.exit(5) end) while true do end end)()", 5),
        ("table.sort({3, 2, 1}, function() os.exit(6) end)", 6),
        ("setmetatable({}, {__index = function() os.exit(7) end}).x = nil; local y = ({}).z; os.exit(8)", 8),
        ("xpcall(error, function() os.exit(9) end)", 9),
    ] {
        assert_eq!(notebook.run(code).await.outcome, Outcome::Exit(exit), "{code}");
        notebook.run("1 + 1").await.expect_result("2");
    }
    notebook
        .run("os.exit('x')")
        .await
        .expect_error("cell 19:1: bad argument #1 to 'exit' (an integer or a boolean expected, got string)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_interrupted_cell_keeps_its_own_locals() {
    let mut notebook = Notebook::start();
    let code =
        "local a, b = 'A', {} local function get() return a, b end g = get print 'on' while true do b[1] = 1 end";
    notebook.interrupt_after(code, "on").await.0.expect_interrupted();
    notebook.run("a, b, g()").await.expect_result("A\t{1}\tA\t{1}");
    let code = "co = coroutine.wrap(function() local x, y = 'x', 'y' h = function() return x, y end print 'on' while true do end end) co()";
    notebook.interrupt_after(code, "on").await.0.expect_interrupted();
    notebook.run("h()").await.expect_result("x\ty");
}
