//! Top-level locals last: later cells share the variables, not copies of them.

use crate::notebook::Notebook;

#[tokio::test]
async fn a_local_is_seen_and_shared_by_later_cells() {
    let mut notebook = Notebook::start();
    notebook.run("local x = 1\nfunction get() return x end\nlocal function set(v) x = v end").await.expect_nothing();
    notebook.run("x").await.expect_result("1");
    notebook.run("set(5) return x, get()").await.expect_result("5\t5");
    notebook.run("x = 6").await.expect_nothing();
    notebook.run("get(), x, _G.x").await.expect_result("6\t6\tnil");
    notebook.run("local function bump() x = x + 1 return x end").await;
    notebook.run("bump(), get()").await.expect_result("7\t7");
}

#[tokio::test]
async fn a_new_local_of_the_same_name_is_another_variable() {
    let mut notebook = Notebook::start();
    notebook.run("local x = 1 function old() return x end").await;
    notebook.run("local x = x + 1 function new() return x end").await.expect_nothing();
    notebook.run("x = x + 10").await;
    notebook.run("old(), new(), x").await.expect_result("1\t12\t12");
    notebook.run("local print = print").await;
    notebook.run("print('shadowed')").await.expect_stdout("shadowed\n");
    notebook.run("local y = 1 local y = y + 1").await;
    notebook.run("y").await.expect_result("2");
    notebook.run("local a, a = 1, 2").await.expect_nothing();
    notebook.run("a").await.expect_result("2");
}

#[tokio::test]
async fn recursion_forward_declarations_and_nesting_work() {
    let mut notebook = Notebook::start();
    notebook.run("local function factorial(n) return n < 2 and 1 or n * factorial(n - 1) end").await;
    notebook.run("factorial(10)").await.expect_result("3628800");
    notebook.run("local even, odd").await;
    notebook.run("function even(n) return n == 0 or odd(n - 1) end").await;
    notebook.run("function odd(n) return n ~= 0 and even(n - 1) end").await;
    notebook.run("even(10), odd(7), _G.even").await.expect_result("true\ttrue\tnil");
    notebook.run("local n = 0 local function outer() return function() n = n + 1 return n end end").await;
    notebook.run("local step = outer()").await;
    notebook.run("step() step() return n").await.expect_result("2");
}

#[tokio::test]
async fn a_cell_that_fails_keeps_what_it_set() {
    let mut notebook = Notebook::start();
    notebook.run("local a = 1\nlocal b = 2\nerror('stop')\nlocal c = 3").await.expect_error("cell 1:3: stop");
    notebook.run("a, b, c").await.expect_result("1\t2\tnil");
    notebook.run("local d = 4 do return d end local e = 5").await.expect_result("4");
    notebook.run("d, e").await.expect_result("4\tnil");
    notebook.run("local f = 1 while f < 3 do f = f + 1 if f == 3 then error('x') end end").await.failure();
    notebook.run("f").await.expect_result("3");
}

#[tokio::test]
async fn constants_stay_constant_and_closed_variables_end() {
    let mut notebook = Notebook::start();
    notebook.run("local folded <const> = 5 local made <const> = {}").await.expect_nothing();
    notebook.run("made.x = folded return made.x, folded").await.expect_result("5\t5");
    notebook.run("folded = 6").await.expect_error("cell 3:1: attempt to assign to const variable 'folded'");
    notebook.run("made = 6").await.expect_error("cell 4:1: attempt to assign to const variable 'made'");
    notebook.run("local folded = 7").await;
    notebook.run("folded = folded + 1 return folded").await.expect_result("8");
    notebook
        .run("local c <close> = setmetatable({}, {__close = function() closed = true end}) local d = 1")
        .await
        .expect_nothing();
    notebook.run("closed, c, d").await.expect_result("true\tnil\t1");
}

#[tokio::test]
async fn messages_and_lines_are_those_of_the_code_as_written() {
    let mut notebook = Notebook::start();
    notebook
        .run("local t = nil\n\nlocal u = t.x")
        .await
        .expect_error("cell 1:3: attempt to index a nil value (local 't')");
    notebook.run("t.x").await.expect_error("cell 2:1: attempt to index a nil value (upvalue 't')");
    notebook.run("local x = \n = 2").await.expect_error("cell 3:2: unexpected symbol near '='");
    notebook.run("local x = 1 end").await.expect_error("cell 4:1: <eof> expected near 'end'");
    notebook.run("end print('no') do").await.failure();
    notebook.run("break").await.expect_error("cell 6:1: break outside loop at line 1");
    notebook.run("local y = 1\nlocal function f() error('deep') end\nf()").await.expect_error("cell 7:2: deep");
    let failing = notebook.run("\nf()").await;
    failing.expect_error("cell 7:2: deep");
    assert_eq!(failing.failure().traceback, ["cell 7:2: in upvalue 'f'", "cell 8:2: in main chunk"]);
}

#[tokio::test]
async fn odd_shapes_of_code_are_kept_too() {
    let mut notebook = Notebook::start();
    notebook.run("local f = print\nlocal s = [[\nlocal no = 1]] -- local neither = 2").await;
    notebook.run("type(f), s, no, neither").await.expect_result("function\tlocal no = 1\tnil\tnil");
    notebook.run("local g = function(...) return select('#', ...) end\n;(g)()").await.expect_nothing();
    notebook.run("g(1, 2)").await.expect_result("2");
    notebook.run("local h = 1\n(function() h = h + 1 end)()").await.expect_nothing();
    notebook.run("h").await.expect_result("2");
    notebook.run("local i = 0 ::top:: local j = i if i < 3 then i = i + 1 goto top end").await.expect_nothing();
    notebook.run("i, j").await.expect_result("3\t3");
    notebook.run("goto done; do local x = 1 end ::done::").await.expect_nothing();
    notebook.run("local k = 1 ::done::").await.expect_nothing();
    notebook.run("k").await.expect_result("1");
    notebook.run("local __keep = 1").await.expect_nothing();
    notebook.run("__keep, k").await.expect_result("1\t1");
    notebook.run("local _ENV = {k = 5} local l = k").await.expect_nothing();
    notebook.run("l, type(print)").await.expect_result("1\tfunction");
    notebook.run("local m, n = (function() return 1, 2 end)()").await;
    notebook.run("m, n").await.expect_result("1\t2");
}

#[tokio::test]
async fn many_locals_last_and_too_many_are_refused_aloud() {
    let mut notebook = Notebook::start();
    for cell in 0..3 {
        let names: Vec<String> = (0..100).map(|index| format!("v{}", cell * 100 + index)).collect();
        let code = format!("local {} = {cell}\nlocal extra{cell} = 1", names.join(", "));
        notebook.run(&code).await.expect_nothing();
    }
    let sum = |count: usize| {
        let terms: Vec<String> = (0..count).map(|index| format!("(v{index} or 1)")).collect();
        terms.join(" + ")
    };
    notebook.run(&sum(200)).await.expect_result("199");
    notebook.run(&sum(250)).await.expect_result("250");
    let message = &notebook.run(&sum(300)).await.failure().message.clone();
    assert!(message.contains("make some of them global"), "{message}");
    let full: Vec<String> = (0..200).map(|index| format!("local w{index} = {index}")).collect();
    notebook.run(&full.join("\n")).await.expect_nothing();
    notebook.run("w0 + w199").await.expect_result("199");
}

#[tokio::test]
async fn a_script_keeps_none() {
    let mut notebook = Notebook::start();
    notebook.keep_locals = false;
    notebook.run("local x = 1").await;
    notebook.run("x").await.expect_nothing();
}
