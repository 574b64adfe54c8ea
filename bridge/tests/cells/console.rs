//! What cells print and read belongs to the client.

use crate::notebook::Notebook;

#[tokio::test]
async fn what_is_printed_reaches_the_client_in_order() {
    let mut notebook = Notebook::start();
    let ran = notebook
        .run("print(1, nil, 'x', 1.5) print() io.write('a', 1, 2.5, '\\n'):write('b\\n') io.stdout:write('c\\n') io.stderr:write('e\\n') warn('careful ', 'now')")
        .await;
    ran.expect_stdout("1\tnil\tx\t1.5\n\na12.5\nb\nc\n");
    assert_eq!(ran.stderr, "e\nLua warning: careful now\n");
    notebook.run("print(setmetatable({}, {__tostring = function() return 'mine' end}))").await.expect_stdout("mine\n");
    notebook.run("io.write('\\xe6') io.write('\\x9c\\x88') io.write('\\xff')").await.expect_stdout("月\u{FFFD}");
    notebook.run("io.write('\\xe6')").await.expect_stdout("\u{FFFD}");
    notebook.run("print(('x'):rep(1e6):len())").await.expect_stdout("1000000\n");
    notebook
        .run("io.write({})")
        .await
        .expect_error("cell 6:1: bad argument #1 to 'write' (string expected, got table)");
    notebook
        .run("io.type(io.stdout), io.type(io.stdin), io.type(5), tostring(io.stdout)")
        .await
        .expect_result("file\tfile\tnil\tfile (stdout)");
    notebook.run("warn('@off') warn('no') warn('@on') warn('yes')").await;
}

#[tokio::test]
async fn a_thousand_lines_arrive_complete() {
    let mut notebook = Notebook::start();
    let ran = notebook.run("for i = 1, 10000 do print(i) end").await;
    let expected: String = (1..=10000).map(|line| format!("{line}\n")).collect();
    ran.expect_stdout(&expected);
}

#[tokio::test]
async fn reading_asks_the_client() {
    let mut notebook = Notebook::start();
    notebook.answers(&["first", "second", "12 0x1F -3.5e1 nope", "rest", "end"]);
    notebook.run("io.read()").await.expect_result("first");
    notebook.run("return io.read('L'), 1").await.expect_result("second\n\t1");
    notebook.run("return io.read('n', 'n', 'n', 'n', 'l')").await.expect_result("12\t31\t-35.0\tnil");
    notebook.run("return io.read(0), io.read(2), io.read('*a')").await.expect_result("\tre\tst\nend\n");
    notebook
        .run("io.read('l') == nil and io.read('a') == '' and io.read(0) == nil and io.read('n') == nil")
        .await
        .expect_result("true");
    notebook.answers(&["a", "b"]);
    notebook.run("for line in io.lines() do print('got ' .. line) end").await.expect_stdout("got a\ngot b\n");
    notebook.answers(&["c"]);
    notebook
        .run("local t = {} for line in io.stdin:lines('L') do t[#t + 1] = line end return #t, t[1]")
        .await
        .expect_result("1\tc\n");
    notebook.answers(&["d"]);
    notebook.run("coroutine.wrap(function() coroutine.yield(io.read()) end)()").await.expect_result("d");
    notebook.answers(&["e"]);
    notebook.run("(('x'):gsub('x', function() return io.read() end))").await.expect_result("e");
    let message = notebook.run("io.read('z')").await.failure().message.clone();
    assert!(message.starts_with("cell 10:1: bad argument #1 to 'read' (invalid format `z`"), "{message}");
}

#[tokio::test]
async fn a_client_without_input_says_so() {
    let mut notebook = Notebook::start().without_input();
    let ran = notebook.run("io.read()").await;
    assert_eq!(ran.failure().kind.as_deref(), Some("input_not_allowed"));
    assert_eq!(ran.failure().name, "StdinNotAllowed");
    assert!(ran.failure().message.contains("does not answer input requests"), "{:?}", ran.failure());
    notebook.run("select(2, pcall(io.read)).kind").await.expect_result("input_not_allowed");
}

#[tokio::test]
async fn files_behave_as_always() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("f.txt");
    let path = path.display();
    let mut notebook = Notebook::start();
    notebook
        .run(&format!("path = '{path}' local f = io.open(path, 'w') f:write('one\\ntwo\\n') f:close()"))
        .await
        .expect_nothing();
    notebook.run("for line in io.lines(path) do print(line) end").await.expect_stdout("one\ntwo\n");
    notebook
        .run("io.output(path) io.write('x') io.close() io.output(io.stdout) io.write('back')")
        .await
        .expect_stdout("back");
    notebook
        .run("io.input(path) local all = io.read('a') io.input():close() io.input(io.stdin) return all")
        .await
        .expect_result("x");
    notebook.run("local p = io.popen('echo hi') return p:read('a')").await.expect_result("hi\n");
    notebook
        .run("io.open('/nowhere/at/all')")
        .await
        .expect_result("nil\t/nowhere/at/all: No such file or directory\t2");
    notebook.run("dofile()").await.expect_error("cell 7:1: bad argument #1 to 'dofile' (a file name is needed)");
}

#[tokio::test]
async fn commands_show_what_they_print_and_how_they_end() {
    let mut notebook = Notebook::start();
    let ran = notebook.run("return os.execute('echo out; echo err >&2; exit 3')").await;
    ran.expect_result("nil\texit\t3").expect_stdout("out\n");
    assert_eq!(ran.stderr, "err\n");
    notebook.run("return os.execute('true')").await.expect_result("true\texit\t0");
    notebook.run("return os.execute('kill -9 $$')").await.expect_result("nil\tsignal\t9");
    notebook.run("os.execute()").await.expect_result("true");
    notebook.run("return os.execute('cat; printf \"\\\\303\"; printf \"\\\\251\"')").await.expect_stdout("é");
    // What runs on in the background is not waited for.
    notebook.run("return os.execute('sleep 30 & echo started')").await.expect_stdout("started\n");
    notebook
        .run("for i = 1, 3 do coroutine.wrap(function() os.execute('echo ' .. i) end)() end")
        .await
        .expect_stdout("1\n2\n3\n");
}
