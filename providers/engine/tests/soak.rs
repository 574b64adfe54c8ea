//! Sixteen clients with random arrivals, lengths and cancellations, for `PERILUNE_SOAK_SECONDS` (2 unless set): every
//! answer equals the one its request gets alone, memory stays flat, and a cancelled request computes no more.
//! `tests/bench/soak` runs it for long.
#![cfg(feature = "moonlet")]

use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use perilune_engine::{
    ChatMessage, Engine, EngineOptions, Event, FinishReason, GenerateOptions, Generation, Prompt, Request, Sampling,
    Source, moonlet,
};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio_util::sync::CancellationToken;

const CLIENTS: u64 = 16;
const SESSIONS: [&str; 5] = ["ada", "bob", "cyd", "dee", ""];
/// Different requests, each asked many times.
const REQUESTS: u64 = 60;
/// How long clients run between two looks at a quiet engine.
const ROUND: Duration = Duration::from_secs(2);
/// Less than the requests' keys and values take together, so that some are given up all the time.
const CACHE_BYTES: u64 = 24 << 20;

#[derive(Clone)]
struct Question {
    prompt: Prompt,
    options: GenerateOptions,
}

impl Question {
    /// Some begin alike, as turns of conversations do, some are short, some take several chunks.
    fn random(random: &mut SmallRng) -> Question {
        let topic = ["moon", "tide", "orbit"][random.random_range(0..3)];
        let prompt = match random.random_range(0..3) {
            0 => Prompt::Raw(format!("{topic} {}", random.random_range(0..1000))),
            1 => Prompt::Raw(format!("{} and {}", format!("the {topic} ").repeat(120), random.random_range(0..9))),
            _ => Prompt::Chat {
                messages: vec![
                    ChatMessage::system(format!("You know of the {topic}. ").repeat(8)),
                    ChatMessage::user(format!(
                        "What is {} plus {}?",
                        random.random_range(0..9),
                        random.random_range(0..9)
                    )),
                ],
                tools: Vec::new(),
            },
        };
        let sampling = Sampling {
            temperature: Some([0.0, 0.8, 2.0][random.random_range(0..3)]),
            seed: Some(random.random()),
            ..Sampling::default()
        };
        let (max_tokens, ignore_end) = (Some(random.random_range(1..150)), random.random());
        Question { prompt, options: GenerateOptions { sampling, max_tokens, ignore_end, ..GenerateOptions::default() } }
    }

    fn ask(&self, engine: &Engine, session: &str, cancel: &CancellationToken) -> Generation {
        engine.generate(Request {
            session: session.to_owned(),
            prompt: self.prompt.clone(),
            options: self.options.clone(),
            cancel: cancel.clone(),
        })
    }
}

/// Reads to the end, and cancels after so many pieces of text.
fn read(mut generation: Generation, cancel_after: Option<(usize, &CancellationToken)>) -> (String, FinishReason) {
    let (mut text, mut pieces) = (String::new(), 0);
    loop {
        if let Some((after, cancel)) = cancel_after
            && pieces == after
        {
            cancel.cancel();
        }
        match generation.blocking_next().expect("`Done` comes last").expect("it answers") {
            Event::Text(more) => {
                text.push_str(&more);
                pieces += 1;
            }
            Event::Done(reason) => return (text, reason),
            _ => {}
        }
    }
}

#[derive(Default)]
struct Counts {
    whole: AtomicU64,
    cancelled: AtomicU64,
}

struct Soak {
    engine: Engine,
    questions: Vec<(Question, String)>,
    counts: Counts,
    /// Held for reading while a request is under way, for writing while the engine is looked at.
    quiet: RwLock<()>,
}

