//! Model files that are cut short, damaged or made to hurt: an error or a model, never a panic, and never more memory
//! than the file's size and 64 MB.
#![cfg(feature = "moonlet")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use perilune_engine::{
    ChatMessage, Engine, EngineOptions, Error, Event, GenerateOptions, Prompt, Request, Source, moonlet,
};
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

/// Held by a test from its first line: what is counted is counted for the whole process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Memory that is allocated from now on.
struct Measure {
    start: usize,
}

impl Measure {
    fn begin() -> Measure {
        let start = NOW.load(Ordering::Relaxed);
        MOST.store(start, Ordering::Relaxed);
        Measure { start }
    }

    /// The most that was allocated at once stays within what a file of this size may have.
    fn check(&self, file_bytes: usize) {
        let used = MOST.load(Ordering::Relaxed).saturating_sub(self.start);
        assert!(used < file_bytes + (64 << 20), "{used} bytes were allocated at once for {file_bytes} of a file");
    }
}

/// Loads a file and, if that works, lets it generate a little.
fn load(path: &Path) -> Result<(), Error> {
    let options = EngineOptions { cpu_threads: Some(1), ..EngineOptions::default() };
    let source = Source::File(path.to_owned());
    let inspected = Engine::inspect(&source, &options);
    let engine = Engine::load(&source, &options)?;
    assert_eq!(engine.info(), &inspected.expect("what loads can be looked at"));
    generate(&engine, Prompt::Raw("hello".into()))
}

fn generate(engine: &Engine, prompt: Prompt) -> Result<(), Error> {
    let options = GenerateOptions { max_tokens: Some(3), ..GenerateOptions::default() };
    let request = Request { session: String::new(), prompt, options, cancel: Default::default() };
    let mut generation = engine.generate(request);
    while let Some(event) = generation.blocking_next() {
        if matches!(event?, Event::Done(_)) {
            break;
        }
    }
    Ok(())
}

#[test]
fn damaged_files_never_panic_nor_fill_memory() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.gguf");
    let original = moonlet().expect("the feature is on");
    let measure = Measure::begin();

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
    for round in 0..700 {
        // Metadata and tensor table lie in the first 60 kB; lengths and counts are eight bytes.
        let at = random.random_range(if round < 600 { 0..60_000 } else { 60_000..original.len() });
        let damage = match round % 3 {
            0 => vec![original[at] ^ (1 << random.random_range(0..8))],
            _ if at + 8 > original.len() => continue,
            1 => u64::MAX.to_le_bytes().to_vec(),
            _ => (random.random_range(0..1u64 << 40)).to_le_bytes().to_vec(),
        };
        put(at, &damage);
        loaded += usize::from(load(&path).is_ok());
        put(at, &original[at..at + damage.len()]);
    }
    assert!(loaded > 0, "no damage at all was survived");
    measure.check(original.len());
}

