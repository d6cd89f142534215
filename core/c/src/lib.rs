//! Two protocols of socklab-core for C: the client of the math quiz, and chat.
//!
//! `socklab.h` documents the functions for their callers. Each session is a
//! [`Session`](socklab_core::session::Session) with arrays for buffers, in memory that the caller owns.
//!
//! A function that takes a reference requires of its caller in C what any reference requires: a pointer
//! that is not null, is aligned, and points to a session that an `init` function has written. So only two
//! things here are unsafe: the exported names, and a slice from a pointer and a length.

#![no_std]
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::as_conversions
    )
)]

mod chat;
mod math;

pub use chat::*;
pub use math::*;

use socklab_core::machine::{CommandError, Invalid, StreamEnd};
use socklab_core::session::Want;

/// Result of a `poll` function.
pub type SocklabWant = u8;

/// Something happened: the event is filled in.
pub const SOCKLAB_EVENT: SocklabWant = 0;
/// Read from the transport.
pub const SOCKLAB_READ: SocklabWant = 1;
/// Write to the transport.
pub const SOCKLAB_WRITE: SocklabWant = 2;
/// Flush the transport.
pub const SOCKLAB_FLUSH: SocklabWant = 3;
/// Read and write, whichever is possible first. A command may be given.
pub const SOCKLAB_READ_OR_WRITE: SocklabWant = 4;
/// Give a command.
pub const SOCKLAB_COMMAND: SocklabWant = 5;
/// Pause, or do not: what follows has to be a write of its own.
pub const SOCKLAB_BOUNDARY: SocklabWant = 6;
/// Close the connection: the session is complete.
pub const SOCKLAB_CLOSE: SocklabWant = 7;
/// Reset the connection.
pub const SOCKLAB_ABORT: SocklabWant = 8;
/// The session failed: the event is filled in with the reason.
pub const SOCKLAB_FAILED: SocklabWant = 9;

/// How a stream ended.
pub type SocklabEnd = u8;

/// The peer closed its sending side.
pub const SOCKLAB_CLOSED: SocklabEnd = 0;
/// The connection was reset, or the transport failed.
pub const SOCKLAB_RESET: SocklabEnd = 1;
/// The caller stopped waiting.
pub const SOCKLAB_TIMED_OUT: SocklabEnd = 2;

/// Result of a command.
pub type SocklabResult = u8;

/// The command was accepted.
pub const SOCKLAB_OK: SocklabResult = 0;
/// It is not the application's turn, or the session is over.
pub const SOCKLAB_OUT_OF_TURN: SocklabResult = 1;
/// The output has too little space.
pub const SOCKLAB_OUTPUT_FULL: SocklabResult = 2;
/// The text is longer than a line may be.
pub const SOCKLAB_TOO_LONG: SocklabResult = 3;
/// The text contains a newline.
pub const SOCKLAB_NEWLINE: SocklabResult = 4;
/// The text ends with a carriage return, which the peer would remove.
pub const SOCKLAB_CARRIAGE_RETURN: SocklabResult = 5;
/// The protocol cannot express the command for another reason.
pub const SOCKLAB_INVALID: SocklabResult = 6;

const fn end(how: StreamEnd) -> SocklabEnd {
    match how {
        StreamEnd::Closed => SOCKLAB_CLOSED,
        StreamEnd::Reset => SOCKLAB_RESET,
        StreamEnd::TimedOut => SOCKLAB_TIMED_OUT,
    }
}

/// Any other number, which is a mistake of the caller, is a failed transport.
const fn stream_end(how: SocklabEnd) -> StreamEnd {
    match how {
        SOCKLAB_CLOSED => StreamEnd::Closed,
        SOCKLAB_TIMED_OUT => StreamEnd::TimedOut,
        _ => StreamEnd::Reset,
    }
}

