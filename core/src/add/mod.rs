//! Two names, two numbers: both ends learn both and add the numbers up.
//!
//! ```text
//!   client -> server   name '\n'  integer '\n'      ASCII decimal, 1 to 100
//!   server -> client   name '\n'  integer '\n'      then it closes
//! ```
//!
//! An integer that is out of range makes the server answer nothing and close: the document's way
//! to shut it down.
//!
//! ```text
//!   client                                            server
//!
//!   Ready --Introduce--> Name --> Number --> Over     Name --> Number --in range--> Ready
//!                         |                    ^                 |                    |
//!                         '-- closed, leaving -'                 | out of range     Answer
//!                                                                v                    v
//!                                                               Over <---------------'
//! ```

pub mod client;
pub mod server;

pub use client::Client;
pub use server::Server;

use core::ops::RangeInclusive;

use crate::machine::Refused;
use crate::wire::{DECIMAL_BYTES, LINE_BYTES, LineMessages, put_decimal, put_line};

/// The integers that are added; any other shuts the server down.
pub const RANGE: RangeInclusive<i32> = 1..=100;

/// What a client sends, for traces.
pub type ClientBytes = LineMessages;

/// What a server sends, for traces.
pub type ServerBytes = LineMessages;

/// A name and an integer on the wire: so many bytes at the most.
const INTRODUCTION_BYTES: usize = LINE_BYTES + DECIMAL_BYTES;

/// Writes both lines, or nothing.
fn introduce(name: &[u8], number: i32, output: &mut [u8]) -> Result<usize, Refused> {
    let n = put_line(name, output)?;
    let m = output.get_mut(n..).and_then(|room| put_decimal(number, room));
    Ok(n.wrapping_add(m.ok_or(Refused::NoRoom)?))
}
