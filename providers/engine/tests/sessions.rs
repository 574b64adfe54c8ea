//! What requests of one session share, on moonlet: known prefixes, and that nothing else about an answer changes.
#![cfg(feature = "moonlet")]

use perilune_engine::{
    ChatMessage, Engine, EngineOptions, Event, GenerateOptions, Generation, Prompt, Request, Sampling, Source, Usage,
    moonlet,
};
use tokio_util::sync::CancellationToken;

fn load(options: EngineOptions) -> Engine {
    Engine::load(&Source::Bundled(moonlet().expect("the feature is on")), &options).expect("moonlet loads")
}

fn start(engine: &Engine, session: &str, prompt: Prompt, options: GenerateOptions) -> Generation {
    engine.generate(Request { session: session.to_owned(), prompt, options, cancel: CancellationToken::new() })
}

/// An answer and what it took.
fn read(mut generation: Generation) -> (String, Usage) {
    let (mut answer, mut took) = (String::new(), Usage::default());
    while let Some(event) = generation.blocking_next() {
        match event.expect("it answers") {
            Event::Text(text) => answer.push_str(&text),
            Event::Usage(usage) => took = usage,
            _ => {}
        }
    }
    (answer, took)
}

fn ask(engine: &Engine, session: &str, prompt: &Prompt) -> (String, Usage) {
    read(start(engine, session, prompt.clone(), sampled(7, 30)))
}

fn sampled(seed: u64, most: u32) -> GenerateOptions {
    let sampling = Sampling { temperature: Some(1.5), seed: Some(seed), ..Sampling::default() };
    GenerateOptions { sampling, max_tokens: Some(most), ignore_end: true, ..GenerateOptions::default() }
}

fn chat(messages: &[ChatMessage]) -> Prompt {
    Prompt::Chat { messages: messages.to_vec(), tools: Vec::new() }
}

fn raw(words: usize, end: &str) -> Prompt {
    Prompt::Raw(format!("{}{end}", "one two three four ".repeat(words / 4)))
}

#[test]
fn a_second_turn_knows_the_first() {
    let engine = load(EngineOptions::default());
    let mut messages = vec![ChatMessage::system("Be brief. ".repeat(30)), ChatMessage::user("hello there")];
    let (answer, first) = ask(&engine, "a", &chat(&messages));
    assert_eq!(first.cached_tokens, 0);
    messages.extend([ChatMessage::assistant(answer), ChatMessage::user("and you?")]);
    let (answer, second) = ask(&engine, "a", &chat(&messages));
    assert!(second.cached_tokens >= first.prompt_tokens - 1, "{first:?} {second:?}");
    assert!(second.cached_tokens < second.prompt_tokens);

    // The same in a session that knows nothing, in one that is not told of, and once more.
    for (session, known) in [("b", 0), ("", 0), ("", 0), ("b", second.prompt_tokens - 1)] {
        let (again, usage) = ask(&engine, session, &chat(&messages));
        assert_eq!((again, usage.cached_tokens), (answer.clone(), known), "in session `{session}`");
    }
}

#[test]
fn a_prompt_that_differs_within_is_known_up_to_there() {
    let engine = load(EngineOptions::default());
    let (one, other) = (raw(150, "and five"), raw(150, "and then six"));
    let alone = ask(&engine, "", &other);
    ask(&engine, "a", &one);
    let (answer, usage) = ask(&engine, "a", &other);
    assert_eq!(answer, alone.0);
    assert!(usage.cached_tokens > 100 && usage.cached_tokens < usage.prompt_tokens - 1, "{usage:?}");
}

#[test]
fn without_room_nothing_is_kept() {
    let engine = load(EngineOptions { cache_bytes: Some(0), ..EngineOptions::default() });
    let first = ask(&engine, "a", &raw(100, ""));
    assert_eq!(ask(&engine, "a", &raw(100, "")), first);
    assert_eq!(first.1.cached_tokens, 0);
}

#[test]
fn answers_are_the_same_with_known_prefixes_and_beside_others() {
    let engine = load(EngineOptions { max_concurrent: 16, ..EngineOptions::default() });
    let prompts: Vec<Prompt> = (0..16).map(|index| raw(20 * (index % 5), &format!("number {}", index % 3))).collect();
    let alone: Vec<String> = (0..)
        .zip(&prompts)
        .map(|(seed, prompt)| read(start(&engine, "", prompt.clone(), sampled(seed, 40))).0)
        .collect();
    let mut known = 0;
    for _ in 0..3 {
        let running: Vec<Generation> = (0..)
            .zip(&prompts)
            .map(|(seed, prompt)| start(&engine, ["a", "b"][seed as usize % 2], prompt.clone(), sampled(seed, 40)))
            .collect();
        for (generation, alone) in running.into_iter().zip(&alone) {
            let (answer, usage) = read(generation);
            assert_eq!(answer, *alone);
            known += usage.cached_tokens;
        }
    }
    assert!(known > 1000, "{known} tokens were known");
}

/// Reads on until it is told that position.
fn wait_for_position(generation: &mut Generation, wanted: u32) {
    while let Some(event) = generation.blocking_next() {
        match event.expect("it waits") {
            Event::Queued { position } if position == wanted => return,
            Event::Queued { .. } => {}
            other => panic!("{other:?} before position {wanted}"),
        }
    }
}

#[test]
fn who_waits_is_told_the_position_and_sessions_take_turns() {
    let engine = load(EngineOptions { max_concurrent: 1, ..EngineOptions::default() });
    let cancel = CancellationToken::new();
    let mut busy = engine.generate(Request {
        session: "a".to_owned(),
        prompt: raw(0, "a"),
        options: sampled(3, 900),
        cancel: cancel.clone(),
    });
    assert!(matches!(busy.blocking_next(), Some(Ok(Event::Text(_)))));
    // A reader that is behind would give its place to others.
    let reader = std::thread::spawn(move || while busy.blocking_next().is_some() {});

    let [mut first, mut second] = [1, 2].map(|seed| start(&engine, "a", raw(0, "b"), sampled(seed, 3)));
    wait_for_position(&mut first, 1);
    wait_for_position(&mut second, 2);
    let mut other = start(&engine, "b", raw(0, "b"), sampled(1, 3));
    wait_for_position(&mut other, 1);
    wait_for_position(&mut first, 2);
    wait_for_position(&mut second, 3);
    // One that gives up makes room.
    drop(other);
    wait_for_position(&mut first, 1);
    wait_for_position(&mut second, 2);
    cancel.cancel();
    reader.join().expect("the reader ends");
    assert_eq!(read(first).1.completion_tokens, 3);
    assert_eq!(read(second).1.completion_tokens, 3);
}
