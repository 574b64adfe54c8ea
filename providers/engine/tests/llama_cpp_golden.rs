//! Prompt tokens and greedy answers against llama.cpp's on the same file, as recorded by `golden/record.py`.
//! After the bundled model has changed, record again:
//! `python record.py ../../moonlet/moonlet-q8_0.gguf` in `tests/golden` (its first lines say what it needs).
#![cfg(feature = "moonlet")]

use perilune_engine::{
    ChatMessage, Engine, EngineOptions, Event, GenerateOptions, Prompt, Request, Sampling, Source, Tool, moonlet,
};
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// Where llama.cpp's best logit leads by less than this, rounding decides, and another token is no error: it is printed
/// instead, and the comparison of that answer ends there.
const TIE: f32 = 0.02;

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

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/llama_cpp.json")).expect("llama_cpp.json is what record.py writes")
}

fn engine() -> Engine {
    let bytes = moonlet().expect("the feature is on");
    let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, golden().model_sha256, "moonlet has changed: record again (see the head of this file)");
    Engine::load(&Source::Bundled(bytes), &EngineOptions::default()).expect("moonlet loads")
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
    let (golden, engine) = (golden(), engine());
    let asked: Vec<Asked> = serde_json::from_str(include_str!("golden/prompts.json")).expect("the prompts are sound");
    assert_eq!(asked.len(), golden.cases.len());
    assert!(asked.len() >= 20);
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
    let (golden, engine) = (golden(), engine());
    let mut ties = 0;
    for case in &golden.cases {
        let text = greedy(&engine, &case.rendered, case.greedy_tokens.len());
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
        let lead = case.leads[differs];
        let what = format!(
            "`{}`: {text:?} here, {:?} by llama.cpp ({}); token {differs} led by {lead}",
            case.name, case.text, golden.llama_cpp_python
        );
        assert!(lead < TIE, "{what}");
        println!("a tie: {what}");
        ties += 1;
    }
    assert!(golden.cases.len() - ties >= 20, "too many ties to compare 20 answers; change the prompts");
}
