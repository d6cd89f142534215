//! Dissectors under cuts: the same bytes in other pieces are the same messages.

use socklab_core::wire::{Dissect, Dissected, LineMessage, PromptMessage};
use socklab_core::{echo, file, math};

/// What a message is, as far as that may not depend on the cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A message, or the first part of one.
    Message(String),
    /// A part of something, or all of it: with those beside it, it is one.
    Run(String),
    /// A further part of what stands before it.
    More,
}

/// A dissector of which it is known how its messages come in parts.
pub trait Parts: Dissect {
    /// What this message is.
    fn kind(message: &Self::Message<'_>) -> Kind;
    /// The most bytes that a caller has to keep.
    const KEPT: usize;
}

impl Parts for math::ServerBytes {
    const KEPT: usize = 9;

    fn kind(message: &math::ServerMessage) -> Kind {
        match message {
            math::ServerMessage::Unknown(_) => Kind::Run(message.to_string()),
            _ => Kind::Message(message.to_string()),
        }
    }
}

impl Parts for math::ClientBytes {
    const KEPT: usize = 4;

    fn kind(message: &Self::Message<'_>) -> Kind {
        Kind::Message(message.to_string())
    }
}

impl<const HEADER: usize> Parts for echo::Messages<HEADER> {
    const KEPT: usize = HEADER;

    fn kind(part: &echo::Part<'_>) -> Kind {
        part.length.map_or(Kind::More, |length| Kind::Message(format!("message of {length}")))
    }
}

impl Parts for socklab_core::wire::LineMessages {
    const KEPT: usize = socklab_core::wire::LINE_MAX;

    fn kind(message: &LineMessage<'_>) -> Kind {
        match message {
            LineMessage::Line(_) => Kind::Message(message.to_string()),
            LineMessage::TooLong(_) => Kind::Message("too long".into()),
            LineMessage::More(_) => Kind::More,
        }
    }
}

impl Parts for socklab_core::wire::PromptMessages {
    const KEPT: usize = socklab_core::wire::LINE_MAX;

    fn kind(message: &PromptMessage<'_>) -> Kind {
        match message {
            PromptMessage::Line(_) | PromptMessage::Prompt(_) => Kind::Message(message.to_string()),
            PromptMessage::TooLong(_) => Kind::Message("too long".into()),
            // White space behind something may come with it.
            PromptMessage::More(_) | PromptMessage::Space(_) => Kind::More,
        }
    }
}

impl Parts for file::ClientBytes {
    const KEPT: usize = socklab_core::wire::LINE_MAX;

    fn kind(message: &Self::Message<'_>) -> Kind {
        match message {
            file::RequestMessage::Malformed(file::Malformed::TooLong, _) => {
                Kind::Run("too long".into())
            }
            _ => Kind::Message(message.to_string()),
        }
    }
}

impl Parts for file::ServerBytes {
    const KEPT: usize = socklab_core::wire::LINE_MAX;

    fn kind(message: &Self::Message<'_>) -> Kind {
        match message {
            file::ServerMessage::Body { .. } => Kind::Run("file".into()),
            file::ServerMessage::Reason(_) => Kind::Run("reason".into()),
            file::ServerMessage::Unknown(_) => Kind::Run(message.to_string()),
            _ => Kind::Message(message.to_string()),
        }
    }
}

/// The messages in `bytes`, which come in pieces of these sizes and the rest at once: each with the bytes
/// it takes, its parts joined, and at last the bytes that are not a whole message.
///
/// # Panics
///
/// When the dissector breaks its contract: it takes nothing, or more than there is, waits for less than it
/// has or makes its caller keep too much, or a message would do something to a terminal.
pub fn dissect<D: Parts>(
    mut dissector: D,
    bytes: &[u8],
    pieces: impl IntoIterator<Item = usize>,
) -> (Vec<(String, usize)>, usize) {
    let (mut pieces, mut start, mut end) = (pieces.into_iter(), 0, 0);
    let mut all: Vec<(String, usize)> = Vec::new();
    loop {
        let there = end - start;
        match dissector.dissect(&bytes[start..end]) {
            Dissected::Message(taken, message) => {
                assert!(taken > 0 && taken <= there, "{taken} of {there}");
                let text = message.to_string();
                assert!(!text.chars().any(|c| c.is_control() && c != '\n' && c != '\t'), "{text}");
                start += taken;
                match (D::kind(&message), all.last_mut()) {
                    (Kind::Run(name), Some((last, length))) if name == *last => *length += taken,
                    (Kind::More, Some((_, length))) => *length += taken,
                    (Kind::More, None) => all.push(("more".into(), taken)),
                    (Kind::Run(name) | Kind::Message(name), _) => all.push((name, taken)),
                }
                continue;
            }
            Dissected::Partial(wanted) => assert!(wanted > there, "it has what it asks for"),
            Dissected::Unterminated => {}
        }
        assert!(there <= D::KEPT, "it makes the caller keep {there} bytes");
        if end == bytes.len() {
            return (all, there);
        }
        let piece = pieces.next().unwrap_or(bytes.len()).max(1);
        end = bytes.len().min(end.saturating_add(piece));
    }
}
