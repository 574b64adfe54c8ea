use proptest::prelude::*;
use serde_json::json;

use super::*;

const TOOLS: [&str; 2] = ["weather", "add"];

fn thinks(calls: Option<CallForm>) -> Format {
    Format { calls, ..Format::of("<think>", false) }
}

fn plain(calls: Option<CallForm>) -> Format {
    Format { thinking: None, calls }
}

/// The events of an answer that comes in these pieces, neighbouring text joined.
fn told<'a>(pieces: impl IntoIterator<Item = &'a str>, stop: &[&str], opening: Opening, format: Format) -> Vec<Event> {
    let stop = stop.iter().map(|text| (*text).to_owned()).collect();
    let stop = StopTexts::new(stop).expect("the stop texts are sound");
    let mut parser = Answer::new(stop, opening, format, TOOLS.map(str::to_owned).to_vec());
    let mut events = Vec::new();
    for piece in pieces {
        if parser.push(piece, &mut events) {
            break;
        }
    }
    parser.finish(&mut events);
    let mut joined: Vec<Event> = Vec::new();
    for event in events {
        match (joined.last_mut(), event) {
            (Some(Event::Text(before)), Event::Text(text)) => before.push_str(&text),
            (Some(Event::Thinking(before)), Event::Thinking(text)) => before.push_str(&text),
            (_, event) => joined.push(event),
        }
    }
    joined
}

/// The same for pieces of `size` characters.
fn events(answer: &str, size: usize, stop: &[&str], opening: Opening, format: Format) -> Vec<Event> {
    let mut cuts: Vec<usize> = answer.char_indices().map(|(start, _)| start).step_by(size).collect();
    cuts.push(answer.len());
    told(cuts.windows(2).map(|cut| &answer[cut[0]..cut[1]]), stop, opening, format)
}

fn text(text: &str) -> Event {
    Event::Text(text.to_owned())
}

fn weather(id: &str) -> Event {
    Event::ToolCall(ToolCall { id: id.into(), name: "weather".into(), arguments: json!({"city": "Oslo {x}"}) })
}

/// The events of an answer with tools, which are the same however it is cut.
fn with_tools(answer: &str, form: CallForm) -> Vec<Event> {
    let whole = events(answer, answer.len().max(1), &[], Opening::Open, plain(Some(form)));
    for size in 1..answer.len() {
        assert_eq!(events(answer, size, &[], Opening::Open, plain(Some(form))), whole, "in pieces of {size}");
    }
    whole
}

#[test]
fn hermes_calls() {
    let one = "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Oslo {x}\"}}\n</tool_call>";
    let expected = [text("Let me see. "), weather("call_0"), weather("call_1")];
    assert_eq!(with_tools(&format!("Let me see. {one}\n{one}\n"), CallForm::Tagged), expected);
    assert_eq!(events(one, 3, &[], Opening::Open, plain(None)), [text(one)]);
    // A closing tag inside a string closes nothing.
    let quoted = "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": \"</tool_call>\"}}</tool_call>";
    let call = ToolCall { id: "call_0".into(), name: "f".into(), arguments: json!({"a": "</tool_call>"}) };
    assert_eq!(with_tools(quoted, CallForm::Tagged), [Event::ToolCall(call)]);
    // One that never closes does not hide the next.
    let late = with_tools(&format!("<tool_call>oh {one}"), CallForm::Tagged);
    assert_eq!(late, [text("<tool_call>oh "), weather("call_0")]);
}

#[test]
fn llama_calls() {
    let one = "{\"name\": \"weather\", \"parameters\": {\"city\": \"Oslo {x}\"}}";
    assert_eq!(with_tools(one, CallForm::Llama), [weather("call_0")]);
    assert_eq!(with_tools(&format!("\n{one}; {one}"), CallForm::Llama), [weather("call_0"), weather("call_1")]);
    let marked = with_tools(&format!("Hm. <|python_tag|>{one}"), CallForm::Llama);
    assert_eq!(marked, [text("Hm. "), weather("call_0")]);
    let typed =
        "{\"type\": \"function\", \"function\": {\"name\": \"weather\", \"parameters\": {\"city\": \"Oslo {x}\"}}}";
    assert_eq!(with_tools(typed, CallForm::Llama), [weather("call_0")]);
    for other in [
        "{\"name\": \"Ada\", \"age\": 36}",
        "{ not json } at all",
        "{\"name\": \"weather\", \"par",
        "<|python_tag|>print(1)",
        " plain {\"name\": \"weather\", \"parameters\": {}}",
    ] {
        assert_eq!(with_tools(other, CallForm::Llama), [text(other)]);
    }
}

