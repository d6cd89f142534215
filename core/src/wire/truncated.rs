use core::fmt;

use super::Bytes;
use crate::machine::StreamEnd;

/// Where and how a stream ended too early.
///
/// Each case has its own text: closed between messages, closed in the middle of a message, reset, timed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Truncated {
    /// How the stream ended.
    pub how: StreamEnd,
    /// Number of bytes of the message that arrived. 0: the stream ended between two messages.
    pub got: u64,
    /// Number of bytes of the whole message, as far as it is known. 0 if `got` is 0, and for a line, whose length
    /// only its end shows.
    pub want: u64,
}

impl Truncated {
    /// Returns the value for a stream that ended between two messages.
    #[must_use]
    pub const fn between(how: StreamEnd) -> Self {
        Self { how, got: 0, want: 0 }
    }

    /// Returns the value for a stream that ended after `got` of the `want` bytes of a message, or between two messages
    /// if `got` is 0.
    #[must_use]
    pub const fn inside(how: StreamEnd, got: u64, want: u64) -> Self {
        if got == 0 { Self::between(how) } else { Self { how, got, want } }
    }

    /// Returns whether the stream ended inside a message.
    #[must_use]
    pub const fn is_inside(&self) -> bool {
        self.got > 0
    }

    /// Returns the sentence about `peer` ("the server", "the client").
    #[must_use]
    pub const fn by<'p>(&self, peer: &'p str) -> impl fmt::Display + use<'p> {
        CutBy { cut: *self, peer }
    }
}

struct CutBy<'p> {
    cut: Truncated,
    peer: &'p str,
}

impl fmt::Display for CutBy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cut: Truncated { how, got, want }, peer } = *self;
        f.write_str(peer)?;
        f.write_str(match how {
            StreamEnd::Closed => " closed the connection",
            StreamEnd::Reset => " reset the connection",
            StreamEnd::TimedOut => " sent nothing more in time",
        })?;
        if got > 0 && want == 0 {
            write!(f, " in the middle of a message, after {}", Bytes(got))
        } else if got > 0 {
            write!(f, " in the middle of a message, after {got} of {}", Bytes(want))
        } else if how == StreamEnd::TimedOut {
            Ok(())
        } else {
            f.write_str(" between messages")
        }
    }
}

impl fmt::Display for Truncated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.by("the peer").fmt(f)
    }
}
