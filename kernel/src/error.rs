//! What can go wrong with a kernel itself; what goes wrong inside a request is that request's reply.

/// An error of the kernel, not of a script that runs in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration, a provider or a model.
    #[error(transparent)]
    Providers(#[from] perilune_providers::Error),
    /// The notebook's interpreter did not start.
    #[error("the Lua interpreter did not start: {0}")]
    Bridge(#[from] perilune_bridge::Error),
    /// A socket, for example a port in use.
    #[error(transparent)]
    Transport(#[from] perilune_protocol::TransportError),
    /// A connection file.
    #[error(transparent)]
    Connection(#[from] perilune_protocol::ConnectionFileError),
    /// An address that other machines reach, without encryption and authentication.
    #[error(
        "`{address}` is beyond this machine, and whoever reaches it could run code: listening there needs a `key` and CURVE keys in the connection file; without them use `127.0.0.1`"
    )]
    Exposed {
        /// The address.
        address: String,
    },
    /// Neither `PERILUNE_HOME` nor an XDG directory nor `HOME` says where this user's files belong.
    #[error("no home directory: set `HOME` or `PERILUNE_HOME` to a directory of yours")]
    NoHome,
}
