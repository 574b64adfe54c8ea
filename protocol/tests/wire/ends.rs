//! What holds for both transports.

use bytes::Bytes;

use crate::peers::{PATIENCE, frames, pairs, soon};

#[tokio::test]
async fn requests_arrive_with_an_identity_that_brings_the_reply_back() {
    for (mut kernel, mut client) in pairs().await {
        let channels = [
            (&mut kernel.shell, &mut client.shell),
            (&mut kernel.control, &mut client.control),
            (&mut kernel.stdin, &mut client.stdin),
        ];
        for (ours, theirs) in channels {
            theirs.sender.send(frames(["a", "", "b"])).await.unwrap();
            let mut received = soon(ours.receiver.recv()).await.unwrap();
            assert_eq!(received[1..], frames(["a", "", "b"]));
            assert!(!received[0].is_empty());
            received.truncate(1);
            received.push(Bytes::from_static(b"reply"));
            ours.sender.send(received).await.unwrap();
            assert_eq!(soon(theirs.receiver.recv()).await.unwrap(), frames(["reply"]));
        }
    }
}

#[tokio::test]
async fn the_kernel_can_ask_on_stdin_whoever_it_heard_on_shell() {
    for (mut kernel, mut client) in pairs().await {
        client.shell.sender.send(frames(["run"])).await.unwrap();
        let identity = soon(kernel.shell.receiver.recv()).await.unwrap().swap_remove(0);
        kernel.stdin.sender.send(vec![identity, Bytes::from_static(b"name?")]).await.unwrap();
        assert_eq!(soon(client.stdin.receiver.recv()).await.unwrap(), frames(["name?"]));
    }
}

#[tokio::test]
async fn a_burst_of_replies_arrives_whole() {
    for (mut kernel, mut client) in pairs().await {
        client.shell.sender.send(frames(["ask"])).await.unwrap();
        let identity = soon(kernel.shell.receiver.recv()).await.unwrap().swap_remove(0);
        let repliers: Vec<_> = (0..8)
            .map(|_| {
                let (sender, identity) = (kernel.shell.sender.clone(), identity.clone());
                tokio::spawn(async move {
                    for _ in 0..250 {
                        sender.send(vec![identity.clone(), Bytes::from_static(b"reply")]).await.unwrap();
                    }
                })
            })
            .collect();
        for _ in 0..2000 {
            assert_eq!(soon(client.shell.receiver.recv()).await.unwrap(), frames(["reply"]));
        }
        for replier in repliers {
            replier.await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_reply_to_nobody_is_dropped() {
    for (mut kernel, mut client) in pairs().await {
        kernel.shell.sender.send(frames(["nobody", "lost"])).await.unwrap();
        client.shell.sender.send(frames(["ping"])).await.unwrap();
        let mut received = soon(kernel.shell.receiver.recv()).await.unwrap();
        received[1] = Bytes::from_static(b"pong");
        kernel.shell.sender.send(received).await.unwrap();
        assert_eq!(soon(client.shell.receiver.recv()).await.unwrap(), frames(["pong"]));
    }
}

#[tokio::test]
async fn what_is_published_after_a_subscription_arrives_in_order() {
    for (mut kernel, mut client) in pairs().await {
        assert_eq!(soon(kernel.iopub.subscriptions.recv()).await.unwrap().topic, "");
        let publishing = kernel.iopub.sender.clone();
        let publish = tokio::spawn(async move {
            for number in 0..20_000_u32 {
                publishing
                    .publish(vec![Bytes::from_static(b"topic"), number.to_be_bytes().to_vec().into()])
                    .await
                    .unwrap();
            }
        });
        for number in 0..20_000_u32 {
            let received = soon(client.iopub.recv()).await.unwrap();
            assert_eq!(received[1][..], number.to_be_bytes());
        }
        publish.await.unwrap();
    }
}

#[tokio::test]
async fn large_messages_arrive_whole() {
    let large = Bytes::from(vec![7; 20 << 20]);
    for (mut kernel, mut client) in pairs().await {
        soon(kernel.iopub.subscriptions.recv()).await.unwrap();
        client.shell.sender.send(vec![large.clone(), large.clone()]).await.unwrap();
        assert_eq!(soon(kernel.shell.receiver.recv()).await.unwrap()[1..], [large.clone(), large.clone()]);
        kernel.iopub.sender.publish(vec![Bytes::new(), large.clone()]).await.unwrap();
        assert_eq!(soon(client.iopub.recv()).await.unwrap()[1], large);
    }
}

#[tokio::test]
async fn the_heart_beats_until_the_kernel_is_gone() {
    for (kernel, mut client) in pairs().await {
        for _ in 0..3 {
            assert!(client.heartbeat.probe(PATIENCE).await);
        }
        kernel.closer.close().await;
        drop((kernel.shell, kernel.control, kernel.stdin, kernel.iopub));
        assert!(!client.heartbeat.probe(std::time::Duration::from_millis(300)).await);
    }
}

#[tokio::test]
async fn what_was_sent_before_closing_arrives() {
    for (mut kernel, mut client) in pairs().await {
        soon(kernel.iopub.subscriptions.recv()).await.unwrap();
        client.control.sender.send(frames(["shutdown"])).await.unwrap();
        let mut request = soon(kernel.control.receiver.recv()).await.unwrap();
        request[1] = Bytes::from_static(b"bye");
        kernel.control.sender.send(request).await.unwrap();
        for _ in 0..200 {
            kernel.iopub.sender.publish(frames(["", "idle"])).await.unwrap();
        }
        let closing = kernel.closer.close();
        let reading = async {
            assert_eq!(soon(client.control.receiver.recv()).await.unwrap(), frames(["bye"]));
            for _ in 0..200 {
                assert_eq!(soon(client.iopub.recv()).await.unwrap(), frames(["", "idle"]));
            }
        };
        tokio::join!(closing, reading);
    }
}

#[tokio::test]
async fn a_client_that_is_gone_holds_nobody_up() {
    for (mut kernel, client) in pairs().await {
        soon(kernel.iopub.subscriptions.recv()).await.unwrap();
        drop(client);
        for _ in 0..2_000 {
            soon(kernel.iopub.sender.publish(frames(["", "unheard"]))).await.unwrap();
        }
    }
}
