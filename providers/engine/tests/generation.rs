//! Generations through the public interface, on moonlet: events, limits, many at once, cancellation, slow readers.
#![cfg(feature = "moonlet")]

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use perilune_engine::{
    Biased, ChatMessage, Engine, EngineOptions, Error, Event, FinishReason, GenerateOptions, Generation, LogitBias,
    Prefill, Prompt, Request, Sampling, Source, TokenLogprobs, Tool, ToolCall, Usage, moonlet,
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

fn load(options: EngineOptions) -> Engine {
    Engine::load(&Source::Bundled(moonlet().expect("the feature is on")), &options).expect("moonlet loads")
}

/// An engine most tests share.
fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| load(EngineOptions { max_concurrent: 16, ..EngineOptions::default() }))
}

fn greedy() -> GenerateOptions {
    GenerateOptions {
        sampling: Sampling { temperature: Some(0.0), ..Sampling::default() },
        ..GenerateOptions::default()
    }
}

/// Samples from nearly the whole vocabulary, so that an answer rarely ends by itself.
fn endless(seed: u64) -> GenerateOptions {
    let sampling = Sampling {
        temperature: Some(5.0),
        top_k: Some(0),
        top_p: Some(1.0),
        min_p: Some(0.0),
        seed: Some(seed),
        ..Sampling::default()
    };
    GenerateOptions { sampling, max_tokens: Some(200), ..GenerateOptions::default() }
}

/// Options with which moonlet, asked to go on from `a`, says something for at least 500 tokens.
fn long_winded(engine: &Engine) -> GenerateOptions {
    let options = |seed| GenerateOptions { max_tokens: None, ..endless(seed) };
    let is_long = |seed: &u64| {
        let answer = ask(engine, Prompt::Raw("a".into()), options(*seed)).expect("it answers");
        answer.usage.expect("usage came").completion_tokens >= 500
    };
    options((0..1000).find(is_long).expect("some seed gives a long answer"))
}

fn chat(text: &str) -> Prompt {
    Prompt::Chat { messages: vec![ChatMessage::user(text)], tools: Vec::new() }
}

fn start(engine: &Engine, prompt: Prompt, options: GenerateOptions) -> Generation {
    engine.generate(Request { session: String::new(), prompt, options, cancel: CancellationToken::new() })
}

/// What a generation said.
#[derive(Debug, Default, PartialEq)]
struct Answer {
    text: String,
    calls: Vec<ToolCall>,
    logprobs: Vec<TokenLogprobs>,
    usage: Option<Usage>,
    reason: Option<FinishReason>,
}

fn finish(mut generation: Generation) -> Result<Answer, Error> {
    let mut answer = Answer::default();
    while let Some(event) = generation.blocking_next() {
        assert_eq!(answer.reason, None, "nothing comes after `Done`");
        match event? {
            Event::Queued { .. } => assert!(answer.text.is_empty(), "it waits before it begins"),
            Event::Loading | Event::Dropped(_) | Event::Route(_) | Event::Budget(_) => {
                panic!("the engine has its model")
            }
            Event::Prefill(_) => assert!(answer.text.is_empty(), "the prompt is computed before the answer"),
            Event::Text(text) => answer.text.push_str(&text),
            Event::Thinking(text) => panic!("moonlet does not think: {text}"),
            Event::Logprobs(logprobs) => answer.logprobs.push(logprobs),
            Event::ToolCall(call) => answer.calls.push(call),
            Event::Usage(usage) => assert_eq!(answer.usage.replace(usage), None, "usage comes once"),
            Event::Done(reason) => {
                assert!(answer.usage.is_some(), "usage comes before `Done`");
                answer.reason = Some(reason);
            }
        }
    }
    Ok(answer)
}

fn ask(engine: &Engine, prompt: Prompt, options: GenerateOptions) -> Result<Answer, Error> {
    finish(start(engine, prompt, options))
}

/// Runs sixteen requests at once and compares each answer with the one it gets alone.
fn together_as_alone(options: impl Fn(u64) -> GenerateOptions) {
    let prompts: Vec<Prompt> = (0..16)
        .map(|index| match index % 4 {
            0 => chat(&format!("What is {} plus {}?", index + 3, 40 - index)),
            1 => chat("What is the capital of France?"),
            2 => Prompt::Raw(format!("{} and so on, ", "one two three ".repeat(index * 5))),
            _ => chat(&"hello ".repeat(index * 10)),
        })
        .collect();
    let alone: Vec<Answer> = prompts
        .iter()
        .zip(0..)
        .map(|(prompt, seed)| ask(engine(), prompt.clone(), options(seed)).expect("it answers"))
        .collect();
    let running: Vec<Generation> =
        prompts.iter().zip(0..).map(|(prompt, seed)| start(engine(), prompt.clone(), options(seed))).collect();
    for (generation, alone) in running.into_iter().zip(alone) {
        assert_eq!(finish(generation).expect("it answers"), alone);
    }
}

