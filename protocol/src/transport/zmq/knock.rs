//! Knocks at the shell's port before the sockets connect: ZeroMQ would try for ever, and never say that nobody is there, or that somebody
//! else is. What the other side says first tells whether it speaks ZeroMQ, and whether with CURVE.

use std::io;
use std::pin::pin;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::TransportError;
use super::endpoint::{Part, address};
use crate::ConnectionFile;

/// Bytes of ZMTP's greeting (RFC 37): signature of ten, version of two, mechanism of twenty, whether it is the server, filler.
const GREETING_BYTES: usize = 64;
const MECHANISM: std::ops::Range<usize> = 12..32;

/// How long who speaks ZeroMQ may be silent before it is taken for somebody else.
const SILENCE: Duration = Duration::from_secs(1);

/// What is quoted of somebody who is no kernel, in bytes.
const QUOTED_BYTES: usize = 32;

/// An error within `patience` unless a peer that fits the file listens there.
pub(super) async fn knock(file: &ConnectionFile, patience: Duration) -> Result<(), TransportError> {
    if file.shell_port == 0 {
        return Ok(());
    }
    let failed = |reason: String| TransportError::Unreachable {
        channel: Part::Shell.name(),
        address: address(file, Part::Shell),
        reason,
    };
    let deadline = Instant::now() + patience;
    let seconds = patience.as_secs_f32();
    let mut stream = match timeout_at(deadline, TcpStream::connect((file.host(), file.shell_port))).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            return Err(failed(format!("{error}; if its kernel has ended, its connection file is of no more use")));
        }
        Err(_) => return Err(failed(format!("no answer within {seconds} s"))),
    };
    let mut heard = Vec::with_capacity(GREETING_BYTES);
    match timeout_at(deadline, exchange(&mut stream, file.curve.is_some(), &mut heard)).await {
        Ok(Err(error)) => return Err(failed(format!("it accepts connections, and ends them at once: {error}"))),
        Err(_) if heard.is_empty() => {
            return Err(failed(format!("it accepts connections, but has said nothing in {seconds} s; is it frozen?")));
        }
        Ok(Ok(())) | Err(_) => {}
    }
    judge(&heard, file.curve.is_some()).map_err(failed)
}

async fn exchange(stream: &mut TcpStream, encrypted: bool, heard: &mut Vec<u8>) -> io::Result<()> {
    stream.write_all(&greeting(encrypted)).await?;
    let (reader, mut writer) = stream.split();
    let mut reader = reader.take(GREETING_BYTES as u64);
    let mut reading = pin!(reader.read_to_end(heard));
    if let Ok(read) = timeout(SILENCE, &mut reading).await {
        return read.map(drop);
    }
    // A server of text waits for the end of a line, and then says what it is.
    writer.write_all(b"\r\n\r\n").await?;
    reading.await.map(drop)
}

fn greeting(encrypted: bool) -> Vec<u8> {
    let mut greeting = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01".to_vec();
    greeting.extend_from_slice(if encrypted { b"CURVE" } else { b"NULL" });
    greeting.resize(GREETING_BYTES, 0);
    greeting
}

/// Whether what was heard is a kernel's greeting that fits; else why not.
fn judge(heard: &[u8], encrypted: bool) -> Result<(), String> {
    if heard.is_empty() {
        return Err(
            "it accepts connections, and ends them without a word; it is no kernel, or a way to one that has ended"
                .to_owned(),
        );
    }
    let speaks_zeromq = heard[0] == 0xff && heard.get(9).is_none_or(|byte| byte & 1 == 1);
    if !speaks_zeromq || heard.len() < MECHANISM.end {
        return Err(format!("what listens there is no kernel: it said {}", quote(heard)));
    }
    let mechanism = &heard[MECHANISM];
    let mechanism = mechanism.split(|byte| *byte == 0).next().unwrap_or_default();
    match (mechanism, encrypted) {
        (b"CURVE", true) | (b"NULL", false) => Ok(()),
        (b"CURVE", false) => Err("it is encrypted, and the connection file has no `curve_publickey`".to_owned()),
        (b"NULL", true) => {
            Err("it is not encrypted, but the connection file has CURVE keys; it is another kernel".to_owned())
        }
        (other, _) => Err(format!("it asks for the mechanism {}; `NULL` and `CURVE` are known", quote(other))),
    }
}

fn quote(bytes: &[u8]) -> String {
    let quoted = &bytes[..bytes.len().min(QUOTED_BYTES)];
    let text =
        String::from_utf8_lossy(quoted.split(|byte| b"\r\n".contains(byte)).next().unwrap_or_default()).into_owned();
    format!("`{}`", text.escape_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_no_kernel_is_told_apart_from_who_has_other_keys() {
        assert_eq!(judge(&greeting(true), true), Ok(()));
        assert_eq!(judge(&greeting(false), false), Ok(()));
        for (heard, encrypted, told) in [
            (&b""[..], false, "without a word"),
            (b"HTTP/1.1 400 Bad Request\r\nServer: x", true, "it said `HTTP/1.1 400 Bad Request`"),
            (b"SSH-2.0-OpenSSH_9.2p1\r\n", false, "it said `SSH-2.0-OpenSSH_9.2p1`"),
            (b"\xff\xff\xff", false, "is no kernel"),
            (&greeting(true), false, "no `curve_publickey`"),
            (&greeting(false), true, "is not encrypted"),
        ] {
            let reason = judge(heard, encrypted).unwrap_err();
            assert!(reason.contains(told), "{reason}");
        }
    }
}
