//! Sockets: connecting, the client, the listener, the server engine, and datagrams.

mod acceptor;
mod client;
mod datagrams;
mod dial;
mod engine;
mod listen;
mod listener;
mod peer;
mod proxy_header;
mod quote;
mod stack;
pub mod system;

pub(crate) use acceptor::{ACCEPTS, Acceptor, Clients};
pub use client::{Client, Delivery, Error, Surplus, Wake};

pub use datagrams::{DatagramClient, DatagramServer, DatagramService, EventOf};
pub use dial::{DialError, Target};
pub(crate) use dial::{is_self_connected, reason, resolve_all, timeout_text};
pub(crate) use engine::waker_of;
pub use engine::{
    Ended, Internal, Limits, ParallelService, PayloadWriter, Running, Server, ServerControl,
    Service, SessionWaker, Stopper, Work,
};
pub use listen::BindError;
pub(crate) use listen::{listen, prepare};
pub use listener::{Accepted, Listener};
pub(crate) use peer::unmapped;
pub use proxy_header::{ProxyHeader, ProxyHeaderError, ProxyHeaderField, ProxyOrigin};
pub use quote::{Notice, Quote};
pub use stack::{Direction, Observer};
pub(crate) use system::MioListener;

/// Default timeout for a connect, and for a connection on which neither side makes progress.
pub const DEFAULT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);
/// Usual [`Limits::proxy_header`]. The specification recommends a few seconds, at least three to cover a TCP retransmission.
pub const PROXY_HEADER_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);
/// Default maximum number of clients of a server at a time.
pub const DEFAULT_CLIENTS: usize = 16_384;
/// Default pause at a message boundary.
pub const DEFAULT_PACE: std::time::Duration = std::time::Duration::from_millis(30);
/// Default size of a client's buffers in bytes, and of its reads: a few lines of maximum length.
pub const DEFAULT_BUFFER: usize = 4096;
