//! Datagrams: the sockets, and a client and a server with any machine over datagrams.

mod client;
mod server;
mod stack;

pub use client::DatagramClient;
pub use server::{DatagramServer, DatagramService, EventOf};
