//! How fast a model runs here: prefill, decode, many streams, the first token, memory. Everything is measured through the
//! engine's own door, with sampling and streaming, as a user's generation is.

mod bandwidth;
mod run;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::engine::{Engine, EngineOptions, Source};
use crate::error::Error;
use crate::threads;
use run::{Run, request, together};

/// What to measure.
#[derive(Clone, Debug)]
pub struct BenchOptions {
    /// Prompt lengths, in tokens.
    pub prefill: Vec<usize>,
    /// Tokens generated after a prompt of 128.
    pub decode: u32,
    /// Numbers of sequences that run at once.
    pub streams: Vec<usize>,
    /// Rounds that are counted; every figure is the median of as many.
    pub rounds: usize,
    /// Threads that compute; default: the processors this process may use.
    pub cpu_threads: Option<usize>,
}

impl Default for BenchOptions {
    fn default() -> BenchOptions {
        BenchOptions {
            prefill: vec![128, 512],
            decode: 64,
            streams: vec![1, 2, 4, 8, 16],
            rounds: 3,
            cpu_threads: None,
        }
    }
}

/// What was measured. Rates are medians over the rounds, in tokens/s.
#[derive(Clone, Debug, Serialize)]
pub struct Bench {
    /// `general.name` of the file.
    pub model: String,
    /// The tensor type of most weights.
    pub quantization: String,
    /// What computed, with which instructions.
    pub executor: String,
    /// The processor, as the system names it.
    pub processor: String,
    /// Threads that computed.
    pub threads: usize,
    /// Rounds that were counted.
    pub rounds: usize,
    /// From the file to a model that can be asked, in seconds.
    pub load_seconds: f64,
    /// From the question to the first piece of the answer, in seconds, by the prompt's length in tokens.
    pub first_token_seconds: BTreeMap<usize, f64>,
    /// The same when the session has asked with this prompt before.
    pub known_first_token_seconds: BTreeMap<usize, f64>,
    /// Prompt tokens/s, by the prompt's length in tokens.
    pub prefill: BTreeMap<usize, f64>,
    /// Generated tokens/s of one sequence.
    pub decode: f64,
    /// Generated tokens/s of all sequences together, by their number.
    pub streams: BTreeMap<usize, f64>,
    /// Least and most of each rate: `prefill 128`, `decode`, `streams 4`, ...
    pub spread: BTreeMap<String, [f64; 2]>,
    /// Bytes/s that the threads read from memory together.
    pub read_bandwidth: f64,
    /// Bytes of weights that a token reads.
    pub weight_bytes: u64,
    /// Tokens/s at which reading the weights once per token takes all of that bandwidth.
    pub decode_limit: f64,
    /// The most memory the process ever had resident, in bytes; `None` where the system does not say.
    pub peak_memory: Option<u64>,
}

/// Tokens of the prompt that decoding follows.
const DECODE_AFTER: usize = 128;

impl Bench {
    /// Loads a model and measures it. The machine should have nothing else to do; a short run comes first and is not counted.
    pub fn run(source: &Source, options: &BenchOptions) -> Result<Bench, Error> {
        let most = options.streams.iter().copied().max().unwrap_or(1).max(1);
        let threads = threads::available(options.cpu_threads);
        let began = Instant::now();
        let engine_options =
            EngineOptions { cpu_threads: options.cpu_threads, max_concurrent: most, ..EngineOptions::default() };
        let engine = Engine::load(source, &engine_options)?;
        let load_seconds = began.elapsed().as_secs_f64();

        let figures = Figures::measure(&engine, options)?;
        // Before the bandwidth is measured, which takes memory of its own.
        let peak_memory = peak_memory();
        let read_bandwidth = bandwidth::read(threads)?;
        let info = engine.info();
        let weight_bytes = engine.weight_bytes();
        let medians =
            |figures: &BTreeMap<usize, Vec<f64>>| figures.iter().map(|(key, all)| (*key, median(all))).collect();
        Ok(Bench {
            model: info.name.clone(),
            quantization: info.quantization.clone(),
            executor: info.executor.clone(),
            processor: processor(),
            threads,
            rounds: options.rounds,
            load_seconds,
            first_token_seconds: medians(&figures.first),
            known_first_token_seconds: medians(&figures.known_first),
            prefill: medians(&figures.prefill),
            decode: median(&figures.decode),
            streams: medians(&figures.streams),
            spread: figures.spread(),
            read_bandwidth,
            weight_bytes,
            decode_limit: read_bandwidth / weight_bytes as f64,
            peak_memory,
        })
    }
}

/// Every round's figures.
#[derive(Default)]
struct Figures {
    first: BTreeMap<usize, Vec<f64>>,
    known_first: BTreeMap<usize, Vec<f64>>,
    prefill: BTreeMap<usize, Vec<f64>>,
    decode: Vec<f64>,
    streams: BTreeMap<usize, Vec<f64>>,
}

impl Figures {
    fn measure(engine: &Engine, options: &BenchOptions) -> Result<Figures, Error> {
        // The first pass after a load finds memory cold, in page tables and caches.
        Run::of(engine, request(engine, "", DECODE_AFTER, 999, 8)?)?;
        let mut figures = Figures::default();
        for round in 0..options.rounds {
            for tokens in &options.prefill {
                // A session of its own each time: nothing of the prompt is known to it before, all of it afterwards.
                let session = format!("bench {tokens} {round}");
                let cold = Run::of(engine, request(engine, &session, *tokens, round, 1)?)?;
                let known = Run::of(engine, request(engine, &session, *tokens, round, 1)?)?;
                figures.prefill.entry(*tokens).or_default().push(rate(cold.usage.prompt_tokens, cold.first));
                figures.first.entry(*tokens).or_default().push(cold.first.as_secs_f64());
                figures.known_first.entry(*tokens).or_default().push(known.first.as_secs_f64());
            }
            let run = Run::of(engine, request(engine, "", DECODE_AFTER, round, options.decode.max(2))?)?;
            figures.decode.push(rate(run.usage.completion_tokens - 1, run.whole - run.first));
            for count in &options.streams {
                figures.streams.entry(*count).or_default().push(together(engine, *count, DECODE_AFTER)?);
            }
        }
        Ok(figures)
    }

    fn spread(&self) -> BTreeMap<String, [f64; 2]> {
        let prefill = self.prefill.iter().map(|(tokens, rates)| (format!("prefill {tokens}"), rates));
        let streams = self.streams.iter().map(|(count, rates)| (format!("streams {count}"), rates));
        prefill
            .chain(streams)
            .chain([("decode".to_owned(), &self.decode)])
            .map(|(name, rates)| {
                let least = rates.iter().copied().fold(f64::INFINITY, f64::min);
                let most = rates.iter().copied().fold(0.0, f64::max);
                (name, [least, most])
            })
            .collect()
    }
}

fn rate(tokens: u32, time: Duration) -> f64 {
    f64::from(tokens) / time.as_secs_f64()
}

fn median(figures: &[f64]) -> f64 {
    let mut figures = figures.to_vec();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

fn processor() -> String {
    let described = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = described.lines().find_map(|line| line.strip_prefix("model name")?.split(':').nth(1));
    name.map_or_else(|| std::env::consts::ARCH.to_owned(), |name| name.trim().to_owned())
}

fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(peak.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}
