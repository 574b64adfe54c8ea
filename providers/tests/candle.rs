//! The `candle` provider with the real bundled model: loading, generating, unloading, and files
//! that are no models.

#![expect(clippy::unwrap_used, reason = "helpers of a test, where a panic is the message")]

use std::fs;
use std::path::Path;

use futures::future::join_all;
use futures::{FutureExt, StreamExt};
use perilune_providers::{
    CandleProvider, ChatMessage, Config, Error, ErrorKind, Event, EventStream, FinishReason, GenerateOptions,
    GenerateRequest, Holding, LocalProvider, Location, Prompt, Provider, ProviderOptions, Sampling, Usage,
};
use tokio_util::sync::CancellationToken;

fn provider(keys: &str) -> CandleProvider {
    let config = Config::from_toml(&format!("[providers.candle]\n{keys}"), "c.toml").unwrap();
    let provider = &config.providers["candle"];
    match &provider.options {
        ProviderOptions::Candle(options) => CandleProvider::new("candle", provider, options),
        other => panic!("{other:?}"),
    }
}

fn with_folder(folder: &Path) -> CandleProvider {
    provider(&format!("model_directory = \"{}\"", folder.display()))
}

fn ask(provider: &CandleProvider, model: &str, text: &str) -> EventStream {
    let messages = vec![ChatMessage::user(text)];
    let request = GenerateRequest {
        session: String::new(),
        model: model.to_owned(),
        prompt: Prompt::Chat { messages, tools: Vec::new() },
        options: GenerateOptions::default(),
    };
    provider.generate(request, CancellationToken::new())
}

/// Reads up to the first piece of the answer; the events before it tell of the load and of the prompt.
async fn text_has_begun(events: &mut EventStream) {
    while !matches!(events.next().await.expect("text comes before the end"), Ok(Event::Text(_))) {}
}

async fn answer(events: EventStream) -> Result<(String, Usage, FinishReason), Error> {
    let events: Vec<_> = events.collect().await;
    let events = events.into_iter().collect::<Result<Vec<Event>, Error>>()?;
    let (mut text, mut usage) = (String::new(), None);
    for event in &events {
        match event {
            Event::Text(more) => text.push_str(more),
            Event::Usage(said) => usage = Some(*said),
            Event::Loading | Event::Queued { .. } | Event::Prefill(_) | Event::Done(_) => {}
            other => panic!("{other:?}"),
        }
    }
    let Some(Event::Done(reason)) = events.last() else { panic!("{events:?}") };
    Ok((text, usage.expect("usage"), *reason))
}

async fn failure(events: EventStream) -> Error {
    answer(events).await.unwrap_err()
}

/// The bundled model as a file's bytes.
fn moonlet() -> Vec<u8> {
    perilune_engine::moonlet().unwrap().to_vec()
}

#[tokio::test]
async fn the_bundled_model_answers_the_same_each_time() {
    let provider = provider("");
    let (text, usage, reason) = answer(ask(&provider, "moonlet", "What is 2 + 3?")).await.unwrap();
    assert!(text.contains('5'), "{text}");
    assert_eq!(reason, FinishReason::Stop);
    assert!(usage.prompt_tokens > 5 && usage.completion_tokens > 0, "{usage:?}");
    assert_eq!(answer(ask(&provider, "moonlet", "What is 2 + 3?")).await.unwrap().0, text);

    let loaded = provider.loaded().await.unwrap();
    assert_eq!(loaded.len(), 1);
    assert!(loaded[0].steps > 0 && loaded[0].memory_bytes > 1_000_000, "{loaded:?}");
    assert_eq!((loaded[0].active_requests, loaded[0].unloading), (0, false));
    let info = provider.info("moonlet").await.unwrap();
    assert_eq!(info.architecture, "llama");
    assert_eq!(provider.loads(), 1);
}

