//! The connection file: where a kernel listens and with which keys. Jupyter's launchers write it for us, and we write it for clients.
//! Neither its text nor the type's debug output may reach a log: the keys are in it.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::codec::SCHEME;

/// The one transport of connection files that is spoken here.
const TRANSPORT: &str = "tcp";

/// What a connection file says.
#[derive(Clone, PartialEq)]
pub struct ConnectionFile {
    /// The address to listen on, as Jupyter calls it.
    pub ip: String,
    /// The shell's port; 0 is one of the system's choice, for each port.
    pub shell_port: u16,
    /// The iopub's port.
    pub iopub_port: u16,
    /// The stdin's port.
    pub stdin_port: u16,
    /// The control's port.
    pub control_port: u16,
    /// The heartbeat's port.
    pub hb_port: u16,
    /// The key that signs messages; empty is unsigned.
    pub key: String,
    /// Name of the kernelspec.
    pub kernel_name: String,
    /// The CURVE key pair of the kernel's sockets; without it they speak plainly.
    pub curve: Option<CurveKeys>,
    /// Fields that are not known here, kept for writing.
    pub other: Map<String, Value>,
}

/// A CURVE key pair in Z85, 40 characters each.
#[derive(Clone, PartialEq, Eq)]
pub struct CurveKeys {
    /// What clients check the kernel against.
    pub public: String,
    /// The kernel's own; empty in a file for clients alone, which do without.
    pub secret: String,
}

/// Why a connection file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionFileError {
    /// The file cannot be read.
    #[error("cannot read the connection file `{}`: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not a JSON object.
    #[error("the connection file `{}` is not a JSON object: {reason}", path.display())]
    NotAnObject {
        /// Which file.
        path: PathBuf,
        /// What it is.
        reason: String,
    },
    /// A field is missing.
    #[error("the connection file `{}` lacks the field `{field}`, {expected}", path.display())]
    MissingField {
        /// Which file.
        path: PathBuf,
        /// Which field.
        field: &'static str,
        /// What belongs there.
        expected: &'static str,
    },
    /// A field holds something else.
    #[error("the connection file `{}` has {found} in the field `{field}`; it should be {expected}", path.display())]
    InvalidField {
        /// Which file.
        path: PathBuf,
        /// Which field.
        field: &'static str,
        /// What is there: the value, or for a key only its kind.
        found: String,
        /// What belongs there.
        expected: &'static str,
    },
    /// The file cannot be written.
    #[error("cannot write the connection file `{}`: {source}", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl ConnectionFile {
    /// This machine alone, ports of the system's choice, a fresh key, no encryption.
    pub fn local() -> ConnectionFile {
        ConnectionFile {
            ip: "127.0.0.1".to_owned(),
            shell_port: 0,
            iopub_port: 0,
            stdin_port: 0,
            control_port: 0,
            hb_port: 0,
            key: format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()),
            kernel_name: "perilune".to_owned(),
            curve: None,
            other: Map::new(),
        }
    }

    /// The host as the system takes it: `*` is ZeroMQ's word for every address, and brackets are not part of one.
    pub fn host(&self) -> &str {
        match self.ip.as_str() {
            "*" => "0.0.0.0",
            host => host.trim_matches(['[', ']']),
        }
    }

    /// Whether only this machine can reach it. A name other than `localhost` may be anybody's.
    pub fn is_loopback(&self) -> bool {
        let host = self.host();
        host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    }

    /// Reads a connection file.
    pub fn read(path: &Path) -> Result<ConnectionFile, ConnectionFileError> {
        let text = fs::read(path).map_err(|source| ConnectionFileError::Read { path: path.to_owned(), source })?;
        let not_an_object = |reason: String| ConnectionFileError::NotAnObject { path: path.to_owned(), reason };
        match serde_json::from_slice(&text) {
            Ok(Value::Object(fields)) => Fields { path, fields }.into_connection_file(),
            Ok(other) => Err(not_an_object(format!("it is {}", kind(&other)))),
            Err(error) => Err(not_an_object(error.to_string())),
        }
    }

    /// Writes it so that only this user can read it, and so that no reader ever sees half of it.
    pub fn write(&self, path: &Path) -> Result<(), ConnectionFileError> {
        let temporary = path.with_file_name(format!(".connection-{}", Uuid::new_v4().simple()));
        let result = create_private(&temporary, &self.to_json()).and_then(|()| fs::rename(&temporary, path));
        result.map_err(|source| {
            // It is the first error that matters; the leftover is ours and unique, so a failure to remove it harms nobody.
            let _ = fs::remove_file(&temporary);
            ConnectionFileError::Write { path: path.to_owned(), source }
        })
    }

    fn to_json(&self) -> String {
        let mut fields = json!({
            "shell_port": self.shell_port,
            "iopub_port": self.iopub_port,
            "stdin_port": self.stdin_port,
            "control_port": self.control_port,
            "hb_port": self.hb_port,
            "ip": self.ip,
            "key": self.key,
            "transport": TRANSPORT,
            "signature_scheme": SCHEME,
            "kernel_name": self.kernel_name,
        });
        if let (Some(curve), Some(fields)) = (&self.curve, fields.as_object_mut()) {
            fields.insert("curve_publickey".to_owned(), curve.public.clone().into());
            if !curve.secret.is_empty() {
                fields.insert("curve_secretkey".to_owned(), curve.secret.clone().into());
            }
        }
        if let Some(fields) = fields.as_object_mut() {
            fields.extend(self.other.clone());
        }
        format!("{fields:#}\n")
    }
}

