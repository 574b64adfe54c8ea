//! Signing, replay, and frames that are no messages.

use bytes::Bytes;
use perilune_protocol::{
    Codec, DecodeError, ExecuteRequest, Frames, Message, Publication, Reply, Request, StdinMessage,
};
use proptest::prelude::*;

const KEY: &str = "a key";

fn execute(code: &str) -> Message<Request> {
    Message::new("session", Request::Execute(ExecuteRequest::new(code)))
        .with_identities(vec![Bytes::from_static(b"peer")])
}

#[test]
fn a_message_survives_the_wire() {
    let mut message = execute("1 + 1");
    message.parent_header = Some(message.header.clone());
    message.header.subshell_id = Some("s".into());
    message.metadata.insert("k".into(), serde_json::json!([1, null]));
    message.buffers = vec![Bytes::from_static(b"\xff\x00"), Bytes::new()];
    let frames = Codec::new(KEY).encode(&message).unwrap();
    assert_eq!(Codec::new(KEY).decode::<Request>(frames).unwrap(), message);
}

#[test]
fn dropped_messages_are_counted_by_reason() {
    let codec = Codec::new(KEY);
    let frames = codec.encode(&execute("1")).unwrap();
    codec.decode::<Request>(frames.clone()).unwrap();
    assert!(matches!(codec.decode::<Request>(frames), Err(DecodeError::Replayed)));

    let unsigned = Codec::new("").encode(&execute("2")).unwrap();
    assert!(matches!(codec.decode::<Request>(unsigned), Err(DecodeError::Unsigned)));
    let other = Codec::new("another key").encode(&execute("3")).unwrap();
    assert!(matches!(codec.decode::<Request>(other), Err(DecodeError::WrongSignature)));
    let mut short = codec.encode(&execute("4")).unwrap();
    short.pop();
    assert!(matches!(codec.decode::<Request>(short), Err(DecodeError::Malformed { .. })));
    assert!(matches!(codec.decode::<Request>(Frames::new()), Err(DecodeError::Malformed { .. })));

    let dropped = codec.dropped();
    assert_eq!((dropped.replayed, dropped.unsigned, dropped.wrong_signature, dropped.malformed), (1, 1, 1, 2));
}

#[test]
fn a_forged_copy_does_not_shut_out_the_original() {
    let codec = Codec::new(KEY);
    let original = codec.encode(&execute("1")).unwrap();
    let mut forged = original.clone();
    let last = forged.len() - 1;
    forged[last] = Bytes::from_static(b"{\"code\":\"evil\"}");
    assert!(matches!(codec.decode::<Request>(forged), Err(DecodeError::WrongSignature)));
    assert!(codec.decode::<Request>(original).is_ok());
}

#[test]
fn without_a_key_nothing_is_signed_and_nothing_is_a_replay() {
    let codec = Codec::new("");
    let frames = codec.encode(&execute("1")).unwrap();
    assert!(frames[2].is_empty());
    for _ in 0..2 {
        codec.decode::<Request>(frames.clone()).unwrap();
    }
}

#[test]
fn an_invalid_content_says_whom_to_answer() {
    let codec = Codec::new(KEY);
    let content = serde_json::json!({"command": "summon", "model": "m"});
    let request = Request::Unknown { msg_type: "model_request".into(), content };
    let message = Message::new("s", request).with_identities(vec![Bytes::from_static(b"peer")]);
    let error = codec.decode::<Request>(codec.encode(&message).unwrap()).unwrap_err();
    assert!(!error.to_string().contains("summon"), "what is fit for a log does not quote: {error}");
    let DecodeError::InvalidContent { identities, header, source } = error else { panic!("{error}") };
    assert!(source.to_string().contains("unknown variant `summon`, expected one of `list`"), "{source}");
    assert_eq!((identities, *header), (message.identities, message.header));
    assert_eq!(codec.dropped(), Default::default());
}

#[test]
fn no_key_is_printed() {
    assert!(!format!("{:?}", Codec::new("secret-key")).contains("secret"));
}

proptest! {
    #[test]
    fn arbitrary_frames_never_panic(frames in proptest::collection::vec(frame(), 0..12), keyed: bool) {
        let codec = Codec::new(if keyed { KEY } else { "" });
        let frames: Frames = frames.into_iter().map(Bytes::from).collect();
        let _ = codec.decode::<Request>(frames.clone());
        let _ = codec.decode::<Reply>(frames.clone());
        let _ = codec.decode::<Publication>(frames.clone());
        let _ = codec.decode::<StdinMessage>(frames);
    }

    #[test]
    fn any_code_survives_the_wire(code: String, identity: Vec<u8>, buffers: Vec<Vec<u8>>) {
        prop_assume!(identity != b"<IDS|MSG>");
        let mut message = execute(&code).with_identities(vec![identity.into()]);
        message.buffers = buffers.into_iter().map(Bytes::from).collect();
        let frames = Codec::new(KEY).encode(&message).unwrap();
        prop_assert_eq!(Codec::new(KEY).decode::<Request>(frames).unwrap(), message);
    }
}

/// Noise, and pieces of messages in places where they do not belong.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => Just(b"<IDS|MSG>".to_vec()),
        2 => Just(b"{}".to_vec()),
        1 => Just(Vec::new()),
        2 => proptest::collection::vec(any::<u8>(), 0..80),
        2 => "[a-z0-9]{64}".prop_map(String::into_bytes),
        1 => "\\PC{0,40}".prop_map(String::into_bytes),
        3 => prop_oneof![
            Just("execute_request"), Just("model_request"), Just("execute_reply"), Just("model_reply"), Just("stream"),
            Just("status"), Just("display_data"), Just("input_reply"), Just("nonsense")
        ].prop_map(|kind| format!(r#"{{"msg_id":"a","msg_type":"{kind}"}}"#).into_bytes()),
        1 => Just(vec![b'['; 4096]),
        1 => Just(br#"{"code":1e999,"command":"chat","messages":[{"role":"user"}],"status":null,"name":"stdout"}"#.to_vec()),
    ]
}

#[test]
fn a_message_that_no_peer_would_take_is_not_sent() {
    let codec = Codec::new(KEY);
    let error = codec.encode(&execute(&"x".repeat(64 << 20))).unwrap_err().to_string();
    assert!(error.starts_with("a `execute_request` of 67") && error.contains("at most 67043328"), "{error}");
}