impl Soak {
    fn client(&self, seed: u64, until: Instant) {
        let mut random = SmallRng::seed_from_u64(seed);
        while Instant::now() < until {
            // Arrivals are random; nothing waits for this.
            std::thread::sleep(Duration::from_millis(random.random_range(0..60)));
            let _busy = self.quiet.read().expect("no client fails");
            let (question, alone) = &self.questions[random.random_range(0..self.questions.len())];
            let session = SESSIONS[random.random_range(0..SESSIONS.len())];
            let cancel = CancellationToken::new();
            let generation = question.ask(&self.engine, session, &cancel);
            if random.random_bool(0.1) {
                // The reader is gone: that cancels too.
                drop(generation);
                self.counts.cancelled.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let after = random.random_bool(0.3).then(|| (random.random_range(0..20), &cancel));
            let (text, reason) = read(generation, after);
            if reason == FinishReason::Cancelled {
                assert!(alone.starts_with(&text), "a cancelled answer is no beginning of {alone:?}: {text:?}");
                self.counts.cancelled.fetch_add(1, Ordering::Relaxed);
            } else {
                assert_eq!(text, *alone);
                self.counts.whole.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Passes of the engine after a request was cancelled that nothing runs beside.
    fn passes_after_cancel(&self, random: &mut SmallRng) -> u64 {
        let (question, _) = &self.questions[random.random_range(0..self.questions.len())];
        let cancel = CancellationToken::new();
        let options = GenerateOptions { max_tokens: None, ignore_end: true, ..question.options.clone() };
        let question = Question { prompt: question.prompt.clone(), options };
        let before = self.engine.steps();
        let generation = question.ask(&self.engine, "", &cancel);
        let passes = random.random_range(1..6);
        while self.engine.steps() < before + passes {
            std::thread::yield_now();
        }
        cancel.cancel();
        let at_cancel = self.engine.steps();
        read(generation, None);
        self.engine.steps() - at_cancel
    }
}

/// Bytes the process has resident.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()).unwrap_or_default() * 1024
}

#[test]
fn many_clients_for_a_while() {
    let seconds = std::env::var("PERILUNE_SOAK_SECONDS").map_or(2.0, |text| text.parse::<f64>().expect("seconds"));
    let options = EngineOptions { max_concurrent: 8, cache_bytes: Some(CACHE_BYTES), ..EngineOptions::default() };
    let engine = Engine::load(&Source::Bundled(moonlet().expect("the feature is on")), &options).expect("it loads");
    let mut random = SmallRng::seed_from_u64(5);
    let questions: Vec<Question> = (0..REQUESTS).map(|_| Question::random(&mut random)).collect();
    let alone = |question: &Question| read(question.ask(&engine, "", &CancellationToken::new()), None).0;
    let questions = questions.into_iter().map(|question| (question.clone(), alone(&question))).collect();
    let soak = Soak { engine: engine.clone(), questions, counts: Counts::default(), quiet: RwLock::new(()) };

    let began = Instant::now();
    let until = began + Duration::from_secs_f64(seconds);
    let (mut memory, mut most_passes) = (Vec::new(), 0);
    std::thread::scope(|scope| {
        for seed in 0..CLIENTS {
            let soak = &soak;
            scope.spawn(move || soak.client(seed, until));
        }
        while Instant::now() < until {
            std::thread::sleep(ROUND.min(until - Instant::now().min(until)));
            let _quiet = soak.quiet.write().expect("no client fails");
            for _ in 0..5 {
                most_passes = most_passes.max(soak.passes_after_cancel(&mut random));
            }
            memory.push((began.elapsed().as_secs(), resident()));
        }
    });

    let (whole, cancelled) = (soak.counts.whole.into_inner(), soak.counts.cancelled.into_inner());
    // Memory grows to what the load needs first.
    let settled: Vec<u64> =
        memory.iter().filter(|(at, _)| *at as f64 >= seconds / 4.0).map(|(_, bytes)| *bytes).collect();
    let (least, most) = (settled.iter().min().copied().unwrap_or(0), settled.iter().max().copied().unwrap_or(0));
    let growth = most as f64 / least.max(1) as f64 - 1.0;
    println!(
        "{seconds} s: {whole} answers equal to the solo ones, {cancelled} cancelled; at most {most_passes} passes after a \
         cancel; memory {least} to {most} bytes ({:.2} % apart)",
        growth * 100.0
    );
    assert!(whole > 0 && cancelled > 0);
    assert!(most_passes <= 1, "{most_passes} passes after a cancel");
    if seconds >= 60.0 {
        assert!(growth <= 0.02, "memory is not flat: {memory:?}");
    }
}
