use std::fmt;
use std::net::SocketAddr;

use crate::text::one_line;

/// Start of the bytes of a peer that were not understood or not complete, for an error message.
///
/// `Display` writes at most [`SHOWN`](Self::SHOWN) characters in quotes, escaped and on one line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quote {
    bytes: Box<[u8]>,
    /// Whether a line was expected and its newline is missing.
    without_newline: bool,
}

impl Quote {
    /// Number of characters that are shown.
    pub const SHOWN: usize = 80;
    /// Number of bytes that are kept. A character has at most four, and one more byte shows that there are more.
    const KEPT: usize = 4 * Self::SHOWN + 1;

    /// Returns the quote of these bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self { bytes: bytes[..bytes.len().min(Self::KEPT)].into(), without_newline: false }
    }

    /// Returns the quote of the unread bytes of a stream. If `is_line` is set, it notes whether the newline is
    /// missing.
    #[must_use]
    pub(super) fn unread(bytes: &[u8], is_line: bool) -> Self {
        Self { without_newline: is_line && !bytes.contains(&b'\n'), ..Self::new(bytes) }
    }

    /// Returns whether there is nothing to quote: no bytes, or only white space.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.trim_ascii().is_empty()
    }

    /// Returns the bytes as received. A long text is truncated.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the suffix for an error message: `; last received: "..."`, or nothing if the quote is empty.
    #[must_use]
    pub const fn suffix(&self) -> impl fmt::Display + '_ {
        Suffix(self)
    }
}

impl fmt::Display for Quote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = one_line(&self.bytes).replace('\t', "\\t");
        match text.char_indices().nth(Self::SHOWN) {
            Some((end, _)) => write!(f, "\"{}\"...", &text[..end]),
            None => write!(f, "\"{text}\""),
        }
    }
}

struct Suffix<'q>(&'q Quote);

impl fmt::Display for Suffix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        write!(f, "; last received: {}", self.0)?;
        if self.0.without_newline { f.write_str(" without a newline") } else { Ok(()) }
    }
}

/// Notice that a peer has sent part of a message, and then nothing for [`Notice::AFTER_MS`]. The session continues.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Notice {
    /// Address of the peer.
    pub peer: SocketAddr,
    /// Received part of the message.
    pub part: Quote,
    /// Length of this part in bytes.
    pub length: usize,
    /// Whether the message is a line, so that only its newline may be missing.
    pub is_line: bool,
}

impl Notice {
    /// Milliseconds without another byte after which the notice is given: longer than usual network delays, and
    /// shorter than a user waits before suspecting an error.
    pub const AFTER_MS: u16 = 1000;
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { peer, part, length, is_line } = self;
        if *is_line {
            return write!(f, "{peer} sent {part} without a newline; waiting for the rest");
        }
        let s = if *length == 1 { "" } else { "s" };
        write!(f, "{peer} sent {length} byte{s} of a message, {part}; waiting for the rest")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_is_escaped_and_at_most_80_characters_long() {
        assert_eq!(Quote::new(b"You win!").suffix().to_string(), "; last received: \"You win!\"");
        for nothing in ["", " ", "\r\n"] {
            assert_eq!(Quote::new(nothing.as_bytes()).suffix().to_string(), "");
        }
        let unread = |bytes| Quote::unread(bytes, true).suffix().to_string();
        assert_eq!(unread(b"Bye"), "; last received: \"Bye\" without a newline");
        assert_eq!(unread(b"four\n"), "; last received: \"four\\n\"");
        assert_eq!(Quote::new(b"a\nb\t\x1b[1m").to_string(), "\"a\\nb\\t\\x1b[1m\"");
        let long = "é".repeat(Quote::SHOWN);
        assert_eq!(Quote::new(long.as_bytes()).to_string(), format!("\"{long}\""));
        let longer = format!("{long}é");
        assert_eq!(Quote::new(longer.as_bytes()).to_string(), format!("\"{long}\"..."));
        assert_eq!(Quote::new(&[b'x'; 1 << 20]).bytes().len(), Quote::KEPT);
        assert_eq!(Quote::new(&[0xff; 100]).to_string(), format!("\"{}\"...", "\\xff".repeat(20)));
    }

    #[test]
    fn a_notice_names_the_newline_or_counts_the_bytes() {
        let peer = SocketAddr::from(([127, 0, 0, 1], 50412));
        let notice = |bytes: &[u8], is_line| {
            Notice { peer, part: Quote::new(bytes), length: bytes.len(), is_line }.to_string()
        };
        assert_eq!(
            notice(b"H", true),
            "127.0.0.1:50412 sent \"H\" without a newline; waiting for the rest"
        );
        assert_eq!(
            notice(b"12", false),
            "127.0.0.1:50412 sent 2 bytes of a message, \"12\"; waiting for the rest"
        );
    }
}
