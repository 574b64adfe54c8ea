//! Hostile GGUF files through the engine's front door: looked at, loaded, a conversation rendered, a token or two generated.
//! An input is a GGUF file, or a recipe for one (`src/model.rs`). The engine may refuse it, but not panic, hang, keep memory
//! or have more of it at once than the file's size and 64 MB.
#![no_main]

#[path = "../src/model.rs"]
mod model;

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use perilune_engine::{ChatMessage, Engine, EngineOptions, Error, Event, GenerateOptions, Prompt, Request, Source};
use tokio_util::sync::CancellationToken;

/// Allocations beyond the file's size that are allowed.
const ALLOWANCE: usize = 64 << 20;
/// What may stay of an input: what is built once, such as regular expressions.
const KEPT: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(5);

/// Counts what is allocated, and ends the process when it is too much.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(usize::MAX);

// SAFETY: every call is the system allocator's; the counter only watches.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        if now > MOST.load(Ordering::Relaxed) {
            MOST.store(usize::MAX, Ordering::Relaxed);
            eprintln!("{now} bytes are allocated at once, {} of them just now", layout.size());
            std::process::abort();
        }
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fuzz_target!(|bytes: &[u8]| {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    let path = PATH.get_or_init(|| {
        let folder =
            if std::fs::exists("/dev/shm").unwrap_or(false) { "/dev/shm".into() } else { std::env::temp_dir() };
        folder.join(format!("perilune-fuzz-{}.gguf", std::process::id()))
    });
    let file = model::file(bytes);
    std::fs::write(path, &file).expect("the file can be written");
    let before = NOW.load(Ordering::Relaxed);
    MOST.store(before + file.len() + ALLOWANCE, Ordering::Relaxed);
    let outcome = use_model(&Source::File(path.clone()));
    if let Err(problem) = outcome {
        // What an error says is for people, so it is short.
        assert!(problem.to_string().len() < 8192, "an error of {} bytes", problem.to_string().len());
    }
    let began = Instant::now();
    while NOW.load(Ordering::Relaxed) > before + KEPT {
        assert!(began.elapsed() < PATIENCE, "{} bytes are kept", NOW.load(Ordering::Relaxed) - before);
        std::thread::yield_now();
    }
    MOST.store(usize::MAX, Ordering::Relaxed);
});

/// Looks at a model, loads it, and lets it answer as far as it goes.
fn use_model(source: &Source) -> Result<(), Error> {
    let options = EngineOptions { cpu_threads: Some(1), max_concurrent: 2, ..EngineOptions::default() };
    let looked_at = Engine::inspect(source, &options);
    let engine = Engine::load(source, &options)?;
    // What loads was not refused by its header.
    let info = looked_at?;
    assert_eq!((&info, info.vocabulary > 0), (engine.info(), true));
    let tool =
        perilune_engine::Tool { name: "look".into(), description: "looks".into(), parameters: Default::default() };
    let messages = vec![ChatMessage::system("be brief"), ChatMessage::user("hello world\n\u{2581}é")];
    let _ = engine.render(&messages, &[tool]);
    let prompts = [Prompt::Chat { messages, tools: Vec::new() }, Prompt::Raw("hello hello\n".into())];
    for prompt in prompts {
        let options = GenerateOptions { max_tokens: Some(2), truncate: true, logprobs: Some(3), ..Default::default() };
        let request = Request { session: "fuzz".into(), prompt, options, cancel: CancellationToken::new() };
        let mut generation = engine.generate(request);
        while let Some(event) = generation.blocking_next() {
            match event {
                // An engine whose thread is gone has panicked.
                Err(Error::Stopped) => panic!("the engine's thread is gone"),
                Err(_) | Ok(Event::Done(_)) => break,
                Ok(_) => {}
            }
        }
    }
    Ok(())
}
