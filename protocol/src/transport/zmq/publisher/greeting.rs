//! A peer on its way in: ZMTP's greeting, and with CURVE the proof of its keys, within [`HANDSHAKE_TIMEOUT`].

use std::io::IoSlice;

use bytes::BytesMut;
use omq_tokio::proto::connection::{Connection, ConnectionConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::super::HANDSHAKE_TIMEOUT;

/// A peer that greeted as it should.
pub(super) struct Greeted {
    pub(super) stream: TcpStream,
    /// Holds what the peer sent right behind its greeting.
    pub(super) connection: Connection,
}

pub(super) async fn greet(mut stream: TcpStream, config: ConnectionConfig) -> Option<Greeted> {
    let mut connection = Connection::new(config);
    timeout(HANDSHAKE_TIMEOUT, exchange(&mut stream, &mut connection)).await.ok()??;
    Some(Greeted { stream, connection })
}

async fn exchange(stream: &mut TcpStream, connection: &mut Connection) -> Option<()> {
    let mut input = BytesMut::new();
    let (mut reader, mut writer) = stream.split();
    while !connection.is_ready() {
        let output = connection.clone_transmit_chunks();
        let slices: Vec<IoSlice<'_>> = output.iter().map(|chunk| IoSlice::new(chunk)).collect();
        tokio::select! {
            written = writer.write_vectored(&slices), if !slices.is_empty() => {
                connection.advance_transmit(written.ok().filter(|written| *written > 0)?);
            }
            read = reader.read_buf(&mut input) => {
                read.ok().filter(|read| *read > 0)?;
                connection.handle_input(input.split().freeze()).ok()?;
            }
        }
    }
    Some(())
}
