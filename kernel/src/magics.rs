//! Magics: what a notebook's cell says to the kernel rather than to Lua. `%name words` lines stand at the top of a cell, before its
//! code; a first line `%%name words` makes the whole cell a magic's. Scripts have none.

mod chat;
mod editing;
mod help;
mod model;
mod parse;
mod usage;

use std::sync::{Arc, Mutex};

use perilune_bridge::{ChosenModel, Failure, Output, Rich, documentation};
use perilune_providers::{BudgetConfig, ModelList, Tally};
use tokio_util::sync::CancellationToken;

pub(crate) use self::editing::{complete, completeness};
pub(crate) use self::parse::{Magics, parse};
use crate::execute::RequestIo;
use crate::kernel::Context;

/// What the magics of a notebook remember.
pub(crate) struct Remembered {
    /// The model of requests that name none, in Lua as in `%%chat`.
    pub(crate) model: ChosenModel,
    /// What the notebook's generations took.
    pub(crate) tally: Arc<Tally>,
    conversation: Mutex<chat::Conversation>,
}

impl Remembered {
    /// Nothing yet but the model that was chosen when the kernel was started.
    pub(crate) fn new(model: Option<ModelList>, budget: &BudgetConfig) -> Remembered {
        Remembered {
            model: ChosenModel::new(model),
            tally: Arc::new(Tally::new(budget)),
            conversation: Mutex::default(),
        }
    }
}

/// Every magic; `bridge/documentation/magics.lua` says what they do.
const LINES: [&str; 3] = ["model", "usage", "help"];
const CELLS: [&str; 1] = ["chat"];

/// Names this near to a magic's are taken for a slip of it.
const NEAR: f64 = 0.75;

/// Where a magic runs.
pub(crate) struct Place<'a> {
    pub(crate) context: &'a Context,
    pub(crate) io: &'a RequestIo,
    pub(crate) cancel: &'a CancellationToken,
}

impl Magics {
    /// The code beside them.
    pub(crate) fn code(&self) -> &str {
        match self {
            Magics::Lines { code, .. } => code,
            Magics::Cell { .. } => "",
        }
    }

    /// Runs the cell's magics one after the other, up to the first that fails.
    pub(crate) async fn run(&self, place: &Place<'_>) -> Result<(), Failure> {
        match self {
            Magics::Lines { lines, .. } => {
                for line in lines {
                    place.line(&line.name, &line.words).await?;
                }
                Ok(())
            }
            Magics::Cell { name, words, body } if name == "chat" => chat::run(place, words, body).await,
            Magics::Cell { name, .. } => Err(unknown("%%", name)),
        }
    }
}

impl Place<'_> {
    async fn line(&self, name: &str, words: &str) -> Result<(), Failure> {
        match name {
            "model" => model::run(self, words).await,
            "usage" => usage::run(self, words).await,
            "help" => help::run(self, words).await,
            _ => Err(unknown("%", name)),
        }
    }

    async fn show(&self, plain: String, markdown: String) {
        let mut value = Rich::plain(plain);
        value.data.insert("text/markdown".to_owned(), markdown.into());
        self.io.show(Output::Display { value, display_id: None, update: false, live: false }).await;
    }
}

/// A magic used as it cannot be.
fn wrong(message: String) -> Failure {
    failure("invalid_request", message)
}

fn failure(kind: &str, message: String) -> Failure {
    Failure { name: "MagicError".to_owned(), message, kind: Some(kind.to_owned()), ..Failure::default() }
}

/// A provider's error, under the name that it has in Lua.
fn failed(error: &perilune_providers::Error) -> Failure {
    Failure {
        name: "ModelError".to_owned(),
        message: error.to_string(),
        kind: Some(error.kind().as_str().to_owned()),
        details: Box::new(error.details()),
        ..Failure::default()
    }
}

fn interrupted() -> Failure {
    Failure {
        name: "Interrupted".to_owned(),
        message: "interrupted".to_owned(),
        kind: Some("interrupted".to_owned()),
        ..Failure::default()
    }
}

fn unknown(percents: &str, name: &str) -> Failure {
    let near = nearest(name, LINES.into_iter().chain(CELLS)).map(|near| format!("; did you mean `{}`?", written(near)));
    let all: Vec<String> = CELLS.into_iter().chain(LINES).map(|name| format!("`{}`", written(name))).collect();
    wrong(format!("unknown magic `{percents}{name}`{} there are {}", near.unwrap_or(";".to_owned()), all.join(", ")))
}

/// A magic as a cell writes it.
fn written(name: &str) -> String {
    format!("{}{name}", if CELLS.contains(&name) { "%%" } else { "%" })
}

/// The known name that `name` is most likely a slip of.
fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|known| (strsim::jaro_winkler(&name.to_lowercase(), known), known))
        .filter(|(likeness, _)| *likeness >= NEAR)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, known)| known)
}

/// Tells an error that a magic in the wrong place is: Lua takes its `%` for an operator.
pub(crate) fn explain(failure: &mut Failure, code: &str) {
    let magics = code.lines().filter_map(|line| line.trim_start().strip_prefix('%'));
    let names = magics.filter_map(|line| line.trim_start_matches('%').split_whitespace().next());
    let mut known = names.filter(|name| LINES.contains(name) || CELLS.contains(name));
    let message = &failure.message;
    if known.any(|name| message.contains("near '%'") || message.contains(&format!("(global '{name}')"))) {
        failure.message.push_str("; `%` lines are magics only at the top of a cell, and a `%%` line only as its first");
    }
}

/// What the documentation says of every magic, in a line each.
fn summaries() -> Vec<(String, String)> {
    let magics = documentation().entries().iter().filter(|entry| entry.kind == perilune_bridge::EntryKind::Magic);
    magics.map(|entry| (entry.form.clone(), entry.summary.clone())).collect()
}
