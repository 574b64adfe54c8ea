//! Magics while they are typed: what could stand at the cursor, and whether a cell is ready to run.

use std::time::Duration;

use perilune_bridge::{Completeness, Completion, CompletionKind, Completions, documentation, is_complete};
use perilune_providers::Registry;
use tokio::time::timeout;

use super::{CELLS, LINES, Magics, chat, parse, written};

/// How long the providers may take to say which models there are.
const MODELS_LIMIT: Duration = Duration::from_millis(200);

/// Judges a cell; magics stand between the lines of code that Lua judges.
pub(crate) fn completeness(code: &str) -> Completeness {
    match parse(code) {
        None => is_complete(code),
        Some(Magics::Lines { code, .. }) => is_complete(&code),
        // As in IPython, a blank line ends the cell.
        Some(Magics::Cell { words, body, .. }) => {
            let says_something =
                !body.trim().is_empty() || words.split_whitespace().any(|word| word.starts_with("reset"));
            let ended = code.ends_with('\n') || code.rsplit('\n').next().is_some_and(|last| last.trim().is_empty());
            match says_something && ended {
                true => Completeness::Complete,
                false => Completeness::Incomplete { indent: String::new() },
            }
        }
    }
}

/// What could stand at the byte offset `cursor`, where a magic is typed; `None` where Lua is.
pub(crate) async fn complete(registry: &Registry, code: &str, cursor: usize) -> Option<Completions> {
    let before = code.get(..cursor)?;
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    let line = &before[start..];
    if !line.trim_start().starts_with('%') || !is_top(&before[..start]) {
        return None;
    }
    let word = &line[line.rfind(char::is_whitespace).map_or(0, |blank| blank + 1)..];
    let name = line.split_whitespace().next().unwrap_or_default();
    let names = if word.starts_with('%') { magics() } else { arguments(registry, name).await };
    let fits = |name: &String| name.starts_with(word) || (word == "%" && name.starts_with("%%"));
    let mut matches: Vec<Completion> = names.into_iter().filter(fits).map(completion).collect();
    matches.sort_by(|left, right| left.text.cmp(&right.text));
    Some(Completions { matches, start: cursor - word.len(), end: cursor })
}

/// Whether a magic may follow these lines.
fn is_top(above: &str) -> bool {
    match parse(above) {
        None => above.trim().is_empty(),
        Some(Magics::Lines { code, .. }) => code.trim().is_empty(),
        Some(Magics::Cell { .. }) => false,
    }
}

fn magics() -> Vec<String> {
    LINES.into_iter().chain(CELLS).map(written).collect()
}

async fn arguments(registry: &Registry, magic: &str) -> Vec<String> {
    let models = async {
        let specifiers = timeout(MODELS_LIMIT, registry.specifiers()).await.unwrap_or_default();
        specifiers.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    match magic {
        "%model" => models.await,
        "%help" => documentation().entries().iter().map(|entry| entry.name.clone()).collect(),
        "%%chat" => {
            let options = chat::options::NAMES.iter().map(|name| match *name {
                "reset" => "reset".to_owned(),
                name => format!("{name}="),
            });
            options.chain(models.await).collect()
        }
        _ => Vec::new(),
    }
}

fn completion(text: String) -> Completion {
    Completion { text, kind: CompletionKind::Magic, signature: String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_cell_is_ready_after_a_blank_line() {
        let ready = |code: &str| completeness(code) == Completeness::Complete;
        for code in ["%%chat\nHello\n", "%%chat\nHello\n\n", "%%chat reset\n", "%model", "%model\nx = 1", "%nonsense"] {
            assert!(ready(code), "{code:?}");
        }
        for code in ["%%chat", "%%chat\n", "%%chat reset", "%%chat\nHello", "%usage\nfor i = 1, 3 do"] {
            assert!(!ready(code), "{code:?}");
        }
        assert_eq!(completeness("%usage\nx = = 1"), Completeness::Invalid);
    }
}
