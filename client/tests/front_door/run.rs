//! `run` and `exec`, each with a kernel in the process and with one elsewhere: the same output, the same exit codes.

use serde_json::json;

use crate::perilune::{Finished, Home};

/// Runs the command both ways, checks that both did the same, and returns what they did.
fn both_ways(home: &Home, arguments: &[&str]) -> Finished {
    let kernel = home.kernel("elsewhere.json");
    let here = home.perilune(arguments);
    let there = home.perilune(&kernel.arguments(arguments));
    assert_eq!((here.code, &here.stdout, &here.stderr), (there.code, &there.stdout, &there.stderr));
    here
}

#[test]
fn output_goes_where_it_belongs() {
    let home = Home::new();
    home.file("a.lua", "print('one', 2)\nio.write('three')\nio.stderr:write('four\\n')\nreturn 5");
    both_ways(&home, &["run", "a.lua"]).expect_ok().expect_stdout("one\t2\nthree").expect_stderr_has("four\n");
}

#[test]
fn exec_prints_the_value() {
    let home = Home::new();
    both_ways(&home, &["exec", "20 + 22"]).expect_ok().expect_stdout("42\n");
    home.perilune(&["exec", "x = 1"]).expect_ok().expect_stdout("");
    home.perilune(&["exec", "-- nothing"]).expect_ok().expect_stdout("");
}

#[test]
fn each_run_is_a_fresh_workspace() {
    let home = Home::new();
    let kernel = home.kernel("kernel.json");
    home.perilune(&kernel.arguments(&["exec", "seen = 1"])).expect_ok();
    home.perilune(&kernel.arguments(&["exec", "print(seen)"])).expect_ok().expect_stdout("nil\n");
}

#[test]
fn a_script_has_its_arguments() {
    let home = Home::new();
    home.file("a.lua", "print(arg[0], #arg, arg[1], arg[2], ...)");
    both_ways(&home, &["run", "a.lua", "x", "--model"]).expect_ok().expect_stdout("a.lua\t2\tx\t--model\tx\t--model\n");
}

#[test]
fn a_first_line_for_the_shell_keeps_the_line_numbers() {
    let home = Home::new();
    home.file("a.lua", "#!/usr/bin/env perilune\nerror('here')");
    both_ways(&home, &["run", "a.lua"]).expect_code(1).expect_stderr_has("error: a.lua:2: here\n");
}

#[test]
fn a_syntax_error_names_file_and_line() {
    let home = Home::new();
    home.file("a.lua", "print(1)\nlocal = 2\n");
    both_ways(&home, &["run", "a.lua"]).expect_code(1).expect_stdout("").expect_stderr_has("error: a.lua:2: ");
}

#[test]
fn a_runtime_error_has_file_line_message_and_traceback() {
    let home = Home::new();
    home.file("deep/a.lua", "local function f()\n  undefined()\nend\nprint('before')\nf()\n");
    let run = both_ways(&home, &["run", "deep/a.lua"]);
    run.expect_code(1).expect_stdout("before\n").expect_stderr_has("error: deep/a.lua:2: attempt to call a nil value");
    run.expect_stderr_has("stack traceback:").expect_stderr_has("deep/a.lua:5: in main chunk");
    assert!(!run.stderr.contains("panicked") && !run.stderr.contains(".rs:"), "{}", run.stderr);
}

#[test]
fn an_error_value_that_is_no_text_is_shown() {
    let home = Home::new();
    both_ways(&home, &["exec", "error({ code = 7 })"]).expect_code(1).expect_stderr_has("error: ");
    both_ways(&home, &["exec", "error()"]).expect_code(1).expect_stderr_has("error: ");
}

#[test]
fn os_exit_decides_the_exit_code() {
    let home = Home::new();
    for (code, expected) in
        [("os.exit(7)", 7), ("os.exit(true)", 0), ("os.exit(false)", 1), ("os.exit()", 0), ("pcall(os.exit, 3)", 3)]
    {
        home.perilune(&["exec", code]).expect_code(expected).expect_stdout("");
    }
    home.file("a.lua", "print('bye') os.exit(9) print('no')");
    both_ways(&home, &["run", "a.lua"]).expect_code(9).expect_stdout("bye\n");
}