#[test]
fn files_that_are_not_there_or_not_models_are_named() {
    let _alone = alone();
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
    let _alone = alone();
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

/// A GGUF file in the making.
#[derive(Clone, Default)]
struct Draft {
    metadata: Vec<u8>,
    metadata_count: u64,
    tensors: Vec<u8>,
    tensor_count: u64,
    data: Vec<u8>,
}

const F32: u32 = 0;
const F16: u32 = 1;
const Q4_0: u32 = 2;
const U8_KIND: u32 = 0;
const F32_KIND: u32 = 6;
const TEXT_KIND: u32 = 8;

impl Draft {
    /// A model of one head and one layer, without a vocabulary and without tensors.
    fn model(hidden: u32, head_size: u32, feed_forward: u32, layers: u32) -> Draft {
        Draft::default()
            .text("general.architecture", b"llama")
            .number("llama.context_length", 64)
            .number("llama.embedding_length", hidden)
            .number("llama.block_count", layers)
            .number("llama.feed_forward_length", feed_forward)
            .number("llama.attention.head_count", 1)
            .number("llama.attention.key_length", head_size)
            .key("llama.attention.layer_norm_rms_epsilon", 6, &1e-5f32.to_le_bytes())
    }

    /// Text by text, as SentencePiece has them, with scores.
    fn spm(self, tokens: &[String]) -> Draft {
        let scores: Vec<u8> = (0..tokens.len()).flat_map(|index| (-(index as f32)).to_le_bytes()).collect();
        self.text("tokenizer.ggml.model", b"llama").texts("tokenizer.ggml.tokens", tokens).array(
            "tokenizer.ggml.scores",
            F32_KIND,
            tokens.len(),
            &scores,
        )
    }

    fn bpe(self, tokens: &[String], merges: &[String]) -> Draft {
        self.text("tokenizer.ggml.model", b"gpt2")
            .text("tokenizer.ggml.pre", b"qwen2")
            .texts("tokenizer.ggml.tokens", tokens)
            .texts("tokenizer.ggml.merges", merges)
    }

    /// The tensors of [`Draft::model`], matrices of one type where its blocks fit.
    fn weights(mut self, vocabulary: u64, [hidden, head_size, feed_forward, layers]: [u64; 4], kind: u32) -> Draft {
        self =
            self.tensor("token_embd.weight", &[hidden, vocabulary], F16).tensor("output_norm.weight", &[hidden], F32);
        for layer in 0..layers {
            for (part, inputs, outputs) in [
                ("attn_q", hidden, head_size),
                ("attn_k", hidden, head_size),
                ("attn_v", hidden, head_size),
                ("attn_output", head_size, hidden),
                ("ffn_gate", hidden, feed_forward),
                ("ffn_up", hidden, feed_forward),
                ("ffn_down", feed_forward, hidden),
            ] {
                let kind = if inputs.is_multiple_of(32) { kind } else { F16 };
                self = self.tensor(&format!("blk.{layer}.{part}.weight"), &[inputs, outputs], kind);
            }
            for part in ["attn_norm", "ffn_norm"] {
                self = self.tensor(&format!("blk.{layer}.{part}.weight"), &[hidden], F32);
            }
        }
        self
    }

    fn key(mut self, key: &str, kind: u32, value: &[u8]) -> Draft {
        self.metadata.extend(prefixed(key.as_bytes()));
        self.metadata.extend(kind.to_le_bytes());
        self.metadata.extend(value);
        self.metadata_count += 1;
        self
    }

    fn number(self, key: &str, number: u32) -> Draft {
        self.key(key, 4, &number.to_le_bytes())
    }

    fn text(self, key: &str, text: &[u8]) -> Draft {
        self.key(key, TEXT_KIND, &prefixed(text))
    }

    fn array(self, key: &str, kind: u32, count: usize, elements: &[u8]) -> Draft {
        self.key(key, 9, &[&kind.to_le_bytes()[..], &(count as u64).to_le_bytes(), elements].concat())
    }

    fn texts(self, key: &str, texts: &[String]) -> Draft {
        let elements: Vec<u8> = texts.iter().flat_map(|text| prefixed(text.as_bytes())).collect();
        self.array(key, TEXT_KIND, texts.len(), &elements)
    }

    /// Dimensions as in the file, the contiguous one first; the weights are small.
    fn tensor(mut self, name: &str, dimensions: &[u64], kind: u32) -> Draft {
        let elements: u64 = dimensions.iter().product();
        let bytes = match kind {
            F32 => elements * 4,
            F16 => elements * 2,
            _ => elements / 32 * 18,
        };
        self.tensors.extend(prefixed(name.as_bytes()));
        self.tensors.extend((dimensions.len() as u32).to_le_bytes());
        dimensions.iter().for_each(|size| self.tensors.extend(size.to_le_bytes()));
        self.tensors.extend(kind.to_le_bytes());
        self.tensors.extend((self.data.len() as u64).to_le_bytes());
        self.tensor_count += 1;
        self.data.resize((self.data.len() + bytes as usize).next_multiple_of(32), 0x11);
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut file = b"GGUF\x03\0\0\0".to_vec();
        file.extend(self.tensor_count.to_le_bytes());
        file.extend(self.metadata_count.to_le_bytes());
        file.extend(&self.metadata);
        file.extend(&self.tensors);
        file.resize(file.len().next_multiple_of(32), 0);
        file.extend(&self.data);
        file
    }
}

fn prefixed(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text].concat()
}

/// Short texts that all differ, of the bytes' alphabet.
fn tokens(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("{index:x}")).collect()
}

/// Loads what a draft stands for and checks how much that allocates.
fn load_measured(draft: Draft) -> Result<(), Error> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hostile.gguf");
    let file = draft.bytes();
    std::fs::write(&path, &file).expect("a file");
    let length = file.len();
    drop((file, draft));
    let measure = Measure::begin();
    let loaded = load(&path);
    measure.check(length);
    loaded
}

