//! Ctrl-C, and the death of the kernel at the other end.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::perilune::{Home, until};

const LOOPS: [&str; 3] = [
    "print('go') while true do end",
    "print('go') while true do pcall(function() while true do end end) end",
    "print('go') coroutine.wrap(function() while true do end end)()",
];

#[test]
fn ctrl_c_ends_a_run_with_130() {
    let home = Home::new();
    let kernel = home.kernel("kernel.json");
    for code in LOOPS {
        for arguments in [vec!["exec".to_owned(), code.to_owned()], kernel.arguments(&["exec", code])] {
            let mut run = home.start(&arguments);
            run.expect("go\n").signal("INT");
            run.finish().expect_code(130).expect_stdout("");
        }
    }
    // The kernel lives on.
    home.perilune(&kernel.arguments(&["exec", "1 + 1"])).expect_ok().expect_stdout("2\n");
}

#[test]
fn ctrl_c_ends_a_generation_and_a_question() {
    let home = Home::new();
    let kernel = home.kernel("kernel.json");
    let generation = "while true do for piece in LocalLLM.stream({ { role = 'user', content = 'Write a poem about the moon.' } }) do \
                      io.write(piece) if not told then told = true print('go') end end end";
    let question = "print('go') io.read()";
    for code in [generation, question] {
        for arguments in [vec!["exec".to_owned(), code.to_owned()], kernel.arguments(&["exec", code])] {
            let mut run = home.start(&arguments);
            run.expect("go\n").signal("INT");
            run.finish().expect_code(130);
        }
    }
    home.perilune(&kernel.arguments(&["exec", "1 + 1"])).expect_ok();
}

#[test]
fn an_interrupted_run_says_so_in_json() {
    let home = Home::new();
    let mut run = home.start(&["exec", "io.open('ready', 'w'):close() while true do end", "--output", "json"]);
    until(|| home.path().join("ready").exists());
    run.signal("INT");
    let report = run.finish().expect_code(130).json();
    assert_eq!((&report["status"], &report["exit_code"]), (&"error".into(), &130.into()));
}

#[test]
fn a_second_ctrl_c_does_not_wait() {
    let home = Home::new();
    // No Lua hook fires inside one call of a C function, and this one takes ages.
    let mut run = home.start(&["exec", "print('go') string.find(string.rep('a', 60), string.rep('a-', 40) .. 'b')"]);
    run.expect("go\n");
    let started = Instant::now();
    while run.is_running() {
        run.signal("INT");
        std::thread::yield_now();
    }
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    run.finish().expect_code(130);
}

#[test]
fn a_kernel_that_dies_is_noticed_within_five_seconds() {
    let home = Home::new();
    let mut kernel = home.kernel("kernel.json");
    for code in ["print('go') while true do end", "print('go') io.read()"] {
        let mut run = home.start(&kernel.arguments(&["exec", code]));
        run.expect("go\n");
        kernel.process().signal("KILL");
        let started = Instant::now();
        // Its input stays open: only the kernel's death can end it.
        run.expect_end();
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        run.finish().expect_error(3, &["kernel.json", "died"]);
        std::fs::remove_file(&kernel.connection_file).unwrap();
        kernel = home.kernel("kernel.json");
    }
}

#[test]
fn a_kernel_that_is_stopped_under_a_run_is_a_lost_connection() {
    let home = Home::new();
    let kernel = home.kernel("kernel.json");
    let mut run = home.start(&kernel.arguments(&["exec", "print('go') while true do end"]));
    run.expect("go\n");
    home.perilune(&["kernel", "stop", "--connection-file", "kernel.json"]).expect_ok();
    run.finish().expect_error(3, &["kernel.json", "was stopped"]);
    kernel.finish().expect_ok();
}

#[test]
fn ctrl_c_while_a_kernel_starts_leaves_none_behind() {
    let home = Home::new();
    // A connection file that never ends holds the kernel up.
    let file = home.path().join("slow.json");
    assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
    let mut start = home.start(&["kernel", "start", "--detach", "--connection-file", "slow.json"]);
    // It opens once the kernel reads it.
    let mut end = std::fs::File::options().write(true).open(&file).unwrap();
    let interrupted = Instant::now();
    start.signal("INT");
    start.finish().expect_code(130).expect_stdout("");
    // Well before the starter loses patience, which ends the kernel too.
    assert!(interrupted.elapsed() < Duration::from_secs(10), "{:?}", interrupted.elapsed());
    let nobody_reads = end.write(b" ").unwrap_err();
    assert_eq!(nobody_reads.kind(), std::io::ErrorKind::BrokenPipe);
}
