//! Prompt tokens and greedy answers against llama.cpp's on the same files: the bundled model as it is, and its weights in
//! F16 and Q4_K_M. As recorded by `golden/record.py`, whose first lines say how to record again after the model has changed.
#![cfg(feature = "moonlet")]

#[path = "golden/requantize.rs"]
mod requantize;

use std::path::Path;

use perilune_engine::{
    CacheType, ChatMessage, Engine, EngineOptions, Event, GenerateOptions, Prompt, Request, Sampling, Source, Tool,
    moonlet,
};
use requantize::{Mixture, requantize};
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// Where llama.cpp's best logit leads by less than this, rounding decides, and another token is no error: it is printed
/// instead, and the comparison of that answer ends there.
const TIE: f32 = 0.02;
/// The same for Q4_K_M: with keys and values in 32 bits instead of 16, or with flash attention, llama.cpp's own leads on
/// these prompts move by up to 0.57.
const TIE_Q4_K_M: f32 = 0.3;
/// The same for keys and values in eight bits: they are compared with answers that llama.cpp gave with 16, and rounded by
/// up to 0.4 % of the largest of a block.
const TIE_Q8_0_CACHE: f32 = 0.15;

#[derive(Deserialize)]
struct Golden {
    model_sha256: String,
    llama_cpp_python: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    rendered: String,
    prompt_tokens: Vec<u32>,
    greedy_tokens: Vec<u32>,
    leads: Vec<f32>,
    piece_bytes: Vec<usize>,
    text: String,
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    messages: Vec<ChatMessage>,
    #[serde(default)]
    tools: Vec<Tool>,
    raw: Option<String>,
}

/// Set to a folder, it has the models written there for `record.py`.
const WRITE_TO: &str = "PERILUNE_WRITE_MOONLETS";

/// What was recorded of a model, and the model's file.
fn recorded(record: &str, file: &[u8]) -> Golden {
    let golden: Golden = serde_json::from_str(record).expect("the record is what record.py writes");
    let digest: String = Sha256::digest(file).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, golden.model_sha256, "the model has changed: record again (see golden/record.py)");
    golden
}

fn bundled() -> (Golden, Engine) {
    bundled_with(EngineOptions::default())
}

fn bundled_with(options: EngineOptions) -> (Golden, Engine) {
    let bytes = moonlet().expect("the feature is on");
    let engine = Engine::load(&Source::Bundled(bytes), &options).expect("moonlet loads");
    (recorded(include_str!("golden/llama_cpp.json"), bytes), engine)
}

fn requantized(mixture: Mixture, name: &str, record: &str) -> Option<(Golden, Engine)> {
    let file = requantize(moonlet().expect("the feature is on"), mixture);
    if let Some(folder) = std::env::var_os(WRITE_TO) {
        std::fs::write(Path::new(&folder).join(name), file).expect("the folder can be written to");
        return None;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    std::fs::write(&path, &file).expect("the folder can be written to");
    let engine = Engine::load(&Source::File(path), &EngineOptions::default()).expect("it loads");
    Some((recorded(record, &file), engine))
}

fn greedy(engine: &Engine, prompt: &str, most: usize) -> String {
    let sampling = Sampling { temperature: Some(0.0), ..Sampling::default() };
    let options = GenerateOptions { sampling, max_tokens: Some(most as u32), ..GenerateOptions::default() };
    let request =
        Request { session: String::new(), prompt: Prompt::Raw(prompt.to_owned()), options, cancel: Default::default() };
    let mut generation = engine.generate(request);
    let mut text = String::new();
    while let Some(event) = generation.blocking_next() {
        if let Event::Text(more) = event.expect("the generation runs") {
            text.push_str(&more);
        }
    }
    text
}

#[test]
fn rendered_prompts_and_their_tokens_are_those_of_llama_cpp() {
    let (golden, engine) = bundled();
    let asked: Vec<Asked> = serde_json::from_str(include_str!("golden/prompts.json")).expect("the prompts are sound");
    assert_eq!(asked.len(), golden.cases.len());
    assert!(asked.len() >= 50);
    for (asked, case) in asked.iter().zip(&golden.cases) {
        let rendered = match &asked.raw {
            Some(raw) => raw.clone(),
            None => engine.render(&asked.messages, &asked.tools).expect("the template renders"),
        };
        assert_eq!(rendered, case.rendered, "{}", case.name);
        assert_eq!(engine.tokenize(&rendered), case.prompt_tokens, "{}", case.name);
    }
}

#[test]
fn greedy_answers_are_those_of_llama_cpp() {
    let (golden, engine) = bundled();
    compare_answers(&golden, &engine, TIE);
}

#[test]
fn greedy_answers_with_keys_and_values_in_eight_bits_differ_only_where_logits_are_near() {
    let (golden, engine) = bundled_with(EngineOptions { cache_type: CacheType::Q8_0, ..EngineOptions::default() });
    compare_answers(&golden, &engine, TIE_Q8_0_CACHE);
}

#[test]
fn greedy_answers_in_f16_are_those_of_llama_cpp() {
    if let Some((golden, engine)) =
        requantized(Mixture::F16, "moonlet-f16.gguf", include_str!("golden/llama_cpp_f16.json"))
    {
        compare_answers(&golden, &engine, TIE);
    }
}

#[test]
fn greedy_answers_in_q4_k_m_are_those_of_llama_cpp() {
    if let Some((golden, engine)) =
        requantized(Mixture::Q4KM, "moonlet-q4_k_m.gguf", include_str!("golden/llama_cpp_q4_k_m.json"))
    {
        compare_answers(&golden, &engine, TIE_Q4_K_M);
    }
}

fn compare_answers(golden: &Golden, engine: &Engine, tie: f32) {
    let mut ties = 0;
    for case in &golden.cases {
        let text = greedy(engine, &case.rendered, case.greedy_tokens.len());
        if text == case.text {
            continue;
        }
        let same = text.bytes().zip(case.text.bytes()).take_while(|(ours, theirs)| ours == theirs).count();
        let mut end = 0;
        let differs = case.piece_bytes.iter().position(|bytes| {
            end += bytes;
            end > same
        });
        let differs = differs.unwrap_or(case.leads.len() - 1);
        // The tokens may have parted one before the texts did: `.` and `.\n`.
        let lead = case.leads[differs.saturating_sub(1)..=differs].iter().copied().fold(f32::INFINITY, f32::min);
        let what = format!(
            "`{}`: {text:?} here, {:?} by llama.cpp ({}); token {differs} led by {lead}",
            case.name, case.text, golden.llama_cpp_python
        );
        assert!(lead < tie, "{what}");
        println!("a tie: {what}");
        ties += 1;
    }
    println!("{} of {} answers are llama.cpp's, {ties} part at a tie", golden.cases.len() - ties, golden.cases.len());
    assert!(ties * 10 <= golden.cases.len(), "too many ties; change the prompts");
}
