//! Sockets: dialling, the client that sleeps on its socket, the one-thread server engine.

mod client;
mod dial;
mod engine;
mod listen;
mod listener;
mod peer;
mod quote;
mod reads;
mod stack;
mod tick;

pub use client::{Client, Delivery, Error, Surplus, Wake};
pub(crate) use dial::reason;
pub use dial::{DialError, Target};
pub use engine::{
    Ended, Limits, PayloadWriter, Running, Server, ServerControl, Service, SessionWaker, Stopper,
    Work,
};
pub use listen::BindError;
pub use listener::{Accepted, Listener};
pub use quote::{Notice, Quote};
pub use stack::{Direction, Observer};

/// How long to wait when nobody says otherwise: for a connection, and for a peer that is silent.
pub const DEFAULT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);
/// Number of clients that a server serves at a time unless set otherwise.
pub const DEFAULT_CLIENTS: usize = 16_384;
/// The pause at a boundary of messages when nobody says otherwise.
pub const DEFAULT_PACE: std::time::Duration = std::time::Duration::from_millis(30);
/// What a client reads and buffers at a time when nobody says otherwise, in bytes: a few lines of the
/// longest kind.
pub const DEFAULT_BUFFER: usize = 4096;
