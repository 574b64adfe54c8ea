//! Keys and values that go to a file and come back, on moonlet: answers are the same bits, nothing is computed twice, and
//! files that are of another model, damaged or made to hurt are refused.
#![cfg(feature = "moonlet")]

use std::fs;
use std::path::{Path, PathBuf};

use perilune_engine::{
    CacheType, Engine, EngineOptions, Error, Event, GenerateOptions, Prompt, Request, Sampling, Source, StateInfo,
    Usage, moonlet,
};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

/// A folder that goes with its test.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().expect("a folder"))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).expect("the folder");
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
    }
}

fn load(options: EngineOptions) -> Engine {
    Engine::load(&Source::Bundled(moonlet().expect("the feature is on")), &options).expect("moonlet loads")
}

fn fresh() -> Engine {
    load(EngineOptions::default())
}

fn prompt(end: &str) -> Prompt {
    Prompt::Raw(format!("{}{end}", "one two three four ".repeat(40)))
}

fn ask(engine: &Engine, session: &str, prompt: Prompt) -> Result<(String, Usage), Error> {
    let sampling = Sampling { temperature: Some(1.5), seed: Some(7), ..Sampling::default() };
    let options = GenerateOptions { sampling, max_tokens: Some(40), ignore_end: true, ..GenerateOptions::default() };
    let session = session.to_owned();
    let mut generation = engine.generate(Request { session, prompt, options, cancel: CancellationToken::new() });
    let (mut answer, mut took) = (String::new(), Usage::default());
    while let Some(event) = generation.blocking_next() {
        match event? {
            Event::Text(text) => answer.push_str(&text),
            Event::Usage(usage) => took = usage,
            _ => {}
        }
    }
    Ok((answer, took))
}

fn save(engine: &Engine, session: &str, prompt: Prompt, path: &Path) -> StateInfo {
    engine.save_state(session, prompt, path, CancellationToken::new()).expect("it is written")
}

fn refusal(engine: &Engine, path: &Path) -> String {
    engine.restore_state("a", path).expect_err("it is refused").to_string()
}

/// The bytes of a state with other bytes before its checksum, which fits them.
fn signed(mut bytes: Vec<u8>) -> Vec<u8> {
    let digest = Sha256::digest(&bytes);
    bytes.extend_from_slice(&digest);
    bytes
}

/// Where the lines end and the tokens begin.
fn body(bytes: &[u8]) -> usize {
    let mut ends = (0..bytes.len()).filter(|index| bytes[*index] == b'\n');
    ends.nth(1).expect("two lines") + 1
}

#[test]
fn another_engine_goes_on_with_the_same_bits() {
    for cache_type in [CacheType::F16, CacheType::Q8_0] {
        goes_on(|| load(EngineOptions { cache_type, ..EngineOptions::default() }));
    }
}

fn goes_on(fresh: impl Fn() -> Engine) {
    let (folder, engine) = (Folder::new(), fresh());
    let path = folder.file("x.state");
    let cold = ask(&engine, "", prompt(" and five")).expect("an answer");
    assert_eq!(cold.1.cached_tokens, 0);
    let info = save(&engine, "a", prompt(""), &path);
    assert_eq!(info.tokens, engine.tokenize(&"one two three four ".repeat(40)).len());
    assert_eq!(info.bytes, fs::metadata(&path).expect("the file").len());
    assert_eq!(folder.names(), ["x.state"], "nothing is left beside it");

    let other = fresh();
    assert_eq!(other.restore_state("a", &path).expect("it is restored"), info);
    let warm = ask(&other, "a", prompt(" and five")).expect("an answer");
    assert_eq!(warm.0, cold.0);
    // The text's last token may join what follows it.
    assert!(warm.1.cached_tokens as usize >= info.tokens - 2, "{:?} {info:?}", warm.1);
    // What one session restored no other finds.
    for session in ["b", ""] {
        let strange = ask(&other, session, prompt(" and five")).expect("an answer");
        assert_eq!((strange.0, strange.1.cached_tokens), (cold.0.clone(), 0), "in session `{session}`");
    }
    // What was restored can be saved again, and restored beside what is known: the files are the same bytes.
    let again = folder.file("again");
    assert_eq!(save(&other, "a", prompt(""), &again), info);
    assert!(fs::read(&again).expect("the copy") == fs::read(&path).expect("the file"));
    other.restore_state("a", &again).expect("it is restored");
    assert_eq!(ask(&other, "a", prompt(" and five")).expect("an answer").0, cold.0);
}

