//! Tokens per second of candle's own quantised models, without tokenising and sampling: `candle-bench MODEL.gguf TEST...` prints one
//! JSON object. A test is `prefill N` or `decode N AFTER`; `tests/bench/engine.py` says what they are.

use std::fs::File;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use candle_core::quantized::gguf_file::Content;
use candle_core::{Device, Tensor};
use candle_transformers::models::{quantized_llama, quantized_qwen2};

enum Model {
    Llama(quantized_llama::ModelWeights),
    Qwen2(quantized_qwen2::ModelWeights),
}

impl Model {
    fn load(path: &str) -> Result<Model> {
        let mut file = File::open(path).with_context(|| path.to_owned())?;
        let content = Content::read(&mut file)?;
        let architecture =
            content.metadata.get("general.architecture").context("no architecture")?.to_string()?.clone();
        Ok(match architecture.as_str() {
            "llama" => Model::Llama(quantized_llama::ModelWeights::from_gguf(content, &mut file, &Device::Cpu)?),
            "qwen2" => Model::Qwen2(quantized_qwen2::ModelWeights::from_gguf(content, &mut file, &Device::Cpu)?),
            other => bail!("this compares llama and qwen2, not {other}"),
        })
    }

    /// Computes some tokens from a place on.
    fn forward(&mut self, tokens: usize, from: usize) -> Result<()> {
        let ids: Vec<u32> = (from..from + tokens).map(|index| 3 + (index * 7919 % 1000) as u32).collect();
        let input = Tensor::from_vec(ids, (1, tokens), &Device::Cpu)?;
        let logits = match self {
            Model::Llama(model) => model.forward(&input, from)?,
            Model::Qwen2(model) => model.forward(&input, from)?,
        };
        logits.flatten_all()?.to_vec1::<f32>()?;
        Ok(())
    }

    fn clear(&mut self) {
        match self {
            Model::Llama(model) => model.clear_kv_cache(),
            Model::Qwen2(model) => model.clear_kv_cache(),
        }
    }
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (path, tests) = arguments.split_first().context("candle-bench MODEL.gguf TEST...")?;
    let mut model = Model::load(path)?;
    model.forward(16, 0)?;
    let mut found = Vec::new();
    for test in tests {
        model.clear();
        let words: Vec<&str> = test.split(' ').collect();
        let number = |index: usize| -> Result<usize> { Ok(words.get(index).context("a number is missing")?.parse()?) };
        let count = number(1)?;
        let (after, each) = match words[0] {
            "prefill" => (0, count),
            "decode" => (number(2)?, 1),
            other => bail!("there is no test {other}"),
        };
        if after > 0 {
            model.forward(after, 0)?;
        }
        let began = Instant::now();
        for from in (after..after + count).step_by(each) {
            model.forward(each, from)?;
        }
        let rate = count as f64 / began.elapsed().as_secs_f64();
        found.push(format!("\"{test}\": {rate}"));
    }
    println!("{{{}}}", found.join(", "));
    Ok(())
}
