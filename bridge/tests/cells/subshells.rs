//! Cells of several shells run side by side over the same globals.

use std::sync::Arc;
use std::time::{Duration, Instant};

use perilune_bridge::{Outcome, Workspace};
use tokio_util::sync::CancellationToken;

use crate::notebook::{Notebook, Ran};

/// The bound for an answer while the main shell computes.
const BOUND: Duration = Duration::from_millis(20);
/// Answers measured.
const ROUNDS: usize = 20;

/// What keeps the main shell busy for ever; each prints `on` first.
const BUSY: &[(&str, &str)] = &[
    ("a loop", "print 'on' while true do n = (n or 0) + 1 end"),
    ("the tightest loop", "print 'on' while true do end"),
    ("a loop within pcall", "print 'on' pcall(function() while true do n = (n or 0) + 1 end end)"),
    ("pcall around error", "print 'on' while true do pcall(error, 'x') end"),
    ("a coroutine", "print 'on' coroutine.wrap(function() while true do n = 1 end end)()"),
    (
        "coroutines within coroutines",
        "print 'on' local function deep(d) if d == 0 then while true do end end coroutine.wrap(deep)(d - 1) end deep(20)",
    ),
    (
        "a generator",
        "print 'on' for i in coroutine.wrap(function() while true do coroutine.yield(1) end end) do n = i end",
    ),
    ("strings", "print 'on' while true do local s = '' for i = 1, 100 do s = s .. i end n = #s end"),
    ("tables", "print 'on' while true do local t = {} for i = 1, 100 do t[i] = {i} end n = #t end"),
    ("a comparator", "print 'on' table.sort({3, 2, 1}, function() while true do end end)"),
    ("a gsub callback", "print 'on' string.gsub('abc', '.', function() while true do end end)"),
    (
        "a coroutine within a comparator",
        "print 'on' table.sort({3, 2, 1}, function() coroutine.wrap(function() while true do end end)() end)",
    ),
    ("a metamethod", "print 'on' return setmetatable({}, {__index = function() while true do end end}).x"),
    ("a command", "print 'on' os.execute 'sleep 60'"),
    ("a command within a comparator", "print 'on' table.sort({3, 2, 1}, function() os.execute 'sleep 60' end)"),
];

/// A cell under way beside those of the test.
struct Beside {
    cancel: CancellationToken,
    task: tokio::task::JoinHandle<Ran>,
}

impl Beside {
    fn start(of: &Notebook, workspace: &Workspace, code: &str) -> Beside {
        let mut notebook = Notebook::of(workspace.clone());
        notebook.client = Arc::clone(&of.client);
        let cancel = CancellationToken::new();
        let (cell, token) = (notebook.cell(code), cancel.clone());
        Beside { cancel, task: tokio::spawn(async move { notebook.run_on(cell, token).await }) }
    }

    async fn end(self) -> Ran {
        self.task.await.expect("the cell ends")
    }

