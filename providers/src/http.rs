//! HTTP as every provider that speaks it needs it: a client with the user's proxies and certificates, bodies and lines that are
//! bounded, and one mapping from what goes wrong to the kinds of error.
//!
//! `client` makes a client, and knows what is asked by way of a proxy; [`Server`] is one with an address, as a provider instance has it;
//! [`Lines`] and [`ServerSentEvents`] read a stream, [`text`] and [`json`] a body. Dropping a response or a stream closes its connection, by which the far side knows that nobody
//! waits any more. Nothing here knows a dialect; keys, prompts and answers are in no error and in no log.

mod body;
mod client;
mod events;
mod lines;
mod server;

pub(crate) use body::{decimal, json, text};
pub(crate) use client::{ClientOptions, Proxies, built, client_builder};
pub(crate) use events::ServerSentEvents;
pub(crate) use lines::Lines;
pub(crate) use server::{Server, causes, retry_after};
