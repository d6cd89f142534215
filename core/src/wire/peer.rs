//! How a session with a peer that sends lines ends.

use super::{LineError, trim};
use crate::machine::{Input, StreamEnd, StreamState};

/// Defines the error of a machine that fails only where its peer sent no line: a tuple struct around the
/// [`LineError`]. Its sentence is about `$peer`. If the stream ended between two lines, `$missing` follows.
macro_rules! line_error {
    ($(#[$doc:meta])* $peer:literal $(, $missing:literal)?) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        pub struct Error(pub $crate::wire::LineError);

        impl From<$crate::wire::LineError> for Error {
            fn from(e: $crate::wire::LineError) -> Self {
                Self(e)
            }
        }

        impl core::fmt::Display for Error {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                self.0.by($peer).fmt(f)?;
                $(if let $crate::wire::LineError::Truncated { got: 0, .. } = self.0 {
                    f.write_str($missing)?;
                })?
                Ok(())
            }
        }

        impl core::error::Error for Error {}
    };
}
pub(crate) use line_error;

/// What an orderly close by the peer means while it is the application's turn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloseInTurn {
    /// Nothing: the peer may have closed its sending side only, and still reads.
    Ignored,
    /// The end, unless text is unread: a reply that has not arrived yet will not come.
    EndsWithoutText,
}

/// Checks in the application's turn whether a command still has a reader.
///
/// After a reset or a time-out it has none, whatever is unread: the connection is gone in both directions. That is
/// the second exception to the first law of [`Machine`](crate::Machine). What an orderly close means depends on the
/// protocol.
///
/// # Errors
///
/// [`LineError::between`] if the session is over.
pub(crate) fn check_turn(input: Input<'_>, close: CloseInTurn) -> Result<(), LineError> {
    let StreamState::Ended(how) = input.state else { return Ok(()) };
    let is_over = how != StreamEnd::Closed
        || match close {
            CloseInTurn::Ignored => false,
            CloseInTurn::EndsWithoutText => trim(input.bytes).is_empty(),
        };
    if is_over { Err(LineError::between(how)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_ends_every_turn_and_a_close_as_the_protocol_has_it() {
        use CloseInTurn::{EndsWithoutText, Ignored};
        for close in [Ignored, EndsWithoutText] {
            for bytes in [&b""[..], b"text", b"line\n"] {
                assert_eq!(check_turn(Input::open(bytes), close), Ok(()));
                let idle = Input { bytes, state: StreamState::Idle };
                assert_eq!(check_turn(idle, close), Ok(()));
                for how in [StreamEnd::Reset, StreamEnd::TimedOut] {
                    let result = check_turn(Input::ended(bytes, how), close);
                    assert_eq!(result, Err(LineError::between(how)));
                }
            }
        }
        let closed = Err(LineError::between(StreamEnd::Closed));
        for (bytes, close, result) in [
            (&b""[..], Ignored, Ok(())),
            (b"", EndsWithoutText, closed),
            (b" \n", EndsWithoutText, closed),
            (b"text", EndsWithoutText, Ok(())),
        ] {
            assert_eq!(check_turn(Input::ended(bytes, StreamEnd::Closed), close), result);
        }
    }
}