#[test]
fn moonlet_answers() {
    let answer = ask(engine(), chat("What is the capital of France?"), greedy()).expect("it answers");
    assert_eq!(answer.text, "The capital of France is Paris.");
    assert_eq!(answer.reason, Some(FinishReason::Stop));
    let usage = answer.usage.expect("usage came");
    assert!(usage.prompt_tokens > 5 && usage.completion_tokens > 3, "{usage:?}");
}

#[test]
fn greedy_answers_are_the_same_alone_and_together() {
    together_as_alone(|_| GenerateOptions { max_tokens: Some(40), ..greedy() });
}

#[test]
fn a_seed_gives_the_same_answer_alone_and_together() {
    together_as_alone(endless);
    let different = ask(engine(), chat("hello"), endless(1)).expect("it answers");
    assert_ne!(different.text, ask(engine(), chat("hello"), endless(2)).expect("it answers").text);
}

#[test]
fn more_requests_than_places_wait_their_turn() {
    let engine = load(EngineOptions { max_concurrent: 2, cpu_threads: Some(2), ..EngineOptions::default() });
    let running: Vec<Generation> =
        (0..12).map(|_| start(&engine, chat("What is the capital of Italy?"), greedy())).collect();
    for generation in running {
        assert_eq!(finish(generation).expect("it answers").text, "The capital of Italy is Rome.");
    }
}

#[test]
fn too_many_requests_of_a_session_are_refused_and_leave_room_for_others() {
    let engine = load(EngineOptions { max_concurrent: 1, ..EngineOptions::default() });
    let mut running: Vec<Generation> = (0..600).map(|seed| start(&engine, chat("hello"), endless(seed))).collect();
    let Some(Err(error)) = running.pop().and_then(|mut last| last.blocking_next()) else {
        panic!("600 requests of one session have places");
    };
    let Error::Overloaded { waiting, own } = error else { panic!("{error}") };
    assert!(own == waiting && waiting < 200, "{error}");

    let options = GenerateOptions { max_tokens: Some(1), ..greedy() };
    let other = engine.generate(Request {
        session: "another".to_owned(),
        prompt: chat("hello"),
        options,
        cancel: CancellationToken::new(),
    });
    drop(running);
    assert!(!finish(other).expect("it answers").text.is_empty());
}

#[test]
fn tool_calls_are_events() {
    let tool = Tool {
        name: "get_weather".into(),
        description: "Get the current weather of a city".into(),
        parameters: json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}),
    };
    assert!(engine().info().supports_tools);
    let messages = vec![ChatMessage::user("What is the weather in Oslo?")];
    let answer = ask(engine(), Prompt::Chat { messages, tools: vec![tool] }, greedy()).expect("it answers");
    let call = ToolCall { id: "call_0".into(), name: "get_weather".into(), arguments: json!({"city": "Oslo"}) };
    assert_eq!((answer.calls.as_slice(), answer.text.as_str()), ([call].as_slice(), ""));
    assert_eq!(answer.reason, Some(FinishReason::ToolCalls));
}

#[test]
fn answers_end_where_they_are_told_to() {
    let prompt = || chat("What is the capital of France?");
    let few = GenerateOptions { max_tokens: Some(2), ..greedy() };
    let answer = ask(engine(), prompt(), few).expect("it answers");
    assert_eq!(answer.reason, Some(FinishReason::Length));
    assert_eq!(answer.usage.expect("usage came").completion_tokens, 2);
    assert!("The capital of France is Paris.".starts_with(&answer.text));

    let stop = GenerateOptions { stop: vec!["ance is P".into(), "Rome".into()], ..greedy() };
    let answer = ask(engine(), prompt(), stop).expect("it answers");
    assert_eq!((answer.text.as_str(), answer.reason), ("The capital of Fr", Some(FinishReason::Stop)));
}

#[test]
fn a_full_context_ends_the_answer_and_an_overfull_prompt_is_refused() {
    let engine = load(EngineOptions { context_size: Some(64), ..EngineOptions::default() });
    let long = Prompt::Raw("one two three four ".repeat(40));
    let length = engine.tokenize("one two three four ".repeat(40).as_str()).len();
    let error = ask(&engine, long.clone(), greedy()).expect_err("it does not fit").to_string();
    assert!(error.contains(&format!("{length} tokens")) && error.contains("holds 64"), "{error}");

    let answer = ask(&engine, long, GenerateOptions { truncate: true, ..endless(4) }).expect("it is cut");
    let usage = answer.usage.expect("usage came");
    assert_eq!(usage.prompt_tokens as usize + usage.truncated_tokens as usize, length);
    assert!(usage.prompt_tokens + usage.completion_tokens <= 64);

    let answer = ask(&engine, Prompt::Raw("one two".into()), endless(7)).expect("it answers");
    let usage = answer.usage.expect("usage came");
    if answer.reason == Some(FinishReason::Length) {
        assert_eq!(usage.prompt_tokens + usage.completion_tokens, 64);
    }
}