const fn result(result: Result<(), CommandError>) -> SocklabResult {
    match result {
        Ok(()) => SOCKLAB_OK,
        Err(CommandError::OutOfTurn) => SOCKLAB_OUT_OF_TURN,
        Err(CommandError::OutputFull) => SOCKLAB_OUTPUT_FULL,
        Err(CommandError::Invalid(Invalid::TooLong)) => SOCKLAB_TOO_LONG,
        Err(CommandError::Invalid(Invalid::Newline)) => SOCKLAB_NEWLINE,
        Err(CommandError::Invalid(Invalid::CarriageReturn)) => SOCKLAB_CARRIAGE_RETURN,
        Err(_) => SOCKLAB_INVALID,
    }
}

const fn want(want: Want) -> SocklabWant {
    match want {
        // Neither of the two protocols asks for an idle time.
        Want::Read { .. } => SOCKLAB_READ,
        Want::Write => SOCKLAB_WRITE,
        Want::Flush => SOCKLAB_FLUSH,
        Want::ReadOrWrite => SOCKLAB_READ_OR_WRITE,
        Want::Command => SOCKLAB_COMMAND,
        Want::Boundary => SOCKLAB_BOUNDARY,
        Want::Close => SOCKLAB_CLOSE,
        Want::Abort | Want::Broken(_) => SOCKLAB_ABORT,
    }
}

/// Exports the functions that every session has. Each name is written out, so that it can be found.
macro_rules! session_functions {
    (
        $session:ty, $recv_space:ident, $received:ident, $transmit:ident, $transmitted:ident, $flushed:ident,
        $ended:ident, $write_ended:ident, $time_out:ident, $size:ident $(,)?
    ) => {
        /// Returns the space for bytes from the transport, and its size, which may be 0.
        // SAFETY: no other function has this name.
        #[unsafe(no_mangle)]
        pub extern "C" fn $recv_space(
            session: &mut $session,
            size: &mut core::mem::MaybeUninit<usize>,
        ) -> *mut u8 {
            let space = session.0.recv_space();
            size.write(space.len());
            space.as_mut_ptr()
        }

        /// Reports that `n` bytes stand at the front of the space.
        // SAFETY: no other function has this name.
        #[unsafe(no_mangle)]
        pub extern "C" fn $received(session: &mut $session, n: usize) {
            session.0.received(n);
        }

        /// Returns the bytes to send, and their number.
        // SAFETY: no other function has this name.
        #[unsafe(no_mangle)]
        pub extern "C" fn $transmit(
            session: &$session,
            size: &mut core::mem::MaybeUninit<usize>,
        ) -> *const u8 {
            let bytes = session.0.transmit();
            size.write(bytes.len());
            bytes.as_ptr()
        }

        /// Reports that the transport took the first `n` bytes to send.
        // SAFETY: no other function has this name.
        #[unsafe(no_mangle)]
        pub extern "C" fn $transmitted(session: &mut $session, n: usize) {
            session.0.transmitted(n);
        }

        /// Reports that the transport has been flushed.
        // SAFETY: no other function has this name.
        #[unsafe(no_mangle)]
        pub extern "C" fn $flushed(session: &mut $session) {
            session.0.flushed();
        }

        /// Reports that the stream from the peer has ended.
        // SAFETY: no other function has this name.
        #[unsafe(no_mangle)]
        pub extern "C" fn $ended(session: &mut $session, how: $crate::SocklabEnd) {
            session.0.ended($crate::stream_end(how));
        }

        /// Reports that the peer accepts no more bytes.
        // SAFETY: no other function has this name.
        #[unsafe(no_mangle)]
        pub extern "C" fn $write_ended(session: &mut $session, how: $crate::SocklabEnd) {
            session.0.write_ended($crate::stream_end(how));
        }

        /// Reports that the caller stops waiting.
        // SAFETY: no other function has this name.
        #[unsafe(no_mangle)]
        pub extern "C" fn $time_out(session: &mut $session) {
            session.0.time_out();
        }

        /// Returns the size of a session in bytes, for a check at run time.
        // SAFETY: no other function has this name.
        #[unsafe(no_mangle)]
        pub extern "C" fn $size() -> usize {
            size_of::<$session>()
        }
    };
}
pub(crate) use session_functions;

/// Not reached: `tests/proofs` links these functions with a panic handler that does not exist.
#[cfg(all(feature = "panic-handler", not(test)))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
