//! Frames that jupyter_client put on the wire, recorded by `tests/golden/record.py`.

use bytes::Bytes;
use perilune_protocol::{
    Codec, Completeness, ExecutionState, Frames, Message, Publication, Reply, Request, StdinMessage, StreamName,
};
use serde_json::Value;

fn golden() -> Value {
    serde_json::from_str(include_str!("../golden/jupyter_client.json")).unwrap()
}

fn frames(recorded: &Value) -> Frames {
    let texts = recorded["frames"].as_array().unwrap();
    texts.iter().map(|text| Bytes::from(text.as_str().unwrap().to_owned())).collect()
}

fn codec(golden: &Value) -> Codec {
    Codec::new(golden["key"].as_str().unwrap())
}

#[test]
fn every_request_of_jupyters_client_is_understood() {
    let golden = golden();
    let codec = codec(&golden);
    let mut seen = Vec::new();
    for recorded in golden["requests"].as_array().unwrap() {
        if recorded["msg_type"] == "input_reply" {
            let message: Message<StdinMessage> = codec.decode(frames(recorded)).unwrap();
            assert!(
                matches!(message.content, StdinMessage::InputReply(reply) if reply.value == "a line" && !reply.eof)
            );
            continue;
        }
        let message: Message<Request> = codec.decode(frames(recorded)).unwrap();
        assert_eq!(message.header.msg_type, recorded["msg_type"]);
        assert_eq!((message.header.username.as_str(), message.parent_header), ("golden", None));
        seen.push((message.content, message.header.subshell_id, message.identities, message.buffers));
    }
    assert_eq!(seen.len(), 13);
    let execute: Vec<_> = seen
        .iter()
        .filter_map(|(content, ..)| match content {
            Request::Execute(execute) => Some(execute),
            _ => None,
        })
        .collect();
    assert_eq!(execute[0].code, "print('Grüße, 月 🌙')");
    assert_eq!(execute[0].user_expressions["x"], "1 + 1");
    assert!(execute[0].allow_stdin && execute[0].store_history && execute[0].stop_on_error && !execute[0].silent);
    assert!(!execute[1].allow_stdin && !execute[1].store_history && !execute[1].stop_on_error && execute[1].silent);
    let complete: Vec<_> = seen
        .iter()
        .filter_map(|(content, ..)| match content {
            Request::Complete(complete) => Some((complete.cursor_pos, complete.cursor_bytes())),
            _ => None,
        })
        .collect();
    assert_eq!(complete, [(Some(12), 15), (Some(10), 10)]);
    let inspected =
        |content: &Request| matches!(content, Request::Inspect(i) if i.cursor_bytes() == 3 && i.detail_level == 0);
    assert!(seen.iter().any(|(content, ..)| inspected(content)));
    assert!(seen.iter().any(|(content, ..)| matches!(content, Request::History(_))));
    assert!(seen.iter().any(|(content, ..)| matches!(content, Request::Shutdown(shutdown) if shutdown.restart)));
    assert!(
        seen.iter()
            .any(|(content, ..)| matches!(content, Request::Interrupt(interrupt) if interrupt.perilune.is_none()))
    );
    let (_, subshell, identities, buffers) = seen.last().unwrap();
    assert_eq!(subshell.as_deref(), Some("a-subshell"));
    assert_eq!(identities[..], ["one", "two"]);
    assert_eq!(buffers[..], ["a buffer", ""]);
}

#[test]
fn every_publication_of_a_jupyter_kernel_is_understood() {
    let golden = golden();
    let codec = codec(&golden);
    let contents: Vec<Publication> = golden["others"]
        .as_array()
        .unwrap()
        .iter()
        .map(|recorded| {
            let message: Message<Publication> = codec.decode(frames(recorded)).unwrap();
            assert_eq!(message.identities, [recorded["msg_type"].as_str().unwrap()]);
            assert_eq!(message.parent_header.unwrap().msg_type, "execute_request");
            message.content
        })
        .collect();
    let [status, stream, input, result, display, update, error, clear, welcome, comm] = &contents[..] else {
        panic!("ten were recorded")
    };
    assert!(matches!(status, Publication::Status(status) if status.execution_state == ExecutionState::Busy));
    assert!(
        matches!(stream, Publication::Stream(stream) if stream.name == StreamName::Stderr && stream.text == "a\nb")
    );
    assert!(matches!(input, Publication::ExecuteInput(input) if input.code == "1" && input.execution_count == 7));
    assert!(matches!(result, Publication::ExecuteResult(result) if result.data["text/plain"] == "1"));
    assert!(matches!(display, Publication::DisplayData(display) if display.transient["display_id"] == "d"));
    assert!(matches!(update, Publication::UpdateDisplayData(update) if update.transient["display_id"] == "d"));
    assert!(matches!(error, Publication::Error(error) if error.traceback == ["one", "two"]));
    assert!(matches!(clear, Publication::ClearOutput(clear) if clear.wait));
    assert!(matches!(welcome, Publication::IopubWelcome(welcome) if welcome.subscription.is_empty()));
    assert!(matches!(comm, Publication::CommOpen(_)));
}

#[test]
fn our_bytes_and_signatures_equal_jupyters() {
    let golden = golden();
    for recorded in golden["compact"].as_array().unwrap() {
        let message: Message<Request> = codec(&golden).decode(frames(recorded)).unwrap();
        assert_eq!(codec(&golden).encode(&message).unwrap(), frames(recorded));
    }
}

#[test]
fn a_changed_byte_of_any_signed_frame_is_noticed() {
    let golden = golden();
    let codec = codec(&golden);
    let original = frames(&golden["compact"][1]);
    for changed in 2..original.len() {
        let mut frames = original.clone();
        let mut bytes = frames[changed].to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        frames[changed] = bytes.into();
        assert!(codec.decode::<Request>(frames).is_err(), "frame {changed}");
    }
    assert_eq!(codec.dropped().wrong_signature, 5);
    assert!(codec.decode::<Request>(original).is_ok());
}

#[test]
fn a_completeness_that_nobody_knows_is_no_error() {
    let message = Message::new(
        "s",
        Reply::Unknown { msg_type: "is_complete_reply".into(), content: serde_json::json!({"status": "perhaps"}) },
    );
    let codec = Codec::new("");
    let read: Message<Reply> = codec.decode(codec.encode(&message).unwrap()).unwrap();
    assert!(matches!(read.content, Reply::IsComplete(reply) if reply.status == Completeness::Unknown));
}