#[tokio::test]
async fn keys_and_values_in_eight_bits_take_about_half() {
    let halves = provider("").info("moonlet").await.unwrap();
    let provider = provider("kv_cache_type = \"q8_0\"");
    let eights = provider.info("moonlet").await.unwrap();
    assert_eq!((halves.kv_cache_type.as_str(), eights.kv_cache_type.as_str()), ("f16", "q8_0"));
    let ratio = eights.kv_bytes_per_token as f64 / halves.kv_bytes_per_token as f64;
    assert!((0.53..0.55).contains(&ratio), "{ratio}");
    // What is kept of a full context is part of what the model is reckoned to take.
    let kept = |bytes_per_token: u64| bytes_per_token * halves.context_size as u64;
    let saved = kept(halves.kv_bytes_per_token) - kept(eights.kv_bytes_per_token);
    assert_eq!(halves.memory_bytes - eights.memory_bytes, saved);
    assert_eq!(provider.load("moonlet").await.unwrap().memory_bytes, eights.memory_bytes);
    let (text, ..) = answer(ask(&provider, "moonlet", "What is 2 + 3?")).await.unwrap();
    assert!(text.contains('5'), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_model_is_loaded_once_however_many_ask() {
    let provider = provider("");
    let asked = (0..64).map(|index| {
        let provider = provider.clone();
        tokio::spawn(async move {
            if index % 8 == 0 {
                answer(ask(&provider, "moonlet", "hi")).await.map(drop)
            } else {
                provider.load("moonlet").await.map(drop)
            }
        })
    });
    for result in join_all(asked).await {
        result.unwrap().unwrap();
    }
    assert_eq!(provider.loads(), 1);
}

#[tokio::test]
async fn a_load_goes_on_when_the_one_who_asked_has_left() {
    let provider = provider("");
    // Polled once, then dropped.
    let _ = provider.load("moonlet").now_or_never();
    provider.load("moonlet").await.unwrap();
    assert_eq!(provider.loads(), 1);
}

#[tokio::test]
async fn a_failed_load_fails_for_all_who_wait_and_is_then_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tiny.gguf");
    fs::write(&file, &moonlet()[..1_000_000]).unwrap();
    let provider = with_folder(folder.path());

    let errors = join_all((0..16).map(|_| provider.load("tiny"))).await;
    assert!(errors.iter().all(|result| result.as_ref().unwrap_err().kind() == ErrorKind::InvalidModelFile));
    let before = provider.loads();
    assert!(before < 16, "{before} loads for 16 who asked at once");

    fs::write(&file, moonlet()).unwrap();
    provider.load("tiny").await.unwrap();
    assert_eq!(provider.loads(), before + 1);
    let (text, ..) = answer(ask(&provider, "moonlet", "What is 2 + 3?")).await.unwrap();
    let options = GenerateOptions {
        sampling: Sampling { temperature: Some(0.0), ..Sampling::default() },
        ..GenerateOptions::default()
    };
    let prompt = Prompt::Chat { messages: vec![ChatMessage::user("What is 2 + 3?")], tools: Vec::new() };
    let request = GenerateRequest { session: String::new(), model: "tiny".to_owned(), prompt, options };
    assert_eq!(answer(provider.generate(request, CancellationToken::new())).await.unwrap().0, text);
}

#[tokio::test]
async fn files_that_are_no_models_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let whole = moonlet();
    let mut magic = whole.clone();
    magic[0] = b'X';
    let mut architecture = whole.clone();
    let key = b"general.architecture";
    let at = architecture.windows(key.len()).position(|window| window == key).unwrap() + key.len() + 12;
    assert_eq!(&architecture[at..at + 5], b"llama");
    architecture[at..at + 5].copy_from_slice(b"lunar");
    for (name, bytes) in [
        ("empty", &whole[..0]),
        ("magic", &magic),
        ("header", &whole[..10]),
        ("metadata", &whole[..5_000]),
        ("tensors", &whole[..whole.len() - 4_096]),
        ("architecture", &architecture),
    ] {
        let file = folder.path().join(format!("{name}.gguf"));
        fs::write(&file, bytes).unwrap();
        let provider = with_folder(folder.path());
        let error = failure(ask(&provider, name, "hi")).await;
        assert_eq!(error.kind(), ErrorKind::InvalidModelFile, "{error}");
        assert!(error.to_string().contains(&file.display().to_string()), "{error}");
        if name == "architecture" {
            assert!(error.to_string().contains("lunar"), "{error}");
        }
        // The others are served all the same.
        answer(ask(&provider, "moonlet", "hi")).await.unwrap();
        assert_eq!(provider.loaded().await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_prompt_longer_than_the_context_says_both_lengths() {
    let provider = provider("context_size = 64");
    let error = failure(ask(&provider, "moonlet", &"one two three ".repeat(100))).await;
    let Error::ContextOverflow { prompt_tokens, context_size, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*context_size, 64);
    assert!(*prompt_tokens > 300);
    assert_eq!(error.kind(), ErrorKind::ContextOverflow);
    let text = error.to_string();
    assert!(text.contains(&prompt_tokens.to_string()) && text.contains("64"), "{text}");
}

#[tokio::test]
async fn a_context_size_is_a_limit_for_models_of_many_sizes() {
    let small = provider("context_size = 64").load("moonlet").await.unwrap();
    assert_eq!(small.context_size, 64);
    let large = provider("context_size = 1_000_000");
    let facts = large.info("moonlet").await.unwrap();
    assert_eq!(facts.context_size, facts.context_length);
    assert!(large.loaded().await.unwrap().is_empty(), "facts need no model in memory");
    assert_eq!(large.load("moonlet").await.unwrap().context_size, facts.context_length);
}

#[tokio::test]
async fn a_template_that_does_not_compile_is_the_fault_of_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = moonlet();
    let key = b"tokenizer.chat_template";
    let at = bytes.windows(key.len()).position(|window| window == key).unwrap() + key.len() + 12;
    bytes[at..at + 4].copy_from_slice(b"{% x");
    let file = folder.path().join("tiny.gguf");
    fs::write(&file, bytes).unwrap();
    let error = with_folder(folder.path()).load("tiny").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidModelFile, "{error}");
    assert!(error.to_string().contains(&file.display().to_string()), "{error}");
}

#[tokio::test]
async fn the_folder_of_models_is_searched_by_file_name() {
    let folder = tempfile::tempdir().unwrap();
    let inside = |path: &str| folder.path().join(path);
    fs::create_dir_all(inside("sub/deeper")).unwrap();
    fs::create_dir_all(inside(".hidden")).unwrap();
    fs::create_dir_all(inside("folder.gguf")).unwrap();
    for file in
        ["a.gguf", "sub/a.gguf", "sub/deeper/b.GGUF", "moonlet.gguf", "my model.gguf", "notes.txt", ".hidden/c.gguf"]
    {
        fs::write(inside(file), "not a model").unwrap();
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(inside("a.gguf"), inside("link.gguf")).unwrap();
        std::os::unix::fs::symlink(inside("nothing"), inside("broken.gguf")).unwrap();
        std::os::unix::fs::symlink(folder.path(), inside("sub/around")).unwrap();
    }
    let provider = with_folder(folder.path());
    let entries = provider.models().await.unwrap();
    let listed: Vec<(&str, bool)> = entries.iter().map(|entry| (&*entry.name, entry.problem.is_none())).collect();
    let expected = [
        ("moonlet", true),
        ("a", true),
        ("a", false),
        ("b", true),
        #[cfg(unix)]
        ("link", true),
        ("moonlet", false),
        ("my model", false),
    ];
    assert_eq!(listed, expected);
    assert_eq!(entries[0].location, Location::Bundled);
    assert_eq!(entries[1].location, Location::File(inside("a.gguf")));
    assert_eq!(
        entries[2].problem.as_deref().unwrap(),
        format!("`{}` has that name; rename the file", inside("a.gguf").display())
    );
    assert_eq!(provider.holds("b").await.unwrap(), Holding::Stored);
    assert_eq!(provider.holds("c").await.unwrap(), Holding::Absent);
}

#[tokio::test]
async fn no_name_leads_out_of_the_folder() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("models");
    fs::create_dir(&folder).unwrap();
    fs::write(outer.path().join("secret.gguf"), moonlet()).unwrap();
    let provider = with_folder(&folder);
    let absolute = outer.path().join("secret").display().to_string();
    for (name, problem) in [
        ("../secret", "it has a separator"),
        (absolute.as_str(), "it has a separator"),
        ("..\\secret", "it has a separator"),
        ("..", "it starts with a dot"),
        ("", "it is empty"),
        ("a\u{0}b", "it has blanks or control characters"),
    ] {
        let error = provider.load(name).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        assert!(error.to_string().contains(problem), "{error}");
    }
    let error = failure(ask(&provider, "moonlet.gguf", "hi")).await;
    assert_eq!(error.to_string(), "no model `moonlet.gguf` on `candle`; did you mean `moonlet`?");
    assert_eq!(error.kind(), ErrorKind::ModelNotFound);
    assert_eq!(provider.loads(), 0);
}

