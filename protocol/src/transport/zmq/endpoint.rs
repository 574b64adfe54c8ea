//! Addresses: which field of the connection file is which socket's, and how ZeroMQ writes it.

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