#[test]
fn mistral_calls() {
    let list = "[TOOL_CALLS] [{\"name\": \"weather\", \"arguments\": {\"city\": \"Oslo {x}\"}, \"id\": \"abcdefghi\"}, \
                {\"name\": \"weather\", \"arguments\": {\"city\": \"Oslo {x}\"}}]";
    assert_eq!(with_tools(list, CallForm::Mistral), [weather("abcdefghi"), weather("call00001")]);
    let named = "[TOOL_CALLS]weather[ARGS]{\"city\": \"Oslo {x}\"}[TOOL_CALLS]weather[CALL_ID]123456789[ARGS]{\"city\": \"Oslo {x}\"}";
    assert_eq!(with_tools(named, CallForm::Mistral), [weather("call00000"), weather("123456789")]);
    assert_eq!(
        with_tools("Well: [TOOL_CALLS]weather{\"city\": \"Oslo {x}\"} done", CallForm::Mistral),
        [text("Well: "), weather("call00000"), text("done")]
    );
    for other in [
        "[TOOL_CALLS]",
        "[TOOL_CALLS] nothing of the kind\n{}",
        "[TOOL_CALLS] [{\"nam\": 1}] x",
        "[TOOL_CALLS]weather[ARGS]{bad}",
        "a [TOOL_CAL",
    ] {
        assert_eq!(with_tools(other, CallForm::Mistral), [text(other)]);
    }
}

#[test]
fn calls_in_plain_json() {
    let one = "{\"name\": \"weather\", \"arguments\": {\"city\": \"Oslo {x}\"}}";
    assert_eq!(with_tools(one, CallForm::Json), [weather("call_0")]);
    assert_eq!(
        with_tools(&format!("```json\n{one}\n```\nThere."), CallForm::Json),
        [weather("call_0"), text("There.")]
    );
    assert_eq!(with_tools(&format!("{{\"tool_call\": {one}}}"), CallForm::Json), [weather("call_0")]);
    let two = with_tools(&format!("{{\"tool_calls\": [{one}, {one}]}}"), CallForm::Json);
    assert_eq!(two, [weather("call_0"), weather("call_1")]);
    for other in ["```lua\nprint(1)\n```", "```json\n[1, 2]\n```", "[1, 2] are numbers", "``", "{\"a\": 1}"] {
        assert_eq!(with_tools(other, CallForm::Json), [text(other)]);
    }
}

#[test]
fn what_is_no_call_stays_text() {
    for answer in [
        "<tool_call>weather(Oslo)</tool_call> done",
        "<tool_call>{\"name\": \"weather\"",
        "<tool_call>{\"name\": 7}</tool_call>",
        "<tool_call>{\"name\": \"f\", \"arguments\": [1]}</tool_call>",
        "a <tool_cal b <tool_call",
    ] {
        assert_eq!(with_tools(answer, CallForm::Tagged), [text(answer)]);
    }
}

#[test]
fn thinking_is_told_from_the_answer() {
    let expected = [Event::Thinking("\nhm <b>\n".into()), text("Yes.")];
    let all = Some(CallForm::Tagged);
    for size in 1..10 {
        assert_eq!(events("\n<think>\nhm <b>\n</think>\n\nYes.", size, &[], Opening::Open, thinks(all)), expected);
        assert_eq!(events("\nhm <b>\n</think>\n\nYes.", size, &[], Opening::Thinking, thinks(None)), expected);
        assert_eq!(events("<thin Yes.", size, &[], Opening::Open, thinks(None)), [text("<thin Yes.")]);
        assert_eq!(events("<think>Yes.", size, &[], Opening::Open, plain(None)), [text("<think>Yes.")]);
        let magistral = Format::of("[THINK]", false);
        let thought = [Event::Thinking("hm".into()), text("Yes.")];
        assert_eq!(events("[THINK]hm[/THINK]Yes.", size, &[], Opening::Open, magistral), thought);
    }
    assert_eq!(events("<think>never", 2, &[], Opening::Open, thinks(None)), [Event::Thinking("never".into())]);
}