#[tokio::test]
async fn an_unload_waits_for_the_generations_under_way() {
    let provider = provider("");
    let mut events = ask(&provider, "moonlet", "What is 2 + 3?");
    text_has_begun(&mut events).await;
    let mut unload = provider.unload("moonlet");
    assert!((&mut unload).now_or_never().is_none());
    let loaded = provider.loaded().await.unwrap();
    assert_eq!((loaded[0].active_requests, loaded[0].unloading), (1, true));

    // Who asks meanwhile does not wait for any of this.
    answer(ask(&provider, "moonlet", "What is 2 + 3?")).await.unwrap();
    assert_eq!(provider.loads(), 1);
    let (_, _, reason) = answer(events).await.unwrap();
    assert_eq!(reason, FinishReason::Stop);
    assert!(provider.loaded().await.unwrap().is_empty());
    unload.await.unwrap();

    provider.load("moonlet").await.unwrap();
    assert_eq!(provider.loads(), 2);
    provider.unload("moonlet").await.unwrap();
    assert!(provider.loaded().await.unwrap().is_empty());
    let error = provider.unload("moonlet").await.unwrap_err();
    assert_eq!(error.to_string(), "model `moonlet` is not loaded on `candle`; loaded: none");
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
}

#[tokio::test]
async fn an_unload_that_is_no_longer_waited_for_is_taken_back() {
    let provider = provider("");
    let mut events = ask(&provider, "moonlet", "What is 2 + 3?");
    text_has_begun(&mut events).await;
    let mut unload = provider.unload("moonlet");
    assert!((&mut unload).now_or_never().is_none());
    drop(unload);
    assert!(!provider.loaded().await.unwrap()[0].unloading);
    answer(events).await.unwrap();
    assert_eq!(provider.loaded().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_stream_that_is_dropped_lets_go_of_the_model() {
    let provider = provider("");
    let mut events = ask(&provider, "moonlet", "hi");
    text_has_begun(&mut events).await;
    drop(events);
    assert_eq!(provider.loaded().await.unwrap()[0].active_requests, 0);
    provider.unload("moonlet").await.unwrap();
}

#[tokio::test]
async fn cancelling_ends_the_stream_with_its_reason() {
    let provider = provider("");
    let request = |text: &str| GenerateRequest {
        session: String::new(),
        model: "moonlet".to_owned(),
        prompt: Prompt::Raw(text.to_owned()),
        options: GenerateOptions::default(),
    };
    let cancel = CancellationToken::new();
    cancel.cancel();
    let ended = answer(provider.generate(request("hi"), cancel)).await.unwrap();
    assert_eq!(ended, (String::new(), Usage::default(), FinishReason::Cancelled));
    assert_eq!(provider.loads(), 0);

    // While it waits for the load.
    let cancel = CancellationToken::new();
    let mut events = provider.generate(request("hi"), cancel.clone());
    let early = events.next().now_or_never();
    cancel.cancel();
    let reason = answer(events).await.unwrap().2;
    assert!(early.is_some() || reason == FinishReason::Cancelled, "{reason:?}");

    // While it generates.
    let cancel = CancellationToken::new();
    let mut events = provider.generate(request("one two three"), cancel.clone());
    text_has_begun(&mut events).await;
    cancel.cancel();
    let reason = answer(events).await.unwrap().2;
    assert!(matches!(reason, FinishReason::Cancelled | FinishReason::Stop), "{reason:?}");
}

#[tokio::test]
async fn a_request_ends_at_the_limit_of_its_instance() {
    let provider = provider("timeout_seconds = 0.000001");
    let error = failure(ask(&provider, "moonlet", "hi")).await;
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(error.to_string(), "model `moonlet`: no end after 0.000001 s, the `timeout_seconds` of `candle`");
}

#[tokio::test]
async fn a_request_ends_at_its_own_deadline() {
    let provider = provider("timeout_seconds = 600");
    let request = |timeout_seconds| GenerateRequest {
        session: String::new(),
        model: "moonlet".to_owned(),
        prompt: Prompt::Raw("Once upon a time".to_owned()),
        options: GenerateOptions { timeout_seconds: Some(timeout_seconds), ignore_end: true, ..Default::default() },
    };
    provider.load("moonlet").await.unwrap();
    let error = answer(provider.generate(request(0.05), CancellationToken::new())).await.unwrap_err();
    assert_eq!(error.to_string(), "model `moonlet`: no end after 0.05 s, the request's own `timeout_seconds`");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    for bad in [0.0, -1.0, f64::NAN] {
        let error = answer(provider.generate(request(bad), CancellationToken::new())).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
        assert!(error.to_string().contains("expected a number above 0"), "{error}");
    }
    // The time of this one is longer than clocks count; its generation ended, so that the model can go.
    let mut patient = provider.generate(request(f64::MAX), CancellationToken::new());
    text_has_begun(&mut patient).await;
    drop(patient);
    provider.unload("moonlet").await.unwrap();
}