#[test]
fn bad_requests_are_told_what_would_have_worked() {
    let bad =
        |options: GenerateOptions| ask(engine(), chat("hello"), options).expect_err("the option is bad").to_string();
    let sampling = Sampling { temperature: Some(-1.0), ..Sampling::default() };
    assert_eq!(bad(GenerateOptions { sampling, ..greedy() }), "`temperature` is `-1`, expected 0 (greedy) to 100");
    assert!(bad(GenerateOptions { max_tokens: Some(0), ..greedy() }).starts_with("`max_tokens` is `0`"));
    assert!(bad(GenerateOptions { stop: vec![String::new()], ..greedy() }).starts_with("`stop` is ``"));
    assert!(matches!(ask(engine(), Prompt::Raw(String::new()), greedy()), Err(Error::EmptyPrompt)));
    for options in [
        EngineOptions { context_size: Some(1), ..EngineOptions::default() },
        EngineOptions { context_size: Some(1 << 20), ..EngineOptions::default() },
        EngineOptions { cpu_threads: Some(0), ..EngineOptions::default() },
        EngineOptions { max_concurrent: 0, ..EngineOptions::default() },
    ] {
        let error = Engine::load(&Source::Bundled(moonlet().expect("the feature is on")), &options);
        assert!(matches!(error, Err(Error::InvalidOption { .. })));
    }
}

/// Waits until the engine computes no more, and says how many passes it then had run.
fn settled(engine: &Engine) -> u64 {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let before = engine.steps();
        // Long against a pass of moonlet (under a millisecond), and only as long as the loop needs to see a change.
        let quiet = Instant::now();
        while quiet.elapsed() < Duration::from_millis(100) {
            std::thread::yield_now();
        }
        if engine.steps() == before {
            return before;
        }
        assert!(Instant::now() < deadline, "the engine goes on computing");
    }
}

#[test]
fn cancelling_stops_the_steps() {
    let engine = load(EngineOptions::default());
    let cancel = CancellationToken::new();
    let options = long_winded(&engine);
    let mut generation = engine.generate(Request {
        session: String::new(),
        prompt: Prompt::Raw("a".into()),
        options,
        cancel: cancel.clone(),
    });
    assert!(matches!(generation.blocking_next(), Some(Ok(Event::Text(_)))));
    cancel.cancel();
    let answer = finish(generation).expect("cancelling is no error");
    assert_eq!(answer.reason, Some(FinishReason::Cancelled));
    assert!(answer.usage.expect("usage came").completion_tokens < 500);
    let stopped = settled(&engine);
    assert_eq!(settled(&engine), stopped);
}

#[test]
fn dropping_a_generation_stops_the_steps() {
    let engine = load(EngineOptions::default());
    let options = long_winded(&engine);
    let before = settled(&engine);
    let mut generation = start(&engine, Prompt::Raw("a".into()), options);
    assert!(generation.blocking_next().is_some());
    drop(generation);
    assert!(settled(&engine) - before < 500);
}

#[test]
fn a_reader_that_does_not_read_pauses_only_itself() {
    let engine = load(EngineOptions { max_concurrent: 1, ..EngineOptions::default() });
    let options = long_winded(&engine);
    let before = settled(&engine);
    let mut stuck = start(&engine, Prompt::Raw("a".into()), options.clone());
    let first = stuck.blocking_next().expect("it begins").expect("it runs");
    let paused_at = settled(&engine) - before;
    assert!((200..500).contains(&paused_at), "paused after {paused_at} passes");

    let other = ask(&engine, chat("What is the capital of France?"), greedy()).expect("it answers");
    assert_eq!(other.text, "The capital of France is Paris.");

    // Read on, it goes on as if nothing had happened.
    let Event::Text(first) = first else { panic!("text comes first") };
    let rest = finish(stuck).expect("it answers");
    let alone = ask(&engine, Prompt::Raw("a".into()), options).expect("it answers");
    assert_eq!(format!("{first}{}", rest.text), alone.text);
}

#[test]
fn generations_outlive_the_handle() {
    let engine = load(EngineOptions::default());
    let generation = start(&engine, chat("What is the capital of Spain?"), greedy());
    drop(engine);
    assert_eq!(finish(generation).expect("it answers").text, "The capital of Spain is Madrid.");
}

