//! The protocol crate from the outside: bytes recorded from jupyter_client, hostile bytes, both transports, and the `zeromq` crate as peer.
//! libzmq is the peer of `tests/python/test_transport.py`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where it stopped")]

mod codec;
mod connection_file;
mod contents;
mod ends;
mod golden;
mod hostile;
mod peers;
mod subscribers;
mod zeromq_crate;
mod zmq;
