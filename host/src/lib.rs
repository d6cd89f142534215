//! Clients and servers for the classic socket-programming protocols.
//!
//! The protocols are implemented in [`socklab_core`] as machines without I/O. This crate connects them to the sockets
//! of the operating system: it has a typed client and a service for each.
//!
//! ```
//! use socklab::{echo, math, net::Server};
//!
//! // Starts a server on a free port. It runs in its own thread until it is stopped or dropped.
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
//! | module | content |
//! |---|---|
//! | [`net`] | the generic client, the listener, the server engine with one thread |
//! | [`math`] and so on, one module for each protocol | `Client` and `Service` of a protocol |
//! | [`proxy`] | a proxy between clients and a server, with observers and faults |
//! | [`faults`] | the schedules of faults, without I/O |
//! | `cli` | the program, with the feature `cli` |
//!
//! It runs on Linux, macOS, the BSDs and Windows.

// Not `forbid`, because of two exceptions in `sys`: an inherited descriptor, and a check before `main`.
#![deny(unsafe_code)]

pub mod add;
pub mod chat;
pub mod coin;
pub mod echo;
pub mod faults;
pub mod file;
pub mod guess;
pub mod hello;
pub mod math;
pub mod net;
pub mod proxy;
pub mod rps;
mod seed;
mod sys;
mod text;
pub mod udp;

#[cfg(feature = "cli")]
mod check;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "cli")]
mod ui;
