//! Clients and servers of the classic socket-programming protocols, on real sockets.
//!
//! The protocols themselves live in [`socklab_core`], as machines without I/O. Here they are bound
//! to the operating system: one typed client and one server for each.
//!
//! ```
//! use socklab::{echo, math, net::Server};
//!
//! // A server on a free port, in a thread of its own, until it is stopped or dropped.
//! let server = Server::bind("127.0.0.1:0", echo::Service::new())?.start()?;
//!
//! let mut client = echo::Client::connect(server.local_addr())?;
//! client.send_message(b"Four score and seven years ago")?;
//! assert_eq!(client.receive_message()?, b" and seven years ago");
//! client.shutdown()?;
//! server.stop()?;
//!
//! let quiz = math::Service::new(math::Options { secret: Some(*b"opensesm"), ..Default::default() });
//! let server = Server::bind("127.0.0.1:0", quiz)?.start()?;
//! assert_eq!(math::Client::connect(server.local_addr())?.solve()?.0, *b"opensesm");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | module | what it has |
//! |---|---|
//! | [`net`] | dialling, the client that sleeps on its socket, the one-thread server engine |
//! | [`math`], [`add`], [`file`], [`echo`], [`hello`], [`chat`], [`coin`], [`guess`], [`rps`] | a protocol's `Client` and `Service` |
//! | `cli` | the program, behind the feature `cli` |
//!
//! [`file`]: mod@file
//!
//! Unix only: waiting goes by file descriptors.

#![cfg(unix)]

pub mod add;
pub mod chat;
pub mod coin;
pub mod echo;
pub mod file;
pub mod guess;
pub mod hello;
pub mod math;
pub mod net;
mod pread;
pub mod rps;
mod seed;
mod text;

#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "cli")]
mod ui;