#[cfg(unix)]
#[test]
fn only_its_owner_may_read_it() {
    use std::os::unix::fs::PermissionsExt;

    let folder = Folder::new();
    let path = folder.file("x.state");
    fs::write(&path, "before").expect("a file that everybody may read");
    save(&fresh(), "a", prompt(""), &path);
    assert_eq!(fs::metadata(&path).expect("the file").permissions().mode() & 0o777, 0o600);
}

#[test]
fn only_what_is_not_known_is_computed_and_nothing_need_be_kept_for_it() {
    let (folder, engine) = (Folder::new(), fresh());
    ask(&engine, "a", prompt("")).expect("an answer");
    let before = engine.steps();
    save(&engine, "a", prompt(""), &folder.file("known"));
    assert_eq!(engine.steps() - before, 1, "its last token alone");

    let engine = load(EngineOptions { cache_bytes: Some(0), ..EngineOptions::default() });
    for session in ["a", ""] {
        save(&engine, session, prompt(""), &folder.file("unknown"));
        assert!(fs::read(folder.file("unknown")).expect("a file") == fs::read(folder.file("known")).expect("a file"));
    }
    // Its pages are free again.
    assert_eq!(ask(&engine, "a", prompt("")).expect("an answer").1.cached_tokens, 0);
}

#[test]
fn states_come_and_go_beside_requests() {
    let (folder, engine) = (Folder::new(), load(EngineOptions { max_concurrent: 3, ..EngineOptions::default() }));
    let expected = ask(&engine, "", prompt(" and five")).expect("an answer").0;
    save(&engine, "", prompt(""), &folder.file("x"));
    std::thread::scope(|scope| {
        for index in 0..8 {
            let (folder, engine, expected) = (&folder, &engine, &expected);
            scope.spawn(move || {
                let session = format!("{}", index % 3);
                for _ in 0..5 {
                    engine.restore_state(&session, &folder.file("x")).expect("it is restored");
                    assert_eq!(ask(engine, &session, prompt(" and five")).expect("an answer").0, *expected);
                    save(engine, &session, prompt(" and five"), &folder.file(&format!("{index}")));
                }
            });
        }
    });
}

#[test]
fn what_fails_leaves_nothing_behind() {
    let (folder, engine) = (Folder::new(), fresh());
    let save = |prompt, path: &Path, cancel| engine.save_state("a", prompt, path, cancel);
    let cancelled = CancellationToken::new();
    cancelled.cancel();
    assert!(matches!(save(prompt(""), &folder.file("x"), cancelled), Err(Error::Cancelled)));
    let long = Prompt::Raw("one two three ".repeat(10_000));
    assert!(matches!(save(long, &folder.file("x"), CancellationToken::new()), Err(Error::ContextOverflow { .. })));
    for path in [folder.0.path().to_owned(), folder.file("no/such/folder")] {
        let failed = save(prompt(""), &path, CancellationToken::new()).expect_err("it cannot be written");
        assert!(failed.to_string().starts_with(&format!("cannot write the state `{}`", path.display())), "{failed}");
    }
    assert!(folder.names().is_empty());
    assert!(refusal(&engine, &folder.file("x")).contains("No such file"));
    assert!(refusal(&engine, folder.0.path()).contains("it is no file"));
    ask(&engine, "a", prompt("")).expect("it goes on");
}

#[test]
fn a_state_is_of_one_model_and_needs_its_room() {
    let folder = Folder::new();
    let path = folder.file("x.state");
    let info = save(&fresh(), "a", prompt(""), &path);

    // The last weights differ: the same shape, and another model.
    let mut bytes = moonlet().expect("the feature is on").to_vec();
    *bytes.last_mut().expect("bytes") ^= 1;
    let changed = folder.file("changed.gguf");
    fs::write(&changed, bytes).expect("a model");
    let other = Engine::load(&Source::File(changed), &EngineOptions::default()).expect("it loads");
    let told = refusal(&other, &path);
    assert!(told.contains("it was computed by another model (`moonlet`, ") && told.contains("this one is"), "{told}");
    assert_eq!(ask(&other, "a", prompt("")).expect("an answer").1.cached_tokens, 0);

    let tokens = info.tokens;
    let small = load(EngineOptions { context_size: Some(tokens - 1), ..EngineOptions::default() });
    let told = refusal(&small, &path);
    let expected = format!("it has {tokens} tokens and the context holds {}; raise `context_size`", tokens - 1);
    assert!(told.contains(&expected), "{told}");
    let forgetful = load(EngineOptions { cache_bytes: Some(1 << 20), ..EngineOptions::default() });
    let told = refusal(&forgetful, &path);
    assert!(told.contains("1 MiB are kept in memory; raise `kv_cache_mib`"), "{told}");
    let unnamed = fresh().restore_state("", &path).expect_err("it is refused").to_string();
    assert!(unnamed.contains("without a session"), "{unnamed}");
}

