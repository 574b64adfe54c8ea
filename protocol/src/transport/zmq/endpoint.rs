//! Addresses: which field of the connection file is which socket's, and how ZeroMQ writes it.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::TransportError;
use crate::ConnectionFile;

/// The five sockets of a kernel.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    Shell,
    Control,
    Stdin,
    Iopub,
    Heartbeat,
}

impl Part {
    pub(super) fn name(self) -> &'static str {
        match self {
            Part::Shell => "shell",
            Part::Control => "control",
            Part::Stdin => "stdin",
            Part::Iopub => "iopub",
            Part::Heartbeat => "heartbeat",
        }
    }
}

pub(super) fn port(file: &ConnectionFile, part: Part) -> u16 {
    match part {
        Part::Shell => file.shell_port,
        Part::Control => file.control_port,
        Part::Stdin => file.stdin_port,
        Part::Iopub => file.iopub_port,
        Part::Heartbeat => file.hb_port,
    }
}

pub(super) fn set_port(file: &mut ConnectionFile, part: Part, port: u16) {
    *match part {
        Part::Shell => &mut file.shell_port,
        Part::Control => &mut file.control_port,
        Part::Stdin => &mut file.stdin_port,
        Part::Iopub => &mut file.iopub_port,
        Part::Heartbeat => &mut file.hb_port,
    } = port;
}

/// E.g. `tcp://127.0.0.1:4711` or `tcp://[::1]:4711`.
pub(super) fn address(file: &ConnectionFile, part: Part) -> String {
    let (host, port) = (file.host(), port(file, part));
    if host.contains(':') { format!("tcp://[{host}]:{port}") } else { format!("tcp://{host}:{port}") }
}

/// Knocks at the shell's port: ZeroMQ would try for ever, and never say that nobody is there.
pub(super) async fn try_to_reach(file: &ConnectionFile, patience: Duration) -> Result<(), TransportError> {
    if file.shell_port == 0 {
        return Ok(());
    }
    let reason = match timeout(patience, TcpStream::connect((file.host(), file.shell_port))).await {
        Ok(Ok(_)) => return Ok(()),
        Ok(Err(error)) => format!("{error}; if its kernel has ended, its connection file is of no more use"),
        Err(_) => format!("no answer within {} s", patience.as_secs_f32()),
    };
    Err(TransportError::Unreachable { channel: Part::Shell.name(), address: address(file, Part::Shell), reason })
}
