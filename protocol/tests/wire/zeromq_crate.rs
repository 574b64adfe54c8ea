//! The `zeromq` crate, an implementation of its own, as the peer of either end.

use std::collections::HashMap;

use bytes::Bytes;
use perilune_protocol::{ConnectionFile, zmq};
use zeromq::{DealerSocket, PubSocket, ReqSocket, RouterSocket, Socket, SocketRecv, SocketSend, SubSocket, ZmqMessage};

use crate::peers::{PATIENCE, frames, local, soon};

fn message<const N: usize>(parts: [&'static str; N]) -> ZmqMessage {
    ZmqMessage::try_from(frames(parts)).unwrap()
}

fn at(port: u16) -> String {
    format!("tcp://127.0.0.1:{port}")
}

#[tokio::test]
async fn its_dealer_req_and_sub_speak_to_our_kernel() {
    let (mut kernel, file) = zmq::bind(&local(false)).await.unwrap();
    let mut dealer = DealerSocket::new();
    dealer.connect(&at(file.shell_port)).await.unwrap();
    dealer.send(message(["question", "", "mark"])).await.unwrap();
    let request = soon(kernel.shell.receiver.recv()).await.unwrap();
    assert_eq!(request[1..], frames(["question", "", "mark"]));
    kernel.shell.sender.send(request).await.unwrap();
    assert_eq!(soon(dealer.recv()).await.unwrap().into_vec(), frames(["question", "", "mark"]));

    let mut heartbeat = ReqSocket::new();
    heartbeat.connect(&at(file.hb_port)).await.unwrap();
    for beat in ["one", "two"] {
        heartbeat.send(beat.into()).await.unwrap();
        assert_eq!(soon(heartbeat.recv()).await.unwrap().into_vec(), [beat]);
    }

    let mut subscriber = SubSocket::new();
    subscriber.connect(&at(file.iopub_port)).await.unwrap();
    subscriber.subscribe("wanted").await.unwrap();
    assert_eq!(soon(kernel.iopub.subscriptions.recv()).await.unwrap().topic, "wanted");
    for topic in ["unwanted", "wanted.too"] {
        kernel.iopub.sender.publish(frames([topic, "body"])).await.unwrap();
    }
    assert_eq!(soon(subscriber.recv()).await.unwrap().into_vec(), frames(["wanted.too", "body"]));
}

#[tokio::test]
async fn our_client_speaks_to_its_router_and_pub() {
    let mut routers = HashMap::new();
    for part in ["shell", "control", "stdin", "hb"] {
        let mut router = RouterSocket::new();
        let zeromq::Endpoint::Tcp(_, port) = router.bind(&at(0)).await.unwrap() else { panic!("a tcp port") };
        routers.insert(part, (router, port));
    }
    let mut publisher = PubSocket::new();
    let zeromq::Endpoint::Tcp(_, iopub_port) = publisher.bind(&at(0)).await.unwrap() else { panic!("a tcp port") };
    let file = ConnectionFile {
        shell_port: routers["shell"].1,
        control_port: routers["control"].1,
        stdin_port: routers["stdin"].1,
        hb_port: routers["hb"].1,
        iopub_port,
        ..local(false)
    };
    let mut client = zmq::connect(&file, PATIENCE).await.unwrap();

    let (mut shell, _) = routers.remove("shell").unwrap();
    client.shell.sender.send(frames(["question"])).await.unwrap();
    let request = soon(shell.recv()).await.unwrap();
    assert_eq!(request.get(1).unwrap(), "question");
    shell.send(request).await.unwrap();
    assert_eq!(soon(client.shell.receiver.recv()).await.unwrap(), frames(["question"]));

    let (mut heart, _) = routers.remove("hb").unwrap();
    let answer = async {
        let beat = heart.recv().await.unwrap();
        heart.send(beat).await.unwrap();
    };
    let (alive, ()) = soon(async { tokio::join!(client.heartbeat.probe(PATIENCE), answer) }).await;
    assert!(alive);

    // It does not tell of subscriptions, so the first publications may come before ours.
    let received = soon(async {
        loop {
            publisher.send(message(["topic", "body"])).await.unwrap();
            tokio::select! {
                received = client.iopub.recv() => break received.unwrap(),
                () = tokio::task::yield_now() => {}
            }
        }
    });
    assert_eq!(received.await, [Bytes::from_static(b"topic"), Bytes::from_static(b"body")]);
}