#[test]
fn nothing_of_a_stop_text_or_after_it_is_let_go() {
    for size in 1..12 {
        let stopped = |answer, stop: &[&str]| events(answer, size, stop, Opening::Open, plain(None));
        assert_eq!(stopped("one two three", &["two", "thr"]), [text("one ")]);
        assert_eq!(stopped("one tw", &["two"]), [text("one tw")]);
        assert_eq!(stopped("ababac", &["abac"]), [text("ab")]);
    }
}

/// A part of an answer, and what it becomes. `None` is white space, which means nothing around calls.
fn part(form: CallForm) -> impl Strategy<Value = (String, Option<bool>)> {
    let call = match form {
        CallForm::Tagged => "<tool_call>{\"name\": \"add\", \"arguments\": {\"a\": \"}<\\\"\"}}</tool_call>",
        CallForm::Mistral => "[TOOL_CALLS]add[ARGS]{\"a\": \"}<\\\"\"}",
        CallForm::Llama | CallForm::Json => "<|python_tag|>{\"name\": \"add\", \"parameters\": {\"a\": \"}<\\\"\"}}",
    };
    prop_oneof![
        3 => "[a-z{}\\[\\]\"<>|é]{1,9}".prop_map(|text| (text, Some(false))),
        1 => Just(("<tool_call".to_owned(), Some(false))),
        1 => Just(("<tool_call>{".to_owned(), Some(false))),
        1 => Just(("[TOOL_CALLS][".to_owned(), Some(false))),
        1 => Just(("<|python_tag|>{\"name\"".to_owned(), Some(false))),
        1 => Just(("</tool_call>".to_owned(), Some(false))),
        1 => Just((" ".to_owned(), None)),
        3 => Just((call.to_owned(), Some(true))),
    ]
}

proptest! {
    #[test]
    fn without_markers_text_comes_out_as_it_went_in(answer in "[a<>/tool_cthink ]{0,60}", size in 1usize..7) {
        prop_assume!(!answer.contains("<tool_call>") && !answer.trim_start().starts_with("<think>"));
        let said: String = events(&answer, size, &["XYZ"], Opening::Open, thinks(Some(CallForm::Tagged)))
            .into_iter()
            .map(|event| match event { Event::Text(text) => text, other => panic!("{other:?}") })
            .collect();
        prop_assert_eq!(said, answer);
    }

    #[test]
    fn however_an_answer_is_cut_nothing_is_lost_or_made_up(
        form in prop_oneof![Just(CallForm::Tagged), Just(CallForm::Mistral), Just(CallForm::Llama), Just(CallForm::Json)],
        seed in proptest::collection::vec(0usize..100, 1..12),
        parts in proptest::collection::vec(part(CallForm::Tagged), 0..8),
        marked in proptest::collection::vec(part(CallForm::Mistral), 0..8),
        tagged in proptest::collection::vec(part(CallForm::Llama), 0..8),
    ) {
        let parts = match form { CallForm::Tagged => parts, CallForm::Mistral => marked, _ => tagged };
        let answer: String = parts.iter().map(|(text, _)| text.as_str()).collect();
        let whole = told([answer.as_str()], &[], Opening::Open, plain(Some(form)));
        let mut cuts: Vec<usize> = seed.iter().map(|at| answer.floor_char_boundary(at * answer.len() / 100)).collect();
        cuts.extend([0, answer.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|cut| &answer[cut[0]..cut[1]]);
        prop_assert_eq!(&told(pieces, &[], Opening::Open, plain(Some(form))), &whole);

        // What is said, with the calls as they were written, is the answer but for white space.
        let call = parts.iter().find(|(_, kind)| *kind == Some(true)).map_or("", |(text, _)| text);
        let said: String = whole
            .iter()
            .map(|event| match event { Event::Text(text) => text.as_str(), Event::ToolCall(_) => call, other => panic!("{other:?}") })
            .collect();
        let visible = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
        prop_assert_eq!(visible(&said), visible(&answer));
    }
}
