use core::fmt;

use crate::machine::StreamEnd;

/// Where and how a stream ended too early.
///
/// Every ending has its own name: closed between messages, closed in the middle of one, reset,
/// timed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Truncated {
    /// How the stream ended.
    pub how: StreamEnd,
    /// So many bytes of the message had come. 0: the stream ended between two messages.
    pub got: u64,
    /// So many bytes the whole message has, as far as it is known. 0 when `got` is 0, and when
    /// only its end would have told: a line.
    pub want: u64,
}

impl Truncated {
    /// The stream ended between two messages.
    #[must_use]
    pub const fn between(how: StreamEnd) -> Self {
        Self { how, got: 0, want: 0 }
    }

    /// The stream ended after `got` of the `want` bytes of a message; between two messages when
    /// `got` is 0.
    #[must_use]
    pub const fn inside(how: StreamEnd, got: u64, want: u64) -> Self {
        if got == 0 { Self::between(how) } else { Self { how, got, want } }
    }

    /// Whether the stream ended inside a message.
    #[must_use]
    pub const fn is_inside(&self) -> bool {
        self.got > 0
    }

    /// The sentence about `peer` ("the server", "the client").
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
            let s = if got == 1 { "" } else { "s" };
            write!(f, " in the middle of a message, after {got} byte{s}")
        } else if got > 0 {
            write!(f, " in the middle of a message, after {got} of {want} bytes")
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