#[test]
fn a_shape_that_takes_more_memory_than_its_file_is_refused() {
    let _alone = alone();
    let refused = |draft: Draft, words: &[&str]| {
        let error = load_measured(draft).expect_err("it is out of proportion").to_string();
        assert!(words.iter().all(|word| error.contains(word)) && error.len() < 8192, "{error}");
    };
    let model = || Draft::model(2, 2, 2, 1);
    refused(model().spm(&tokens(1 << 20)), &["the vocabulary: ", "bytes of memory", "expected at most"]);
    let merges: Vec<String> = (0..1 << 20).map(|_| "0 1".to_owned()).collect();
    refused(model().bpe(&tokens(1 << 16), &merges), &["the vocabulary: "]);
    refused(model().spm(&["a".repeat(5000)]).weights(1, [2, 2, 2, 1], F16), &["of at most 4096 bytes"]);
    let no_text =
        model().text("tokenizer.ggml.model", b"llama").array("tokenizer.ggml.tokens", TEXT_KIND, 1, &prefixed(b"\xff"));
    refused(no_text.weights(1, [2, 2, 2, 1], F16), &["`tokenizer.ggml.tokens`", "utf-8"]);
    let scores = model().text("tokenizer.ggml.model", b"llama").texts("tokenizer.ggml.tokens", &tokens(1)).array(
        "tokenizer.ggml.scores",
        U8_KIND,
        100 << 20,
        &vec![0; 100 << 20],
    );
    refused(scores.weights(1, [2, 2, 2, 1], F16), &["`tokenizer.ggml.scores` has 104857600 entries", "1 tokens"]);
    let special = vec![3i32; 20_000].into_iter().flat_map(i32::to_le_bytes).collect::<Vec<u8>>();
    let special = model().spm(&tokens(20_000)).array("tokenizer.ggml.token_type", 5, 20_000, &special);
    refused(special.weights(20_000, [2, 2, 2, 1], F16), &["20000 special tokens"]);

    // One row of weights becomes sixteen, and a position's keys are wider than what makes them.
    let wide = [1 << 19, 2, 1, 4];
    let padded = Draft::model(1 << 19, 2, 1, 4).spm(&tokens(1)).weights(1, wide, Q4_0);
    refused(padded, &["matrices of few rows, which are padded: "]);
    let page = Draft::model(1, 1 << 20, 1, 1).spm(&tokens(1)).weights(1, [1, 1 << 20, 1, 1], F16);
    refused(page, &["a page of keys and values: "]);

    let long = vec![b'a'; 20 << 20];
    let named = model().spm(&tokens(1)).text("general.name", &long);
    refused(named.weights(1, [2, 2, 2, 1], F16), &["`general.name` has 20971520 bytes"]);
    let template = model().spm(&tokens(1)).text("tokenizer.chat_template", &long);
    refused(template.weights(1, [2, 2, 2, 1], F16), &["`tokenizer.chat_template` has 20971520 bytes"]);
    let unknown = ["x".repeat(4000), format!("{} {}", "x".repeat(2000), "y".repeat(2000))];
    refused(
        model().bpe(&unknown[..1], &unknown[1..]).weights(1, [2, 2, 2, 1], F16),
        &["the tokenizer cannot be built", "xxx"],
    );
}

/// As large as vocabularies may be in a file this small.
#[test]
fn a_vocabulary_that_is_let_in_stays_within_bounds() {
    let _alone = alone();
    let shape = [2, 2, 2, 1];
    let spm = Draft::model(2, 2, 2, 1).spm(&tokens(300_000)).weights(300_000, shape, F16);
    load_measured(spm).expect("it loads");
    // Pairs of hexadecimal digits: 256 merges that differ, as often as they may come.
    let digits = |index: usize| format!("{:x} {:x}", 1 + index % 15, index / 15 % 16);
    let merges: Vec<String> = (0..300_000).map(digits).collect();
    let bpe = Draft::model(2, 2, 2, 1).bpe(&tokens(150_000), &merges).weights(150_000, shape, F16);
    load_measured(bpe).expect("it loads");
}

/// Instead of its chat template, moonlet gets one that doubles a text again and again.
#[test]
fn a_chat_template_that_fills_memory_is_stopped() {
    let _alone = alone();
    let mut file = moonlet().expect("the feature is on").to_vec();
    let key = b"tokenizer.chat_template\x08\0\0\0";
    let at = (0..200_000).find(|at| file[*at..].starts_with(key)).expect("it has a template") + key.len();
    let length = usize::from_le_bytes(file[at..at + 8].try_into().expect("eight bytes"));
    let hostile =
        "{% set n = namespace(a='ab') %}{% for i in range(99) %}{% set n.a = n.a ~ n.a %}{% endfor %}{{ n.a }}";
    file[at + 8..at + 8 + length].copy_from_slice(format!("{hostile:length$}").as_bytes());
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("doubles.gguf");
    std::fs::write(&path, &file).expect("a file");
    let length = file.len();
    drop(file);

    let measure = Measure::begin();
    let engine = Engine::load(&Source::File(path), &EngineOptions::default()).expect("it is not rendered yet");
    let prompt = Prompt::Chat { messages: vec![ChatMessage::user("hello")], tools: Vec::new() };
    let error = generate(&engine, prompt).expect_err("the template is stopped").to_string();
    assert!(error.starts_with("chat template: it makes more of this conversation than the 167"), "{error}");
    generate(&engine, Prompt::Raw("hello".into())).expect("the model itself is sound");
    measure.check(length);
}

#[test]
fn a_file_that_is_shortened_once_it_is_loaded_fails_generations_and_nothing_else() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("shortened.gguf");
    let original = moonlet().expect("the feature is on");
    std::fs::write(&path, original).expect("a file");
    let source = Source::File(path.clone());
    let engine = Engine::load(&source, &EngineOptions::default()).expect("it loads");
    generate(&engine, Prompt::Raw("hello".into())).expect("it answers");
    OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(1000)).expect("it is shortened");
    for _ in 0..2 {
        let error = generate(&engine, Prompt::Raw("hello".into())).expect_err("the embedding is gone").to_string();
        assert!(error.contains("shortened.gguf") && error.contains("load the model again"), "{error}");
    }
    std::fs::write(&path, original).expect("a file");
    generate(&engine, Prompt::Raw("hello".into())).expect("it answers again");
}
