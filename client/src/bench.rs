//! `perilune bench`: measures, and prints a table or one JSON object.

use anyhow::{Context, Error};
use perilune_kernel::bench::{self, BenchOptions, BenchSubject};

use crate::arguments::{self, Format};
use crate::failure::Failure;
use crate::output::{print, print_json};
use crate::table::{Table, size};

/// Measures and reports.
pub async fn run(arguments: arguments::Bench, format: Format) -> Result<(), Failure> {
    let subject = match (arguments.model, arguments.synthetic) {
        (Some(model), _) => BenchSubject::Model(model),
        (None, name) => BenchSubject::Synthetic(name.unwrap_or_default()),
    };
    let options = BenchOptions {
        cpu_threads: arguments.threads.map(usize::from),
        rounds: usize::from(arguments.rounds),
        ..BenchOptions::default()
    };
    let measuring = tokio::task::spawn_blocking(move || bench::measure(&subject, &options));
    let measured = tokio::select! {
        measured = measuring => measured.context("the measurement broke off").map_err(Failure::Refused)?,
        _ = tokio::signal::ctrl_c() => return Err(Failure::Interrupted),
    };
    let measured = measured.map_err(|error| Failure::Refused(Error::from(error)))?;
    match format {
        Format::Text => print(&report(&measured)),
        Format::Json => print_json(&measured),
    }
}

fn report(bench: &bench::Bench) -> String {
    let mut table = Table::new(["measured", "tokens/s", "least", "most"]);
    let mut row = |name: String, median: f64| {
        let [least, most] = bench.spread.get(&name).copied().unwrap_or([median; 2]);
        table.row([name, format!("{median:.1}"), format!("{least:.1}"), format!("{most:.1}")]);
    };
    bench.prefill.iter().for_each(|(tokens, rate)| row(format!("prefill {tokens}"), *rate));
    row("decode".to_owned(), bench.decode);
    bench.streams.iter().for_each(|(count, rate)| row(format!("streams {count}"), *rate));
    let mut lines = vec![
        format!(
            "{} {}: {}, {} threads of {}",
            bench.model, bench.quantization, bench.executor, bench.threads, bench.processor
        ),
        table.to_string().trim_end().to_owned(),
        format!("loaded in {:.2} s", bench.load_seconds),
    ];
    lines.extend(bench.first_token_seconds.iter().map(|(tokens, seconds)| {
        let known = bench.known_first_token_seconds.get(tokens).copied().unwrap_or(f64::NAN);
        format!("first token after {tokens}: {seconds:.3} s; {known:.3} s when the session knows the prompt")
    }));
    lines.push(format!(
        "memory is read at {:.1} GB/s; a token reads {} of weights, so decoding cannot exceed {:.1} tokens/s: {:.0} % of that reached",
        bench.read_bandwidth / 1e9,
        size(bench.weight_bytes),
        bench.decode_limit,
        100.0 * bench.decode / bench.decode_limit,
    ));
    lines.extend(bench.peak_memory.map(|bytes| format!("peak memory {}", size(bytes))));
    lines.join("\n") + "\n"
}
