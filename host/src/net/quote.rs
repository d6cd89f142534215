use std::fmt;
use std::net::SocketAddr;

use crate::text::one_line;

/// Bytes of a peer that no one understood or finished, for the message that says so.
///
/// `Display` writes them in quotes, escaped, on one line, at most [`SHOWN`](Self::SHOWN) characters of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quote {
    bytes: Box<[u8]>,
    /// They were to be a line.
    without_newline: bool,
}

impl Quote {
    /// Number of characters that are shown.
    pub const SHOWN: usize = 80;
    /// Number of bytes that are kept: a character has at most four, and one more shows that there are more.
    const KEPT: usize = 4 * Self::SHOWN + 1;

    /// The quote of these bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self { bytes: bytes[..bytes.len().min(Self::KEPT)].into(), without_newline: false }
    }

    /// The quote of what is left unread of a stream, which says if that lacks the newline of a line.
    #[must_use]
    pub(super) fn unread(bytes: &[u8], is_line: bool) -> Self {
        Self { without_newline: is_line && !bytes.contains(&b'\n'), ..Self::new(bytes) }
    }

    /// Whether there is nothing to quote: no byte, or white space alone.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.trim_ascii().is_empty()
    }

    /// The bytes, as they came; of a long text its start.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The end of an error message: `; last received: "..."`, or nothing.
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

/// A peer has sent a part of a message, and nothing more for [`Notice::AFTER_MS`]. The session continues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The peer.
    pub peer: SocketAddr,
    /// The part that has come.
    pub part: Quote,
    /// Its length in bytes.
    pub length: usize,
    /// Whether the message is a line, which lacks its newline.
    pub is_line: bool,
}

impl Notice {
    /// Milliseconds without another byte, after which it is given: longer than a network takes, shorter
    /// than a person waits before they start to wonder.
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
