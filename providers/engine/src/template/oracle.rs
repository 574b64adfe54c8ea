//! Chat templates against Python's jinja2, set up as transformers does: llama.cpp's collection of them, rendered by
//! `tests/llama_cpp/fetch` (and `tests/run` calls it); nothing of it is kept here.

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use serde::Deserialize;

use super::ChatTemplate;
use crate::chat::{ChatMessage, Tool};

/// jinja2 marks what `|safe` returns, and escapes for HTML what `+` joins to that (`Markup`); here `+` joins texts as they are.
const MARKUP: (&str, usize) = ("meetkai-functionary-medium-v3.1.jinja", 3);

/// Names the folder that holds `models/templates` and `rendered.json`.
const SOURCE: &str = "PERILUNE_LLAMA_CPP";

#[derive(Deserialize)]
struct Conversation {
    name: String,
    messages: Vec<ChatMessage>,
    #[serde(default)]
    tools: Vec<Tool>,
}

#[derive(Deserialize)]
struct Rendered {
    /// When it was, since 1970: some templates write the date.
    seconds: u64,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    template: String,
    conversation: String,
    /// Absent where jinja2 failed, or the template refused the conversation.
    rendered: Option<String>,
}

/// What differs first, with a little of what comes before.
fn difference(ours: &str, theirs: &str) -> String {
    let same = ours.bytes().zip(theirs.bytes()).take_while(|(ours, theirs)| ours == theirs).count();
    let around = |text: &str| {
        String::from_utf8_lossy(&text.as_bytes()[same.saturating_sub(40)..(same + 60).min(text.len())]).into_owned()
    };
    format!("{:?} here, {:?} by jinja2", around(ours), around(theirs))
}

#[test]
fn whatever_jinja2_renders_renders_the_same() {
    let Some(source) = std::env::var_os(SOURCE) else {
        println!("SKIPPED: {SOURCE} names no folder of llama.cpp's; see tests/llama_cpp/fetch");
        return;
    };
    let source = Path::new(&source);
    let read = |path: &Path| std::fs::read_to_string(path).expect("it can be read");
    let conversations: Vec<Conversation> =
        serde_json::from_str(include_str!("../../../../tests/llama_cpp/conversations.json")).expect("conversations");
    let Rendered { seconds, cases } =
        serde_json::from_str(&read(&source.join("rendered.json"))).expect("what render.py writes");
    let moment = UNIX_EPOCH + Duration::from_secs(seconds);
    let (mut same, mut marked, mut rendered, mut refused, mut wrong) = (0, 0, 0, 0, Vec::new());
    for case in &cases {
        let conversation = conversations
            .iter()
            .find(|conversation| conversation.name == case.conversation)
            .expect("render.py rendered these conversations");
        let text = read(&source.join("models/templates").join(&case.template));
        let ours = ChatTemplate::at(text, "<s>", "</s>", move || moment)
            .and_then(|template| template.render_unchecked(&conversation.messages, &conversation.tools));
        let Some(theirs) = &case.rendered else {
            refused += usize::from(ours.is_err());
            continue;
        };
        rendered += 1;
        let place = format!("{}, {}", case.template, case.conversation);
        match ours {
            Ok(ours) if ours == *theirs => same += 1,
            Ok(_) if case.template == MARKUP.0 => marked += 1,
            Ok(ours) => wrong.push(format!("{place}: {}", difference(&ours, theirs))),
            Err(error) => wrong.push(format!("{place}: {error}")),
        }
    }
    println!(
        "{same} of {rendered} renderings are those of jinja2, which refuses {}; of those {refused} are refused here too",
        cases.len() - rendered
    );
    println!("{marked} differ because `+` does not escape what it joins to a safe text ({})", MARKUP.0);
    assert!(marked <= MARKUP.1, "{marked} renderings of {} differ", MARKUP.0);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(rendered >= 300, "jinja2 rendered {rendered} of {}", cases.len());
}