#[test]
fn damaged_files_are_refused_and_nothing_of_them_is_known() {
    let (folder, engine) = (Folder::new(), fresh());
    let path = folder.file("x.state");
    save(&engine, "z", prompt(""), &path);
    let sound = fs::read(&path).expect("the file");
    let body = body(&sound);
    let refused = |bytes: &[u8], told: &str| {
        fs::write(&path, bytes).expect("a file");
        let message = refusal(&engine, &path);
        assert!(message.contains(told), "`{message}` does not say `{told}`");
    };
    for length in [0, 5, 17, 18, 60, body - 1, body, body + 9, sound.len() / 2, sound.len() - 1] {
        refused(&sound[..length], "");
    }
    refused(&[&sound[..], &[0]].concat(), "it is damaged");
    refused(&[b'x'; 100_000], "it is no state of a model");
    // A bit anywhere.
    for index in (0..body).chain((body..sound.len()).step_by(sound.len() / 50)).chain([sound.len() - 1]) {
        let mut bytes = sound.clone();
        bytes[index] ^= 4;
        refused(&bytes, "");
    }
    let mut bytes = sound.clone();
    bytes[sound.len() / 2] ^= 4;
    refused(&bytes, "its checksum does not match; it is damaged");
    assert_eq!(ask(&engine, "a", prompt("")).expect("an answer").1.cached_tokens, 0);
}

#[test]
fn hostile_files_cost_nothing_but_an_error() {
    let (folder, engine) = (Folder::new(), fresh());
    let path = folder.file("x.state");
    save(&engine, "z", prompt(""), &path);
    let sound = fs::read(&path).expect("the file");
    let body = body(&sound);
    let text = String::from_utf8(sound[..body].to_vec()).expect("two lines of text");
    let rest = &sound[body..sound.len() - 32];
    let with = |text: String| signed([text.as_bytes(), rest].concat());
    let tokens = text.split("\"tokens\":").nth(1).expect("their number").trim_end().trim_end_matches('}');
    let told = |bytes: Vec<u8>| {
        fs::write(&path, bytes).expect("a file");
        refusal(&engine, &path)
    };
    let with_tokens =
        |number: &str| with(text.replace(&format!("\"tokens\":{tokens}"), &format!("\"tokens\":{number}")));
    assert!(told(with_tokens("18446744073709551615")).contains("the context holds"));
    assert!(told(with_tokens("-1")).contains("its header is damaged"));
    assert!(told(with_tokens("1e3")).contains("its header is damaged"));
    assert!(told(with_tokens("0")).contains("it is damaged"));
    assert!(told(with_tokens("500")).contains("and 500 tokens take"));
    assert!(told(with(text.replace("\"layers\":", "\"layers\":9"))).contains("contradicts the model's"));
    assert!(told(with(text.replace("\"f16\"", "\"q4_0\""))).contains("its header is damaged"));
    assert!(told(with(text.replace("\"f16\"", "\"q8_0\""))).contains("this model keeps `f16`; set `kv_cache_type`"));
    assert!(told(with(text.replace("state 1", "state 2"))).contains("it is version `2`; expected version 1"));
    assert!(told(with("perilune state 1\n".to_owned() + &"[".repeat(1 << 20))).contains("its header is damaged"));
    let mut strange = sound[..sound.len() - 32].to_vec();
    strange[body..body + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(told(signed(strange)).contains("token 4294967295 is not in the vocabulary of"));

    // Numbers that no model computes: whoever made them gets an answer of no worth, or an error.
    for number in [[0xff, 0x7b], [0x00, 0x7c], [0x01, 0x7c]] {
        let values = body + tokens.parse::<usize>().expect("a number") * 4;
        let mut bytes = sound[..sound.len() - 32].to_vec();
        for value in bytes[values..].chunks_exact_mut(2) {
            value.copy_from_slice(&number);
        }
        fs::write(&path, signed(bytes)).expect("a file");
        let engine = fresh();
        engine.restore_state("a", &path).expect("it holds together");
        let _ = ask(&engine, "a", prompt(" and five"));
        assert_eq!(
            ask(&engine, "b", prompt("")).expect("others are answered"),
            ask(&fresh(), "b", prompt("")).expect("as ever")
        );
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_is_no_state() {
    let folder = Folder::new();
    let path = folder.file("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo runs");
    assert!(made.success());
    assert!(refusal(&fresh(), &path).contains("it is no file"));
}