#[test]
fn a_long_prompt_says_how_far_it_is() {
    let mut generation = start(engine(), Prompt::Raw("one two three four ".repeat(75)), endless(1));
    let mut told = Vec::new();
    let mut usage = Usage::default();
    while let Some(event) = generation.blocking_next() {
        match event.expect("an event") {
            Event::Prefill(prefill) => told.push(prefill),
            Event::Usage(said) => usage = said,
            _ => {}
        }
    }
    assert!(!told.is_empty() && told.is_sorted_by_key(|prefill| prefill.computed_tokens), "{told:?}");
    let within = |prefill: &Prefill| prefill.computed_tokens > 0 && prefill.computed_tokens < prefill.prompt_tokens;
    assert!(told.iter().all(|prefill| within(prefill) && prefill.prompt_tokens == usage.prompt_tokens), "{told:?}");
}

#[test]
fn logprobs_tell_what_the_model_thought_of_each_token() {
    let plain = ask(engine(), chat("What is 12 plus 30?"), greedy()).expect("it answers");
    let options = GenerateOptions { logprobs: Some(3), ..greedy() };
    let answer = ask(engine(), chat("What is 12 plus 30?"), options).expect("it answers");
    assert_eq!(answer.text, plain.text);
    let told: String = answer.logprobs.iter().map(|token| token.chosen.token.as_str()).collect();
    assert_eq!(told, answer.text);
    for token in &answer.logprobs {
        // Greedy takes the likeliest; probabilities of some tokens sum to at most 1.
        assert_eq!((token.top.len(), &token.top[0]), (3, &token.chosen));
        assert!(token.top.windows(2).all(|pair| pair[0].logprob >= pair[1].logprob));
        assert!(token.top.iter().map(|token| token.logprob.exp()).sum::<f32>() <= 1.0001);
    }
    let error = ask(engine(), chat("hi"), GenerateOptions { logprobs: Some(21), ..greedy() }).expect_err("too many");
    assert!(error.to_string().contains("`logprobs` is `21`, expected 0 to 20"), "{error}");
}

#[test]
fn a_bias_forbids_tokens_by_number_and_by_text() {
    let options = GenerateOptions { logprobs: Some(0), ..greedy() };
    let answer = ask(engine(), chat("What is the capital of France?"), options.clone()).expect("it answers");
    let first = answer.logprobs[0].chosen.clone();
    for token in [Biased::Id(first.id.expect("the engine knows it")), Biased::Text(first.token.clone())] {
        let options = GenerateOptions { logit_bias: vec![LogitBias { token, bias: -100.0 }], ..options.clone() };
        let other = ask(engine(), chat("What is the capital of France?"), options).expect("it answers");
        assert_ne!(other.logprobs[0].chosen.id, first.id);
        // What the model thinks is told as it is, whatever is forbidden.
        assert!(other.logprobs[0].chosen.logprob < first.logprob);
    }
    let token = Biased::Id(4_000_000);
    let options = GenerateOptions { logit_bias: vec![LogitBias { token, bias: 1.0 }], ..greedy() };
    let error = ask(engine(), chat("hi"), options).expect_err("no such token").to_string();
    assert!(error.contains("`logit_bias` is `4000000`, expected a token below"), "{error}");
}

/// A text's own, whatever its session knows, what is computed beside it and how many passes it takes.
#[tokio::test]
async fn an_embedding_is_the_same_alone_and_beside_others() {
    let long = "The moon is far away. ".repeat(80);
    let embed = |session: &'static str, text: &str| {
        let text = text.to_owned();
        async move { engine().embed(session, &text).await.expect("it is embedded") }
    };
    let (moon, far) = (embed("", "The moon").await, embed("", &long).await);
    assert_eq!(moon.vector.len(), engine().info().hidden);
    assert_eq!(far.tokens as usize, engine().tokenize(&long).len());
    for embedding in [&moon, &far] {
        let length: f32 = embedding.vector.iter().map(|value| value * value).sum();
        assert!((length - 1.0).abs() < 1e-4, "{length}");
    }
    let likeness: f32 = moon.vector.iter().zip(&far.vector).map(|(one, other)| one * other).sum();
    assert!(likeness < 0.99, "texts that differ point elsewhere: {likeness}");

    let beside = start(engine(), Prompt::Raw(long.clone()), GenerateOptions { max_tokens: Some(5), ..greedy() });
    let (again, first, second) = tokio::join!(embed("a", &long), embed("a", "The moon"), embed("a", &long));
    assert!(again == far && first == moon && second == far);
    drop(beside);
    let error = engine().embed("", &"moon ".repeat(5000)).await.expect_err("it is too long");
    assert!(matches!(error, Error::ContextOverflow { .. }), "{error}");
}
