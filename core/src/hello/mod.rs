//! Greetings: the server's, and the client's if both are to greet.
//!
//! ```text
//!   server -> client   "Hello from server" '\n'
//!   client -> server   "Hello from client" '\n'     only with both
//! ```
//!
//! then the server closes. It can send its greeting in two writes, to show that one `recv` need
//! not give a whole message.
//!
//! Either greeting may lack its newline: before an orderly close it is complete, and where both greet
//! also after [`SILENCE_MS`] without a byte, since the other end waits for its turn.
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

/// What the server says.
pub const SERVER_GREETING: &[u8] = b"Hello from server";

/// What the client says.
pub const CLIENT_GREETING: &[u8] = b"Hello from client";

/// Where both greet, a greeting without its newline is complete after this many milliseconds without a
/// byte.
pub const SILENCE_MS: u16 = 300;

/// What a client sends, for traces.
pub type ClientBytes = LineMessages;

/// What a server sends, for traces.
pub type ServerBytes = LineMessages;

/// Either greeting with its newline.
const GREETING_BYTES: usize = 18;
