//! Report of a wrong reply.

use std::fmt;
use std::io;

use super::mistake::Mistake;
use crate::net::Quote;

/// Why a reply was not accepted.
#[derive(Debug)]
#[non_exhaustive]
pub enum Wrong {
    /// The reply differs from the expected one.
    Reply(Box<Difference>),
    /// The first ten characters of the message are not UTF-8. The protocol requires the server to refuse it.
    Refusable {
        /// Number of the reply, starting at 1.
        number: u64,
    },
    /// The message could not be read back from its file.
    Unreadable(io::Error),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reply(difference) => difference.fmt(f),
            Self::Refusable { number } => write!(
                f,
                "reply {number} answers a message whose first ten characters are not UTF-8, which a \
                 server must refuse"
            ),
            Self::Unreadable(e) => write!(f, "cannot read the message back: {e}"),
        }
    }
}

impl std::error::Error for Wrong {}

/// Difference between a reply and the expected one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// Number of the reply, starting at 1.
    pub number: u64,
    /// Offset of the first byte that differs. It is a lower bound if it is not [exact](Self::is_exact).
    pub at: u64,
    /// Whether the offset is known exactly.
    pub is_exact: bool,
    /// Length of the reply in bytes.
    pub length: u64,
    /// Length of the expected reply in bytes.
    pub expected_length: u64,
    /// Received bytes from this offset on.
    pub got: Excerpt,
    /// Expected bytes from this offset on.
    pub expected: Excerpt,
    /// Likely mistake in the server.
    pub mistake: Option<Mistake>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, at, is_exact, length, expected_length, got, expected, mistake } = self;
        if *is_exact {
            write!(f, "reply {number} is wrong at byte {at}: got {got}, expected {expected}")?;
        } else {
            write!(f, "reply {number} is wrong at or after byte {at}")?;
        }
        if length != expected_length {
            write!(f, " ({length} bytes, expected {expected_length})")?;
        }
        mistake.map_or(Ok(()), |mistake| write!(f, "; probably {mistake}"))
    }
}

/// First bytes of a longer text. `Display` writes them in quotes and escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    bytes: Box<[u8]>,
    is_cut: bool,
}

impl Excerpt {
    pub(super) const BYTES: usize = 40;

    /// Returns the start of `text`. The whole text has `total` bytes.
    pub(super) fn new(text: &[u8], total: u64) -> Self {
        let mut end = text.len().min(Self::BYTES);
        // The excerpt must not end inside a character.
        if let Err(e) = std::str::from_utf8(&text[..end])
            && e.error_len().is_none()
            && (end as u64) < total
        {
            end = e.valid_up_to();
        }
        Self { bytes: text[..end].into(), is_cut: (end as u64) < total }
    }

    /// Returns the bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.bytes.is_empty() {
            return f.write_str(if self.is_cut { "more" } else { "end of reply" });
        }
        let more = if self.is_cut { "..." } else { "" };
        write!(f, "{}{more}", Quote::new(&self.bytes))
    }
}