impl fmt::Debug for ConnectionFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ConnectionFile")
            .field("ip", &self.ip)
            .field("ports", &[self.shell_port, self.iopub_port, self.stdin_port, self.control_port, self.hb_port])
            .field("signed", &!self.key.is_empty())
            .field("encrypted", &self.curve.is_some())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for CurveKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CurveKeys").finish_non_exhaustive()
    }
}

/// The fields of a file while they are being taken out of it.
struct Fields<'a> {
    path: &'a Path,
    fields: Map<String, Value>,
}

const A_PORT: &str = "a port between 0 and 65535";
const A_TRANSPORT: &str = "`tcp`";
const A_SCHEME: &str = "`hmac-sha256`";
const A_CURVE_KEY: &str = "a key of 40 characters in Z85";

impl Fields<'_> {
    fn into_connection_file(mut self) -> Result<ConnectionFile, ConnectionFileError> {
        let transport = self.text("transport")?.unwrap_or_else(|| TRANSPORT.to_owned());
        if transport != TRANSPORT {
            return Err(self.invalid("transport", format!("`{transport}`"), A_TRANSPORT));
        }
        let scheme = self.text("signature_scheme")?.unwrap_or_default();
        if !scheme.is_empty() && scheme != SCHEME {
            return Err(self.invalid("signature_scheme", format!("`{scheme}`"), A_SCHEME));
        }
        let ip = self.text("ip")?.filter(|ip| !ip.is_empty());
        let file = ConnectionFile {
            ip: ip.ok_or_else(|| self.missing("ip", "the address to listen on, e.g. `127.0.0.1`"))?,
            shell_port: self.port("shell_port")?,
            iopub_port: self.port("iopub_port")?,
            stdin_port: self.port("stdin_port")?,
            control_port: self.port("control_port")?,
            hb_port: self.port("hb_port")?,
            key: self
                .secret("key")?
                .ok_or_else(|| self.missing("key", "the key that signs messages, or an empty text"))?,
            kernel_name: self.text("kernel_name")?.unwrap_or_default(),
            curve: self.curve()?,
            other: Map::new(),
        };
        Ok(ConnectionFile { other: self.fields, ..file })
    }

    fn port(&mut self, field: &'static str) -> Result<u16, ConnectionFileError> {
        match self.fields.remove(field) {
            None | Some(Value::Null) => Err(self.missing(field, A_PORT)),
            Some(value) => match value.as_u64().and_then(|port| u16::try_from(port).ok()) {
                Some(port) => Ok(port),
                None => Err(self.invalid(field, format!("`{value}`"), A_PORT)),
            },
        }
    }

    fn text(&mut self, field: &'static str) -> Result<Option<String>, ConnectionFileError> {
        match self.fields.remove(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(value) => Err(self.invalid(field, format!("`{value}`"), "a text")),
        }
    }

    fn secret(&mut self, field: &'static str) -> Result<Option<String>, ConnectionFileError> {
        match self.fields.remove(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(value) => Err(self.invalid(field, kind(&value).to_owned(), "a text")),
        }
    }

    fn curve(&mut self) -> Result<Option<CurveKeys>, ConnectionFileError> {
        let (public, secret) = (self.secret("curve_publickey")?, self.secret("curve_secretkey")?);
        for (field, key) in [("curve_publickey", &public), ("curve_secretkey", &secret)] {
            if let Some(key) = key
                && key.len() != 40
            {
                return Err(self.invalid(field, format!("{} bytes", key.len()), A_CURVE_KEY));
            }
        }
        match (public, secret) {
            (None, None) => Ok(None),
            (Some(public), Some(secret)) => Ok(Some(CurveKeys { public, secret })),
            (None, Some(_)) => Err(self.missing("curve_publickey", "the other half of `curve_secretkey`")),
            // A file for clients alone need not give them the kernel's secret.
            (Some(public), None) => Ok(Some(CurveKeys { public, secret: String::new() })),
        }
    }

    fn missing(&self, field: &'static str, expected: &'static str) -> ConnectionFileError {
        ConnectionFileError::MissingField { path: self.path.to_owned(), field, expected }
    }

    fn invalid(&self, field: &'static str, found: String, expected: &'static str) -> ConnectionFileError {
        ConnectionFileError::InvalidField { path: self.path.to_owned(), field, found, expected }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn create_private(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