#[test]
fn output_appears_while_the_script_runs() {
    let home = Home::new();
    let kernel = home.kernel("kernel.json");
    home.file("a.lua", "io.write('first') local line = io.read() print('', line)");
    for arguments in [vec!["run".to_owned(), "a.lua".to_owned()], kernel.arguments(&["run", "a.lua"])] {
        let mut run = home.start(&arguments);
        // Only what is seen before the line is typed can be expected before it.
        run.expect("first").type_line("second");
        run.finish().expect_ok().expect_stdout("\tsecond\n");
    }
}

#[test]
fn the_first_token_is_seen_before_the_last() {
    let home = Home::new();
    let kernel = home.kernel("kernel.json");
    home.file(
        "a.lua",
        "local pieces = 0
         for piece in LocalLLM.stream({ { role = 'user', content = 'Write a haiku about the moon.' } }, { temperature = 0 }) do
           pieces = pieces + 1
           io.write(piece)
           if pieces == 1 then io.write('|') io.read() end
         end
         print('|', pieces)",
    );
    for arguments in [vec!["run".to_owned(), "a.lua".to_owned()], kernel.arguments(&["run", "a.lua"])] {
        let mut run = home.start(&arguments);
        run.expect("|").type_line("");
        let rest = run.finish();
        rest.expect_ok();
        let pieces: u32 = rest.stdout.rsplit('\t').next().unwrap().trim().parse().unwrap();
        assert!(pieces > 3, "{rest:?}");
    }
}

#[test]
fn lines_are_read_until_the_input_ends() {
    let home = Home::new();
    let kernel = home.kernel("kernel.json");
    home.file("a.lua", "for line in io.lines() do print('<' .. line .. '>') end print(io.read())");
    for arguments in [vec!["run".to_owned(), "a.lua".to_owned()], kernel.arguments(&["run", "a.lua"])] {
        let mut run = home.start(&arguments);
        run.type_line("ä").type_line("");
        run.finish().expect_ok().expect_stdout("<ä>\n<>\nnil\n");
    }
}

#[test]
fn input_that_is_no_text_is_an_error() {
    let home = Home::new();
    let file = home.path().join("input");
    std::fs::write(&file, b"\xff\n").unwrap();
    let input = std::fs::File::open(&file).unwrap();
    let run = home.command(&["exec", "print(io.read())"]).stdin(input).output().unwrap();
    assert_eq!(run.status.code(), Some(1));
    assert!(String::from_utf8(run.stderr).unwrap().contains("standard input"));
}

#[test]
fn a_flood_of_lines_arrives_whole() {
    let home = Home::new();
    home.file("a.lua", "for i = 1, 20000 do print(i) end");
    let expected: String = (1..=20_000).map(|line| format!("{line}\n")).collect();
    both_ways(&home, &["run", "a.lua"]).expect_ok().expect_stdout(&expected);
}

#[test]
fn a_reader_that_leaves_ends_the_run_quietly() {
    let home = Home::new();
    let mut run = home.start(&["exec", "while true do print('again and again') end"]);
    run.expect("again and again\n").stop_reading();
    let run = run.finish();
    assert_eq!((run.code, run.stderr.as_str()), (Some(141), ""));
}

#[test]
fn modules_travel_with_the_script() {
    let home = Home::new();
    home.file("app/main.lua", "local greet = require 'lib.greet'\nprint(greet(require('pack')))\nrequire('broken')");
    home.file("app/lib/greet.lua", "return function(name) return 'hello ' .. name end");
    home.file("app/pack/init.lua", "return require 'name'");
    home.file("app/name.lua", "#!shebang\nreturn 'module'");
    home.file("app/broken.lua", "\nerror('in a module')");
    let run = both_ways(&home, &["run", "app/main.lua"]);
    run.expect_code(1).expect_stdout("hello module\n").expect_stderr_has("broken.lua:2: in a module");
    // They are there although the kernel is elsewhere and sees none of these files.
    let away = Home::new();
    let kernel = away.kernel("kernel.json");
    home.perilune(&kernel.arguments(&["run", "app/main.lua"])).expect_code(1).expect_stdout("hello module\n");
}

#[test]
fn a_module_that_is_not_there_is_the_scripts_error() {
    let home = Home::new();
    home.file("a.lua", "require 'nowhere'");
    both_ways(&home, &["run", "a.lua"]).expect_code(1).expect_stderr_has("a.lua:1: ").expect_stderr_has("nowhere");
}