    async fn interrupt(self) -> Ran {
        self.cancel.cancel();
        self.end().await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subshell_answers_while_the_main_shell_is_busy() {
    for (what, code) in BUSY {
        let main = Notebook::start();
        let mut subshell = Notebook::of(main.workspace.subshell());
        let busy = Beside::start(&main, &main.workspace, code);
        main.client.shown("on").await;
        let mut times = Vec::new();
        for round in 0..ROUNDS {
            let began = Instant::now();
            subshell.run("shared = (shared or 0) + 1 return shared").await.expect_result(&(round + 1).to_string());
            times.push(began.elapsed());
        }
        // The quickest, since the tests beside this one take the machine's cores; `test_subshells.py` takes the median.
        assert!(times.iter().min() < Some(&BOUND), "{what}: {times:?}");
        busy.interrupt().await.expect_interrupted();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn globals_and_kept_locals_are_the_same() {
    let mut main = Notebook::start();
    let mut subshell = Notebook::of(main.workspace.subshell());
    main.run("local kept = 1 a = 2").await;
    subshell.run("kept = kept + 10 b = a + kept return b").await.expect_result("13");
    main.run("return kept, b").await.expect_result("11\t13");
    let main_loops = Beside::start(&main, &main.workspace, "print 'on' while not go do end return go");
    main.client.shown("on").await;
    subshell.run("go = 'gone'").await.expect_nothing();
    main_loops.end().await.expect_result("gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupt_means_one_cell() {
    for (what, code) in BUSY {
        let main = Notebook::start();
        let mut subshell = Notebook::of(main.workspace.subshell());
        let busy = Beside::start(
            &main,
            &main.workspace,
            "print 'main' local t = 0 while not done do t = t + 1 end return 'whole'",
        );
        main.client.shown("main").await;
        let (ran, took) = subshell.interrupt_after(code, "on").await;
        ran.expect_interrupted();
        assert!(took < Duration::from_millis(200), "{what}: {took:?}");
        subshell.run("done = true").await.expect_nothing();
        busy.end().await.expect_result("whole");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cells_that_compute_share_the_thread() {
    let main = Notebook::start();
    let count = "print 'on' %s = 0 while not over do %s = %s + 1 end return %s";
    let names = ["a", "b", "c", "d"];
    let shells: Vec<_> = names.iter().map(|_| main.workspace.subshell()).collect();
    let cells: Vec<_> = names
        .iter()
        .zip(&shells)
        .map(|(name, shell)| Beside::start(&main, shell, &count.replace("%s", name)))
        .collect();
    let mut watcher = Notebook::of(main.workspace.subshell());
    let enough = "return math.min(a or 0, b or 0, c or 0, d or 0) > 1000000";
    while watcher.run(enough).await.result() != "true" {}
    watcher.run("over = true").await;
    let mut counts = Vec::new();
    for cell in cells {
        counts.push(cell.end().await.result().parse::<f64>().expect("a number"));
    }
    let (least, most) = (counts.iter().copied().fold(f64::MAX, f64::min), counts.iter().copied().fold(0.0, f64::max));
    assert!(most < 4.0 * least, "{counts:?}");
}

/// Code that would notice if being suspended changed anything: upvalues, varargs, multiple results,
/// metamethods, to-be-closed variables, coroutines, errors, string building, deep recursion.
const EVERYTHING: &str = r#"
local seed = 12345
local function random(n) seed = (seed * 1103515245 + 12345) % 2147483648 return seed % n + 1 end
local sum, closed = 0, 0
local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end
local function vary(...) local n = select('#', ...) if n == 0 then return 0 end return (...) + vary(select(2, ...)) end
local M = {__add = function(a, b) return setmetatable({v = a.v + b.v}, getmetatable(a)) end,
  __lt = function(a, b) return a.v < b.v end, __index = function(t, k) return #k end,
  __concat = function(a, b) return (a.v or a) .. (b.v or b) end, __len = function() return 3 end,
  __call = function(self, x) return self.v, x end, __close = function() closed = closed + 1 end}
local function object(v) return setmetatable({v = v}, M) end
for round = 1, ROUNDS do
  sum = sum + fib(12) + vary(1, 2, 3, random(10))
  local t = {}
  for i = 1, 50 do t[i] = random(1000) end
  table.sort(t, function(a, b) return a < b end)
  for i = 2, 50 do assert(t[i - 1] <= t[i]) end
  local o = object(round) + object(1)
  assert(o.v == round + 1 and o.abc == 3 and #o == 3 and object(1) < object(2))
  local x, y = o('y') assert(x == round + 1 and y == 'y')
  do local c <close> = o local ok = pcall(function() local d <close> = o error('x') end) assert(not ok) end
  local text = {}
  for word in ('a b c d e'):gmatch('%a') do text[#text + 1] = word .. object('z') end
  assert(table.concat(text) == 'azbzczdzez')
  assert(('hello'):gsub('l', function(l) return l:upper() .. fib(3) end) == 'heL2L2o')
  local total = 0
  for i in coroutine.wrap(function() for i = 1, 20 do coroutine.yield(i, i) end end) do total = total + i end
  assert(total == 210)
  local co = coroutine.create(function(a, b) local c = coroutine.yield(a + b) local d, e = coroutine.yield(c * 2) error({d + e}) end)
  local _, first = coroutine.resume(co, 1, 2)
  local _, second = coroutine.resume(co, 10)
  local ok, problem = coroutine.resume(co, 3, 4)
  assert(first == 3 and second == 20 and not ok and problem[1] == 7)
  local up = {}
  for i = 1, 5 do up[i] = function() i = i + 1 return i end end
  assert(up[1]() == 2 and up[1]() == 3 and up[5]() == 6)
  sum = sum + select('#', table.unpack(t)) + #string.rep('x', random(100)) // 1
  goto continue
  ::continue::
end
return sum, closed, seed
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn being_suspended_changes_nothing() {
    let mut main = Notebook::start();
    let code = EVERYTHING.replace("ROUNDS", "4000");
    let alone = main.run(&code).await.result().to_owned();
    let shells: Vec<_> = (0..3).map(|_| main.workspace.subshell()).collect();
    let cells: Vec<_> = shells.iter().map(|shell| Beside::start(&main, shell, &code)).collect();
    for cell in cells {
        cell.end().await.expect_result(&alone);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_cell_has_is_its_own() {
    let main = Notebook::start();
    let looping =
        Beside::start(&main, &main.workspace, "print 'on' while not go do end print 'mine' error('main failed')");
    main.client.shown("on").await;
    let mut subshell = Notebook::of(main.workspace.subshell());
    subshell.answers(&["typed"]);
    subshell.run("print 'theirs' return io.read()").await.expect_stdout("theirs\n").expect_result("typed");
    assert_eq!(subshell.run("os.exit(4)").await.outcome, Outcome::Exit(4));
    let failure = subshell.run("coroutine.wrap(function() local function f() error('x') end f() end)()").await;
    assert_eq!(failure.failure().traceback[0], "cell 3:1: in local 'f'");
    subshell.run("go = true").await.expect_nothing();
    let ran = looping.end().await;
    ran.expect_error("cell 1:1: main failed");
    assert!(ran.stdout.ends_with("mine\n") && !ran.stdout.contains("theirs"), "{}", ran.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coroutine_that_another_cell_is_in_cannot_be_resumed() {
    let mut main = Notebook::start();
    main.run("co = coroutine.create(function() print 'on' while not go do end return 'done' end)").await;
    let looping = Beside::start(&main, &main.workspace, "return coroutine.resume(co)");
    main.client.shown("on").await;
    let mut subshell = Notebook::of(main.workspace.subshell());
    subshell.run("return coroutine.resume(co)").await.expect_result("false\tcannot resume non-suspended coroutine");
    subshell.run("return coroutine.status(co), pcall(coroutine.close, co)").await;
    subshell.run("go = true").await;
    looping.end().await.expect_result("true\tdone");
}
