//! Greetings: of the server, and of the client if both greet.
//!
//! ```text
//!   server -> client   "Hello from server" '\n'
//!   client -> server   "Hello from client" '\n'     only with both
//! ```
//!
//! Then the server closes. It can send its greeting in two writes, to show that one `recv` does not always return a
//! whole message.
//!
//! Either greeting may lack its newline. It is then complete before an orderly close. Where both greet it is also
//! complete after [`SILENCE_MS`] without a byte, since the other end waits for its turn.
//!
//! ```text
//!   server                                             client
//!
//!   First --boundary--> Rest --> Waiting --> Over      Waiting --> Greeting --> Over
//!     |                   ^ |                 ^           |                      ^
//!     '---- not split ----' '--- not both ----'           '------ not both ------'
//! ```

pub mod client;
pub mod server;

pub use client::Client;
pub use server::Server;

use crate::wire::LineMessages;

/// Greeting of the server, without its newline.
pub const SERVER_GREETING: &[u8] = b"Hello from server";

/// Greeting of the client, without its newline.
pub const CLIENT_GREETING: &[u8] = b"Hello from client";

/// Number of milliseconds without a byte that complete a greeting without its newline, where both greet.
pub const SILENCE_MS: u16 = 300;

/// Dissector of what a client sends.
pub type ClientBytes = LineMessages;

/// Dissector of what a server sends.
pub type ServerBytes = LineMessages;

/// Number of bytes of either greeting with its newline.
const GREETING_BYTES: usize = 18;