#[test]
fn a_pipe_shows_a_display_once_it_stays_as_it_is() {
    let home = Home::new();
    let code = "local bar = display.progress(4, {label = 'bar'}) for i = 1, 3 do bar:advance(1) end print('between') \
                bar:finish() local text = display.html('<b>1</b>') text:update('<b>2</b>') print('after')";
    let shown = home.perilune(&["exec", code]).expect_ok().stdout.clone();
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!([lines[0], lines[3], lines.len().to_string().as_str()], ["between", "after", "5"], "{shown}");
    assert!(lines[1].starts_with("bar ████████████████████ 4/4 · 100 %"), "{shown}");
    let report = home.perilune(&["--output", "json", "exec", code]).expect_ok().json();
    let htmls: Vec<&str> =
        report["displays"].as_array().unwrap().iter().map(|display| display["text/html"].as_str().unwrap()).collect();
    assert_eq!(htmls[1..], ["<b>1</b>", "<b>2</b>"]);
    assert!(htmls[0].contains(r#"<progress max="1" value="1.0000""#), "{htmls:?}");
    // One that is never finished is seen as it was left.
    let left = home.perilune(&["exec", "local bar = display.progress(2) bar:advance(1) print('before')"]);
    assert!(left.expect_ok().stdout.starts_with("before\n██████████░░░░░░░░░░ 1/2 · 50 %"), "{left:?}");
}

#[test]
fn json_is_one_object_at_the_end() {
    let home = Home::new();
    let kernel = home.kernel("kernel.json");
    for arguments in [
        vec![
            "--output".to_owned(),
            "json".to_owned(),
            "exec".to_owned(),
            "print('a') io.stderr:write('b') return 3".to_owned(),
        ],
        kernel.arguments(&["--output", "json", "exec", "print('a') io.stderr:write('b') return 3"]),
    ] {
        let mut report = home.perilune(&arguments).expect_ok().json();
        assert!(report["duration_ms"].take().as_f64().unwrap() > 0.0);
        let expected = json!({
            "status": "ok", "exit_code": 0, "error": null, "stdout": "a\n", "stderr": "b", "displays": [], "result": "3",
            "duration_ms": null,
        });
        assert_eq!(report, expected);
    }
    let failed = home.perilune(&["exec", "print('x') error('no')", "--output", "json"]);
    let report = failed.expect_code(1).json();
    assert_eq!(
        (&report["status"], &report["exit_code"], &report["stdout"]),
        (&json!("error"), &json!(1), &json!("x\n"))
    );
    assert!(report["error"]["evalue"].as_str().unwrap().contains("no"), "{report}");
    for (code, status, exit_code) in
        [("os.exit(4)", "error", 4), ("os.exit(256)", "ok", 0), ("os.exit(-1)", "error", 255)]
    {
        let report = home.perilune(&["exec", code, "--output", "json"]).expect_code(exit_code).json();
        assert_eq!((&report["status"], &report["exit_code"]), (&json!(status), &json!(exit_code)));
    }
}

#[test]
fn an_unknown_model_is_the_scripts_error_and_a_malformed_one_too() {
    let home = Home::new();
    let run = both_ways(&home, &["exec", "LocalLLM.generate('x', { model = 'local/moonlt@candle' })"]);
    run.expect_code(1)
        .expect_stderr_has("(command line):1: ")
        .expect_stderr_has("`moonlt`")
        .expect_stderr_has("moonlet");
    both_ways(&home, &["exec", "--model", "m@", "1"]).expect_code(1).expect_stderr_has("`m@`");
    both_ways(&home, &["exec", "--model", "local/x@olama", "LocalLLM.generate('x')"])
        .expect_code(1)
        .expect_stderr_has("olama");
}

#[test]
fn the_seed_makes_a_run_repeatable() {
    let home = Home::new();
    // Hot enough that every seed says something else.
    home.file(
        "a.lua",
        "print(LocalLLM.generate('Hello', { temperature = 20, top_k = 0, top_p = 1, min_p = 0, max_tokens = 20 }))",
    );
    let first = both_ways(&home, &["run", "--seed", "7", "a.lua"]);
    first.expect_ok();
    home.perilune(&["run", "--seed", "7", "a.lua"]).expect_ok().expect_stdout(&first.stdout);
    let others: Vec<_> =
        ["1", "2", "3"].iter().map(|seed| home.perilune(&["run", "--seed", seed, "a.lua"]).stdout).collect();
    assert!(others.iter().any(|other| *other != first.stdout));
}
