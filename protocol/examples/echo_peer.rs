//! A peer for tests of the transport against other implementations of ZeroMQ. It computes nothing:
//!
//! - `echo_peer kernel FILE` binds the sockets that the connection file asks for, writes the file back with the chosen ports, prints
//!   `ready`, answers every `kernel_info_request` and `execute_request`, publishes `status`, a `stream` with the code and an
//!   `iopub_welcome` per subscription, and asks for input when the code says `input`. It ends with a `shutdown_request`.
//! - `echo_peer client FILE CODE` connects, sends the code in an `execute_request`, and prints what it receives, a JSON line each:
//!   the replies, the publications, whether the heartbeat is answered.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use perilune_protocol::{
    ClientEnds, Codec, ConnectionFile, Content, ExecuteReply, ExecuteRequest, ExecutionState, Header, InputReply,
    InputRequest, IopubWelcome, KernelEnds, KernelInfoReply, LanguageInfo, Message, Publication, PublishSender, Reply,
    Request, ShutdownReply, Status, StdinMessage, Stream, StreamName, zmq,
};

type Failure = Box<dyn std::error::Error>;

/// Longer than any answer takes, shorter than a test may wait.
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["kernel", file] => kernel(Path::new(file)).await,
        ["client", file, code] => client(Path::new(file), code).await,
        _ => Err("expected `kernel FILE` or `client FILE CODE`".into()),
    }
}

async fn kernel(path: &Path) -> Result<(), Failure> {
    let (ends, file) = zmq::bind(&ConnectionFile::read(path)?).await?;
    file.write(path)?;
    let codec = Arc::new(Codec::new(&file.key));
    let KernelEnds { mut shell, mut control, mut stdin, iopub, closer, .. } = ends;
    let voice = Voice { codec: codec.clone(), iopub: iopub.sender };
    let mut subscriptions = iopub.subscriptions;
    println!("ready");
    loop {
        let (frames, sender) = tokio::select! {
            Some(frames) = shell.receiver.recv() => (frames, &shell.sender),
            Some(frames) = control.receiver.recv() => (frames, &control.sender),
            Some(subscription) = subscriptions.recv() => {
                let topic = String::from_utf8_lossy(&subscription.topic).into_owned();
                voice.say(None, Publication::IopubWelcome(IopubWelcome { subscription: topic })).await?;
                continue;
            }
            else => break,
        };
        let request = match codec.decode::<Request>(frames) {
            Ok(request) => request,
            Err(error) => {
                eprintln!("{error}; {:?}", codec.dropped());
                continue;
            }
        };
        voice.state(&request.header, ExecutionState::Busy).await?;
        let content = match &request.content {
            Request::KernelInfo => Reply::KernelInfo(Box::new(kernel_info())),
            Request::Execute(execute) => {
                let text = if execute.code == "input" {
                    let question = StdinMessage::InputRequest(InputRequest { prompt: "? ".into(), password: false });
                    stdin.sender.send(codec.encode(&request.reply("echo", question))?).await?;
                    let answer = stdin.receiver.recv().await.ok_or("stdin is closed")?;
                    let StdinMessage::InputReply(InputReply { value, .. }) = codec.decode(answer)?.content else {
                        return Err("that was no input_reply".into());
                    };
                    value
                } else {
                    execute.code.clone()
                };
                let count = text.strip_prefix("burst ").and_then(|count| count.parse().ok()).unwrap_or(1);
                for number in 0..count {
                    let text = if count == 1 { text.clone() } else { format!("{number}\n") };
                    voice
                        .say(Some(&request.header), Publication::Stream(Stream { name: StreamName::Stdout, text }))
                        .await?;
                }
                Reply::Execute(ExecuteReply { execution_count: 1, ..ExecuteReply::default() })
            }
            Request::Shutdown(shutdown) => Reply::Shutdown(ShutdownReply { restart: shutdown.restart }),
            other => Reply::error(other.msg_type(), Default::default()),
        };
        let last = matches!(content, Reply::Shutdown(_));
        sender.send(codec.encode(&request.reply("echo", content))?).await?;
        voice.state(&request.header, ExecutionState::Idle).await?;
        if last {
            break;
        }
    }
    closer.close().await;
    Ok(())
}

struct Voice {
    codec: Arc<Codec>,
    iopub: PublishSender,
}

impl Voice {
    async fn say(&self, parent: Option<&Header>, content: Publication) -> Result<(), Failure> {
        let topic = content.msg_type().as_bytes().to_vec().into();
        let message = match parent {
            Some(parent) => Message::child("echo", parent, content),
            None => Message::new("echo", content),
        };
        Ok(self.iopub.publish(self.codec.encode(&message.with_identities(vec![topic]))?).await?)
    }

    async fn state(&self, parent: &Header, execution_state: ExecutionState) -> Result<(), Failure> {
        self.say(Some(parent), Publication::Status(Status { execution_state })).await
    }
}

fn kernel_info() -> KernelInfoReply {
    KernelInfoReply {
        protocol_version: perilune_protocol::PROTOCOL_VERSION.into(),
        implementation: "echo".into(),
        implementation_version: "1".into(),
        language_info: LanguageInfo {
            name: "echo".into(),
            version: "1".into(),
            mimetype: "text/plain".into(),
            file_extension: ".txt".into(),
            ..LanguageInfo::default()
        },
        banner: "echo".into(),
        ..KernelInfoReply::default()
    }
}

async fn client(path: &Path, code: &str) -> Result<(), Failure> {
    let file = ConnectionFile::read(path)?;
    let codec = Codec::new(&file.key);
    let ClientEnds { mut shell, mut stdin, mut iopub, mut heartbeat, closer, .. } =
        zmq::connect(&file, PATIENCE).await?;
    println!(r#"{{"heartbeat":{}}}"#, heartbeat.probe(PATIENCE).await);
    let execute = ExecuteRequest { allow_stdin: true, ..ExecuteRequest::new(code) };
    let request = Message::new("echo", Request::Execute(execute));
    shell.sender.send(codec.encode(&request)?).await?;
    let (mut replied, mut idle) = (false, false);
    while !(replied && idle) {
        tokio::select! {
            Some(frames) = shell.receiver.recv() => {
                replied = true;
                print(&codec.decode::<Reply>(frames)?)?;
            }
            Some(frames) = iopub.recv() => {
                let publication = codec.decode::<Publication>(frames)?;
                idle |= publication.content == Publication::Status(Status { execution_state: ExecutionState::Idle });
                print(&publication)?;
            }
            Some(frames) = stdin.receiver.recv() => {
                let question = codec.decode::<StdinMessage>(frames)?;
                print(&question)?;
                let answer = StdinMessage::InputReply(InputReply { value: "typed".into(), eof: false });
                stdin.sender.send(codec.encode(&question.reply("echo", answer).with_identities(Vec::new()))?).await?;
            }
            () = tokio::time::sleep(PATIENCE) => return Err("nothing came".into()),
            else => return Err("the connection is closed".into()),
        }
    }
    closer.close().await;
    Ok(())
}

fn print<C: Content>(message: &Message<C>) -> Result<(), Failure> {
    let content = String::from_utf8(message.content.to_json()?)?;
    println!(r#"{{"msg_type":"{}","content":{content}}}"#, message.header.msg_type);
    Ok(())
}
