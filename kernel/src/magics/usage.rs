//! `%usage`: the tokens and the time that this notebook's generations took, and the memory of the process and its models.

use std::fmt::Write as _;

use perilune_bridge::Failure;
use perilune_providers::Spent;

use super::{Place, wrong};
use crate::usage::{models, resident_memory};

/// Columns, the model's name first.
const COLUMNS: usize = 8;
const HEADINGS: [&str; COLUMNS] =
    ["model", "requests", "prompt tokens", "from cache", "generated", "thinking", "seconds", "US$"];

pub(super) async fn run(place: &Place<'_>, given: &str) -> Result<(), Failure> {
    if !given.is_empty() {
        return Err(wrong(format!("`%usage` takes nothing; got `{given}`")));
    }
    let spent = place.context.remembered.tally.spent();
    let rows: Vec<[String; COLUMNS]> = spent.iter().map(|(model, spent)| row(model, spent)).collect();
    let untold: u64 = spent.values().map(|spent| spent.untold).sum();
    let memory = memory(place).await;
    let (mut plain, mut markdown) = match rows.is_empty() {
        true => {
            ("no model was asked in this notebook yet".to_owned(), "no model was asked in this notebook yet".to_owned())
        }
        false => (columns(&rows), table(&rows)),
    };
    for text in [&mut plain, &mut markdown] {
        if untold > 0 {
            let _ = write!(text, "\n\n{untold} of the requests ended before their tokens were counted");
        }
        let _ = write!(text, "\n\n{memory}");
    }
    place.show(plain, markdown).await;
    Ok(())
}

fn row(model: &str, spent: &Spent) -> [String; COLUMNS] {
    [
        model.to_owned(),
        spent.requests.to_string(),
        spent.prompt_tokens.to_string(),
        spent.cached_tokens.to_string(),
        spent.completion_tokens.to_string(),
        spent.thinking_tokens.to_string(),
        format!("{:.2}", spent.duration.as_secs_f64()),
        spent.usd.map_or("-".to_owned(), |usd| format!("{usd:.4}")),
    ]
}

async fn memory(place: &Place<'_>) -> String {
    let mut text = match resident_memory() {
        Some(bytes) => format!("memory: {} in this process", megabytes(bytes)),
        None => "memory of this process: not known on this system".to_owned(),
    };
    for model in models(&place.context.own_models).await {
        // What was reckoned counts a full cache, which need not be there.
        let bytes = model.resident_bytes.or(model.memory_bytes).map_or("an unknown part".to_owned(), megabytes);
        let _ = write!(text, ", {bytes} of it {}@{}", model.name, model.backend);
    }
    text
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// Aligned columns, numbers to the right.
fn columns(rows: &[[String; COLUMNS]]) -> String {
    let headings = HEADINGS.map(str::to_owned);
    let lines = || std::iter::once(&headings).chain(rows);
    let width = |column: usize| lines().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let written = lines().map(|line| {
        let numbers: Vec<String> = (1..COLUMNS).map(|column| format!("{:>1$}", line[column], widths[column])).collect();
        format!("{:<1$}  {2}", line[0], widths[0], numbers.join("  "))
    });
    written.collect::<Vec<_>>().join("\n")
}

fn table(rows: &[[String; COLUMNS]]) -> String {
    let mut table = format!("| {} |\n|---{}|", HEADINGS.join(" | "), "|---:".repeat(COLUMNS - 1));
    for row in rows {
        let _ = write!(table, "\n| `{}` | {} |", row[0], row[1..].join(" | "));
    }
    table
}
