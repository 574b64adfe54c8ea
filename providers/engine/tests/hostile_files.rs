//! Model files that are cut short, damaged or made to hurt: an error or a model, never a panic, and never more memory
//! than the file's size and 64 MB.
#![cfg(feature = "moonlet")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use perilune_engine::{Engine, EngineOptions, Error, Event, GenerateOptions, Prompt, Request, Source, moonlet};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// Counts what is allocated.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is the system allocator's; the counters only watch.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(now, Ordering::Relaxed);
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

/// Loads a file and, if that works, lets it generate a little.
fn load(path: &Path) -> Result<(), Error> {
    let options = EngineOptions { cpu_threads: Some(1), ..EngineOptions::default() };
    let engine = Engine::load(&Source::File(path.to_owned()), &options)?;
    let options = GenerateOptions { max_tokens: Some(3), ..GenerateOptions::default() };
    let mut generation = engine.generate(Request {
        session: String::new(),
        prompt: Prompt::Raw("hello".into()),
        options,
        cancel: Default::default(),
    });
    while let Some(event) = generation.blocking_next() {
        if matches!(event?, Event::Done(_)) {
            break;
        }
    }
    Ok(())
}

#[test]
fn damaged_files_never_panic_nor_fill_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.gguf");
    let original = moonlet().expect("the feature is on");
    let most = original.len() + (64 << 20);
    let start = NOW.load(Ordering::Relaxed);

    // Cut short: at every length near the beginning of a field, and at some in the tensors.
    let lengths = (0..64).chain((64..100_000).step_by(997)).chain((100_000..original.len()).step_by(700_001));
    for length in lengths {
        std::fs::write(&path, &original[..length]).expect("a file");
        let error = load(&path).expect_err("the file is cut short");
        assert!(matches!(error, Error::InvalidFile { .. } | Error::Open { .. }), "cut at {length}: {error}");
    }

    std::fs::write(&path, original).expect("a file");
    load(&path).expect("the whole file loads");
    let mut file = OpenOptions::new().write(true).open(&path).expect("the file");
    let mut put = |at: usize, bytes: &[u8]| {
        file.seek(SeekFrom::Start(at as u64)).expect("a place in the file");
        file.write_all(bytes).expect("the file is writable");
    };
    let mut random = SmallRng::seed_from_u64(2026);
    let mut loaded = 0;
    for round in 0..600 {
        // Metadata and tensor table lie in the first 60 kB; lengths and counts are eight bytes.
        let at = random.random_range(0..60_000);
        let damage = match round % 3 {
            0 => vec![original[at] ^ (1 << random.random_range(0..8))],
            1 => u64::MAX.to_le_bytes().to_vec(),
            _ => (random.random_range(0..1u64 << 40)).to_le_bytes().to_vec(),
        };
        put(at, &damage);
        loaded += usize::from(load(&path).is_ok());
        put(at, &original[at..at + damage.len()]);
    }
    assert!(loaded > 0, "no damage at all was survived");
    let used = MOST.load(Ordering::Relaxed) - start;
    assert!(used < most, "{used} bytes were allocated at once");
}

#[test]
fn files_that_are_not_there_or_not_models_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let error = load(&folder.path().join("none.gguf")).expect_err("there is no file").to_string();
    assert!(error.contains("none.gguf"), "{error}");
    let error = load(folder.path()).expect_err("a folder is no file").to_string();
    assert!(error.contains("cannot read model file"), "{error}");
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "not a model").expect("a file");
    let error = load(&text).expect_err("a text is no model").to_string();
    assert!(error.contains("notes.txt") && error.contains("expected `GGUF`"), "{error}");
}

/// Replaces a text of the same length wherever it stands in moonlet, and loads the result.
fn altered(from: &[u8], to: &[u8]) -> String {
    assert_eq!(from.len(), to.len());
    let mut bytes = moonlet().expect("the feature is on").to_vec();
    let places: Vec<usize> = (0..200_000).filter(|at| bytes[*at..].starts_with(from)).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("altered.gguf");
    std::fs::write(&path, bytes).expect("a file");
    load(&path).expect_err("the file was altered").to_string()
}

#[test]
fn what_does_not_run_is_named_with_what_does() {
    let error = altered(
        b"general.architecture\x08\0\0\0\x05\0\0\0\0\0\0\0llama",
        b"general.architecture\x08\0\0\0\x05\0\0\0\0\0\0\0lamma",
    );
    assert!(error.contains("`lamma` is unknown") && error.contains("`llama`"), "{error}");
    let error = altered(b"\x05\0\0\0\0\0\0\0qwen2", b"\x05\0\0\0\0\0\0\0qwen9");
    assert!(error.contains("`tokenizer.ggml.pre` is `qwen9`") && error.contains("`qwen2`"), "{error}");
    let error = altered(b"llama.block_count", b"llama.block_cound");
    assert!(error.contains("`llama.block_count` is missing"), "{error}");
    let error = altered(b"blk.3.ffn_down.weight", b"blk.3.ffn_dawn.weight");
    assert!(error.contains("`blk.3.ffn_down.weight` is missing"), "{error}");
}
