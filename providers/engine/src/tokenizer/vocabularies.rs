//! The tokenizer against llama.cpp's vocabulary files with the ids it expects, out of the source package of
//! llama-cpp-python 0.3.36. `tests/llama_cpp/fetch` unpacks them (and `tests/run` calls it); nothing of them is kept here.

use std::path::Path;
use std::sync::Arc;

use super::Tokenizer;
use crate::gguf::{Gguf, ModelBytes};

/// Names the folder that holds `models/ggml-vocab-*.gguf`.
const SOURCE: &str = "PERILUNE_LLAMA_CPP";

/// Vocabularies that must run, and whose every text must have the expected ids.
const MUST_RUN: [&str; 13] = [
    "command-r",
    "deepseek-coder",
    "deepseek-llm",
    "falcon",
    "gpt-2",
    "llama-bpe",
    "llama-spm",
    "mpt",
    "phi-3",
    "qwen2",
    "qwen35",
    "refact",
    "starcoder",
];

fn tokenizer(file: &Path) -> Result<Tokenizer, crate::Error> {
    let bytes = ModelBytes::owned(&file.display().to_string(), std::fs::read(file).expect("it can be read"));
    Tokenizer::from_gguf(&Gguf::parse(Arc::new(bytes))?)
}

fn ids(line: &str) -> Vec<u32> {
    line.split_whitespace().map(|id| id.parse().expect("an id")).collect()
}

#[test]
fn ids_are_those_llama_cpp_expects() {
    let Some(source) = std::env::var_os(SOURCE) else {
        println!("SKIPPED: {SOURCE} names no folder of llama.cpp's; see tests/llama_cpp/fetch");
        return;
    };
    let models = Path::new(&source).join("models");
    let (mut right, mut texts, mut whole, mut wrong) = (0, 0, Vec::new(), Vec::new());
    let mut files: Vec<_> = std::fs::read_dir(&models)
        .expect("the folder is there")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "inp"))
        .collect();
    files.sort();
    for inputs in files {
        let file = inputs.with_extension("");
        let stem = file.file_stem().expect("a name").to_string_lossy();
        let name = stem.trim_start_matches("ggml-vocab-").to_owned();
        let tokenizer = match tokenizer(&file) {
            Ok(tokenizer) => tokenizer,
            Err(refusal) => {
                println!("{name}: refused: {refusal}");
                continue;
            }
        };
        let inputs = std::fs::read_to_string(&inputs).expect("texts");
        let expected = std::fs::read_to_string(file.with_extension("gguf.out")).expect("ids");
        let inputs: Vec<&str> = inputs.split("\n__ggml_vocab_test__\n").collect();
        let expected: Vec<Vec<u32>> = expected.lines().map(ids).collect();
        assert!(inputs.len() >= expected.len(), "{name}: {} texts, {} lines of ids", inputs.len(), expected.len());
        let mut same = 0;
        for (text, expected) in inputs.iter().zip(&expected) {
            let mut found = Vec::new();
            tokenizer.append(text, &mut found);
            if &found == expected {
                same += 1;
            } else {
                let at = found.iter().zip(expected).take_while(|(found, expected)| found == expected).count();
                let around = |ids: &[u32]| ids[at.min(ids.len())..ids.len().min(at + 6)].to_vec();
                wrong.push(format!(
                    "{name}: from the {at}th token on {:?}, expected {:?}, in {:?}",
                    around(&found),
                    around(expected),
                    text.chars().take(80).collect::<String>()
                ));
            }
        }
        println!("{name}: {same} of {} texts", expected.len());
        if same == expected.len() {
            whole.push(name);
        }
        right += same;
        texts += expected.len();
    }
    println!("{right} of {texts} texts have the expected ids, {} vocabularies are right throughout", whole.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let missing: Vec<_> = MUST_RUN.iter().filter(|name| !whole.iter().any(|whole| whole == *name)).collect();
    assert!(missing.is_empty(), "not checked: {missing:?}");
}
