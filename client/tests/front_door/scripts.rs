//! The scripts of the repository: what they print, and that they print the same with a kernel elsewhere.

use crate::perilune::{Finished, Home};

fn script(name: &str) -> String {
    format!("{}/../scripts/{name}.lua", env!("CARGO_MANIFEST_DIR"))
}

fn same_both_ways(arguments: &[&str], input: &[&str]) -> Finished {
    let home = Home::new();
    let kernel = home.kernel("kernel.json");
    let mut runs = [arguments.iter().map(|argument| (*argument).to_owned()).collect(), kernel.arguments(arguments)]
        .map(|arguments| {
            let mut run = home.start(&arguments);
            for line in input {
                run.type_line(line);
            }
            run.finish()
        });
    assert_eq!(runs[0].stdout, runs[1].stdout);
    assert_eq!(runs[0].code, runs[1].code);
    std::mem::replace(&mut runs[0], Finished { code: None, stdout: String::new(), stderr: String::new() })
}

#[test]
fn hello_answers_sensibly_and_the_same_everywhere() {
    let run = same_both_ways(&["run", &script("hello")], &[]);
    run.expect_ok();
    assert!(run.stdout.contains("Paris") && run.stdout.contains("42"), "{}", run.stdout);
    assert_eq!(run.stderr, "");
}

#[test]
fn chat_answers_every_line_and_remembers() {
    let run = same_both_ways(
        &["run", "--seed", "7", &script("chat")],
        &["Hello!", "", "What is the capital of Italy?", "/quit", "more"],
    );
    run.expect_ok();
    assert!(run.stdout.contains("Rome"), "{}", run.stdout);
    let ended = same_both_ways(&["run", "--seed", "7", &script("chat")], &["Hello!"]);
    ended.expect_ok();
    assert!(run.stdout.starts_with(&ended.stdout));
}

#[test]
fn model_info_tells_facts() {
    let run = same_both_ways(&["run", &script("model_info")], &[]);
    run.expect_ok();
    assert!(run.stdout.contains("llama") && run.stdout.contains("local/moonlet@candle"), "{}", run.stdout);
    same_both_ways(&["run", &script("model_info"), "local/nothing@candle"], &[]).expect_code(1);
}

#[test]
fn status_names_the_backend() {
    let run = same_both_ways(&["run", &script("status")], &[]);
    assert!(run.expect_ok().stdout.contains("candle"), "{}", run.stdout);
}

#[test]
fn compare_times_every_model() {
    let home = Home::new();
    let run = home.perilune(&["run", &script("compare")]);
    run.expect_ok();
    assert_eq!(run.stdout.lines().filter(|line| line.contains("moonlet")).count(), 3, "{}", run.stdout);
    assert!(run.stdout.contains("Tokyo"), "{}", run.stdout);
}

#[test]
fn branches_go_on_from_one_beginning_that_is_computed_once() {
    let run = same_both_ways(&["run", &script("branches")], &[]);
    run.expect_ok();
    assert!(run.stdout.contains("Rome") && run.stdout.contains("Madrid"), "{}", run.stdout);
    assert!(run.stdout.ends_with("3 messages kept\n"), "{}", run.stdout);
    let known: Vec<u32> =
        run.stderr.lines().map(|line| line.split(' ').next().and_then(|count| count.parse().ok()).unwrap()).collect();
    assert!(known.len() == 2 && known.iter().all(|count| *count > 20), "{}", run.stderr);
}
